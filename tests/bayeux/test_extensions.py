"""Extensions: what they see, in which order, and those that are ours.

Covers TimeExtensionsTest, ActivityExtensionTest, ExtensionProcessing tests (order, veto), Faye's
"error set by extension"; of the Node server: extensions order and veto.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.extensions import (
    AckExtension,
    ActivityExtension,
    BaseExtension,
    TimestampExtension,
    TimesyncExtension,
)
from cometd_chat.bayeux.messages import Message
from tests.bayeux.parts import PUSH, World


class Noting(BaseExtension):
    """Notes what passes, and does what it is told to."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes
        self.on_incoming: Callable[[Message], Message | None] = lambda message: message
        self.on_outgoing: Callable[[Message], Message | None] = lambda message: message

    def incoming(self, message: Message, session: BayeuxClient | None) -> Message | None:
        self.notes.append(f"{self.name} in {message['channel']}")
        return self.on_incoming(message)

    def outgoing(
        self, message: Message, session: BayeuxClient | None, request: Message | None
    ) -> Message | None:
        self.notes.append(f"{self.name} out {message['channel']}")
        return self.on_outgoing(message)


def test_they_are_asked_in_order_and_in_reverse_on_the_way_out() -> None:
    notes: list[str] = []
    world = World(extensions=[Noting("a", notes), Noting("b", notes)])
    client = world.client()
    world.server.clients[client.id].extensions.append(Noting("own", notes))
    notes.clear()
    client.publish("/app/x")
    into = ["a in /app/x", "b in /app/x", "own in /app/x"]
    event = ["b out /app/x", "a out /app/x"]
    reply = ["own out /app/x", "b out /app/x", "a out /app/x"]
    assert notes == into + event + reply


def test_a_broadcast_passes_the_servers_once_and_a_sessions_own_for_her() -> None:
    notes: list[str] = []
    world = World(extensions=[Noting("server", notes)])
    clients = [world.client() for _ in range(3)]
    for each in clients:
        each.subscribe("/app/x")
    own = Noting("own", notes)
    own.on_outgoing = lambda message: {**message, "mine": True}
    world.server.clients[clients[1].id].extensions.append(own)
    notes.clear()
    world.server.publish("/app/x", 1)
    assert notes == ["server out /app/x", "own out /app/x"]
    for each in clients:
        each.connect()
    heard = [each.deliveries() for each in clients]
    assert ["mine" in messages[0] for messages in heard] == [False, True, False]


def test_a_message_can_be_stopped_on_its_way_in() -> None:
    stopping = Noting("a", [])
    world = World(extensions=[stopping])
    client = world.client()
    client.subscribe("/app/x")
    stopping.on_incoming = lambda message: None if message.get("data") == "bad" else message
    assert client.publish("/app/x", "bad")["error"] == "404::message_deleted"
    assert client.publish("/app/x", "good")["successful"]
    client.connect()
    assert client.data() == ["good"]


def test_a_message_can_be_refused_with_a_text_of_ones_own() -> None:
    refusing = Noting("a", [])
    world = World(extensions=[refusing])
    client = world.client()
    refusing.on_incoming = lambda message: {**message, "error": "403:x:Not you"}
    assert client.subscribe("/app/x")["error"] == "403:x:Not you"
    assert not world.server.clients[client.id].subscriptions


def test_a_client_can_not_refuse_itself_by_an_error_of_its_own() -> None:
    client = World().client()
    assert client.publish("/app/x", error="400::x")["successful"]


def test_a_message_can_be_changed_both_ways() -> None:
    changing = Noting("a", [])
    world = World(extensions=[changing])
    client = world.client()
    client.subscribe("/app/x")
    changing.on_incoming = lambda message: (
        {**message, "data": "in"} if "data" in message else message
    )
    changing.on_outgoing = lambda message: {**message, "seen": True}
    assert client.publish("/app/x")["seen"]
    client.connect()
    assert client.deliveries() == [{"channel": "/app/x", "data": "in", "seen": True}]


def test_a_broadcast_can_be_stopped_on_its_way_out() -> None:
    stopping = Noting("a", [])
    world = World(extensions=[stopping])
    client = world.client()
    client.subscribe("/app/x")
    stopping.on_outgoing = lambda message: None if "data" in message else message
    assert client.publish("/app/x")["error"] == "404::message_deleted"
    client.connect()
    assert client.data() == []


def test_one_that_breaks_on_the_way_in_refuses() -> None:
    breaking = Noting("a", [])
    world = World(extensions=[breaking])
    client = world.client()
    breaking.on_incoming = lambda message: message["no such field"]
    assert client.publish("/app/x")["error"] == "500:Something broke on our side:server_error"


def test_one_that_breaks_on_the_way_out_costs_nobody_the_reply() -> None:
    breaking = Noting("a", [])
    world = World(extensions=[breaking])
    client = world.client()
    breaking.on_outgoing = lambda message: message["no such field"]
    assert client.publish("/app/x")["successful"]
    breaking.on_outgoing = lambda message: {**message, "x": object()}
    assert client.subscribe("/app/x")["successful"]


# -- timesync and timestamp

NOW = 1_795_289_633.102


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ({"tc": 1000, "l": 0, "o": 0}, {"tc": 1000, "ts": 1795289633102, "p": 0, "a": None}),
        ({"tc": 1000}, {"tc": 1000, "ts": 1795289633102, "p": 0}),
        ({"tc": 1795289633000, "l": 7, "o": 100}, None),
        ({"tc": 1795289633000, "l": 7, "o": 200}, {"a": 105}),
        ({"tc": 1795289633000, "l": 0, "o": 100}, {"a": -2}),
        ({"tc": "x"}, None),
        ({"tc": 1e300, "l": 0, "o": 0}, None),
        ({}, None),
        (7, None),
        ({"tc": True}, None),
    ],
)
def test_timesync_says_the_time_to_who_is_off(question: Any, answer: Any) -> None:
    world = World(extensions=[TimesyncExtension(lambda: NOW)])
    reply = world.client().subscribe("/app/x", ext={"timesync": question})
    said = reply.get("ext", {}).get("timesync")
    if answer is None:
        assert said is None
    else:
        expected = {**answer, "a": said["a"]} if answer.get("a", 1) is None else answer
        assert said == {**said, **expected}
        assert ("a" in said) is ("l" in question)


def test_timesync_says_how_long_a_connect_was_held() -> None:
    world = World()
    world.server.extensions.append(TimesyncExtension(world.clock.seconds))
    client = world.client()
    client.connect(ext={"timesync": {"tc": 0, "l": 0, "o": 0}})
    world.advance(31)
    assert client.reply["ext"]["timesync"]["p"] == 30000


def test_timesync_and_ack_go_together() -> None:
    world = World(extensions=[AckExtension(), TimesyncExtension(lambda: NOW)])
    client = world.client(ack=True)
    client.connect(ext={"ack": 1, "timesync": {"tc": 0, "l": 0, "o": 0}}, advice={"timeout": 0})
    assert sorted(client.reply["ext"]) == ["ack", "timesync"]


def test_timestamp_is_on_everything_that_goes_out() -> None:
    world = World(extensions=[TimestampExtension(lambda: NOW)])
    client = world.client()
    assert client.subscribe("/app/x")["timestamp"] == "Sat, 21 Nov 2026 19:33:53 GMT"
    client.publish("/app/x", 1)
    client.connect()
    assert client.held is not None
    assert all("timestamp" in each for each in client.held.messages)


# -- activity


def active_world(*, both_ways: bool = False) -> World:
    world = World(extensions=[])
    extension = ActivityExtension(world.clock.seconds, 60, both_ways=both_ways)
    world.server.extensions.append(extension)
    return world


def connecting_for(world: World, client: Any, rounds: int) -> bool:
    """Connect again and again; whether the session is still there."""
    for _ in range(rounds):
        if client.id not in world.server.clients:
            return False
        client.connect()
        world.advance(31)
    return client.id in world.server.clients


def test_who_only_connects_is_sent_away_in_the_end() -> None:
    world = active_world()
    client = world.client()
    client.subscribe("/app/x")
    assert connecting_for(world, client, 2)
    client.connect()
    assert client.reply["advice"]["reconnect"] == "none"
    assert not world.server.clients


def test_who_does_something_stays() -> None:
    world = active_world()
    client = world.client(PUSH)
    for _ in range(4):
        client.connect()
        world.advance(31)
        client.publish("/app/x")
    assert client.id in world.server.clients


@pytest.mark.parametrize("both_ways", [True, False])
def test_what_is_delivered_may_count_too(both_ways: bool) -> None:
    world = active_world(both_ways=both_ways)
    client = world.client()
    client.subscribe("/app/x")
    for _ in range(4):
        if client.id in world.server.clients:
            client.connect()
            world.server.publish("/app/x", 1)
            world.advance(9)
            client.connect()
            world.advance(20)
            client.connect(advice={"timeout": 0})
    assert (client.id in world.server.clients) is both_ways
