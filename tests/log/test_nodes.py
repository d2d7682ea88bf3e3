"""Nodes and their leases."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import StorageUnavailable
from cometd_chat.log.control import read_control
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.nodes import LEASE, RENEW_AFTER, LeasedNodes, MemoryNodeTable, NodeRow


class Nodes:
    """Some nodes over one table, each with a reaper of its own."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.log = MemoryEventLog()
        self.table = MemoryNodeTable(self.clock.seconds, self.log)
        #: What each heard.
        self.heard: dict[str, list[str]] = {}

    def node(self, name: str) -> tuple[LeasedNodes, Clock]:
        """One that has started; its time goes only by its own clock."""
        clock = Clock()
        nodes = LeasedNodes(self.table, Reaper(clock), name=name, peer="", version="1")
        heard = self.heard[name] = []
        nodes.joined.add(lambda row: heard.append(f"+{row.name}{row.number}"))
        nodes.gone.add(lambda row: heard.append(f"-{row.name}{row.number}"))
        nodes.renumbered.add(lambda old: heard.append(f"{old} is {nodes.number}"))
        nodes.start()

        def told(records: object) -> None:
            for record in records:  # type: ignore[attr-defined]
                control = read_control(record)
                assert control is not None
                nodes.told(control)

        self.log.follow(told)
        return nodes, clock

    def advance(self, seconds: float, *clocks: Clock) -> None:
        """Let time go by for the table, and for some nodes."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
            for clock in clocks:
                clock.advance(1)


@pytest.fixture
def world() -> Nodes:
    return Nodes()


def test_each_knows_the_others(world: Nodes) -> None:
    a, _ = world.node("a")
    b, _ = world.node("b")
    assert (a.number, b.number) == (1, 2)
    assert list(a.others()) == [NodeRow(2, "b", "", "1")]
    assert list(b.others()) == [NodeRow(1, "a", "", "1")]
    assert world.heard == {"a": ["+b2"], "b": []}


def test_two_of_one_name_are_two_nodes(world: Nodes) -> None:
    a, _ = world.node("a")
    again, _ = world.node("a")
    assert [row.number for row in a.others()] == [2]
    assert [row.number for row in again.others()] == [1]


def test_who_renews_stays(world: Nodes) -> None:
    a, first = world.node("a")
    b, second = world.node("b")
    world.advance(10 * LEASE, first, second)
    assert world.heard == {"a": ["+b2"], "b": []}
    assert (a.number, b.number) == (1, 2)


def test_whoever_renews_finds_who_does_not(world: Nodes) -> None:
    a, first = world.node("a")
    world.node("b")
    world.advance(LEASE - 1, first)
    assert world.heard["a"] == ["+b2"]
    world.advance(RENEW_AFTER + 1, first)
    assert world.heard["a"] == ["+b2", "-b2"]
    assert list(a.others()) == []


def test_who_wakes_after_its_lease_takes_a_new_number(world: Nodes) -> None:
    a, first = world.node("a")
    b, second = world.node("b")
    world.advance(LEASE + RENEW_AFTER, first)
    second.advance(1)
    assert b.number == 3
    assert world.heard == {"a": ["+b2", "-b2", "+b3"], "b": ["2 is 3"]}
    assert [row.number for row in a.others()] == [3]
    assert [row.number for row in b.others()] == [1]
    world.advance(3 * LEASE, first, second)
    assert b.number == 3


def test_who_was_not_found_yet_finds_its_own_lease_over(world: Nodes) -> None:
    b, clock = world.node("b")
    world.advance(LEASE + 1)
    clock.advance(RENEW_AFTER)
    assert b.number == 2
    assert world.heard["b"] == ["1 is 2"]


def test_who_stops_gives_its_number_back_at_once(world: Nodes) -> None:
    world.node("a")
    b, clock = world.node("b")
    b.stop()
    assert world.heard["a"] == ["+b2", "-b2"]
    clock.advance(10 * LEASE)
    assert world.heard["b"] == []


def test_what_fails_is_tried_again(world: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    a, clock = world.node("a")
    renew = world.table.renew
    asked: list[Deferred[bool]] = []

    def fails(number: int) -> Deferred[bool]:
        asked.append(Deferred())
        return asked[-1]

    monkeypatch.setattr(world.table, "renew", fails)
    world.advance(RENEW_AFTER, clock)
    clock.advance(RENEW_AFTER)
    # One at a time, however long it takes.
    assert len(asked) == 1
    asked[0].errback(StorageUnavailable("gone"))
    monkeypatch.setattr(world.table, "renew", renew)
    clock.advance(RENEW_AFTER)
    assert a.number == 1
    world.advance(3 * LEASE, clock)
    assert a.number == 1
