"""PostgreSQL servers and databases, as fixtures.

What it is: `postgresql`, one server a process; `own_postgresql`, one a test; `database_url`, a
database a test, with our tables and nothing in them; `empty_url`, one without tables.

What it may know: `tests.postgresql`.

Invariant: what a test makes is gone after it. A test for which a server is started is marked
`postgresql`: it is not in memory.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.postgresql import PostgresServer

#: Fixtures that start a server. Tests that have one of them are marked; a parameter for which one
#: is asked for marks itself.
SERVERS = {"postgresql", "own_postgresql"}


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and SERVERS.intersection(item.fixturenames):
        item.add_marker("postgresql")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    test = request._pyfuncitem
    unsaid = fixturedef.argname in SERVERS and not test.get_closest_marker("postgresql")
    assert not unsaid, f"{test.nodeid} starts a server and has no mark that says so"
    return (yield)


def on_server(*names: str) -> list[ParameterSet]:
    """Parameters of tests for which a server is started."""
    return [pytest.param(name, marks=pytest.mark.postgresql) for name in names]


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
    """A database in which a start finds all tables and nothing in them."""
    name = postgresql.fresh_database()
    yield postgresql.url(name)
    postgresql.drop_database(name)


@pytest.fixture
def empty_url(postgresql: PostgresServer) -> Iterator[str]:
    """A database without tables."""
    name = postgresql.empty_database()
    yield postgresql.url(name)
    postgresql.drop_database(name)
