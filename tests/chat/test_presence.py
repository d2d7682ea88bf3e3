"""Presence: once however many windows, no leave at a reload, and only a count in a full room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.logger import LogEvent

from cometd_chat.chat import local_presence
from cometd_chat.chat.local_presence import COUNT_EVERY, TYPING_TOLD, LocalPresence
from cometd_chat.chat.presence import (
    GRACE,
    LEAVING_GRACE,
    MOST_NAMED,
    SLOW_GRACE,
    SMALL_ROOM,
)
from cometd_chat.chat.sessions import Session
from cometd_chat.comet import CometEvent
from tests.chat.cluster import Cluster
from tests.chat.parts import Ear, House


@pytest.fixture(params=["one process", "one of several nodes"])
def house(failures: list[LogEvent], request: pytest.FixtureRequest) -> House:
    """What one process and one of several nodes have in common."""
    return House() if request.param == "one process" else Cluster(1).nodes[0]


@pytest.fixture
def presence(house: House) -> LocalPresence:
    assert isinstance(house.presence, LocalPresence)
    return house.presence


@pytest.fixture
def ear(house: House) -> Ear:
    return house.listen()


@pytest.fixture
def alice(house: House) -> Session:
    return house.log_in("alice")


def crowd(house: House, count: int, first: int = 0) -> list[Session]:
    """So many people who hold something in the lobby."""
    people = [house.log_in(f"p{number:03}") for number in range(first, first + count)]
    for each in people:
        house.presence.hold("lobby", each)
    return people


def test_the_numbers_that_are_promised() -> None:
    assert (GRACE, SLOW_GRACE, SMALL_ROOM, COUNT_EVERY) == (10, 60, 50, 5)


def test_coming_and_going(house: House, presence: LocalPresence, ear: Ear, alice: Session) -> None:
    presence.hold("lobby", alice)
    assert ear.take() == ["join alice"]
    assert presence.people("lobby") == [alice]
    presence.release("lobby", alice)
    house.advance(GRACE - 1)
    assert (ear.take(), presence.count("lobby")) == ([], 1)
    house.advance(2)
    assert (ear.take(), presence.count("lobby")) == (["leave alice"], 0)
    house.advance(100)
    assert ear.take() == []
    assert presence._rooms == {}, "an empty room costs nothing"


def test_the_events_say_who_where_and_when(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    presence.hold("lobby", alice)
    presence.release("lobby", alice)
    house.advance(GRACE)
    assert [event.fields for event in ear.events] == [
        {"type": "join", "room": "lobby", "from": "alice", "at": "2026-11-21T19:23:00.000Z"},
        {"type": "leave", "room": "lobby", "from": "alice", "at": "2026-11-21T19:23:10.000Z"},
    ]
    assert [event.id for event in ear.events] == [None, None]


def test_an_address_that_may_be_seen(presence: LocalPresence, ear: Ear, alice: Session) -> None:
    presence.hold("lobby", alice, "192.0.2.0/24")
    assert ear.events[0].fields["address"] == "192.0.2.0/24"


def test_many_windows_are_one_person(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    for _ in range(3):
        presence.hold("lobby", alice)
    presence.seen("lobby", alice)
    presence.release("lobby", alice)
    presence.release("lobby", alice)
    house.advance(1000)
    assert ear.take() == ["join alice"]
    presence.release("lobby", alice)
    house.advance(GRACE + 1)
    assert ear.take() == ["leave alice"]


def test_a_reload_is_no_leave(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    presence.hold("lobby", alice)
    for _ in range(5):
        presence.release("lobby", alice)
        presence.leave("lobby", alice)  # what a page says when it goes
        house.advance(1)
        presence.hold("lobby", alice)
    house.advance(100)
    assert ear.take() == ["join alice"]


@pytest.mark.parametrize("grace", [GRACE, SLOW_GRACE])
def test_who_asks_is_there_for_a_while(
    house: House, presence: LocalPresence, ear: Ear, alice: Session, grace: float
) -> None:
    presence.seen("lobby", alice, grace)
    house.advance(grace - 1)
    presence.seen("lobby", alice, grace)
    house.advance(grace - 1)
    assert ear.take() == ["join alice"]
    house.advance(2)
    assert ear.take() == ["leave alice"]


def test_a_short_grace_does_not_end_a_long_one(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    presence.seen("lobby", alice, SLOW_GRACE)
    presence.seen("lobby", alice, GRACE)
    presence.hold("lobby", alice)
    presence.release("lobby", alice)
    house.advance(SLOW_GRACE - 1)
    assert presence.count("lobby") == 1
    house.advance(2)
    assert presence.count("lobby") == 0


def test_who_says_that_she_leaves_is_gone_soon(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    presence.seen("lobby", alice, SLOW_GRACE)
    presence.leave("lobby", alice)
    house.advance(LEAVING_GRACE + 1)
    assert ear.take() == ["join alice", "leave alice"]


def test_who_says_that_she_leaves_and_lets_go_is_gone_soon_too(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    presence.seen("lobby", alice, SLOW_GRACE)
    house.advance(SLOW_GRACE - 5)
    presence.hold("lobby", alice)
    presence.release("lobby", alice, SLOW_GRACE)
    presence.hold("lobby", alice)
    presence.seen("lobby", alice, LEAVING_GRACE)
    house.advance(SLOW_GRACE)
    presence.leave("lobby", alice)
    presence.release("lobby", alice)
    house.advance(LEAVING_GRACE + 1)
    assert ear.take() == ["join alice", "leave alice"]


def test_who_comes_and_goes_all_the_time_is_there_all_the_time(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    for _ in range(100):
        presence.hold("lobby", alice)
        house.advance(3)
        presence.release("lobby", alice)
    assert ear.take() == ["join alice"]
    house.advance(GRACE - 1)
    assert ear.take() == []
    house.advance(2)
    assert ear.take() == ["leave alice"]


def test_who_holds_another_window_does_not_leave(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    presence.hold("lobby", alice)
    presence.leave("lobby", alice)
    house.advance(1000)
    assert ear.take() == ["join alice"]


def test_nobody_leaves_where_she_is_not(presence: LocalPresence, ear: Ear, alice: Session) -> None:
    presence.leave("lobby", alice)
    presence.release("lobby", alice)
    presence.ended(alice)
    assert ear.take() == []


def test_each_room_for_itself(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    dev = house.listen("dev")
    presence.hold("dev", alice)
    assert (ear.take(), dev.take()) == ([], ["join alice"])
    assert (presence.count("lobby"), presence.count("dev")) == (0, 1)


def test_a_session_that_is_over_is_gone_at_once(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    dev = house.listen("dev")
    presence.hold("lobby", alice)
    presence.seen("dev", alice)
    presence.ended(alice)
    assert (ear.take(), dev.take()) == (["join alice", "leave alice"],) * 2
    house.advance(1000)
    assert (ear.take(), dev.take()) == ([], [])


def test_another_name_is_a_leave_and_a_join(
    presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    presence.hold("lobby", alice)
    alice.name = "carol"
    presence.renamed(alice, "alice")
    assert ear.take() == ["join alice", "leave alice", "join carol"]


def test_people_are_in_the_order_of_their_names(house: House, presence: LocalPresence) -> None:
    for name in ("carol", "Bob", "alice"):
        presence.seen("lobby", house.log_in(name))
    assert [each.name for each in presence.people("lobby")] == ["alice", "Bob", "carol"]


# -- full rooms


def test_fifty_are_told_by_name_and_fifty_one_are_not(house: House, ear: Ear) -> None:
    crowd(house, 50)
    assert ear.take() == [f"join p{number:03}" for number in range(50)]
    crowd(house, 1, first=50)
    assert ear.take() == ["people 51"]


def test_a_full_room_is_told_its_count_every_five_seconds_at_most(house: House, ear: Ear) -> None:
    crowd(house, 51)
    ear.take()
    crowd(house, 3, first=51)
    house.advance(4)
    assert ear.take() == []
    house.advance(1)
    assert ear.take() == ["people 54"]
    house.advance(100)
    assert ear.take() == [], "a count that has not changed is not told again"
    crowd(house, 1, first=54)
    assert ear.take() == ["people 55"]
    crowd(house, 1, first=55)
    assert ear.take() == []
    house.advance(5)
    assert ear.take() == ["people 56"]


def test_who_comes_and_goes_between_two_counts_is_not_told(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    crowd(house, 51)
    house.advance(10)
    ear.take()
    presence.hold("lobby", alice)
    assert ear.take() == ["people 52"]
    presence.ended(alice)
    presence.hold("lobby", alice)
    house.advance(10)
    assert ear.take() == []


def test_a_room_that_empties_is_told_by_name_again(
    house: House, presence: LocalPresence, ear: Ear
) -> None:
    people = crowd(house, 53)
    house.advance(10)
    ear.take()
    for each in people[:2]:
        presence.ended(each)
    assert ear.take() == ["people 52"]
    presence.ended(people[2])
    assert ear.take() == ["leave p002"], "the room has 50 people now"
    house.advance(5)
    assert ear.take() == ["people 50"], "and whoever counts along is put right"
    presence.ended(people[3])
    assert ear.take() == ["leave p003"]
    house.advance(30)
    ear.take()
    presence.hold("lobby", people[3])
    assert ear.take() == ["join p003"]


def test_another_name_in_a_full_room_changes_no_count(
    house: House, presence: LocalPresence, ear: Ear
) -> None:
    people = crowd(house, 51)
    house.advance(10)
    ear.take()
    people[0].name = "carol"
    presence.renamed(people[0], "p000")
    house.advance(10)
    assert [line for line in ear.take() if line != "people 51"] == []


def test_who_lost_her_name_is_gone_with_it(
    house: House, presence: LocalPresence, ear: Ear, alice: Session
) -> None:
    """Two people of one name would be there, if somebody took it at once."""
    presence.seen("lobby", alice, grace=10_000)
    # With what several nodes may be late by.
    house.advance(1300)
    assert alice.name_key is None
    assert presence.people("lobby") == []


def heard(ears: Sequence[Ear]) -> int:
    """How many have heard something since the last time."""
    return sum(bool(ear.take()) for ear in ears)


def test_typing_is_told_to_so_many(house: House, presence: LocalPresence, alice: Session) -> None:
    presence.hold("lobby", alice)
    ears = [house.listen() for _ in range(TYPING_TOLD + 10)]
    assert heard(ears) == 0
    presence.typing("lobby", alice)
    assert heard(ears) == TYPING_TOLD - 1
    presence.typing("nowhere", alice)
    assert heard(ears) == 0


def test_typing_is_told_to_people_first(house: House, presence: LocalPresence) -> None:
    strangers = [house.listen() for _ in range(TYPING_TOLD)]
    people = crowd(house, TYPING_TOLD - 2)
    theirs: list[Any] = []
    for person in people:
        person.readers = holds = (house.listen(), house.listen("dev"))  # type: ignore[assignment]
        theirs += holds
    heard([*strangers, *theirs])
    presence.typing("lobby", people[0])
    assert heard(theirs) == len(people), "those in the room, and not what they hold elsewhere"
    assert heard(strangers) == 2
    late = crowd(house, 10, first=900)
    heard([*strangers, *theirs])
    presence.typing("lobby", late[0])
    assert (heard(theirs), heard(strangers)) == (len(people), 0)


def test_of_very_many_people_so_many_are_named(
    house: House, presence: LocalPresence, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST_NAMED == 500
    monkeypatch.setattr(local_presence, "MOST_NAMED", SMALL_ROOM + 10)
    people = crowd(house, SMALL_ROOM + 15)
    presence.renamed(people[0], "p000")
    assert presence.people("lobby") == people[:-5]
    assert presence.count("lobby") == SMALL_ROOM + 15


def test_where_somebody_is(house: House, presence: LocalPresence, alice: Session) -> None:
    """Rooms that she is not in are not looked at when she goes."""
    presence.hold("lobby", alice)
    presence.seen("dev", alice)
    assert list(alice.present) == ["lobby", "dev"]
    presence.hold("lobby", alice)
    assert list(alice.present) == ["lobby", "dev"]
    house.advance(GRACE + 1)
    assert list(alice.present) == ["lobby"]
    presence.ended(alice)
    assert list(alice.present) == presence.rooms == []


def test_who_comes_to_a_room_of_many_readers_makes_way_for_others(
    house: House, presence: LocalPresence, alice: Session
) -> None:
    """Readers without a session are no people, so there may be thousands of them."""

    class Slow(Ear):
        def on_event(self, event: CometEvent) -> None:
            super().on_event(event)
            house.clock.rightNow += 0.001

    context = house.room().context
    ears = [Slow() for _ in range(400)]
    for ear in ears:
        context.add_handler(ear)
    presence.hold("lobby", alice)
    first = heard(ears)
    assert 0 < first < 100
    house.advance(1)
    assert first + heard(ears) == 400
