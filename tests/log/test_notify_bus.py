"""What may be lost, by PostgreSQL's notifications."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from cometd_chat.log.postgresql.notify_bus import INTERVAL, MOST_WAITING, NotifyBus
from tests.log.postgresql_support import Cluster
from tests.log.support import in_reactor, wait

Heard = list[tuple[int, bytes]]


class Wires:
    """Takes what several buses send, and hands it on when it is told to."""

    def __init__(self) -> None:
        self.statements = 0
        self.parts: list[str] = []
        self.answer: Deferred[Any] | None = None

    def send(self, query: bytes, parameter: bytes) -> Deferred[Any]:
        self.statements += 1
        parts = [part.strip('"') for part in parameter.decode()[1:-1].split(",")]
        assert all(len(part) < 8000 for part in parts)
        self.parts += parts
        return succeed(None) if self.answer is None else self.answer


class Buses:
    """A node that sends, and one that hears."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wires = Wires()
        self.one, self.other = (NotifyBus(lambda n=n: n, self.clock) for n in (1, 2))  # type: ignore[misc]
        self.one.attach(self.wires)
        self.heard: Heard = []
        self.other.subscribe("presence", lambda *each: self.heard.append(each))

    def deliver(self, *lost: int) -> None:
        parts, self.wires.parts = self.wires.parts, []
        for place, part in enumerate(parts):
            if place not in lost:
                for bus in (self.one, self.other):
                    for hear in bus.channels.values():
                        hear(part)


@pytest.fixture
def buses() -> Buses:
    return Buses()


def test_messages_are_gathered(buses: Buses) -> None:
    for n in range(100):
        buses.one.publish("presence", b"%d" % n)
        buses.one.publish("typing", b"who")
        buses.clock.advance(0.01)
    buses.clock.advance(INTERVAL)
    assert buses.wires.statements <= 21
    buses.deliver()
    assert buses.heard == [(1, b"%d" % n) for n in range(100)]


def test_a_large_message_comes_whole_or_not_at_all(buses: Buses) -> None:
    large = [bytes([n]) * 30_000 for n in range(3)]
    buses.one.publish("presence", large[0])
    buses.clock.advance(INTERVAL)
    assert len(buses.wires.parts) > 4
    buses.deliver()
    assert buses.heard == [(1, large[0])]
    for lost in (0, 2, len(buses.wires.parts) - 1):
        buses.one.publish("presence", large[1])
        buses.clock.advance(INTERVAL)
        buses.deliver(lost % len(buses.wires.parts))
        assert buses.heard == [(1, large[0])]
    buses.one.publish("presence", large[2])
    buses.clock.advance(INTERVAL)
    buses.deliver()
    assert buses.heard == [(1, large[0]), (1, large[2])]


def test_one_that_is_under_way_is_waited_for(buses: Buses) -> None:
    buses.wires.answer = Deferred()
    for n in range(3):
        buses.one.publish("presence", b"%d" % n)
        buses.clock.advance(INTERVAL)
    assert buses.wires.statements == 1
    answer, buses.wires.answer = buses.wires.answer, None
    answer.errback(ZeroDivisionError("lost"))
    buses.clock.advance(INTERVAL)
    assert buses.wires.statements == 2
    buses.deliver()
    assert buses.heard == [(1, b"0"), (1, b"1"), (1, b"2")]


def test_what_waits_is_bounded(buses: Buses) -> None:
    buses.wires.answer = Deferred()
    buses.one.publish("presence", b"first")
    buses.clock.advance(INTERVAL)
    with capturedLogs() as logged:
        for _ in range(3 * MOST_WAITING // 1000):
            buses.one.publish("presence", b"x" * 1000)
    assert len(logged) == 1
    buses.wires.answer.callback(None)
    buses.clock.advance(INTERVAL)
    buses.deliver()
    assert MOST_WAITING - 20_000 < sum(len(message) for _, message in buses.heard) < MOST_WAITING


def test_without_a_connection_it_is_dropped(buses: Buses) -> None:
    buses.other.publish("presence", b"1")
    buses.clock.advance(INTERVAL)
    assert buses.clock.getDelayedCalls() == []


@pytest.mark.parametrize("payload", ["", "x", "a 1 1 0 1", "a 1 1 0 1 %%%%", "a b 1 0 1 kQ=="])
def test_what_can_not_be_read_stops_nothing(buses: Buses, payload: str) -> None:
    for hear in buses.other.channels.values():
        hear(payload)
    buses.one.publish("presence", b"1")
    buses.clock.advance(INTERVAL)
    buses.deliver()
    assert buses.heard == [(1, b"1")]


@in_reactor
async def test_nodes_hear_each_other_through_the_database(cluster: Cluster) -> None:
    nodes = [cluster.open() for _ in range(3)]
    heard: list[Heard] = [[] for _ in nodes]
    complete: Deferred[None] = Deferred()
    messages = [b"\x00\xff", b"", b"x" * 20_000, "\u2028'\"\\,{}".encode()]

    def hear(place: int, number: int, message: bytes) -> None:
        heard[place].append((number, message))
        if [len(each) for each in heard] == [0, 4, 4]:
            complete.callback(None)

    for place, node in enumerate(nodes):
        node.bus.subscribe("presence", lambda *each, place=place: hear(place, *each))
    for message in messages:
        nodes[0].bus.publish("presence", message)
    await wait(complete)
    assert heard == [[], *[[(1, message) for message in messages]] * 2]
