"""The faults themselves: each does what it says, to a real server that nobody uses yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.cluster import faults
from tests.cluster.cluster import Cluster, cluster
from tests.cluster.faults import FAULTS, HOUR, Troublemaker
from tests.cluster.history import History
from tests.cluster.late_ears import LateEars
from tests.networks import may_make_networks
from tests.postgresql import PASSWORD, USER

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Nothing but a server with a table of records, in the middle of a star of one cable."""
    with cluster(tmp_path_factory.mktemp("cluster"), 0, cables=1) as empty:
        # Of ours only the name: rows of one column are enough to see what is kept.
        empty.database = empty.server.empty_database()
        empty.server.execute("CREATE TABLE records (id bigint)", empty.database)
        empty.server.execute(f"GRANT ALL ON records TO {USER}", empty.database)
        yield empty


@contextmanager
def fault(made: Cluster, name: str) -> Iterator[Troublemaker]:
    """A fault is on meanwhile."""
    maker = Troublemaker(made, History(seed="effects"))
    cause = FAULTS[name].cause(maker, None)
    next(cause)
    yield maker
    assert list(cause) == []


def connect(made: Cluster, host: str | None = None) -> psycopg.Connection[tuple[object, ...]]:
    """As a node does."""
    where = host or (made.server.host if made.star is None else made.star.address(0))
    return psycopg.connect(
        f"postgresql://{USER}:{PASSWORD}@{where}:{made.server.port}/{made.database}",
        autocommit=True,
        connect_timeout=2,
    )


def number(made: Cluster, query: str) -> float:
    with connect(made) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    assert isinstance(row[0], int | float), row
    return float(row[0])


NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"


def append(made: Cluster, *ids: int) -> float:
    """Write records, durably; how many seconds it took."""
    with connect(made) as connection:
        began = time.monotonic()
        connection.execute("INSERT INTO records SELECT unnest(%s)", (list(ids),))
    return time.monotonic() - began


def ids(made: Cluster) -> list[int]:
    rows = made.server.query("SELECT id FROM records ORDER BY id", made.database)
    return [int(str(id)) for (id,) in rows]


def test_the_clock_of_the_database_jumps_and_comes_back(made: Cluster) -> None:
    with fault(made, "clock of the database"):
        assert abs(abs(number(made, NOW) - time.time()) - HOUR) < HOUR / 2
    assert abs(number(made, NOW) - time.time()) < HOUR / 2


def test_a_sync_takes_longer(made: Cluster) -> None:
    with fault(made, "slow fsync"):
        late = made.shim.late
        assert late > 0
        assert append(made, 1) >= late
    assert made.shim.late == 0


def test_no_bell_is_heard(made: Cluster) -> None:
    def heard() -> int:
        with connect(made) as connection:
            connection.execute("LISTEN bells")
            connection.execute("SELECT pg_notify('bells', 'ding')")
            return len(list(connection.notifies(timeout=0.3, stop_after=1)))

    assert heard() == 1
    before = connect(made)
    with fault(made, "no bells"):
        assert heard() == 0
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT 1")
        before.close()
    assert heard() == 1


def test_connections_end(made: Cluster) -> None:
    for name in ("terminated connections", "immediate restart"):
        connection = connect(made)
        maker = Troublemaker(made, History(seed="effects"))
        assert next(FAULTS[name].cause(maker, None)).startswith(("has ended 1", "was restarted"))
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        connection.close()


@pytest.mark.skipif(not may_make_networks(), reason="needs the right to make networks")
def test_a_cable_is_cut_silently(made: Cluster) -> None:
    assert made.star is not None
    with connect(made) as connection:
        made.star.take(0, "down")
        with pytest.raises(psycopg.OperationalError):
            connect(made)
        made.star.take(0, "up")
        # Nobody was told, and what was on its way arrives.
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_synchronous_standby_has_all(made: Cluster) -> None:
    append(made, 2, 3)
    before, old = ids(made), made.server.port
    with fault(made, "synchronous failover") as maker:
        assert made.server.port != old
    assert ids(made) == before
    append(made, 4)
    assert maker.history.put_back == []


@pytest.mark.parametrize("name", ["asynchronous failover", "restored backup"])
def test_what_is_lost_is_said(made: Cluster, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What is appended while the standby hears nothing, or after the backup, is gone."""
    append(made, 5)
    newest, server = ids(made)[-1], made.server
    # In the moment that the fault leaves for it.
    monkeypatch.setattr(faults, "wait", lambda _: append(made, newest + 1))
    with fault(made, name) as maker:
        assert made.server is not server
    [put_back] = maker.history.put_back
    assert (put_back.kind, put_back.kept) == (name, newest)
    assert ids(made)[-1] == newest


def test_who_listens_hears_late(made: Cluster) -> None:
    host = made.server.host if made.star is None else made.star.address(0)
    with LateEars(host, made.server.port, late=0.3) as late:
        url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{late.port}/{made.database}"
        with psycopg.connect(url, autocommit=True) as ears, connect(made) as other:
            ears.execute("LISTEN bells")
            began = time.monotonic()
            other.execute("SELECT pg_notify('bells', 'ding')")
            assert len(list(ears.notifies(timeout=10, stop_after=1))) == 1
            assert time.monotonic() - began >= 0.3
        assert late.listening == 1
