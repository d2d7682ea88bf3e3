"""Whether a Bayeux reply has arrived, for each way that it may have gone.

What it is: the deliveries of the core's exchanges: `ResponseDelivery` for a response of its own,
`SocketDelivery` for a frame on a WebSocket.

What it may know: receipts of answers. Not what was in a reply.

Invariant: of a reply that went through a proxy it is never said that it was read: who took it was
the proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from cometd_chat.bayeux.exchange import Arrival
from cometd_chat.transports.receipt import Fate, Receipt

#: Seconds that a peer's TCP may take to acknowledge what it has: half a second (RFC 1122, section
#: 4.2.3.2), and the way.
ACKNOWLEDGED_WITHIN = 1.0


@attrs.define(eq=False)
class ResponseDelivery:
    """Of a reply that is a response of its own; see `Delivery`.

    :param forwarded: whether a proxy takes it.
    :param seconds: the reaper's.
    :param lost: its peer was gone before it was written.
    """

    forwarded: bool
    seconds: Callable[[], float]
    lost: bool = False
    _receipt: Receipt | None = None
    _written_at: float = 0.0

    def again(self) -> None:
        """A request has come again that has had this reply: now it is of the next one."""
        self._receipt = None

    def written(self, receipt: Receipt, at: float) -> None:
        """It was written.

        :param at: when, in the reaper's seconds.
        """
        self._receipt, self._written_at = receipt, at

    @property
    def settled(self) -> bool:
        """Whether nothing more will be known of a reply that was written."""
        return self._receipt is None or self._receipt.settled

    def watch(self, when_settled: Callable[[], None]) -> None:
        """Call somebody once nothing more will be known of it."""
        if self._receipt is not None:
            self._receipt.watch(when_settled)

    def arrival(self) -> Arrival:
        """See `Delivery.arrival`."""
        receipt = self._receipt
        if receipt is None:
            return Arrival.LOST if self.lost else Arrival.WAITING
        fate = receipt.fate
        if fate is Fate.ASKED:
            # The hot path: a client that keeps its connection. The kernel need not be asked.
            return Arrival.UNKNOWN if self.forwarded else Arrival.READ
        if receipt.waiting or (receipt.unacknowledged and self._is_late()):
            return Arrival.UNDER_WAY
        if fate is Fate.LOST:
            return Arrival.LOST
        return Arrival.CLOSED if fate is Fate.CLOSED and not self.forwarded else Arrival.UNKNOWN

    def _is_late(self) -> bool:
        return self.seconds() - self._written_at > ACKNOWLEDGED_WITHIN


class Socket(Protocol):
    """A WebSocket that replies go by."""

    @property
    def frames_read(self) -> int:
        """How many frames its peer is known to have read."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""

    @property
    def closed(self) -> bool:
        """Whether it ended by close frames."""


@attrs.define(eq=False)
class SocketDelivery:
    """Of a reply that is a frame; see `Delivery`.

    :param frame: the number of that; 0 until it is sent.
    """

    socket: Socket
    frame: int = 0

    def arrival(self) -> Arrival:
        """See `Delivery.arrival`."""
        if self.frame and self.frame <= self.socket.frames_read:
            return Arrival.READ
        if self.socket.over:
            return Arrival.CLOSED if self.frame and self.socket.closed else Arrival.LOST
        return Arrival.UNKNOWN if self.frame else Arrival.WAITING
