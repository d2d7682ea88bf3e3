"""What is noted of the way to one client, and of one connect.

What it is: `Path`, `MetaConnect`, and how many of these each browser holds.

What it may know: clients, exchanges, push connections, the states. Not what goes out, nor when.

Invariant: a path has a push connection when, and only when, its state says that one is open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.exchange import Exchange, PushConnection, StandingExchange
from cometd_chat.bayeux.messages import Message, milliseconds
from cometd_chat.bayeux.states import (
    CONNECT,
    PATH,
    ConnectEvent,
    ConnectState,
    ImpossibleTransition,
    PathEvent,
    PathState,
)
from cometd_chat.bayeux.templates import ReplyTemplate

EVENTSOURCE = "eventsource"


@attrs.define(eq=False)
class Path:
    """By which way one client is reached.

    :param state: see `states.PATH`.
    :param push: its push connection; None unless the state is STANDBY or PUSHED.
    :param newest: its newest connect.
    :param held: the one that is HELD.
    :param answered: the one that is ANSWERED.
    :param connected: whether one was answered or held: the first is answered at once.
    """

    client: BayeuxClient
    state: PathState = PathState.POLLED
    push: PushConnection | None = None
    newest: MetaConnect | None = None
    held: MetaConnect | None = None
    answered: MetaConnect | None = None
    connected: bool = False

    def saw(self, event: PathEvent) -> None:
        """Something happened."""
        try:
            self.state = PATH[self.state, event]
        except KeyError:
            raise ImpossibleTransition(self.state, event) from None

    @property
    def pushes(self) -> bool:
        """Whether messages go out at once, and not with connects."""
        return self.state is PathState.PUSHED and not self.client.acknowledged

    @property
    def streams(self) -> bool:
        """Whether messages go by an EventSource. It may be yet to open, or open anew by itself."""
        return self.client.transport == EVENTSOURCE and not self.client.acknowledged

    @property
    def has_unconfirmed_reply(self) -> bool:
        """Whether messages are on their way with a reply, while the client has opened a push
        connection or is about to: sent again by that, they would come twice."""
        last = self.answered
        return last is not None and last.carried and not self.client.acknowledged


@attrs.frozen(eq=False)
class Standing:
    """That a connect comes again and again by one connection, and what that was found for.

    :param admitted_by: `Binding.changes` when its client was admitted.
    :param reply: made for whether its client confirms by number.
    """

    exchange: StandingExchange
    admitted_by: int
    reply: ReplyTemplate


@attrs.define(eq=False)
class MetaConnect:
    """One /meta/connect, or one that comes again and again. An item of the reaper while it is held.

    :param when_over: called when it was held for as long as it may be.
    :param alone: nothing else came in its request.
    :param others: the replies to what came in the same request.
    :param until: when held, the end of that, in the reaper's seconds.
    :param standing: how it comes again; None while it does not.
    :param sent: when answered, the number up to which the client has everything once it has this.
    :param carried: when answered, whether messages went with it.
    :param most: the number up to which it may bring messages; None for all. One that is sent again
        brings what its client may have been answered before, and no more: whichever of the answers
        has arrived, the client has the same.
    """

    when_over: Callable[[MetaConnect], None]
    path: Path
    message: Message
    exchange: Exchange
    alone: bool
    state: ConnectState = ConnectState.ADMITTED
    others: Sequence[bytes] = ()
    sent: int = 0
    carried: bool = False
    most: int | None = None
    due_bucket: int = 0
    until: float = 0.0
    standing: Standing | None = None
    #: Whether the client wants it answered at once. CometD does when it begins, when a page is
    #: loaded again, and after a connect that failed; Faye when it sends other messages with it.
    hurried: bool = attrs.field(init=False)
    #: The browser one of whose few connections it takes.
    browser: str | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.browser = self.exchange.peer.browser if self.exchange.push is None else None
        timeout = milliseconds(self.message.get("advice"), "timeout")
        self.hurried = self.alone and timeout == 0

    def saw(self, event: ConnectEvent) -> None:
        """Something happened."""
        try:
            self.state = CONNECT[self.state, event]
        except KeyError:
            raise ImpossibleTransition(self.state, event) from None

    def on_due(self, now: float) -> float | None:
        """Held for as long as it may be, it is over.

        One that comes again stays in the sweep from its first holding on, and is looked at when
        that would have been over.
        """
        if self.state is ConnectState.HELD:
            left = self.until - now
            if left > 0:
                return left
            self.when_over(self)
        return None


class HeldByBrowser:
    """How many connects each browser holds: it opens few connections to a host.

    :param most: so many should one browser hold.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, dict[Path, None]] = {}

    def hold(self, browser: str, path: Path) -> None:
        """A browser holds one for a client."""
        self._held.setdefault(browser, {})[path] = None

    def release(self, browser: str, path: Path) -> None:
        """It holds it no longer."""
        held = self._held.get(browser)
        if held is not None:
            held.pop(path, None)
            if not held:
                del self._held[browser]

    def is_full(self, browser: str | None) -> bool:
        """Whether a browser holds as many as it should; what is no browser may hold any number."""
        return browser is not None and len(self._held.get(browser, ())) >= self._most
