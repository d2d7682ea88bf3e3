"""A reactor of a test's own with real sockets, and protocols that note what they are told.

What it is: `Loop`, which is a reactor, its ports and who connects to them.

What it may know: Twisted's reactor by epoll, our transports.

Invariant: nobody sleeps, and nothing is left open.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python import context, log
from twisted.python.failure import Failure
from zope.interface import implementer

from cometd_chat.transports import twisted_internals
from tests.servers import PATIENCE


class Refused(Exception):
    """What a protocol's own error is here."""


class Noting(Protocol):
    """Notes what it is told, and does what it is asked to."""

    def __init__(self) -> None:
        self.got = b""
        self.host = ""
        self.systems: list[object] = []
        self.ends: list[object] = []

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        self.systems.append(context.get(log.ILogContext)["system"])
        for word, what in self.does.items():
            if word in data:
                what(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ends.append(reason.type)

    does: dict[bytes, Callable[[Any], object]] = {}


@implementer(IHalfCloseableProtocol)
class NotingHalves(Noting):
    def readConnectionLost(self) -> None:
        self.ends.append("half")

    def writeConnectionLost(self) -> None:
        """Never closed alone."""


class Making(Factory):
    """Makes protocols, and keeps them."""

    def __init__(self, made: list[Any], kind: type[Noting]) -> None:
        self._made = made
        self._kind = kind

    def buildProtocol(self, addr: Any) -> Any:
        return self.build_for(addr.host)

    def build_for(self, host: str) -> Any:
        """See `twisted_internals.accept_directly`."""
        protocol = self._kind()
        protocol.host = host
        self._made.append(protocol)
        return protocol


class Loop:
    """A reactor, its ports and who has connected to them.

    :param directly: whether connections are accepted and read past Twisted.
    """

    def __init__(self, *, directly: bool) -> None:
        self.directly = directly
        self.reactor: Any = EPollReactor()
        if directly:
            twisted_internals.read_directly(self.reactor)
        assert ("doIteration" in vars(self.reactor)) is directly
        self.protocols: list[Any] = []
        self._clients: list[socket.socket] = []

    def listen(
        self,
        kind: type[Noting] = Noting,
        *,
        host: str = "127.0.0.1",
        inherited: socket.socket | None = None,
    ) -> Any:
        """A port of ours.

        :param inherited: a socket that listens already, as systemd gives one.
        """
        factory = Making(self.protocols, kind)
        if inherited is None:
            port = self.reactor.listenTCP(0, factory, interface=host)
        else:
            port = self.reactor.adoptStreamPort(inherited.fileno(), inherited.family, factory)
        self.use_direct_ways(port, factory)
        return port

    def use_direct_ways(self, port: Any, factory: Any) -> None:
        """Prepare a port as the daemon does."""
        twisted_internals.accept_few(port)
        twisted_internals.use_slotted_transports(port, factory)
        if self.directly:
            twisted_internals.accept_directly(port, factory)

    def call(self, port: Any, data: bytes = b"") -> socket.socket:
        """A client that has connected and sent something by the time that anybody looks."""
        address = port.getHost()
        client = socket.create_connection((address.host, address.port), timeout=5)
        self._clients.append(client)
        if data:
            client.sendall(data)
        return client

    def connect(self, port: Any) -> tuple[socket.socket, Any]:
        """A client, and the protocol that has it."""
        client = self.call(port)
        count = len(self.protocols)
        self.spin_until(lambda: len(self.protocols) > count)
        protocol = self.protocols[-1]
        assert type(protocol.transport) is twisted_internals.SlottedServer
        return client, protocol

    def spin_until(self, done: Callable[[], object]) -> None:
        for _ in range(PATIENCE):
            if done():
                return
            self.reactor.iterate(0.001)
        raise AssertionError("it never came to that")

    def spin(self) -> None:
        for _ in range(10):
            self.reactor.iterate(0.001)

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for each in self.reactor.removeAll():
            each.connectionLost(Failure(connectionDone.value))
        # Those that were not read, or are about to end, the reactor does not have.
        for each in self.protocols:
            if each.transport is not None and each.transport.connected:
                each.transport.connectionLost(Failure(connectionDone.value))
        self.reactor._poller.close()
        os.close(self.reactor.waker.i)
        os.close(self.reactor.waker.o)


@contextmanager
def errors_logged() -> Iterator[list[LogEvent]]:
    """Errors in the log meanwhile."""
    events: list[LogEvent] = []

    def hear(event: LogEvent) -> None:
        if event.get("isError"):
            events.append(event)

    observer = cast(ILogObserver, hear)
    globalLogPublisher.addObserver(observer)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observer)


def ends_with(protocol: Noting, data: bytes) -> bool:
    return protocol.got.endswith(data)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
