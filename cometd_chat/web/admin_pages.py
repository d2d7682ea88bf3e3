"""The pages of those who run the house and keep it civil, and their forms.

What it is: `SECTIONS`, the table of these pages, and `AdminPages`, which shows each and does what
its buttons say.

What it may know: the chat and what moderates it, accounts, views. Not the API.

Invariant: a page lists the pages that whoever looks may see, and each form ends in its page again,
with what came of it or with why it was refused. All of it works without a script.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.matrix import Calm
from cometd_chat.chat.reports import Report
from cometd_chat.chat.rights import Act
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanction_rules import described
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.users import Users
from cometd_chat.errors import ChatError, InvalidRequest
from cometd_chat.events.kinds import timestamp
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.browser_pages import BrowserPages
from cometd_chat.web.forms import Form, typed_room
from cometd_chat.web.live import Live
from cometd_chat.web.pages.admin import (
    AdminAuditPage,
    AdminFrame,
    AdminNowPage,
    AdminPage,
    AdminPeoplePage,
    AdminPoliciesPage,
    AdminReportsPage,
    AdminRoomsPage,
    AdminRoomView,
    AdminSanctionsPage,
    AdminWaitingPage,
    ReportView,
)
from cometd_chat.web.pages.people import SanctionView
from cometd_chat.web.parameters import Parameters
from cometd_chat.web.peers import Peers
from cometd_chat.web.submissions import Submissions
from cometd_chat.web.views import Views

#: Rows that a page lists at first.
LISTED = 100


@attrs.frozen
class Section:
    """One of the pages.

    :param name: the last part of its path.
    :param title: what it is called.
    :param act: the right to see it.
    """

    name: str
    title: str
    act: Act


#: All of them, in the order in which they are listed. ``/admin`` is the first that one may see.
SECTIONS: Sequence[Section] = (
    Section("now", "Now", Act.SEE_LIVE),
    Section("waiting", "Waiting", Act.LET_IN),
    Section("reports", "Reports", Act.SEE_REPORTS),
    Section("sanctions", "Sanctions", Act.SEE_SANCTIONS),
    Section("rooms", "Rooms", Act.CHANGE_ROOM),
    Section("people", "People", Act.SEE_USERS),
    Section("policies", "Policies", Act.SET_POLICY),
    Section("audit", "Audit log", Act.SEE_AUDIT),
)

_NAMED = {section.name: section for section in SECTIONS}


@attrs.frozen
class _Asked:
    """What somebody asks for by a form.

    :param fields: of it.
    :param address: where from.
    """

    session: Session
    fields: Parameters
    address: str


#: Does what a button says, and tells in a sentence what came of it.
_Deed = Callable[[_Asked], Awaitable[str]]


class AdminPages(BrowserPages):
    """Responds to browsers."""

    def __init__(
        self,
        chat: Chat,
        users: Users,
        auth: Auth,
        peers: Peers,
        views: Views,
        submissions: Submissions,
        live: Live,
    ) -> None:
        super().__init__(chat, auth, peers, views, submissions)
        self._users = users
        self._live = live
        self._shown: Mapping[str, Callable[..., Awaitable[AdminPage]]] = {
            "now": self._now,
            "waiting": self._waiting,
            "reports": self._reports,
            "sanctions": self._sanctions,
            "rooms": self._rooms,
            "people": self._people,
            "policies": self._policies,
            "audit": self._audit,
        }
        #: What the buttons do, by the page that they are on and their values.
        self._deeds: Mapping[tuple[str, str], _Deed] = {
            ("waiting", "let-in"): self._let_in,
            ("waiting", "turn-away"): self._turn_away,
            ("reports", "settle"): self._settle,
            ("reports", "delete"): self._delete,
            ("reports", "say"): partial(self._decide, say=True),
            ("reports", "drop"): partial(self._decide, say=False),
            ("sanctions", "lift"): self._lift,
            ("rooms", "change"): self._change_room,
            ("rooms", "remove"): self._remove_room,
            ("people", "role"): self._set_role,
            ("people", "end"): self._end_sessions,
            ("policies", "change"): self._change_policies,
        }

    # -- the pages

    async def first(self, request: HttpRequest) -> bytes:
        session = await self._auth.visitor(request)
        if session is None:
            return self._views.log_in(request, "lobby")
        may = self._may_see(session)
        if not may:
            self._chat.rights.require(session, Act.CALM)
        return answers.see_other(request, f"/admin/{may[0].name}")

    async def show(self, request: HttpRequest, section: str) -> bytes:
        session = await self._auth.visitor(request)
        if session is None:
            return self._views.log_in(request, "lobby")
        return await self._page(request, _NAMED[section], session, Form())

    async def _page(
        self, request: HttpRequest, section: Section, session: Session, form: Form
    ) -> bytes:
        self._chat.rights.require(session, section.act, (), self._peers.address(request))
        frame = AdminFrame(
            sections=[(each.name, each.title) for each in self._may_see(session)],
            name=section.name,
            title=section.title,
            house=self._chat.policies.title,
            calm=self._chat.policies.calm.word,
            calms=[each.word for each in Calm],
            calm_pinned=self._pin("calm"),
            form_token=self._auth.form_token(session),
        )
        page = await self._shown[section.name](parameters.query(request), session, frame, form)
        return self._views.respond(request, page, form.status)

    def _may_see(self, session: Session) -> Sequence[Section]:
        rights = self._chat.rights
        return [each for each in SECTIONS if rights.may(session, each.act) is None]

    def _pin(self, policy: str) -> str:
        pin = self._chat.policies.pins.get(policy)
        return "" if pin is None else pin.option

    # -- their forms

    @shielded
    async def act(self, request: HttpRequest, section: str) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        self._chat.rights.require(session, _NAMED[section].act)
        deed = self._deeds.get((section, fields.text("act")))
        asked = _Asked(session, fields, self._peers.address(request))
        form = await self._submissions.tell(request, Form(), _do(deed, asked))
        return await self._page(request, _NAMED[section], session, form)

    @shielded
    async def calm(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        await self._chat.policies.change(session, {"calm": fields.text("calm")})
        back = fields.text("section")
        return answers.see_other(request, f"/admin/{back}" if back in _NAMED else "/admin")

    # -- the stream, and its numbers

    async def numbers(self, request: HttpRequest) -> bytes:
        await self._auth.allowed(request, Act.SEE_LIVE)
        return answers.json(request, self._live.numbers.look())

    async def watch(self, request: HttpRequest) -> None:
        session = await self._auth.allowed(request, Act.SEE_LIVE)
        self._live.open(request, session, self._peers.address(request))

    # -- now

    async def _now(
        self, asked: Parameters, session: Session, frame: AdminFrame, form: Form
    ) -> AdminPage:
        return AdminNowPage(frame=frame, form=form, now=self._live.numbers.look())

    # -- who waits

    async def _waiting(
        self, asked: Parameters, session: Session, frame: AdminFrame, form: Form
    ) -> AdminPage:
        rows = await self._chat.waiting.page(asked.optional("after"), LISTED + 1)
        return AdminWaitingPage(
            frame=frame,
            form=form,
            guests=str(self._chat.policies.values["guests"]),
            waiting=[(row.name, timestamp(row.since)) for row in rows[:LISTED]],
            more=len(rows) > LISTED,
        )

    async def _let_in(self, asked: _Asked) -> str:
        name = asked.fields.text("name")
        await self._chat.waiting.admit(asked.session, name)
        return f"{name} is in."

    async def _turn_away(self, asked: _Asked) -> str:
        name = asked.fields.text("name")
        await self._chat.waiting.turn_away(asked.session, name)
        return f"{name} was turned away."

    # -- what was reported, and what the word filter holds

    async def _reports(
        self, asked: Parameters, session: Session, frame: AdminFrame, form: Form
    ) -> AdminPage:
        found = await self._chat.reports.listed(session, None, LISTED)
        shown = [await self._reported(each, session) for each in found]
        held = await self._chat.messages.screened.listed(session, None, LISTED)
        return AdminReportsPage(
            frame=frame,
            form=form,
            reports=[each for each in shown if each is not None],
            held=[
                (each.id, each.room, each.name, each.text)
                for each in held
                if await self._seen(each.room, session) is not None
            ],
        )

    async def _seen(self, name: str, session: Session) -> Room | None:
        try:
            return await self._chat.room(name, session)
        except ChatError:
            return None

    async def _reported(self, report: Report, session: Session) -> ReportView | None:
        """A report with its message; None where it is of a room that they may not see."""
        try:
            room = await self._chat.room(report.room, session)
            record = await self._chat.deletions.message(session, room, report.message)
        except ChatError:
            return None
        fields = self._chat.feed.event(record).fields
        return ReportView(
            id=report.id,
            room=report.room,
            message=report.message,
            author=str(fields["from"]),
            text=str(fields.get("text", fields.get("topic", ""))),
            by=report.by_name,
            reason=report.reason,
            at=timestamp(report.at),
        )

    async def _settle(self, asked: _Asked) -> str:
        await self._chat.reports.settle(asked.session, asked.fields.text("id"))
        return "It is settled: the message stays."

    async def _delete(self, asked: _Asked) -> str:
        fields = asked.fields
        room = await self._chat.room(fields.text("room"), asked.session)
        message = fields.number("message", 0, 0, 2**62) or 0
        await self._chat.deletions.delete(asked.session, room, message, address=asked.address)
        await self._chat.reports.settle(asked.session, fields.text("id"))
        return "The message is deleted."

    async def _decide(self, asked: _Asked, *, say: bool) -> str:
        await self._chat.messages.screened.decide(asked.session, asked.fields.text("id"), say=say)
        return "It is said now." if say else "It is dropped, and nobody hears it."

    # -- sanctions

    async def _sanctions(
        self, asked: Parameters, session: Session, frame: AdminFrame, form: Form
    ) -> AdminPage:
        moderation = self._chat.moderation
        listed, begin = moderation.listed(session), asked.number("from", 0, 0, 10**6) or 0
        shown = [
            SanctionView(id=each.id, text=described(each, moderation.now()), by=each.by_name)
            for each in listed[begin : begin + LISTED]
        ]
        following = begin + LISTED if len(listed) > begin + LISTED else 0
        return AdminSanctionsPage(
            frame=frame, form=form, sanctions=shown, total=len(listed), following=following
        )

    async def _lift(self, asked: _Asked) -> str:
        await self._chat.moderation.lift(asked.session, asked.fields.text("id"))
        return "It is lifted."

    # -- rooms

    async def _rooms(
        self, asked: Parameters, session: Session, frame: AdminFrame, form: Form
    ) -> AdminPage:
        rooms, more = self._chat.rooms.page(asked.optional("after"), LISTED, session)
        return AdminRoomsPage(
            frame=frame,
            form=form,
            rooms=[
                AdminRoomView(
                    name=each.name,
                    topic=each.topic,
                    kind=each.kind.value,
                    people=self._chat.presence.count(each.name),
                    slow=each.slow,
                    locked=each.locked,
                    archived=each.archived,
                )
                for each in rooms
            ],
            may_remove=self._chat.rights.may(session, Act.REMOVE_ROOM) is None,
            more=more,
        )

    async def _change_room(self, asked: _Asked) -> str:
        fields = asked.fields
        room = await self._chat.room(typed_room(fields.text("room")), asked.session)
        slow = fields.text("slow").strip() or "0"
        wanted: dict[str, object] = {
            "topic": fields.text("topic"),
            "slow": int(slow) if slow.isascii() and slow.isdigit() else slow,
            "locked": fields.text("locked") == "yes",
            "archived": fields.text("archived") == "yes",
        }
        await self._chat.room_changes.change(asked.session, room, wanted, asked.address)
        return f"#{room.name} is changed."

    async def _remove_room(self, asked: _Asked) -> str:
        room = await self._chat.room(typed_room(asked.fields.text("room")), asked.session)
        if asked.fields.text("sure") != "yes":
            raise InvalidRequest(f"Say that you are sure: what was said in #{room.name} is lost.")
        await self._chat.room_changes.remove(asked.session, room, asked.address)
        return f"#{room.name} is gone, with all that was said there."

    # -- people

    async def _people(
        self, asked: Parameters, session: Session, frame: AdminFrame, form: Form
    ) -> AdminPage:
        wanted = asked.text("name").strip()
        users, more = await self._users.page(
            session, asked.optional("after"), LISTED, beginning=wanted
        )
        return AdminPeoplePage(
            frame=frame,
            form=form,
            wanted=wanted,
            people=[(each.name, each.role.word, timestamp(each.seen_at)) for each in users],
            roles=[each.word for each in Role if each >= Role.MEMBER],
            more=more,
        )

    async def _set_role(self, asked: _Asked) -> str:
        role = Role.of(asked.fields.text("role"))
        if role is None:
            raise InvalidRequest("There is no such role: load the page again.")
        user = await self._users.set_role(asked.session, asked.fields.text("name"), role)
        return f"{user.name} is {user.role.word} from now."

    async def _end_sessions(self, asked: _Asked) -> str:
        name = asked.fields.text("name")
        ended = await self._users.end_sessions(asked.session, name)
        return f"{name} was logged out of {ended} device{'' if ended == 1 else 's'}."

    # -- policies

    async def _policies(
        self, asked: Parameters, session: Session, frame: AdminFrame, form: Form
    ) -> AdminPage:
        policies = self._chat.policies
        words = policies.words
        return AdminPoliciesPage(
            frame=frame,
            form=form,
            values=policies.values,
            pins={name: pin.option for name, pin in policies.pins.items()},
            refuse="\n".join(words.refuse),
            hold="\n".join(words.hold),
        )

    async def _change_policies(self, asked: _Asked) -> str:
        fields, policies = asked.fields, self._chat.policies
        wanted: dict[str, object] = {
            "title": fields.text("title"),
            "welcome": fields.text("welcome").replace("\r\n", "\n"),
            "guests": fields.text("guests"),
            "registration": fields.text("registration"),
            "rooms": fields.text("rooms"),
            "public_reading": fields.text("public_reading") == "yes",
            "words": {each: _lines(fields.text(each)) for each in ("refuse", "hold")},
        }
        # What an option pins stands in the form, and can't be changed by it.
        free = {name: value for name, value in wanted.items() if name not in policies.pins}
        await policies.change(asked.session, free)
        return "It is so from now on."

    # -- who did what

    async def _audit(
        self, asked: Parameters, session: Session, frame: AdminFrame, form: Form
    ) -> AdminPage:
        after = asked.number("after", None, 0, 2**62)
        found = await self._chat.audit.page(session.identity, after, LISTED + 1, None)
        return AdminAuditPage(
            frame=frame,
            form=form,
            deeds=[each.json for each in found[:LISTED]],
            following=found[LISTED - 1].id if len(found) > LISTED else 0,
        )


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


async def _do(deed: _Deed | None, asked: _Asked) -> str:
    if deed is None:
        raise InvalidRequest("There is no such button: load the page again.")
    return await deed(asked)
