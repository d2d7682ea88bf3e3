"""A store, and every log and directory there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cometd_chat.log.directory import Directory, RoomRow
from cometd_chat.log.log import EventLog
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.memory_directory import MemoryDirectory
from cometd_chat.log.postgresql.database import PostgresDatabase
from cometd_chat.log.postgresql.shared_directory import PostgresSharedDirectory
from tests.databases import on_server
from tests.log.kept_connections import close_kept, connect
from tests.log.postgresql_support import Cluster, close_readers
from tests.log.support import Opener, Store, block, opener, plant_empty
from tests.postgresql import PostgresServer

#: What only looks; all else writes.
_READS = {"session_by_token", "named_sessions", "rooms", "positions", "position_rows"}


class ReadElsewhere:
    """A directory that is written at one node and read at another one."""

    def __init__(self, one: Directory, other: Directory) -> None:
        self._one, self._other = one, other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._other if name in _READS else self._one, name)


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Opener]:
    """Opens stores, the first of which finds all tables and nothing in them."""
    plant_empty(tmp_path / "chat.sqlite")
    with opener(tmp_path) as open:
        yield open


@pytest.fixture
def store(open_store: Opener) -> Store:
    return open_store()


@pytest.fixture(scope="session", autouse=True)
def closed_readers() -> Iterator[None]:
    """Nothing that read a database is open after the last test."""
    yield
    close_readers()
    close_kept()


@pytest.fixture
def cluster(postgresql: PostgresServer) -> Iterator[Cluster]:
    """Nodes on one database of PostgreSQL's."""
    cluster = Cluster.on(postgresql)
    yield cluster
    cluster.close()


@pytest.fixture
def calm_cluster(postgresql: PostgresServer) -> Iterator[Cluster]:
    """The same, for tests in which nothing goes wrong with the server: to connect anew, and to look
    for the first time at what each connection must know, takes as long as most of them."""
    cluster = Cluster.on(postgresql, driver=connect)
    yield cluster
    cluster.close()


@pytest.fixture(params=["memory", "sql", *on_server("postgresql", "second node")])
def log(request: pytest.FixtureRequest) -> EventLog:
    """Each log there is. Of the last one there are two nodes, and it is the second one's."""
    if request.param == "memory":
        return MemoryEventLog(epoch="e001")
    if request.param in ("postgresql", "second node"):
        cluster: Cluster = request.getfixturevalue("calm_cluster")
        if request.param == "second node":
            cluster.open()
        return cluster.open().log
    store: Store = request.getfixturevalue("store")
    return store.log


@pytest.fixture(params=["memory", "sql"])
def kept_alone(request: pytest.FixtureRequest) -> tuple[EventLog, Directory]:
    """A log and the directory beside it, of a process that is alone."""
    if request.param == "memory":
        lobby = RoomRow("lobby", "Everybody lands here. Be kind, say hello.", "", 0)
        log = MemoryEventLog(epoch="e001")
        return log, MemoryDirectory([lobby], log)
    store: Store = request.getfixturevalue("store")
    return store.log, store.directory


@pytest.fixture(params=["memory", "sql", *on_server("postgresql", "second node")])
def kept(request: pytest.FixtureRequest) -> tuple[EventLog, Directory]:
    """A log and the directory beside it. Of the last one there are two nodes: what is written by
    one is read by the other."""
    if request.param == "memory":
        lobby = RoomRow("lobby", "Everybody lands here. Be kind, say hello.", "", 0)
        log = MemoryEventLog(epoch="e001")
        return log, MemoryDirectory([lobby], log)
    if request.param in ("postgresql", "second node"):
        cluster: Cluster = request.getfixturevalue("calm_cluster")
        log_of_one = cluster.open().log
        one = request.getfixturevalue("open_shared")(cluster)
        if request.param == "postgresql":
            return log_of_one, one
        other = request.getfixturevalue("open_shared")(cluster)
        return log_of_one, cast(Directory, ReadElsewhere(one, other))
    store: Store = request.getfixturevalue("store")
    return store.log, store.directory


@pytest.fixture
def open_shared() -> Iterator[Callable[[Cluster], PostgresSharedDirectory]]:
    """Opens directories on a cluster's database, and closes them at the end."""
    from twisted.internet import reactor

    opened: list[PostgresDatabase] = []

    def open(cluster: Cluster) -> PostgresSharedDirectory:
        opened.append(PostgresDatabase(cluster.server_for("test"), reactor, shown="test"))
        opened[-1].open()
        return PostgresSharedDirectory(opened[-1])

    yield open
    for database in opened:
        block(database.close())


@pytest.fixture
def directory(kept: tuple[EventLog, Directory]) -> Directory:
    return kept[1]
