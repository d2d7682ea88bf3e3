"""A subscription and its sink: whatever the sink refuses, it gets everything once and in order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.shared_state import RoomSet
from cometd_chat.chat.subscription import STORAGE_DELAY, TRANSITIONS, State, Subscription
from cometd_chat.comet import Delivery
from cometd_chat.errors import StorageUnavailable
from cometd_chat.events import kinds
from cometd_chat.events.event import Batch, Event
from cometd_chat.events.record import Draft
from tests.chat.parts import House, now
from tests.memory import HeldLog


class Bounded:
    """A sink that takes so many events and says *not now* to more.

    :param room: for how many there is room now.
    :param paced: it wants to be asked before each page of a backlog.
    """

    congested = False

    def __init__(self, house: House, point: ResumePoint, *, room: int, paced: bool = False) -> None:
        self.room = room
        self.paced = paced
        self.taken: list[Event] = []
        rooms = RoomSet([house.room().context])
        self.subscription = Subscription(house.chat.readers.shared, rooms, self, point)
        house.engine.follow(self._told)

    def _told(self, told: Sequence[Delivery]) -> None:
        here = [each.attachment for each in told if each.path == "/chat/lobby"]
        if here:
            self.subscription.take(Batch(here))

    def offer(self, batch: Batch) -> int:
        for event in batch.events:
            if event.id is not None and not self.room:
                return event.id
            self.taken.append(event)
            self.room -= event.id is not None
        return 0

    replay = offer

    def ready(self) -> bool:
        return not self.paced

    @property
    def ids(self) -> list[int]:
        return [event.id for event in self.taken if event.id is not None]

    def make_room(self, room: int) -> None:
        self.room = room
        self.subscription.on_ready()


def say(house: House, room: str = "lobby") -> None:
    now(house.log.append(Draft(f"/chat/{room}", "message", "s", "filler", {"text": "hi"})))


def small(tail: int) -> House:
    """A house with so short a tail."""
    house = House()
    house.feed.tail.max_items = tail
    return house


STEPS = st.lists(
    st.one_of(st.sampled_from(["lobby", "dev", "begin"]), st.integers(0, 9)), max_size=60
)


@given(STEPS, st.integers(1, 9), st.integers(0, 5))
def test_whatever_is_refused_comes_again_and_nothing_twice(
    steps: list[str | int], tail: int, first: int
) -> None:
    house = small(tail)
    for _ in range(3):
        say(house)
    sink = Bounded(house, ResumePoint(1), room=first)
    for step in steps:
        if isinstance(step, int):
            sink.make_room(step)
        elif step == "begin":
            sink.subscription.begin()
        else:
            say(house, step)
    sink.subscription.begin()
    sink.make_room(1000)
    assert sink.subscription.state is State.LIVE
    said = now(house.log.read(["/chat/lobby"], after=1, limit=1000))
    assert sink.ids == [record.id for record in said]
    say(house)
    assert sink.ids[-1] == house.log.last_id
    assert sink.subscription.current == house.log.last_id


def test_nothing_is_offered_before_it_begins_nor_after_it_has_ended(house: House) -> None:
    sink = Bounded(house, ResumePoint(0), room=9)
    say(house)
    sink.subscription.on_ready()
    assert sink.ids == []
    sink.subscription.begin()
    say(house)
    assert sink.ids == [1, 2]
    assert [sink.subscription.end(), sink.subscription.end()] == [True, False]
    say(house)
    sink.subscription.begin()
    sink.subscription.on_ready()
    assert sink.ids == [1, 2]


def test_a_gap_is_told_until_something_after_it_is_taken(house: House) -> None:
    for _ in range(2):
        say(house)
    gap = kinds.gap("lobby", 7, 1)
    sink = Bounded(house, ResumePoint(0, preface=(gap,)), room=0)
    sink.subscription.begin()
    assert sink.taken == [gap]
    sink.make_room(1)
    assert (sink.taken, sink.ids) == ([gap, gap, sink.taken[2]], [1])
    sink.make_room(5)
    assert sink.taken.count(gap) == 2
    assert sink.ids == [1, 2]


def test_a_paced_sink_is_asked_before_each_page(house: House) -> None:
    for _ in range(450):
        say(house)
    sink = Bounded(house, ResumePoint(0), room=1000, paced=True)
    sink.subscription.begin()
    counts = [len(sink.ids)]
    for _ in range(3):
        sink.subscription.on_ready()
        counts.append(len(sink.ids))
    assert counts == [200, 400, 450, 450]


def test_a_log_that_can_not_be_read_is_tried_again() -> None:
    log = HeldLog()
    house = House(log=log)
    house.feed.tail.max_items = 1
    for _ in range(5):
        say(house)
    log.failing_reads = StorageUnavailable("Not now.")
    sink = Bounded(house, ResumePoint(0), room=9)
    sink.subscription.begin()
    house.advance(2 * STORAGE_DELAY + 1)
    assert (sink.ids, sink.subscription.state) == ([], State.BEHIND)
    log.failing_reads = None
    house.advance(STORAGE_DELAY + 1)
    assert sink.ids == [1, 2, 3, 4, 5]


def test_one_that_ended_while_the_log_was_read_is_told_nothing() -> None:
    log = HeldLog()
    house = House(log=log)
    house.feed.tail.max_items = 1
    for _ in range(5):
        say(house)
    log.holding_reads = True
    sink = Bounded(house, ResumePoint(0), room=9)
    sink.subscription.begin()
    assert sink.subscription.state is State.CATCHING_UP
    sink.subscription.end()
    log.answer_read()
    assert sink.ids == []


def test_one_that_ends_is_not_tried_again() -> None:
    log = HeldLog()
    house = House(log=log)
    house.feed.tail.max_items = 1
    for _ in range(5):
        say(house)
    log.failing_reads = StorageUnavailable("Not now.")
    scheduled = house.reaper.scheduled
    sink = Bounded(house, ResumePoint(0), room=9)
    sink.subscription.begin()
    assert house.reaper.scheduled == scheduled + 1
    sink.subscription.end()
    log.failing_reads = None
    house.clock.advance(2 * STORAGE_DELAY)
    assert house.reaper.scheduled == scheduled
    assert sink.subscription.state is State.ENDED
    assert sink.ids == []


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_only_what_the_table_has_may_follow(house: House, before: State, after: State) -> None:
    subscription = Bounded(house, ResumePoint(0), room=9).subscription
    subscription.state = before
    if after in TRANSITIONS[before]:
        subscription._become(after)
        assert subscription.state is after
    else:
        with pytest.raises(RuntimeError):
            subscription._become(after)
        assert subscription.state is before


def test_the_table_leads_everywhere_and_out_of_everything_but_the_end() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {after for each in TRANSITIONS.values() for after in each} == set(State) - {State.NEW}
    assert [state for state, after in TRANSITIONS.items() if not after] == [State.ENDED]
