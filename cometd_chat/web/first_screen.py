"""The owner's first screen: a few cards beside the live lobby, until they say that they are done.

What it is: `FirstScreen`, which draws the cards and does what their forms say.

What it may know: invitations, policies, views. Not the page around it.

Invariant: it is there for who sets policies and asks for it, and shows what is so now: nothing of
it is kept, and it does no harm to come back.
"""

from __future__ import annotations

from collections.abc import Callable

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.invites import InviteRequest, Invites
from cometd_chat.chat.rights import Act
from cometd_chat.chat.sessions import Session
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.pages.rooms import FirstStepsView
from cometd_chat.web.parameters import Parameters
from cometd_chat.web.peers import Peers
from cometd_chat.web.qr import qr_svg
from cometd_chat.web.submissions import Submissions

#: Where it is: the lobby, with the cards.
FIRST = "/rooms/lobby?first=steps"

#: The invitation that it makes: for so many people, for so many days.
USES, DAYS = 100, 7


class FirstScreen:
    """Responds to the owner's browser.

    :param only_here: whether nobody but who is on this very machine can reach the daemon.
    """

    def __init__(
        self,
        chat: Chat,
        invites: Invites,
        auth: Auth,
        peers: Peers,
        submissions: Submissions,
        only_here: Callable[[], bool],
    ) -> None:
        self._chat = chat
        self._invites = invites
        self._auth = auth
        self._peers = peers
        self._submissions = submissions
        self._only_here = only_here

    async def view(self, request: HttpRequest, session: Session | None) -> FirstStepsView | None:
        """The cards; None for who may not do what they are for."""
        rights, policies = self._chat.rights, self._chat.policies
        if session is None or rights.may(session, Act.SET_POLICY) is not None:
            return None
        code = await self._newest(session)
        address = f"{self._peers.base_url(request)}/invite/{code}" if code else ""
        pin = policies.pins.get("guests")
        return FirstStepsView(
            role=session.role.word,
            guests=str(policies.values["guests"]),
            pinned="" if pin is None else pin.option,
            address=address,
            qr=qr_svg(address) if code else None,
            only_here=self._only_here() and self._peers.is_local(request),
        )

    @shielded
    async def let_in(self, request: HttpRequest) -> bytes:
        fields, session = await self._sender(request)
        await self._chat.policies.change(session, {"guests": fields.text("guests")})
        return answers.see_other(request, FIRST)

    @shielded
    async def invite(self, request: HttpRequest) -> bytes:
        _, session = await self._sender(request)
        await self._invites.make(session, InviteRequest(uses=USES, days=DAYS))
        return answers.see_other(request, FIRST)

    async def prepare(self, session: Session) -> None:
        """Make the invitation that the card shows, unless there is one."""
        if not await self._newest(session):
            await self._invites.make(session, InviteRequest(uses=USES, days=DAYS))

    async def _newest(self, session: Session) -> str:
        """The code of the invitation to the house that somebody made last; empty for none."""
        good, _ = await self._invites.page(session, None, 200)
        mine = [each for each in good if each.by == session.identity and each.room is None]
        return max(mine, key=lambda each: each.created_at).code if mine else ""

    async def _sender(self, request: HttpRequest) -> tuple[Parameters, Session]:
        fields, session = await self._submissions.read_of_session(request)
        self._chat.rights.require(session, Act.SET_POLICY, (), self._peers.address(request))
        return fields, session
