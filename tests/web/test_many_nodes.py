"""One chat on two nodes: whatever is done at one of them holds at the other, by HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from cometd_chat.chat.roles import Role
from cometd_chat.chat_parts import Neighbours
from cometd_chat.errors import StorageUnavailable
from cometd_chat.log.bus import MemoryBus
from cometd_chat.log.directory import RoomRow
from cometd_chat.log.memory_directory import MemorySharedDirectory
from cometd_chat.log.nodes import LeasedNodes, MemoryNodeTable
from tests.memory import HeldLog, MemorySite
from tests.web.moderators import with_role
from tests.web.refusals import problem
from tests.web.transports import Client


class Node(MemorySite):
    """A site that has log, directory and bus with another one.

    :param beside: that one.
    """

    log: HeldLog
    directory: MemorySharedDirectory

    def __init__(self, beside: Node | None = None, **settings: Any) -> None:
        self.beside = beside
        log = HeldLog() if beside is None else HeldLog(beside=beside.log)
        rows = [] if beside is not None else [RoomRow("lobby", "", "", 0)]
        super().__init__(
            log=log,
            directory=MemorySharedDirectory(
                rows, log, lambda: 0.0, None if beside is None else beside.directory
            ),
            clock=None if beside is None else beside.clock,
            **settings,
        )
        if beside is not None:
            # One reactor has the connections of both.
            self._by_transport, self.stirred = beside._by_transport, beside.stirred

    def make_neighbours(self) -> Neighbours:
        beside = self.beside
        self.table: MemoryNodeTable = (
            MemoryNodeTable(self.clock.seconds, self.log) if beside is None else beside.table
        )
        self.nodes: LeasedNodes = LeasedNodes(
            self.table, self.engine.reaper, name="a node", peer="", version="1"
        )
        self.bus: MemoryBus = MemoryBus(
            lambda: self.nodes.number, None if beside is None else beside.bus
        )
        self.nodes.start()
        return Neighbours(self.bus, self.nodes, lambda: self.log.cut is None)


class Pair:
    """Two nodes."""

    def __init__(self) -> None:
        self.first = Node()
        self.second = Node(self.first)

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 2)):
            self.first.advance(0.5)
            self.second.turn()


@pytest.fixture
def pair() -> Pair:
    return Pair()


def make_room(node: Node, token: str, name: str = "attic") -> None:
    response = node.post("/api/v1/rooms", {"name": name}, token=token)
    assert response.status == 201, response.text


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/rooms/attic",
        "/api/v1/rooms/attic/people",
        "/api/v1/rooms/attic/messages",
        "/rooms/attic",
        "/rooms/attic/plain",
        "/api/v1/events/poll?rooms=attic&wait=0",
        "/chat?room=attic",
    ],
)
def test_a_room_that_was_made_a_moment_ago_is_there(pair: Pair, path: str) -> None:
    token = pair.first.log_in("alice")
    pair.second.log.delay()
    make_room(pair.first, token)
    response = pair.second.get(path)
    assert not response.complete
    pair.second.log.hurry()
    pair.second.turn()
    assert response.status == 200, response.text


def test_what_cannot_be_known_is_not_404(pair: Pair) -> None:
    pair.second.log.cut = StorageUnavailable("Out of reach.", retry_after=1)
    response = pair.second.get("/api/v1/rooms/attic")
    assert (response.status, response.header("retry-after")) == (503, "1")
    pair.second.log.mend()
    assert pair.second.get("/api/v1/rooms/attic").status == 404


def test_somebody_makes_a_room_at_one_node_and_speaks_in_it_at_the_other(pair: Pair) -> None:
    token = pair.first.log_in("alice")
    make_room(pair.first, token)
    stream = pair.first.get("/api/v1/events/stream?rooms=attic", token=token)
    said = pair.second.post("/api/v1/rooms/attic/messages", {"text": "hi"}, token=token)
    assert said.status == 201
    pair.advance(1)
    assert '"text":"hi"' in stream.text
    people = pair.second.get("/api/v1/rooms/attic/people").json()["people"]
    assert people == [{"name": "alice", "role": "moderator"}]
    rooms = pair.second.get("/api/v1/rooms").json()["rooms"]
    assert [(room["name"], room["people"]) for room in rooms] == [("lobby", 0), ("attic", 1)]


def test_who_reads_at_both_nodes_has_come_once(pair: Pair) -> None:
    watching = pair.second.get("/api/v1/events/stream?rooms=lobby")
    token = pair.first.log_in("alice")
    for node in (pair.first, pair.second):
        node.get("/api/v1/events/stream?rooms=lobby", token=token)
        pair.advance(1)
    assert watching.text.count('"type":"join"') == 1
    assert '"type":"leave"' not in watching.text


def test_who_logs_out_at_one_node_is_sent_away_from_the_other(pair: Pair) -> None:
    token = pair.first.log_in("alice")
    stream = pair.second.get("/api/v1/events/stream?rooms=lobby", token=token)
    watching = pair.second.get("/api/v1/events/stream?rooms=lobby")
    pair.advance(1)
    assert pair.first.request("DELETE", "/api/v1/session", token=token).status == 204
    pair.second.turn()
    assert '"type":"bye"' in stream.text
    assert stream.complete
    assert '"type":"leave"' in watching.text


def test_typing_is_seen_at_the_other_node(pair: Pair) -> None:
    token = pair.first.log_in("alice")
    watching = pair.second.get("/api/v1/events/stream?rooms=lobby")
    assert pair.first.post("/api/v1/rooms/lobby/typing", token=token).status == 204
    pair.second.turn()
    assert '"type":"typing"' in watching.text


class TestSanctions:
    def moderator(self, pair: Pair) -> str:
        """The token of one who is on the first node."""
        return with_role(pair.first, "marta", Role.MODERATOR)

    def ban(self, pair: Pair, token: str, kind: str = "ban") -> Any:
        answer = pair.first.post("/api/v1/sanctions", {"kind": kind, "who": "bob"}, token=token)
        pair.advance(1)
        return answer

    def test_a_ban_ends_what_is_held_on_the_other_node(self, pair: Pair) -> None:
        marta, bob = self.moderator(pair), pair.second.log_in("bob")
        stream = Client(pair.second, "stream", token=bob)
        answer = self.ban(pair, marta)
        assert answer.status == 201, answer.text
        assert stream.over
        assert stream.of("bye")[0]["reason"] == "banned"
        for node in (pair.first, pair.second):
            problem(node, node.get("/api/v1/rooms", token=bob), 403, "banned")
        lifted = pair.second.request(
            "DELETE", f"/api/v1/sanctions/{answer.json()['id']}", token=bob
        )
        problem(pair.second, lifted, 403, "banned")
        path = f"/api/v1/sanctions/{answer.json()['id']}"
        assert pair.first.request("DELETE", path, token=marta).status == 204
        assert pair.second.get("/api/v1/rooms", token=bob).status == 200

    def test_a_node_that_comes_later_knows_of_it(self, pair: Pair) -> None:
        marta, bob = self.moderator(pair), pair.second.log_in("bob")
        assert self.ban(pair, marta).status == 201
        third = Node(pair.first)
        problem(third, third.get("/api/v1/rooms", token=bob), 403, "banned")

    def test_a_network_is_banned_of_somebody_who_is_on_the_other_node(self, pair: Pair) -> None:
        marta = self.moderator(pair)
        bob = pair.second.log_in("bob", address="8.8.8.8")
        stream = Client(pair.second, "stream", token=bob, address="8.8.8.8")
        answer = self.ban(pair, marta, "ban-network")
        assert answer.status == 201, answer.text
        assert stream.over
        for node in (pair.first, pair.second):
            refused = node.post("/api/v1/session", {"name": "rob"}, address="8.8.8.77")
            problem(node, refused, 403, "banned")

    def test_the_networks_of_guests_who_speak_on_either_node(self, pair: Pair) -> None:
        marta = self.moderator(pair)
        for node, name, address in (
            (pair.first, "rob 1", "11.1.1.1"),
            (pair.second, "rob 2", "11.2.2.2"),
            (pair.second, "rob 3", "11.3.3.3"),
        ):
            token = node.log_in(name, address=address)
            path = "/api/v1/rooms/lobby/messages"
            assert node.post(path, {"text": "spam"}, token=token, address=address).status == 201
        pair.advance(1)
        asked = {"kind": "ban-network", "guests_of": "lobby"}
        answer = pair.first.post("/api/v1/sanctions", asked, token=marta)
        pair.advance(1)
        assert len(answer.json()["sanctions"]) == 3
        for node in (pair.first, pair.second):
            for number in (1, 2, 3):
                again = f"11.{number}.{number}.9"
                refused = node.post("/api/v1/session", {"name": "rob"}, address=again)
                problem(node, refused, 403, "banned")

    def test_a_network_of_nobody_is_not(self, pair: Pair) -> None:
        marta = self.moderator(pair)
        pair.second.log_in("bob", address="192.168.1.3")
        refused = problem(pair.first, self.ban(pair, marta, "ban-network"), 403, "not-allowed")
        assert "private" in refused["detail"]

    def test_two_ban_the_same_at_once(self, pair: Pair) -> None:
        marta, bob = self.moderator(pair), pair.second.log_in("bob")
        other = with_role(pair.second, "otto", Role.MODERATOR)
        asked = {"kind": "ban", "who": "bob"}
        answers = [
            pair.first.post("/api/v1/sanctions", asked, token=marta),
            pair.second.post("/api/v1/sanctions", asked, token=other),
        ]
        pair.advance(1)
        assert sorted(each.status for each in answers) in ([201, 201], [201, 409])
        made = [each.json()["id"] for each in answers if each.status == 201]
        problem(pair.first, pair.first.get("/api/v1/rooms", token=bob), 403, "banned")
        for id in made:
            path = f"/api/v1/sanctions/{id}"
            assert pair.first.request("DELETE", path, token=marta).status == 204
            pair.advance(1)
        assert pair.first.get("/api/v1/rooms", token=bob).status == 200
