"""Open files that are kept back from connections, with real sockets."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from twisted.internet import reactor as installed
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from cometd_chat.transports.listener import EVERY, LOOK_AGAIN, Listener, Shortage, keep_back
from tests.support import PATIENCE

reactor: Any = installed


class Counted(Protocol):
    """A connection that was had."""

    def connectionMade(self) -> None:
        self.factory.had.append(self)


class Counting(Factory):
    protocol = Counted
    noisy = False

    def __init__(self) -> None:
        self.had: list[Counted] = []


def lines(events: Sequence[Any]) -> list[str]:
    return [formatEvent(event) or "" for event in events]


class TestShortage:
    def test_a_line_a_minute_says_what_is_wrong(self) -> None:
        clock = Clock()
        shortage = Shortage(clock.seconds, 1024)
        with capturedLogs() as events:
            for _ in range(50):
                shortage.note()
            clock.advance(EVERY - 1)
            shortage.note()
            clock.advance(1)
            shortage.note("EMFILE")
        first, second = lines(events)
        assert first.startswith("no open files are left for new connections (limit 1024): 1 ")
        assert "raise LimitNOFILE or ulimit -n" in first, "the remedy"
        assert second.startswith(
            "no open files are left for new connections (limit 1024, EMFILE): 51 closed"
        )


class Full:
    """A listening socket when the system has nothing left."""

    def __init__(self, number: int) -> None:
        self.number = number

    def accept(self) -> Any:
        raise OSError(self.number, os.strerror(self.number))


class TestListener:
    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS])
    def test_when_nothing_is_left_it_is_told_and_looked_at_later(self, number: int) -> None:
        later: list[int] = []
        full: Any = Full(number)
        listener = Listener(full, 1000, Shortage(Clock().seconds, 9), lambda: later.append(1))
        with capturedLogs() as events, pytest.raises(BlockingIOError):
            listener.accept()
        assert later == [1]
        (line,) = lines(events)
        assert f"limit 9, {errno.errorcode[number]}" in line

    def test_another_error_is_not_its_own(self) -> None:
        full: Any = Full(errno.EINVAL)
        listener = Listener(full, 1000, Shortage(Clock().seconds, 9), lambda: None)
        with pytest.raises(OSError, match="Invalid argument"):
            listener.accept()


def first_free() -> int:
    """The number that the next file gets."""
    with socket.socket() as probe:
        return probe.fileno()


@pytest.fixture
def factory() -> Iterator[Counting]:
    made = Counting()
    yield made
    for each in made.had:
        if each.transport is not None:
            each.transport.abortConnection()  # type: ignore[attr-defined]


def test_a_port_takes_no_more_than_there_is_room_for(factory: Counting) -> None:
    clock = Clock()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=100)
    port.stopReading()  # The test says when it looks.
    where = ("127.0.0.1", port.getHost().port)
    clients = [socket.create_connection(where) for _ in range(20)]
    room = 5
    try:
        keep_back(port, clock, first_free() + room, Shortage(clock.seconds, 100))
        with capturedLogs() as events:
            for _ in clients:  # Each time one at least, and all have come already.
                port.doRead()
        assert len(factory.had) == room
        assert len(lines(events)) == 1
        assert "127.0.0.1" not in lines(events)[0]
        assert len(closed(clients, 15)) == 15
        # One that goes makes room for another.
        with socket.create_connection(where):
            transport: Any = factory.had.pop(0).transport
            transport.connectionLost(Failure(ConnectionDone()))
            port.doRead()
            assert len(factory.had) == room
    finally:
        for each in clients:
            each.close()
        port.stopListening()


def closed(clients: Sequence[socket.socket], count: int) -> Sequence[socket.socket]:
    """The connections that the server has closed, which says nothing on them, once that is said of
    so many."""
    deadline = time.monotonic() + PATIENCE
    while len(found := select.select(clients, [], [], PATIENCE)[0]) < count:
        assert time.monotonic() < deadline, f"only {len(found)} were closed"
    return found


def test_a_port_that_can_have_none_rests_for_a_moment(
    factory: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        keep_back(port, clock, 10_000, Shortage(clock.seconds, 100))
        monkeypatch.setattr(port.socket, "_listening", Full(errno.EMFILE))
        assert port in reactor.getReaders()
        with capturedLogs() as events:
            port.doRead()
        assert len(events) == 1, "and nothing of Twisted's"
        assert port not in reactor.getReaders()
        clock.advance(LOOK_AGAIN)
        assert port in reactor.getReaders()
    finally:
        monkeypatch.undo()
        port.stopListening()


def test_what_is_no_port_of_tcp_stays_as_it_is() -> None:
    port = object()
    keep_back(port, Clock(), 10, Shortage(Clock().seconds, 100))
    assert not hasattr(port, "socket")
