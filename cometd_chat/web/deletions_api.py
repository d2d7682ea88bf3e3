"""The API of what becomes of messages: deleting them, purging, reporting.

What it is: from what a program sends to what the chat does, and how it is told.

What it may know: the chat. Not pages.

Invariant: whoever may not is refused before anything is looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.deletions import MOST_MINUTES, MOST_PEOPLE
from cometd_chat.chat.people_lookup import Whom
from cometd_chat.chat.purge_rows import Purge
from cometd_chat.chat.reports import Report
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanctions import reason_of
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import ChatError, NotFound
from cometd_chat.events.kinds import timestamp
from cometd_chat.events.texts import refused
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import api_path, shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.peers import Peers

#: Each of them is read with its message.
MAX_REPORTS = 50


class DeletionsApi:
    """Responds to programs."""

    def __init__(self, chat: Chat, auth: Auth, peers: Peers) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers

    @shielded
    async def delete(self, request: HttpRequest, name: str, id: str) -> bytes:
        actor, room = await self._acting(request, name)
        address = self._peers.address(request)
        self._chat.rights.require(actor, Act.DELETE_OWN, [room], address)
        await self._chat.deletions.delete(actor, room, message_id(id), address=address)
        return answers.nothing(request)

    @shielded
    async def purge(self, request: HttpRequest, name: str) -> bytes:
        actor, room = await self._acting(request, name)
        address = self._peers.address(request)
        self._chat.rights.require(actor, Act.PURGE, [room], address)
        fields = parameters.json_object(request)
        minutes, reason = _minutes(fields.get("minutes")), reason_of(fields.get("reason"))
        deletions, whose = self._chat.deletions, _whose(fields)
        if whose == "guests":
            purge = await deletions.purge_guests(
                actor, room, _needed(minutes), reason, address=address
            )
            told: dict[str, Any] = {"guests": True}
        else:
            people = await self._people(actor, room, fields, address)
            purge = await deletions.purge(actor, room, people, minutes, reason, address=address)
            names = [each.name for each in people]
            told = {"who": names if isinstance(fields.get("who"), list) else names[0]}
        path = f"{api_path(room.name)}/purge/{purge.id}"
        return answers.created(request, {**_told(purge), **told}, path)

    async def _people(
        self, actor: Session, room: Room, fields: dict[str, Any], address: str
    ) -> Sequence[Whom]:
        """Whom it is about: a name, a list of them, or the author of a message."""
        message = fields.get("message")
        if message is None:
            return [await self._chat.somebody(name, room) for name in _names(fields)]
        if isinstance(message, bool) or not isinstance(message, int):
            raise refused("message", "the id of a message is needed")
        return [await self._chat.deletions.author_of(actor, room, message, address=address)]

    @shielded
    async def undo(self, request: HttpRequest, name: str, id: str) -> bytes:
        actor, room = await self._acting(request, name)
        address = self._peers.address(request)
        await self._chat.deletions.undo(actor, room, id, address=address)
        return answers.nothing(request)

    # -- reports

    @shielded
    async def report(self, request: HttpRequest, name: str, id: str) -> bytes:
        actor, room = await self._acting(request, name)
        address = self._peers.address(request)
        self._chat.rights.require(actor, Act.REPORT, [room], address)
        reason = reason_of(parameters.json_object(request).get("reason"))
        report = await self._chat.reports.report(
            actor, room, message_id(id), reason, address=address
        )
        return answers.created(request, {"id": report.id}, f"/api/v1/reports/{report.id}")

    async def list_reports(self, request: HttpRequest) -> bytes:
        actor = await self._auth.speaker(request)
        asked = parameters.query(request)
        room = await self._chat.room(asked.text("room"), actor) if asked.text("room") else None
        rooms = [] if room is None else [room]
        self._chat.rights.require(actor, Act.SEE_REPORTS, rooms, self._peers.address(request))
        limit = asked.number("limit", MAX_REPORTS, 1, MAX_REPORTS) or MAX_REPORTS
        names = None if room is None else [room.name]
        found = await self._chat.reports.listed(actor, names, limit + 1)
        told = [await self._shown(each, actor) for each in found[:limit]]
        seen = [each for each in told if each is not None]
        return answers.json(request, {"reports": seen, "more": len(found) > limit})

    async def _shown(self, report: Report, actor: Session) -> dict[str, Any] | None:
        """A report with its message; None where it is of a room that they may not see."""
        try:
            room = await self._chat.room(report.room, actor)
            record = await self._chat.deletions.message(actor, room, report.message)
        except ChatError:
            return None
        return {
            "id": report.id,
            "room": report.room,
            "message": self._chat.feed.event(record).fields,
            "by": report.by_name,
            "reason": report.reason,
            "at": timestamp(report.at),
        }

    @shielded
    async def settle(self, request: HttpRequest, id: str) -> bytes:
        actor = await self._auth.speaker(request)
        self._auth.check_csrf(request, actor)
        await self._chat.reports.settle(actor, id)
        return answers.nothing(request)

    # -- what several do

    async def _acting(self, request: HttpRequest, name: str) -> tuple[Session, Room]:
        """Who does something in a room, which was meant."""
        actor = await self._auth.speaker(request)
        self._auth.check_csrf(request, actor)
        return actor, await self._chat.room(name, actor)


def message_id(text: str) -> int:
    """The id of a message, as it stands in a path.

    :raises NotFound: it can't be one.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise NotFound("There is no such message in this room.")
    return int(text)


def _whose(fields: dict[str, Any]) -> str:
    """By which field it is said whose messages are purged.

    :raises InvalidRequest: by none, or by several.
    """
    asked = [name for name in ("who", "message", "guests") if fields.get(name) is not None]
    if len(asked) > 1:
        raise refused(asked[1], f"it can't be given with {asked[0]}")
    if fields.get("guests") not in (None, True):
        raise refused("guests", "true is needed, or nothing")
    return asked[0] if asked else "who"


def _names(fields: dict[str, Any]) -> Sequence[str]:
    asked = fields.get("who")
    if not isinstance(asked, list):
        return [parameters.string(fields, "who")]
    if not 1 <= len(asked) <= MOST_PEOPLE or not all(isinstance(each, str) for each in asked):
        raise refused("who", f"a name is needed, or a list of 1 to {MOST_PEOPLE} names")
    return asked


def _needed(minutes: int | None) -> int:
    if minutes is None:
        raise refused("minutes", "of guests, only what they said in the last minutes is purged")
    return minutes


def _minutes(asked: object) -> int | None:
    if asked is None:
        return None
    if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= MOST_MINUTES:
        raise refused(
            "minutes", f"a whole number from 1 to {MOST_MINUTES} is needed, or none for everything"
        )
    return asked


def _told(purge: Purge) -> dict[str, Any]:
    return {
        "id": purge.id,
        "room": purge.room,
        "at": timestamp(purge.at),
        "until": timestamp(purge.until),
    }
