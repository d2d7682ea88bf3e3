"""Replies that are lost, and those that only look it: of long polls and of publishes, by a client
without the acknowledge extension, on both ways of a request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.memory import MemorySite
from tests.web.bayeux import LONG, SCRIPT, SOCKET, Client, Message
from tests.web.talkers import PING
from tests.wire import Connection

#: How a proxy says that it is one.
PROXIED = {"X-Forwarded-For": "198.51.100.1"}


@pytest.fixture(params=[True, False], ids=["lane", "klein"])
def site(request: pytest.FixtureRequest) -> Iterator[MemorySite]:
    with MemorySite(fast_lane=request.param, bayeux_channels=("/app/**",)) as made:
        yield made


class Poller(Client):
    """A client that sends each connect by a connection of its own, which the test has in hand.

    :param always: the advice of all its connects.
    """

    def __init__(
        self, site: MemorySite, kind: str = LONG, *, always: object = None, **options: Any
    ) -> None:
        super().__init__(site, kind, name="alice", start=False, **options)
        self.always = {} if always is None else {"advice": always}
        self.poll = self.connection
        self.handshake()
        self.connect()
        self.joined("/chat/lobby")

    def connect(self, **fields: Any) -> None:
        self.poll = self.site.connect()
        message = {"channel": "/meta/connect", "connectionType": self.kind, **self.always, **fields}
        self.held = self.post(self.full(message), connection=self.poll)

    def heard(self) -> list[str]:
        """What was said, by the reply to the newest connect."""
        assert self.held is not None
        return [each["data"]["text"] for each in self.read(self.held) if "data" in each]


def goes(poll: Connection, how: str) -> None:
    """A connection ends, or stays."""
    if how == "reset":
        poll.reset()
    elif how == "closed":
        poll.close()


@pytest.mark.parametrize("kind", [LONG, SCRIPT])
@pytest.mark.parametrize("ids", [{}, {"id": "1"}, {"id": None}], ids=str)
@pytest.mark.parametrize(("how", "again"), [("reset", True), ("closed", False), ("stays", False)])
def test_what_the_connection_tells(
    site: MemorySite, kind: str, ids: Message, how: str, again: bool
) -> None:
    """Whatever ids the client gives its connects."""
    alice = Poller(site, kind)
    alice.connect(**ids)
    for number in range(4):
        site.say(f"n{number}")
        assert alice.heard()[-1] == f"n{number}"
        goes(alice.poll, how)
        alice.connect(**ids)
        assert alice.held is not None
        assert alice.held.complete is again
        if again:
            assert alice.heard() == [f"n{number}"]
            alice.poll.close()
            alice.connect(**ids)


def test_a_request_on_the_same_connection_says_that_the_reply_was_read(site: MemorySite) -> None:
    alice = Poller(site)
    alice.connect()
    site.say("one")
    assert alice.heard() == ["one"]
    assert alice.poll.request("GET", "/healthz").status == 200
    alice.poll.reset()
    alice.connect()
    assert alice.held is not None
    assert not alice.held.complete


def test_a_reply_that_waits_here_has_not_arrived(site: MemorySite) -> None:
    alice = Poller(site)
    alice.connect()
    alice.poll.open_window(0)
    site.say("one")
    alice.connect()
    assert alice.heard() == ["one"]


def test_a_reply_that_a_closed_peer_had_not_taken_is_lost(site: MemorySite) -> None:
    alice = Poller(site)
    alice.connect()
    alice.poll.open_window(100)
    site.say("one")
    alice.poll.close()
    alice.connect()
    assert alice.heard() == ["one"]


def test_an_idle_connection_that_we_close_says_nothing(site: MemorySite) -> None:
    alice = Poller(site)
    alice.connect()
    site.say("one")
    assert alice.heard() == ["one"]
    for _ in range(4):
        site.advance(20)
        assert alice.ask("/chat/dev", data={"text": "here"})["successful"]
    assert alice.poll.closed
    alice.connect()
    assert alice.held is not None
    assert not alice.held.complete


class TestBehindAProxy:
    """Its connection tells only of itself; the client may tell the rest."""

    @pytest.mark.parametrize(
        ("first", "second", "again"),
        [
            # Faye sends the same connect again.
            ({"id": "8"}, {"id": "8"}, True),
            # CometD another one, which is to be answered at once.
            ({}, {"advice": {"timeout": 0}}, True),
            # All is well.
            ({}, {}, False),
            # So it is where a client always wants that.
            ({"advice": {"timeout": 0}}, {"advice": {"timeout": 0}}, False),
        ],
        ids=["faye", "cometd", "well", "hurried"],
    )
    def test_the_client_tells(
        self, site: MemorySite, first: Message, second: Message, again: bool
    ) -> None:
        alice = Poller(site, headers=PROXIED, always=first.get("advice"))
        for _ in range(2):
            alice.connect()
        if "advice" in first:
            site.say("one")
        alice.connect(**first)
        if "advice" not in first:
            site.say("one")
        assert alice.heard() == ["one"]
        # As the proxy does where it keeps its connections.
        alice.poll.request("GET", "/healthz", headers=PROXIED)
        alice.connect(**second)
        assert alice.held is not None
        told = alice.heard() if alice.held.complete else []
        assert told == (["one"] if again else [])

    @pytest.mark.parametrize(
        "again", [{"id": "8"}, {"advice": {"timeout": 0}}], ids=["faye", "cometd"]
    )
    def test_several_in_a_row_may_be_lost(self, site: MemorySite, again: Message) -> None:
        alice = Poller(site, headers=PROXIED)
        for _ in range(3):
            alice.connect()
        alice.connect(**({"id": "8"} if "id" in again else {}))
        site.say("one")
        for _ in range(5):
            assert alice.heard() == ["one"]
            alice.connect(**again)
        assert alice.heard() == ["one"]
        alice.connect()
        assert alice.held is not None
        assert not alice.held.complete

    def test_one_id_for_all_tells_nothing(self, site: MemorySite) -> None:
        """After six, which may have been one that was sent again."""
        alice = Poller(site, headers=PROXIED)
        for _ in range(7):
            alice.connect(id="1")
        for number in range(3):
            alice.connect(id="1")
            site.say(f"n{number}")
            assert alice.heard() == [f"n{number}"]

    def test_other_messages_beside_a_connect_tell_nothing(self, site: MemorySite) -> None:
        """Faye then wants the connect answered at once, too."""
        alice = Poller(site, headers=PROXIED)
        alice.connect()
        site.say("one")
        assert alice.heard() == ["one"]
        connect = {"channel": "/meta/connect", "advice": {"timeout": 0}}
        said = {"channel": "/app/x", "data": 1}
        told = alice.read(alice.post(alice.full(connect), alice.full(said)))
        assert [each["channel"] for each in told] == ["/app/x", "/meta/connect"]


def test_what_a_socket_has_brought_is_known_a_round_trip_later(site: MemorySite) -> None:
    alice = Client(site, SOCKET, name="alice").joined("/chat/lobby")
    for number in range(5):
        site.say(f"n{number}")
        assert alice.texts[-1] == f"n{number}"
        alice.leave()
        alice.open_line()
        alice.connect()
    assert alice.texts == [f"n{number}" for number in range(5)]


def test_one_question_at_a_time_is_asked_of_a_socket(site: MemorySite) -> None:
    alice = Client(site, SOCKET, name="alice").joined("/chat/lobby")
    assert alice.line is not None
    alice.line.answers_pings = False
    for number in range(5):
        site.say(f"n{number}")
    assert alice.texts == [f"n{number}" for number in range(5)]
    assert len([opcode for opcode, _ in alice.line.frames if opcode == PING]) == 1
    alice.line.answers_pings = True
    alice.pump()
    assert len([opcode for opcode, _ in alice.line.frames if opcode == PING]) == 2


class TestPublishes:
    """What is published again with its id, channel and data."""

    def publish(self, alice: Client) -> Connection:
        connection = alice.site.connect()
        message = {"channel": "/chat/lobby", "id": "same", "data": {"text": "ok"}}
        response = alice.post(alice.full(message), connection=connection)
        assert [each["successful"] for each in alice.read(response)] == [True]
        return connection

    @pytest.mark.parametrize(("how", "said"), [("reset", 1), ("closed", 2), ("stays", 2)])
    def test_what_the_connection_tells(self, site: MemorySite, how: str, said: int) -> None:
        alice = Client(site, name="alice")
        goes(self.publish(alice), how)
        self.publish(alice)
        assert len(site.get("/api/v1/rooms/lobby/messages").json()["messages"]) == said

    def test_a_reload_keeps_the_session_and_begins_with_the_same_ids(
        self, site: MemorySite
    ) -> None:
        alice = Client(site, name="alice", start=False)
        alice.handshake()
        for _ in range(4):
            for connect in ({"id": "2", "advice": {"timeout": 0}}, {"id": "4"}):
                alice.connect(**connect)
            self.publish(alice)
        assert len(site.get("/api/v1/rooms/lobby/messages").json()["messages"]) == 4

    def test_by_sockets(self, site: MemorySite) -> None:
        jar: dict[str, str] = {}
        alice = Client(site, SOCKET, jar=jar, name="alice").joined("/chat/lobby")
        message = alice.full({"channel": "/chat/lobby", "id": "same", "data": {"text": "ok"}})
        assert alice.line is not None
        alice.line.send([message])
        alice.line.connection.reset()
        alice.open_line()
        alice.line.send([message])
        replies = [each for each in alice.line.messages() if each.get("id") == "same"]
        assert [each["successful"] for each in replies] == [True]
        assert len(site.get("/api/v1/rooms/lobby/messages").json()["messages"]) == 1
