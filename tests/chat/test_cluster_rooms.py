"""Rooms on several nodes: there as the log says, one of a name and of a look, and gone only where
nobody uses them."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogEvent, capturedLogs

from cometd_chat.chat.cluster_rooms import READ_AGAIN_AFTER
from cometd_chat.chat.limits import MADE
from cometd_chat.chat.rooms import LOOK_EVERY, Room
from cometd_chat.chat.vacancies import EMPTY_FOR
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import RoomExists, RoomNotFound, StorageUnavailable
from cometd_chat.log.directory import RoomRow
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import begun, now
from tests.directories import replace_room

HERE = "192.0.2.7"


@pytest.fixture
def nodes(failures: list[LogEvent]) -> tuple[Node, Node]:
    first, second = Cluster(2).nodes
    return first, second


def make(node: Node, name: str, who: str = "alice") -> Room:
    """A new room."""
    return now(node.chat.make_room(node.log_in(who), name, "", HERE))


def names(node: Node) -> list[str]:
    return [room.name for room in node.rooms.all()]


def test_a_room_that_one_node_makes_is_there_on_the_other(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    make(first, "attic")
    room = second.room("attic")
    assert second.engine.context("/chat/attic") is room.context
    ear = second.listen("attic")
    now(first.chat.messages.say(first.log_in("bob"), first.room("attic"), "hi", address=HERE))
    assert ear.take() == ["message bob"]


def test_who_comes_early_waits_for_the_log(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    second.log.delay()
    make(first, "attic")
    with pytest.raises(RoomNotFound):
        second.rooms.find("attic", None)
    finding = begun(second.chat.room("attic", None))
    assert not finding.called
    second.log.hurry()
    assert now(finding).name == "attic"
    with pytest.raises(RoomNotFound):
        now(second.chat.room("never-there", None))


def test_what_cannot_be_known_is_not_said_to_be_missing(nodes: tuple[Node, Node]) -> None:
    _, second = nodes
    second.log.cut = StorageUnavailable("Out of reach.")
    with pytest.raises(StorageUnavailable):
        now(second.chat.room("attic", None))
    assert now(second.chat.room("lobby", None)).name == "lobby"


def test_of_two_who_make_a_room_on_two_nodes_one_is_refused(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    alice, bob = first.log_in("alice"), second.log_in("bob")
    second.log.delay()
    now(first.chat.make_room(alice, "attic", "", HERE))
    with pytest.raises(RoomExists):
        now(second.chat.make_room(bob, "attic", "", HERE))
    assert not second.limits.held[MADE]
    second.log.hurry()
    assert names(first) == names(second) == ["lobby", "attic", "dev"]
    assert second.room("attic").row.created_by == alice.id


def test_of_two_that_look_alike_the_later_one_is_refused(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    alice, bob = first.log_in("alice"), second.log_in("bob")
    second.log.delay()
    now(first.chat.make_room(alice, "scope", "", HERE))
    making = begun(second.chat.make_room(bob, "ѕсоре", "", HERE))
    second.log.hurry()
    with pytest.raises(RoomExists, match="There is a room scope already, and ѕсоре looks the same"):
        now(making)
    assert names(first) == names(second) == ["lobby", "dev", "scope"]
    assert not second.limits.held[MADE]


def test_a_room_for_nothing_goes_from_all_nodes_once(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    make(first, "attic")
    there = second.room("attic")
    first.advance(EMPTY_FOR + 2 * LOOK_EVERY)
    assert names(first) == names(second) == ["lobby", "dev"]
    assert there.gone
    assert not first.limits.held[MADE], "whoever let it go"
    assert second.engine.context("/chat/attic") is None


def test_a_room_goes_whose_maker_has_gone(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    # It looks after its room no more.
    first.rooms.made = Listeners("nobody")  # type: ignore[misc]
    make(first, "attic")
    second.advance(EMPTY_FOR + 2 * LOOK_EVERY)
    assert names(second) == ["lobby", "dev"]


def test_a_room_that_somebody_reads_on_another_node_stays(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    make(first, "attic")
    second.listen("attic")
    first.advance(EMPTY_FOR + 2 * LOOK_EVERY)
    assert names(first) == names(second) == ["lobby", "attic", "dev"]


def test_a_room_that_somebody_is_in_on_another_node_stays(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    make(first, "attic")
    second.presence.hold("attic", second.log_in("bob"))
    first.advance(EMPTY_FOR + 2 * LOOK_EVERY)
    assert names(first) == names(second) == ["lobby", "attic", "dev"]


def test_what_was_said_as_a_room_went_has_its_room(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    make(first, "attic")
    bob, room = second.log_in("bob"), second.room("attic")
    second.log.delay()
    assert now(first.rooms.remove_silent(first.room("attic")))
    assert names(first) == ["lobby", "dev"]
    saying = begun(second.chat.messages.say(bob, room, "is anybody here?", address=HERE))
    assert names(first) == ["lobby", "attic", "dev"]
    second.log.hurry()
    assert now(saying)[0].fields["text"] == "is anybody here?"
    assert names(second) == ["lobby", "attic", "dev"]
    assert second.room("attic").row == first.room("attic").row == room.row
    found, _ = now(
        first.chat.messages.history(first.room("attic"), None, before=None, after=None, limit=9)
    )
    assert [each.fields["text"] for each in found] == ["is anybody here?"]


def test_a_room_that_goes_and_comes_again_is_another_object(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    alice = first.log_in("alice")
    now(first.chat.make_room(alice, "attic", "", HERE))
    before = second.room("attic")
    assert now(first.rooms.remove_silent(first.room("attic")))
    assert before.gone
    now(first.chat.make_room(alice, "attic", "", HERE))
    assert second.room("attic") is not before
    assert not second.room("attic").gone


def test_both_let_go_of_a_room_at_once(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    make(first, "attic")
    gone: list[Room] = []
    second.rooms.removed.add(gone.append)
    second.log.delay()
    assert now(first.rooms.remove_silent(first.room("attic")))
    letting_go = begun(second.rooms.remove_silent(second.room("attic")))
    second.log.hurry()
    assert not now(letting_go)
    assert [room.name for room in gone] == ["attic"]
    assert names(first) == names(second) == ["lobby", "dev"]


def test_a_room_stays_where_it_cannot_be_let_go(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    make(first, "attic")
    now(first.chat.messages.say(first.log_in("bob"), first.room("attic"), "hi", address=HERE))
    second.log.cut = StorageUnavailable("Out of reach.")
    with pytest.raises(StorageUnavailable):
        now(second.rooms.remove_silent(second.room("attic")))
    second.log.mend()
    assert names(second) == ["lobby", "attic", "dev"]


class TestPutBack:
    """What is kept is that of an hour ago, say."""

    def test_rooms_are_those_that_are_kept(self, nodes: tuple[Node, Node]) -> None:
        first, second = nodes
        make(first, "attic")
        gone = second.room("attic")
        kept = second.room("dev")
        # A backup without the attic, in which there was a cellar yet.
        cellar = RoomRow("cellar", "", "somebody", 7)
        replace_room(first.cluster.directory, "attic", cellar)
        for node in nodes:
            node.chat.put_back()
            assert names(node) == ["lobby", "cellar", "dev"]
        assert gone.gone
        assert second.room("dev") is kept, "who reads there goes on"
        assert second.engine.context("/chat/attic") is None
        make(second, "attic", "bob")
        assert names(first) == ["lobby", "attic", "cellar", "dev"]

    def test_what_the_log_tells_meanwhile_holds(
        self, nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = nodes
        make(first, "attic")
        reading: Deferred[list[RoomRow]] = Deferred()
        before = second.directory.rooms()
        monkeypatch.setattr(second.directory, "rooms_again", lambda: reading)
        second.chat.put_back()
        make(first, "cellar", "bob")
        assert now(first.rooms.remove_silent(first.room("attic")))
        reading.callback(before)
        assert names(second) == ["lobby", "cellar", "dev"]

    def test_it_is_tried_until_they_can_be_read(
        self,
        nodes: tuple[Node, Node],
        monkeypatch: pytest.MonkeyPatch,
        failures: list[LogEvent],
    ) -> None:
        first, _ = nodes
        cellar = RoomRow("cellar", "", "somebody", 7)
        replace_room(first.cluster.directory, None, cellar)
        read = first.directory.rooms_again
        refusal = StorageUnavailable("Not now.")
        monkeypatch.setattr(first.directory, "rooms_again", lambda: fail(refusal))
        with capturedLogs() as logged:
            first.chat.put_back()
        assert [event["reason"] for event in logged] == [refusal]
        failures.extend(logged)
        monkeypatch.setattr(first.directory, "rooms_again", read)
        first.advance(READ_AGAIN_AFTER + 1)
        assert "cellar" in names(first)
