"""What comes twice: sent again since its reply was lost, or another one that looks the same.

Faye sends again what had no reply, with the same id; CometD's reload extension counts its ids from
1 after each load of the page, and other clients give one id to all.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.exchange import Arrival, Peer
from cometd_chat.bayeux.messages import Message
from cometd_chat.errors import StorageUnavailable
from tests.bayeux.parts import OPTIONS, POLL, PUSH, Client, FakePush, World

ARRIVED = [Arrival.UNKNOWN, Arrival.CLOSED, Arrival.READ]
NOT_ARRIVED = [Arrival.LOST, Arrival.UNDER_WAY]

HI: Message = {"channel": "/app/x", "data": "hi", "id": "7"}


def listening(world: World, kind: str = POLL, **options: Any) -> Client:
    """A client that hears what it publishes, and whose connects have ids that differ."""
    client = world.client(kind, **options)
    client.subscribe("/app/x")
    for _ in range(2):
        client.connect()
    return client


def said(client: Client, message: Message = HI) -> list[Any]:
    """What is heard when a message is published, which succeeds."""
    (reply, *_) = client.ask(message).messages
    assert reply["successful"] is True, reply
    return client.data()


@pytest.mark.parametrize("known", NOT_ARRIVED)
@pytest.mark.parametrize("seconds", [0, 25])
def test_one_whose_reply_was_lost_is_published_once(known: Arrival, seconds: float) -> None:
    client = listening(World())
    client.ask(HI).known = known
    assert client.data() == ["hi"]
    client.world.advance(seconds)
    again = client.ask(HI)
    assert again.messages[0]["successful"] is True
    again.known = known
    assert said(client) == []


@pytest.mark.parametrize("known", ARRIVED)
@pytest.mark.parametrize("seconds", [0, 5])
def test_one_whose_reply_has_arrived_is_another_one(known: Arrival, seconds: float) -> None:
    client = listening(World())
    client.ask(HI).known = known
    assert client.data() == ["hi"]
    client.world.advance(seconds)
    assert said(client) == ["hi"]


def test_those_of_one_request_are_not_the_same() -> None:
    client = listening(World())
    exchange = client.ask(HI, HI, HI)
    assert [each["successful"] for each in exchange.messages] == [True] * 3
    assert client.data() == ["hi"] * 3


# A proxy takes replies, and may lose them: what is known of its connection tells nothing.


def test_behind_a_proxy_ids_that_differ_tell() -> None:
    client = listening(World(), peer=Peer(POLL, forwarded=True))
    assert said(client) == ["hi"]
    client.world.advance(5)
    client.connect()
    assert said(client) == []


def test_behind_a_proxy_nobody_sends_again_at_once() -> None:
    client = listening(World(), peer=Peer(POLL, forwarded=True))
    assert said(client) == ["hi"]
    client.world.advance(3)
    assert said(client) == ["hi"]


def test_behind_a_proxy_a_page_that_is_loaded_again_begins_anew() -> None:
    client = listening(World(), peer=Peer(POLL, forwarded=True))
    assert said(client) == ["hi"]
    client.world.advance(5)
    client.connect(advice={"timeout": 0})
    assert said(client) == ["hi"]


def test_behind_a_proxy_one_id_for_all_tells_nothing() -> None:
    client = Client(World(), peer=Peer(POLL, forwarded=True))
    client.handshake()
    for _ in range(7):
        # They may be one that is sent again.
        client.connect(id="7")
        assert client.answered
    client.subscribe("/app/x")
    for _ in range(3):
        client.connect(id="7")
        assert client.ask(HI).messages[0]["successful"]
        assert client.held is not None
        assert [each.get("data") for each in client.held.messages] == ["hi", None]
        client.world.advance(5)


# Sockets.


def test_one_that_comes_by_another_socket_before_it_is_known_to_have_arrived() -> None:
    client = listening(World(), PUSH)
    assert said(client) == ["hi"]
    client.push = FakePush()
    client.connect()
    client.deliveries()
    assert said(client) == []


def test_one_that_comes_by_another_socket_when_it_is_known_to_have_arrived() -> None:
    client = listening(World(), PUSH)
    client.ask(HI).known = Arrival.READ
    assert client.data() == ["hi"]
    client.push = FakePush()
    client.connect()
    client.deliveries()
    assert said(client) == ["hi"]


def test_one_that_comes_by_the_same_socket_is_another_one() -> None:
    client = listening(World(), PUSH)
    assert said(client) == said(client) == ["hi"]


# Whatever came of it.


def test_one_that_failed_is_tried_again() -> None:
    world = World()
    client = world.client()
    outcomes = [StorageUnavailable("Not now."), None, None]

    def serve(session: BayeuxClient, message: Message) -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    world.server.add_service("/service/x", serve)
    for expected in (False, True, True):
        exchange = client.ask({"channel": "/service/x", "data": 1, "id": "7"})
        assert exchange.messages[0]["successful"] is expected
        exchange.lose()
    assert len(outcomes) == 1


def test_what_only_shares_the_id_is_another_publish() -> None:
    world = World()
    client, other = world.client(), world.client()
    client.subscribe("/app/**")
    client.publish("/app/x", "a", id="7")
    client.publish("/app/x", "b", id="7")
    client.publish("/app/y", "a", id="7")
    other.publish("/app/x", "a", id="7")
    world.advance(5)
    client.connect()
    assert client.data() == ["a", "b", "a", "a"]


def test_without_an_id_everything_is_new() -> None:
    client = World().client()
    client.subscribe("/app/x")
    message = {"channel": "/app/x", "data": 1, "clientId": client.id}
    client.world.ask(message, message)
    client.connect()
    assert client.data() == [1, 1]


@pytest.mark.parametrize("id", [None, "7"])
def test_an_id_of_null_is_none(id: object) -> None:
    client = listening(World())
    client.ask({**HI, "id": id}).lose()
    assert client.data() == ["hi"]
    assert said(client, {**HI, "id": id}) == (["hi"] if id is None else [])


def test_an_id_is_remembered_for_a_while_and_not_for_ever() -> None:
    options = attrs.evolve(OPTIONS, resend_window=5, max_resends=3)
    client = World(options=options).client()
    client.subscribe("/app/x")
    client.ask({"channel": "/app/x", "data": 1, "id": "a"}).lose()
    client.world.advance(6)
    client.publish("/app/x", 1, id="a")
    for number in range(10):
        client.publish("/app/x", number, id=str(number))
    assert len(client.world.server.clients[client.id].published) == 3
    client.connect()
    assert client.data() == [1, 1, *range(10)]
