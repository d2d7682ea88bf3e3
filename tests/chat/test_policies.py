"""Policies: their table, who changes them, what follows; by one process and by several nodes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cometd_chat.chat.matrix import Act, Calm
from cometd_chat.chat.policies import POLICIES, Pin, Policies
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import (
    CalmedDown,
    ChatError,
    GuestsOff,
    InvalidRequest,
    NotAllowed,
    Pinned,
    TooMany,
)
from cometd_chat.log.control import PolicyChanged
from tests.chat.cluster import Cluster
from tests.chat.parts import House, appoint, now

HERE = "192.0.2.7"


def admin(house: House, role: Role = Role.ADMIN) -> Session:
    """Somebody who may change policies."""
    session = house.log_in(f"who-{role.word}s")
    appoint(house.changes, session, role)
    return session


def set_to(house: House, **values: object) -> None:
    now(house.chat.policies.change(admin_of(house), values))


def admin_of(house: House) -> Session:
    for session in house.sessions.all_in_use():
        if session.role is Role.ADMIN:
            return session
    return admin(house)


#: For each policy what it may be, as it is kept then, and what it may not.
VALUES: dict[str, tuple[list[tuple[object, object]], list[object]]] = {
    "title": ([(" The  Circle ", "The Circle")], ["", " ", "x" * 61, 7, None, "a\x00b"]),
    "welcome": ([("", ""), (" Be\r\nkind. ", "Be\nkind.")], ["x" * 1001, 7, None, "\x07"]),
    "guests": ([(each, each) for each in ("open", "approve", "off")], ["OPEN", "", None, 1, []]),
    "registration": ([(each, each) for each in ("open", "invite", "off")], ["approve", None]),
    "rooms": ([(each, each) for each in ("guest", "member", "moderator")], ["admin", None, 3]),
    "public_reading": ([(True, True), (False, False)], [1, "yes", None]),
    "words": ([(["spam"], {"refuse": ["spam"], "hold": []})], ["spam", [7], {"refused": []}]),
    "calm": ([(each.word, each.word) for each in Calm], ["on", True, None, 2]),
}


def test_each_policy_is_tried() -> None:
    assert VALUES.keys() == POLICIES.keys()


def test_nothing_is_different_where_nobody_changed_one(house: House) -> None:
    assert house.chat.policies.values == {
        "title": "Comet Chat",
        "welcome": "",
        "guests": "open",
        "registration": "invite",
        "rooms": "guest",
        "public_reading": True,
        "words": {"refuse": [], "hold": []},
        "calm": "off",
    }


@pytest.mark.parametrize("name", VALUES)
def test_what_one_may_be(house: House, name: str) -> None:
    good, bad = VALUES[name]
    for asked, kept in good:
        set_to(house, **{name: asked})
        assert house.chat.policies.values[name] == kept
    before = dict(house.chat.policies.values)
    for asked in bad:
        with pytest.raises(InvalidRequest) as raised:
            set_to(house, **{name: asked})
        assert raised.value.fields[0].field == name
    assert house.chat.policies.values == before


def test_all_that_is_asked_for_is_changed_or_nothing(house: House) -> None:
    with pytest.raises(InvalidRequest):
        set_to(house, title="Circle", guests="some")
    with pytest.raises(InvalidRequest, match="no such policy"):
        set_to(house, title="Circle", colour="blue")
    assert house.chat.policies.title == "Comet Chat"


def test_a_moderator_calms_and_changes_nothing_else(house: House) -> None:
    moderator = admin(house, Role.MODERATOR)
    now(house.chat.policies.change(moderator, {"calm": "members"}))
    assert house.chat.policies.calm is Calm.MEMBERS
    with pytest.raises(NotAllowed) as raised:
        now(house.chat.policies.change(moderator, {"calm": "off", "title": "Mine"}))
    assert raised.value.extra == {"needed": "admin"}
    assert house.chat.policies.calm is Calm.MEMBERS


def test_they_outlive_a_restart(house: House) -> None:
    set_to(house, title="The Circle", guests="approve", calm="closed")
    rights = Rights()
    again = Policies(house.changes, rights, {}, house.milliseconds)
    again.start()
    assert (again.title, again.calm) == ("The Circle", Calm.CLOSED)
    assert rights.terms == house.rights.terms
    assert [rights.guest_role] == [Role.WAITING]


def test_an_option_pins_one(house: House) -> None:
    set_to(house, guests="off", title="Kept")
    pins = {"guests": Pin("--guests", "approve")}
    policies = Policies(house.changes, house.rights, pins, house.milliseconds)
    policies.start()
    assert (policies.values["guests"], policies.title) == ("approve", "Kept")
    with pytest.raises(Pinned, match="--guests") as raised:
        now(policies.set({"title": "Other", "guests": "open"}, who="", who_name="shell"))
    assert raised.value.extra == {"policy": "guests", "option": "--guests"}
    assert policies.title == "Kept"
    policies.told(PolicyChanged("guests", '"open"'))
    assert policies.values["guests"] == "approve"


@pytest.mark.parametrize("value", ["", "{", '"loud"', "7"])
def test_what_another_release_keeps_changes_nothing(house: House, value: str) -> None:
    house.chat.policies.told(PolicyChanged("calm", value))
    house.chat.policies.told(PolicyChanged("colour", '"blue"'))
    assert house.chat.policies.calm is Calm.OFF


def test_who_changed_what_is_in_the_audit_log(house: House) -> None:
    set_to(house, calm="slow", title="T")
    set_to(house, calm="slow")

    def read(connection: Any) -> list[tuple[str, str, str]]:
        rows = connection.exec_driver_sql("SELECT what, whom, reason FROM audit ORDER BY id")
        return [tuple(row) for row in rows]

    assert house.changes.read_now(read) == [
        ("calm", "calm", "slow"),
        ("policy", "title", "T"),
    ]


def test_the_public_may_be_shut_out(house: House) -> None:
    room = house.room()
    assert house.rights.may(None, Act.SEE, room) is None
    set_to(house, public_reading=False)
    assert house.rights.may(None, Act.SEE, room) is not None


def refused(house: House, session: Session) -> type[ChatError] | None:
    """By what saying something is refused."""
    try:
        now(house.chat.messages.say(session, house.room(), "hi", address=HERE))
    except ChatError as error:
        return type(error)
    return None


def test_calm_on_all_nodes_at_once() -> None:
    first, second = Cluster(2).nodes
    bob = second.log_in("bob")
    assert refused(second, bob) is None
    set_to(first, calm="members")
    assert refused(second, bob) is CalmedDown
    set_to(first, calm="off")
    assert refused(second, bob) is None


def test_under_off_no_guest_comes(house: House) -> None:
    set_to(house, guests="off")
    with pytest.raises(GuestsOff):
        house.log_in("bob")


@pytest.mark.parametrize("calm", ["members", "closed"])
def test_while_no_guest_speaks_few_come_from_one_address(calm: str) -> None:
    """Raiders who are refused come back under another name, as fast as they may."""
    house, numbers = House(limits=True), itertools.count()
    admin(house)
    set_to(house, calm=calm)

    def come(count: int, address: str = HERE) -> int:
        """How many of so many are let in."""
        names = (f"raider {next(numbers)}" for _ in range(count))
        return sum(comes(house, name, address) for name in names)

    assert come(20) == 5
    assert come(5, "192.0.2.8") == 5
    house.advance(10)
    assert come(20) == 1
    set_to(house, calm="slow")
    assert come(10) == 10


def comes(house: House, name: str, address: str) -> bool:
    try:
        now(house.chat.log_in(name, address))
    except TooMany:
        return False
    return True
