"""What a session opens on one node takes the place of what it holds on others: best effort."""

from __future__ import annotations

import pytest
from twisted.logger import LogEvent

from cometd_chat.chat.cluster_openings import MOST_TOLD, NEWER_FOR
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.sessions import Session
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import now
from tests.chat.test_reading import Held, unheard


@pytest.fixture
def cluster(failures: list[LogEvent]) -> Cluster:
    return Cluster()


def open_at(
    node: Node, session: Session, *, client: str | None = None, most: int | None = None
) -> Held:
    """A session holds something at a node."""
    held = Held(one_shot=client is not None)
    point = ResumePoint(node.feed.last_id)
    node.chat.readers.read(
        session, [node.room()], held, point, on_end=unheard, client=client, most=most
    )
    return held


def everywhere(cluster: Cluster, name: str = "alice") -> list[Session]:
    """Somebody who is known, and present, at each node."""
    _, token = now(cluster.nodes[0].chat.log_in(name, "192.0.2.7"))
    sessions = [now(node.sessions.by_token(token)) for node in cluster.nodes]
    for node, session in zip(cluster.nodes, sessions, strict=True):
        node.chat.arrive(session, node.room(), "192.0.2.7")
    cluster.advance(2)
    return sessions


def test_a_poll_takes_the_place_of_that_of_its_window_on_another_node(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    alice, there, _ = everywhere(cluster)
    before = open_at(first, alice, client="w1")
    other = open_at(first, alice, client="w2")
    cluster.advance(NEWER_FOR + 1)
    after = open_at(second, there, client="w1")
    cluster.advance(2)
    assert (before.ended, other.ended, after.ended) == (True, False, False)


def test_what_is_newer_here_stays(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    alice, there, _ = everywhere(cluster)
    second.slow_down()
    open_at(first, alice, client="w1")
    cluster.advance(1)
    newer = open_at(second, there, client="w1")
    second.hurry()
    assert not newer.ended


def test_what_is_over_is_not_told(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    alice, there, _ = everywhere(cluster)
    before = open_at(first, alice, client="w1")
    cluster.advance(NEWER_FOR + 1)
    after = open_at(second, there, client="w1")
    after.subscription.answer_now()
    cluster.advance(2)
    assert not before.ended


def test_a_session_holds_so_many_over_two_nodes(cluster: Cluster) -> None:
    first, second, _ = cluster.nodes
    alice, there, _ = everywhere(cluster)
    here = [open_at(first, alice, most=4) for _ in range(3)]
    cluster.advance(2)
    new = [open_at(second, there, most=4) for _ in range(2)]
    cluster.advance(2)
    assert [held.ended for held in here] == [True, False, False]
    assert here[0].types[-1] == "bye"
    assert not any(held.ended for held in new)


def test_nothing_is_told_of_who_is_on_one_node_only(cluster: Cluster) -> None:
    told: list[bytes] = []
    first, second, _ = cluster.nodes
    second.bus.subscribe("opened", lambda node, message: told.append(message))
    alice = first.log_in("alice")
    open_at(first, alice, client="w1")
    cluster.advance(5)
    assert told == []


def test_no_more_is_told_at_a_time_than_so_much(cluster: Cluster) -> None:
    told: list[bytes] = []
    first, second, _ = cluster.nodes
    second.bus.subscribe("opened", lambda node, message: told.append(message))
    alice, _, _ = everywhere(cluster)
    for number in range(MOST_TOLD + 20):
        open_at(first, alice, client=f"window-{number}")
    cluster.advance(2)
    (message,) = told
    assert message.count(b"window-") == MOST_TOLD
    assert len(message) < 4000
