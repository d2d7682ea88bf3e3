"""Connections to a server in memory, on a clock that is moved by hand.

What it is: the reactor's part: `MemoryNet` connects clients, moves bytes and time, and listens to
what is logged meanwhile.

What it may know: connections. Nothing of what is served.

Invariant: nothing sleeps and nothing leaves the process. What was logged at warning level and
nobody took fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar, cast

import pytest
from twisted.internet import tcp
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher

from cometd_chat.transports.twisted_internals import looking
from tests.wire import Connection, Response

#: Where a client is by default: an address for documentation (RFC 5737).
ADDRESS = "192.0.2.7"

#: How far `MemoryNet.advance` moves the clock at a time, in seconds.
STEP = 0.5

#: Turns after which something must be going round in circles.
MAX_TURNS = 10_000

Self = TypeVar("Self", bound="MemoryNet")


class MemoryNet:
    """What clients and a server have between them: ``with MemoryNet(...) as net: ...``.

    :param factory: makes the server's protocols; may be set later.
    :param clock: by default one that stands still until it is moved.
    """

    def __init__(self, factory: Any = None, clock: MemoryReactorClock | None = None) -> None:
        self.clock: Any = MemoryReactorClock() if clock is None else clock
        self.factory = factory
        self.transport_class: Any = tcp.Server
        self.connections: list[Connection] = []
        self.stirred: dict[Connection, None] = {}
        self._by_transport: dict[object, Connection] = {}
        #: Everything that was logged.
        self.logged: list[LogEvent] = []
        #: Log events at warning level and above; a test that expects one takes it.
        self.failures: list[LogEvent] = []
        self._turning = False

    # -- time

    def turn(self) -> None:
        """Do all that can be done now, until nothing moves any more."""
        if self._turning:
            return
        self._turning = True
        try:
            for _ in range(MAX_TURNS):
                self.clock.advance(0)
                if not self.move() and not self._is_due():
                    return
        finally:
            self._turning = False
        raise AssertionError("it never comes to rest")

    def move(self) -> bool:
        """Let connections read and write what they can, once, and nothing else happen; False when
        there is nothing to read or write."""
        lively = dict(self.stirred)
        lively.update((self._by_transport[each], None) for each in self.clock.getWriters())
        # All of them, not only the first that moves.
        return bool([each for each in lively if each.move()])

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let nothing happen by itself meanwhile, but for what is called."""
        turning, self._turning = self._turning, True
        try:
            yield
        finally:
            self._turning = turning

    def _is_due(self) -> bool:
        now = self.clock.seconds()
        return any(call.getTime() <= now for call in self.clock.getDelayedCalls())

    def advance(self, seconds: float) -> None:
        """Let time go by, a little at a time; steps in which nothing is due are one."""
        end = self.clock.seconds() + seconds
        while end - self.clock.seconds() > 1e-9:
            self.clock.advance(min(STEP, end - self.clock.seconds()))
            self.turn()
            due = min([end, *(call.getTime() for call in self.clock.getDelayedCalls())])
            self.clock.advance(max(0, (due - self.clock.seconds()) // STEP - 1) * STEP)

    # -- clients

    def connect(self, address: str = ADDRESS, *, window: int | None = None) -> Connection:
        """Connect to the server.

        :param address: the client's.
        :param window: how many bytes the kernel takes from the server; None for any number.
        """
        connection = Connection(self, address, 1_000_000 + len(self.connections), window)
        self.connections.append(connection)
        self._by_transport[connection.transport] = connection
        self.turn()
        return connection

    def request(
        self, method: str, path: str, *, address: str = ADDRESS, **options: Any
    ) -> Response:
        """A request on a connection of its own; see `Connection.request`."""
        return self.connect(address).request(method, path, **options)

    # -- the log

    def take_failures(self) -> list[LogEvent]:
        """What was logged at warning level and above; it counts as expected."""
        failures, self.failures = self.failures, []
        return failures

    def _observe(self, event: LogEvent) -> None:
        self.logged.append(event)
        if event.get("log_level", LogLevel.info) >= LogLevel.warn:
            self.failures.append(event)

    def __enter__(self: Self) -> Self:
        globalLogPublisher.addObserver(cast(ILogObserver, self._observe))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for connection in self.connections:
            connection.socket.client_gone = True
            self.stirred[connection] = None
        self.turn()
        globalLogPublisher.removeObserver(cast(ILogObserver, self._observe))
        if error is None:
            shown = [_shown(event) for event in self.failures]
            assert not shown, "it logged:\n" + "\n".join(shown)


def _shown(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return f"{event.get('log_format')} {failure.getTraceback() if failure else ''}"


def fake_kernel(monkeypatch: pytest.MonkeyPatch, net: MemoryNet) -> None:
    """Let ``looking`` be told of unacknowledged bytes by our sockets, not by Linux."""

    def ioctl(fd: int, request: int, buffer: bytes) -> bytes:
        found = [each.socket for each in net.connections if each.socket.fileno() == fd]
        return found[0].unacknowledged.to_bytes(4, "little")

    monkeypatch.setattr(looking, "ioctl", ioctl)
