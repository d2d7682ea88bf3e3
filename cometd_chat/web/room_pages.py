"""The page of who belongs to a room, and of what the room is: all of it by forms.

What it is: `RoomPages`, which shows it and does what its buttons say.

What it may know: the chat, views. Not the API.

Invariant: a button is there for whoever may press it; each form ends in the page again, with what
came of it or with what was typed, or where the room is gone, in the lobby.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import LOBBY, Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import InvalidRequest
from cometd_chat.events.texts import refused
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers
from cometd_chat.web.answers import room_path, shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.browser_pages import BrowserPages
from cometd_chat.web.forms import Form
from cometd_chat.web.pages.rooms import MembersPage, PersonView, RoomView
from cometd_chat.web.parameters import Parameters
from cometd_chat.web.peers import Peers
from cometd_chat.web.submissions import Submissions
from cometd_chat.web.views import Views


@attrs.frozen
class _Asked:
    """What somebody asks for with the page.

    :param who: the name that a form is about, as it was typed.
    """

    session: Session
    room: Room
    who: str
    fields: Parameters
    address: str


#: Does what a button says, and tells in a sentence what came of it.
_Deed = Callable[[_Asked], Awaitable[str]]


class RoomPages(BrowserPages):
    """Responds to browsers."""

    def __init__(
        self, chat: Chat, auth: Auth, peers: Peers, views: Views, submissions: Submissions
    ) -> None:
        super().__init__(chat, auth, peers, views, submissions)
        #: What the buttons do, by their values.
        self._deeds: Mapping[str, _Deed] = {
            "belong": self._join,
            "leave": self._leave,
            "add": self._add,
            "moderator": self._make_moderator,
            "member": self._make_member,
            "put-out": self._put_out,
            "change": self._change,
            "remove": self._remove,
        }

    async def show(self, request: HttpRequest, name: str) -> bytes:
        session = await self._auth.visitor(request)
        if session is None:
            return self._views.log_in(request, name)
        return await self._page(request, session, await self._chat.room(name, session), Form())

    @shielded
    async def act(self, request: HttpRequest, name: str) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        room = await self._chat.room(name, session)
        typed = Form(name=fields.text("who"), topic=fields.text("topic", room.topic))
        address = self._peers.address(request)
        asked = _Asked(session, room, typed.name.strip(), fields, address)
        form = await self._submissions.tell(
            request, typed, self._do(self._deeds.get(fields.text("act")), asked)
        )
        if room.gone or self._chat.rights.may(session, Act.SEE, room, address) is not None:
            return answers.see_other(request, room_path(LOBBY))
        return await self._page(request, session, room, form)

    async def _do(self, deed: _Deed | None, asked: _Asked) -> str:
        if deed is None:
            raise InvalidRequest("There is no such button: load the page again.")
        return await deed(asked)

    # -- the buttons

    async def _join(self, asked: _Asked) -> str:
        await self._put(asked, asked.session.name, None)
        return f"You belong to #{asked.room.name}."

    async def _leave(self, asked: _Asked) -> str:
        await self._drop(asked, asked.session.name)
        return f"You do not belong to #{asked.room.name} any more."

    async def _add(self, asked: _Asked) -> str:
        await self._put(asked, asked.who, None)
        return f"{asked.who} belongs to #{asked.room.name}."

    async def _make_moderator(self, asked: _Asked) -> str:
        await self._put(asked, asked.who, "moderator")
        return f"{asked.who} moderates #{asked.room.name}."

    async def _make_member(self, asked: _Asked) -> str:
        await self._put(asked, asked.who, "member")
        return f"{asked.who} does not moderate #{asked.room.name} any more."

    async def _put_out(self, asked: _Asked) -> str:
        await self._drop(asked, asked.who)
        return f"{asked.who} does not belong to #{asked.room.name} any more."

    async def _put(self, asked: _Asked, who: str, role: str | None) -> None:
        changes = self._chat.room_changes
        await changes.put_member(asked.session, asked.room, who, role, asked.address)

    async def _drop(self, asked: _Asked, who: str) -> None:
        changes = self._chat.room_changes
        await changes.drop_member(asked.session, asked.room, who, asked.address)

    async def _change(self, asked: _Asked) -> str:
        fields, room = asked.fields, asked.room
        slow = fields.text("slow").strip() or "0"
        if not (slow.isascii() and slow.isdigit() and len(slow) < 6):
            raise refused("slow", "a number of seconds is needed")
        wanted: dict[str, object] = {
            "topic": fields.text("topic"),
            "slow": int(slow),
            "locked": bool(fields.text("locked")),
        }
        if room.name != LOBBY:
            kind = RoomKind.PRIVATE if fields.text("private") else RoomKind.PUBLIC
            wanted |= {"kind": kind.value, "archived": bool(fields.text("archived"))}
        await self._chat.room_changes.change(asked.session, room, wanted, asked.address)
        return "It is changed."

    async def _remove(self, asked: _Asked) -> str:
        if asked.fields.text("sure") != asked.room.name:
            raise InvalidRequest("Write the room's name into the box: what was said will be gone.")
        await self._chat.room_changes.remove(asked.session, asked.room, asked.address)
        return ""

    # -- the page

    async def _page(self, request: HttpRequest, session: Session, room: Room, form: Form) -> bytes:
        found = await self._chat.room_changes.members(room)
        address = self._peers.address(request)
        # They may not belong to it any longer once it is read.
        self._chat.rights.require(session, Act.SEE, [room], address)
        rights = {act.value for act in self._chat.rights.all_of(session, room)}
        page = MembersPage(
            room=RoomView(
                name=room.name,
                topic=room.topic,
                kind=room.kind.value,
                slow=room.slow,
                locked=room.locked,
                archived=room.archived,
            ),
            me=session.name,
            is_lobby=room.name == LOBBY,
            belongs=session.identity in room.members,
            members=[PersonView(name=each.name, role=each.role) for each in found],
            rights=rights,
            form_token=self._auth.form_token(session),
            form=form,
        )
        return self._views.respond(request, page, form.status)
