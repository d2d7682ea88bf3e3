"""The feed and its readers: every kept event once, in order, wherever a cursor points."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail

from cometd_chat.chat.awaited import MOST, PATIENCE
from cometd_chat.chat.feed import MAX_BEHIND, NEWEST_RETRY
from cometd_chat.chat.held_subscription import HeldSubscription
from cometd_chat.chat.resume import AFTER_GAP, ResumePoint, resume_at
from cometd_chat.chat.rights import Act
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.shared_state import PAGE_EVENTS
from cometd_chat.errors import (
    InvalidCursor,
    NameTaken,
    NotAllowed,
    ShuttingDown,
    StorageUnavailable,
)
from cometd_chat.events.event import Batch, Event
from cometd_chat.events.record import Draft
from cometd_chat.log.memory import MemoryEventLog
from tests.chat.parts import House, begun, now

PATHS = ["/chat/lobby"]


class Held:
    """A held request that keeps what is written to it.

    :param one_shot: it is a poll.
    """

    def __init__(self, *, one_shot: bool = False) -> None:
        self.one_shot = one_shot
        self.congested = False
        self.transport = "stream"
        self.batches: list[list[Event]] = []
        self.ended = self.was_cut = False

    def hold(self, listener: Any, hello: Batch) -> None:
        self.subscription = listener
        self.batches.append(list(hello.events))

    def offer(self, batch: Batch) -> int:
        assert not self.ended
        self.batches.append(list(batch.events))
        return 0

    replay = offer

    def ready(self) -> bool:
        return True

    @property
    def together(self) -> None:
        """It is offered alone."""

    def end(self, batch: Batch | None) -> None:
        if batch is not None:
            self.offer(batch)
        self.ended = True

    def cut(self) -> None:
        self.was_cut = True

    def look(self) -> None:
        """Nobody takes anything here."""

    @property
    def events(self) -> list[Event]:
        """All that was written."""
        return [event for batch in self.batches for event in batch]

    @property
    def ids(self) -> list[int]:
        """The ids of the kept events that were written."""
        return [event.id for event in self.events if event.id is not None]

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


def unheard(subscription: HeldSubscription, expired: bool) -> None:
    """An end that nobody asks for."""


def fill(house: House, count: int, room: str = "lobby") -> None:
    for _ in range(count):
        now(house.log.append(Draft(f"/chat/{room}", "message", "s", "filler", {"text": "hi"})))


def read(
    house: House,
    cursor: str | None = None,
    *,
    backlog: int = 0,
    rooms: Sequence[str] = ("lobby",),
    one_shot: bool = False,
    session: Session | None = None,
    at_once: bool = False,
) -> Held:
    """Somebody reads."""
    held = Held(one_shot=one_shot)
    found = [house.room(name) for name in rooms]
    point = now(resume_at(house.feed, [room.context.path for room in found], cursor, backlog))
    house.chat.readers.read(session, found, held, point, on_end=unheard, at_once=at_once)
    return held


def small(house: House, tail: int) -> House:
    """The same log after a restart, with so short a tail."""
    again = House(log=house.log, directory=house.directory)
    again.feed.stop()
    again.feed.tail.max_items = tail
    again.feed.start(house.log.recent(tail, 2**20))
    return again


# -- the feed


def test_what_is_committed_is_in_the_tail_before_anybody_hears_of_it(house: House) -> None:
    seen: list[tuple[int, int]] = []

    class Looking:
        def on_initialize(self, event: Any) -> None: ...
        def on_interrupt(self, event: Any) -> None: ...
        def on_terminate(self, event: Any) -> None: ...

        def on_event(self, event: Any) -> None:
            seen.append((event.id, house.feed.last_id))

    house.room().context.add_handler(Looking())
    fill(house, 2)
    assert seen == [(1, 1), (2, 2)]
    assert house.feed.appended == 2


def test_the_feed_knows_the_newest_of_each_room(house: House) -> None:
    fill(house, 2)
    fill(house, 1, "dev")
    assert house.feed.newest == {"/chat/lobby": 2, "/chat/dev": 3}
    again = small(house, 1)
    assert again.feed.newest == {"/chat/lobby": 2, "/chat/dev": 3}
    assert (again.feed.tail.floor, again.feed.last_id) == (2, 3)


class OutOfReach(MemoryEventLog):
    """One that can't be read at first."""

    away = True

    def newest(self, types: Collection[str] | None = None) -> Deferred[Mapping[str, int]]:
        if self.away:
            return fail(StorageUnavailable("The log can't be read just now.", retry_after=5))
        return super().newest(types)


def test_a_log_that_can_not_say_what_is_newest_is_asked_again() -> None:
    log = OutOfReach()
    house = House(log=log)
    now(log.append(Draft("/chat/dev", "message", "s1", "alice", {"text": "hi"})))
    house.feed.newest.clear()
    house.clock.advance(NEWEST_RETRY + 1)
    assert house.feed.newest == {}
    log.away = False
    house.clock.advance(NEWEST_RETRY + 1)
    assert house.feed.newest == {"/chat/dev": 1}


def test_a_feed_that_stops_hears_no_more(house: House) -> None:
    house.feed.stop()
    house.feed.stop()
    fill(house, 1)
    assert (house.feed.appended, house.feed.last_id) == (0, 0)


# -- where a reader begins


def test_without_a_cursor_she_begins_now(house: House) -> None:
    fill(house, 3)
    held = read(house)
    assert held.types == ["hello"]
    assert held.events[0].cursor == house.log.cursor(3)
    fill(house, 1)
    assert held.ids == [4]


@pytest.mark.parametrize(("backlog", "ids"), [(1, [3]), (2, [1, 3]), (200, [1, 3])])
@pytest.mark.parametrize("tail", [1000, 1])
def test_a_backlog_is_of_her_rooms(house: House, backlog: int, ids: list[int], tail: int) -> None:
    for room in ("lobby", "dev", "lobby", "dev"):
        fill(house, 1, room)
    assert read(small(house, tail), backlog=backlog).ids == ids


def test_a_cursor_leaves_nothing_out_and_nothing_twice(house: House) -> None:
    fill(house, 5)
    for known in range(6):
        held = read(house, house.log.cursor(known), backlog=3)
        assert held.ids == list(range(known + 1, 6))
        assert held.types[0] == "hello"


def test_a_foreign_cursor_is_told_and_begins_now(house: House) -> None:
    fill(house, 3)
    held = read(house, "2.zzzz")
    assert held.types == ["hello", "reset"]
    assert held.events[1].cursor == house.log.cursor(house.log.last_id)
    fill(house, 1)
    assert held.ids == [house.log.last_id]


class TestAheadOfThisProcess:
    """A cursor that another process has given out for the same log."""

    @pytest.fixture
    def other(self, house: House) -> House:
        return House(
            log=MemoryEventLog(beside=house.log), directory=house.directory, clock=house.clock
        )

    def test_who_waits_begins_where_she_stands(self, house: House, other: House) -> None:
        other.log.delay()
        fill(house, 5)
        cursor = house.log.cursor(5)
        starting = begun(resume_at(other.feed, PATHS, cursor))
        assert not starting.called
        other.log.hurry()
        assert now(starting) == ResumePoint(5, cursor)
        assert other.reaper.scheduled == house.reaper.scheduled

    def test_she_is_told_when_it_was_never_given_out(self, house: House, other: House) -> None:
        fill(house, 3)
        cursor = house.log.cursor(4)
        start = now(resume_at(other.feed, PATHS, cursor))
        assert (start.position, start.cursor) == (3, cursor)
        assert [event.type for event in start.preface] == ["reset"]

    @pytest.mark.parametrize("cursor", ["4.{}", "2.zzzz"])
    def test_nothing_is_foreign_while_the_log_is_out_of_reach(
        self, house: House, other: House, cursor: str
    ) -> None:
        fill(house, 3)
        other.log.cut = StorageUnavailable("cut off")
        with pytest.raises(StorageUnavailable):
            now(resume_at(other.feed, PATHS, cursor.format(house.log.cursor(4)[2:])))

    def test_nobody_waits_for_long(self, house: House, other: House) -> None:
        other.log.delay()
        fill(house, 1)
        starting = begun(resume_at(other.feed, PATHS, house.log.cursor(1)))
        house.advance(PATIENCE - 1)
        assert not starting.called
        house.advance(2)
        with pytest.raises(StorageUnavailable):
            now(starting)

    def test_no_more_wait_than_can(self, house: House, other: House) -> None:
        scheduled = other.reaper.scheduled
        other.log.delay()
        fill(house, 1)
        cursor = house.log.cursor(1)
        waiting = [begun(resume_at(other.feed, PATHS, cursor)) for _ in range(MOST)]
        with pytest.raises(StorageUnavailable):
            now(resume_at(other.feed, PATHS, cursor))
        waiting.pop().addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        waiting.append(begun(resume_at(other.feed, PATHS, cursor)))
        other.log.hurry()
        assert [now(each).position for each in waiting] == [1] * MOST
        assert other.reaper.scheduled == scheduled

    def test_a_stop_refuses_who_waits_and_who_comes(self, house: House, other: House) -> None:
        other.log.delay()
        fill(house, 1)
        waiting = begun(resume_at(other.feed, PATHS, house.log.cursor(1)))
        other.chat.stop()
        for each in (waiting, begun(resume_at(other.feed, PATHS, house.log.cursor(1)))):
            with pytest.raises(ShuttingDown):
                now(each)

    def test_a_page_shows_what_was_said_elsewhere_a_moment_ago(
        self, house: House, other: House
    ) -> None:
        other.log.delay()
        fill(house, 2)
        messages, _ = now(
            other.chat.messages.history(other.room(), None, before=None, after=None, limit=10)
        )
        assert [event.id for event in messages] == [1, 2]
        assert other.feed.last_id == 0
        # And none of it is lost to who goes on from what she was shown, nor told twice.
        held = begun(resume_at(other.feed, PATHS, messages[1].cursor))
        other.log.hurry()
        assert now(held).position == 2

    def test_a_backlog_ends_where_the_live_end_begins(self, house: House, other: House) -> None:
        other.log.delay()
        fill(house, 2)
        held = read(other, backlog=10)
        assert held.ids == []
        other.log.hurry()
        assert held.ids == [1, 2]


@pytest.mark.parametrize("cursor", ["", "+1.abcd", "1 .abcd", "1.abcd/", "x" * 513])
def test_what_can_not_be_a_cursor(house: House, cursor: str) -> None:
    with pytest.raises(InvalidCursor):
        now(resume_at(house.feed, PATHS, cursor))


@pytest.mark.parametrize("tail", [1, 7, 250, 10_000])
def test_what_is_no_longer_in_the_tail_comes_from_the_log(house: House, tail: int) -> None:
    for _ in range(300):
        fill(house, 1)
        fill(house, 1, "dev")
    again = small(house, tail)
    held = read(again, house.log.cursor(0))
    assert held.ids == list(range(1, 600, 2))
    assert max(len(batch) for batch in held.batches) <= PAGE_EVENTS
    fill(again, 2)
    assert held.ids[-2:] == [601, 602]
    both = read(again, house.log.cursor(0), rooms=["lobby", "dev"])
    assert both.ids == list(range(1, 603))


def test_five_thousand_behind_is_everything(house: House) -> None:
    fill(house, MAX_BEHIND)
    held = read(small(house, 10), house.log.cursor(0))
    assert held.ids == list(range(1, 5001))
    assert "gap" not in held.types


def test_further_behind_there_is_a_gap_and_the_newest(house: House) -> None:
    fill(house, MAX_BEHIND + 1)
    held = read(small(house, 10), house.log.cursor(0))
    assert held.types[:2] == ["hello", "gap"]
    assert held.events[1].fields == {
        "type": "gap", "room": "lobby", "missing": 5001 - AFTER_GAP, "before": 4802,
    }  # fmt: skip
    assert held.ids == list(range(4802, 5002))


def test_what_others_said_elsewhere_is_no_gap(house: House) -> None:
    fill(house, 3)
    fill(house, MAX_BEHIND, "dev")
    held = read(small(house, 10), house.log.cursor(0))
    assert held.ids == [1, 2, 3]
    assert "gap" not in held.types


def test_there_is_a_gap_a_room(house: House) -> None:
    fill(house, 10)
    fill(house, MAX_BEHIND, "dev")
    held = read(small(house, 10), house.log.cursor(0), rooms=["lobby", "dev"])
    gaps = [event.fields for event in held.events if event.type == "gap"]
    assert [(gap["room"], gap["missing"]) for gap in gaps] == [("lobby", 10), ("dev", 4800)]
    assert len(held.ids) == AFTER_GAP


@given(st.lists(st.sampled_from(["lobby", "dev", "read", "poll"]), max_size=60), st.integers(1, 9))
def test_readers_at_any_time_miss_nothing(steps: list[str], tail: int) -> None:
    """Whatever is said and whoever comes when: with a short tail, a stream and polls in a row."""
    house = small(House(), tail)
    polled: list[int] = []
    cursor = house.log.cursor(0)
    streams: list[tuple[int, Held]] = []
    for step in steps:
        if step == "read":
            streams.append((house.log.last_id, read(house)))
        elif step == "poll":
            poll = read(house, cursor, one_shot=True, at_once=True)
            assert poll.ended
            polled += poll.ids
            cursor = poll.events[-1].cursor or ""
        else:
            fill(house, 1, step)
    said = [event.id for event in now(house.log.read(PATHS, limit=1000))]
    for begun_at, held in streams:
        assert held.ids == [id for id in said if id > begun_at]
    assert polled == [id for id in said if id <= int(cursor.partition(".")[0])]


# -- polls, ends


def test_a_poll_is_over_with_the_first_batch(house: House) -> None:
    poll = read(house, house.log.cursor(0), one_shot=True)
    ended = [poll.ended]
    fill(house, 1)
    ended.append(poll.ended)
    assert ended == [False, True]
    assert poll.ids == [1]
    assert poll.events[-1].cursor == house.log.cursor(1)
    fill(house, 1)
    assert poll.ids == [1]


def test_a_poll_takes_a_page_and_no_more(house: House) -> None:
    fill(house, 450)
    got: list[int] = []
    cursor = house.log.cursor(0)
    for _ in range(3):
        poll = read(house, cursor, one_shot=True)
        assert len(poll.ids) <= PAGE_EVENTS
        got += poll.ids
        cursor = poll.events[-1].cursor or ""
    assert got == list(range(1, 451))


def test_a_heartbeat_says_how_far_she_is_though_others_spoke_elsewhere(house: House) -> None:
    held = Held()
    reader = house.chat.readers.read(
        None, [house.room()], held, ResumePoint(0, house.log.cursor(0)), on_end=unheard
    )
    fill(house, 2, "dev")
    assert reader.make_heartbeat().events[0].cursor == house.log.cursor(2)


def test_a_stop_tells_where_to_go_on(house: House) -> None:
    held = read(house)
    fill(house, 2)
    house.chat.stop()
    assert held.ended
    last = held.events[-1].fields
    assert last == {"type": "reopen", "cursor": house.log.cursor(2), "after": 1.5}


def test_who_logs_out_hears_bye_and_is_gone(house: House) -> None:
    alice = house.log_in("alice")
    held = read(house, session=alice, rooms=["lobby", "dev"])
    other = read(house)
    held_before = len(alice.readers)
    now(house.chat.log_out(alice))
    assert held.ended
    assert held.events[-1].fields == {"type": "bye", "reason": "logged out"}
    assert (held_before, len(alice.readers)) == (1, 0)
    assert house.presence.people("dev") == []
    assert [event.type for event in other.events][-1] == "leave"


def test_who_reads_is_there_and_gone_after_her_grace(house: House) -> None:
    alice = house.log_in("alice")
    held = Held()
    reader = house.chat.readers.read(
        alice, [house.room()], held, ResumePoint(0, "0.x"), on_end=unheard, grace=60
    )
    assert house.presence.people("lobby") == [alice]
    reader.on_lost()
    house.advance(59)
    assert house.presence.people("lobby") == [alice]
    house.advance(2)
    assert house.presence.people("lobby") == []


def test_nobody_reads_who_may_not(house: House) -> None:
    """Whoever embeds the chat asks it alone."""
    with pytest.raises(NameTaken):
        read(house, session=house.lose_name("alice"))
    house.rights.change(lambda session, act, room: room.name != "dev" or act is not Act.FOLLOW)
    with pytest.raises(NotAllowed):
        read(house, rooms=["lobby", "dev"])
    house.chat.stop()
    with pytest.raises(ShuttingDown):
        read(house)


def test_a_guest_who_reads_keeps_her_name(house: House) -> None:
    alice = house.log_in("alice")
    read(house, session=alice)
    house.advance(2000)
    assert alice.name_key == "alice"
