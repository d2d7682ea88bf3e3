"""What sessions make the server keep: counted in the budget that all connections share, and let go
where it is most."""

from __future__ import annotations

import pytest

from cometd_chat.bayeux.client import CLIENT_SIZE, PATTERN_SIZE
from cometd_chat.bayeux.replies import MAX_ID
from tests.bayeux.parts import KINDS, POLL, STREAM, Client, World

kinds = pytest.mark.parametrize("kind", KINDS)

#: Some 50 KB for each session that takes nothing.
MUCH = ["x" * 1000] * 40


def silent(world: World, kind: str = POLL) -> Client:
    """A client that has subscribed and takes nothing any more."""
    client = world.client(kind)
    client.subscribe("/app/x")
    for push in client.pushes:
        push.writable = False
    return client


@kinds
def test_a_session_counts_from_its_beginning_to_its_end(kind: str) -> None:
    world = World()
    assert world.memory.held == 0
    client = world.client(kind)
    assert world.memory.of("bayeux") == CLIENT_SIZE
    client.subscribe("/app/x", "/app/long")
    assert world.memory.of("bayeux") == CLIENT_SIZE + 2 * PATTERN_SIZE + len("/app/x/app/long")
    client.said("/meta/unsubscribe", subscription="/app/long")
    assert world.memory.of("bayeux") == CLIENT_SIZE + PATTERN_SIZE + len("/app/x")
    client.said("/meta/disconnect")
    assert world.memory.held == 0


def test_one_that_expires_counts_no_longer_with_all_that_waited_for_it() -> None:
    world = World()
    silent(world)
    for text in MUCH:
        world.server.publish("/app/x", text)
    assert world.memory.held > sum(map(len, MUCH))
    world.advance(200)
    assert not world.server.clients
    assert world.memory.held == 0


@kinds
def test_what_is_confirmed_counts_no_longer(kind: str) -> None:
    world = World()
    client = world.client(kind, ack=kind == POLL)
    client.subscribe("/app/x")
    before = world.memory.held
    for text in MUCH:
        world.server.publish("/app/x", text)
    assert world.memory.held > before + sum(map(len, MUCH))
    world.turn()
    assert client.data() == MUCH
    for push in client.pushes:
        world.server.push_confirmed(push, 10**6)
    world.turn()
    assert world.memory.held == before


class TestAtTheCeiling:
    def test_those_for_whom_most_waits_go(self) -> None:
        world = World(limit=150_000)
        idle = [silent(world) for _ in range(5)]
        active = world.client()
        active.subscribe("/app/x")
        # To each another text, which nobody shares.
        for number, client in enumerate(idle):
            session = world.server.client(client.id)
            assert session is not None
            for text in MUCH[: 10 * number]:
                session.deliver("/app/x", text)
        assert world.memory.shed > 0
        world.turn()
        assert world.memory.held <= 150_000
        left = [world.server.client(client.id) is not None for client in idle]
        assert left == sorted(left, reverse=True), "those with most went"
        assert world.server.client(active.id) is not None
        world.server.publish("/app/x", "to all")
        assert "to all" in active.data()

    @kinds
    def test_its_client_shakes_hands_anew(self, kind: str) -> None:
        world = World(limit=100_000)
        client = silent(world, kind)
        client.connect()
        session = world.server.client(client.id)
        assert session is not None
        delivered = [session.deliver("/app/x", text) for text in [*MUCH, *MUCH]]
        assert False in delivered
        assert delivered == sorted(delivered, reverse=True), "then nothing more is queued"
        world.turn()
        assert session.ended
        assert world.memory.held == 0
        if kind != STREAM:
            assert client.reply["advice"] == {"reconnect": "handshake", "interval": 5000}
        assert all(push.ended for push in client.pushes)
        assert client.data() == []
        assert client.said("/meta/connect", connectionType=kind)["error"].startswith("402")
        client.handshake()
        assert world.server.client(client.id) is not None


def test_an_id_is_kept_until_the_next_connect_and_so_it_is_short() -> None:
    world = World()
    client = world.client()
    for length, fine in ((MAX_ID, True), (MAX_ID + 1, False)):
        reply = world.reply(
            {
                "channel": "/meta/connect",
                "clientId": client.id,
                "id": "x" * length,
                "connectionType": POLL,
                "advice": {"timeout": 0},
            }
        )
        assert reply["successful"] is fine


def test_of_an_answered_connect_nothing_large_is_kept() -> None:
    world = World()
    client = world.client()
    client.connect(ext={"much": "x" * 10_000}, advice={"timeout": 0})
    session = world.server.client(client.id)
    assert session is not None
    answered = world.server.connects._paths[session].answered
    assert answered is not None
    assert set(answered.message) == {"id"}
