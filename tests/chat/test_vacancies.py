"""Rooms that were made for nothing go after an hour; all others stay."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs

from cometd_chat.chat.limits import MADE
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import LOOK_EVERY
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.vacancies import EMPTY_FOR
from cometd_chat.errors import RoomExists, RoomNotFound, StorageUnavailable
from tests.chat.parts import House, now
from tests.directories import remove_room

HERE = "192.0.2.7"


@pytest.fixture
def alice(house: House) -> Session:
    session = house.log_in("alice")
    make(house, session)
    return session


def make(house: House, who: Session, name: str = "attic") -> None:
    now(house.chat.make_room(who, name, "", HERE))


def wait(house: House, seconds: float) -> None:
    """Let time go by, in large steps: nothing else is due."""
    while seconds > 0:
        house.clock.advance(min(60.0, seconds))
        seconds -= 60.0


def names(house: House) -> list[str]:
    return [room.name for room in house.rooms.all()]


def test_a_room_goes_an_hour_after_it_was_made_for_nothing(house: House, alice: Session) -> None:
    room = house.room("attic")
    wait(house, EMPTY_FOR - 60)
    assert "attic" in names(house)
    assert house.limits.held[MADE][HERE] == 1
    wait(house, 120)
    assert names(house) == ["lobby", "dev"]
    assert room.gone
    assert house.engine.context("/chat/attic") is None
    assert not house.limits.held[MADE]
    with pytest.raises(RoomNotFound):
        house.rooms.find("attic", None)
    bob = house.log_in("bob")
    with pytest.raises(RoomNotFound, match="is gone"):
        now(house.chat.messages.say(bob, room, "hi", address=HERE))
    with pytest.raises(RoomNotFound, match="is gone"):
        house.rights.require(bob, Act.FOLLOW, [room])
    # And its name is free.
    make(house, bob)
    assert House(directory=house.directory).rooms.find("attic", None).row.created_by == bob.id


def test_a_room_in_which_somebody_spoke_stays(house: House, alice: Session) -> None:
    now(house.chat.messages.say(alice, house.room("attic"), "hi", address=HERE))
    wait(house, EMPTY_FOR + 2 * LOOK_EVERY)
    assert "attic" in names(house)
    assert house.reaper.scheduled <= House().reaper.scheduled, "and is looked at no longer"


@pytest.mark.parametrize("who", ["with a session", "who only reads"])
def test_a_room_in_which_somebody_is_stays(house: House, alice: Session, who: str) -> None:
    if who == "with a session":
        house.presence.hold("attic", alice)
    else:
        ear = house.listen("attic")
    wait(house, EMPTY_FOR + 2 * LOOK_EVERY)
    assert "attic" in names(house)
    if who == "with a session":
        house.presence.release("attic", alice)
    else:
        house.room("attic").context.remove_handler(ear)
    wait(house, EMPTY_FOR - 60)
    assert "attic" in names(house)
    wait(house, 60 + LOOK_EVERY)
    assert "attic" not in names(house)


def test_rooms_that_nobody_made_stay(house: House) -> None:
    wait(house, EMPTY_FOR + 2 * LOOK_EVERY)
    assert names(house) == ["lobby", "dev"]


def test_after_a_restart_an_hour_is_theirs(house: House, alice: Session) -> None:
    make(house, alice, "cellar")
    now(house.chat.messages.say(alice, house.room("cellar"), "hi", address=HERE))
    again = House(directory=house.directory, log=house.log)
    wait(again, EMPTY_FOR - 60)
    assert names(again) == ["lobby", "attic", "cellar", "dev"]
    wait(again, 120)
    assert names(again) == ["lobby", "cellar", "dev"]


def test_what_is_said_at_the_last_moment_keeps_the_room(house: House, alice: Session) -> None:
    """It was on its way to the log when the room was let go."""
    room = house.room("attic")
    house.directory.remove_silent_room = lambda name, context: succeed(False)
    wait(house, EMPTY_FOR + 60)
    assert room.gone
    again = house.room("attic")
    assert again is not room
    assert house.engine.context("/chat/attic") is again.context
    assert names(house) == ["lobby", "attic", "dev"]
    assert house.limits.held[MADE][HERE] == 1


def test_who_makes_a_room_of_that_name_meanwhile_has_it(house: House, alice: Session) -> None:
    removing: Deferred[bool] = Deferred()
    house.directory.remove_silent_room = lambda name, context: removing
    wait(house, EMPTY_FOR + 60)
    bob = house.log_in("bob")
    remove_room(house.directory, "attic")
    make(house, bob)
    removing.callback(True)
    assert house.room("attic").row.created_by == bob.id
    with pytest.raises(RoomExists):
        make(house, bob)


def test_what_can_not_be_removed_just_now_goes_later() -> None:
    house = House()
    make(house, house.log_in("alice"))
    whole = house.directory.remove_silent_room
    error = StorageUnavailable("The disk is full.")
    house.directory.remove_silent_room = lambda name, context: fail(error)
    with capturedLogs() as logged:
        wait(house, EMPTY_FOR + 60)
    assert [event["reason"] for event in logged if "reason" in event] == [error]
    assert "attic" in names(house)
    house.directory.remove_silent_room = whole
    wait(house, EMPTY_FOR + 2 * LOOK_EVERY)
    assert "attic" not in names(house)
