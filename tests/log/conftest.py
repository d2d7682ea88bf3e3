"""A store, and every log and directory there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometd_chat.log.directory import Directory, RoomRow
from cometd_chat.log.log import EventLog
from cometd_chat.log.memory import MemoryDirectory, MemoryEventLog
from tests.databases import on_server
from tests.log.postgresql_support import Cluster
from tests.log.support import Opener, Store, opener, plant_empty
from tests.postgresql import PostgresServer


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Opener]:
    with opener(tmp_path) as open:
        yield open


@pytest.fixture
def store(tmp_path: Path, open_store: Opener) -> Store:
    plant_empty(tmp_path / "chat.sqlite")
    return open_store()


@pytest.fixture
def cluster(postgresql: PostgresServer) -> Iterator[Cluster]:
    """Nodes on one database of PostgreSQL's."""
    cluster = Cluster.on(postgresql)
    yield cluster
    cluster.close()


@pytest.fixture(params=["memory", "sql", *on_server("postgresql", "second node")])
def log(request: pytest.FixtureRequest) -> EventLog:
    """Each log there is. Of the last one there are two nodes, and it is the second one's."""
    if request.param == "memory":
        return MemoryEventLog(epoch="e001")
    if request.param in ("postgresql", "second node"):
        cluster: Cluster = request.getfixturevalue("cluster")
        if request.param == "second node":
            cluster.open()
        return cluster.open().log
    store: Store = request.getfixturevalue("store")
    return store.log


@pytest.fixture(params=["memory", "sql"])
def kept(request: pytest.FixtureRequest) -> tuple[EventLog, Directory]:
    """A log and the directory beside it."""
    if request.param == "memory":
        lobby = RoomRow("lobby", "Everybody lands here. Be kind, say hello.", "", 0)
        log = MemoryEventLog(epoch="e001")
        return log, MemoryDirectory([lobby], log)
    store: Store = request.getfixturevalue("store")
    return store.log, store.directory


@pytest.fixture
def directory(kept: tuple[EventLog, Directory]) -> Directory:
    return kept[1]
