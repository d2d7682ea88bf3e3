"""Control records: the house hears them, and readers are moved over them without being told."""

from __future__ import annotations

import pytest

from cometd_chat.chat.feed import Feed
from cometd_chat.comet import CometEngine
from cometd_chat.events.record import Draft
from cometd_chat.log.control import Control, NodeGone, control_draft
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.tail import Tail
from tests.chat.parts import House, now
from tests.chat.test_reading import fill, read

GONE = [NodeGone(number) for number in range(1, 6)]


def tell(house: House, *controls: Control) -> None:
    now(house.log.append_all([control_draft(each) for each in controls]))


def message(text: str = "hi") -> Draft:
    return Draft("/chat/lobby", "message", "s", "filler", {"text": text})


@pytest.fixture
def house() -> House:
    return House()


def test_the_house_hears_them_before_anybody_hears_what_came_with_them(house: House) -> None:
    order: list[object] = []
    house.feed.control.add(lambda control: order.append((control, house.feed.last_id)))
    house.engine.follow(lambda told: order.extend(each.attachment.id for each in told))
    now(
        house.log.append_all([message(), control_draft(GONE[0]), message(), control_draft(GONE[1])])
    )
    assert order == [(GONE[0], 0), (GONE[1], 0), 1, 3]
    assert house.feed.last_id == 4


def test_what_can_not_be_read_is_passed_over(house: House) -> None:
    heard: list[Control] = []
    house.feed.control.add(heard.append)
    now(house.log.append(Draft("/control", "of-a-later-release", "", "", {})))
    assert (heard, house.feed.last_id) == ([], 1)


def test_a_listener_that_fails_holds_up_nobody(house: House) -> None:
    house.feed.control.add(lambda control: 1 // 0)
    held = read(house)
    now(house.log.append_all([control_draft(GONE[0]), message()]))
    assert held.ids == [2]


def test_they_are_nobodys_events_and_count_for_nothing(house: House) -> None:
    told: list[object] = []
    house.engine.follow(told.extend)
    fill(house, 1)
    tell(house, *GONE)
    assert (house.feed.appended, house.feed.commits) == (1, 1)
    assert len(house.feed.tail) == len(told) == 1
    assert house.feed.newest == {"/chat/lobby": 1}
    assert read(house, backlog=10).ids == [1]
    assert read(house, house.log.cursor(0)).ids == [1]


def test_a_stream_is_complete_up_to_them(house: House) -> None:
    held = read(house)
    stream = held.subscription
    tell(house, *GONE)
    assert held.types == ["hello"]
    assert stream.make_heartbeat().events[0].cursor == house.log.cursor(5)
    fill(house, 1)
    assert held.ids == [6]


def test_a_poll_is_not_answered_by_them(house: House) -> None:
    poll = read(house, one_shot=True)
    tell(house, *GONE)
    assert not poll.ended
    poll.subscription.on_timeout()
    answer = poll.events[-1]
    assert (answer.type, answer.cursor) == ("heartbeat", house.log.cursor(5))
    # And the next one goes on from there.
    after = read(house, answer.cursor, one_shot=True)
    fill(house, 1)
    assert after.ids == [6]


def test_a_tail_is_filled_over_them() -> None:
    log = MemoryEventLog()
    now(log.append_all([control_draft(GONE[0]), message(), control_draft(GONE[1])]))
    house = House(log=log)
    feed = Feed(log, CometEngine(house.clock), Tail(10, 2**20))
    feed.start(log.recent(10, 2**20))
    assert (feed.last_id, len(feed.tail), feed.tail.floor) == (3, 1, 0)
    assert [event.id for event in feed.after(0, None, 9) or ()] == [2]


@pytest.mark.parametrize("tail", [1, 10_000])
@pytest.mark.parametrize("wildcard", [False, True])
def test_a_reader_from_far_behind_gets_all_that_was_said(tail: int, wildcard: bool) -> None:
    log = MemoryEventLog()
    house = House(log=log)
    house.feed.tail.max_items = tail
    for _ in range(300):
        tell(house, *GONE)
    fill(house, 3)
    tell(house, *GONE)
    held = read(house, house.log.cursor(0), rooms=("lobby", "dev") if wildcard else ("lobby",))
    assert held.ids == [1501, 1502, 1503]
    assert held.subscription.cursor == house.log.cursor(1508)
