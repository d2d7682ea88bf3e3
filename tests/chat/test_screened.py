"""What the word filter holds, as it is let through: once, after whatever comes in between, and for
who may still speak."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from twisted.logger import LogEvent

from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.people_lookup import Person
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanctions import BAN, KICK, SILENCE, SanctionKind
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import (
    AlreadySanctioned,
    ChatError,
    HeldForModerator,
    NotAllowed,
    NotFound,
    RoomArchived,
    StorageUnavailable,
)
from cometd_chat.log.tables import screened
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import House, appoint, begun, now

HERE = "192.0.2.7"


@pytest.fixture(params=["one", "many"])
def house(request: pytest.FixtureRequest, failures: list[LogEvent]) -> House:
    return House() if request.param == "one" else Cluster(2).nodes[0]


def other_of(house: House) -> House:
    """Another node, or the same process after a restart."""
    if isinstance(house, Node):
        return house.cluster.nodes[1]
    return House(directory=house.directory, log=house.log, clock=house.clock)


def moderator(house: House, name: str = "marta") -> Session:
    session = house.log_in(name)
    appoint(house.changes, session, Role.MODERATOR)
    return session


def hold(house: House, who: Session, room: Room | None = None, key: str | None = None) -> str:
    """Somebody says what waits; its id."""
    now(house.chat.policies.set({"words": {"hold": ["maybe"]}}, who="", who_name="shell"))
    with pytest.raises(HeldForModerator):
        now(house.chat.messages.say(who, room or house.room(), "maybe", key, address=HERE))
    return str(ids(house)[-1])


def ids(house: House) -> list[str]:
    query = select(screened.c.id).order_by(screened.c.at)
    return house.changes.read_now(lambda each: list(each.execute(query).scalars()))


def said(house: House) -> list[str]:
    records = now(house.log.read(None, limit=99, types=["message"]))
    return [f"{each.author}: {each.data['text']}" for each in records]


@pytest.mark.parametrize("key", ["mine", None])
def test_it_is_said_after_a_kill_between_the_decision_and_the_log(
    house: House, key: str | None
) -> None:
    bob, marta = house.log_in("bob"), moderator(house)
    id = hold(house, bob, key=key)
    append = house.chat.messages._gathering.append

    def lost(*arguments: object) -> None:
        raise StorageUnavailable("Killed.", retry_after=1)

    house.chat.messages._gathering.append = lost  # type: ignore[method-assign, assignment]
    with pytest.raises(StorageUnavailable):
        now(house.chat.messages.screened.decide(marta, id, say=True))
    assert said(house) == []
    # It is decided: nobody holds it back any more, and it waits for nobody.
    with pytest.raises(NotFound):
        now(house.chat.messages.screened.decide(marta, id, say=False))
    assert now(house.chat.messages.screened.listed(marta, None, 9)) == []
    house.reaper.cancel(house.chat.messages.screened)
    other_of(house).advance(70)
    assert said(house) == ["bob: maybe"]
    assert ids(house) == []
    # Whoever wakes up later does not say it again.
    house.chat.messages._gathering.append = append  # type: ignore[method-assign]
    house.chat.messages.screened.start()
    house.advance(200)
    assert said(house) == ["bob: maybe"]


def test_it_is_said_once_after_a_kill_between_the_log_and_the_table(house: House) -> None:
    bob, marta = house.log_in("bob"), moderator(house)
    id = hold(house, bob)
    screening = house.chat.messages.screened
    say = screening._say
    item = now(screening.listed(marta, None, 9))[0]
    now(begun(say(item)))  # By a moderator elsewhere, in whose place this one goes on.
    store = house.directory.store
    row: dict[str, object] = {
        "room": "lobby",
        "identity": bob.identity,
        "name": "bob",
        "text": "maybe",
    }
    row |= {"client_id": "", "at": item.at, "id": id, "let_by": marta.identity}
    store.write_now(lambda each: each.execute(screened.insert(), row).close())
    house.advance(70)
    assert said(house) == ["bob: maybe"]
    assert ids(house) == []


def test_a_key_that_was_used_meanwhile_stands_in_nobodys_way(house: House) -> None:
    bob, marta = house.log_in("bob"), moderator(house)
    id = hold(house, bob, key="mine")
    now(house.chat.messages.say(bob, house.room(), "other", "mine", address=HERE))
    now(house.chat.messages.screened.decide(marta, id, say=True))
    assert said(house) == ["bob: other", "bob: maybe"]


@pytest.mark.parametrize("kind", [SILENCE, KICK, BAN])
@pytest.mark.parametrize("where", [None, "lobby"])
def test_who_may_not_speak_any_more_is_not_said(
    house: House, kind: SanctionKind, where: str | None
) -> None:
    """Also where the node of the moderator has not heard of it."""
    bob, marta, otto = house.log_in("bob"), moderator(house), moderator(house, "otto")
    id = hold(house, bob)
    elsewhere = other_of(house)
    if isinstance(house, Node):
        house.slow_down()
    room = None if where is None else elsewhere.room(where)
    whom = Person(bob.identity, "bob", Role.GUEST)
    imposed = now(elsewhere.moderation.impose(otto, kind, whom, room))
    with pytest.raises(AlreadySanctioned, match="bob is"):
        now(house.chat.messages.screened.decide(marta, id, say=True))
    assert said(house) == []
    assert ids(house) == [id]
    now(elsewhere.moderation.lift(otto, imposed.id))
    if isinstance(house, Node):
        house.hurry()
    now(house.chat.messages.screened.decide(marta, id, say=True))
    assert said(house) == ["bob: maybe"]


def test_nor_in_a_room_of_which_they_are_out_or_that_is_closed(house: House) -> None:
    bob, marta = house.log_in("bob"), moderator(house)
    room = now(house.chat.make_room(marta, "attic", "", HERE, RoomKind.PRIVATE))
    changes = house.chat.room_changes
    appoint(house.changes, marta, Role.ADMIN)
    now(changes.put_member(marta, room, "bob", None, HERE))
    id = hold(house, bob, room)
    now(changes.drop_member(marta, room, "bob", HERE))
    with pytest.raises(NotFound, match="does not belong"):
        now(house.chat.messages.screened.decide(marta, id, say=True))
    now(changes.put_member(marta, room, "bob", None, HERE))
    now(changes.change(marta, room, {"archived": True}, HERE))
    with pytest.raises(RoomArchived):
        now(house.chat.messages.screened.decide(marta, id, say=True))
    assert said(house) == []


def test_of_two_who_decide_at_once_one_does(failures: list[LogEvent]) -> None:
    first, second = Cluster(2).nodes
    bob, marta, otto = first.log_in("bob"), moderator(first), moderator(second, "otto")
    id = hold(first, bob)
    item = now(second.chat.messages.screened.listed(otto, None, 9))[0]
    assert item.id == id
    second.slow_down()
    now(first.chat.messages.screened.decide(marta, id, say=True))
    errors: list[type[ChatError]] = []
    try:
        now(second.chat.messages.screened.decide(otto, id, say=False))
    except ChatError as error:
        errors.append(type(error))
    assert errors == [NotFound]
    second.hurry()
    assert said(first) == ["bob: maybe"]


def test_who_moderates_no_more_decides_nothing(failures: list[LogEvent]) -> None:
    first, second = Cluster(2).nodes
    bob, marta = first.log_in("bob"), moderator(first)
    id = hold(first, bob)
    first.slow_down()
    appoint(second.changes, marta, Role.GUEST)
    marta.role = Role.MODERATOR
    with pytest.raises(NotAllowed):
        now(first.chat.messages.screened.decide(marta, id, say=True))
    assert ids(second) == [id]
