"""The reaper: never early, at most one resolution late, and nothing on the clock when idle."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from cometd_chat.comet import Reaper
from cometd_chat.comet.reaper import PAST_STEP


class Item:
    """Notes when it was called, and answers from a list."""

    def __init__(self, clock: Clock, *answers: float | None, then: Callable[[], object] = list):
        self.due_bucket = 0
        self.called: list[float] = []
        self._clock = clock
        self._answers = list(answers)
        self._then = then

    def on_due(self, now: float) -> float | None:
        assert now == self._clock.seconds()
        self.called.append(now)
        self._then()
        return self._answers.pop(0) if self._answers else None


class Broken:
    due_bucket = 0

    def on_due(self, now: float) -> float | None:
        raise RuntimeError("no")


def test_calls_an_item_at_its_time_and_once() -> None:
    clock = Clock()
    reaper = Reaper(clock)
    item = Item(clock)
    reaper.schedule(item, 60)
    clock.advance(59)
    assert item.called == []
    clock.advance(1)
    clock.advance(1000)
    assert item.called == [60]
    assert item.due_bucket == 0


@given(
    start=st.floats(0, 1e9),
    delay=st.floats(0, 1e4),
    resolution=st.sampled_from([0.1, 0.25, 0.3, 1.0, 7.0]),
)
def test_never_early_and_at_most_one_resolution_late(
    start: float, delay: float, resolution: float
) -> None:
    clock = Clock()
    clock.rightNow = start
    reaper = Reaper(clock, resolution)
    item = Item(clock)
    due = start + delay
    reaper.schedule(item, delay)
    while not item.called:
        (call,) = clock.getDelayedCalls()
        clock.rightNow = max(clock.rightNow, call.getTime())
        clock.advance(0)
    assert due <= item.called[0] <= due + resolution * (1 + 1e-6)


def test_comes_back_when_an_item_says_so() -> None:
    clock = Clock()
    reaper = Reaper(clock)
    item = Item(clock, 15, 15, None)
    reaper.schedule(item, 15)
    clock.pump([1] * 100)
    assert item.called == [15, 30, 45]


def test_an_item_that_is_always_due_does_not_hold_the_sweep() -> None:
    clock = Clock()
    reaper = Reaper(clock)
    item = Item(clock, *[0.0] * 100)
    reaper.schedule(item, 0)
    clock.pump([1, 1, 1])
    assert item.called == [1, 2, 3]


def test_scheduling_again_moves_an_item() -> None:
    clock = Clock()
    reaper = Reaper(clock)
    item = Item(clock)
    reaper.schedule(item, 10)
    reaper.schedule(item, 20)
    assert reaper.scheduled == 1
    clock.advance(19)
    assert item.called == []
    reaper.schedule(item, 0.5)
    clock.advance(1)
    assert item.called == [20]


def test_one_delayed_call_when_busy_and_none_when_idle() -> None:
    clock = Clock()
    reaper = Reaper(clock)
    items = [Item(clock) for _ in range(100)]
    assert clock.getDelayedCalls() == []
    for number, item in enumerate(items):
        reaper.schedule(item, 100 - number)
        assert len(clock.getDelayedCalls()) == 1
    for item in items[:50]:
        reaper.cancel(item)
        reaper.cancel(item)
    clock.pump([1] * 49)
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(1)
    assert clock.getDelayedCalls() == []
    assert [item.called for item in items] == [[]] * 50 + [[50 - n] for n in range(50)]
    reaper.schedule(items[0], 5)
    reaper.cancel(items[0])
    assert clock.getDelayedCalls() == []


def test_sleeps_through_the_time_in_which_nothing_is_due() -> None:
    clock = Clock()
    reaper = Reaper(clock)
    reaper.schedule(Item(clock), 3600)
    (call,) = clock.getDelayedCalls()
    assert call.getTime() == 3600


def test_an_item_that_raises_is_logged_and_dropped_and_the_others_are_called() -> None:
    clock = Clock()
    reaper = Reaper(clock)
    broken = Broken()
    others = [Item(clock), Item(clock)]
    reaper.schedule(others[0], 1)
    reaper.schedule(broken, 1)
    reaper.schedule(others[1], 1)
    with capturedLogs() as logs:
        clock.advance(1)
    assert [item.called for item in others] == [[1], [1]]
    assert [entry["item"] for entry in logs] == ["Broken"]
    assert "log_failure" in logs[0]
    assert clock.getDelayedCalls() == []


def test_items_may_schedule_and_cancel_each_other_when_due() -> None:
    clock = Clock()
    reaper = Reaper(clock)
    victim, later = Item(clock), Item(clock)

    def then() -> None:
        reaper.cancel(victim)
        reaper.schedule(later, 0)

    first = Item(clock, then=then)
    reaper.schedule(victim, 1)
    reaper.schedule(first, 1)  # the last in a bucket is the first to be called
    clock.advance(1)
    assert (first.called, victim.called, later.called) == ([1], [], [])
    clock.advance(1)
    assert later.called == [2]


def test_an_item_that_schedules_itself_and_returns_none_stays() -> None:
    clock = Clock()
    reaper = Reaper(clock)

    def again() -> None:
        if len(item.called) < 3:
            reaper.schedule(item, 2)

    item = Item(clock, then=again)
    reaper.schedule(item, 2)
    clock.pump([1] * 20)
    assert item.called == [2, 4, 6]


def test_a_long_sweep_makes_way_for_other_work() -> None:
    clock = Clock()
    reaper = Reaper(clock, slice_seconds=0.005)
    order: list[str] = []

    def work() -> None:
        clock.rightNow += 0.0001
        order.append("item")

    class Slow(Item):
        def on_due(self, now: float) -> float | None:
            work()
            return None

    for _ in range(200):
        reaper.schedule(Slow(clock), 1)
    clock.rightNow = 1.0
    clock.callLater(0, lambda: clock.callLater(0, order.append, "other"))
    clock.advance(0)
    assert order.count("item") == 200
    assert 0 < order.index("other") < 200
    assert clock.getDelayedCalls() == []


def test_who_comes_and_goes_all_the_time_is_called_once_and_leaves_nothing_behind() -> None:
    clock = Clock()
    reaper = Reaper(clock)
    stays, passing = Item(clock), Item(clock)
    reaper.schedule(stays, 60)
    for _ in range(10_000):
        reaper.schedule(passing, 60)
        reaper.cancel(passing)
    reaper.schedule(passing, 60)
    assert reaper.scheduled == 2
    # What was cancelled is let go of long before its time, or polls would pile up here.
    assert sum(len(bucket.items) for bucket in reaper._buckets.values()) < 200
    clock.advance(61)
    assert (len(stays.called), len(passing.called)) == (1, 1)
    assert (reaper.scheduled, clock.getDelayedCalls()) == (0, [])


def test_moments_that_are_past_are_about_right_and_shared() -> None:
    clock = Clock()
    clock.advance(1000)
    reaper = Reaper(clock)
    assert reaper.past_moment(0) == reaper.past_moment(0.05) == 1000
    for ago in (0.1, 1, 15.02, 900):
        assert 1000 - ago <= reaper.past_moment(ago) <= min(1000, 1000 - ago + PAST_STEP + 1e-9)
    assert reaper.past_moment(15.02) is reaper.past_moment(15.06)
    kept = {id(each): each for each in (reaper.past_moment(ago) for ago in range(1, 999))}
    assert len(kept) == 998, "however many are asked for"
