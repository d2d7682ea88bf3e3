"""Ten thousand people who belong to a room, and somebody who belongs to a thousand rooms: what each
act looks at.

Nothing here is measured by a clock: what is counted is how often something is looked at, which is
what takes the time.
"""

from __future__ import annotations

from functools import cache

import pytest
from sqlalchemy import Connection, insert

from cometd_chat.chat.held_subscription import HeldSubscription
from cometd_chat.chat.matrix import Act, Calm, Guests, Terms
from cometd_chat.chat.people_lookup import Lookup
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import CalmedDown, NotFound
from cometd_chat.log.members import NewMember
from cometd_chat.log.tables import members, room_members, rooms
from cometd_chat.lookalikes.keys import name_keys
from tests.chat.parts import House, now
from tests.chat.test_many_sanctions import Counted, Sink

MANY, ROOMS = 10_000, 1_000

#: How many others read while something is done.
OTHERS = 300


def identity(number: int) -> str:
    return f"{number + 10**9:024x}"


@cache
def people() -> list[dict[str, object]]:
    """Their rows."""
    return [
        {
            "identity": identity(number),
            "name": f"member{number}",
            "name_key": name_keys(f"member{number}").folded,
            "name_looks": name_keys(f"member{number}").looks,
            "role": "member",
            "created_at": 0,
            "seen_at": 0,
        }
        for number in range(MANY)
    ]


def fill(connection: Connection) -> None:
    """Zero belongs to a thousand rooms, and with ten thousand others to a big one."""
    connection.execute(insert(members), people())
    names = ["big", *(f"room{number}" for number in range(ROOMS))]
    row = {"topic": "", "created_by": "", "created_at": 0, "kind": "private"}
    connection.execute(insert(rooms), [{**row, "name": name} for name in names])
    there = [("big", identity(number)) for number in range(MANY - 1)]
    there += [(name, identity(0)) for name in names[1:]]
    belongs = {"role": "moderator", "by": "", "at": 0}
    connection.execute(
        insert(room_members), [{**belongs, "room": room, "identity": who} for room, who in there]
    )


@pytest.fixture
def crowded(house: House) -> House:
    house.directory.store.write_now(fill)
    return House(directory=house.directory, log=house.log, clock=house.clock)


@pytest.fixture
def zero(crowded: House) -> Session:
    return now(crowded.sessions.start_member(identity(0)))[0]


def read(house: House, session: Session | None, *read: Room) -> HeldSubscription:
    point = ResumePoint(house.feed.last_id)
    return house.chat.readers.read(session, list(read), Sink(), point, on_end=_ended)


def _ended(subscription: HeldSubscription, expired: bool) -> None: ...


def others_read(house: House) -> list[HeldSubscription]:
    return [read(house, None, house.room()) for _ in range(OTHERS)]


def test_who_belongs_to_a_thousand_rooms_is_told_a_page(crowded: House, zero: Session) -> None:
    page, more = crowded.rooms.page(None, 100, zero)
    assert (len(page), more) == (100, True)
    assert crowded.rooms.count(zero) == ROOMS + 3


def test_a_stream_of_a_thousand_rooms_is_asked_once_for_each(
    crowded: House, zero: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [crowded.rooms.find(f"room{number}", zero) for number in range(ROOMS)]
    asked = Counted(monkeypatch, Rights, "may")
    read(crowded, zero, *wanted)
    assert asked.calls == ROOMS
    assert len(zero.person.present) == ROOMS


def test_a_change_of_who_belongs_looks_at_what_one_person_holds(
    crowded: House, zero: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = crowded.rooms.find("big", zero)
    one = now(crowded.sessions.start_member(identity(1)))[0]
    stream = read(crowded, one, big)
    others = others_read(crowded)
    asked = Counted(monkeypatch, Rights, "may")
    put, drop = crowded.chat.room_changes.put_member, crowded.chat.room_changes.drop_member
    assert now(put(zero, big, f"member{MANY - 1}", None, ""))
    # The right of who does it.
    assert asked.calls == 1
    now(drop(zero, big, f"member{MANY - 1}", ""))
    assert asked.calls == 2
    now(crowded.sessions.set_role(identity(0), Role.OWNER))
    now(drop(zero, big, "member1", ""))
    # And what was held by who is out.
    assert asked.calls == 4
    assert stream.state.name == "ENDED"
    assert not any(each.state.name == "ENDED" for each in others)


def test_another_role_looks_at_what_one_person_holds(
    crowded: House, zero: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_read(crowded)
    mine = [read(crowded, zero, crowded.room()) for _ in range(3)]
    asked = Counted(monkeypatch, Rights, "may")
    now(crowded.sessions.set_role(identity(0), Role.MODERATOR))
    assert zero.role is Role.MODERATOR
    assert asked.calls == len(mine)


def test_to_calm_the_house_looks_at_nobody_who_reads(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who speaks is asked each time they do."""
    bob = house.log_in("bob")
    others_read(house)
    asked = Counted(monkeypatch, Rights, "may")
    long = Counted(monkeypatch, Rights, "_may")
    for calm in Calm:
        house.rights.set_terms(Terms(calm=calm))
    assert asked.calls == 0
    # And while it is calm, whoever reads is asked for no longer than otherwise.
    assert house.rights.may(bob, Act.FOLLOW, house.room()) is None
    assert long.calls == 0
    assert isinstance(house.rights.may(bob, Act.SPEAK, house.room()), CalmedDown)


def test_what_is_held_ends_where_who_reads_is_another(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two policies that take away what is held do so at once."""
    others, room = others_read(house), house.room()
    asked = Counted(monkeypatch, Rights, "may")
    house.rights.set_terms(Terms(public_reading=False))
    assert asked.calls == OTHERS
    assert all(each.state.name == "ENDED" for each in others)
    bobs = read(house, house.log_in("bob"), room)
    house.rights.set_terms(Terms(guests=Guests.OFF))
    assert bobs.state.name == "ENDED"


@pytest.mark.parametrize("name", ["guest 7", "Guest 7", "Ann"])
def test_whoever_is_meant_by_a_name_is_found_without_a_look_at_all(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House()
    sessions = [house.log_in(f"guest {number}") for number in range(20)]
    ann = house.log_in("ann")
    new = NewMember("ann", name_keys("ann"), Role.MEMBER.word, "hash", 0)
    now(house.sessions.enrol(ann, new))
    lookup = Lookup(house.changes, house.sessions)
    monkeypatch.setattr(house.sessions, "all_in_use", None)
    monkeypatch.setattr(house.sessions, "of_identity", None)
    found = now(lookup.by_name(name))
    assert found.sessions == ((ann,) if name == "Ann" else (sessions[7],))
    house.sessions.free_name(sessions[7])
    if name != "Ann":
        with pytest.raises(NotFound):
            now(lookup.by_name(name))
