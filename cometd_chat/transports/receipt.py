"""What becomes of an answer once it is written: whether its peer has read it, as far as TCP tells.

What it is: `Receipt`, which a connection makes of its last answer for whoever wants to know, and
settles when it hears more of its peer.

What it may know: how a connection went on. Not what was answered.

Invariant: a receipt is settled once, by the first thing that happens after the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from cometd_chat.transports import twisted_internals
from cometd_chat.transports.twisted_internals import PeerConnection


class Fate(Enum):
    """What has happened on a connection since an answer was written to it."""

    #: Nothing, or we closed it ourselves.
    OPEN = "open"
    #: The peer has sent something else. One that does not send several requests at once has read
    #: the answer before (RFC 9112, section 9.3.2).
    ASKED = "asked"
    #: The peer has closed it, and its TCP had taken everything before. One that had not read it
    #: all would have reset the connection (RFC 2525, section 2.17).
    CLOSED = "closed"
    #: It broke, or the peer closed it with some of the answer still on its way.
    LOST = "lost"


class Receipt:
    """Of one answer.

    :param transport: that it was written to.
    """

    __slots__ = ("_fate", "_transport", "_when_settled")

    def __init__(self, transport: PeerConnection) -> None:
        self._fate = Fate.OPEN
        self._transport: PeerConnection | None = transport
        self._when_settled: Callable[[], None] | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more will be known."""
        return self._transport is None

    def watch(self, when_settled: Callable[[], None]) -> None:
        """Call somebody once it is settled, which it is not yet."""
        self._when_settled = when_settled

    @property
    def fate(self) -> Fate:
        """What has happened since."""
        if self._transport is not None and twisted_internals.is_broken(self._transport):
            # The reactor has not heard of it yet.
            return Fate.LOST
        return self._fate

    @property
    def waiting(self) -> int:
        """Bytes that the kernel has not taken; 0 when the connection is over."""
        return 0 if self._transport is None else twisted_internals.unsent(self._transport)

    @property
    def unacknowledged(self) -> int:
        """Bytes that the peer's TCP has not acknowledged. It may take half a second to."""
        return 0 if self._transport is None else twisted_internals.unacknowledged(self._transport)

    def asked(self) -> None:
        """The peer has sent something after the answer."""
        self._settle(Fate.ASKED)

    def closed(self) -> None:
        """The peer has closed its half, or we are about to close an idle connection. With that its
        TCP acknowledges what it has; the rest will never be read."""
        if self._transport is not None and twisted_internals.behind(self._transport):
            self._settle(Fate.LOST)

    def peer_closed(self) -> None:
        """The peer has closed its half."""
        self.closed()
        self._settle(Fate.CLOSED)

    def over(self, reason: Failure) -> None:
        """The connection is over.

        :param reason: `ConnectionDone` where one side closed it, else it broke.
        """
        self._settle(Fate.OPEN if reason.check(ConnectionDone) else Fate.LOST)

    def _settle(self, fate: Fate) -> None:
        if self._transport is not None:
            self._fate, self._transport = fate, None
            if self._when_settled is not None:
                self._when_settled()
