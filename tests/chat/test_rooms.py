"""Rooms: each is a context of the engine, has one name, and is there after a restart."""

from __future__ import annotations

import pytest
from twisted.logger import LogEvent

from cometd_chat.chat import local_rooms
from cometd_chat.chat.rooms import MAX_TOPIC, Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import InvalidRequest, RoomExists, RoomNotFound, TooMany
from cometd_chat.log.directory import RoomRow
from cometd_chat.log.memory_directory import MemoryDirectory
from tests.chat.cluster import Cluster
from tests.chat.parts import House, begun, now
from tests.growth import growth


@pytest.fixture(params=["one process", "one of several nodes"])
def house(failures: list[LogEvent], request: pytest.FixtureRequest) -> House:
    """What one process and one of several nodes have in common."""
    return House() if request.param == "one process" else Cluster(1).nodes[0]


def maker(house: House) -> Session:
    """Somebody new, who makes rooms."""
    return house.log_in(f"maker{len(house.sessions)}")


async def make(house: House, name: str, topic: str = "") -> Room:
    return await house.rooms.make(house.rooms.plan(name, topic, maker(house)))


def test_a_room_is_a_context(house: House) -> None:
    room = now(make(house, " Dev-2 ", "  what   we\tbuild "))
    assert (room.name, room.topic) == ("dev-2", "what we build")
    assert house.engine.context("/chat/dev-2") is room.context
    assert room.context.expiration_delay


def test_rooms_are_in_order(house: House) -> None:
    for name in ("zoo", "attic"):
        now(make(house, name))
    assert [room.name for room in house.rooms.all()] == ["lobby", "attic", "dev", "zoo"]


def test_rooms_by_the_page(house: House) -> None:
    for name in ("zoo", "attic", "m"):
        now(make(house, name))

    def page(after: str | None, limit: int) -> tuple[list[str], bool]:
        found, more = house.rooms.page(after, limit, None)
        return [room.name for room in found], more

    assert page(None, 1) == (["lobby"], True)
    assert page(None, 2) == (["lobby", "attic"], True)
    assert page(None, 5) == (["lobby", "attic", "dev", "m", "zoo"], False)
    assert page("lobby", 2) == (["attic", "dev"], True)
    assert page("dev", 2) == (["m", "zoo"], False)
    assert page("never-there", 9) == (["zoo"], False)
    assert page("zoo", 9) == ([], False)


def test_a_page_costs_the_same_of_however_many(failures: list[LogEvent]) -> None:
    few, many = (
        House(directory=MemoryDirectory([RoomRow(f"r{n:05}", "", "", 0) for n in range(count)]))
        for count in (300, 6_000)
    )

    def ask(house: House) -> None:
        for number in range(200):
            house.rooms.page(f"r{number:05}", 50, None)

    assert growth(lambda: ask(few), lambda: ask(many)) < 3


def test_there_are_only_so_many(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_rooms, "MOST_ROOMS", len(house.rooms.all()) + 1)
    now(make(house, "last"))
    with pytest.raises(TooMany, match="as many as there can be"):
        house.rooms.plan("one-more", "", maker(house))


@pytest.mark.parametrize("typed", ["lobby", "LOBBY", " lobby ", "ｌｏｂｂｙ"])
def test_a_room_is_found_as_it_is_typed(house: House, typed: str) -> None:
    assert house.rooms.find(typed, None).name == "lobby"


@pytest.mark.parametrize("typed", ["", "attic", "lob by", "lobby.txt", "..", "\ud800", "r" * 70])
def test_a_room_that_is_not_there(house: House, typed: str) -> None:
    with pytest.raises(RoomNotFound):
        house.rooms.find(typed, None)


@pytest.mark.parametrize("name", ["lobby", "LOBBY", "Dev"])
def test_a_room_that_is_there(house: House, name: str) -> None:
    with pytest.raises(RoomExists):
        now(make(house, name))


def test_two_who_make_a_room_at_once(house: House) -> None:
    first, second = (begun(make(house, "attic")) for _ in range(2))
    assert now(first).name == "attic"
    with pytest.raises(RoomExists):
        now(second)


@pytest.mark.parametrize("topic", ["a" * 201, "bell\x07", "a\u202eb", "a\u200bb"])
def test_a_topic_that_is_none(house: House, topic: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        now(make(house, "attic", topic))
    assert [field.field for field in raised.value.fields] == ["topic"]
    assert len(house.rooms.all()) == 2


def test_the_longest_topic(house: House) -> None:
    assert len(now(make(house, "attic", "a" * MAX_TOPIC)).topic) == 200


def test_a_restart_keeps_rooms(house: House) -> None:
    now(make(house, "attic", "what is kept"))
    again = House(directory=house.directory)
    assert again.rooms.find("attic", None).topic == "what is kept"
    assert again.engine.context("/chat/attic") is not None
