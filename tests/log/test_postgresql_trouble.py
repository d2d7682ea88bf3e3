"""What goes wrong between a node and PostgreSQL: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from secrets import token_hex
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from cometd_chat.errors import LogFull, StorageUnavailable
from cometd_chat.events.record import Record
from cometd_chat.log.postgresql import ears, writer
from cometd_chat.log.postgresql.batches import CHANNEL
from cometd_chat.log.postgresql.connections import shut_down
from tests.log.postgresql_support import Cluster, Node
from tests.log.support import LOBBY, PATIENCE, draft, in_reactor, refused, wait, wait_all
from tests.postgresql import PostgresServer


async def until(true: Callable[[], bool]) -> None:
    """Let the reactor run until something is so."""
    from twisted.internet import reactor

    end = reactor.seconds() + PATIENCE
    while not true():
        assert reactor.seconds() < end, "it does not come about"
        await deferLater(reactor, 0.02)


def lose_patience(node: Node) -> None:
    """Let all who wait for what they said have waited long enough, however fast the machine is."""
    appending = node.log._appending
    for job in appending._unanswered:
        job.until = 0
    assert appending._sweep is not None
    appending._sweep.reset(0)


def texts(records: list[Record]) -> list[str]:
    return [record.data["text"] for record in records]


def ids(records: list[Record]) -> list[int]:
    return [record.id for record in records]


@pytest.fixture
def own_cluster(own_postgresql: PostgresServer) -> Iterator[Cluster]:
    """Nodes on a server that may be stopped."""
    cluster = Cluster.on(own_postgresql)
    yield cluster
    cluster.close()


@in_reactor
async def test_nodes_are_told_all_in_one_order(cluster: Cluster) -> None:
    nodes = [cluster.open() for _ in range(3)]
    said = [
        node.log.append(draft(f"{n} at {node.name}", client_id=f"{n}", sender=node.name))
        for n in range(100)
        for node in nodes
    ]
    records = await wait_all(said)
    await until(lambda: all(len(node.told) == 300 for node in nodes))
    assert sorted(ids(records)) == list(range(1, 301))
    for node in nodes:
        assert ids(node.told) == list(range(1, 301))
        assert node.told == nodes[0].told
    assert sorted(records, key=lambda record: record.id) == nodes[0].told
    assert texts(nodes[0].told) == [json.loads(data)["text"] for _, data in cluster.rows()]


@in_reactor
async def test_a_bell_brings_what_fits_and_the_rest_is_read(cluster: Cluster) -> None:
    one, other = cluster.open(), cluster.open()
    await wait(one.log.append(draft("small")))
    await until(lambda: len(other.told) == 1)
    assert other.log.condition().bells["inline"] == 1
    await wait(one.log.append(draft("x" * 10_000)))
    await until(lambda: len(other.told) == 2)
    assert other.log.condition().bells["read"] == 1
    many = await wait(one.log.append_all([draft(f"{n}" * 20) for n in range(1000)]))
    await until(lambda: len(other.told) == 1002)
    assert ids(other.told) == list(range(1, 1003))
    assert other.told[2:] == many
    assert one.log.condition().commits == 3


@in_reactor
async def test_without_any_bell_all_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = cluster.open(), cluster.open()
    monkeypatch.setitem(other.log.ears._channels, CHANNEL, lambda payload: None)
    for n in range(5):
        await wait(one.log.append(draft(f"{n}")))
    await until(lambda: len(other.told) == 5)
    assert ids(other.told) == [1, 2, 3, 4, 5]
    assert other.log.condition().bells["missed"] >= 1
    assert not other.log.condition().trouble


@in_reactor
async def test_catching_up_tells_what_was_committed_before(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = cluster.open(), cluster.open()
    monkeypatch.setitem(other.log.ears._channels, CHANNEL, lambda payload: None)
    for n in range(3):
        await wait(one.log.append(draft(f"{n}")))
        waiting = [other.log.catch_up() for _ in range(3)]
        await wait_all(waiting)
        assert other.log.last_id == n + 1
        assert len(other.told) == n + 1


@in_reactor
async def test_ears_that_are_deaf_are_noticed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ears, "PATIENCE", 1.5)
    one, other = cluster.open(), cluster.open()
    listening = other.log.ears._wire
    assert listening is not None
    await wait(listening.ask(b"UNLISTEN *"))
    await wait(one.log.append(draft()))
    await until(lambda: other.log.condition().deaf_for > 0)
    await until(lambda: other.log.ears._wire not in (None, listening))
    await until(lambda: other.log.condition().deaf_for == 0)
    await wait(one.log.append(draft()))
    await until(lambda: len(other.told) == 2)
    assert other.log.condition().bells["inline"] == 1


@in_reactor
async def test_connections_that_are_ended_lose_nothing(cluster: Cluster) -> None:
    nodes = [cluster.open() for _ in range(2)]
    answers: list[Deferred[Record]] = []
    for round in range(6):
        for node in nodes:
            for n in range(10):
                key = f"{round}-{n}"
                answers.append(node.log.append(draft(key, sender=node.name, client_id=key)))
        cluster.server.terminate_connections(cluster.database)
        await wait_all(answers[-20:-10])
    records = await wait_all(answers)
    assert len({record.id for record in records}) == 120
    assert not any(record.repeated for record in records)
    await until(lambda: all(len(node.told) == 120 for node in nodes))
    for node in nodes:
        assert ids(node.told) == list(range(1, 121))
    assert len(cluster.rows()) == 120


@in_reactor
async def test_a_server_that_is_killed_and_comes_back_loses_nothing(own_cluster: Cluster) -> None:
    nodes = [own_cluster.open() for _ in range(2)]
    answers: list[Deferred[Record]] = []
    for round in range(3):
        for node in nodes:
            for n in range(20):
                key = f"{round}-{n}"
                answers.append(node.log.append(draft(key, sender=node.name, client_id=key)))
        own_cluster.server.restart("immediate")
    records = await wait_all(answers)
    assert len({record.id for record in records}) == 120
    assert not any(record.repeated for record in records)
    await until(lambda: all(len(node.told) == 120 for node in nodes))
    for node in nodes:
        assert node.told == nodes[0].told
        assert {record.id for record in node.told} == {record.id for record in records}
        assert all(node.log.position(node.log.cursor(id)) == id for id in ids(node.told))


class LostAnswers:
    """Lets the answer to a commit be lost, after it was made or before."""

    def __init__(self, node: Node, *, made: bool) -> None:
        self.left = 1
        self._made = made
        self._node = node
        self._append = node.log._appending._append
        node.log._appending._append = self._lose  # type: ignore[method-assign]

    def _lose(self, connection: Any, drafts: Any, since: int | None = None) -> Any:
        if self.left:
            self.left -= 1
            if self._made:
                self._append(connection, drafts, since)
            shut_down(connection)
            connection.execute("SELECT 1")
        return self._append(connection, drafts, since)


@in_reactor
@pytest.mark.parametrize("made", [True, False])
async def test_a_commit_in_doubt_is_asked_about(cluster: Cluster, made: bool) -> None:
    node, other = cluster.open(), cluster.open()
    first = await wait(node.log.append(draft("before", client_id="c0")))
    LostAnswers(node, made=made)
    drafts = [draft("a", client_id="c1"), draft("b"), draft("c", client_id="c0")]
    a, b, c = await wait(node.log.append_all(drafts))
    assert isinstance(a, Record)
    assert (a.id, a.repeated) == (2, False)
    assert isinstance(b, StorageUnavailable)
    assert "may have been stored" in b.detail
    assert isinstance(c, Record)
    assert (c.id, c.repeated) == (first.id, True)
    assert node.log.condition().doubts == 1
    await wait(other.log.catch_up())
    await wait(node.log.catch_up())
    # What has no client_id is there when it was made, and is not sent again.
    kept = ["before", "a", "b"] if made else ["before", "a"]
    assert texts(node.told) == texts(other.told) == kept
    assert ids(node.told) == list(range(1, len(kept) + 1))


@in_reactor
async def test_what_was_made_though_its_answer_was_lost_is_no_repeat(cluster: Cluster) -> None:
    node = cluster.open()
    LostAnswers(node, made=True)
    said = await wait(node.log.append(draft("a", client_id="c1")))
    assert not said.repeated
    again = await wait(node.log.append(draft("a", client_id="c1")))
    assert (again.id, again.repeated) == (said.id, True)
    assert texts(node.told) == ["a"]


@in_reactor
async def test_while_the_server_stands_still_all_wait_and_nothing_is_lost(
    own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ears, "PATIENCE", 60)
    node, other = own_cluster.open(), own_cluster.open()
    await wait(node.log.append(draft("before")))
    with own_cluster.server.frozen():
        sent = node.log.append(draft("during", client_id="c1"))
        await until(lambda: node.log._appending._unanswered[0].sent)
        queued = node.log.append(draft("queued", client_id="c2"))
        lose_patience(node)
        error = await refused(sent, StorageUnavailable)
        assert "may have been stored" in error.detail
        assert "client_id" in error.detail
        error = await refused(queued, StorageUnavailable)
        assert "Nothing was sent" in error.detail
        await until(lambda: node.log.condition().unreachable_for > 2)
    await until(lambda: len(other.told) == 2)
    await until(lambda: len(node.told) == 2)
    monkeypatch.undo()
    again = await wait(node.log.append(draft("during", client_id="c1")))
    assert again.repeated
    record = await wait(node.log.append(draft("queued", client_id="c2")))
    assert (record.id, record.repeated) == (3, False)
    assert texts(other.told)[:2] == ["before", "during"]


@in_reactor
async def test_without_a_server_posts_are_refused_and_nothing_is_foreign(
    own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = own_cluster.open()
    await wait(node.log.append(draft("before")))
    cursor = node.log.cursor(1)
    # Only now: a busy machine may take as long for what is stored.
    monkeypatch.setattr(writer, "PATIENCE", 1.0)
    monkeypatch.setattr(ears, "PATIENCE", 1.0)
    own_cluster.server.stop("immediate")
    error = await refused(node.log.append(draft(client_id="c1")), StorageUnavailable)
    assert error.retry_after
    await refused(node.log.catch_up(), StorageUnavailable)
    await until(lambda: node.log.condition().unreachable_for > 0)
    own_cluster.server.start()
    monkeypatch.undo()
    await until(lambda: node.log.condition().unreachable_for == 0)
    assert node.log.position(cursor) == 1
    await wait(node.log.append(draft("after", client_id="c2")))
    await wait(node.log.catch_up())
    assert texts(node.told)[0] == "before"
    assert texts(node.told)[-1] == "after"


@in_reactor
async def test_a_log_that_is_full_takes_repeats_only(cluster: Cluster) -> None:
    log = cluster.open().log
    await wait(log.append(draft("a", client_id="c1")))
    await wait(log.catch_up())
    log.ears.size = 2**31
    assert await refused(log.append(draft("b")), LogFull)
    assert (await wait(log.append(draft("a", client_id="c1")))).repeated
    assert texts(await wait(log.read([LOBBY], limit=5))) == ["a"]


@in_reactor
async def test_a_draft_that_can_not_be_kept_does_not_harm_its_neighbours(cluster: Cluster) -> None:
    node = cluster.open()
    drafts = [draft("a"), draft("b", author="nul\x00"), draft("c", client_id=token_hex(9000))]
    a, b, c, d = await wait(node.log.append_all([*drafts, draft("d")]))
    assert isinstance(b, ValueError)
    assert isinstance(c, Exception)
    assert [each.id for each in (a, d) if isinstance(each, Record)] == [1, 2]
    assert texts(node.told) == ["a", "d"]
