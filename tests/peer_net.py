"""A network between nodes, in memory: connections that can be cut, frozen and left unread.

What it is: `PeerNet`, which is a reactor as far as `connectTCP` goes, and `Pipe`, one end of a
connection.

What it may know: protocols of Twisted. Nothing of what is said.

Invariant: bytes arrive in order and in a later turn, or not at all.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

#: Bytes that an end takes before it says that it has enough, as Twisted's transports do.
BUFFER = 64 * 1024


@attrs.define(eq=False)
class Pipe:
    """One end: the transport of its protocol.

    :param frozen: what was written waits, as with a network that is cut or a peer that is stopped.
    """

    net: PeerNet
    protocol: Any = None
    other: Any = None
    connected: bool = True
    frozen: bool = False
    written: bytearray = attrs.field(factory=bytearray)
    producer: Any = None
    producing: bool = True
    closing: bool = False
    #: What was written first.
    greeting: bytes = b""

    def write(self, data: bytes) -> None:
        if not self.connected:
            return
        self.written += data
        self.greeting = (self.greeting + data)[:1000]
        if self.producer is not None and self.producing and len(self.written) > BUFFER:
            self.producing = False
            self.producer.pauseProducing()
        self.net.stir()

    def writeSequence(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As it is."""

    def getHost(self) -> object:
        return "memory"

    getPeer = getHost

    def loseConnection(self) -> None:
        self.closing = True
        self.net.stir()

    def abortConnection(self) -> None:
        self.lose(ConnectionLost())
        if self.other is not None and not (self.frozen or self.net.frozen):
            self.net.clock.callLater(0, self.other.lose, ConnectionLost())

    def lose(self, reason: Exception) -> None:
        """This end is over."""
        if self.connected:
            self.connected = False
            self.net.clock.callLater(0, self.protocol.connectionLost, Failure(reason))

    def move(self) -> bool:
        """Let what was written arrive; False when there is nothing to move."""
        if self.frozen or self.net.frozen or not self.connected:
            return False
        data, self.written = bytes(self.written), bytearray()
        if data and self.other.connected:
            self.other.protocol.dataReceived(data)
        if not self.producing and self.producer is not None and self.connected:
            self.producing = True
            self.producer.resumeProducing()
        if self.closing and self.connected and not self.written:
            self.lose(ConnectionDone())
            self.net.clock.callLater(0, self.other.lose, ConnectionDone())
        return bool(data)


class PeerNet:
    """The network.

    :param clock: whose turns move what is on its way.
    """

    def __init__(self, clock: MemoryReactorClock | None = None) -> None:
        self.clock: Any = MemoryReactorClock() if clock is None else clock
        #: What listens, by its address.
        self.ports: dict[tuple[str, int], Any] = {}
        self.pipes: list[tuple[Pipe, Pipe]] = []
        #: Nothing arrives, on connections that are made meanwhile either.
        self.frozen = False
        #: How many connections were asked for.
        self.dialled = 0
        self._stirred = False

    def stir(self) -> None:
        """Something may move in a later turn."""
        if not self._stirred:
            self._stirred = True
            self.clock.callLater(0, self._move)

    def _move(self) -> None:
        self._stirred = False
        for pair in list(self.pipes):
            for pipe in pair:
                if pipe.move():
                    self.stir()

    def turn(self) -> None:
        """Let all that can move arrive."""
        for _ in range(20):
            self.clock.advance(0)

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30) -> None:
        """See `twisted.internet.interfaces.IReactorTCP`."""
        self.dialled += 1
        self.clock.callLater(0, self._connect, (host, port), factory)

    def _connect(self, address: tuple[str, int], factory: Any) -> None:
        listening = self.ports.get(address)
        if listening is None:
            factory.clientConnectionFailed(None, Failure(ConnectError()))
            return
        self.join(factory.buildProtocol(None), listening.buildProtocol(None))

    def join(self, ours: Any, theirs: Any) -> tuple[Pipe, Pipe]:
        """A connection between two protocols."""
        ends = Pipe(self, ours), Pipe(self, theirs)
        ends[0].other, ends[1].other = ends[1], ends[0]
        self.pipes.append(ends)
        for end in ends:
            end.protocol.makeConnection(end)
        return ends

    def freeze(self, frozen: bool = True) -> None:
        """Cut the network, or heal it: nothing arrives, and nobody is told."""
        self.frozen = frozen
        self.stir()

    def cut(self) -> None:
        """Break all connections."""
        for ends in self.pipes:
            for end in ends:
                end.lose(ConnectionLost())
