"""Changes that all nodes must know of: by one process, and by many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection, insert, select, update

from cometd_chat.errors import NameTaken, StorageUnavailable
from cometd_chat.log.changes import PEOPLE, Changes
from cometd_chat.log.control import Control, NameFreed
from cometd_chat.log.directory import RoomRow
from cometd_chat.log.tables import compatibility, policies
from tests.chat.cluster import Cluster
from tests.chat.parts import House, now


def put(connection: Connection, value: str) -> str:
    connection.execute(insert(policies), {"name": "title", "value": value})
    return value


def refuse(connection: Connection) -> str:
    put(connection, "nobody's")
    raise NameTaken("No.")


def titles(connection: Connection) -> list[str]:
    return list(connection.execute(select(policies.c.value)).scalars())


def told(value: str) -> Sequence[Control]:
    return [NameFreed(value)]


def make(changes: Changes, value: str = "Home") -> str:
    return now(changes.make(lambda connection: put(connection, value), told))


def listen(house: House) -> list[Control]:
    heard: list[Control] = []
    house.feed.control.add(heard.append)
    return heard


def test_a_change_is_made_and_told_before_it_is_answered() -> None:
    house = House()
    heard = listen(house)
    assert make(house.changes) == "Home"
    assert heard == [NameFreed("Home")]
    assert now(house.changes.read(titles)) == house.changes.read_now(titles) == ["Home"]


def test_what_is_refused_is_neither_made_nor_told() -> None:
    for house in (House(), Cluster(1).nodes[0]):
        heard = listen(house)
        with pytest.raises(NameTaken):
            now(house.changes.make(refuse, told))
        assert house.changes.read_now(titles) == []
        assert heard == []


def test_all_nodes_are_told_in_one_order_and_the_one_that_asked_before_it_answers() -> None:
    first, second, third = Cluster(3).nodes
    heard = [listen(each) for each in (first, second, third)]
    make(first.changes, "one")
    third.slow_down()
    with pytest.raises(Exception, match="UNIQUE"):
        make(second.changes, "two")
    now(second.changes.make(lambda connection: "three", told))
    assert heard[0] == heard[1] == [NameFreed("one"), NameFreed("three")]
    assert heard[2] == [NameFreed("one")]
    third.hurry()
    assert heard[2] == heard[0]
    assert third.changes.read_now(titles) == ["one"]


def test_a_node_that_is_slow_answers_once_it_was_told() -> None:
    first, _ = Cluster(2).nodes
    heard = listen(first)
    first.slow_down()
    answered: list[str] = []
    making = first.changes.make(lambda connection: put(connection, "late"), told)
    making.addCallback(answered.append)
    assert (answered, heard) == ([], [])
    first.hurry()
    assert answered == ["late"]
    assert heard == [NameFreed("late")]


def test_a_node_that_is_cut_off_changes_nothing() -> None:
    first, second = Cluster(2).nodes
    first.cut_off()
    with pytest.raises(StorageUnavailable):
        make(first.changes)
    with pytest.raises(StorageUnavailable):
        now(first.changes.read(titles))
    assert second.changes.read_now(titles) == []


def test_the_first_change_is_not_for_releases_that_do_not_know_it() -> None:
    house = House()
    store = house.directory.store
    store.write_now(
        lambda connection: connection.execute(insert(compatibility), {"oldest": "0006"})
    )
    assert house.changes.read_now(oldest) == "0006"
    make(house.changes)
    assert house.changes.read_now(oldest) == PEOPLE
    # What a later release said stays.
    store.write_now(
        lambda connection: connection.execute(update(compatibility).values(oldest="0009"))
    )
    now(house.changes.make(lambda connection: "x", told))
    assert house.changes.read_now(oldest) == "0009"


def oldest(connection: Connection) -> str:
    found: str = connection.execute(select(compatibility.c.oldest)).scalar_one()
    return found


@pytest.mark.parametrize("make", [House, lambda: Cluster(1).nodes[0]], ids=["one", "many"])
def test_a_private_room_is_not_for_them_either(make: Callable[[], House]) -> None:
    house = make()
    before = insert(compatibility).values(oldest="0006")
    house.directory.store.write_now(lambda connection: connection.execute(before).close())
    for kind, told in (("public", "0006"), ("private", PEOPLE)):
        now(house.directory.add_room(RoomRow(kind, "", "", 0, kind)))
        assert house.changes.read_now(oldest) == told
