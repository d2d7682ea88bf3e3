"""The page of a message: what can be done about it, by forms.

What it is: `MessagePages`, which shows it and does what its buttons say.

What it may know: the chat, views. Not the API.

Invariant: a button is there for whoever may press it; each form ends in the page again, with what
came of it or with what was typed.
"""

from __future__ import annotations

import attrs

from cometd_chat.chat.deletions import MOST_MINUTES
from cometd_chat.chat.guest_bans import MINUTES
from cometd_chat.chat.moderation import Reach
from cometd_chat.chat.moderator_commands import banned_guests
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanctions import BAN_NETWORK, minutes_of, reason_of
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import InvalidRequest
from cometd_chat.events.record import Record
from cometd_chat.events.texts import refused
from cometd_chat.log.redaction import is_emptied
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web.answers import shielded
from cometd_chat.web.browser_pages import BrowserPages
from cometd_chat.web.deletions_api import message_id
from cometd_chat.web.forms import Form
from cometd_chat.web.pages.people import MessagePage


@attrs.frozen
class _Asked:
    """What somebody asks for with the page of a message."""

    session: Session
    room: Room
    id: int
    act: str
    reason: str
    minutes: str
    address: str


class MessagePages(BrowserPages):
    """Responds to browsers."""

    async def show(self, request: HttpRequest, name: str, id: str) -> bytes:
        session = await self._auth.visitor(request)
        if not self._auth.may_read(session):
            return self._views.log_in(request, name)
        room = await self._chat.room(name, session)
        return await self._page(request, session, room, message_id(id), Form())

    @shielded
    async def act(self, request: HttpRequest, name: str, id: str) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        room = await self._chat.room(name, session)
        typed = Form(text=fields.text("reason"))
        asked = _Asked(
            session,
            room,
            message_id(id),
            fields.text("act"),
            typed.text,
            fields.text("minutes"),
            self._peers.address(request),
        )
        form = await self._submissions.tell(request, typed, self._do(asked))
        return await self._page(request, session, room, asked.id, form)

    async def _do(self, asked: _Asked) -> str:
        """Do what a button says; what came of it."""
        session, room, id, address = asked.session, asked.room, asked.id, asked.address
        deletions = self._chat.deletions
        if asked.act == "delete":
            await deletions.delete(session, room, id, address=address)
            return "It is deleted."
        if asked.act == "report":
            reason = reason_of(asked.reason)
            await self._chat.reports.report(session, room, id, reason, address=address)
            return "The moderators are told."
        if asked.act == "purge":
            self._chat.rights.require(session, Act.PURGE, [room], address)
            whom = await deletions.author_of(session, room, id, address=address)
            reason = reason_of(asked.reason)
            await deletions.purge(session, room, [whom], None, reason, address=address)
            return f"All that {whom.name} said in this room is gone."
        if asked.act == "purge-guests":
            reason, minutes = reason_of(asked.reason), _minutes(asked.minutes)
            await deletions.purge_guests(session, room, minutes, reason, address=address)
            return "What guests said in this room lately is gone."
        if asked.act == "ban-guests":
            reach = Reach(minutes_of(BAN_NETWORK, _minutes(asked.minutes)), reason_of(asked.reason))
            everywhere = self._chat.rights.may(session, Act.SANCTION, None, address) is None
            imposed = await self._chat.guest_bans.ban(
                session, room, MINUTES, None if everywhere else room, reach, address=address
            )
            return banned_guests(imposed)
        if asked.act == "unpurge":
            newest = await deletions.newest(session, room, address=address)
            await deletions.undo(session, room, newest.id, address=address)
            return "What was purged last in this room is back."
        raise InvalidRequest("There is no such button: load the page again.")

    async def _page(
        self, request: HttpRequest, session: Session | None, room: Room, id: int, form: Form
    ) -> bytes:
        record = await self._chat.deletions.message(session, room, id)
        own = session is not None and record.sender == session.identity
        there = not is_emptied(record)
        page = MessagePage(
            room=room.name,
            line=self._views.line(self._chat.feed.event(record)),
            may_delete=there and self._may(session, room, record, own=own),
            may_report=there and not own and self._allowed(session, Act.REPORT, room),
            may_purge=self._allowed(session, Act.PURGE, room),
            form_token="" if session is None else self._auth.form_token(session),
            form=form,
        )
        return self._views.respond(request, page, form.status)

    def _may(self, session: Session | None, room: Room, record: Record, *, own: bool) -> bool:
        return self._allowed(session, Act.DELETE_OWN if own else Act.DELETE_OTHERS, room)

    def _allowed(self, session: Session | None, act: Act, room: Room) -> bool:
        return session is not None and self._chat.rights.may(session, act, room) is None


def _minutes(typed: str) -> int:
    if not (typed.isascii() and typed.isdigit() and len(typed) < 10):
        raise refused("minutes", "a whole number is needed")
    if not 1 <= int(typed) <= MOST_MINUTES:
        raise refused("minutes", f"1 to {MOST_MINUTES} are possible")
    return int(typed)
