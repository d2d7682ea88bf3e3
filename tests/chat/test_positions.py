"""How far sessions have come in rooms: what is written down, when, and where the next begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from cometd_chat.chat import local_positions
from cometd_chat.chat.cluster_positions import NOBODYS, ClusterPositions
from cometd_chat.chat.local_positions import LOOK_EVERY, MAY_RETURN, LocalPositions
from cometd_chat.chat.positions import ReadMarker
from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError, ShuttingDown, StorageUnavailable
from cometd_chat.log.bus import MemoryBus
from cometd_chat.log.control import Control
from cometd_chat.log.directory import PositionRow, SessionRow
from cometd_chat.log.memory_directory import MemoryDirectory
from cometd_chat.log.nodes import NodeRow
from tests.chat.parts import begun, now
from tests.growth import growth


class Shelf(MemoryDirectory):
    """A directory that counts what is written, and may refuse it."""

    def __init__(self) -> None:
        super().__init__()
        self.add_session(SessionRow("s", b"", "s", None, "guest", 0, 1))
        self.written: list[Sequence[PositionRow]] = []
        self.failure: ChatError | None = None
        self.slow: Deferred[None] | None = None

    def put_positions(self, rows: Sequence[PositionRow]) -> Deferred[None]:
        if self.failure is not None:
            return fail(self.failure)
        self.written.append(rows)
        if self.slow is not None:
            return self.slow
        return super().put_positions(rows)

    @property
    def kept(self) -> dict[str, int]:
        kept = now(self.positions("s"))
        return dict(kept)


class Weightless(Shelf):
    """One that costs nothing, so that what the positions themselves cost is seen beside it."""

    def put_positions(self, rows: Sequence[PositionRow]) -> Deferred[None]:
        return succeed(None)

    def positions(self, session: str) -> Deferred[Mapping[str, int]]:
        return succeed({})


class Desk:
    """Positions over a shelf, on a clock."""

    #: By which rows are written.
    node = 0

    #: Whether the first look forgets who is over.
    forgets_at_once = True

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.clock = Clock()
        self.shelf = Shelf() if shelf is None else shelf
        self.reaper = Reaper(self.clock, 0.1)
        self.positions = self.make_positions()

    def make_positions(self) -> LocalPositions:
        return LocalPositions(self.shelf, self.reaper)

    def open(self, room: str = "lobby", at: int = 100, wanted: int | None = None) -> ReadMarker:
        return now(self.positions.open("s", room, now=at, wanted=wanted))

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.5] * int(seconds * 2))

    def again(self) -> Desk:
        """After a restart."""
        return type(self)(self.shelf)


class Numbers:
    """What a node knows of numbers."""

    def __init__(self, *others: int) -> None:
        self.name = "a node"
        self.number = 1
        self.others_are = list(others)
        self.joined: Listeners[[NodeRow]] = Listeners("joined")
        self.gone: Listeners[[NodeRow]] = Listeners("gone")
        self.renumbered: Listeners[[int]] = Listeners("renumbered")

    def others(self) -> list[NodeRow]:
        return [NodeRow(number, "another", "", "") for number in self.others_are]

    def silent_for(self, number: int) -> float | None:
        return None

    def start(self) -> None: ...

    def told(self, control: Control) -> None: ...

    def stop(self) -> Deferred[None]:
        return succeed(None)


class NodeDesk(Desk):
    """Those of one of several nodes; after a restart it is another one."""

    count = 0
    forgets_at_once = False  # It has to be written first that they are over.

    def make_positions(self) -> LocalPositions:
        NodeDesk.count += 1
        self.nodes = Numbers()
        self.node = self.nodes.number = NodeDesk.count
        return ClusterPositions(self.shelf, self.reaper, MemoryBus(lambda: self.node), self.nodes)


@pytest.fixture(params=[Desk, NodeDesk])
def desk(request: pytest.FixtureRequest) -> Desk:
    made: Desk = request.param()
    return made


def test_the_first_begins_now_and_the_next_where_she_stood(desk: Desk) -> None:
    mark = desk.open()
    assert mark.position == 100
    desk.positions.confirm(mark, 105)
    desk.pass_time(2)
    assert desk.shelf.kept == {"lobby": 105}
    assert desk.again().open(at=200).position == 105


def test_where_the_first_begins_is_kept_before_she_is_told(desk: Desk) -> None:
    desk.open(at=100)
    # Killed at once: no time goes by.
    assert desk.again().open(at=200).position == 100


def test_nobody_begins_where_that_cannot_be_kept(desk: Desk) -> None:
    desk.shelf.failure = StorageUnavailable("The disk is full.")
    with pytest.raises(StorageUnavailable):
        desk.open()
    desk.shelf.failure = None
    assert desk.open(at=200).position == 200


def test_the_sweep_may_come_while_it_is_kept(desk: Desk) -> None:
    attic = desk.open("attic")
    desk.shelf.slow = Deferred()
    opening = begun(desk.positions.open("s", "lobby", now=100))
    slow, desk.shelf.slow = desk.shelf.slow, None
    desk.positions.leave(attic, returns=False)
    desk.pass_time(2 * LOOK_EVERY)
    slow.callback(None)
    desk.positions.confirm(now(opening), 105)
    desk.pass_time(2)
    assert desk.shelf.kept["lobby"] == 105


def test_where_she_says_that_she_stands_wins(desk: Desk) -> None:
    desk.open()
    assert desk.open(wanted=7).position == 7


def test_many_changes_are_one_row_a_second(desk: Desk) -> None:
    mark = desk.open()
    desk.shelf.written.clear()
    for number in range(101, 150):
        desk.positions.confirm(mark, number)
    desk.pass_time(2)
    assert desk.shelf.written == [[PositionRow("s", "lobby", 149, desk.node)]]
    desk.pass_time(10)
    assert len(desk.shelf.written) == 1


def test_the_numbers_that_are_promised() -> None:
    assert (local_positions.MOST_ROWS, local_positions.MOST_FORGOTTEN) == (500, 1000)


def test_many_rows_are_written_in_parts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_positions, "MOST_ROWS", 20)
    for number in range(21):
        desk.open(f"r{number}")
    desk.shelf.written.clear()
    desk.pass_time(2)
    assert [len(rows) for rows in desk.shelf.written] == [20, 1]


def test_all_is_written_at_the_end(desk: Desk) -> None:
    desk.positions.confirm(desk.open(), 101)
    desk.positions.stop()
    assert desk.shelf.kept == {"lobby": 101}


def test_nothing_goes_back(desk: Desk) -> None:
    mark = desk.open()
    desk.positions.confirm(mark, 99)
    assert mark.position == 100


class TestSeveral:
    def test_who_is_behind_is_what_counts(self, desk: Desk) -> None:
        fast = desk.open()
        slow = desk.open()
        desk.positions.confirm(slow, 101)
        desk.positions.confirm(fast, 110)
        desk.pass_time(2)
        assert desk.shelf.kept == {"lobby": 101}

    def test_the_newest_takes_the_place_of_who_may_be_she(self, desk: Desk) -> None:
        left = desk.open()
        back = desk.open()
        desk.positions.confirm(back, 110)
        desk.pass_time(2)
        # The first never confirmed again: it was the same client.
        assert desk.shelf.kept == {"lobby": 110}
        desk.positions.leave(left, returns=True)
        desk.pass_time(2)
        assert desk.shelf.kept == {"lobby": 110}

    def test_who_went_without_a_word_may_come_back(self, desk: Desk) -> None:
        first, second = desk.open(), desk.open()
        desk.positions.confirm(first, 101)
        desk.positions.confirm(second, 110)
        desk.positions.leave(first, returns=True)
        desk.positions.confirm(second, 120)
        desk.pass_time(2)
        assert desk.shelf.kept == {"lobby": 101}
        assert desk.open(at=200).position == 101

    def test_but_not_for_ever(self, desk: Desk) -> None:
        first, second = desk.open(), desk.open()
        desk.positions.confirm(first, 101)
        desk.positions.confirm(second, 110)
        desk.positions.leave(first, returns=True)
        desk.pass_time(MAY_RETURN + 1)
        desk.positions.confirm(second, 120)
        desk.pass_time(2)
        assert desk.shelf.kept == {"lobby": 120}

    def test_who_says_goodbye_holds_nobody_back(self, desk: Desk) -> None:
        first, second = desk.open(), desk.open()
        desk.positions.confirm(first, 101)
        desk.positions.confirm(second, 110)
        desk.positions.leave(first, returns=False)
        desk.pass_time(2)
        assert desk.shelf.kept == {"lobby": 110}

    def test_the_last_one_leaves_her_place(self, desk: Desk) -> None:
        mark = desk.open()
        desk.positions.confirm(mark, 103)
        desk.positions.leave(mark, returns=False)
        desk.pass_time(2)
        assert desk.shelf.kept == {"lobby": 103}
        assert desk.open(at=200).position == 103

    def test_to_forget_is_to_begin_anew(self, desk: Desk) -> None:
        desk.positions.forget(desk.open())
        desk.pass_time(2)
        assert desk.shelf.kept == {}
        assert desk.open(at=200).position == 200


def test_what_nobody_reads_is_not_remembered(desk: Desk) -> None:
    for number in range(10):
        desk.positions.leave(desk.open(f"r{number}"), returns=number % 2 == 0)
    desk.pass_time(MAY_RETURN + 2 * LOOK_EVERY)
    assert desk.positions._books == {}
    assert not desk.clock.getDelayedCalls()


def test_what_could_not_be_written_is_tried_again(desk: Desk) -> None:
    desk.open()
    desk.shelf.failure = StorageUnavailable("Not now.")
    with capturedLogs() as logged:
        desk.pass_time(30)
    assert len(logged) == 1
    desk.shelf.failure = None
    desk.pass_time(6)
    assert desk.shelf.kept == {"lobby": 100}


def test_too_late_is_too_late(desk: Desk) -> None:
    desk.open()
    desk.shelf.failure = ShuttingDown("Stopping.")
    with capturedLogs() as logged:
        desk.positions.stop()
    assert logged == []


def test_what_could_not_be_written_of_who_is_forgotten_is_not_lost(desk: Desk) -> None:
    mark = desk.open()
    desk.pass_time(2)
    desk.positions.confirm(mark, 150)
    desk.positions.leave(mark, returns=False)
    writing: Deferred[None] = Deferred()
    desk.shelf.slow = writing
    desk.pass_time(2)
    assert desk.positions._books == {}
    desk.shelf.slow = None
    with capturedLogs():
        writing.errback(StorageUnavailable("Not now."))
    desk.pass_time(6)
    assert desk.shelf.kept == {"lobby": 150}


def test_a_look_costs_what_has_changed_and_not_how_many_there_are() -> None:
    def crowd(size: int) -> Desk:
        desk = Desk(Weightless())
        for number in range(size):
            now(desk.positions.open(f"s{number}", "lobby", now=100, wanted=1))
        desk.pass_time(10)
        return desk

    few, many = crowd(50), crowd(5000)
    positions = iter(range(101, 10**6))

    def look(desk: Desk) -> None:
        mark = desk.positions._books["s7"].marks["lobby"][0]
        for _ in range(20):
            desk.positions.confirm(mark, next(positions))
            desk.positions.on_due(desk.clock.seconds())

    assert growth(lambda: look(few), lambda: look(many)) < 4


def test_many_who_leave_are_forgotten_a_few_at_a_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_positions, "MOST_FORGOTTEN", 50)
    for number in range(150):
        mark = now(desk.positions.open(f"s{number}", "lobby", now=100, wanted=1))
        desk.positions.leave(mark, returns=True)
    desk.clock.pump([0.1] * 50)
    assert not desk.positions._changed
    assert len(desk.positions._books) == 150
    desk.clock.advance(MAY_RETURN + LOOK_EVERY)
    assert len(desk.positions._books) == (100 if desk.forgets_at_once else 150)
    desk.clock.pump([0.1] * 10)
    assert desk.positions._books == {}


class Two:
    """Two nodes, 1 and 2, with one shelf and one bus."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.shelf = Shelf()
        self.numbers = [Numbers(2), Numbers(1)]
        self.numbers[1].number = 2
        first = MemoryBus(lambda: 1)
        self.buses = [first, MemoryBus(lambda: 2, first)]
        self.each = [
            ClusterPositions(self.shelf, Reaper(self.clock, 0.1), bus, numbers)
            for bus, numbers in zip(self.buses, self.numbers, strict=True)
        ]

    def open(self, which: int, at: int = 1000, wanted: int | None = None) -> ReadMarker:
        return now(self.each[which].open("s", "lobby", now=at, wanted=wanted))

    def pass_time(self, seconds: float = 2) -> None:
        self.clock.pump([0.5] * int(seconds * 2))

    @property
    def rows(self) -> dict[int, int]:
        return {row.node: row.position or 0 for row in now(self.shelf.position_rows("s"))}


@pytest.fixture
def two() -> Two:
    return Two()


class TestNodes:
    def test_who_comes_to_another_node_stands_where_she_stood(self, two: Two) -> None:
        first = two.open(0, at=100)
        two.each[0].confirm(first, 150)
        two.pass_time()
        second = two.open(1)
        assert second.position == 150
        two.each[1].confirm(second, 300)
        # The first node finds out later that she has gone.
        two.each[0].leave(first, returns=True)
        two.pass_time()
        assert two.rows == {2: 300}
        assert two.open(0).position == 300

    def test_the_least_of_all_nodes_counts(self, two: Two) -> None:
        first, second = two.open(0, at=100), two.open(1)
        two.each[0].confirm(first, 150)
        two.each[1].confirm(second, 300)
        two.pass_time()
        assert two.rows == {1: 150, 2: 300}
        # Her place is taken, wherever she comes, until she confirms again.
        assert two.open(1).position == 150
        two.each[0].confirm(first, 160)
        two.pass_time()
        assert two.rows == {1: 160, 2: 150}

    def test_who_says_goodbye_on_one_node_holds_nobody_back_on_another(self, two: Two) -> None:
        first, second = two.open(0, at=100), two.open(1)
        two.each[0].confirm(first, 110)
        two.each[1].confirm(second, 300)
        two.each[0].leave(first, returns=False)
        two.pass_time()
        assert two.rows == {NOBODYS: 110, 2: 300}
        assert two.open(0).position == 300

    def test_the_last_one_leaves_her_place_to_all_nodes(self, two: Two) -> None:
        first = two.open(0, at=100)
        two.each[0].confirm(first, 110)
        two.each[0].leave(first, returns=False)
        again = two.open(0)
        assert again.position == 110, "though it is not written yet"
        two.pass_time()
        two.each[0].leave(again, returns=True)
        two.pass_time(MAY_RETURN + 2 * LOOK_EVERY)
        assert two.rows == {NOBODYS: 110}
        assert two.each[0]._books == {}
        assert two.open(1).position == 110

    def test_to_forget_is_to_begin_anew_on_all_nodes(self, two: Two) -> None:
        two.each[0].leave(two.open(0, at=100), returns=False)
        two.pass_time()
        two.each[1].forget(two.open(1))
        two.pass_time()
        assert two.rows == {}
        assert two.open(0, at=200).position == 200

    def test_what_a_dead_node_had_is_taken_over(self, two: Two) -> None:
        first = two.open(0, at=100)
        two.each[0].confirm(first, 150)
        two.pass_time()
        two.numbers[1].others_are = []
        third = two.open(1)
        assert third.position == 150
        assert two.rows == {2: 150}

    def test_a_kill_loses_nobodys_place(self, two: Two) -> None:
        """At each moment there is a row that is not ahead of who may come back."""
        mark = two.open(0, at=100)
        for number, (which, position) in enumerate([(1, 150), (0, 160), (1, 170), (1, 180)]):
            mark = two.open(which)
            two.each[which].confirm(mark, position)
            assert min(two.rows.values()) <= mark.position
            if number % 2:
                two.pass_time()
                assert min(two.rows.values()) <= mark.position

    def test_a_bus_that_loses_shows_again_and_loses_nothing(self, two: Two) -> None:
        two.buses[1].cut = True
        first = two.open(0, at=100)
        two.pass_time()
        second = two.open(1)
        two.each[1].confirm(second, 300)
        two.each[0].leave(first, returns=True)
        two.pass_time()
        assert two.rows == {1: 100, 2: 300}

    def test_a_node_with_a_new_number_goes_on(self, two: Two) -> None:
        first = two.open(0, at=100)
        two.pass_time()
        two.numbers[0].number = 7
        two.numbers[1].others_are = [7]
        two.numbers[0].renumbered.tell(1)
        two.pass_time()
        assert two.rows == {7: 100}
        two.each[0].confirm(first, 150)
        two.pass_time()
        assert two.open(1).position == 150

    def test_where_the_taking_cannot_be_kept_nothing_is_taken(self, two: Two) -> None:
        first = two.open(0, at=100)
        two.pass_time()
        two.shelf.failure = StorageUnavailable("The disk is full.")
        for which in (0, 1):
            with pytest.raises(StorageUnavailable):
                two.open(which)
        two.shelf.failure = None
        two.each[0].confirm(first, 150)
        two.pass_time()
        assert two.rows == {1: 150}
