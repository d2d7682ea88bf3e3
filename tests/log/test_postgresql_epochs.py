"""When a cursor is foreign: after a restore or a lost tail, and not after a failover."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from cometd_chat.log.postgresql import ears
from tests.log.postgresql_support import Cluster, Node
from tests.log.support import draft, in_reactor, wait
from tests.log.test_postgresql_trouble import ids, own_cluster, texts, until
from tests.postgresql import PASSWORD, USER, PostgresServer

__all__ = ["own_cluster"]


def numbered_epochs(cluster: Cluster) -> list[tuple[object, ...]]:
    with cluster.connect() as connection:
        query = "SELECT epoch, first_id FROM epochs ORDER BY number"
        return connection.execute(query).fetchall()


def listen_to(*nodes: Node) -> list[str]:
    """The names of nodes that find their log put back."""
    put_back: list[str] = []
    for node in nodes:
        node.log.put_back_to.add(partial(put_back.append, node.name))
    return put_back


async def say(node: Node, *words: str) -> None:
    for word in words:
        await wait(node.log.append(draft(word, client_id=word)))


@in_reactor
async def test_a_start_begins_no_epoch(cluster: Cluster) -> None:
    first = cluster.open()
    await say(first, "a", "b")
    cursor = first.log.cursor(2)
    await first.close()
    second = cluster.open()
    assert second.log.position(cursor) == 2
    assert second.log.cursor(2) == cursor
    assert second.log.origin == first.log.origin
    assert second.log.last_id == 2
    assert texts(second.log.recent(10, 10**6)) == ["a", "b"]
    assert numbered_epochs(cluster) == [("e001", 1)]


@in_reactor
async def test_a_copy_that_took_its_place_begins_an_epoch(cluster: Cluster) -> None:
    """As from a dump, or by ALTER DATABASE ... RENAME."""
    server, name = cluster.server, cluster.database
    first = cluster.open()
    await say(first, "a", "b")
    await first.close()
    # Of one that somebody is connected to no copy is made.
    server.terminate_connections(name)
    server.execute(f"CREATE DATABASE {name}_copy OWNER {USER} TEMPLATE {name}")
    second = cluster.open()
    await say(second, "c")
    known, lost = second.log.cursor(2), second.log.cursor(3)
    await second.close()
    server.drop_database(name)
    server.execute(f"ALTER DATABASE {name}_copy RENAME TO {name}")
    third = cluster.open()
    assert third.log.position(known) == 2
    assert third.log.position(lost) is None
    await say(third, "d")
    assert ids(third.told) == [4]
    assert third.log.position(lost) is None
    assert third.log.origin == "e001"
    assert numbered_epochs(cluster) == [("e001", 1), ("e002", 3), ("e003", 4)]


@in_reactor
async def test_what_goes_back_under_running_nodes_is_noticed(cluster: Cluster) -> None:
    """As when a snapshot of the disk is put back: it is the same cluster, on the same timeline."""
    one, other = cluster.open(), cluster.open()
    put_back = listen_to(one, other)
    await say(one, "a", "b", "c", "d")
    await until(lambda: len(other.told) == 4)
    known, lost = one.log.cursor(2), one.log.cursor(4)
    with cluster.connect() as connection:
        connection.execute("DELETE FROM records WHERE id > 2")
    await until(lambda: sorted(put_back) == ["node-1", "node-2"])
    assert numbered_epochs(cluster) == [("e001", 1), ("e002", 3), ("e003", 5)]
    for node in (one, other):
        assert node.log.position(known) == 2
        assert node.log.position(lost) is None
        await wait(node.log.catch_up())
        assert node.log.last_id == 4
    await say(other, "e")
    await until(lambda: len(one.told) == 5)
    # Whoever was told of 3 and 4 is never told of others by these ids.
    assert ids(one.told) == [1, 2, 3, 4, 5]
    assert texts(one.told)[-1] == "e"
    third = cluster.open()
    assert texts(third.log.recent(9, 10**6)) == ["a", "b", "e"]
    assert third.log.position(lost) is None
    assert third.log.position(one.log.cursor(5)) == 5


@in_reactor
async def test_a_node_that_starts_on_a_hole_passes_it(cluster: Cluster) -> None:
    one = cluster.open()
    await say(one, "a")
    with cluster.connect() as connection:
        connection.execute("INSERT INTO epochs (epoch, first_id) VALUES ('e9', 8)")
    await say(one, "b")
    await until(lambda: len(one.told) == 2)
    assert ids(one.told) == [1, 8]
    assert one.log.cursor(8) == "8.e9"
    assert one.told[1].epoch == "e9"
    # This epoch was begun without saying where: the next start begins another one.
    other = cluster.open()
    assert other.log.last_id == 9
    assert other.log.cursor(8) == "8.e9"


@in_reactor
async def test_whoever_is_told_reset_goes_on_where_no_node_is_that_has_not_noticed(
    own_cluster: Cluster,
) -> None:
    """However little is known to be gone by the node that has."""
    one, other = own_cluster.open(), own_cluster.open()
    passed: list[int] = []
    one.log.follow(lambda batch: passed.append(one.log.last_id) if not batch else None)
    await say(one, "a", "b")
    await until(lambda: len(other.told) == 2)
    unaware, read = other.log.ears.book.epochs, one.log.cursor(2)
    await other.close()
    own_cluster.server.restart()
    await until(lambda: len(one.log.ears.book.numbers) == 3)
    await wait(one.log.catch_up())
    given = one.log.cursor(one.log.last_id)
    assert one.log.position(given) == 3
    # That node waits until it has noticed, and tells nothing in the meantime.
    assert unaware.position(given) is None
    # What is still there is known as before, and the ids that nothing has were told of once.
    assert one.log.position(read) == 2
    assert passed == [3]
    await say(one, "c")
    assert ids(one.told) == [1, 2, 4]


@in_reactor
async def test_nobody_has_caught_up_below_where_an_epoch_begins(cluster: Cluster) -> None:
    node = cluster.open()
    await say(node, "a")
    with cluster.connect() as connection:
        # By another node, which was told of 2 and 3.
        connection.execute(
            "INSERT INTO epochs (epoch, first_id, cluster)"
            " SELECT v.*, cluster FROM epochs, (VALUES ('lost', 2), ('newer', 4)) AS v"
        )
    await wait(node.log.catch_up())
    assert node.log.cursor(node.log.last_id) == "3.lost"


class Pair:
    """A server and its standby, and nodes that know both."""

    def __init__(self, server: PostgresServer) -> None:
        self.primary = server
        self.cluster = Cluster.on(server)
        self.standby = server.base_backup(standby=True)
        self.standby.start()

    def open(self) -> Node:
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return self.cluster.open(
            url=f"postgresql://{USER}:{PASSWORD}@{hosts}/{self.cluster.database}"
        )

    def promote(self) -> None:
        self.standby.promote()
        self.cluster.server = self.standby


@pytest.fixture
def pair(own_postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(ears, "PATIENCE", 2.0)
    pair = Pair(own_postgresql)
    yield pair
    pair.cluster.close_nodes()
    pair.standby.remove()


@in_reactor
async def test_a_failover_that_loses_nothing_is_nothing_to_a_client(pair: Pair) -> None:
    pair.primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    pair.primary.execute("SELECT pg_reload_conf()")
    one, other = pair.open(), pair.open()
    put_back = listen_to(one, other)
    await say(one, "a", "b")
    cursor = one.log.cursor(2)
    pair.primary.stop("immediate")
    waiting = one.log.append(draft("c", client_id="c"))
    pair.promote()
    record = await wait(waiting)
    assert (record.id, record.repeated) == (4, False)
    await until(lambda: len(other.told) == 3)
    for node in (one, other):
        assert ids(node.told) == [1, 2, 4]
        assert node.log.position(cursor) == 2
        assert node.log.position("3.e001") is None
        assert node.log.position(node.log.cursor(4)) == 4
    assert not put_back
    assert numbered_epochs(pair.cluster) == [("e001", 1), ("e002", 3), ("e003", 4)]


@in_reactor
async def test_a_tail_that_a_failover_lost_is_told_by_foreign_cursors(pair: Pair) -> None:
    one, other = pair.open(), pair.open()
    put_back = listen_to(one, other)
    await say(one, "a", "b")
    standby, primary = pair.standby, pair.primary
    position = "SELECT pg_current_wal_lsn()::text"
    ((reached,),) = primary.query(position)
    behind = f"SELECT pg_last_wal_replay_lsn() >= '{reached}'"
    await until(lambda: standby.query(behind) == [(True,)])
    standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
    standby.execute("SELECT pg_reload_conf()")
    await until(lambda: standby.query("SELECT pid FROM pg_stat_wal_receiver") == [])
    await say(one, "c", "d")
    await until(lambda: len(other.told) == 4)
    primary.stop("immediate")
    known, lost = one.log.cursor(2), one.log.cursor(4)
    pair.promote()
    await until(lambda: sorted(put_back) == ["node-1", "node-2"])
    await say(other, "e")
    await until(lambda: len(one.told) == 5)
    assert ids(one.told) == [1, 2, 3, 4, 5]
    for node in (one, other):
        assert node.log.position(known) == 2
        assert node.log.position(lost) is None
        assert texts(node.log.recent(9, 10**6)) == ["a", "b", "e"]
