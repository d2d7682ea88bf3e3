"""One request with messages, from when it is held to its answer.

What it is: `HttpExchange`, the core's `Exchange` of long-polling and callback-polling.

What it may know: a request, the core. Not what a message means, nor how requests are read.

Invariant: it is answered once, and the core hears of it when its peer has gone; what it counts for
ends with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cometd_chat.bayeux.exchange import Peer
from cometd_chat.bayeux.messages import array
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.chat.limits import Limits
from cometd_chat.transports.framings import Jsonp, call_in_script
from cometd_chat.transports.request import HttpRequest
from cometd_chat.transports.stats import TransportStats
from cometd_chat.transports.table import BAYEUX
from cometd_chat.web.bayeux_delivery import ResponseDelivery
from cometd_chat.web.bayeux_other_node import OtherNode
from cometd_chat.web.bayeux_standing import StandingPoll, StandingPolls

LONG_POLLING = "long-polling"


class ExchangeHost(Protocol):
    """What all exchanges have in common."""

    @property
    def server(self) -> BayeuxServer: ...

    @property
    def stats(self) -> TransportStats: ...

    @property
    def limits(self) -> Limits: ...

    @property
    def standing(self) -> StandingPolls: ...


class HttpExchange:
    """One request with messages, held until the core replies.

    :param callback: the function that a script calls with the reply; None for plain JSON.
    :param limited: whether it counts among the requests that its address may hold.
    :param size: bytes of its messages, as Python holds them; 0 for so few that nobody counts them.
    :param node: to which its messages go; None for this one.
    """

    push = None

    def __init__(
        self,
        bayeux: ExchangeHost,
        request: HttpRequest,
        peer: Peer,
        callback: str | None,
        limited: bool,
        size: int,
        node: OtherNode | None = None,
    ) -> None:
        self.peer = peer
        self._node = node
        self._bayeux = bayeux
        self.delivery = ResponseDelivery(peer.forwarded, bayeux.server.seconds)
        self._request = request
        self._callback = callback
        self._limited = limited
        self._size = size
        self._counts = bayeux.stats.transport(BAYEUX[peer.transport].name)
        self._held = self._over = self._is_handled = False

    def begin(self) -> None:
        """Count it, and watch its peer.

        :raises TooMany: its address holds as many as it may.
        """
        if self._limited:
            self._bayeux.limits.hold(self.peer.address)
        if self._size:
            memory = self._bayeux.stats.memory
            memory.add(self, "requests")
            memory.account(self._size, "requests")
        self._request.hold(self)

    def hold(self, seconds: float) -> None:
        """See `Exchange.hold`."""
        self._held = True
        self._counts.held += 1

    def reply(self, messages: Sequence[bytes]) -> None:
        """See `Exchange.reply`."""
        if not self._end():
            return
        body, kind = array(messages), "application/json"
        if self._callback is not None:
            body, kind = call_in_script(self._callback, body), Jsonp.content_type
        self._counts.bytes_sent += len(body)
        self._request.setHeader("content-type", kind)
        self._request.setHeader("cache-control", "no-store, no-transform")
        standing = self._standing()
        self._request.setHeader("content-length", str(len(body)))
        self._request.write(body)
        self.delivery.written(self._request.receipt(), self._bayeux.server.seconds())
        if standing is not None:
            standing.stand()
        self._request.release()

    def _standing(self) -> StandingPoll | None:
        """What takes the next request of its connection, when that may be the same connect again.

        Who has sent the same header lines twice goes on so: others are spared this.
        """
        polls = self._callback is None and self._limited and not self._size and self._node is None
        if not polls or self.peer.transport != LONG_POLLING or self.peer.forwarded:
            return None
        memory = self._request.memory
        if memory.get(StandingPoll) is None:
            memory[StandingPoll] = True
            return None
        return self._bayeux.standing.poll(self, self._request)

    def handled(self, result: None) -> None:
        """Its messages are handled, or one of them is a connect that is held."""
        self._is_handled = True
        self._forget_messages()

    def _forget_messages(self) -> None:
        """Count its messages no longer, once nobody has them."""
        if self._size and self._over and self._is_handled:
            size, self._size = self._size, 0
            self._bayeux.stats.memory.remove(self, size, "requests")

    # -- a holder of the budget, see `budget.Holder`

    @property
    def over(self) -> bool:
        """Whether it is answered, or its peer gone. Messages that are being handled stay."""
        return self._over

    def measure(self) -> int:
        """See `budget.Holder`."""
        return self._size

    def shed(self, size: int) -> None:
        """See `budget.Holder`."""
        self.cut()

    def cut(self) -> None:
        """Drop its connection, so that its client comes again."""
        self.lost()
        self._request.cut()

    def lost(self) -> None:
        """The peer is gone."""
        if self._end():
            self.delivery.lost = True
            if self._node is None:
                self._bayeux.server.lost(self)
            else:
                self._node.lost(self)

    def _end(self) -> bool:
        first, self._over = not self._over, True
        if first and self._held:
            self._counts.held -= 1
        if first and self._limited:
            self._bayeux.limits.let_go(self.peer.address)
        self._forget_messages()
        return first
