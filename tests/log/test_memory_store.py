"""Databases in memory that are used again: each is as new for whoever has it next."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import SQLAlchemyError

from cometd_chat.errors import ChatError, NoSession
from cometd_chat.log import memory_store
from cometd_chat.log.memory_store import MemoryStore
from cometd_chat.log.tables import rooms
from tests.garbage import collect

LOBBY = {"name": "lobby", "topic": "", "created_by": "", "created_at": 0}


@pytest.fixture(autouse=True)
def none_idle() -> None:
    """What other tests left is not taken."""
    collect()
    memory_store._idle.clear()


def put_room(connection: Connection) -> None:
    connection.execute(insert(rooms), [LOBBY]).close()


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(rooms)).scalar_one()


def connection_of(store: MemoryStore) -> Connection:
    return store.read_now(lambda connection: connection)


def test_the_next_has_it_with_nothing_in_it() -> None:
    store = MemoryStore()
    store.write_now(put_room)
    assert store.read_now(count) == 1
    used = connection_of(store)
    del store
    again = MemoryStore()
    assert connection_of(again) is used
    assert again.read_now(count) == 0


def test_one_that_is_closed_gives_it_back_at_once_and_once() -> None:
    store = MemoryStore()
    store.write_now(put_room)
    used = connection_of(store)
    store.close()
    again = MemoryStore()
    assert connection_of(again) is used
    assert again.read_now(count) == 0
    del store
    assert connection_of(MemoryStore()) is not used


def test_two_have_two() -> None:
    one, other = MemoryStore(), MemoryStore()
    one.write_now(put_room)
    assert (one.read_now(count), other.read_now(count)) == (1, 0)


def test_one_beside_it_keeps_it() -> None:
    store = MemoryStore()
    beside = MemoryStore(beside=store)
    used = connection_of(store)
    beside.write_now(put_room)
    del store
    assert connection_of(MemoryStore()) is not used
    assert beside.read_now(count) == 1


def fail_by_itself(connection: Connection) -> None:
    raise ZeroDivisionError


def fail_in_sql(connection: Connection) -> None:
    connection.execute(text("SELECT * FROM nowhere"))


def write(store: MemoryStore, change: Callable[[Connection], None]) -> None:
    store.write_now(change)


def read(store: MemoryStore, query: Callable[[Connection], None]) -> None:
    store.read_now(query)


@pytest.mark.parametrize("way", [write, read])
@pytest.mark.parametrize("beside", [False, True])
def test_where_something_failed_nobody_has_it_again(
    way: Callable[[MemoryStore, Callable[[Connection], None]], None], beside: bool
) -> None:
    store = MemoryStore()
    used = connection_of(store)
    asked = MemoryStore(beside=store) if beside else store
    with pytest.raises(SQLAlchemyError):
        way(asked, fail_in_sql)
    assert asked.read_now(count) == 0
    del store, asked
    assert connection_of(MemoryStore()) is not used


def test_a_change_that_fails_changes_nothing() -> None:
    store = MemoryStore()

    def change(connection: Connection) -> None:
        put_room(connection)
        fail_by_itself(connection)

    with pytest.raises(ZeroDivisionError):
        store.write_now(change)
    assert store.read_now(count) == 0


def test_a_refusal_is_no_failure() -> None:
    store = MemoryStore()
    used = connection_of(store)

    def refuse(connection: Connection) -> None:
        put_room(connection)
        raise NoSession("not you")

    with pytest.raises(ChatError):
        store.write_now(refuse)
    assert store.read_now(count) == 0
    del store
    assert connection_of(MemoryStore()) is used


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_one_whose_transaction_ended_is_not_used_again(end: str) -> None:
    store = MemoryStore()
    store.write_now(put_room)
    used = connection_of(store)
    driver = used.connection.driver_connection
    assert driver is not None
    driver.execute(end)
    store.write_now(lambda connection: connection.execute(insert(rooms), [{**LOBBY, "name": "b"}]))
    del store, driver
    again = MemoryStore()
    assert connection_of(again) is not used
    assert again.read_now(count) == 0


def test_what_comes_back_to_life_gets_one_of_its_own() -> None:
    alive: list[MemoryStore] = []

    class Reviving:
        def __init__(self) -> None:
            self.store = MemoryStore()
            self.itself = self

        def __del__(self) -> None:
            alive.append(self.store)

    garbage = Reviving()
    used = connection_of(garbage.store)
    del garbage
    collect()
    [store] = alive
    after = MemoryStore()
    assert connection_of(after) is used
    store.write_now(put_room)
    assert (store.read_now(count), after.read_now(count)) == (1, 0)
