"""Who accepts, by a table that several share, and a port that lets others go first."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet.task import Clock

from cometd_chat.daemon.balance import (
    EVERY,
    HEARD_WITHIN,
    WAIT,
    BalancedSocket,
    BalanceTable,
    Share,
)


@pytest.fixture
def table() -> Iterator[BalanceTable]:
    table = BalanceTable.make(4)
    yield table
    table.close()


class Process:
    """One of those that share the table."""

    def __init__(self, table: BalanceTable, slot: int, clock: Clock) -> None:
        self.open = 0
        self.share = Share(table, slot, lambda: self.open, clock, clock.seconds)
        self.share.startService()


@pytest.fixture
def two(table: BalanceTable) -> tuple[Process, Process, Clock]:
    clock = Clock()
    return Process(table, 0, clock), Process(table, 1, clock), clock


def test_nobody_waits_for_nobody(table: BalanceTable) -> None:
    one = Process(table, 2, Clock())
    one.open = 1000
    assert not one.share.has_more()


def test_a_tenth_more_than_the_least_is_more(two: tuple[Process, Process, Clock]) -> None:
    one, other, _ = two
    for mine, least, more in ((0, 0, False), (1, 0, True), (110, 100, False), (111, 100, True)):
        one.open, other.open = mine, least
        one.share.note()
        other.share.note()
        assert one.share.has_more() is more, (mine, least)
        assert not other.share.has_more()


def test_what_another_process_wrote_is_read(table: BalanceTable) -> None:
    clock = Clock()
    theirs = BalanceTable(os.dup(table.file), 4)
    other = Process(theirs, 3, clock)
    one = Process(table, 0, clock)
    other.open, one.open = 5, 6
    other.share.note()
    assert one.share.has_more()
    other.share.stopService()
    assert not one.share.has_more()
    theirs.close()


def test_who_ended_without_a_word_is_cleared(
    table: BalanceTable, two: tuple[Process, Process, Clock]
) -> None:
    one, _, _ = two
    one.open = 10
    assert one.share.has_more()
    table.clear(1)
    assert not one.share.has_more()


def test_connections_that_end_are_known_to_others(two: tuple[Process, Process, Clock]) -> None:
    one, other, clock = two
    one.open, other.open = 10, 10
    clock.advance(EVERY)
    assert not one.share.has_more()
    other.open = 0
    clock.advance(EVERY)
    assert one.share.has_more()


def test_who_is_not_heard_is_not_waited_for(table: BalanceTable) -> None:
    clock, stopped = Clock(), Clock()
    one = Process(table, 0, clock)
    # SIGSTOP: its clock stands still for it.
    Process(table, 1, stopped)
    one.open = 10
    clock.advance(HEARD_WITHIN)
    assert one.share.has_more()
    clock.advance(0.001)
    assert not one.share.has_more()


class FakePort(tcp.Port):
    """A port that says whether it reads."""

    def __init__(self, listening: socket.socket) -> None:
        self.socket: Any = listening
        self.connected, self.disconnecting, self.reads = True, False, True

    def stopReading(self) -> None:
        self.reads = False

    def does_read(self) -> bool:
        return self.reads

    def startReading(self) -> None:
        self.reads = True


def test_a_port_waits_and_then_accepts_one(two: tuple[Process, Process, Clock]) -> None:
    one, _, clock = two
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as clients:
        listening.setblocking(False)
        for _ in range(3):
            clients.enter_context(socket.create_connection(listening.getsockname()))
        port = FakePort(listening)
        one.share.watch(port)
        assert isinstance(port.socket, BalancedSocket)
        clients.enter_context(port.socket.accept()[0])
        one.open = 1
        # The other one has none.
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                port.socket.accept()
            assert not port.does_read()
            clock.advance(WAIT)
            assert port.does_read()
            # However few the other has: it may be busy.
            clients.enter_context(port.socket.accept()[0])
            one.open += 1
        with pytest.raises(BlockingIOError):
            port.socket.accept()
        port.disconnecting = True
        clock.advance(WAIT)
        assert not port.does_read()


def test_what_was_just_accepted_counts_at_once(two: tuple[Process, Process, Clock]) -> None:
    one, other, _ = two
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        port = FakePort(listening)
        one.share.watch(port)
        with socket.create_connection(listening.getsockname()), port.socket.accept()[0]:
            other.open = 1
            assert not other.share.has_more()
            other.open = 2
            assert other.share.has_more()
        assert port.socket.fileno() == listening.fileno()
