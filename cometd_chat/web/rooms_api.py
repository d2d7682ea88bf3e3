"""The API of rooms: what they are, who belongs to them, and direct conversations.

What it is: from what a program sends to what is changed, and how a room is shown.

What it may know: the chat. Not pages.

Invariant: see `api.py`. A room that somebody may not see is answered as one that is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.limits import MESSAGES
from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import api_path, shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.parameters import refused
from cometd_chat.web.peers import Peers


class RoomsApi:
    """Responds to programs."""

    def __init__(self, chat: Chat, auth: Auth, peers: Peers) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers

    async def list_rooms(self, request: HttpRequest) -> bytes:
        session = await self._auth.reader(request)
        asked = parameters.query(request)
        most = 200
        limit = asked.number("limit", most, 1, most) or most
        rooms, more = self._chat.rooms.page(asked.optional("after"), limit, session)
        others = await self._chat.room_changes.companions(session, rooms)
        shown = [self._shown(each, others.get(each.name)) for each in rooms]
        calm = self._chat.policies.calm.word
        return answers.json(request, {"rooms": shown, "more": more, "calm": calm})

    async def show_room(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.reader(request)
        room = await self._chat.room(name, session)
        return answers.json(request, await self._room(room, session))

    @shielded
    async def make_room(self, request: HttpRequest) -> bytes:
        session = await self._auth.allowed(request, Act.MAKE_ROOM, changes=True)
        fields = parameters.json_object(request)
        room = await self._chat.make_room(
            session,
            parameters.string(fields, "name"),
            parameters.string(fields, "topic", ""),
            self._peers.address(request),
            new_kind(fields.get("kind", RoomKind.PUBLIC.value)),
        )
        return answers.created(request, await self._room(room, session), api_path(room.name))

    @shielded
    async def change_room(self, request: HttpRequest, name: str) -> bytes:
        session = await self._actor(request)
        room = await self._chat.room(name, session)
        address = self._peers.address(request)
        self._chat.rights.require(session, Act.CHANGE_ROOM, [room], address)
        fields = parameters.json_object(request)
        await self._chat.room_changes.change(session, room, fields, address)
        return answers.json(request, await self._room(room, session))

    @shielded
    async def remove_room(self, request: HttpRequest, name: str) -> bytes:
        session = await self._actor(request)
        room = await self._chat.room(name, session)
        await self._chat.room_changes.remove(session, room, self._peers.address(request))
        return answers.nothing(request)

    # -- who belongs

    async def list_members(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.reader(request)
        room = await self._chat.room(name, session)
        found = await self._chat.room_changes.members(room)
        # They may not belong to it any longer once it is read.
        self._chat.rights.require(session, Act.SEE, [room], self._peers.address(request))
        members = [{"name": each.name, "role": each.role} for each in found]
        return answers.json(request, {"members": members})

    @shielded
    async def put_member(self, request: HttpRequest, name: str, who: str) -> bytes:
        session = await self._actor(request)
        role = None
        if parameters.content_type(request) == "application/json":
            role = parameters.json_object(request).get("role")
        room = await self._chat.room(name, session)
        new = await self._chat.room_changes.put_member(
            session, room, who, role, self._peers.address(request)
        )
        if not new:
            return answers.nothing(request)
        told = {"name": who, "room": room.name}
        return answers.created(request, told, f"{api_path(room.name)}/members")

    @shielded
    async def drop_member(self, request: HttpRequest, name: str, who: str) -> bytes:
        session = await self._actor(request)
        room = await self._chat.room(name, session)
        await self._chat.room_changes.drop_member(session, room, who, self._peers.address(request))
        return answers.nothing(request)

    @shielded
    async def direct(self, request: HttpRequest) -> bytes:
        session = await self._auth.allowed(request, Act.DIRECT, changes=True)
        names = parameters.json_object(request).get("with")
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise refused("with", "a list of names is needed")
        self._chat.spend(MESSAGES, session, self._peers.address(request))
        room, new = await self._chat.room_changes.direct(
            session, names, self._peers.address(request)
        )
        shown = await self._room(room, session)
        if new:
            return answers.created(request, shown, api_path(room.name))
        return answers.json(request, shown)

    # -- what several do

    async def _actor(self, request: HttpRequest) -> Session:
        """The session of a request that does something, which was meant."""
        session = await self._auth.speaker(request)
        self._auth.check_csrf(request, session)
        return session

    async def _room(self, room: Room, asker: Session | None) -> dict[str, Any]:
        others = await self._chat.room_changes.companions(asker, [room])
        return self._shown(room, others.get(room.name))

    def _shown(self, room: Room, others: Sequence[str] | None) -> dict[str, Any]:
        """A room as JSON.

        :param others: with whom one talks there; None where it is no direct conversation.
        """
        told = {
            "name": room.name,
            "topic": room.topic,
            "kind": room.kind.value,
            "people": self._chat.presence.count(room.name),
            "last_id": self._chat.feed.newest.get(room.context.path, 0),
            "slow": room.slow,
            "locked": room.locked,
            "archived": room.archived,
        }
        if others is not None:
            told["with"] = others
        return told


def new_kind(asked: object) -> RoomKind:
    """What a new room is to be.

    :raises InvalidRequest: it can't be that.
    """
    for kind in (RoomKind.PUBLIC, RoomKind.PRIVATE):
        if asked == kind.value:
            return kind
    raise refused("kind", "one of these is needed: public, private")
