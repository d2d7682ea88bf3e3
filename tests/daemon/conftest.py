"""Rooms for tests that share a daemon, and databases for those that have their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.talk import make_room
from tests.postgresql import PostgresServer
from tests.support import Daemon

#: Makes the tables as the first start does, and nothing else of it.
_PREPARE = """
from sqlalchemy import create_engine
from cometd_chat.log.migrations import migrate
with create_engine({url!r}).begin() as connection:
    migrate(connection, "the template")
raise SystemExit
"""


@pytest.fixture
def room(daemon: Daemon) -> str:
    """A room of the test's own."""
    return make_room(daemon.port)


@pytest.fixture
def empty_database_url(postgresql: PostgresServer) -> Iterator[str]:
    """A database where no daemon has been: who starts there first makes the tables."""
    name = postgresql.fresh_database()
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture
def database_url(postgresql: PostgresServer, tmp_path: Path) -> Iterator[str]:
    """A database with the tables, and nothing in them."""

    def prepare(url: str) -> None:
        before = _PREPARE.format(url=url.replace("postgresql:", "postgresql+psycopg:"))
        status, _, said = Daemon.forked(tmp_path, "twistd", before=before)
        assert status == 0, said

    name = postgresql.fresh_database(postgresql.template("with-tables", prepare))
    yield postgresql.url(name)
    postgresql.drop_database(name)
