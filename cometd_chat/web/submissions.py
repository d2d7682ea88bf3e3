"""What routes share that take a form.

What it is: who sent a form, whether it was meant, and what becomes of one that is refused.

What it may know: requests, the chat. Not what a form is for.

Invariant: nothing in a form is done before it is known that no other site sent it; and a refusal
is told in a page that holds what was typed.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from cometd_chat.chat.accounts import Accounts
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import ChatError, NoSession
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import parameters
from cometd_chat.web.agents import agent_of
from cometd_chat.web.auth import Auth
from cometd_chat.web.forms import Form
from cometd_chat.web.parameters import Parameters
from cometd_chat.web.peers import Peers
from cometd_chat.web.problems import Problems

Result = TypeVar("Result")


class Submissions:
    """Takes forms, and lets people in."""

    def __init__(
        self, chat: Chat, accounts: Accounts, auth: Auth, peers: Peers, problems: Problems
    ) -> None:
        self._chat = chat
        self._accounts = accounts
        self._auth = auth
        self._peers = peers
        self._problems = problems

    async def read(self, request: HttpRequest) -> tuple[Parameters, Session | None]:
        """A form, and who sent it.

        :raises CrossSite: another site may have.
        """
        fields = parameters.form(request)
        return fields, await self.sender(request, fields)

    async def read_of_session(self, request: HttpRequest) -> tuple[Parameters, Session]:
        """A form of somebody who is logged in, and their session.

        :raises NoSession: they are not, any more.
        :raises CrossSite: another site may have sent it.
        """
        fields, session = await self.read(request)
        if session is None:
            raise NoSession("Your session is over: log in again.")
        return fields, session

    async def sender(self, request: HttpRequest, fields: Parameters) -> Session | None:
        """Who sent a form that was read already.

        :raises CrossSite: another site may have.
        """
        session = await self._auth.visitor(request)
        self._auth.check_csrf(request, session, fields.optional("form_token"))
        return session

    async def actor(self, request: HttpRequest) -> Session:
        """The session of a program's request that does something, which was meant.

        :raises NoSession: it has none.
        :raises CrossSite: another site may have sent it.
        """
        session = await self._auth.speaker(request)
        self._auth.check_csrf(request, session)
        return session

    async def enter(
        self, request: HttpRequest, session: Session | None, name: str, password: str = ""
    ) -> tuple[Session, str]:
        """The session of somebody who gave a name, and its token: a new one, or hers renamed; with
        a password, a member's.

        :raises ChatError: she can't have the name.
        """
        address = self._peers.address(request)
        if password:
            entered, token = await self._accounts.log_in(
                name, password, address=address, agent=agent_of(request)
            )
            await self.became(request, session, entered, token)
            return entered, token
        if session is not None:
            renewed = await self._chat.rename(session, name, address)
            return session, self._auth.renew(request, renewed)
        session, token = await self._chat.log_in(name, address, agent=agent_of(request))
        self._auth.set_cookie(request, token)
        return session, token

    async def became(
        self, request: HttpRequest, before: Session | None, session: Session, token: str
    ) -> None:
        """Somebody is another one from now, or is known by another token.

        :param token: empty where that is as before.
        :param before: the session that the request came with; one whose cookie this takes away is
            nobody's any more, so that it ends.
        """
        by_cookie = self._auth.came_by_cookie(request)
        if token:
            self._auth.set_cookie(request, token)
        if before is not None and before is not session and by_cookie and not before.ended:
            await self._chat.log_out(before)

    async def attempt(
        self, request: HttpRequest, form: Form, work: Awaitable[Result]
    ) -> Result | Form:
        """What some work gives; where it is refused, the form as a page shows it again.

        :param form: what asked for the work.
        """
        try:
            return await work
        except ChatError as error:
            self._problems.begin(request, error)
            return form.refused(error)

    async def tell(self, request: HttpRequest, form: Form, work: Awaitable[str]) -> Form:
        """The form as a page shows it after some work: with the sentence that this gives as a
        notice, or as it was typed where it is refused; see `attempt`."""
        done = await self.attempt(request, form, work)
        return done if isinstance(done, Form) else Form(notice=done)
