"""A connection, as routes, channels and the lane use one.

What it is: `PeerConnection`, what Twisted's transports of TCP, Unix sockets and TLS have in common.

What it may know: Twisted's public interfaces, whose sum this is.

Invariant: whoever has no more than this of a connection reaches nothing of Twisted's own.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IAddress


class PeerConnection(Protocol):
    """One end of a connection (ITCPTransport, IConsumer and IPushProducer)."""

    @property
    def connected(self) -> object:
        """Whether it is there."""

    def write(self, data: bytes) -> None:
        """Send it when what was written before has gone."""

    def loseConnection(self) -> None:
        """Close it once all that was written has gone."""

    def loseWriteConnection(self) -> None:
        """Close our half, when what was written has gone. (TLS has no halves.)"""

    def abortConnection(self) -> None:
        """Close it at once."""

    def getPeer(self) -> IAddress:
        """Where its peer is."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small pieces at once."""

    # A producer may lack the methods that nobody will call.
    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Tell it when there is room, and when there isn't."""

    def unregisterProducer(self) -> None:
        """It need not be told any longer."""

    def pauseProducing(self) -> None:
        """Read nothing more."""

    def resumeProducing(self) -> None:
        """Read again."""
