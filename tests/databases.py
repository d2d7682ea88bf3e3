"""PostgreSQL servers and databases, as fixtures.

What it is: `postgresql`, one server a process; `own_postgresql`, one a test; `database_url`, an
empty database a test.

What it may know: `tests.postgresql`.

Invariant: what a test makes is gone after it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgresql import PostgresServer


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A server for all tests of this process. Whoever stops or freezes it puts that right."""
    server = PostgresServer.new()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_postgresql() -> Iterator[PostgresServer]:
    """A server for one test, which may do to it what it likes."""
    server = PostgresServer.new()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def database_url(postgresql: PostgresServer) -> Iterator[str]:
    """An empty database."""
    name = postgresql.fresh_database()
    yield postgresql.url(name)
    postgresql.drop_database(name)
