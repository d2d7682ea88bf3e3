"""Nodes and their leases."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import StorageUnavailable
from cometd_chat.log.control import read_control
from cometd_chat.log.leases import Lease
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


def test_who_does_not_renew_is_found_when_its_lease_is_over(world: Nodes) -> None:
    a, first = world.node("a")
    world.node("b")
    world.advance(LEASE - 1, first)
    assert world.heard["a"] == ["+b2"]
    world.advance(3, first)
    assert world.heard["a"] == ["+b2", "-b2"]
    assert list(a.others()) == []


def test_the_next_look_is_when_the_first_lease_ends(world: Nodes) -> None:
    _, first = world.node("a")
    b, second = world.node("b")
    # Not with any of those by which a renews.
    world.advance(RENEW_AFTER + 3, first, second)
    world.table.renew(b.number)
    asked: list[float] = []
    renew = world.table.renew

    def count(number: int) -> Deferred[Sequence[Lease]]:
        asked.append(first.seconds())
        return renew(number)

    world.table.renew = count  # type: ignore[method-assign]
    begun = first.seconds()
    while world.heard["a"] == ["+b2"]:
        world.clock.advance(0.25)
        first.advance(0.25)
    assert LEASE <= first.seconds() - begun <= LEASE + 1.5
    # One more than for its own lease, and none after it.
    assert len(asked) <= LEASE / RENEW_AFTER + 1
    del asked[:]
    world.advance(10 * RENEW_AFTER, first)
    assert len(asked) == 10


def test_of_many_only_some_look_when_a_lease_ends(world: Nodes) -> None:
    clocks = [world.node(f"{n}")[1] for n in range(30)]
    world.node("dead")
    asked: list[int] = []
    renew = world.table.renew

    def count(number: int) -> Deferred[Sequence[Lease]]:
        asked.append(number)
        return renew(number)

    world.table.renew = count  # type: ignore[method-assign]
    for _ in range(160):
        world.clock.advance(0.125)
        for clock in clocks:
            clock.advance(0.125)
    assert all("-dead31" in heard for name, heard in world.heard.items() if name != "dead")
    assert len(asked) <= 30 * 5


def test_a_clock_of_the_table_that_is_set_ends_no_lease(world: Nodes) -> None:
    nodes = [world.node(name) for name in "abc"]
    clocks = [clock for _, clock in nodes]
    heard = {name: list(each) for name, each in world.heard.items()}
    hour = 3600
    for ahead in (hour, -hour, -hour, hour):
        for _ in range(7):
            world.advance(1, *clocks)
        world.clock.rightNow += ahead
        world.advance(3 * LEASE, *clocks)
        assert world.heard == heard
    assert [node.number for node, _ in nodes] == [1, 2, 3]


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_nor_does_it_keep_a_dead_node(world: Nodes, ahead: float) -> None:
    _, first = world.node("a")
    world.node("b")
    world.advance(RENEW_AFTER, first)
    world.clock.rightNow += ahead
    world.advance(LEASE, first)
    assert world.heard["a"] == ["+b2", "-b2"]


def test_a_table_that_was_out_of_reach_for_long_ends_no_lease(
    world: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [world.node(name) for name in "abc"]
    clocks = [clock for _, clock in nodes]
    world.advance(3 * RENEW_AFTER + 2, *clocks)
    heard = {name: list(each) for name, each in world.heard.items()}
    with monkeypatch.context() as patched:
        patched.setattr(world.table, "renew", lambda number: fail(StorageUnavailable("away")))
        world.advance(10 * LEASE, *clocks)
    # One after the other can reach it again.
    for clock in clocks:
        world.clock.advance(1)
        clock.advance(RENEW_AFTER - 1)
    world.advance(3 * LEASE, *clocks)
    assert world.heard == heard


def test_who_begins_while_others_are_there_counts_none_of_them_as_gone(world: Nodes) -> None:
    _, first = world.node("a")
    world.advance(2, first)
    world.clock.rightNow += 3600
    b, second = world.node("b")
    # Its lease seems to be over, until it is renewed.
    assert b.others() == []
    world.advance(3 * LEASE, first, second)
    assert [row.number for row in b.others()] == [1]
    assert world.heard == {"a": ["+b2"], "b": ["+a1"]}


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


def test_who_was_not_missed_goes_on(world: Nodes) -> None:
    b, clock = world.node("b")
    world.advance(LEASE + 1)
    clock.advance(RENEW_AFTER)
    assert b.number == 1
    assert world.heard["b"] == []


def test_who_renews_at_the_last_moment_is_not_forgotten(world: Nodes) -> None:
    a, first = world.node("a")
    b, _ = world.node("b")
    forget = world.table.forget

    def late(leases: Sequence[Lease]) -> Deferred[None]:
        world.table.renew(b.number)
        return forget(leases)

    world.table.forget = late  # type: ignore[method-assign]
    world.advance(LEASE + 2, first)
    assert world.heard["a"] == ["+b2"]
    assert a.silent_for(b.number) is not None
    assert a.silent_for(99) is None


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
    asked: list[Deferred[Sequence[Lease]]] = []

    def fails(number: int) -> Deferred[Sequence[Lease]]:
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
