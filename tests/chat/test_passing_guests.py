"""Guests whose names are theirs only while they hold something: those of other protocols."""

from __future__ import annotations

import pytest

from cometd_chat.chat.rights import Act
from cometd_chat.errors import NameTaken, StorageUnavailable
from cometd_chat.events.event import Event
from tests.chat.cluster import Cluster
from tests.chat.parts import House, now


class Held:
    """Something that a session holds."""

    client = most = None
    address = ""

    def __init__(self) -> None:
        self.closed: list[str] = []

    def close(self, event: Event) -> None:
        self.closed.append(event.type)

    def answer_now(self) -> None: ...

    def tell(self, event: Event) -> None: ...

    def come_back(self, after: float) -> None: ...


def test_the_name_is_free_as_soon_as_nothing_is_held(house: House) -> None:
    session, token = now(house.chat.log_in("alice", "", transient=True))
    held = Held()
    house.chat.readers.hold(session, held)
    with pytest.raises(NameTaken):
        now(house.sessions.start_guest("alice"))
    house.chat.readers.let_go(session, held)
    other, _ = now(house.sessions.start_guest("alice"))
    assert now(house.sessions.by_token(token)).name_key is None
    now(house.sessions.end(other))
    assert now(house.sessions.by_token(token)).name_key == "alice"


def test_nor_is_it_taken_after_a_restart(house: House) -> None:
    now(house.chat.log_in("alice", "", transient=True))
    later = house.make_sessions()
    later.start()
    assert now(later.start_guest("alice"))


def test_a_name_that_is_held_lasts(house: House) -> None:
    session, _ = now(house.chat.log_in("alice", "", transient=True))
    house.chat.readers.hold(session, Held())
    house.advance(2000)
    assert session.name_key == "alice"


def test_what_is_held_ends_with_the_session(house: House) -> None:
    session, held = house.log_in("alice"), Held()
    house.chat.readers.hold(session, held)
    now(house.chat.log_out(session))
    assert held.closed == ["bye"]


@pytest.mark.parametrize("nodes", [0, 1])
def test_who_went_out_of_use_while_a_request_was_answered_is_here_once(nodes: int) -> None:
    house = Cluster(nodes).nodes[0] if nodes else House()
    ear, room = house.listen(), house.room()
    before, token = now(house.chat.log_in("alice", "", transient=True))
    held = Held()
    house.chat.readers.hold(before, held)
    house.presence.hold("lobby", before)
    # What they hold ends, and comes again, while a post of theirs is being stored.
    house.presence.release("lobby", before)
    house.chat.readers.let_go(before, held)
    after = now(house.sessions.by_token(token))
    assert after is not before
    assert after.name_key == "alice"
    house.presence.hold("lobby", after)
    house.chat.arrive(before, room, "")
    house.presence.hold("lobby", before)
    house.presence.release("lobby", before)
    house.advance(60)
    assert [each.identity for each in house.presence.people("lobby")] == [after.identity]
    house.presence.release("lobby", after)
    house.advance(60)
    assert house.presence.people("lobby") == []
    assert ear.take() == ["join alice", "leave alice", "join alice", "leave alice"]


def test_who_went_out_of_use_is_asked_to_come_again() -> None:
    house = Cluster(1).nodes[0]
    session, token = now(house.chat.log_in("alice", ""))
    house.sessions.doubt_all()
    assert not house.sessions.use_again(session)
    with pytest.raises(StorageUnavailable) as caught:
        house.chat.rights.require(session, Act.SPEAK, [house.room()], "")
    assert caught.value.retry_after
    again = now(house.sessions.by_token(token))
    house.chat.rights.require(again, Act.SPEAK, [house.room()], "")
