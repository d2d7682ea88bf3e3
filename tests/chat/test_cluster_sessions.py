"""Sessions over several nodes: one session, one name, one end, whichever node is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs

from cometd_chat.chat.sessions import TOKEN_LIFETIME, Session
from cometd_chat.errors import ChatError, InvalidToken, NameTaken, StorageUnavailable
from cometd_chat.log.control import SessionEnded, SessionRenamed, control_draft
from cometd_chat.log.nodes import LEASE, RENEW_AFTER
from tests.chat.cluster import Cluster, Node
from tests.chat.parts import begun, now
from tests.chat.test_passing_guests import Held
from tests.chat.test_reading import read
from tests.directories import kept_sessions
from tests.examples import examples

ADDRESS = "192.0.2.7"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Three nodes, which may say that the database is out of reach, but nothing worse."""
    with capturedLogs() as logged:
        yield Cluster(3)
    assert [event for event in logged if event["log_level"] >= LogLevel.error] == []


def log_in(node: Node, name: str, **options: Any) -> tuple[Session, str]:
    return now(node.chat.log_in(name, ADDRESS, **options))


def find(node: Node, token: str) -> Session:
    found: Session = now(node.sessions.by_token(token))
    return found


def outcome(waiting: Deferred[Any]) -> list[Any]:
    found: list[Any] = []
    waiting.addBoth(found.append)
    return found


# -- a token is good everywhere


def test_a_token_is_known_at_every_node(cluster: Cluster) -> None:
    session, token = log_in(cluster.nodes[0], "Alice")
    for node in cluster.nodes:
        found = find(node, token)
        assert (found.id, found.name, found.name_key) == (session.id, "Alice", "alice")
        assert find(node, token) is found
        assert node.sessions.known(token) is found
    assert find(cluster.nodes[0], token) is session


def test_what_a_node_has_not_heard_of_is_asked_of_the_database(cluster: Cluster) -> None:
    """A log-in needs no record: it is nobody's business until somebody comes with its token."""
    before = cluster.log.last_id
    cluster.nodes[1].slow_down()
    _, token = log_in(cluster.nodes[0], "alice")
    assert find(cluster.nodes[1], token).name == "alice"
    assert cluster.log.last_id == before


@pytest.mark.parametrize("kind", [{}, {"ephemeral": True}, {"transient": True}], ids=str)
def test_a_name_is_one_over_all_nodes(cluster: Cluster, kind: dict[str, bool]) -> None:
    first, *others = cluster.nodes
    session, _ = log_in(first, "Ivan", **kind)
    first.chat.readers.hold(session, Held())
    for node in others:
        for other in ("ivan", "lvan"):
            for wanted in ({}, {"ephemeral": True}, {"transient": True}):
                with pytest.raises(NameTaken):
                    log_in(node, other, **wanted)
        somebody, _ = log_in(node, f"somebody {node.place}")
        with pytest.raises(NameTaken):
            now(node.chat.rename(somebody, "1van", ADDRESS))


# -- a session ends


def test_an_end_is_one_everywhere(cluster: Cluster) -> None:
    _, token = log_in(cluster.nodes[0], "alice")
    found = [find(node, token) for node in cluster.nodes]
    streams = [read(node, session=each) for node, each in zip(cluster.nodes, found, strict=True)]
    now(cluster.nodes[2].chat.log_out(found[2]))
    assert all(each.ended for each in found)
    assert [stream.types[-1] for stream in streams] == ["bye"] * 3
    assert all(stream.ended for stream in streams)
    for node, session in zip(cluster.nodes, found, strict=True):
        assert node.sessions.known(token) is None
        assert not node.sessions.use_again(session)
        with pytest.raises(InvalidToken):
            find(node, token)
    log_in(cluster.nodes[1], "alice")


def test_whoever_ends_it_again_is_told_nothing_else(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    _, token = log_in(a, "alice")
    here, there = find(a, token), find(b, token)
    b.slow_down()
    now(a.chat.log_out(here))
    ending = begun(b.chat.log_out(there))
    b.hurry()
    now(ending)
    assert there.ended


def test_a_slow_node_ends_it_before_anything_newer_is_told(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    _, token = log_in(a, "alice")
    stream = read(b, session=find(b, token))
    b.slow_down()
    now(a.chat.log_out(find(a, token)))
    other, _ = log_in(a, "bob")
    now(a.chat.messages.say(other, a.room(), "she is gone", address=ADDRESS))
    assert stream.types == ["hello"]
    b.hurry()
    assert stream.types[-1] == "bye"
    assert stream.ids == []


def test_who_has_ended_can_not_end_by_a_node_that_is_cut_off(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    _, token = log_in(a, "alice")
    there = find(b, token)
    b.cut_off()
    now(a.chat.log_out(find(a, token)))
    # It can't know, and does not go by what it knew.
    assert not b.sessions.use_again(there)
    assert b.sessions.known(token) is None
    with pytest.raises(StorageUnavailable):
        find(b, token)
    with pytest.raises(StorageUnavailable):
        now(b.chat.log_out(there))
    b.mend()
    assert there.ended


def test_what_is_told_while_a_row_is_read_is_not_undone_by_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = cluster.nodes
    _, token = log_in(a, "alice")
    look = b.directory.session_by_token
    waiting: list[Callable[[], None]] = []

    def slow(token_hash: bytes) -> Deferred[Any]:
        row, answer = now(look(token_hash)), Deferred[Any]()
        waiting.append(lambda: answer.callback(row))
        return answer

    monkeypatch.setattr(b.directory, "session_by_token", slow)
    asking = outcome(begun(b.sessions.by_token(token)))
    now(a.chat.log_out(find(a, token)))
    waiting.pop()()
    assert not asking
    waiting.pop()()
    assert asking[0].check(InvalidToken)


# -- names


def test_a_rename_is_one_everywhere(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    _, token = log_in(a, "alice")
    found = [find(node, token) for node in cluster.nodes]
    streams = [read(node, session=each) for node, each in zip(cluster.nodes, found, strict=True)]
    new = now(b.chat.rename(found[1], "Carol", ADDRESS))
    assert new is not None
    assert [each.name for each in found] == ["Carol"] * 3
    # What she holds was opened by another token: it begins anew, everywhere.
    assert [stream.types[-1] for stream in streams] == ["reopen"] * 3
    for node, session in zip(cluster.nodes, found, strict=True):
        with pytest.raises(InvalidToken):
            find(node, token)
        assert find(node, new) is session
    log_in(c, "alice")
    with pytest.raises(NameTaken):
        log_in(a, "carol")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_who_want_a_name_one_gets_it(cluster: Cluster, order: Sequence[int]) -> None:
    nodes = cluster.nodes[:2]
    people = [log_in(node, f"guest {node.place}")[0] for node in nodes]
    for node in nodes:
        node.slow_down()
    asked = {
        place: outcome(begun(nodes[place].chat.rename(people[place], "carol", ADDRESS)))
        for place in order
    }
    for node in nodes:
        node.hurry()
    winner, loser = order
    assert isinstance(asked[winner][0], str)
    assert asked[loser][0].check(NameTaken)
    assert people[winner].name == "carol"
    assert people[loser].name == f"guest {loser + 1}"


def test_two_renames_of_one_session_leave_all_nodes_with_the_later(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    _, token = log_in(a, "alice")
    found = [find(node, token) for node in cluster.nodes]
    for node in cluster.nodes:
        node.slow_down()
    first = begun(a.chat.rename(found[0], "bob", ADDRESS))
    second = begun(b.chat.rename(found[1], "carol", ADDRESS))
    # The first one hears of the second before it hears that its own came through.
    for node in (c, a, b):
        node.hurry()
    now(first), now(second)
    assert [each.name for each in found] == ["carol"] * 3
    assert len({each.known_by for each in found}) == 1


def test_a_change_is_one_though_the_log_can_not_be_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = cluster.nodes[0]
    session, token = log_in(a, "alice")
    a.slow_down()
    rename = a.directory.rename_session

    def cut_after(*options: Any) -> Deferred[None]:
        renaming: Deferred[None] = rename(*options)
        a.log.cut = StorageUnavailable("gone")
        return renaming

    monkeypatch.setattr(a.directory, "rename_session", cut_after)
    new = now(a.chat.rename(session, "carol", ADDRESS))
    assert session.name == "carol"
    a.log.mend()
    a.hurry()
    assert new is not None
    assert (session.name, find(a, new)) == ("carol", session)
    with pytest.raises(InvalidToken):
        find(a, token)


# -- guests who are gone


def test_who_is_seen_at_any_node_keeps_her_name(cluster: Cluster) -> None:
    _, token = log_in(cluster.nodes[0], "alice")
    for _ in range(4):
        for node in cluster.nodes[1:]:
            cluster.advance(600)
            assert find(node, token).name_key == "alice"
    with pytest.raises(NameTaken):
        log_in(cluster.nodes[0], "alice")


def test_who_holds_something_at_another_node_keeps_her_name(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    _, token = log_in(a, "alice")
    session = find(b, token)
    stream = read(b, session=session)
    cluster.advance(2400)
    with pytest.raises(NameTaken):
        log_in(a, "alice")
    # And she is in use no longer where she was only seen.
    assert len(a.sessions) == 0
    stream.subscription.on_lost()
    cluster.advance(1200)
    assert session.name_key is None
    log_in(a, "alice")


def test_one_sweep_is_enough(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[int] = []
    for node in cluster.nodes:
        free = node.directory.free_unseen

        def counted(seconds: float, free: Any = free, place: int = node.place) -> Deferred[int]:
            swept.append(place)
            freed: Deferred[int] = free(seconds)
            return freed

        monkeypatch.setattr(node.directory, "free_unseen", counted)
    cluster.advance(300)
    assert swept == [1] * 5
    # When it is gone, the next one does it.
    cluster.nodes[0].die()
    cluster.advance(LEASE + RENEW_AFTER)
    swept.clear()
    cluster.advance(300)
    assert swept == [2] * 5


def test_after_all_were_away_nobody_has_lost_her_name(cluster: Cluster) -> None:
    _, token = log_in(cluster.nodes[0], "alice")
    for node in cluster.nodes:
        node.die()
    cluster.clock.advance(86400)
    cluster.advance(1)
    first, node = cluster.add(), cluster.add()
    # Whoever sees that they were away need not live to say so at the first sweep.
    cluster.advance(10)
    first.die()
    cluster.advance(LEASE + RENEW_AFTER + 60)
    assert node.nodes.others() == []
    cluster.advance(600)
    with pytest.raises(NameTaken):
        log_in(node, "alice")
    assert find(node, token).name_key == "alice"


def test_a_name_that_is_freed_of_somebody_who_is_here_is_taken_back(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    _, token = log_in(a, "alice")
    session = find(b, token)
    stream = read(b, session=session)
    b.cut_off()
    cluster.advance(1200)
    b.mend()
    assert (session.name_key, stream.ended) == ("alice", False)
    with pytest.raises(NameTaken):
        log_in(a, "alice")


# -- names that no row has


@pytest.mark.parametrize("kind", ["ephemeral", "transient"])
def test_what_a_node_had_is_free_with_its_lease(cluster: Cluster, kind: str) -> None:
    a, b, _ = cluster.nodes
    session, _ = log_in(a, "alice", **{kind: True})
    a.chat.readers.hold(session, Held())
    a.die()
    cluster.advance(LEASE - 1)
    with pytest.raises(NameTaken):
        log_in(b, "alice")
    cluster.advance(3)
    log_in(b, "alice")


@pytest.mark.parametrize("kind", ["ephemeral", "transient"])
def test_who_lets_go_frees_it_everywhere(cluster: Cluster, kind: str) -> None:
    a, b, _ = cluster.nodes
    session, _ = log_in(a, "alice", **{kind: True})
    held = Held()
    a.chat.readers.hold(session, held)
    a.chat.readers.let_go(session, held)
    log_in(b, "alice")


def test_what_can_not_be_given_up_is_given_up_later(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    session, _ = log_in(a, "alice", ephemeral=True)
    a.cut_off()
    now(a.sessions.end(session))
    cluster.advance(3)
    with pytest.raises(NameTaken):
        log_in(b, "alice")
    a.mend()
    cluster.advance(6)
    log_in(b, "alice")


def test_a_node_with_a_new_number_has_its_names(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    session, _ = log_in(a, "alice", ephemeral=True)
    lost, _ = log_in(a, "bob", transient=True)
    for each in (session, lost):
        a.chat.readers.hold(each, Held())
    a.cut_off()
    cluster.advance(LEASE + RENEW_AFTER + 1)
    log_in(b, "bob")
    number = a.nodes.number
    a.mend()
    cluster.advance(RENEW_AFTER + 1)
    assert a.nodes.number > number
    assert (session.name_key, lost.name_key) == ("alice", None)
    with pytest.raises(NameTaken):
        log_in(b, "alice")


def test_a_brief_session_is_renamed_over_all_nodes(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    session, _ = log_in(a, "alice", ephemeral=True)
    now(a.sessions.rename(session, "carol"))
    with pytest.raises(NameTaken):
        log_in(b, "carol")
    log_in(b, "alice")
    passing, token = log_in(a, "dave", transient=True)
    a.chat.readers.hold(passing, Held())
    now(a.sessions.rename(passing, "eve"))
    with pytest.raises(NameTaken):
        log_in(b, "eve")
    log_in(b, "dave")
    assert find(a, token) is passing


# -- guests of a browser


def guest(node: Node, name: str, browser: str) -> Session | None:
    return now(node.sessions.guest(name, browser))


def test_a_page_that_is_loaded_at_another_node_is_the_same_guest(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    session, token = log_in(a, "alice", transient=True, browser="b1")
    a.chat.readers.hold(session, Held())
    found = guest(b, "alice", "b1")
    assert found is not None
    assert (found.id, found.name_key, found.transient) == (session.id, "alice", True)
    assert guest(b, "alice", "b1") is found
    assert guest(a, "alice", "b1") is session
    assert find(b, token) is found
    assert guest(c, "alice", "b2") is None
    assert guest(c, "alicia", "b1") is None


def test_a_guest_has_her_name_as_long_as_any_node_holds_something(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    session, _ = log_in(a, "alice", transient=True, browser="b1")
    here, there = Held(), Held()
    a.chat.readers.hold(session, here)
    found = guest(b, "alice", "b1")
    assert found is not None
    b.chat.readers.hold(found, there)
    a.chat.readers.let_go(session, here)
    assert found.name_key == "alice"
    with pytest.raises(NameTaken):
        log_in(c, "alice")
    # And by her browser she is found where she is now.
    assert guest(c, "alice", "b1") is not None
    b.chat.readers.let_go(found, there)
    assert guest(c, "alice", "b1") is None
    log_in(c, "alice")


def test_a_guest_has_her_name_though_the_node_is_gone_where_she_came(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    session, _ = log_in(a, "alice", transient=True, browser="b1")
    a.chat.readers.hold(session, Held())
    found = guest(b, "alice", "b1")
    assert found is not None
    b.chat.readers.hold(found, Held())
    a.die()
    cluster.advance(LEASE + RENEW_AFTER + 1)
    assert found.name_key == "alice"
    with pytest.raises(NameTaken):
        log_in(c, "alice")
    b.die()
    cluster.advance(LEASE + RENEW_AFTER + 1)
    log_in(c, "alice")


# -- how long a token is good


def test_use_at_one_node_makes_it_last_at_all(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    _, token = log_in(a, "alice")
    here = find(a, token)
    for node in cluster.nodes:
        node.clock.advance(TOKEN_LIFETIME - 3600)
    assert b.sessions.extend(find(b, token))
    for node in cluster.nodes:
        node.clock.advance(7200)
    assert find(a, token).id == here.id


def test_a_node_whose_clock_is_wrong_ends_nobody(cluster: Cluster) -> None:
    """What time it is they have from the database."""
    _, token = log_in(cluster.nodes[0], "alice")

    class Ahead(Node):
        def calendar(self) -> float:
            return super().calendar() + 40 * 86400

    node = Ahead(cluster, cluster.nodes[0])
    cluster.nodes.append(node)
    assert find(node, token).name == "alice"
    for each in cluster.nodes[:3]:
        each.die()
    cluster.advance(LEASE + RENEW_AFTER + 120)
    assert find(node, token).name == "alice"


def test_what_has_expired_ends_everywhere(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    _, token = log_in(a, "alice")
    there = find(b, token)
    for node in cluster.nodes:
        node.clock.advance(TOKEN_LIFETIME + 1)
    cluster.advance(61)
    assert there.ended
    with pytest.raises(InvalidToken):
        find(b, token)


# -- whatever happens


class Walk:
    """People who log in, are renamed, seen and logged out at nodes that are slow, cut off and die.

    It checks that no two live sessions have one name, and in the end that all nodes know the same.
    """

    def __init__(self) -> None:
        self.cluster = Cluster(3)
        self.tokens: list[str] = []

    def node(self, number: int) -> Node:
        living = [node for node in self.cluster.nodes if node.alive]
        return living[number % len(living)]

    def do(self, what: str, node: Node, name: str, number: int) -> None:
        token = self.tokens[number % len(self.tokens)] if self.tokens else ""
        if what == "log in":
            asked: Deferred[Any] = begun(node.chat.log_in(name, ""))
            asked.addCallback(lambda found: self.tokens.append(found[1]))
        elif what == "see":
            asked = begun(node.sessions.by_token(token))
        elif what == "rename":
            asked = begun(self._rename(node, token, name))
        elif what == "log out":
            asked = begun(self._log_out(node, token))
        else:
            {
                "slow": node.slow_down,
                "hurry": node.hurry,
                "cut": node.cut_off,
                "mend": node.mend,
                "time": lambda: self.cluster.advance(7),
                "long": lambda: self.cluster.advance(700),
            }[what]()
            return
        asked.addErrback(lambda failure: failure.trap(ChatError))

    async def _rename(self, node: Node, token: str, name: str) -> None:
        session = await node.sessions.by_token(token)
        new = await node.chat.rename(session, name, "")
        if new is not None:
            self.tokens.append(new)

    async def _log_out(self, node: Node, token: str) -> None:
        await node.chat.log_out(await node.sessions.by_token(token))

    def check(self) -> None:
        for node in self.cluster.nodes:
            node.mend()
            node.hurry()
        rows = kept_sessions(self.cluster.directory)
        names = [row.name_key for row in rows.values() if row.name_key is not None]
        assert len(names) == len(set(names))
        for node in self.cluster.nodes:
            for session in node.sessions._by_id.values():
                row = rows[session.id]
                assert not session.ended
                assert (session.name, session.name_key) == (row.name, row.name_key)
                assert session.known_by == row.token_hash[:15]
                assert node.sessions._by_token[session.known_by] is session
            assert len(node.sessions._by_id) == len(node.sessions._by_token)


STEPS = st.tuples(
    st.sampled_from(
        [
            "log in",
            "see",
            "see",
            "rename",
            "log out",
            "slow",
            "hurry",
            "cut",
            "mend",
            "time",
            "long",
        ]
    ),
    st.integers(0, 2),
    st.sampled_from(["ann", "ben", "cat"]),
    st.integers(0, 5),
)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(STEPS, max_size=30))
def test_all_nodes_know_the_same_in_the_end(steps: list[tuple[str, int, str, int]]) -> None:
    walk = Walk()
    for what, node, name, number in steps:
        walk.do(what, walk.node(node), name, number)
    walk.check()


def test_what_is_told_of_those_whom_nobody_knows_is_nothing(cluster: Cluster) -> None:
    for control in (SessionEnded("00ff"), SessionRenamed("00ff", "x", "x", "x", "00")):
        cluster.log.append(control_draft(control))
    assert [len(node.sessions) for node in cluster.nodes] == [0, 0, 0]
