"""The matrix of rights: each role, each act, each kind of room; and the table in the documents."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import attrs
import pytest

from cometd_chat.chat.matrix import ANYBODY, MATRIX, NOBODY, Act, Calm, Guests, RoomKind, Terms
from cometd_chat.chat.rights import Rights, identity_of
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import (
    CalmedDown,
    ChatError,
    GuestsOff,
    NoSession,
    NotAllowed,
    NotBelow,
    RoomArchived,
    RoomLocked,
    RoomNotFound,
    Waiting,
)
from tests.support import ROOT

PEOPLE = ROOT / "docs" / "people.md"

#: How levels are written in the documents.
WORDS = {ANYBODY: "anybody", NOBODY: "-", Role.WAITING: "who waits"}

POLICIES = {Act.MAKE_ROOM: " (policy `rooms`)", Act.SEE: " (policy `public_reading`)"}

KINDS = (None, *RoomKind)


@attrs.define
class SomeRoom:
    """A room, as far as rights look at one."""

    kind: RoomKind
    members: Mapping[str, Role]
    locked: bool = False
    archived: bool = False
    gone: bool = False
    name: str = "dev"

    @property
    def plain(self) -> bool:
        return self.kind is RoomKind.PUBLIC and not (self.locked or self.archived)


def session_with(role: Role, number: int = 1) -> Session:
    """Somebody of a role."""
    return Session(
        key=bytes([number]) * 12,
        known_by=b"",
        name="alice",
        name_key="alice",
        name_looks="alice",
        role=role,
        expires_at=0,
        seen_at=0,
        home=None,
    )


def room_of(kind: RoomKind, *members: Session, role: Role = Role.MEMBER) -> SomeRoom:
    """A room of a kind, to which some belong."""
    return SomeRoom(kind, {identity_of(each): role for each in members})


def kind_of(refusal: ChatError | None) -> type[ChatError] | None:
    return None if refusal is None else type(refusal)


def written(level: int) -> str:
    """A level as the documents have it."""
    return WORDS.get(level) or Role(level).word


def table() -> str:
    """The matrix as `docs/people.md` has it."""
    lines = [
        "| may | in the house | in a public room | in a private one | in a direct one |",
        "| --- | --- | --- | --- | --- |",
    ]
    for act, row in MATRIX.items():
        levels = " | ".join(written(each) for each in row.columns)
        lines.append(f"| {act.phrase}{POLICIES.get(act, '')} | {levels} |")
    return "\n".join(lines)


def test_the_documents_have_the_matrix() -> None:
    assert table() in PEOPLE.read_text()


def test_the_matrix_has_each_act() -> None:
    assert list(MATRIX) == list(Act)
    assert [act.index for act in Act] == list(range(len(Act)))
    assert [kind.column for kind in RoomKind] == [1, 2, 3]


@pytest.mark.parametrize("role", Role)
def test_a_role_has_its_word(role: Role) -> None:
    assert Role.of(role.word) is role
    assert Role.of(role.word.upper()) is None


@pytest.mark.parametrize("act", Act)
def test_who_may_is_what_the_matrix_says(act: Act) -> None:
    """Whoever has the role and belongs; less is refused with the role that it takes."""
    for role, kind in product(Role, KINDS):
        session = session_with(role)
        room = None if kind is None else room_of(kind, session)
        least = MATRIX[act].columns[0 if kind is None else kind.column]
        refusal = Rights().may(session, act, room)
        if role >= least:
            assert refusal is None, (role, kind)
        elif role is Role.WAITING and least < NOBODY:
            assert isinstance(refusal, Waiting)
        else:
            assert isinstance(refusal, NotAllowed)
            needed = {} if least == NOBODY else {"needed": Role(least).word}
            assert refusal.extra == needed


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("kind", [RoomKind.PRIVATE, RoomKind.DIRECT])
def test_who_does_not_belong_finds_no_room(act: Act, kind: RoomKind) -> None:
    """Not even the owner; and they are told what is told of a room that isn't there."""
    for role in Role:
        session = session_with(role)
        refusal = Rights().may(session, act, room_of(kind, session_with(role, 2)))
        without = Rights().may(session, act)
        assert kind_of(refusal) is (kind_of(without) or RoomNotFound)


@pytest.mark.parametrize("act", Act)
def test_without_a_session(act: Act) -> None:
    rights = Rights()
    for kind in KINDS:
        level = MATRIX[act].columns[0 if kind is None else kind.column]
        found = kind_of(rights.may(None, act, None if kind is None else room_of(kind)))
        if kind is None or kind is RoomKind.PUBLIC:
            assert found is (None if level == ANYBODY else NoSession)
        else:
            assert found in (NoSession, RoomNotFound)


def test_who_moderates_a_room_is_a_moderator_there() -> None:
    guest = session_with(Role.GUEST)
    own = room_of(RoomKind.PUBLIC, guest, role=Role.MODERATOR)
    rights = Rights()
    assert rights.rank(guest, own) == Role.MODERATOR
    assert rights.may(guest, Act.CHANGE_ROOM, own) is None
    assert rights.may(guest, Act.REMOVE_ROOM, own) is not None
    assert rights.may(guest, Act.CHANGE_ROOM, room_of(RoomKind.PUBLIC)) is not None
    # Whoever only belongs is what they are.
    assert rights.rank(guest, room_of(RoomKind.PRIVATE, guest)) == Role.GUEST


@pytest.mark.parametrize(
    ("calm", "least"),
    [
        (Calm.OFF, Role.GUEST),
        (Calm.SLOW, Role.GUEST),
        (Calm.MEMBERS, Role.MEMBER),
        (Calm.CLOSED, Role.MODERATOR),
    ],
)
def test_calm(calm: Calm, least: Role) -> None:
    rights = Rights()
    rights.set_terms(Terms(calm=calm))
    for role in Role:
        session = session_with(role)
        for kind in RoomKind:
            refusal = rights.may(session, Act.SPEAK, room_of(kind, session))
            if role >= least:
                assert refusal is None
            else:
                assert isinstance(refusal, Waiting if role is Role.WAITING else CalmedDown)
            assert rights.may(session, Act.FOLLOW, room_of(RoomKind.PUBLIC)) is None


def test_calm_says_who_may_speak() -> None:
    rights = Rights()
    rights.set_terms(Terms(calm=Calm.CLOSED))
    refusal = rights.may(session_with(Role.MEMBER), Act.SPEAK, room_of(RoomKind.PUBLIC))
    assert refusal is not None
    assert refusal.extra == {"calm": "closed", "needed": "moderator"}


@pytest.mark.parametrize("rooms", [Role.GUEST, Role.MEMBER, Role.MODERATOR])
def test_who_makes_rooms(rooms: Role) -> None:
    rights = Rights()
    rights.set_terms(Terms(rooms=rooms))
    for role in Role:
        assert (rights.may(session_with(role), Act.MAKE_ROOM) is None) == (role >= rooms)


class TestGuests:
    def test_none_come_and_those_who_are_in_read_as_anybody(self) -> None:
        rights = Rights()
        rights.set_terms(Terms(guests=Guests.OFF))
        assert kind_of(rights.may(None, Act.COME_AS_GUEST)) is GuestsOff
        guest, public = session_with(Role.GUEST), room_of(RoomKind.PUBLIC)
        assert rights.may(guest, Act.SEE, public) is None
        assert rights.may(guest, Act.OWN_ACCOUNT) is None
        for act in set(Act) - {Act.SEE, Act.OWN_ACCOUNT}:
            assert kind_of(rights.may(guest, act, public)) is GuestsOff
        member = session_with(Role.MEMBER)
        assert rights.may(member, Act.SPEAK, public) is None

    def test_nor_does_one_stay_who_moderates_a_room(self) -> None:
        rights = Rights()
        rights.set_terms(Terms(guests=Guests.OFF))
        guest = session_with(Role.GUEST)
        own = room_of(RoomKind.PUBLIC, guest, role=Role.MODERATOR)
        assert kind_of(rights.may(guest, Act.SPEAK, own)) is GuestsOff

    def test_what_a_new_one_is(self) -> None:
        rights = Rights()
        assert [Rights().guest_role] == [Role.GUEST]
        rights.set_terms(Terms(guests=Guests.APPROVE))
        assert [rights.guest_role] == [Role.WAITING]
        assert rights.may(None, Act.COME_AS_GUEST) is None


class TestRooms:
    def test_only_moderators_speak_in_a_locked_one(self) -> None:
        for role in (Role.GUEST, Role.MEMBER, Role.MODERATOR, Role.OWNER):
            room = room_of(RoomKind.PUBLIC)
            room.locked = True
            found = kind_of(Rights().may(session_with(role), Act.SPEAK, room))
            assert found is (None if role >= Role.MODERATOR else RoomLocked)
        guest = session_with(Role.GUEST)
        own = attrs.evolve(room_of(RoomKind.PUBLIC, guest, role=Role.MODERATOR), locked=True)
        assert Rights().may(guest, Act.SPEAK, own) is None

    def test_nobody_speaks_in_an_archived_one(self) -> None:
        owner, room = session_with(Role.OWNER), room_of(RoomKind.PUBLIC)
        room.archived = True
        assert kind_of(Rights().may(owner, Act.SPEAK, room)) is RoomArchived
        assert Rights().may(owner, Act.CHANGE_ROOM, room) is None
        assert Rights().may(owner, Act.FOLLOW, room) is None


class TestAbove:
    @pytest.mark.parametrize(("actor", "whom"), list(product(Role, Role)))
    def test_nobody_touches_who_is_not_below_them(self, actor: Role, whom: Role) -> None:
        rights = Rights()
        if actor > whom:
            rights.require_above(session_with(actor), whom)
            return
        with pytest.raises(NotBelow):
            rights.require_above(session_with(actor), whom)

    def test_in_a_room_its_moderators_count(self) -> None:
        rights = Rights()
        maker, other = session_with(Role.GUEST), session_with(Role.GUEST, 2)
        room = room_of(RoomKind.PUBLIC, maker, role=Role.MODERATOR)
        rights.require_above(maker, Role.MEMBER, identity=identity_of(other), room=room)
        with pytest.raises(NotBelow):
            rights.require_above(
                session_with(Role.MODERATOR, 3),
                Role.GUEST,
                identity=identity_of(maker),
                room=room,
            )
        with pytest.raises(NotBelow):
            rights.require_above(maker, Role.GUEST)


def test_a_rule_is_asked_while_it_is_in_force() -> None:
    class Everywhere:
        in_force = True
        asked = 0

        def concerns(self, session: Session | None, address: str) -> bool:
            return True

        def refusal(
            self, session: Session | None, act: Act, room: object, address: str
        ) -> ChatError | None:
            self.asked += 1
            return NotAllowed("No.") if address == "192.0.2.9" else None

    rights, rule = Rights(), Everywhere()
    told: list[int] = []
    rights.changed.add(lambda affected: told.append(rights.generation))
    rights.bar_by(rule)
    rights.restrict_by(rule)
    guest, room = session_with(Role.GUEST), room_of(RoomKind.PUBLIC)
    assert kind_of(rights.may(guest, Act.FOLLOW, room, "192.0.2.9")) is NotAllowed
    assert rule.asked == 1
    assert rights.may(guest, Act.FOLLOW, room, "192.0.2.8") is None
    assert rule.asked == 3
    rule.in_force = False
    rights.changed_by_state()
    assert rights.may(guest, Act.FOLLOW, room, "192.0.2.9") is None
    assert (rule.asked, told) == (3, [1])
