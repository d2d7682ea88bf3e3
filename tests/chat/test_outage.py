"""What is held here while the log is out of reach, and when it was put back to an earlier state."""

from __future__ import annotations

import pytest
from twisted.logger import capturedLogs

from cometd_chat.chat.outage import BACK_WITHIN, LONG, Outage
from cometd_chat.chat.resume import resume_at
from cometd_chat.errors import InvalidToken
from cometd_chat.log.epochs import Epochs
from tests.chat.cluster import Cluster
from tests.chat.parts import House, now
from tests.chat.test_reading import fill, read
from tests.directories import kept_sessions, replace_sessions


def test_who_is_held_stays_for_a_minute_and_is_sent_away_once(house: House) -> None:
    down = 0.0
    Outage(house.reaper, lambda: down, house.chat.readers.send_away)
    streams = [read(house), read(house, rooms=("lobby", "dev"))]
    down = LONG - 1
    house.advance(3)
    assert [stream.types for stream in streams] == [["hello"]] * 2
    down = LONG
    house.advance(3)
    for stream in streams:
        away = stream.events[-1]
        assert (away.type, away.cursor) == ("reopen", house.log.cursor(0))
        assert away.fields["after"] == BACK_WITHIN / 2
    again = read(house)
    house.advance(60)
    assert again.types == ["hello"]
    # The next time it is another one.
    down = 0
    house.advance(3)
    down = LONG
    house.advance(3)
    assert again.types[-1] == "reopen"


def put_back(cluster: Cluster, last_id: int) -> None:
    """Begin an epoch as where a backup was restored that ends with this id; what was told after
    that is another one's by now."""
    for node in cluster.nodes:
        node.chat.leave_history()
    kept = cluster.log._kept
    old = kept.epochs
    kept.epochs = Epochs([*old.names, "other"], [*old.first_ids, last_id + 1])
    replace_sessions(cluster.directory, [])
    for node in cluster.nodes:
        node.chat.put_back()


def test_whoever_reads_a_log_that_was_put_back_is_told_so() -> None:
    cluster = Cluster(2)
    node = cluster.nodes[0]
    fill(node, 5)
    _, token = now(node.chat.log_in("alice", ""))
    held = read(node, session=now(node.sessions.by_token(token)))
    last = node.feed.last_id
    cursor = node.log.cursor(last)
    put_back(cluster, last - 2)
    assert held.events[-1].type == "reopen"
    assert held.events[-1].cursor == cursor
    assert len(node.feed.tail) == 0
    point = now(resume_at(node.feed, ["/chat/lobby"], cursor))
    assert [event.type for event in point.preface] == ["reset"]
    # Nor is anybody known who is not kept any more.
    with pytest.raises(InvalidToken):
        now(node.sessions.by_token(token))


def test_whoever_was_told_nothing_that_is_gone_goes_on() -> None:
    cluster = Cluster(2)
    node = cluster.nodes[0]
    fill(node, 5)
    cursor = node.log.cursor(node.feed.last_id - 3)
    put_back(cluster, node.feed.last_id - 2)
    point = now(resume_at(node.feed, ["/chat/lobby"], cursor))
    assert point.preface == ()


def test_who_comes_back_after_a_log_was_put_back_leaves_once() -> None:
    cluster = Cluster(2)
    node, other = cluster.nodes
    fill(node, 1)
    session, token = now(node.chat.log_in("alice", ""))
    watching = read(other)
    held = read(node, session=session)
    rows = kept_sessions(cluster.directory)
    put_back(cluster, node.feed.last_id)
    assert held.ended
    replace_sessions(cluster.directory, rows.values())
    again = read(node, session=now(node.sessions.by_token(token)))
    again.subscription.on_lost()
    with capturedLogs() as logged:
        cluster.advance(60)
    assert [event for event in logged if "log_failure" in event] == []
    told = [each.type for each in watching.events if each.type in ("join", "leave")]
    assert told == ["join", "leave"] * (len(told) // 2)
    assert node.presence.count("lobby") == 0


@pytest.mark.parametrize("nodes", [1, 2])
def test_who_is_freed_while_she_lets_go_and_comes_back_leaves_once(nodes: int) -> None:
    """As a client of Bayeux does it: its session is let go first, and then its rooms."""
    cluster = Cluster(nodes)
    node = cluster.nodes[0]
    watching = read(node)
    session, token = now(node.chat.log_in("alice", "", transient=True))
    node.presence.hold("lobby", session)
    node.sessions.free_name(session)
    again = now(node.sessions.by_token(token))
    assert again is not session
    node.presence.hold("lobby", again)
    node.presence.release("lobby", session)
    with capturedLogs() as logged:
        cluster.advance(60)
        assert node.presence.count("lobby") == 1
        node.presence.release("lobby", again)
        cluster.advance(60)
    assert [event for event in logged if "log_failure" in event] == []
    told = [each.type for each in watching.events if each.type in ("join", "leave")]
    assert told == ["join", "leave"] * 2
    assert node.presence.count("lobby") == 0


def test_a_cursor_is_of_the_new_epoch_before_anything_is_said_in_it() -> None:
    """So that no node takes it for one of what is gone."""
    cluster = Cluster(2)
    node = cluster.nodes[0]
    fill(node, 5)
    last = node.feed.last_id
    lost = node.log.cursor(last)
    put_back(cluster, last - 2)
    # The log passes what nothing has any more.
    node.log._told = last + 1
    node.log._followers.tell(())
    point = now(resume_at(node.feed, ["/chat/lobby"], lost))
    (reset,) = point.preface
    assert (point.position, reset.cursor) == (last + 1, f"{last + 1}.other")
    # And so it is for whoever starts on it.
    node.feed.start([])
    assert node.feed.last_id == last + 1
