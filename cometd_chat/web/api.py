"""The API: sessions, rooms, people and messages as JSON.

What it is: from what a program sends to what the chat does, and how it is told; `docs/protocol.md`
is the contract.

What it may know: the chat. Not pages, not what is held.

Invariant: a route that changes something first checks that its request was meant, and is shielded
against a client that leaves in the middle.
"""

from __future__ import annotations

from typing import Any

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.presence import GRACE
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import NotFound
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters, problems
from cometd_chat.web.answers import api_path, shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.peers import Peers
from cometd_chat.web.submissions import Submissions

MAX_PAGE = 200
PAGE = 50


class Api:
    """Responds to programs."""

    def __init__(self, chat: Chat, auth: Auth, peers: Peers, submissions: Submissions) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers
        self._submissions = submissions

    # -- sessions

    @shielded
    async def start_session(self, request: HttpRequest) -> bytes:
        before = await self._auth.visitor(request)
        self._auth.check_csrf(request, before)
        fields = parameters.json_object(request)
        name, password = (
            parameters.string(fields, "name"),
            parameters.string(fields, "password", ""),
        )
        session, token = await self._submissions.enter(request, before, name, password)
        told = {"name": session.name, "role": session.role.word, "token": token}
        if session is before:
            return answers.json(request, told)
        return answers.created(request, told, "/api/v1/session")

    async def show_session(self, request: HttpRequest) -> bytes:
        session = await self._auth.speaker(request)
        rights = self._chat.rights
        name = parameters.query(request).text("room")
        room = await self._chat.room(name, session) if name else None
        told: dict[str, Any] = {
            "name": session.name,
            "role": session.role.word,
            "rights": [act.value for act in rights.all_of(session, room)],
        }
        if room is not None:
            told["role"] = rights.role_in(room, session.identity, session.role).word
            silent = rights.may(session, Act.SPEAK, room, self._peers.address(request))
            told["silent"] = None if silent is None else problems.as_object(silent)
            told["slow"] = self._chat.messages.seconds_between(session, room)
        return answers.json(request, told)

    @shielded
    async def end_session(self, request: HttpRequest) -> bytes:
        session = await self._auth.required(request)
        self._auth.check_csrf(request, session)
        await self._chat.log_out(session)
        self._auth.clear_cookie(request)
        return answers.nothing(request)

    # -- people

    async def list_people(self, request: HttpRequest, name: str) -> bytes:
        session, room = await self._asked_room(request, name)
        people, role_in = self._chat.people(room, session), self._chat.rights.role_in
        told: dict[str, Any] = {
            "people": [
                {"name": each.name, "role": role_in(room, each.identity, each.role).word}
                for each in people
            ]
        }
        count = self._chat.presence.count(room.name)
        if count > len(people):
            told["count"] = count
        return answers.json(request, told)

    # -- messages

    async def list_messages(self, request: HttpRequest, name: str) -> bytes:
        session, room = await self._asked_room(request, name)
        asked = parameters.query(request)
        messages, more = await self._chat.messages.history(
            room,
            session,
            before=asked.number("before", None, 0, 2**62),
            after=asked.number("after", None, 0, 2**62),
            limit=asked.number("limit", PAGE, 1, MAX_PAGE) or PAGE,
        )
        return answers.history(request, messages, more=more)

    @shielded
    async def post_message(self, request: HttpRequest, name: str) -> bytes:
        return await self.say(request, name)

    async def say(self, request: HttpRequest, name: str) -> bytes:
        session = await self._submissions.actor(request)
        fields = parameters.json_object(request)
        room = await self._chat.room(name, session)
        event, repeated = await self._chat.messages.say(
            session,
            room,
            fields.get("text"),
            fields.get("client_id"),
            address=self._peers.address(request),
        )
        if repeated:
            return answers.event(request, event)
        return answers.event(request, event, created=api_path(room.name, event.id))

    async def show_message(self, request: HttpRequest, name: str, id: str) -> bytes:
        session, room = await self._asked_room(request, name)
        number = int(id) if id.isascii() and id.isdigit() and len(id) < 20 else 0
        messages, _ = await self._chat.messages.history(
            room, session, before=number + 1, after=number - 1, limit=1
        )
        if not messages or number < 1:
            raise NotFound("There is no such message in this room.")
        return answers.event(request, messages[0])

    async def typing(self, request: HttpRequest, name: str) -> bytes:
        session = await self._submissions.actor(request)
        room = await self._chat.room(name, session)
        self._chat.type(session, room, self._peers.address(request))
        return answers.nothing(request)

    async def leave(self, request: HttpRequest, name: str) -> bytes:
        session = await self._submissions.actor(request)
        room = await self._chat.room(name, session)
        self._chat.presence.leave(room.name, session)
        return answers.nothing(request)

    # -- what several do

    async def _asked_room(self, request: HttpRequest, name: str) -> tuple[Session | None, Room]:
        """Who asks about a room, and the room, in which they are present from now."""
        session = await self._auth.reader(request)
        room = await self._chat.room(name, session)
        if session is not None:
            self._chat.arrive(session, room, self._peers.address(request), GRACE)
        return session, room
