"""Whose session it is, and how one ends.

Covers SessionHijackingTest (plain and by the second message of a batch), BrowserMappingTest,
CookiesTest (the core's part), HandshakeWithExpiredSessionTest, CometDWebSocketServerProtocolTest
(disconnect), ServerShutdownTest; of the Node server: unsubscribe and disconnect remove several
subscriptions, server-side disconnect.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cometd_chat.bayeux.exchange import Peer
from cometd_chat.errors import NotFound
from tests.bayeux.parts import KINDS, POLL, PUSH, STREAM, Client, FakeExchange, FakePush, World

UNKNOWN = "402::session_unknown"


def asking(client: Client, peer: Peer, push: FakePush | None = None) -> bool:
    """Whether somebody else who has the clientId is let in."""
    message = {"channel": "/app/x", "data": 1, "clientId": client.id}
    exchange = client.world.ask(message, peer=peer, push=push)
    (reply,) = exchange.messages
    assert reply["successful"] or reply["error"] == UNKNOWN
    return bool(reply["successful"])


def test_an_offered_cookie_binds_once_it_has_come_back() -> None:
    client = Client(World(), peer=Peer(POLL, offered_browser="mine"))
    client.handshake()
    assert asking(client, Peer(POLL))
    assert asking(client, Peer(POLL, browser="another"))
    assert asking(client, Peer(POLL, browser="mine"))
    assert not asking(client, Peer(POLL))
    assert not asking(client, Peer(POLL, browser="another"))
    assert asking(client, Peer(POLL, browser="mine"))


def test_a_cookie_that_the_handshake_showed_binds_at_once() -> None:
    client = Client(World(), peer=Peer(POLL, browser="mine"))
    client.handshake()
    assert not asking(client, Peer(POLL))
    assert not asking(client, Peer(POLL, browser="another"))
    assert not asking(client, Peer(POLL, browser="\udcff"))
    assert asking(client, Peer(POLL, browser="mine"))


def test_a_token_that_the_handshake_showed_binds_at_once() -> None:
    client = Client(World(), peer=Peer(POLL, token="secret"))
    client.handshake()
    assert asking(client, Peer(POLL, token="secret"))
    assert not asking(client, Peer(POLL, token="other"))
    assert not asking(client, Peer(POLL))


def test_a_client_without_cookies_needs_its_id_only() -> None:
    client = Client(World(), peer=Peer(POLL))
    client.handshake()
    assert asking(client, Peer(POLL))
    assert asking(client, Peer(POLL, browser="of another window", token="x"))


def test_a_socket_that_was_open_before_the_handshake_may_lack_the_cookie() -> None:
    world = World()
    world.advance(5)
    early = FakePush(opened_at=world.clock.seconds())
    world.advance(1)
    client = Client(world, peer=Peer(POLL, browser="mine"))
    client.handshake()
    world.advance(1)
    late = FakePush(opened_at=world.clock.seconds())
    assert asking(client, Peer(PUSH), early)
    assert not asking(client, Peer(PUSH), late)
    assert asking(client, Peer(PUSH, browser="mine"), late)
    assert not asking(client, Peer(PUSH, browser="another"), early)


def test_a_socket_that_was_asked_for_before_the_handshake_may_come_after_it() -> None:
    """Faye asks for both at once; a busy machine gets to the socket when the cookie is returned."""
    world = World()
    client = Client(world, peer=Peer(POLL, offered_browser="mine"))
    client.handshake()
    assert asking(client, Peer(POLL, browser="mine"))
    on_its_way, too_late = FakePush(opened_at=9), FakePush(opened_at=11)
    assert asking(client, Peer(PUSH), on_its_way)
    assert not asking(client, Peer(PUSH), too_late)
    assert not asking(client, Peer(PUSH, browser="another"), on_its_way)
    assert not asking(client, Peer(POLL))


def test_a_stream_is_opened_by_who_may_only() -> None:
    world = World()
    client = Client(world, peer=Peer(POLL, browser="mine"))
    client.handshake()
    world.advance(1)
    for id, peer in ((client.id, Peer(STREAM)), ("x", Peer(STREAM, browser="mine"))):
        with pytest.raises(NotFound):
            world.server.open_stream(id, peer, FakePush(opened_at=1), None)
    world.server.open_stream(client.id, Peer(STREAM, browser="mine"), FakePush(), None)


def test_another_session_can_not_be_used_in_the_middle_of_a_batch() -> None:
    world = World()
    victim, thief = world.client(), world.client()
    victim.subscribe("/app/x")
    replies = thief.ask(
        {"channel": "/app/x", "data": 1},
        {"channel": "/app/x", "data": 2, "clientId": victim.id},
        {"channel": "/meta/disconnect", "clientId": victim.id},
        {"channel": "/app/x", "data": 3, "clientId": None},
        {"channel": "/app/x", "data": 4},
    ).messages
    assert [each["successful"] for each in replies] == [True, False, False, False, True]
    assert replies[1]["error"] == UNKNOWN
    assert victim.id in world.server.clients
    victim.connect()
    assert victim.data() == [1, 4]


def test_the_first_message_of_a_session_settles_whose_request_it_is() -> None:
    world = World()
    client, other = world.client(), world.client()
    replies = client.ask(
        {"channel": "/app/x", "data": 1, "clientId": "x"},
        {"channel": "/app/x", "data": 2},
        {"channel": "/app/x", "data": 3, "clientId": other.id},
        {"channel": "/app/x", "data": 4},
    ).messages
    assert [each.get("error") for each in replies] == [UNKNOWN, None, UNKNOWN, None]


def test_one_bad_message_refuses_no_other() -> None:
    client = World().client()
    client.subscribe("/app/x")
    body = json.dumps([{"channel": "/app/x", "clientId": client.id, "id": n} for n in range(3)])
    for number, data in enumerate(("1", '"\\ud83d"', "3")):
        body = body.replace(f'"id": {number}', f'"id": {number}, "data": {data}')
    exchange = FakeExchange(client.peer)
    client.world.server.process(client.world.server.decode(body), exchange)
    client.world.turn()
    good, bad, last = exchange.messages
    assert [good["successful"], last["successful"]] == [True, True]
    assert bad.pop("error").startswith("400:There are halves of characters in it")
    assert bad == {"channel": "/app/x", "id": 1, "successful": False}
    client.connect()
    assert client.data() == [1, 3]


# -- leaving


@pytest.mark.parametrize("kind", KINDS)
def test_disconnect_is_answered_and_then_the_held_connect(kind: str) -> None:
    world = World()
    client = world.client(kind)
    client.subscribe("/app/x", "/app/y")
    held = client.connect()
    assert client.said("/meta/disconnect") == {
        "channel": "/meta/disconnect",
        "successful": True,
        "id": "4",
    }
    assert not world.server.clients
    assert list(world.server.broadcast.subscriptions) == []
    assert client.said("/meta/disconnect")["error"] == UNKNOWN
    if kind != STREAM:
        (reply,) = held.messages
        assert reply["successful"] is True
        assert reply["advice"] == {"reconnect": "none", "interval": 0}
    assert all(push.ended for push in client.pushes)
    if kind == PUSH:
        assert client.push is not None
        frames = [frame[0]["channel"] for frame in client.push.frames]
        at = frames.index("/meta/disconnect")
        assert frames[at : at + 2] == ["/meta/disconnect", "/meta/connect"]


def test_what_comes_after_a_disconnect_in_its_request_is_too_late() -> None:
    client = World().client()
    replies = client.ask(
        {"channel": "/app/x", "data": 1},
        {"channel": "/meta/disconnect"},
        {"channel": "/app/x", "data": 2},
    ).messages
    assert [each.get("error") for each in replies] == [None, None, UNKNOWN]


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_may_end_a_session(kind: str) -> None:
    world = World()
    client = world.client(kind)
    client.connect()
    session = world.server.clients[client.id]
    session.deliver("/app/x", "last words")
    session.disconnect()
    session.disconnect()
    world.turn()
    assert not world.server.clients
    assert not session.deliver("/app/x", "too late")
    if kind == POLL:
        assert client.held is not None
        assert [each["channel"] for each in client.held.messages] == [
            "/app/x",
            "/meta/disconnect",
            "/meta/connect",
        ]
        assert client.reply["advice"]["reconnect"] == "none"


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_lets_clients_come_back(kind: str) -> None:
    world = World()
    client = world.client(kind)
    client.subscribe("/app/x")
    client.connect()
    world.server.stop()
    assert not world.server.clients
    assert all(push.ended for push in client.pushes)
    if kind != STREAM:
        assert client.reply["successful"] is True
        assert client.reply["advice"]["reconnect"] == "retry"
    late = client.world.reply({"channel": "/meta/connect", "clientId": client.id})
    assert late["advice"]["reconnect"] == "handshake"
    assert world.reaper.scheduled == 0


@pytest.mark.parametrize(
    ("end", "advice"),
    [
        (lambda world, client: world.server.clients[client.id].disconnect(), ("none", 0)),
        (lambda world, client: world.server.clients[client.id].renew(2), ("handshake", 2000)),
        # Other nodes go on: whoever stayed away would miss all that is said there.
        (lambda world, client: world.server.stop(), ("handshake", 0)),
    ],
    ids=["sent away", "renewed", "the server stops"],
)
def test_an_end_while_a_connect_waits_for_others(
    end: Callable[[World, Any], object], advice: tuple[str, int]
) -> None:
    """The session ends while a connect's request waits for what came with it."""
    world = World()
    client = world.client()
    done: Deferred[None] = Deferred()
    world.server.add_service("/service/slow", lambda *_: done)
    exchange = client.ask(
        {"channel": "/service/slow", "data": 1}, {"channel": "/meta/connect", "data": 1}
    )
    end(world, client)
    done.callback(None)
    told = exchange.messages[-1]
    assert told["successful"] is True
    assert told["advice"] == dict(zip(("reconnect", "interval"), advice, strict=True))


def test_a_listener_that_breaks_stops_nobody() -> None:
    world = World()
    heard: list[Any] = []

    def broken(*_: Any) -> None:
        raise RuntimeError("no")

    world.server.listeners.client_added.add(broken)
    world.server.listeners.client_added.add(heard.append)
    client = world.client()
    assert heard == [world.server.clients[client.id]]


def test_a_session_keeps_notes_for_the_servers_code() -> None:
    world = World()
    client = world.client()
    session = world.server.client(client.id)
    assert session is not None
    session.attributes["seen"] = 1
    assert (session.identity.name, session.transport) == ("alice", POLL)
    assert world.server.client(7) is None
