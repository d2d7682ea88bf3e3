"""Free channels over several nodes: once to everybody, by a bus that may lose."""

from __future__ import annotations

from typing import Any

import pytest

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.relay import TOPIC
from cometd_chat.log.bus import MemoryBus
from tests.bayeux.parts import KINDS, POLL, World


class Nodes:
    """Three servers with one bus."""

    def __init__(self, **options: Any) -> None:
        self.buses: list[MemoryBus] = []
        self.worlds: list[World] = []
        for number in range(3):
            beside = self.buses[0] if self.buses else None
            self.buses.append(MemoryBus(lambda number=number: number, beside))  # type: ignore
            self.worlds.append(World(bus=self.buses[-1], **options))

    def turn(self) -> None:
        for world in self.worlds:
            world.turn()


def datas(client: Any) -> list[Any]:
    return [each["data"] for each in client.deliveries()]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_published_at_one_node_is_heard_at_all_once(kind: str) -> None:
    nodes = Nodes()
    clients = [world.client(kind) for world in nodes.worlds]
    for client in clients:
        # By two patterns: once all the same.
        client.said("/meta/subscribe", subscription=["/app/news", "/app/**"])
    for number in range(20):
        clients[number % 3].said("/app/news", data={"n": number})
        nodes.turn()
    expected = [{"n": number} for number in range(20)]
    assert [datas(client) for client in clients] == [expected] * 3


def test_who_publishes_hears_it_as_with_one_process() -> None:
    nodes = Nodes()
    alice, bob = nodes.worlds[0].client(), nodes.worlds[1].client()
    for client in (alice, bob):
        client.said("/meta/subscribe", subscription="/app/news")
    for world in nodes.worlds:
        world.server.channel("/app/news").broadcast_to_publisher = False
    alice.said("/app/news", data=1)
    nodes.turn()
    assert datas(alice) == []
    assert datas(bob) == [1]


def test_the_servers_own_word_reaches_all_nodes() -> None:
    nodes = Nodes()
    clients = [world.client() for world in nodes.worlds]
    for client in clients:
        client.said("/meta/subscribe", subscription="/app/news")
    assert nodes.worlds[1].server.publish("/app/news", {"n": 1}, ext={"binary": {}})
    nodes.turn()
    for client in clients:
        (message,) = client.deliveries()
        assert message["data"] == {"n": 1}
        assert message["ext"] == {"binary": {}}


def test_listeners_are_asked_where_it_is_published() -> None:
    nodes = Nodes()
    heard: list[tuple[int, Message]] = []

    def listener(number: int) -> Any:
        def hear(client: BayeuxClient | None, message: Message) -> bool:
            heard.append((number, message))
            return bool(message["data"] != "stop")

        return hear

    for number, world in enumerate(nodes.worlds):
        world.server.channel("/app/**").listeners.append(listener(number))
    bob = nodes.worlds[2].client()
    bob.said("/meta/subscribe", subscription="/app/news")
    nodes.worlds[0].server.publish("/app/news", "go")
    nodes.worlds[0].server.publish("/app/news", "stop")
    nodes.turn()
    assert [number for number, _ in heard] == [0, 0]
    assert datas(bob) == ["go"]


class Stamp:
    """An extension that adds to what goes out."""

    def incoming(self, message: Message, client: BayeuxClient | None) -> Message | None:
        return message

    def outgoing(
        self, message: Message, client: BayeuxClient | None, request: Message | None
    ) -> Message | None:
        if "data" in message:
            message = {**message, "data": [message["data"]]}
        return message


def test_extensions_see_it_once_on_its_way_to_each_client() -> None:
    nodes = Nodes(extensions=[Stamp()])
    clients = [world.client() for world in nodes.worlds]
    for client in clients:
        client.said("/meta/subscribe", subscription="/app/news")
    nodes.worlds[0].server.publish("/app/news", 1)
    nodes.turn()
    assert [datas(client) for client in clients] == [[[1]]] * 3


def test_a_node_that_is_cut_off_hears_nothing_and_nothing_late() -> None:
    nodes = Nodes()
    bob = nodes.worlds[1].client()
    bob.said("/meta/subscribe", subscription="/app/news")
    nodes.buses[1].cut = True
    nodes.worlds[0].server.publish("/app/news", 1)
    nodes.buses[1].cut = False
    nodes.worlds[0].server.publish("/app/news", 2)
    nodes.turn()
    assert datas(bob) == [2]


def test_as_much_as_a_request_may_bring_passes() -> None:
    nodes = Nodes()
    alice, bob = nodes.worlds[0].client(), nodes.worlds[1].client()
    bob.said("/meta/subscribe", subscription="/app/news")
    data = "x" * 250_000
    assert alice.said("/app/news", data=data)["successful"]
    nodes.turn()
    assert datas(bob) == [data]


@pytest.mark.parametrize(
    "message", [b"", b"{}", b'["/app/news"]', b'["no channel", 1, false, {}]', b"\xff"]
)
def test_what_is_no_message_harms_nobody(message: bytes) -> None:
    nodes = Nodes()
    bob = nodes.worlds[1].client(POLL)
    bob.said("/meta/subscribe", subscription="/app/news")
    nodes.buses[0].publish(TOPIC, message)
    nodes.worlds[0].server.publish("/app/news", 1)
    nodes.turn()
    assert datas(bob) == [1]
