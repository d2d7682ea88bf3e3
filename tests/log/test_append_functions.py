"""What the functions in the database do, by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Thread
from typing import Any

import psycopg
import pytest
from psycopg.errors import RaiseException, UniqueViolation
from sqlalchemy import create_engine

from cometd_chat.events.record import Draft
from cometd_chat.log.postgresql.batches import (
    APPEND,
    APPEND_KNOWN,
    CHANNEL,
    append_arguments,
    hear,
    read_bell,
    stored,
)
from cometd_chat.log.postgresql.changes import append_in
from tests.log.postgresql_support import Cluster
from tests.log.support import draft

Row = tuple[Any, ...]


def engine_url(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def url(cluster: Cluster) -> str:
    """A database with a log that has just begun."""
    with cluster.connect() as connection:
        connection.execute("INSERT INTO epochs (epoch, first_id) VALUES ('e001', 1)")
    return cluster.url


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection[Row]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def append(connection: psycopg.Connection[Row], *drafts: Draft) -> Row:
    row = connection.execute(APPEND, append_arguments(drafts)).fetchone()
    assert row is not None
    return row


def append_known(connection: psycopg.Connection[Row], *drafts: Draft) -> list[tuple[int, bool]]:
    rows = connection.execute(APPEND_KNOWN, append_arguments(drafts)[:-1]).fetchall()
    return [(row[0], row[3]) for row in rows]


def last(connection: psycopg.Connection[Row]) -> int | None:
    ((last,),) = connection.execute("SELECT max(id) FROM records").fetchall()
    return None if last is None else int(last)


def test_ids_follow_on_each_other(connection: psycopg.Connection[Row]) -> None:
    assert append(connection, draft("a"), draft("b"))[0] == 0
    base, at, number = append(connection, draft("c"))
    assert (base, number) == (2, 1)
    ((now,),) = connection.execute("SELECT (extract(epoch FROM now()) * 1000)::int8").fetchall()
    assert now - 60_000 < at <= now


def test_what_was_rolled_back_leaves_no_hole(connection: psycopg.Connection[Row]) -> None:
    append(connection, draft("a", client_id="c1"))
    with pytest.raises(UniqueViolation):
        append(connection, draft("b"), draft("c", client_id="c1"))
    connection.execute("BEGIN")
    append(connection, draft("d"))
    connection.execute("ROLLBACK")
    assert append(connection, draft("e"))[0] == 1
    assert last(connection) == 2


def test_ids_begin_where_the_newest_epoch_does(connection: psycopg.Connection[Row]) -> None:
    append(connection, draft("a"))
    connection.execute("INSERT INTO epochs (epoch, first_id) VALUES ('e002', 12)")
    assert append(connection, draft("b"))[::2] == (11, 2)


def test_a_bell_has_the_records_or_says_that_there_are_some(
    url: str, connection: psycopg.Connection[Row]
) -> None:
    small = [draft("\u2028 \x00 \U0001f600", client_id="c1"), draft("b", refers=1)]
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        _, at, _ = append(connection, *small)
        append(connection, *[draft("x" * 1000)] * 7)
        append(connection, *[draft("x" * 1000)] * 9)
        append_known(connection, small[0], draft("c"))
        append_known(connection, small[0])
        heard = [hear(each.payload) for each in listener.notifies(timeout=20, stop_after=4)]
    assert [(bell.first, bell.last) for bell in heard] == [(1, 2), (3, 9), (10, 18), (19, 19)]
    assert read_bell(heard[0], "e001") == stored(small, 0, at, "e001")
    assert [len(read_bell(bell, "e001")) for bell in heard[1:]] == [7, 0, 0]


def test_the_careful_one_appends_what_is_not_there(connection: psycopg.Connection[Row]) -> None:
    append(connection, draft("a", client_id="c1"))
    drafts = [draft("b"), draft("a", client_id="c1"), *[draft("c", client_id="c2")] * 2]
    expected = [(2, False), (1, True), (3, False), (3, True)]
    assert append_known(connection, *drafts) == expected
    assert append_known(connection, draft("d")) == [(4, False)]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_isolation_that_would_break_the_order_is_refused(
    connection: psycopg.Connection[Row], level: str
) -> None:
    connection.execute(f"SET default_transaction_isolation = '{level}'".encode())
    with pytest.raises(RaiseException):
        append(connection, draft("a"))


def test_several_writers_leave_neither_holes_nor_doubles(
    url: str, connection: psycopg.Connection[Row]
) -> None:
    """And each listener hears them in the order of their ids."""
    each, batch = 60, 5
    failed: list[Exception] = []

    def write(name: str) -> None:
        try:
            with psycopg.connect(url, autocommit=True) as own:
                for n in range(each):
                    append(own, *[draft(f"{n}", sender=name)] * batch)
        except Exception as error:
            failed.append(error)

    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        writers = [Thread(target=write, args=(f"s{n}",)) for n in range(3)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        heard = [hear(bell.payload) for bell in listener.notifies(timeout=20, stop_after=3 * each)]
    assert failed == []
    total = 3 * each * batch
    assert [bell.first for bell in heard] == list(range(1, total + 1, batch))
    ids = connection.execute("SELECT id, sender, data FROM records ORDER BY id").fetchall()
    assert [row[0] for row in ids] == list(range(1, total + 1))
    for name in ("s0", "s1", "s2"):
        said = [row[2] for row in ids if row[1] == name]
        assert said == sorted(said, key=lambda data: int(data.split('"')[3]))


def test_a_change_is_made_and_told_or_neither(
    url: str, connection: psycopg.Connection[Row]
) -> None:
    engine = create_engine(engine_url(url))
    change = "INSERT INTO rooms (name, topic, created_by, created_at) VALUES ('dev', '', 's1', 5)"
    connection.execute(f"LISTEN {CHANNEL}")
    with engine.connect() as changing:
        changing.exec_driver_sql(change)
        append_in(changing, [draft("gone")])
        changing.rollback()
    assert last(connection) is None
    with engine.begin() as changing:
        changing.exec_driver_sql(change)
        assert append_in(changing, [draft("a"), draft("b")]) == 2
        assert last(connection) is None
    engine.dispose()
    assert last(connection) == 2
    (bell,) = connection.notifies(timeout=20, stop_after=1)
    assert hear(bell.payload).last == 2
