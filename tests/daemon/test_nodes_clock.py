"""The clock of the database is set, and no node counts as dead for that."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cluster.shim import Shim, shim
from tests.daemon.talk import wait_until
from tests.daemon.test_nodes import nodes
from tests.postgresql import PostgresServer

pytestmark = pytest.mark.postgresql

HOUR = 3600.0


@pytest.fixture
def set_clock() -> Iterator[tuple[PostgresServer, Shim]]:
    """A server, and what sets its clock."""
    with shim() as set_by:
        server = PostgresServer.new(environ=set_by.environ)
        try:
            with server:
                yield server, set_by
        finally:
            server.remove()


@pytest.mark.skipif(shutil.which("cc") is None, reason="the clock is set by a library")
def test_no_node_is_dead_since_a_clock_was_set(
    tmp_path: Path, set_clock: tuple[PostgresServer, Shim]
) -> None:
    server, clock = set_clock
    database = server.fresh_database()

    def leases() -> dict[str, object]:
        rows = connection.execute("SELECT number, lease_until FROM nodes").fetchall()
        return {str(number): until for number, until in rows}

    def renewed(before: dict[str, object]) -> bool:
        return all(leases()[node] != before[node] for node in before)

    def gone() -> list[tuple[object, ...]]:
        query = "SELECT data FROM records WHERE context = '/control' AND type = 'node-gone'"
        return connection.execute(query).fetchall()

    with (
        # One connection for all the looks: to make one takes more than a look.
        server.connect(database) as connection,
        nodes(tmp_path, server.url(database), "a", "b"),
    ):
        wait_until(lambda: len(leases()) == 2, "both are there")
        for ahead in (HOUR, -HOUR, 0.0):
            clock.set(ahead=ahead)
            ((now,),) = server.query("SELECT extract(epoch FROM clock_timestamp())::float8")
            assert now == pytest.approx(time.time() + ahead, abs=600)
            # Each looks at the other when it renews its own lease.
            for _ in range(2):
                wait_until(partial(renewed, leases()), "both have renewed")
            assert gone() == []
        assert sorted(leases()) == ["1", "2"]
