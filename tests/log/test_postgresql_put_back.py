"""A log in PostgreSQL that was put back while no node ran: the next start knows, whoever starts.

What is put back in the first test is the server's whole folder, as from a snapshot of its disk: it
is the same cluster, on the same timeline. In the others rows go.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from cometd_chat.log.postgresql.connections import Connection
from cometd_chat.log.postgresql.high_water import HighWaterMark, Mark
from cometd_chat.log.postgresql.joining import Running, join
from tests.log.postgresql_support import Cluster, Node
from tests.log.support import draft, in_reactor, wait
from tests.log.test_postgresql_epochs import Pair, numbered_epochs, pair, say
from tests.log.test_postgresql_trouble import ids, own_cluster, until
from tests.postgresql import PostgresServer

__all__ = ["own_cluster", "pair"]

ONE = [("e001", 1)]


def hold_lease(cluster: Cluster, *, over: bool) -> None:
    """A node is in the table that has not said goodbye."""
    with cluster.connect() as connection:
        connection.execute(
            "INSERT INTO nodes (name, peer, version, lease_until) VALUES"
            " ('other', '', '', extract(epoch FROM clock_timestamp()) * 1000 + %s)",
            [-1 if over else 15_000],
        )


def cut(cluster: Cluster, id: int) -> None:
    """Nothing is left that is newer."""
    with cluster.connect() as connection:
        connection.execute("DELETE FROM records WHERE id > %s", [id])


async def left(cluster: Cluster, where: HighWaterMark | None, *words: str) -> str:
    """What a node said before it stopped; its last cursor."""
    node = cluster.open(high_water=where)
    await say(node, *words)
    cursor = node.log.cursor(node.log.last_id)
    await node.close()
    return cursor


def put_back_disk(server: PostgresServer, snapshot: Path) -> None:
    """Let a server come back with what its disk was."""
    server.stop()
    owner = server.data.stat()
    shutil.rmtree(server.data)
    snapshot.rename(server.data)
    for each in (server.data, *server.data.rglob("*")):
        shutil.chown(each, owner.st_uid, owner.st_gid)
    server.start()


def draft_of(connection: Connection, word: str) -> None:
    """Store something after what is there."""
    connection.execute(
        "INSERT INTO records (id, context, type, sender, author, data, at)"
        " SELECT greatest((SELECT max(id) FROM records), max(first_id) - 1) + 1,"
        " '/chat/lobby', 'message', 's', 'S', %s, 0 FROM epochs",
        [f'{{"text": "{word}"}}'],
    )


def is_told(node: Node, known: str, lost: str) -> None:
    """It knows one cursor, and not the other one."""
    assert node.log.position(known) is not None
    assert node.log.position(lost) is None


@pytest.fixture
def mark(tmp_path: Path) -> HighWaterMark:
    return HighWaterMark(tmp_path)


@in_reactor
async def test_a_snapshot_of_the_disk_is_known(own_cluster: Cluster, mark: HighWaterMark) -> None:
    server, cluster = own_cluster.server, own_cluster
    known = await left(cluster, mark, "a", "b")
    server.stop()
    snapshot = server.directory / "snapshot"
    shutil.copytree(server.data, snapshot, symlinks=True)
    server.start()
    lost = await left(cluster, mark, "c", "d")
    put_back_disk(server, snapshot)
    with capturedLogs() as lines:
        node = cluster.open(high_water=mark)
    said = [formatEvent(line) for line in lines]
    # When the server came back the first time, they began e002 and e003, which are gone.
    assert "the log has begun the epoch e005 after id 5" in said
    is_told(node, known, lost)
    await say(node, "e")
    assert ids(node.told) == [6]
    is_told(node, known, lost)
    assert numbered_epochs(cluster) == [*ONE, ("e004", 3), ("e005", 6)]
    await node.close()
    again = cluster.open(high_water=mark)
    assert again.log.position(node.log.cursor(6)) == 6
    assert len(numbered_epochs(cluster)) == 3


@in_reactor
async def test_who_knows_less_stores_nothing_in_the_epoch_that_is_over(
    own_cluster: Cluster,
) -> None:
    """A node that was told too little to miss anything comes back first to a disk that was put
    back: those who were told more notice only once there are as many records again."""
    server, cluster = own_cluster.server, own_cluster
    node = cluster.open()
    await say(node, "a", "b")
    server.stop()
    snapshot = server.directory / "snapshot"
    shutil.copytree(server.data, snapshot, symlinks=True)
    server.start()
    await say(node, "c", "d")
    known, lost, told = node.log.cursor(2), node.log.cursor(node.log.last_id), node.told
    await node.close()
    assert ids(told) == [1, 2, 4, 5]
    put_back_disk(server, snapshot)
    with cluster.connect() as connection:
        names = iter(("x1", "x2", "x3", "x4"))
        first = join(connection, Running(2, told[1]), lambda: next(names))
        assert (first.begun, first.put_back) == (True, False)
        for word in "efg":
            draft_of(connection, word)
        then = join(connection, Running(5, told[3]), lambda: next(names))
    assert (then.begun, then.put_back) == (False, True)
    assert then.book.shared(told[1].epoch) == 2
    assert then.book.epochs.position(known) == 2
    assert then.book.epochs.position(lost) is None


@in_reactor
async def test_no_start_begins_one_after_all_said_goodbye(
    cluster: Cluster, mark: HighWaterMark
) -> None:
    cursor = await left(cluster, mark, "a")
    with capturedLogs() as lines:
        for _ in range(2):
            await left(cluster, mark)
    assert not lines
    # That it leaves a node appends itself, when it hears no more.
    other = cluster.open()
    gone = draft(context="/control", type="node-gone", sender="", data={"node": 1})
    await wait(other.log.append(gone))
    await other.close()
    node = cluster.open(high_water=mark)
    assert node.log.position(cursor) == 1
    assert numbered_epochs(cluster) == ONE


@in_reactor
async def test_no_start_begins_one_while_another_node_is_there(
    cluster: Cluster, mark: HighWaterMark, tmp_path: Path
) -> None:
    await left(cluster, mark, "a")
    await left(cluster, None, "b")
    hold_lease(cluster, over=False)
    for where in (mark, HighWaterMark(tmp_path / "new")):
        cluster.open(high_water=where)
    assert numbered_epochs(cluster) == ONE


@in_reactor
async def test_without_a_mark_nobody_can_say(cluster: Cluster, tmp_path: Path) -> None:
    """As of nodes whose data directory goes with them."""
    known = await left(cluster, None, "a", "b")
    lost = await left(cluster, None, "c")
    cut(cluster, 2)
    node = cluster.open(high_water=HighWaterMark(tmp_path))
    is_told(node, known, lost)
    await say(node, "d")
    is_told(node, known, lost)
    assert numbered_epochs(cluster) == [*ONE, ("e002", 3), ("e003", 4)]


@in_reactor
async def test_a_log_in_which_nothing_was_said_is_new(cluster: Cluster, tmp_path: Path) -> None:
    for name in ("one", "other"):
        cluster.open(high_water=HighWaterMark(tmp_path / name))
    assert numbered_epochs(cluster) == ONE


@in_reactor
async def test_who_left_early_does_not_know(cluster: Cluster, mark: HighWaterMark) -> None:
    """Others went on, to 4, and it was put back to 3."""
    await left(cluster, mark, "a", "b")
    lost = await left(cluster, None, "c", "d")
    cut(cluster, 3)
    node = cluster.open(high_water=mark)
    await say(node, "e")
    is_told(node, "3.e001", lost)


@in_reactor
async def test_who_was_killed_may_have_told_more(cluster: Cluster, mark: HighWaterMark) -> None:
    """The mark is a second old, and the log was put back to where that was."""
    await left(cluster, mark, "a", "b")
    lost = await left(cluster, None, "c")
    cut(cluster, 2)
    hold_lease(cluster, over=True)
    node = cluster.open(high_water=mark)
    await say(node, "d")
    is_told(node, "2.e001", lost)


@in_reactor
async def test_an_epoch_that_is_gone_is_missed(cluster: Cluster, mark: HighWaterMark) -> None:
    await left(cluster, mark, "a", "b")
    with cluster.connect() as connection:
        connection.execute(
            "INSERT INTO epochs (epoch, first_id, cluster) SELECT 'gone', 3, cluster FROM epochs"
        )
    lost = await left(cluster, mark, "c")
    assert lost == "3.gone"
    with cluster.connect() as connection:
        connection.execute("DELETE FROM epochs WHERE epoch = 'gone'")
    hold_lease(cluster, over=False)
    node = cluster.open(high_water=mark)
    await say(node, "d")
    is_told(node, "3.e001", lost)
    assert numbered_epochs(cluster) == [*ONE, ("e002", 4), ("e003", 5)]


@in_reactor
async def test_the_mark_of_another_log_says_nothing(cluster: Cluster, mark: HighWaterMark) -> None:
    mark.note(Mark("other", "other", 1000))
    node = cluster.open(high_water=mark)
    assert node.log.last_id == 0
    await say(node, "a")
    assert ids(node.told) == [1]
    await until(lambda: mark.read() == Mark("e001", "e001", 1))


@in_reactor
async def test_a_failover_between_two_starts_loses_nothing(pair: Pair, mark: HighWaterMark) -> None:
    pair.primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    pair.primary.execute("SELECT pg_reload_conf()")
    hosts = f"127.0.0.1:{pair.primary.port},127.0.0.1:{pair.standby.port}"
    url = pair.cluster.url.replace(f"127.0.0.1:{pair.primary.port}", hosts)
    one = pair.cluster.open(url=url, high_water=mark)
    await say(one, "a", "b")
    cursor = one.log.cursor(2)
    await one.close()
    pair.primary.stop("immediate")
    pair.promote()
    node = pair.cluster.open(url=url, high_water=mark)
    assert node.log.position(cursor) == 2
    await say(node, "c")
    assert ids(node.told) == [4]
    assert numbered_epochs(pair.cluster) == [*ONE, ("e002", 3), ("e003", 4)]


@in_reactor
async def test_the_mark_follows_each_second_and_at_the_end(
    cluster: Cluster, mark: HighWaterMark, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[Mark] = []
    note = HighWaterMark.note

    def counted(self: HighWaterMark, each: Mark, *, sync: bool = False) -> None:
        noted.append(each)
        note(self, each, sync=sync)

    monkeypatch.setattr(HighWaterMark, "note", counted)
    node = cluster.open(high_water=mark)
    await say(node, *map(str, range(100)))
    looks = node.log.ears._looks
    await until(lambda: mark.read() == Mark("e001", "e001", 100))
    # At the start, and with a look at most; not with each commit.
    assert len(noted) <= 1 + looks + 2
    await say(node, "last")
    await node.close()
    assert mark.read() == Mark("e001", "e001", 101)


class TestMark:
    def test_is_what_was_noted_last(self, mark: HighWaterMark) -> None:
        assert mark.read() is None
        for place in (("abcd", "efgh12", 7), ("abcd", "efgh12", 2**53), ("a1b2", "zzzz", 0)):
            each = Mark(*place)
            mark.note(each, sync=True)
            assert HighWaterMark(mark.path.parent).read() == each
        assert mark.path.stat().st_mode & 0o777 == 0o600

    def test_is_the_furthest_of_all_who_share_it(self, mark: HighWaterMark) -> None:
        other = HighWaterMark(mark.path.parent)
        mark.note(Mark("abcd", "efgh", 8))
        other.note(Mark("abcd", "efgh", 5))
        assert mark.read() == Mark("abcd", "efgh", 8)
        other.note(Mark("abcd", "ijkl", 6))
        assert mark.read() == Mark("abcd", "ijkl", 6)

    @pytest.mark.parametrize(
        "content", [b"", b"\0" * 55, b"a", b"abcd efgh 5\n", b"x" * 1000, b"abcd " * 11]
    )
    def test_is_none_where_none_can_be_read(self, mark: HighWaterMark, content: bytes) -> None:
        mark.path.write_bytes(content)
        assert mark.read() is None
        mark.note(Mark("abcd", "efgh", 5))
        assert mark.read() == Mark("abcd", "efgh", 5)
        assert len(mark.path.read_bytes()) == 55

    def test_follows_no_link(self, mark: HighWaterMark, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text("precious")
        mark.path.symlink_to(elsewhere)
        mark.note(Mark("abcd", "efgh", 5))
        assert elsewhere.read_text() == "precious"
