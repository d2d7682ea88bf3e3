"""The page of a person, as somebody in a room sees them: what can be done about them, by forms.

What it is: `PersonPages`, which shows it and does what its buttons say.

What it may know: the chat and what moderates it, views. Not the API.

Invariant: a button is there for whoever may press it; each form ends in the page again, with what
came of it or with what was typed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.moderation import Reach
from cometd_chat.chat.people_lookup import Lookup, Person
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanction_rules import described
from cometd_chat.chat.sanctions import kind_named, minutes_of, reason_of
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import ChatError, InvalidRequest
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.browser_pages import BrowserPages
from cometd_chat.web.forms import Form
from cometd_chat.web.pages.people import PersonPage, SanctionView
from cometd_chat.web.pages.rooms import PersonView
from cometd_chat.web.parameters import Parameters
from cometd_chat.web.peers import Peers
from cometd_chat.web.submissions import Submissions
from cometd_chat.web.views import Views


@attrs.frozen
class _Asked:
    """What somebody asks for with the page of somebody else.

    :param fields: of the form that was sent.
    """

    session: Session
    room: Room
    person: Person
    fields: Parameters
    address: str


#: Does what a button says, and tells in a sentence what came of it.
_Deed = Callable[[_Asked], Awaitable[str]]


class PersonPages(BrowserPages):
    """Responds to browsers."""

    def __init__(
        self,
        chat: Chat,
        auth: Auth,
        peers: Peers,
        views: Views,
        submissions: Submissions,
        lookup: Lookup,
    ) -> None:
        super().__init__(chat, auth, peers, views, submissions)
        self._lookup = lookup
        #: What the buttons do, by their values.
        self._deeds: Mapping[str, _Deed] = {
            "silence": self._sanction,
            "kick": self._sanction,
            "ban": self._sanction,
            "ban-network": self._sanction,
            "lift": self._lift,
            "ignore": self._ignore,
            "unignore": self._unignore,
        }

    async def show(self, request: HttpRequest, name: str, who: str) -> bytes:
        session = await self._auth.visitor(request)
        if session is None:
            return self._views.log_in(request, name)
        room = await self._chat.room(name, session)
        person = await self._lookup.by_name(who)
        return self._page(request, session, room, person, Form())

    @shielded
    async def act(self, request: HttpRequest, name: str, who: str) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        room = await self._chat.room(name, session)
        person = await self._lookup.by_name(who)
        deed = self._deeds.get(fields.text("act"))
        typed = Form(
            name=fields.text("minutes"), text=fields.text("reason"), topic=fields.text("where")
        )
        asked = _Asked(session, room, person, fields, self._peers.address(request))
        form = await self._submissions.tell(request, typed, self._do(deed, asked))
        return self._page(request, session, room, person, form)

    async def _do(self, deed: _Deed | None, asked: _Asked) -> str:
        if deed is None:
            raise InvalidRequest("There is no such button: load the page again.")
        return await deed(asked)

    # -- the buttons

    async def _sanction(self, asked: _Asked) -> str:
        fields = asked.fields
        kind = kind_named(fields.text("act"))
        typed = fields.text("minutes").strip()
        minutes = int(typed) if typed.isascii() and typed.isdigit() else typed or None
        sanction = await self._chat.moderation.impose(
            asked.session,
            kind,
            asked.person,
            None if fields.text("where") == "everywhere" else asked.room,
            Reach(minutes_of(kind, minutes), reason_of(fields.text("reason"))),
            address=asked.address,
        )
        return described(sanction, self._chat.moderation.now())

    async def _lift(self, asked: _Asked) -> str:
        await self._chat.moderation.lift(asked.session, asked.fields.text("id"))
        return "It is lifted."

    async def _ignore(self, asked: _Asked) -> str:
        person = asked.person
        await self._chat.ignored.ignore(asked.session, person.identity, person.name)
        return f"You ignore {person.name} from now on."

    async def _unignore(self, asked: _Asked) -> str:
        person = asked.person
        await self._chat.ignored.unignore(asked.session, person.identity, person.name)
        return f"You hear and see {person.name} again."

    # -- the page

    def _page(
        self, request: HttpRequest, session: Session, room: Room, person: Person, form: Form
    ) -> bytes:
        rights = self._chat.rights
        in_house, in_room = rights.may(session, Act.SANCTION), self._may_here(session, room)
        page = PersonPage(
            room=room.name,
            person=PersonView(name=person.name, role=person.role.word),
            is_me=person.identity == session.identity,
            ignores=person.identity in self._chat.ignored.by(session),
            sanctions=self._sanctions(session, room, person, shown=in_room),
            may_sanction=in_room and self._is_below(session, room, person),
            everywhere=in_house is None,
            form_token=self._auth.form_token(session),
            form=form,
        )
        return self._views.respond(request, page, form.status)

    def _may_here(self, session: Session, room: Room) -> bool:
        return self._chat.rights.may(session, Act.SANCTION, room) is None

    def _is_below(self, session: Session, room: Room, person: Person) -> bool:
        if person.identity == session.identity:
            return False
        try:
            self._chat.rights.require_above(
                session, person.role, identity=person.identity, room=room
            )
        except ChatError:
            return False
        return True

    def _sanctions(
        self, session: Session, room: Room, person: Person, *, shown: bool
    ) -> Sequence[SanctionView]:
        moderation = self._chat.moderation
        found = moderation.of(person.identity, room.name) if shown else []
        return [
            SanctionView(id=each.id, text=described(each, moderation.now()), by=each.by_name)
            for each in found
        ]
