"""A message on its way to many: in slices, in order, past whoever fails, and cursors meanwhile."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from cometd_chat.comet import CometEvent
from cometd_chat.events.event import Batch
from cometd_chat.transports.held_stream import HeldStream
from tests.memory import MakeSite, MemorySite
from tests.web.transports import JSON, STREAMS, Client, transport_path

MANY = 640

#: Seconds of work that the clock shows for each look at it, while it is busy.
WORK = 0.005


class BusyClock(MemoryReactorClock):
    """A clock on which looking takes time, as if work were done meanwhile."""

    work = 0.0

    def seconds(self) -> float:
        self.rightNow += self.work
        return self.rightNow


class Raising:
    """A handler that fails at what it is told."""

    def on_initialize(self, event: CometEvent) -> None: ...

    def on_event(self, event: CometEvent) -> None:
        raise RuntimeError("not today")

    def on_interrupt(self, event: CometEvent) -> None: ...

    def on_terminate(self, event: CometEvent) -> None: ...


class Slow(Raising):
    """A handler that is told at great length, so that the slice ends with it.

    :param seconds: that go by meanwhile.
    """

    def __init__(self, site: MemorySite, seconds: float = 1.0) -> None:
        self._site = site
        self._seconds = seconds

    def on_event(self, event: CometEvent) -> None:
        self._site.clock.rightNow += self._seconds


def hold_up(site: MemorySite, seconds: float = 1.0, room: str = "lobby") -> None:
    """Let a fan-out pause here: the engine looks at the clock once for 32 handlers."""
    context = site.engine.context(f"/chat/{room}")
    assert context is not None
    for _ in range(32):
        context.add_handler(Slow(site, seconds / 32))


def next_call(site: MemorySite) -> None:
    """Do only the first thing that is due."""
    calls: list[Any] = site.clock.calls
    call = min(calls, key=lambda each: each.getTime())
    assert call.getTime() <= site.clock.rightNow
    calls.remove(call)
    call.called = 1
    call.func(*call.args, **call.kw)


def move(site: MemorySite) -> None:
    """Let the connections take what was written, and nothing else happen."""
    while site.move():
        pass


def append(site: MemorySite) -> None:
    """Say something, and do only the first slice of telling it."""
    with site.standing_still():
        site.fill(1)
    move(site)


class TestSlices:
    def test_many_readers_make_way_for_other_work(self, make_site: MakeSite) -> None:
        clock = BusyClock()
        site = make_site(clock=clock)
        clients = [Client(site, "stream") for _ in range(MANY)]
        other = site.connect()
        clock.work = WORK
        append(site)
        told = []
        with site.standing_still():
            healthy = other.request("GET", "/healthz")
            while site.engine.delivering:
                told.append(sum(b"said 1" in client.response.body for client in clients))
                next_call(site)
                move(site)
                # Whoever else asks is answered in between.
                assert healthy.text == "alive\n"
        clock.work = 0.0
        site.turn()
        assert len(told) > 10
        assert 0 < told[0] < MANY / 10
        assert max(after - before for before, after in pairwise(told)) < MANY / 10
        assert all(client.texts() == ["said 1"] for client in clients)

    def test_a_second_message_waits_for_the_first(self, site: MemorySite) -> None:
        first = Client(site, "stream")
        hold_up(site)
        last = Client(site, "stream")
        append(site)
        append(site)
        assert (first.texts(), last.texts()) == (["said 1"], [])
        site.turn()
        for each in (first, last):
            assert each.texts() == ["said 1", "said 2"]

    def test_work_is_done_between_two_slices(self, site: MemorySite) -> None:
        Client(site, "stream")
        hold_up(site)
        last = Client(site, "stream")
        other = site.connect()
        append(site)
        with site.standing_still():
            response = other.request("GET", "/healthz")
        move(site)
        assert response.text == "alive\n"
        assert last.texts() == []


class TestCursorsMeanwhile:
    """While a message is on its way no cursor may run ahead of what its reader was sent."""

    @pytest.mark.parametrize("transport", ["frame", "stream", "sse", "multipart"])
    def test_a_heartbeat_tells_what_this_reader_has(self, site: MemorySite, transport: str) -> None:
        site.fill(3)
        first = Client(site, transport)
        hold_up(site, seconds=20)
        last = Client(site, transport)
        append(site)
        with site.standing_still():
            while not last.of("heartbeat"):
                next_call(site)
                move(site)
        (beat,) = last.of("heartbeat")
        assert beat["cursor"] == site.log.cursor(3)
        assert last.texts() == []
        # Whoever had it already has its cursor.
        assert first.cursor == site.log.cursor(4)
        again = Client(site, "stream", cursor=beat["cursor"])
        assert again.texts() == ["said 4"]
        site.turn()
        assert last.texts() == ["said 4"]

    def test_and_so_does_the_answer_of_a_poll(self, site: MemorySite) -> None:
        site.fill(3)
        Client(site, "stream")
        hold_up(site, seconds=30)
        response = site.get(transport_path("poll", cursor=site.now))
        append(site)
        while not response.complete:
            next_call(site)
            move(site)
        answer = response.json()
        if not answer["events"]:
            assert answer["cursor"] == site.log.cursor(3)
        site.turn()
        rest = Client(site, "poll", cursor=answer["cursor"])
        assert [each["text"] for each in answer["events"]] + rest.texts() == ["said 4"]

    def test_and_so_does_a_shutdown(self, site: MemorySite) -> None:
        first = Client(site, "stream")
        hold_up(site)
        last = Client(site, "stream")
        append(site)
        site.stop()
        heard: list[list[str]] = []
        for client in (first, last):
            (reopen,) = client.of("reopen")
            missed = site.log.last_id - site.log.position(reopen["cursor"])  # type: ignore[operator]
            heard.append([*client.texts(), *["missed"] * missed])
        assert heard == [["said 1"], ["missed"]]

    @pytest.mark.parametrize("transport", JSON)
    def test_who_catches_up_meanwhile_hears_it_once(
        self, make_site: MakeSite, transport: str
    ) -> None:
        site = make_site(tail=10)
        site.fill(100)
        Client(site, "stream")
        hold_up(site)
        site.log.holding_reads = True
        client = Client(site, transport, cursor=site.log.cursor(80))
        append(site)
        assert site.engine.delivering
        site.log.holding_reads = False
        site.log.answer_read()
        move(site)
        assert site.engine.delivering
        if transport in STREAMS:
            # It is at the live end by the tail; the fan-out comes to it yet.
            assert client.texts()[-1] == "said 101"
        site.turn()
        assert client.texts() == [f"said {id}" for id in range(81, 102)]
        site.fill(1)
        assert client.texts()[-1] == "said 102"

    @pytest.mark.parametrize("transport", JSON)
    def test_who_comes_meanwhile_starts_after_it(self, site: MemorySite, transport: str) -> None:
        Client(site, "stream")
        hold_up(site)
        Client(site, "stream")
        append(site)
        with site.standing_still():
            client = Client(site, transport)
        move(site)
        assert site.engine.delivering
        site.turn()
        assert client.texts() == []
        site.fill(1)
        assert client.texts() == ["said 2"]


class TestOneThatFails:
    @pytest.mark.parametrize("transport", JSON)
    def test_stops_nobody(self, site: MemorySite, transport: str) -> None:
        before = Client(site, transport)
        context = site.engine.context("/chat/lobby")
        assert context is not None
        context.add_handler(Raising())
        after = Client(site, transport)
        before.events()
        after.events()
        site.fill(1)
        for each in (before, after):
            assert each.texts() == ["said 1"]
        (failure,) = site.take_failures()
        assert failure["log_failure"].check(RuntimeError)
        # It is dropped: the next message meets no failure.
        site.fill(1)
        assert before.texts() == ["said 1", "said 2"]

    def test_a_poster_gets_her_answer_all_the_same(self, site: MemorySite) -> None:
        context = site.engine.context("/chat/lobby")
        assert context is not None
        context.add_handler(Raising())
        assert site.say("hi")["id"] == 1
        assert site.take_failures()

    def test_a_reader_that_cannot_be_written_to_is_dropped_alone(
        self, site: MemorySite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        broken, sound = Client(site, "stream"), Client(site, "stream")
        context = site.engine.context("/chat/lobby")
        assert context is not None
        reader: Any = context.handlers[0]
        offer = HeldStream.offer

        def failing(held: HeldStream, batch: Batch) -> int:
            if held is reader._sink:
                raise RuntimeError("a defect of ours")
            return offer(held, batch)

        # One that is told alone, and one that is told with others.
        monkeypatch.setattr(HeldStream, "offer", failing)
        if reader._sink.together is not None:
            reader._sink._direct = object()
        site.fill(1)
        assert sound.texts() == ["said 1"]
        assert broken.connection.closed
        assert site.take_failures()
        # Nothing of hers was lost: she comes back where she was.
        assert Client(site, "stream", cursor=broken.cursor).texts() == ["said 1"]
