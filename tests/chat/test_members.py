"""Members: one person with several devices, and a name that is theirs for ever."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred

from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import (
    AlreadyMember,
    InvalidToken,
    LastOwner,
    NameTaken,
    NotFound,
    StorageUnavailable,
)
from cometd_chat.events.event import Event
from cometd_chat.log import members as table
from cometd_chat.log.accounts import account_of
from cometd_chat.log.members import NewMember, forget_removed
from cometd_chat.log.tables import members, sessions
from cometd_chat.lookalikes.keys import name_keys
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import House, begun, now
from tests.directories import kept_sessions

#: Seconds after which the name of a guest whom nobody sees is free, at the latest; after twice as
#: long no node has them in mind.
UNSEEN = 1200


class Held:
    """Something that a session holds."""

    client = most = None
    address = ""

    def __init__(self) -> None:
        self.told: list[str] = []

    def close(self, event: Event) -> None:
        self.told.append(str(event.fields["reason"]))

    def tell(self, event: Event) -> None: ...

    def answer_now(self) -> None: ...

    def come_back(self, after: float) -> None:
        self.told.append("come back")


@pytest.fixture(params=["one", "many"])
def house(request: pytest.FixtureRequest) -> House:
    """One house, and a second door to it: another node, where there are several."""
    return House() if request.param == "one" else Cluster(2).nodes[0]


@pytest.fixture
def other(house: House) -> House:
    return house.cluster.nodes[1] if isinstance(house, Node) else house


def new(name: str, role: Role = Role.MEMBER, password: str | None = "hash") -> NewMember:
    return NewMember(name, name_keys(name), role.word, password, 1)


def enrol(house: House, session: Session, name: str | None = None, **options: Any) -> str:
    return now(house.sessions.enrol(session, new(name or session.name, **options)))


def made(house: House, name: str = "alice", **options: Any) -> tuple[Session, str]:
    """A guest who has an account from now."""
    session = house.log_in(name)
    return session, enrol(house, session, **options)


def device(house: House, identity: str, agent: str = "phone") -> Session:
    return now(house.chat.start_member(identity, "192.0.2.8", agent=agent))[0]


def read(house: House, table: Any) -> list[Any]:
    return house.changes.read_now(lambda each: list(each.execute(select(table))))


def say(house: House, session: Session, text: str) -> Event:
    return now(house.chat.messages.say(session, house.room(), text, address=""))[0]


# -- a guest becomes one


def test_a_guest_who_becomes_a_member_is_who_they_were(house: House) -> None:
    session, old = now(house.chat.log_in("alice", ""))
    held = Held()
    house.chat.readers.hold(session, held)
    identity = session.identity
    say(house, session, "before")
    token = enrol(house, session)
    assert session.identity == identity == session.id
    assert (session.name, session.role) == ("alice", Role.MEMBER)
    assert held.told == ["come back"]
    with pytest.raises(InvalidToken):
        now(house.sessions.by_token(old))
    assert now(house.sessions.by_token(token)) is session
    say(house, session, "after")
    said = now(house.log.read(["/chat/lobby"], limit=9))
    assert {record.sender for record in said} == {identity}


def test_a_member_by_another_name(house: House, other: House) -> None:
    ear = house.listen()
    session = house.log_in("guest-7")
    house.chat.arrive(session, house.room(), "")
    enrol(house, session, "Zora")
    assert session.name == "Zora"
    assert ear.take() == ["join guest-7", "leave guest-7", "join Zora"]
    now(other.sessions.start_guest("guest-7"))
    with pytest.raises(NameTaken):
        now(other.sessions.start_guest("zora"))


def test_nobody_becomes_a_member_twice(house: House) -> None:
    session, _ = made(house)
    with pytest.raises(AlreadyMember):
        enrol(house, session)
    assert len(read(house, members)) == 1


def test_what_is_refused_beside_it_undoes_all(house: House) -> None:
    session, token = now(house.chat.log_in("alice", ""))

    def refuse(connection: Connection) -> None:
        raise NotFound("That invitation is used up.")

    with pytest.raises(NotFound):
        now(house.sessions.enrol(session, new("alice"), refuse))
    assert read(house, members) == []
    assert session.member is None
    assert now(house.sessions.by_token(token)) is session
    with pytest.raises(NotFound):
        now(house.sessions.make_member(new("zora"), beside=refuse))
    now(house.sessions.start_guest("zora"))


def test_a_name_that_a_guest_has_is_nobodys_elses(house: House, other: House) -> None:
    session = house.log_in("alice")
    now(other.sessions.start_guest("bob"))
    now(other.sessions.start_guest("carol", ephemeral=True))
    now(other.sessions.start_guest("dave", transient=True))
    for taken in ("bob", "carol", "dave", "BOB"):
        with pytest.raises(NameTaken):
            enrol(house, session, taken)
        with pytest.raises(NameTaken):
            now(house.sessions.make_member(new(taken)))
    assert session.member is None
    assert read(house, members) == []


@pytest.mark.parametrize("how", [{}, {"ephemeral": True}, {"transient": True}])
def test_a_members_name_is_theirs_for_ever(house: House, other: House, how: dict[str, Any]) -> None:
    session, token = made(house)
    now(house.chat.log_out(session))
    house.advance(UNSEEN)
    for name in ("alice", "ALICE", "a1ice".replace("1", "l")):
        with pytest.raises(NameTaken):
            now(other.sessions.start_guest(name, **how))
    guest, _ = now(other.sessions.start_guest("bob", **how))
    with pytest.raises(NameTaken):
        now(other.sessions.rename(guest, "alice"))
    assert guest.name == "bob"
    with pytest.raises(InvalidToken):
        now(house.sessions.by_token(token))
    assert device(other, session.identity).name == "alice"


def test_a_member_whom_nobody_sees_keeps_name_and_token(house: House, other: House) -> None:
    session, token = made(house)
    house.advance(2 * UNSEEN)
    again = now(other.sessions.by_token(token))
    assert (again.name, again.name_key, again.role) == ("alice", "alice", Role.MEMBER)
    assert again.identity == session.identity


def test_it_outlives_a_restart() -> None:
    house = House()
    session, token = made(house, role=Role.OWNER)
    again = House(directory=house.directory, log=house.log)
    found = now(again.sessions.by_token(token))
    assert (found.identity, found.name, found.role) == (session.identity, "alice", Role.OWNER)
    with pytest.raises(NameTaken):
        now(again.sessions.start_guest("alice", ephemeral=True))


# -- several devices


def test_two_devices_are_one_person(house: House, other: House) -> None:
    ear, there = house.listen(), other.listen()
    session, _ = made(house)
    phone = device(other, session.identity)
    assert phone.identity == session.identity
    assert phone.id != session.id
    for each, door in ((session, house), (phone, other)):
        door.presence.hold("lobby", each)
        house.advance(1)
    for door in (house, other):
        assert [each.name for each in door.presence.people("lobby")] == ["alice"]
        assert door.presence.count("lobby") == 1
    assert ear.take()[:1] == ["join alice"]
    house.presence.release("lobby", session)
    house.advance(30)
    assert house.presence.count("lobby") == 1
    other.presence.release("lobby", phone)
    house.advance(30)
    assert house.presence.count("lobby") == other.presence.count("lobby") == 0
    assert ear.take() == ["leave alice"]
    assert there.take()[-1] == "leave alice"


def test_the_end_of_one_device_is_not_that_of_the_person(house: House, other: House) -> None:
    session, _ = made(house)
    phone = device(other, session.identity)
    held = Held()
    other.chat.readers.hold(phone, held)
    house.presence.hold("lobby", session)
    other.presence.hold("lobby", phone)
    house.advance(1)
    ear = house.listen()
    now(house.chat.end_device(session, phone.id))
    assert phone.ended
    assert held.told == ["logged out"]
    other.presence.release("lobby", phone)
    house.advance(30)
    assert house.presence.count("lobby") == 1
    assert ear.take() == []
    now(house.chat.end_device(session, session.id))
    assert session.ended
    assert ear.take() == ["leave alice"]


def test_a_new_name_is_that_of_all_devices(house: House, other: House) -> None:
    session, _ = made(house)
    phone = device(other, session.identity)
    house.presence.hold("lobby", session)
    other.presence.hold("lobby", phone)
    house.advance(1)
    ear, there = house.listen(), other.listen()
    token = now(house.chat.rename(session, "Carol", ""))
    assert token is not None
    assert now(house.sessions.by_token(token)) is session
    assert session.name == phone.name == "Carol"
    assert phone.name_key == "carol"
    assert ear.take() == there.take() == ["leave alice", "join Carol"]
    assert {row.name for row in kept_sessions(house.directory).values()} == {"Carol"}
    now(other.sessions.start_guest("alice"))
    with pytest.raises(NameTaken):
        now(house.chat.rename(session, "alice", ""))
    assert session.name == phone.name == "Carol"


def test_devices_are_listed_and_ended(house: House, other: House) -> None:
    session, _ = made(house)
    house.advance(60)
    phone = device(other, session.identity, "Firefox on Android")
    stranger = house.log_in("bob")
    listed = now(house.chat.devices(session))
    assert [(each.id, each.agent, each.current) for each in listed] == [
        (session.id, "", True),
        (phone.id, "Firefox on Android", False),
    ]
    assert listed[0].began + 60_000 == listed[1].began
    assert all(each.began <= each.seen <= house.calendar() * 1000 for each in listed)
    with pytest.raises(NotFound):
        now(house.chat.end_device(stranger, phone.id))
    now(house.chat.end_device(session, phone.id))
    with pytest.raises(NotFound):
        now(house.chat.end_device(session, phone.id))
    assert [each.id for each in now(house.chat.devices(session))] == [session.id]


@pytest.mark.parametrize("what", ["ended", "another role", "another name"])
def test_what_becomes_of_a_device_while_it_comes(
    house: House, other: House, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row is read, and is older than what is told before it is used."""
    session, _ = made(house)
    phone, token = now(other.chat.start_member(session.identity, ""))
    other.advance(2 * UNSEEN)
    assert other.sessions.member(session.identity) is None
    read = other.directory.session_by_token
    reading: list[Deferred[Any]] = []

    def slowly(token_hash: bytes) -> Deferred[Any]:
        row = now(read(token_hash))
        reading.append(Deferred())
        return reading[-1].addCallback(lambda _: row)

    monkeypatch.setattr(other.directory, "session_by_token", slowly)
    coming = begun(other.sessions.by_token(token))
    if what == "ended":
        now(other.changes.make(lambda each: table.end_sessions(each, phone.identity), list))
    elif what == "another role":
        now(other.sessions.set_role(session.identity, Role.MODERATOR))
    else:
        keys = name_keys("Zora")
        rename = partial(
            table.rename,
            identity=session.identity,
            name="Zora",
            keys=keys,
            session=session.id,
            token_hash=None,
        )
        now(other.changes.make(rename, lambda told: [told]))
    while len(reading) < 3 and not coming.called:
        reading[-1].callback(None)
    if what == "ended":
        with pytest.raises(InvalidToken):
            now(coming)
        return
    found = now(coming)
    assert (found.name, found.role) == (
        ("alice", Role.MODERATOR) if what == "another role" else ("Zora", Role.MEMBER)
    )


def test_a_guest_has_one_device(house: House) -> None:
    bob = house.log_in("bob")
    house.log_in("carol")
    (only,) = now(house.chat.devices(bob))
    assert (only.id, only.current) == (bob.id, True)
    now(house.chat.end_device(bob, bob.id))
    assert bob.ended
    now(house.sessions.start_guest("bob"))


def test_all_others_end_and_the_token_is_a_new_one(house: House, other: House) -> None:
    session, old = made(house)
    phone, tablet = (device(other, session.identity) for _ in range(2))
    held = Held()
    house.chat.readers.hold(session, held)
    token = now(house.sessions.end_others(session))
    assert (phone.ended, tablet.ended, session.ended) == (True, True, False)
    assert held.told == ["come back"]
    assert now(house.sessions.by_token(token)) is session
    with pytest.raises(InvalidToken):
        now(house.sessions.by_token(old))


def test_who_never_logs_out_is_not_shut_out(
    house: House, other: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MOST_SESSIONS", 3)
    session, _ = made(house)
    devices = []
    for _ in range(2):
        house.advance(60)
        devices.append(device(other, session.identity))
    assert session.id in kept_sessions(house.directory)
    house.advance(60)
    last = device(house, session.identity)
    assert session.ended
    assert [each.id for each in now(house.chat.devices(last))] == [
        each.id for each in (*devices, last)
    ]


# -- roles


def test_a_role_reaches_all_sessions_in_use(house: House, other: House) -> None:
    session, _ = made(house)
    phone = device(other, session.identity)
    other.presence.hold("lobby", phone)
    before = house.rights.generation, other.rights.generation
    now(house.sessions.set_role(session.identity, Role.MODERATOR))
    assert session.role is phone.role is Role.MODERATOR
    assert house.rights.generation > before[0]
    assert other.rights.generation > before[1]
    house.advance(1)
    for door in (house, other):
        assert [each.role for each in door.presence.people("lobby")] == [Role.MODERATOR]
    assert {row.role for row in kept_sessions(house.directory).values()} == {"moderator"}


def test_a_role_of_nobody(house: House) -> None:
    with pytest.raises(InvalidToken):
        now(house.sessions.set_role("0" * 24, Role.ADMIN))


def test_the_last_owner_stays(house: House) -> None:
    ada, _ = made(house, "ada", role=Role.OWNER)
    eve, _ = made(house, "eve", role=Role.MEMBER)
    with pytest.raises(LastOwner):
        now(house.sessions.set_role(ada.identity, Role.ADMIN))
    with pytest.raises(LastOwner):
        now(house.sessions.remove_member(ada.identity))
    assert (ada.role, ada.ended) == (Role.OWNER, False)
    now(house.sessions.set_role(eve.identity, Role.OWNER))
    now(house.sessions.set_role(ada.identity, Role.ADMIN))
    assert ada.role is Role.ADMIN


# -- what is left


def test_an_account_that_is_deleted_is_nobodys(house: House, other: House) -> None:
    session, token = made(house)
    phone = device(other, session.identity)
    say(house, session, "mine")
    bob = house.log_in("bob")
    say(house, bob, "his")
    now(house.sessions.remove_member(session.identity))
    assert session.ended
    assert phone.ended
    with pytest.raises(InvalidToken):
        now(house.sessions.by_token(token))
    with pytest.raises(InvalidToken):
        device(house, session.identity)
    with pytest.raises(NameTaken):
        now(other.sessions.start_guest("alice"))
    (row,) = read(house, members)
    assert (row.name, row.password, row.role) == ("deleted user", None, "guest")
    assert [each.id for each in read(house, sessions)] == [bob.id]


def test_its_name_is_free_after_thirty_days(house: House) -> None:
    session, _ = made(house)
    now(house.sessions.remove_member(session.identity))
    now(house.sessions.remove_member(session.identity))
    (row,) = read(house, members)
    store = house.directory.store
    for before, gone in ((row.deleted_at - 1, 0), (row.deleted_at, 1)):
        assert store.write_now(partial(forget_removed, before)) == gone
    now(house.sessions.start_guest("alice"))


def test_and_nobody_has_to_ask_for_that(house: House) -> None:
    session, _ = made(house)
    made(house, "bob")
    now(house.sessions.remove_member(session.identity))
    house.set_by = 29 * 86400.0
    house.advance(3700)
    assert len(read(house, members)) == 2
    house.set_by = 31 * 86400.0
    house.advance(3700)
    assert [row.name for row in read(house, members)] == ["bob"]
    now(house.sessions.start_guest("alice"))


def test_what_they_said_is_by_nobody_at_once(house: House, other: House) -> None:
    session, _ = made(house)
    say(house, session, "mine")
    bob = house.log_in("bob")
    say(house, bob, "his")
    now(house.sessions.remove_member(session.identity))
    for door in (house, other):
        found = door.feed.after(door.feed.tail.floor, ["/chat/lobby"], 10) or []
        assert [(each.fields["from"], each.fields["text"]) for each in found] == [
            ("deleted user", "mine"),
            ("bob", "his"),
        ]
        assert b"alice" not in b"".join(each.json for each in found)


def test_when_a_member_was_seen_is_known(house: House, other: House) -> None:
    session, _ = made(house)
    phone = device(other, session.identity)
    house.advance(600)
    phone.seen_at = other.reaper.coarse_now()
    seen = int(house.calendar() * 1000)
    house.advance(2 * UNSEEN)
    row = house.changes.read_now(lambda each: account_of(each, session.identity))
    assert row is not None
    # By as much as nodes note that late.
    assert seen - 300_000 <= row.seen_at <= seen + 300_000


def test_who_is_removed_belongs_to_no_room(house: House, other: House) -> None:
    session, _ = made(house)
    now(house.chat.make_room(session, "attic", "", ""))
    assert session.identity in other.room("attic").members
    now(house.sessions.remove_member(session.identity))
    for door in (house, other):
        assert session.identity not in door.room("attic").members


# -- when something goes wrong


def test_a_node_that_is_cut_off_makes_nobody() -> None:
    first, second = Cluster(2).nodes
    session = first.log_in("alice")
    first.cut_off()
    with pytest.raises(StorageUnavailable):
        enrol(first, session)
    with pytest.raises(StorageUnavailable):
        now(first.sessions.make_member(new("bob")))
    first.mend()
    assert len(read(first, members)) == 0
    enrol(first, session)
    assert session.member is not None
    now(second.sessions.start_guest("bob"))


def test_a_change_in_doubt_is_made_again_without_harm() -> None:
    """As when the connection to a server is lost while a commit is under way."""
    house = Cluster(1).nodes[0]
    store, write = house.directory.store, house.directory.store.write_now

    def twice(change: Any) -> Any:
        write(change)
        return write(change)

    store.write_now = twice
    uses: list[int] = []
    session = house.log_in("alice")
    token = now(house.sessions.enrol(session, new("alice"), lambda each: uses.append(1)))
    assert now(house.sessions.by_token(token)) is session
    zora, _ = now(house.sessions.make_member(new("zora"), beside=lambda each: uses.append(2)))
    assert uses == [1, 2]
    phone = device(house, zora.identity)
    assert [each.id for each in now(house.chat.devices(zora))] == [zora.id, phone.id]
    now(house.sessions.set_role(zora.identity, Role.ADMIN))
    now(house.chat.rename(zora, "Yara", ""))
    assert (phone.name, phone.role) == ("Yara", Role.ADMIN)
