"""What people can do: what may be said, that it is said once, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cometd_chat.chat.limits import IN_USE, MADE
from cometd_chat.chat.rights import Act
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import (
    ClientIdReused,
    InvalidRequest,
    InvalidToken,
    NameTaken,
    RoomExists,
    ShuttingDown,
    StorageUnavailable,
    TooMany,
)
from cometd_chat.events.event import Event
from tests.chat.parts import House, begun, now


@pytest.fixture
def alice(house: House) -> Session:
    return house.log_in("alice")


#: Where everybody comes from.
HERE = "192.0.2.7"


def say(
    house: House, who: Session, text: object, client_id: object = None, room: str = "lobby"
) -> tuple[Event, bool]:
    return now(house.chat.messages.say(who, house.room(room), text, client_id, address=HERE))


# -- saying


def test_what_is_said_is_an_event_of_the_log(house: House, alice: Session) -> None:
    ear = house.listen()
    event, repeated = say(house, alice, " hi ", "c-1")
    assert not repeated
    assert event.fields == {
        "id": 1,
        "cursor": house.log.cursor(1),
        "room": "lobby",
        "type": "message",
        "from": "alice",
        "text": "hi",
        "at": "2026-11-21T19:23:00.000Z",
        "client_id": "c-1",
    }
    heard = [each.fields for each in ear.events if each.type == "message"]
    assert heard == [event.fields], "she hears herself as others do"


def test_nothing_is_heard_before_it_is_durable(house: House, alice: Session) -> None:
    house.presence.hold("lobby", alice)
    ear = house.listen()
    house.log.hold()
    saying = begun(house.chat.messages.say(alice, house.room(), "hi", address=HERE))
    assert not saying.called
    assert ear.events == []
    house.log.release()
    assert now(saying)[0].id == 1
    assert [event.id for event in ear.events] == [1]


def test_who_speaks_in_a_room_is_in_it(house: House, alice: Session) -> None:
    ear = house.listen()
    say(house, alice, "hi")
    assert ear.take() == ["join alice", "message alice"]
    assert house.presence.people("lobby") == [alice]


@pytest.mark.parametrize("client_id", ["", "x" * 65, "é", "a\nb", "a\x7f", "\ud800", 7, [], {}])
def test_client_ids_that_are_none(house: House, alice: Session, client_id: object) -> None:
    with pytest.raises(InvalidRequest) as raised:
        say(house, alice, "hi", client_id)
    assert [field.field for field in raised.value.fields] == ["client_id"]
    assert house.log.last_id == 0


@pytest.mark.parametrize("client_id", ["x", "x" * 64, " ", "~", "".join(map(chr, range(32, 96)))])
def test_client_ids_that_are_good(house: House, alice: Session, client_id: str) -> None:
    assert say(house, alice, "hi", client_id)[0].fields["client_id"] == client_id


def test_the_same_text_again_is_the_first_event(house: House, alice: Session) -> None:
    first, _ = say(house, alice, "hi", "c-1")
    say(house, alice, "something else")
    house.advance(800)
    for text in ("hi", " hi\r\n"):
        event, repeated = say(house, alice, text, "c-1")
        assert repeated
        assert event.fields == first.fields
    assert house.log.last_id == 2


def test_another_text_with_the_same_key(house: House, alice: Session) -> None:
    say(house, alice, "hi", "c-1")
    with pytest.raises(ClientIdReused):
        say(house, alice, "ho", "c-1")
    assert house.log.last_id == 1


def test_another_room_with_the_same_key(house: House, alice: Session) -> None:
    say(house, alice, "hi", "c-1")
    with pytest.raises(ClientIdReused):
        say(house, alice, "hi", "c-1", room="dev")
    assert house.log.last_id == 1


def test_two_at_once_with_the_same_key(house: House, alice: Session) -> None:
    house.log.hold()
    room = house.room()
    first = begun(house.chat.messages.say(alice, room, "hi", "c-1", address=HERE))
    again = begun(house.chat.messages.say(alice, room, "hi", "c-1", address=HERE))
    other = begun(house.chat.messages.say(alice, room, "ho", "c-1", address=HERE))
    house.log.release()
    (one, one_repeated), (two, two_repeated) = now(first), now(again)
    assert [one_repeated, two_repeated] == [False, True]
    assert one.fields == two.fields
    with pytest.raises(ClientIdReused):
        now(other)
    assert house.log.last_id == 1


def test_a_key_is_the_sessions_whatever_she_is_called(house: House, alice: Session) -> None:
    first, _ = say(house, alice, "hi", "c-1")
    now(house.chat.rename(alice, "carol", HERE))
    event, repeated = say(house, alice, "hi", "c-1")
    assert repeated
    assert event.fields == first.fields
    assert event.fields["from"] == "alice", "it was said under that name"
    with pytest.raises(ClientIdReused):
        say(house, alice, "ho", "c-1")
    other = house.log_in("alice")
    assert say(house, other, "hi", "c-1")[1] is False, "her name was hers, her keys were not"


def test_storage_that_is_away(house: House, alice: Session) -> None:
    ear = house.listen()
    house.log.failure = StorageUnavailable("The disk is full.", retry_after=2)
    with pytest.raises(StorageUnavailable):
        say(house, alice, "hi", "c-1")
    house.log.failure = None
    assert say(house, alice, "hi", "c-1")[1] is False
    assert [event.id for event in ear.events if event.type == "message"] == [1]


# -- limits


@pytest.fixture
def strict(failures: list[object]) -> House:
    return House(limits=True)


def test_how_often_somebody_may_speak(strict: House) -> None:
    alice, bob = strict.log_in("alice"), strict.log_in("bob")
    for _ in range(20):
        say(strict, alice, "hi")
    with pytest.raises(TooMany) as raised:
        say(strict, alice, "hi")
    assert raised.value.retry_after == pytest.approx(0.2)
    say(strict, bob, "hi")
    strict.advance(1)
    for _ in range(5):
        say(strict, alice, "hi")
    with pytest.raises(TooMany):
        say(strict, alice, "hi")


def test_how_much_somebody_may_say_a_minute(strict: House) -> None:
    alice = strict.log_in("alice")
    for _ in range(8):
        say(strict, alice, "x" * 8000)
    say(strict, alice, "x" * 1536)
    with pytest.raises(TooMany) as raised:
        say(strict, alice, "x" * 8000)
    assert raised.value.retry_after == pytest.approx(8000 * 60 / 65536)
    strict.advance(8)
    say(strict, alice, "x" * 8000)


def test_text_is_counted_in_bytes(strict: House) -> None:
    alice = strict.log_in("alice")
    for _ in range(2):
        say(strict, alice, "😀" * 8000)
    with pytest.raises(TooMany):
        say(strict, alice, "😀" * 500)


def test_what_is_refused_costs_nothing(strict: House) -> None:
    alice = strict.log_in("alice")
    for _ in range(30):
        with pytest.raises(InvalidRequest):
            say(strict, alice, "")
    for _ in range(20):
        say(strict, alice, "hi")


def test_how_many_sessions_an_address_may_start(strict: House) -> None:
    for number in range(30):
        now(strict.chat.log_in(f"p{number}", "192.0.2.7"))
    with pytest.raises(TooMany):
        now(strict.chat.log_in("late", "192.0.2.7"))
    now(strict.chat.log_in("late", "192.0.2.8"))
    strict.advance(1)
    now(strict.chat.log_in("later", "192.0.2.7"))


def test_how_many_rooms_somebody_may_make(strict: House) -> None:
    alice = strict.log_in("alice")
    for name in ("", "a.b", "lobby", "-", "x" * 65, "LOBBY"):
        with pytest.raises((InvalidRequest, RoomExists)):
            now(strict.chat.make_room(alice, name, "", HERE))
    for number in range(5):
        now(strict.chat.make_room(alice, f"r{number}", "", HERE))
    with pytest.raises(TooMany):
        now(strict.chat.make_room(alice, "r5", "", HERE))
    strict.advance(60)
    now(strict.chat.make_room(alice, "r5", "", HERE))


def until_too_many(do: Callable[[int], object]) -> int:
    """How often something can be done before it is too much."""
    done = 0
    while True:
        try:
            do(done)
        except TooMany:
            return done
        done += 1


def test_what_all_from_one_address_may_do(strict: House) -> None:
    """A session costs one request: what bounds sessions alone bounds nobody."""
    people = [strict.log_in(f"n{number}") for number in range(30)]
    chat, lobby = strict.chat, strict.room()

    def by_all(do: Callable[[Session, int], object]) -> int:
        return sum(until_too_many(lambda done, who=who: do(who, done)) for who in people)  # type: ignore[misc]

    assert by_all(lambda who, done: say(strict, who, "hi")) == 60
    assert by_all(lambda who, done: chat.type(who, lobby, HERE)) == 100
    assert by_all(lambda who, done: now(chat.rename(who, f"{who.key.hex()}{done}", HERE))) == 60
    assert (
        by_all(lambda who, done: now(chat.make_room(who, f"{who.key.hex()}{done}", "", HERE))) == 20
    )
    # A neighbour is not bothered.
    other, _ = now(chat.log_in("other", "192.0.2.8"))
    now(chat.messages.say(other, lobby, "hi", address="192.0.2.8"))


def test_how_much_text_may_come_from_one_address(strict: House) -> None:
    people = [strict.log_in(f"n{number}") for number in range(10)]
    text = "\U0001f600" * 4000
    said = sum(until_too_many(lambda done, who=who: say(strict, who, text)) for who in people)  # type: ignore[misc]
    assert said == 2**18 // 16_000


def test_how_many_sessions_an_address_may_have_in_use(strict: House) -> None:
    for _ in range(IN_USE.most - 2):
        strict.limits.hold(HERE, IN_USE)
    alice, token = now(strict.chat.log_in("alice", HERE))
    with pytest.raises(NameTaken):
        now(strict.chat.log_in("alice", HERE))
    now(strict.chat.log_in("bob", HERE))
    with pytest.raises(TooMany, match="1000 sessions in use"):
        now(strict.chat.log_in("carol", HERE))
    now(strict.chat.log_in("carol", "192.0.2.8"))
    now(strict.chat.log_out(alice))
    dave, _ = now(strict.chat.log_in("dave", HERE))
    # Who was not there for long is not in use, and does not count twice when she comes back.
    strict.advance(902)
    assert strict.limits.held[IN_USE][HERE] == IN_USE.most - 2
    with pytest.raises(InvalidToken):
        now(strict.sessions.by_token(token))
    now(strict.chat.log_out(dave))
    assert strict.limits.held[IN_USE][HERE] == IN_USE.most - 2


def test_how_many_rooms_an_address_may_have_made(strict: House) -> None:
    for _ in range(MADE.most - 1):
        strict.limits.hold(HERE, MADE)
    alice = strict.log_in("alice")
    with pytest.raises(RoomExists):
        now(strict.chat.make_room(alice, "lobby", "", HERE))
    now(strict.chat.make_room(alice, "attic", "", HERE))
    with pytest.raises(TooMany, match="has made 100 rooms"):
        now(strict.chat.make_room(alice, "cellar", "", HERE))
    now(strict.chat.make_room(alice, "cellar", "", "192.0.2.8"))


# -- names and ends


def test_a_new_name_is_told(house: House, alice: Session) -> None:
    house.presence.hold("lobby", alice)
    ear = house.listen()
    now(house.chat.rename(alice, "carol", HERE))
    now(house.chat.rename(alice, "carol", HERE))
    assert ear.take() == ["leave alice", "join carol"]


def test_new_names_are_limited(strict: House) -> None:
    alice = strict.log_in("alice")
    for number in range(10):
        now(strict.chat.rename(alice, f"alice{number}", HERE))
    with pytest.raises(TooMany):
        now(strict.chat.rename(alice, "carol", HERE))
    now(strict.chat.rename(alice, "alice9", HERE))  # That is no new one.
    strict.advance(6)
    now(strict.chat.rename(alice, "carol", HERE))


def test_logging_out_is_told(house: House, alice: Session) -> None:
    house.presence.hold("lobby", alice)
    ear = house.listen()
    now(house.chat.log_out(alice))
    assert ear.take() == ["leave alice"]
    house.log_in("alice")


def test_who_has_no_name_any_more_can_not_speak_under_it(house: House) -> None:
    _, token = now(house.chat.log_in("alice", "192.0.2.7"))
    house.advance(902)
    house.log_in("alice")
    nameless = now(house.sessions.by_token(token))
    with pytest.raises(NameTaken):
        say(house, nameless, "hi")
    with pytest.raises(NameTaken):
        now(house.chat.make_room(nameless, "attic", "", HERE))
    with pytest.raises(NameTaken):
        house.chat.type(nameless, house.room(), HERE)
    now(house.chat.rename(nameless, "carol", HERE))
    assert say(house, nameless, "hi")[0].fields["from"] == "carol"


def test_who_has_logged_out_says_nothing_more(house: House, alice: Session) -> None:
    """What she said before may still wait to be posted, or her request for its turn."""
    now(house.chat.log_out(alice))
    ear = house.listen()
    with pytest.raises(InvalidToken):
        say(house, alice, "hi")
    with pytest.raises(InvalidToken):
        now(house.chat.make_room(alice, "attic", "", HERE))
    with pytest.raises(InvalidToken):
        house.chat.type(alice, house.room(), HERE)
    with pytest.raises(InvalidToken):
        house.rights.require(alice, Act.FOLLOW, [house.room()])
    assert ear.take() == []
    assert house.presence.people("lobby") == []


def test_who_types_is_there(house: House, alice: Session) -> None:
    ear = house.listen()
    house.chat.type(alice, house.room(), HERE)
    assert ear.take() == ["join alice", "typing alice"]


def test_a_chat_that_stops_takes_no_more(house: House, alice: Session) -> None:
    house.chat.stop()
    with pytest.raises(ShuttingDown) as raised:
        say(house, alice, "hi")
    assert raised.value.retry_after
    with pytest.raises(ShuttingDown):
        house.log_in("bob")
    with pytest.raises(ShuttingDown):
        house.rights.require(None, Act.ENTER)


# -- history


def test_pages_of_history(house: House, alice: Session) -> None:
    for number in range(1, 11):
        say(house, alice, str(number), room="lobby" if number % 2 else "dev")

    def ids(before: int | None, after: int | None, limit: int) -> tuple[list[int | None], bool]:
        page, more = now(
            house.chat.messages.history(house.room(), None, before=before, after=after, limit=limit)
        )
        return [event.id for event in page], more

    assert ids(None, None, 10) == ([1, 3, 5, 7, 9], False)
    assert ids(None, None, 5) == ([1, 3, 5, 7, 9], False)
    assert ids(None, None, 4) == ([3, 5, 7, 9], True)
    assert ids(7, None, 2) == ([3, 5], True)
    assert ids(5, None, 2) == ([1, 3], False)
    assert ids(1, None, 2) == ([], False)
    assert ids(None, 0, 2) == ([1, 3], True)
    assert ids(None, 5, 2) == ([7, 9], False)
    assert ids(None, 9, 2) == ([], False)
    assert ids(9, 1, 2) == ([3, 5], True)
    assert ids(7, 1, 2) == ([3, 5], False)
    assert ids(3, 5, 2) == ([], False)
