"""The pages of accounts, and their forms: claim, invitation, log-in link, one's own account.

What it is: what is done for each of these addresses, without a script.

What it may know: accounts, the chat, views. Not the API.

Invariant: to look at a link uses nothing up, since programs look at links, too; what it is good for
is done by a form. What was typed comes back, but for passwords.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from cometd_chat.chat.accounts import Accounts
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.invites import InviteRequest, Invites, invite_code
from cometd_chat.chat.rights import Act
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.events.kinds import timestamp
from cometd_chat.log.invites import InviteRow
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.accounts_api import messages_choice, role_of
from cometd_chat.web.agents import agent_of
from cometd_chat.web.answers import room_path, shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.browser_pages import BrowserPages
from cometd_chat.web.first_screen import FIRST, FirstScreen
from cometd_chat.web.forms import Form, typed_room
from cometd_chat.web.pages.accounts import (
    AccountPage,
    ClaimPage,
    DeviceLinkPage,
    DeviceView,
    InvitePage,
    InviteView,
    LinkPage,
)
from cometd_chat.web.parameters import Parameters
from cometd_chat.web.peers import Peers
from cometd_chat.web.qr import qr_svg
from cometd_chat.web.submissions import Submissions
from cometd_chat.web.views import Views

#: Invitations that the page of an account lists.
_LISTED = 50

#: What a form's answer may say was done.
_DONE = {
    "member": "You are a member from now: your name is yours.",
    "password": "The password is changed, and your other devices are logged out.",
    "ended": "That device is logged out.",
    "revoked": "The invitation is good no longer.",
}


class AccountPages(BrowserPages):
    """Responds to browsers."""

    def __init__(
        self,
        chat: Chat,
        accounts: Accounts,
        invites: Invites,
        auth: Auth,
        peers: Peers,
        views: Views,
        submissions: Submissions,
        first: FirstScreen,
    ) -> None:
        super().__init__(chat, auth, peers, views, submissions)
        self._first = first
        self._accounts = accounts
        self._invites = invites

    # -- the owner link

    async def show_claim(self, request: HttpRequest, code: str) -> bytes:
        session = await self._auth.visitor(request)
        return await self._claim_page(request, code, session, Form(name=_name(session)))

    @shielded
    async def claim(self, request: HttpRequest, code: str) -> bytes:
        fields, session = await self._submissions.read(request)
        form = Form.sent(fields)
        address = self._peers.address(request)
        done = await self._submissions.attempt(
            request,
            form,
            self._accounts.claim(
                code,
                form.name,
                fields.text("password"),
                session,
                address=address,
                agent=agent_of(request),
            ),
        )
        if isinstance(done, Form):
            return await self._claim_page(request, code, session, done)
        await self._submissions.became(request, session, *done)
        await self._first.prepare(done[0])
        return answers.see_other(request, FIRST)

    async def _claim_page(
        self, request: HttpRequest, code: str, session: Session | None, form: Form
    ) -> bytes:
        until = await self._accounts.claimable_until(code)
        page = ClaimPage(code=code, until=_clock(until), form=form, form_token=self._token(session))
        return self._views.respond(request, page, form.status)

    # -- invitations

    async def show_invite(self, request: HttpRequest, code: str) -> bytes:
        session = await self._auth.visitor(request)
        return await self._invite_page(request, code, session, Form())

    @shielded
    async def take_invite(self, request: HttpRequest, code: str) -> bytes:
        fields, session = await self._submissions.read(request)
        form, row = Form.sent(fields), await self._invites.find(code)
        done = await self._submissions.attempt(
            request, form, self._enter_by(request, row, fields, session)
        )
        if isinstance(done, Form):
            return await self._invite_page(request, code, session, done)
        return answers.see_other(request, room_path(row.room or "lobby"))

    async def _enter_by(
        self, request: HttpRequest, row: InviteRow, fields: Parameters, session: Session | None
    ) -> Session:
        """Let somebody in by an invitation."""
        address, agent = self._peers.address(request), agent_of(request)
        name, password = fields.text("name"), fields.text("password")
        if fields.text("account"):
            entered, token = await self._accounts.log_in(
                name, password, address=address, agent=agent
            )
            await self._submissions.became(request, session, entered, token)
            session = entered
        if session is None or session.member is None:
            entered, token = await self._accounts.join(
                row.code, name, password, session, address=address, agent=agent
            )
            await self._submissions.became(request, session, entered, token)
            return entered
        await self._accounts.accept(session, row.code)
        return session

    async def _invite_page(
        self, request: HttpRequest, code: str, session: Session | None, form: Form
    ) -> bytes:
        row = await self._invites.find(code)
        address = f"{self._peers.base_url(request)}/invite/{code}"
        page = InvitePage(
            code=code,
            room=row.room or "",
            role=row.role,
            by=row.by_name,
            good_for=_good_for(row),
            me=_name(session),
            member=session is not None and session.member is not None,
            guests=self._accounts.lets_guests_in,
            address=address,
            qr=qr_svg(address),
            form=form,
            form_token=self._token(session),
        )
        return self._views.respond(request, page, form.status)

    # -- log-in links

    async def show_link(self, request: HttpRequest, code: str) -> bytes:
        session = await self._auth.visitor(request)
        return await self._link_page(request, code, session, Form())

    @shielded
    async def follow_link(self, request: HttpRequest, code: str) -> bytes:
        fields, session = await self._submissions.read(request)
        address = self._peers.address(request)
        done = await self._submissions.attempt(
            request,
            Form.sent(fields),
            self._accounts.follow_link(code, address=address, agent=agent_of(request)),
        )
        if isinstance(done, Form):
            return await self._link_page(request, code, session, done)
        await self._submissions.became(request, session, *done)
        return answers.see_other(request, room_path("lobby"))

    async def _link_page(
        self, request: HttpRequest, code: str, session: Session | None, form: Form
    ) -> bytes:
        page = LinkPage(
            code=code,
            name=await self._accounts.name_of_link(code),
            me=_name(session),
            form=form,
            form_token=self._token(session),
        )
        return self._views.respond(request, page, form.status)

    # -- one's own account

    async def show(self, request: HttpRequest) -> bytes:
        session = await self._auth.visitor(request)
        if session is None or session.name_key is None:
            return self._views.log_in(request, "lobby", session=session)
        done = _DONE.get(parameters.query(request).text("done"), "")
        return await self._account_page(request, session, done=done)

    @shielded
    async def become_member(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        form = Form(text=fields.text("invite"))
        work = self._accounts.become_member(
            session,
            fields.text("password"),
            invite_code(form.text) or None,
            address=self._peers.address(request),
        )
        return await self._done(request, session, form, work, "member")

    @shielded
    async def change_password(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        work = self._accounts.change_password(
            session,
            fields.text("password"),
            fields.text("new_password"),
            address=self._peers.address(request),
        )
        return await self._done(request, session, Form(), work, "password")

    @shielded
    async def make_link(self, request: HttpRequest) -> bytes:
        _, session = await self._submissions.read_of_session(request)
        code, _ = await self._accounts.make_link(session)
        address = f"{self._peers.base_url(request)}/link/{code}"
        page = DeviceLinkPage(address=address, qr=qr_svg(address))
        return self._views.respond(request, page)

    @shielded
    async def end_session(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        id = fields.text("id")
        if id == session.id:
            await self._chat.log_out(session)
            self._auth.clear_cookie(request)
            return answers.see_other(request, "/")
        await self._chat.end_device(session, id)
        return answers.see_other(request, "/account?done=ended#devices")

    @shielded
    async def make_invite(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        form = Form(name=fields.text("room"))
        made = await self._submissions.attempt(
            request, form, self._invite(session, fields, typed_room(form.name))
        )
        if isinstance(made, Form):
            return await self._account_page(request, session, made, "invites")
        return answers.see_other(request, f"/invite/{made.code}")

    async def _invite(self, session: Session, fields: Parameters, room: str) -> InviteRow:
        asked = InviteRequest(
            room=await self._chat.room(room, session) if room else None,
            uses=fields.number("uses", None, 1, 2**31),
            days=fields.number("days", None, 1, 2**31),
            role=role_of(fields.text("role", Role.MEMBER.word)),
        )
        return await self._invites.make(session, asked)

    @shielded
    async def revoke_invite(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        await self._invites.revoke(session, fields.text("code"))
        return answers.see_other(request, "/account?done=revoked#invites")

    @shielded
    async def delete(self, request: HttpRequest) -> bytes:
        fields, session = await self._submissions.read_of_session(request)
        done = await self._submissions.attempt(
            request,
            Form(),
            self._delete(session, fields, self._peers.address(request)),
        )
        if isinstance(done, Form):
            return await self._account_page(request, session, done, "delete")
        self._auth.clear_cookie(request)
        return answers.see_other(request, "/")

    async def _delete(self, session: Session, fields: Parameters, address: str) -> None:
        await self._accounts.delete(
            session,
            fields.text("password"),
            messages=messages_choice(fields.text("messages", "keep")),
            address=address,
        )

    # -- what several do

    async def _done(
        self, request: HttpRequest, session: Session, form: Form, work: Awaitable[Any], what: str
    ) -> bytes:
        """Do what gives a new token, and go back to the page of the account."""
        token = await self._submissions.attempt(request, form, work)
        if isinstance(token, Form):
            return await self._account_page(request, session, token, what)
        self._auth.set_cookie(request, token)
        return answers.see_other(request, f"/account?done={what}")

    async def _account_page(
        self,
        request: HttpRequest,
        session: Session,
        form: Form | None = None,
        section: str = "",
        done: str = "",
    ) -> bytes:
        form = form or Form()
        member = session.member is not None
        may_invite = member and self._chat.rights.may(session, Act.INVITE) is None
        rows = (await self._invites.page(session, None, _LISTED))[0] if may_invite else ()
        page = AccountPage(
            me=session.name,
            role=session.role.word,
            member=member,
            has_password=member and await self._accounts.has_password(session),
            registration=self._accounts.registration,
            devices=await self._devices(session) if member else (),
            may_invite=may_invite,
            invites=[_invite_view(each) for each in rows],
            roles=self._roles(session),
            section=section,
            done=done,
            form=form,
            form_token=self._token(session),
        )
        return self._views.respond(request, page, form.status)

    async def _devices(self, session: Session) -> list[DeviceView]:
        return [
            DeviceView(
                id=each.id,
                agent=each.agent,
                began=_clock(each.began),
                seen=_clock(each.seen) if each.seen else "",
                current=each.id == session.id,
            )
            for each in await self._chat.devices(session)
        ]

    def _roles(self, session: Session) -> list[str]:
        """What somebody may make others by an invitation, if there is a choice."""
        if self._chat.rights.may(session, Act.INVITE_WITH_ROLE) is not None:
            return []
        below = min(session.role, Role.OWNER)
        return [role.word for role in Role if Role.MEMBER <= role < below]

    def _token(self, session: Session | None) -> str:
        return "" if session is None else self._auth.form_token(session)


def _name(session: Session | None) -> str:
    return "" if session is None or session.name_key is None else session.name


def _invite_view(row: InviteRow) -> InviteView:
    return InviteView(
        code=row.code,
        room=row.room or "",
        role=row.role,
        good_for=_good_for(row),
    )


def _good_for(row: InviteRow) -> str:
    """For how many an invitation is good, and until when."""
    how_many = "any number of people" if row.left is None else f"{row.left} more"
    if row.left == 1:
        how_many = "one more"
    until = "for ever" if row.until is None else f"until {_clock(row.until)}"
    return f"Good for {how_many}, {until}"


def _clock(milliseconds: int) -> str:
    """A moment, as pages show it."""
    return f"{timestamp(milliseconds)[:16].replace('T', ' ')} UTC"
