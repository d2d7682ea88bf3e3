"""What somebody may do: the table of today's rules, and what a rule for single rooms adds."""

from __future__ import annotations

import pytest

from cometd_chat.chat.matrix import MATRIX
from cometd_chat.chat.refusals import no_such_room
from cometd_chat.chat.rights import Act, AnyRoom, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import (
    ChatError,
    InvalidToken,
    NameTaken,
    NoSession,
    NotAllowed,
    RoomExists,
    RoomNotFound,
    ShuttingDown,
)
from tests.chat.parts import House, now

ACTS = tuple(Act)
LASTING = {Act.FOLLOW, Act.SPEAK, Act.ENTER, Act.COME_AS_GUEST}


def answers(rights: Rights, session: Session | None) -> dict[Act, type[ChatError] | None]:
    """What is answered to each wish."""
    found = {act: rights.may(session, act) for act in ACTS}
    return {act: None if refusal is None else type(refusal) for act, refusal in found.items()}


class TestToday:
    def test_somebody_without_a_session_only_reads(self) -> None:
        assert answers(Rights(), None) == {
            **dict.fromkeys(ACTS, NoSession),
            **dict.fromkeys((Act.SEE, Act.FOLLOW, Act.ENTER, Act.COME_AS_GUEST)),
        }

    def test_nor_that_where_reading_is_not_public(self) -> None:
        found = answers(Rights(public_reading=False), None)
        assert found == {
            **dict.fromkeys(ACTS, NoSession),
            Act.ENTER: None,
            Act.COME_AS_GUEST: None,
        }

    @pytest.mark.parametrize("public_reading", [True, False])
    def test_a_guest_may_do_what_the_matrix_says(self, house: House, public_reading: bool) -> None:
        alice = house.log_in("alice")
        rights = Rights(public_reading=public_reading)
        assert answers(rights, alice) == {
            act: None if MATRIX[act].server <= Role.GUEST else NotAllowed for act in ACTS
        }

    def test_whose_name_is_taken_may_look(self, house: House) -> None:
        assert answers(house.rights, house.lose_name("alice")) == {
            **dict.fromkeys(ACTS, NameTaken),
            Act.SEE: None,
        }

    def test_whose_session_has_ended_may_look_as_anybody(self, house: House) -> None:
        alice = house.log_in("alice")
        now(house.chat.log_out(alice))
        assert answers(house.rights, alice) == {
            **dict.fromkeys(ACTS, InvalidToken),
            Act.SEE: None,
        }

    def test_nothing_that_lasts_begins_once_the_daemon_stops(self, house: House) -> None:
        alice = house.log_in("alice")
        house.chat.stop()
        assert answers(house.rights, alice) == {
            act: ShuttingDown if act in LASTING else refused
            for act, refused in answers(Rights(), alice).items()
        }

    def test_a_room_that_is_gone(self, house: House) -> None:
        room = house.room("dev")
        room.gone = True
        refusal = house.rights.may(None, Act.FOLLOW, room)
        assert isinstance(refusal, RoomNotFound)
        assert "is gone" in refusal.detail


def test_a_token_that_was_replaced_is_good_no_longer(house: House) -> None:
    alice = house.log_in("alice")
    grant = house.rights.grant(alice, [house.room()])
    house.rights.require_still(grant, Act.FOLLOW)
    now(house.chat.rename(alice, "carol", "192.0.2.7"))
    assert not house.rights.is_current(grant)
    with pytest.raises(InvalidToken, match="replaced"):
        house.rights.require_still(grant, Act.FOLLOW)


def members_only(session: Session | None, act: Act, room: AnyRoom) -> bool:
    """The room ``dev`` is alice's alone; bob reads the lobby, and does not speak there."""
    name = "" if session is None else session.name
    return name == "alice" if room.name == "dev" else not (name == "bob" and act is Act.SPEAK)


class TestRule:
    @pytest.fixture
    def private(self, house: House) -> House:
        house.rights.change(members_only)
        return house

    def test_a_hidden_room_is_as_if_it_were_not_there(self, private: House) -> None:
        told = []
        for name in ("dev", "nowhere"):
            with pytest.raises(RoomNotFound) as raised:
                private.rooms.find(name, private.log_in(f"bob{name}"))
            told.append((raised.value.detail, raised.value.hint))
        assert told[0] == told[1] == (no_such_room().detail, no_such_room().hint)
        assert private.rooms.find("dev", private.log_in("alice")).name == "dev"

    def test_nor_is_it_in_lists(self, private: House) -> None:
        alice, bob = private.log_in("alice"), private.log_in("bob")
        for asker, names in ((alice, ["lobby", "dev"]), (bob, ["lobby"]), (None, ["lobby"])):
            found, more = private.rooms.page(None, 10, asker)
            assert [room.name for room in found] == names
            assert not more
            assert private.rooms.count(asker) == len(names)
        assert private.rooms.page(None, 1, bob)[1] is False
        assert [room.name for room in private.rooms.all()] == ["lobby", "dev"]

    def test_one_that_may_be_seen_and_not_spoken_in(self, private: House) -> None:
        bob = private.log_in("bob")
        room = private.rooms.find("lobby", bob)
        with pytest.raises(NotAllowed, match="speak in the room lobby"):
            now(private.chat.messages.say(bob, room, "hi", address=""))
        assert private.log.last_id == 0

    def test_nobody_goes_round_it_by_a_room_that_was_found_before(self, house: House) -> None:
        bob, room = house.log_in("bob"), house.room("dev")
        house.rights.change(members_only)
        with pytest.raises(RoomNotFound):
            now(house.chat.messages.say(bob, room, "hi", address=""))
        with pytest.raises(RoomNotFound):
            house.chat.type(bob, room, "")

    def test_its_name_can_not_be_had_and_is_not_told(self, private: House) -> None:
        """That much a stranger can find out: names are unique."""
        bob = private.log_in("bob")
        with pytest.raises(RoomExists, match="can't be had") as raised:
            private.rooms.plan("DEV", "", bob)
        assert "There is a room" not in raised.value.detail

    def test_once_it_stops_nothing_granted_is_current(self, house: House) -> None:
        """So a poll that stands, of which nothing else is asked, is refused like any other."""
        grant = house.rights.grant(None, [house.room()])
        assert house.rights.is_current(grant)
        house.rights.stopping = True
        assert not house.rights.is_current(grant)

    def test_a_change_raises_the_generation_and_is_told(self, house: House) -> None:
        told: list[int] = []
        house.rights.changed.add(lambda affected: told.append(house.rights.generation))
        grant = house.rights.grant(None, [house.room()])
        house.rights.change(members_only)
        house.rights.change(members_only)
        assert told == [1, 2]
        assert not house.rights.is_current(grant)
