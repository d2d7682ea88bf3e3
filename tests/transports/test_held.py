"""Held requests on a clock: heartbeats, the reader's budget, and one end for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from cometd_chat.comet.reaper import Reaper
from cometd_chat.events.event import Batch, Event
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.framings import JsonLines, Poll
from cometd_chat.transports.held import HeldPoll, HoldPolicy, RotationLimits
from cometd_chat.transports.held_stream import (
    HARD_LIMIT_FACTOR,
    STALLED_AFTER,
    HeldStream,
    RotatingStream,
)
from cometd_chat.transports.limited_request import LimitedRequest
from cometd_chat.transports.refusals import Form
from cometd_chat.transports.stats import TransportStats
from cometd_chat.web.site import ChatSite
from tests.net import MemoryNet, fake_kernel
from tests.wire import Connection, Response

HEARTBEAT = 15.0
KIB = 1024
BUDGET = 64 * KIB
HELLO = Batch([Event({"type": "hello", "cursor": "0.k3f9"})])


def message(size: int = 100, id: int = 1) -> Event:
    """An event whose JSON has about so many bytes."""
    return Event({"type": "message", "text": "x" * size}, id)


class Listener:
    """Writes down what a held request tells."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.progress_at = 0.0
        self.on_timeout: Callable[[], None] = lambda: self.told.append("overdue")

    def on_progress(self, at: float) -> None:
        self.told.append("progress")
        self.progress_at = at

    def make_heartbeat(self) -> Batch:
        self.told.append("silence")
        return Batch([Event({"type": "heartbeat", "cursor": "9.k3f9"})])

    def on_ready(self) -> None:
        self.told.append("ready")

    def on_rotate(self) -> None:
        self.told.append("rotate")

    def on_lost(self) -> None:
        self.told.append("lost")

    def reads(self) -> tuple[str, Sequence[str]]:
        return "Ada", ("lobby",)

    def count(self, what: str) -> int:
        return self.told.count(what)


class Transport(Resource):
    """Holds each request as Klein does: it finishes the response when the route is through, and
    cancels the route when the connection is lost."""

    isLeaf = True

    def __init__(self, hold: Callable[[Any], HeldStream | HeldPoll]) -> None:
        super().__init__()
        self._hold = hold
        self.held: list[HeldStream | HeldPoll] = []
        self.ends: list[object] = []

    def render(self, request: Any) -> Any:
        self.held.append(self._hold(request))
        self._request = request
        return NOT_DONE_YET

    def wait(self) -> None:
        """What the route does once its request is held."""
        request = self._request
        route = Deferred.fromCoroutine(request.until_released())
        request.notifyFinish().addErrback(lambda failure: route.cancel())
        route.addBoth(self.ends.append)
        route.addCallback(lambda _: request.finish() if self.ends == [None] else None)


class Holder(MemoryNet):
    """A site whose one transport holds everything."""

    def __init__(self) -> None:
        super().__init__()
        self.reaper = Reaper(self.clock, 0.1)
        self.stats = TransportStats()
        self.listener = Listener()
        self.rotation: RotationLimits | None = None
        self.rotate_at = 1e9
        self.wait: float | None = None
        self.transport = Transport(self._held)
        sweep = Reaper(self.clock)
        self.factory = ChatSite(
            self.transport, lambda error, html: Form(b"", b""), self.clock, sweep
        )

    def _held(self, request: Any) -> HeldStream | HeldPoll:
        hold_policy = HoldPolicy(
            transport="stream" if self.wait is None else "poll",
            reaper=self.reaper,
            stats=self.stats,
            heartbeat=HEARTBEAT,
            budget=BUDGET,
            rotation=self.rotation,
        )
        if self.wait is not None:
            return HeldPoll(request, Poll(), hold_policy, wait=self.wait)
        return RotatingStream(request, JsonLines(), hold_policy, rotate_at=self.rotate_at)

    def open(self, window: int | None = None) -> tuple[Connection, Response, Any]:
        """A connection, the response on it, and what is held for it."""
        connection = self.connect(window=window)
        response = connection.request("GET", "/")
        held = self.transport.held[-1]
        held.hold(self.listener, HELLO)
        self.transport.wait()
        self.turn()
        return connection, response, held

    def send(self, held: Any, events: Sequence[Event]) -> None:
        held.offer(Batch(events))
        self.turn()


@pytest.fixture
def holder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Holder]:
    with Holder() as made:
        fake_kernel(monkeypatch, made)
        yield made


def types(response: Response) -> list[str]:
    return [json.loads(line)["type"] for line in response.body.splitlines()]


class TestStream:
    def test_hello_comes_with_the_head(self, holder: Holder) -> None:
        _, response, _ = holder.open()
        assert (response.status, types(response)) == (200, ["hello"])
        assert not response.complete

    def test_a_batch_is_one_chunk(self, holder: Holder) -> None:
        _, response, held = holder.open()
        holder.send(held, [message(id=1), message(id=2)])
        assert [chunk.count(b"\n") for chunk in response.chunks] == [1, 2]

    def test_ends_with_its_last_events_and_in_order(self, holder: Holder) -> None:
        connection, response, held = holder.open()
        held.end(Batch([Event({"type": "bye", "reason": "enough"})]))
        holder.turn()
        assert types(response) == ["hello", "bye"]
        assert response.complete
        assert holder.transport.ends == [None]
        # The connection is as good as before.
        assert not connection.closed
        connection.request("GET", "/")
        assert len(holder.transport.held) == 2

    def test_nothing_is_written_after_the_end(self, holder: Holder) -> None:
        _, response, held = holder.open()
        held.end(None)
        held.offer(Batch([message()]))
        held.end(Batch([message()]))
        held.cut()
        holder.advance(2 * HEARTBEAT)
        assert types(response) == ["hello"]
        assert holder.transport.ends == [None]
        assert holder.listener.told == []

    def test_counts(self, holder: Holder) -> None:
        _, response, held = holder.open()
        counts = holder.stats.transport("stream")
        assert counts.held == 1
        holder.send(held, [message(id=1), Event({"type": "join"}), message(id=2)])
        assert counts.delivered == 2, "only what is kept, as at every transport"
        assert counts.bytes_sent == len(response.body)
        held.end(None)
        assert counts.held == 0


class TestHeartbeats:
    def test_come_after_silence_and_only_then(self, holder: Holder) -> None:
        _, response, held = holder.open()
        holder.advance(HEARTBEAT - 1)
        holder.send(held, [message()])
        holder.advance(HEARTBEAT - 1)
        assert types(response) == ["hello", "message"]
        holder.advance(1.5)
        assert types(response) == ["hello", "message", "heartbeat"]
        holder.advance(2 * HEARTBEAT)
        assert types(response).count("heartbeat") == 3

    def test_stop_with_the_stream(self, holder: Holder) -> None:
        connection, _, _ = holder.open()
        connection.close()
        holder.advance(2 * HEARTBEAT)
        assert holder.listener.count("silence") == 0
        assert holder.reaper.scheduled == 0

    def test_tell_of_the_progress_since_the_last(self, holder: Holder) -> None:
        connection, _, _ = holder.open()
        holder.advance(HEARTBEAT + 1)
        assert holder.listener.told == ["progress", "silence"]
        # From here on the peer takes nothing: there is none to tell of.
        connection.socket.acknowledges = False
        holder.advance(HEARTBEAT)
        holder.listener.told.clear()
        holder.advance(3 * HEARTBEAT)
        assert holder.listener.told == ["silence"] * 3

    def test_tell_when_that_was(self, holder: Holder) -> None:
        connection, _, _ = holder.open()
        connection.socket.acknowledged_ago = HEARTBEAT - 2
        holder.advance(HEARTBEAT + 0.5)
        assert holder.listener.progress_at == pytest.approx(2, abs=0.3)

    def test_what_waits_for_a_peer_that_is_gone_is_no_progress(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel drops it, and then says that nothing is unacknowledged."""
        connection, _, held = holder.open()
        connection.socket.acknowledges = False
        holder.send(held, [message(1000)])
        behind = held.measure()
        connection.socket.unacknowledged = 0
        monkeypatch.setattr(twisted_internals, "is_broken", lambda transport: True)
        holder.listener.told.clear()
        assert held.measure() == behind > 1000
        assert holder.listener.told == []


class TestBudget:
    def test_what_the_peer_takes_at_once_costs_nothing(self, holder: Holder) -> None:
        _, response, held = holder.open()
        for id in range(1, 101):
            holder.send(held, [message(KIB * 8, id)])
        assert types(response).count("message") == 100
        assert holder.stats.slow_readers_cut == 0

    def test_over_it_and_nothing_taken_for_two_seconds_cuts(self, holder: Holder) -> None:
        connection, response, held = holder.open(window=1000)
        for id in range(1, 10):
            holder.send(held, [message(KIB * 10, id)])
        assert connection.buffered > BUDGET
        holder.advance(STALLED_AFTER - 0.5)
        assert holder.stats.slow_readers_cut == 0
        holder.advance(1)
        assert connection.closed
        assert connection.socket.reset
        assert not response.complete
        assert holder.stats.slow_readers_cut == 1
        assert holder.listener.count("lost") == 1

    def test_while_the_peer_takes_something_it_is_let_live(self, holder: Holder) -> None:
        connection, _, held = holder.open(window=0)
        for id in range(1, 10):
            holder.send(held, [message(KIB * 10, id)])
        for _ in range(20):
            holder.advance(1)
            connection.open_window(2 * KIB)
        assert connection.buffered > 0
        assert not connection.closed
        assert holder.stats.slow_readers_cut == 0

    def test_what_the_kernel_has_and_the_peer_has_not_counts_the_same(self, holder: Holder) -> None:
        connection, _, held = holder.open()
        connection.socket.acknowledges = False
        for id in range(1, 10):
            holder.send(held, [message(KIB * 10, id)])
        assert connection.buffered == 0
        assert holder.stats.slow_readers_cut == 0
        holder.advance(STALLED_AFTER + 0.5)
        assert connection.closed
        assert holder.stats.slow_readers_cut == 1

    def test_four_times_over_it_cuts_at_once(self, holder: Holder) -> None:
        connection, _, held = holder.open(window=0)
        sent = 0
        while not connection.closed:
            # It takes a little each time, so that only the amount can be what cuts it.
            connection.open_window(100)
            holder.send(held, [message(KIB * 10)])
            sent += KIB * 10
            assert sent < (HARD_LIMIT_FACTOR + 1) * BUDGET
        assert sent > HARD_LIMIT_FACTOR * BUDGET
        assert holder.stats.slow_readers_cut == 1
        assert holder.clock.seconds() == 0

    def test_one_batch_alone_never_cuts(self, holder: Holder) -> None:
        connection, response, held = holder.open(window=0)
        holder.send(held, [message(10 * HARD_LIMIT_FACTOR * BUDGET)])
        holder.advance(30)
        assert holder.stats.slow_readers_cut == 0
        connection.open_window(None)
        assert types(response) == ["hello", "message"]

    def test_a_second_one_does(self, holder: Holder) -> None:
        connection, _, held = holder.open(window=0)
        holder.send(held, [message(2 * BUDGET)])
        holder.send(held, [message(100)])
        assert holder.stats.slow_readers_cut == 0
        holder.advance(STALLED_AFTER + 0.5)
        assert connection.closed
        assert holder.stats.slow_readers_cut == 1

    def test_a_burst_after_silence_is_no_stall(self, holder: Holder) -> None:
        """Where there was nothing to take, nothing taken for two seconds means nothing."""
        connection, _, held = holder.open()
        holder.advance(5)
        holder.send(held, [message()])
        # The look at 15 s finds nothing to say yet, so nothing is under way after it.
        holder.advance(14)
        connection.socket.window = 0
        for id in range(1, 13):
            held.offer(Batch([message(KIB * 10, id)]))
        assert connection.buffered > BUDGET + KIB * 10
        connection.open_window(None)
        assert not connection.closed
        assert holder.stats.slow_readers_cut == 0

    def test_memory_is_bounded_however_much_is_sent(self, holder: Holder) -> None:
        connection, _, held = holder.open(window=0)
        most = 0
        for id in range(1, 1000):
            connection.open_window(10)
            holder.send(held, [message(KIB * 10, id)])
            most = max(most, connection.buffered if not connection.closed else 0)
        assert connection.closed
        assert most <= HARD_LIMIT_FACTOR * BUDGET + KIB * 11

    def test_one_that_is_strained_says_so(self, holder: Holder) -> None:
        connection, _, held = holder.open(window=0)
        congested = [held.congested]
        holder.send(held, [message(BUDGET * 3 // 4)])
        congested.append(held.congested)
        connection.open_window(None)
        congested.append(held.congested)
        assert congested == [False, True, False]

    def test_one_slow_reader_costs_the_others_nothing(self, holder: Holder) -> None:
        slow, _, slow_held = holder.open(window=0)
        _, response, held = holder.open()
        for id in range(1, 31):
            batch = Batch([message(KIB * 10, id)])
            for each in (slow_held, held):
                each.offer(batch)
            holder.turn()
        assert slow.closed
        assert types(response).count("message") == 30


class TestBacklog:
    def test_waits_until_half_of_the_budget_is_free(self, holder: Holder) -> None:
        connection, _, held = holder.open(window=0)
        held.replay(Batch([message(BUDGET)]))
        assert not held.ready()
        holder.advance(30)
        assert holder.listener.count("ready") == 0
        connection.open_window(None)
        assert holder.listener.count("ready") == 1

    def test_waits_for_what_the_kernel_holds_as_well(self, holder: Holder) -> None:
        connection, _, held = holder.open()
        holder.send(held, [message(BUDGET)])
        connection.socket.unacknowledged = BUDGET
        assert not held.ready()
        holder.advance(1)
        assert holder.listener.count("ready") == 0
        connection.socket.unacknowledged = BUDGET // 2
        holder.advance(0.5)
        assert holder.listener.count("ready") == 1

    def test_does_not_count_but_what_comes_after_it_does(self, holder: Holder) -> None:
        connection, _, held = holder.open(window=0)
        held.replay(Batch([message(10 * HARD_LIMIT_FACTOR * BUDGET)]))
        for id in range(1, 6):
            holder.send(held, [message(KIB * 10, id)])
        holder.advance(10)
        assert holder.stats.slow_readers_cut == 0
        for id in range(1, 5):
            holder.send(held, [message(KIB * 10, id)])
        assert connection.closed
        assert holder.stats.slow_readers_cut == 1

    def test_goes_on_at_once_when_there_is_room(self, holder: Holder) -> None:
        _, _, held = holder.open()
        assert held.ready()
        assert holder.listener.count("ready") == 0

    def test_goes_on_when_its_peer_takes_it_while_that_is_asked(
        self, holder: Holder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The fast lane's transport tells at once that its buffer is empty. If what the kernel held
        has gone by then, nobody would tell it again."""
        connection, _, held = holder.open()
        holder.send(held, [message(BUDGET)])
        connection.socket.unacknowledged = BUDGET

        def tell_drained(request: LimitedRequest, producer: HeldStream) -> None:
            connection.socket.unacknowledged = 0
            producer.resumeProducing()

        monkeypatch.setattr(LimitedRequest, "tell_drained", tell_drained)
        assert held.ready()

    def test_is_neither_cut_nor_beaten_over(self, holder: Holder) -> None:
        """It is paced by what the peer takes; who takes nothing expires elsewhere."""
        connection, response, held = holder.open(window=0)
        held.replay(Batch([message(2 * BUDGET)]))
        assert not held.ready()
        holder.advance(3 * HEARTBEAT)
        assert not connection.closed
        assert holder.listener.count("silence") == 0
        connection.open_window(None)
        holder.advance(HEARTBEAT)
        assert types(response) == ["hello", "message", "heartbeat"]

    @pytest.mark.parametrize("how", ["end", "cut", "close", "reset"])
    def test_is_not_waited_for_after_the_end(self, holder: Holder, how: str) -> None:
        connection, _, held = holder.open(window=0)
        held.offer(Batch([message(2 * BUDGET)]))
        assert not held.ready()
        if how == "reset":
            connection.reset()
        elif how == "close":
            # It may yet take what was sent before it closed its half.
            connection.close()
            connection.open_window(None)
        elif how == "end":
            held.end(None)
        else:
            held.cut()
        holder.turn()
        assert holder.listener.count("ready") == 0
        assert held.ready()


class TestTheEnd:
    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_a_peer_that_goes_is_told_of_once(self, holder: Holder, how: str) -> None:
        connection, _, held = holder.open()
        getattr(connection, how)()
        assert holder.listener.told.count("lost") == 1
        held.end(None)
        held.cut()
        assert holder.listener.told.count("lost") == 1
        (end,) = holder.transport.ends
        assert getattr(end, "type", None) is CancelledError
        assert holder.stats.transport("stream").held == 0

    def test_a_cut_drops_the_connection_without_a_word(self, holder: Holder) -> None:
        connection, response, held = holder.open()
        held.cut()
        assert holder.listener.told == ["lost"]
        holder.turn()
        assert connection.closed
        assert connection.socket.reset
        assert not response.complete
        assert len(holder.transport.ends) == 1

    def test_after_the_end_a_peer_that_goes_is_nobodys(self, holder: Holder) -> None:
        connection, _, held = holder.open()
        held.end(None)
        holder.turn()
        connection.close()
        assert holder.listener.told == []
        assert holder.transport.ends == [None]

    def test_an_end_that_the_peer_is_too_slow_for_still_comes(self, holder: Holder) -> None:
        connection, response, held = holder.open(window=300)
        held.offer(Batch([message(BUDGET // 2)]))
        held.end(Batch([Event({"type": "bye"})]))
        holder.turn()
        assert not response.complete
        connection.open_window(None)
        assert types(response) == ["hello", "message", "bye"]
        assert response.complete

    def test_one_that_was_never_begun_can_be_lost(self, holder: Holder) -> None:
        connection = holder.connect()
        connection.request("GET", "/")
        connection.close()
        assert holder.stats.transport("stream").held == 0
        assert holder.listener.told == []


class TestWear:
    def test_after_so_many_events(self, holder: Holder) -> None:
        holder.rotation = RotationLimits(events=3, bytes=10**9)
        _, _, held = holder.open()
        holder.send(held, [message(id=1), message(id=2)])
        assert holder.listener.count("rotate") == 0
        holder.send(held, [message(id=3)])
        assert holder.listener.count("rotate") == 1

    def test_after_so_many_bytes(self, holder: Holder) -> None:
        holder.rotation = RotationLimits(events=10**9, bytes=5000)
        _, _, held = holder.open()
        holder.send(held, [message(4000)])
        assert holder.listener.count("rotate") == 0
        holder.send(held, [message(1000)])
        assert holder.listener.count("rotate") == 1

    def test_after_so_many_seconds(self, holder: Holder) -> None:
        holder.rotation, holder.rotate_at = RotationLimits(events=10**9, bytes=10**9), 40.0
        holder.open()
        holder.advance(39)
        assert holder.listener.count("rotate") == 0
        holder.advance(HEARTBEAT)
        assert holder.listener.count("rotate") >= 1


class TestPoll:
    def test_is_answered_by_its_first_events_and_complete(self, holder: Holder) -> None:
        holder.wait = 25.0
        connection, response, held = holder.open()
        assert response.status == 0
        holder.send(held, [message(), Event({"type": "heartbeat", "cursor": "1.k3f9"})])
        assert response.header("content-length") == str(len(response.body))
        assert [event["type"] for event in response.json()["events"]] == ["message"]
        assert response.json()["cursor"] == "1.k3f9"
        # The connection stays for the next one.
        connection.request("GET", "/")
        assert not connection.closed
        assert len(holder.transport.held) == 2

    def test_says_when_it_is_overdue_and_once(self, holder: Holder) -> None:
        holder.wait = 25.0
        _, response, held = holder.open()
        position = Batch([Event({"type": "heartbeat", "cursor": "1"})])
        holder.listener.on_timeout = lambda: held.end(position)
        holder.advance(24.5)
        assert response.status == 0
        holder.advance(1)
        assert response.json() == {"events": [], "cursor": "1"}
        assert holder.reaper.scheduled == 0

    def test_is_answered_once(self, holder: Holder) -> None:
        holder.wait = 25.0
        _, response, held = holder.open()
        held.offer(Batch([message(id=1)]))
        held.offer(Batch([message(id=2)]))
        held.end(Batch([message(id=3)]))
        holder.turn()
        assert len(response.json()["events"]) == 1
        assert holder.transport.ends == [None]

    def test_a_peer_that_goes_is_told_of_once(self, holder: Holder) -> None:
        holder.wait = 25.0
        connection, _, held = holder.open()
        connection.close()
        held.offer(Batch([message()]))
        holder.advance(30)
        assert holder.listener.told == ["lost"]

    def test_counts_what_is_kept(self, holder: Holder) -> None:
        holder.wait = 25.0
        _, response, held = holder.open()
        counts = holder.stats.transport("poll")
        assert counts.held == 1
        holder.send(held, [message(), Event({"type": "join"})])
        assert (counts.held, counts.delivered) == (0, 1)
        assert counts.bytes_sent == len(response.body)

    def test_can_be_cut(self, holder: Holder) -> None:
        holder.wait = 25.0
        connection, response, held = holder.open()
        held.cut()
        holder.turn()
        assert connection.closed
        assert response.status == 0


def test_a_lost_peer_is_told_once(holder: Holder) -> None:
    _, _, held = holder.open()
    held.lost()
    held.lost()
    assert holder.listener.told == ["lost"]
    assert holder.reaper.scheduled == 0


class TestTheBound:
    def test_the_slowest_pay_when_all_together_are_too_far_behind(self, holder: Holder) -> None:
        holder.stats.memory = MemoryBudget(3 * BUDGET)
        slowest, _, slowest_held = holder.open(window=0)
        others = [holder.open(window=0) for _ in range(4)]
        quick, _, quick_held = holder.open()
        slowest_held.offer(Batch([message(BUDGET)]))
        for id in range(1, 9):
            for _, _, held in [*others, (quick, None, quick_held)]:
                held.offer(Batch([message(KIB * 6, id)]))
            holder.turn()
        assert slowest.closed
        assert not quick.closed
        assert not all(connection.closed for connection, _, _ in others)
        assert sum(each.buffered for each in holder.connections if not each.closed) <= 3 * BUDGET

    def test_is_told_of_every_byte_that_comes_and_goes(self, holder: Holder) -> None:
        connection, _, held = holder.open(window=0)
        held.offer(Batch([message(KIB * 10)]))
        assert holder.stats.memory.held > KIB * 10
        connection.open_window(None)
        holder.advance(2 * HEARTBEAT)
        assert holder.stats.memory.held < KIB
        held.end(None)
        assert holder.stats.memory.held == 0
