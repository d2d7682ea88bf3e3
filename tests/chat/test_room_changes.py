"""Rooms that change, on several nodes: who belongs, what a room is, and what is removed; and what
many of them cost."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.logger import LogEvent, capturedLogs

from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.roles import Role
from cometd_chat.chat.room_changes import LATE
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import RoomExists, RoomNotFound, StorageUnavailable, TooMany
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import House, appoint, begun, now
from tests.growth import calls

HERE = "192.0.2.7"


@pytest.fixture
def nodes(failures: list[LogEvent]) -> tuple[Node, Node]:
    first, second = Cluster(2).nodes
    return first, second


def den(house: House, maker: Session, kind: RoomKind = RoomKind.PRIVATE) -> Room:
    """A private room."""
    return now(house.chat.make_room(maker, "den", "", HERE, kind))


def names(house: House, asker: Session | None) -> list[str]:
    return [room.name for room in house.rooms.page(None, 100, asker)[0]]


def test_a_private_room_is_private_on_all_nodes(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    alice, bob = first.log_in("alice"), second.log_in("bob")
    room = den(first, alice)
    assert names(second, bob) == ["lobby", "dev"]
    with pytest.raises(RoomNotFound):
        second.rooms.find("den", bob)
    now(first.chat.room_changes.put_member(alice, room, "bob", None, HERE))
    assert names(second, bob) == ["lobby", "den", "dev"]
    there = second.rooms.find("den", bob)
    assert there.members == room.members
    now(first.chat.room_changes.drop_member(alice, room, "bob", HERE))
    assert names(second, bob) == ["lobby", "dev"]
    now(first.chat.room_changes.change(alice, room, {"kind": "public", "locked": True}, HERE))
    assert (there.kind, there.locked, there.plain) == (RoomKind.PUBLIC, True, False)
    assert names(second, None) == ["lobby", "den", "dev"]


def test_two_who_change_it_at_once_have_both_changed_it(nodes: tuple[Node, Node]) -> None:
    """On a node that has not heard of the other's change yet."""
    first, second = nodes
    alice = first.log_in("alice")
    room = den(first, alice, RoomKind.PUBLIC)
    moderator, there = second.log_in("mo"), second.room("den")
    appoint(second.changes, moderator, Role.MODERATOR)
    second.log.delay()
    now(first.chat.room_changes.change(alice, room, {"topic": "dens"}, HERE))
    changing = begun(second.chat.room_changes.change(moderator, there, {"slow": 9}, HERE))
    second.log.hurry()
    now(changing)
    for each in (room, there):
        assert (each.topic, each.slow) == ("dens", 9)


def test_a_node_that_comes_later_knows_who_belongs(nodes: tuple[Node, Node]) -> None:
    first, _ = nodes
    alice = first.log_in("alice")
    room = den(first, alice)
    now(first.chat.room_changes.change(alice, room, {"topic": "dens", "slow": 7}, HERE))
    third = first.cluster.add()
    found = third.rooms.named("den")
    assert found is not None
    assert (found.kind, found.topic, found.slow) == (RoomKind.PRIVATE, "dens", 7)
    assert found.members == room.members == {alice.identity: Role.MODERATOR}


def test_a_removed_room_is_gone_from_all_nodes(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    admin, bob = first.log_in("an-ad"), second.log_in("bob")
    appoint(first.changes, admin, Role.ADMIN)
    room = den(first, admin, RoomKind.PUBLIC)
    now(second.chat.messages.say(bob, second.room("den"), "a-secret", address=HERE))
    now(first.chat.room_changes.remove(admin, room, HERE))
    for node in nodes:
        with pytest.raises(RoomNotFound):
            node.rooms.find("den", bob)
        assert [each.fields for each in node.feed.after(node.feed.tail.floor, None, 9) or ()] == []
    assert "a-secret" not in str(first.cluster.log._kept.records)
    with pytest.raises(RoomExists):
        den(second, bob)
    first.advance(LATE + 1)
    again = den(second, bob)
    assert again.members == {bob.identity: Role.MODERATOR}
    assert (
        list(now(second.chat.messages.history(again, bob, before=None, after=None, limit=9))[0])
        == []
    )


def test_what_was_being_removed_goes_on_after_a_restart(house: House) -> None:
    """A kill between the two steps leaves the name to nobody, and nothing that was said."""
    admin = house.log_in("an-ad")
    appoint(house.changes, admin, Role.ADMIN)
    room = den(house, admin)
    now(house.chat.messages.say(admin, room, "a-secret", address=HERE))

    def fail(*args: object) -> Any:
        raise RuntimeError("killed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house.log, "clear", fail)
        with pytest.raises(RuntimeError):
            now(house.chat.room_changes.remove(admin, room, HERE))
    later = House(directory=house.directory, log=house.log, clock=house.clock)
    assert later.rooms.named("den") is None
    assert "a-secret" not in str(house.log._kept.records)
    somebody = later.sessions.all_in_use()[0]
    with pytest.raises(RoomExists):
        den(later, somebody)
    later.advance(LATE + 1)
    assert den(later, somebody).name == "den"


def test_what_is_said_in_a_new_room_of_the_name_stays(nodes: tuple[Node, Node]) -> None:
    """A node that begins meanwhile goes on with a removal that another one is at: neither takes
    what is said once the name is free."""
    first, second = nodes
    admin, bob = first.log_in("an-ad"), second.log_in("bob")
    appoint(first.changes, admin, Role.ADMIN)
    room = den(first, admin, RoomKind.PUBLIC)
    now(first.chat.room_changes.remove(admin, room, HERE))
    first.advance(LATE / 2)
    third = first.cluster.add()
    with pytest.raises(RoomExists):
        den(third, third.log_in("carol"))
    first.advance(LATE / 2 + 1)
    again = den(second, bob)
    now(second.chat.messages.say(bob, again, "a-word", address=HERE))
    first.advance(2 * LATE)
    assert "a-word" in str(first.cluster.log._kept.records)


def test_who_is_late_with_a_removal_takes_nothing_of_a_new_room(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    admin, bob = first.log_in("an-ad"), second.log_in("bob")
    appoint(first.changes, admin, Role.ADMIN)
    now(first.chat.room_changes.remove(admin, den(first, admin, RoomKind.PUBLIC), HERE))
    first.alive = False
    third = first.cluster.add()
    third.advance(LATE + 1)
    again = den(second, bob)
    now(second.chat.messages.say(bob, again, "a-word", address=HERE))
    # As one does that was frozen for a while.
    first.alive = True
    first.clock.advance(LATE + 1)
    assert "a-word" in str(first.cluster.log._kept.records)


def test_a_room_of_ten_thousand_costs_what_one_of_ten_does(house: House) -> None:
    alice = house.log_in("alice")
    room = den(house, alice)
    asked: list[int] = []
    for many in (10, 10_000):
        for number in range(len(room.members), many):
            room.members[f"{number:024x}"] = Role.MEMBER
            house.rooms._list_for(room, f"{number:024x}")  # type: ignore[attr-defined]
        asked.append(calls(lambda: house.rooms.find("den", alice)))
        asked.append(calls(lambda: house.rooms.page(None, 10, alice)))
    assert asked[:2] == asked[2:]


def test_who_belongs_to_a_thousand_rooms_lists_a_page_of_them(house: House) -> None:
    alice, bob = house.log_in("alice"), house.log_in("bob")
    for number in range(1000):
        row = house.rooms.plan(f"den{number:04}", "", alice, RoomKind.PRIVATE)
        now(house.rooms.make(row, {alice.identity: Role.MODERATOR}))
    # A page of ten looks at its ten, and sorts the names of one's own: by no call of ours.
    assert calls(lambda: house.rooms.page(None, 10, bob)) < 60
    assert calls(lambda: house.rooms.page("den0500", 10, alice)) < 1200
    assert house.rooms.count(alice) == 1002
    assert house.rooms.count(bob) == 2


def test_a_new_topic_is_kept_and_told_on_all_nodes(nodes: tuple[Node, Node]) -> None:
    first = nodes[0]
    alice = first.log_in("alice")
    room = den(first, alice, RoomKind.PUBLIC)
    ears = [node.listen("den") for node in nodes]
    now(first.chat.room_changes.change(alice, room, {"topic": "dens"}, HERE))
    now(first.chat.room_changes.change(alice, room, {"topic": "dens"}, HERE))
    now(first.chat.room_changes.change(alice, room, {"topic": "dens", "locked": True}, HERE))
    for node, ear in zip(nodes, ears, strict=True):
        assert [each.fields["type"] for each in ear.events] == ["room", "topic", "room"]
        as_told = [each.fields for each in ear.events]
        assert [each.get("changed") for each in as_told] == [["topic"], None, ["locked"]]
        assert (as_told[2]["topic"], as_told[2]["locked"]) == ("dens", True)
        found, _ = now(node.chat.messages.history(room, None, before=None, after=None, limit=9))
        assert [(each.type, each.fields["topic"]) for each in found] == [("topic", "dens")]
        assert found[0].fields["from"] == "alice"
        assert node.feed.newest.get(room.context.path, 0) == 0


def test_a_topic_that_the_log_does_not_keep_is_the_rooms_all_the_same() -> None:
    house = House()
    alice = house.log_in("alice")
    room = den(house, alice, RoomKind.PUBLIC)
    house.log.failure = StorageUnavailable("The disk is full.", retry_after=2)
    with capturedLogs() as logged:
        now(house.chat.room_changes.change(alice, room, {"topic": "dens"}, HERE))
    assert room.topic == "dens"
    (warning,) = [each for each in logged if "not in its history" in str(each["log_format"])]
    assert warning["room"] == "den"


def test_whoever_changes_topics_all_the_time_is_bounded(failures: list[LogEvent]) -> None:
    house = House(limits=True)
    alice = house.log_in("alice")
    room = den(house, alice, RoomKind.PUBLIC)
    change = house.chat.room_changes.change

    def change_often() -> None:
        for number in range(1000):
            now(change(alice, room, {"topic": f"t{number}"}, HERE))

    with pytest.raises(TooMany):
        change_often()
    # So is what else a room is: each change counts as a message.
    with pytest.raises(TooMany):
        now(change(alice, room, {"topic": room.topic, "slow": 7}, HERE))
    house.advance(2)
    now(change(alice, room, {"topic": room.topic, "slow": 7}, HERE))


def test_all_who_read_are_told_on_all_nodes_how_calm_it_is(nodes: tuple[Node, Node]) -> None:
    first = nodes[0]
    ears = [node.listen(room) for node in nodes for room in ("lobby", "dev")]
    moderator = first.log_in("mo")
    appoint(first.changes, moderator, Role.MODERATOR)
    for word in ("members", "members", "off"):
        now(first.chat.policies.change(moderator, {"calm": word}))
    for ear, room in zip(ears, ("lobby", "dev") * 2, strict=True):
        told = [each.fields for each in ear.events if each.type == "calm"]
        assert told == [{"type": "calm", "room": room, "calm": each} for each in ("members", "off")]
