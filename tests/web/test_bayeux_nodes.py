"""Bayeux on several nodes: whichever of them a request comes to, and what follows when one goes."""

from __future__ import annotations

from typing import Any

import pytest

from cometd_chat.comet.listeners import Listeners
from cometd_chat.log.bus import MemoryBus
from cometd_chat.peering import Linked
from cometd_chat.transports.peer_links import DEAD_AFTER
from cometd_chat.web import bayeux_frames as frames
from tests.edges import EDGE, OWNER, MemoryLinks
from tests.memory import MemorySite
from tests.web.bayeux import FOREIGN, KINDS, LONG, SCRIPT, SOCKET, STREAM, Client, Line


class Node(MemorySite):
    """A site that is one of several; each has its own log, for what is shared is not this test's.

    :param number: of it.
    """

    links: MemoryLinks
    bus: MemoryBus
    renumbered: Listeners[[int]]

    def __init__(self, number: int, beside: Node | None = None, **settings: Any) -> None:
        clock = None if beside is None else beside.clock
        self.number = number
        self._beside = beside
        super().__init__(clock=clock, **settings)
        if beside is not None:
            # One reactor has the connections of both.
            self._by_transport, self.stirred = beside._by_transport, beside.stirred

    def make_linked(self) -> Linked:
        beside = self._beside
        self.links = MemoryLinks(self.clock, self.number, None if beside is None else beside.links)
        bus = MemoryBus(lambda: self.number, None if beside is None else beside.bus)
        self.bus = bus
        linked = Linked(self.links, lambda: self.number, bus)
        self.renumbered = linked.renumbered
        return linked


class Nodes:
    """Two nodes, and a balancer without a memory.

    :param owner: where all shake hands.
    """

    def __init__(self) -> None:
        settings: dict[str, Any] = {"bayeux_channels": ("/app/**",), "allow_origin": (FOREIGN,)}
        self.owner = Node(OWNER, **settings)
        self.edge = Node(EDGE, self.owner, **settings)
        self.edge.links.join(OWNER)

    def client(self, kind: str = LONG, **options: Any) -> Client:
        """A client that shook hands with the owner, and comes to the edge from then on."""
        client = Client(self.owner, LONG if kind in (SOCKET, STREAM) else kind, start=False)
        client.ext = {"authentication": {"name": "alice"}}
        client.handshake()
        move(client, self.edge)
        client.kind = kind
        if kind == STREAM:
            client.open_line()
        client.connect()
        client.connect()
        return client

    def turn(self) -> None:
        for _ in range(3):
            self.owner.turn()
            self.edge.turn()

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            self.owner.advance(0.5)
            self.turn()


def move(client: Client, site: MemorySite) -> None:
    """Let a client come to another node from now."""
    client.site = site
    client.connection = site.connect()


@pytest.fixture
def nodes() -> Any:
    made = Nodes()
    with made.owner, made.edge:
        yield made


def test_an_id_names_the_node_whose_client_it_is(nodes: Nodes) -> None:
    client = Client(nodes.owner, LONG, name="alice")
    assert client.id.startswith(f"{OWNER:08x}")
    assert len(client.id) == 40
    assert Client(nodes.edge, LONG, name="bob").id.startswith(f"{EDGE:08x}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_by_another_node(nodes: Nodes, kind: str) -> None:
    alice = nodes.client(kind).joined("/chat/lobby", "/app/news")
    assert alice.say("hi")["successful"]
    nodes.turn()
    assert alice.texts == ["hi"]
    nodes.owner.say("hello")
    nodes.turn()
    assert alice.texts == ["hi", "hello"]
    assert nodes.owner.log.last_id == 2
    assert nodes.edge.log.last_id == 0
    assert alice.ask("/meta/disconnect")["successful"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_on_by_whichever_node(nodes: Nodes, kind: str) -> None:
    alice = nodes.client(kind).joined("/chat/lobby")
    for number in range(10):
        nodes.owner.say(f"n{number}")
        nodes.turn()
        move(alice, (nodes.owner, nodes.edge)[number % 2])
        alice.say(f"a{number}")
        nodes.turn()
    expected = [text for number in range(10) for text in (f"n{number}", f"a{number}")]
    assert alice.texts == expected


def test_a_connect_is_held_over_the_link(nodes: Nodes) -> None:
    alice = nodes.client().joined("/chat/lobby")
    assert alice.held is not None
    held = alice.held
    nodes.advance(20)
    assert held.status != 200
    nodes.advance(6)
    (reply,) = alice.read(held)
    assert reply["successful"]
    assert reply["advice"]["reconnect"] == "retry"


def test_who_goes_away_at_the_edge_is_lost_to_the_owner(nodes: Nodes) -> None:
    alice = nodes.client().joined("/chat/lobby")
    alice.leave()
    nodes.turn()
    assert any(isinstance(frames.decode(each), frames.Gone) for each in nodes.owner.links.frames)
    nodes.owner.say("while away")
    nodes.turn()
    move(alice, nodes.edge)
    alice.connect()
    nodes.turn()
    assert alice.texts == ["while away"]


@pytest.mark.parametrize("kind", [LONG, SCRIPT])
def test_a_reply_that_was_lost_at_the_edge_goes_again(nodes: Nodes, kind: str) -> None:
    alice = nodes.client(kind).joined("/chat/lobby")
    held = alice.held
    assert held is not None
    (there,) = [each for each in nodes.edge.connections if held in each._waiting]
    there.socket.window = 0
    nodes.owner.say("lost")
    nodes.turn()
    there.reset()
    nodes.turn()
    move(alice, nodes.edge)
    alice.held = None
    alice.connect()
    nodes.turn()
    assert alice.texts == ["lost"]


@pytest.mark.parametrize("kind", [LONG, SCRIPT, SOCKET])
def test_the_owner_is_dead(nodes: Nodes, kind: str) -> None:
    alice = nodes.client(kind)
    nodes.edge.links.part(OWNER, for_good=True)
    nodes.advance(1)
    move(alice, nodes.edge)
    alice.held = alice.line = None
    reply = alice.ask("/meta/connect", connectionType=kind)
    assert reply["error"].startswith("402:")
    assert reply["advice"] == {"reconnect": "handshake", "interval": 0}


def test_what_is_held_when_the_owner_dies_is_answered_in_time(nodes: Nodes) -> None:
    alice = nodes.client()
    held = alice.held
    assert held is not None
    nodes.edge.links.part(OWNER)
    nodes.turn()
    nodes.advance(DEAD_AFTER + 1.5)
    (reply,) = alice.read(held)
    assert reply["error"].startswith("402:")
    assert reply["advice"]["reconnect"] == "handshake"


def test_the_id_of_no_node_is_unknown_at_once(nodes: Nodes) -> None:
    for client_id in ("x", "f" * 40, f"{77:08x}" + "0" * 32, "", "0" * 39):
        response = nodes.edge.post(
            "/cometd", [{"channel": "/meta/connect", "id": "1", "clientId": client_id}]
        )
        assert response.complete
        (reply,) = response.json()
        assert reply["error"].startswith("402:"), reply


def test_a_node_that_has_just_begun_is_waited_for(nodes: Nodes) -> None:
    new = Node(3, nodes.owner)
    with new:
        client = Client(new, LONG, name="carol", start=False)
        client.handshake()
        move(client, nodes.edge)
        client.connect()
        nodes.turn()
        assert client.held is not None
        assert not client.held.complete
        nodes.edge.links.join(3)
        nodes.turn()
        new.turn()
        nodes.turn()
        client.pump()
        assert [each["successful"] for each in client.connects] == [True]


def test_a_link_that_breaks_for_a_moment_loses_and_doubles_nothing(nodes: Nodes) -> None:
    alice = nodes.client().joined("/chat/lobby")
    held = alice.held
    nodes.edge.links.part(OWNER)
    nodes.owner.say("meanwhile")
    nodes.turn()
    nodes.edge.links.join(OWNER)
    nodes.turn()
    assert alice.held is held
    assert alice.texts == ["meanwhile"]


def test_what_was_published_as_the_link_broke_is_published_once(nodes: Nodes) -> None:
    alice = nodes.client().joined("/chat/lobby")
    message = alice.full({"channel": "/chat/lobby", "data": {"text": "once"}})
    # It is done there, and its reply does not come.
    nodes.edge.links.full.clear()
    nodes.owner.links.send_nothing = True
    response = alice.post(message)
    nodes.turn()
    assert nodes.owner.log.last_id == 1
    nodes.owner.links.send_nothing = False
    nodes.edge.links.part(OWNER)
    nodes.edge.links.join(OWNER)
    nodes.turn()
    assert response.complete
    (reply,) = response.json()
    assert reply["successful"]
    assert nodes.owner.log.last_id == 1


def test_what_can_not_be_told_again_is_cut(nodes: Nodes) -> None:
    alice = nodes.client().joined("/chat/lobby")
    nodes.owner.links.send_nothing = True
    nameless = {"channel": "/chat/lobby", "clientId": alice.id, "data": {"text": "once"}}
    connection = nodes.edge.connect()
    alice.post(nameless, connection=connection)
    nodes.turn()
    nodes.owner.links.send_nothing = False
    nodes.edge.links.part(OWNER)
    nodes.edge.links.join(OWNER)
    nodes.turn()
    assert connection.closed
    assert nodes.owner.log.last_id == 1


@pytest.mark.parametrize("kind", [SOCKET, STREAM])
def test_a_line_ends_with_the_link(nodes: Nodes, kind: str) -> None:
    alice = nodes.client(kind).joined("/chat/lobby")
    line = alice.line
    assert line is not None
    nodes.edge.links.part(OWNER)
    nodes.turn()
    if kind == SOCKET:
        assert line.close_code() == 1012
    else:
        assert line.response is not None
        assert line.response.complete
    nodes.owner.say("meanwhile")
    nodes.edge.links.join(OWNER)
    alice.line = None
    alice.open_line()
    alice.connect()
    nodes.turn()
    assert alice.texts == ["meanwhile"]


def test_a_stream_of_nobody_is_told_to_shake_hands(nodes: Nodes) -> None:
    client_id = f"{OWNER:08x}" + "0" * 32
    line = Line(nodes.edge, f"/cometd/{client_id}", {"Accept": "text/event-stream"}, "192.0.2.7")
    nodes.turn()
    (message,) = line.messages()
    assert message["advice"] == {"reconnect": "handshake", "interval": 0}
    assert line.response is not None
    assert line.response.complete


@pytest.mark.parametrize("kind", KINDS)
def test_the_owner_stops(nodes: Nodes, kind: str) -> None:
    alice = nodes.client(kind).joined("/chat/lobby")
    held, line = alice.held, alice.line
    nodes.owner.stop()
    nodes.turn()
    if kind == SOCKET:
        assert line is not None
        assert line.close_code() == 1012
    elif kind == STREAM:
        assert line is not None
        assert line.response is not None
        assert line.response.complete
    else:
        assert held is not None
        (reply,) = alice.read(held)
        assert reply["successful"]
        assert reply["advice"]["reconnect"] == "retry"
    # The edge is there, and may be shaken hands with.
    alice.line = None
    move(alice, nodes.edge)
    assert alice.ask("/meta/connect", connectionType=kind)["advice"]["reconnect"] == "handshake"


@pytest.mark.parametrize("kind", KINDS)
def test_the_edge_stops(nodes: Nodes, kind: str) -> None:
    alice = nodes.client(kind).joined("/chat/lobby")
    held, line = alice.held, alice.line
    nodes.edge.stop()
    nodes.turn()
    if kind == SOCKET:
        assert line is not None
        assert line.close_code() == 1012
    elif kind == STREAM:
        assert line is not None
        assert line.response is not None
        assert line.response.complete
    else:
        assert held is not None
        (reply,) = alice.read(held)
        assert reply["successful"]
    nodes.owner.say("meanwhile")
    # Its session is where it was.
    alice.line = alice.held = None
    move(alice, nodes.owner)
    if kind == STREAM:
        alice.open_line()
    alice.connect()
    nodes.turn()
    assert alice.texts == ["meanwhile"]


def test_a_socket_goes_to_another_client(nodes: Nodes) -> None:
    alice = nodes.client(SOCKET).joined("/chat/lobby")
    assert alice.line is not None
    # She shakes hands anew by the same socket: so with the edge.
    alice.handshake()
    assert alice.id.startswith(f"{EDGE:08x}")
    alice.connect()
    nodes.turn()
    alice.joined("/chat/lobby")
    nodes.edge.say("there")
    nodes.owner.say("here")
    nodes.turn()
    assert alice.texts == ["there"]


def test_free_channels_are_those_of_all_nodes(nodes: Nodes) -> None:
    alice = nodes.client().joined("/app/**")
    bob = Client(nodes.edge, LONG, name="bob").joined("/app/**")
    for number in range(10):
        assert (alice, bob)[number % 2].ask("/app/news", data=number)["successful"]
        nodes.turn()
    for client in (alice, bob):
        assert [each["data"] for each in client.delivered] == list(range(10))


def test_a_node_with_another_number_has_its_clients_begin_anew(nodes: Nodes) -> None:
    alice = nodes.client().joined("/chat/lobby")
    held = alice.held
    assert held is not None
    nodes.owner.renumbered.tell(OWNER)
    nodes.turn()
    (reply,) = alice.read(held)
    assert reply["advice"] == {"reconnect": "handshake", "interval": 0}


def test_what_comes_is_what_is_known(nodes: Nodes) -> None:
    nodes.owner.links.received.tell(EDGE, b"\xc1")
    nodes.owner.links.received.tell(EDGE, frames.encode([18, 1, "x"]))
    said = [str(each["log_format"]) for each in nodes.owner.take_failures()]
    assert len(said) == 2
    nodes.edge.take_failures()


def test_all_is_forgotten(nodes: Nodes) -> None:
    for kind in KINDS:
        alice = nodes.client(kind)
        alice.ask("/meta/disconnect")
        nodes.turn()
        for connection in nodes.edge.connections:
            connection.reset()
        nodes.turn()
    assert nodes.owner.stats.memory.held == nodes.edge.stats.memory.held == 0
