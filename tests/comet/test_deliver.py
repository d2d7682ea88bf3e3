"""Delivering committed batches: in id order, each event once, in slices, a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from cometd_chat.comet import CometEngine, CometEvent, CometEventType, Delivery, Reason

LOBBY, DEV = "/chat/lobby", "/chat/dev"


class Stream:
    """Gathers ids and writes them down by batches; hearing one takes some time."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.batches: list[list[int | None]] = []
        self.ended: Reason | None = None
        self.on_id: Callable[[int | None], object] = lambda _: None
        self._clock = clock
        self._seconds = seconds

    def on_initialize(self, event: CometEvent) -> None:
        pass

    def on_event(self, event: CometEvent) -> None:
        raise AssertionError("it is told batches")

    def on_batch(self, events: Sequence[CometEvent]) -> None:
        assert self.ended is None
        ids = []
        for event in events:
            assert event.type is CometEventType.NOTIFY
            self._clock.rightNow += self._seconds
            ids.append(event.id)
            self.on_id(event.id)
        self.batches.append(ids)

    def on_interrupt(self, event: CometEvent) -> None:
        self.ended = event.attachment

    on_terminate = on_interrupt


def batch(*ids: int, path: str = LOBBY) -> list[Delivery]:
    return [Delivery(path, f"text {id}", id) for id in ids]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> CometEngine:
    engine = CometEngine(clock)
    engine.register(LOBBY)
    engine.register(DEV)
    return engine


def hold(engine: CometEngine, stream: Stream, *paths: str) -> Stream:
    for path in paths or (LOBBY,):
        engine.register(path).add_handler(stream)
    return stream


def crowd(engine: CometEngine, clock: Clock, count: int = 200) -> list[Stream]:
    """So many streams, so slow, that a batch takes several slices."""
    return [hold(engine, Stream(clock, 0.0001)) for _ in range(count)]


def test_a_small_batch_goes_out_at_once(engine: CometEngine, clock: Clock) -> None:
    stream = hold(engine, Stream(clock))
    engine.deliver(batch(1, 2, 3))
    assert stream.batches == [[1, 2, 3]]
    assert not engine.delivering
    assert clock.getDelayedCalls() == []


def test_in_id_order_over_all_contexts_and_each_once(engine: CometEngine, clock: Clock) -> None:
    both = hold(engine, Stream(clock), LOBBY, DEV)
    lobby, dev = hold(engine, Stream(clock)), hold(engine, Stream(clock), DEV)
    engine.deliver([*batch(1), *batch(2, path=DEV), *batch(3), *batch(4, path=DEV)])
    engine.deliver(batch(5, path=DEV))
    assert both.batches == [[1, 2, 3, 4], [5]]
    assert lobby.batches == [[1, 3]]
    assert dev.batches == [[2, 4], [5]]


def test_an_unregistered_path_is_ignored(engine: CometEngine, clock: Clock) -> None:
    stream = hold(engine, Stream(clock))
    engine.deliver([*batch(1, path="/nobody"), *batch(2)])
    assert stream.batches == [[2]]
    assert engine.context("/nobody") is None


def test_where_nobody_is_nothing_waits(engine: CometEngine, clock: Clock) -> None:
    told: list[int | None] = []
    engine.follow(lambda events: told.extend(event.id for event in events))
    engine.deliver(batch(1, 2))
    assert (engine.delivering, clock.getDelayedCalls(), told) == (False, [], [1, 2])
    here = hold(engine, Stream(clock), DEV)
    engine.deliver([*batch(3), *batch(4, path=DEV), *batch(5), *batch(6, path=DEV)])
    assert here.batches == [[4, 6]]
    assert told == [1, 2, 3, 4, 5, 6]


def test_a_long_fan_out_makes_way_for_other_work(engine: CometEngine, clock: Clock) -> None:
    streams = crowd(engine, clock)
    heard: list[int] = []

    def other_work() -> None:
        heard.append(sum(bool(stream.batches) for stream in streams))
        if engine.delivering:
            clock.callLater(0, other_work)

    engine.deliver(batch(1))
    other_work()
    assert 32 <= heard[0] <= 96
    clock.advance(0)
    assert len(set(heard)) >= 3
    assert all(stream.batches == [[1]] for stream in streams)
    assert clock.getDelayedCalls() == []


def test_batches_that_wait_go_out_together(engine: CometEngine, clock: Clock) -> None:
    streams = crowd(engine, clock)
    engine.deliver(batch(1))
    engine.deliver(batch(2, 3))
    engine.deliver(batch(4, path=DEV))
    engine.deliver(batch(5))
    clock.advance(0)
    assert all(stream.batches == [[1], [2, 3, 5]] for stream in streams)


def test_who_is_added_meanwhile_hears_what_is_delivered_after_that(
    engine: CometEngine, clock: Clock
) -> None:
    """Whoever reads the backlog and is added in one step gets no event twice, and misses none."""
    crowd(engine, clock)
    engine.deliver(batch(1))
    first = hold(engine, Stream(clock))
    engine.deliver(batch(2))
    second = hold(engine, Stream(clock), DEV, LOBBY)
    engine.deliver([*batch(3), *batch(4, path=DEV)])
    third = hold(engine, Stream(clock))
    hold(engine, first, DEV)
    clock.advance(0)
    assert first.batches == [[2, 3]]
    assert second.batches == [[3, 4]]
    assert third.batches == []
    engine.deliver(batch(5, path=DEV))
    clock.advance(0)
    assert first.batches == [[2, 3], [5]]


def test_who_is_gone_meanwhile_is_skipped(engine: CometEngine, clock: Clock) -> None:
    streams = crowd(engine, clock)
    engine.deliver(batch(1))
    engine.deliver(batch(2))
    last = streams[-1]
    engine.interrupt(last)
    engine.register(LOBBY).add_handler(last)
    last.ended = None
    clock.advance(0)
    assert last.batches == []
    assert streams[-2].batches == [[1], [2]]


def test_unregistering_during_a_fan_out(engine: CometEngine, clock: Clock) -> None:
    streams = crowd(engine, clock)
    engine.deliver(batch(1))
    engine.unregister(LOBBY)
    engine.register(LOBBY)
    stream = hold(engine, Stream(clock))
    clock.advance(0)
    assert {stream.ended for stream in streams} == {Reason.UNREGISTERED}
    assert stream.batches == streams[-1].batches == []


def test_answering_an_event_with_an_event(engine: CometEngine, clock: Clock) -> None:
    """What a handler delivers comes after what it is hearing, for everybody, in a later turn."""
    first, second = hold(engine, Stream(clock)), hold(engine, Stream(clock))

    def answer(heard: int | None) -> None:
        if heard is not None and heard < 4:
            engine.deliver(batch(heard + 1))

    first.on_id = answer
    engine.deliver(batch(1))
    assert first.batches == second.batches == [[1]]
    for _ in range(3):
        clock.advance(0)
    assert first.batches == second.batches == [[1], [2], [3], [4]]


def test_leaving_in_the_middle_of_a_batch(engine: CometEngine, clock: Clock) -> None:
    class Single(Stream):
        """One that is told events one by one."""

        on_batch = None  # type: ignore[assignment]

        def on_event(self, event: CometEvent) -> None:
            self.batches.append([event.id])
            engine.register(LOBBY).remove_handler(self)

    stream = hold(engine, Single(clock))
    engine.deliver(batch(1, 2, 3))
    assert stream.ended is Reason.REMOVED
    assert stream.batches == [[1]]


def test_one_that_raises_stops_nobody(engine: CometEngine, clock: Clock) -> None:
    streams = crowd(engine, clock)
    broken = streams[100]
    broken.on_id = lambda _: 1 / 0
    with capturedLogs() as logs:
        engine.deliver(batch(1, 2))
        clock.advance(0)
    assert broken.ended is Reason.FAILED
    assert [stream.batches for stream in streams].count([[1, 2]]) == 199
    assert len(logs) == 1


def test_a_notify_during_a_fan_out_goes_at_once(engine: CometEngine, clock: Clock) -> None:
    streams = crowd(engine, clock)
    engine.deliver(batch(1))
    engine.register(LOBBY).notify("typing")
    assert streams[-1].batches == [[None]]
    clock.advance(0)
    assert streams[-1].batches == [[None], [1]]


def test_a_shutdown_drops_what_has_not_gone_out(engine: CometEngine, clock: Clock) -> None:
    streams = crowd(engine, clock)
    told: list[bool] = []

    class Asking(Stream):
        def on_terminate(self, event: CometEvent) -> None:
            told.append(engine.delivering)

    hold(engine, Asking(clock))
    engine.deliver(batch(1))
    engine.deliver(batch(2))
    engine.shutdown()
    assert told == [True]
    assert {stream.ended for stream in streams} == {Reason.SHUTDOWN}
    assert not engine.delivering
    assert clock.getDelayedCalls() == []


def test_a_shutdown_from_within_a_fan_out(engine: CometEngine, clock: Clock) -> None:
    streams = crowd(engine, clock)
    streams[40].on_id = lambda _: engine.shutdown()
    engine.deliver(batch(1))
    clock.advance(0)
    assert {stream.ended for stream in streams} == {Reason.SHUTDOWN}
    assert [bool(stream.batches) for stream in streams].count(True) == 41
    assert clock.getDelayedCalls() == []
    assert not engine.delivering


def test_a_follower_hears_everything_before_all_others(engine: CometEngine, clock: Clock) -> None:
    order: list[str] = []
    stream = Stream(clock)
    stream.on_id = lambda heard: order.append(f"handler {heard}")
    engine.register(DEV).add_handler(stream)
    stop = engine.follow(lambda told: order.extend(f"{each.path} {each.id}" for each in told))
    engine.deliver([*batch(1), *batch(2, path=DEV), *batch(3, path="/nowhere")])
    assert order == [f"{LOBBY} 1", f"{DEV} 2", "handler 2"]
    engine.deliver(batch(4, path="/nowhere"))
    stop()
    engine.deliver(batch(5, path=DEV))
    assert order[3:] == ["handler 5"]


def test_a_follower_that_fails_stops_nobody(engine: CometEngine, clock: Clock) -> None:
    def fail(told: Sequence[Delivery]) -> None:
        raise RuntimeError("this one fails")

    engine.follow(fail)
    heard: list[int | None] = []
    engine.follow(lambda told: heard.extend(each.id for each in told))
    stream = Stream(clock)
    engine.register(LOBBY).add_handler(stream)
    with capturedLogs() as logged:
        engine.deliver(batch(1))
        engine.deliver(batch(2))
    assert heard == [1, 2]
    assert stream.batches == [[1], [2]]
    assert len([event for event in logged if "log_failure" in event]) == 2
