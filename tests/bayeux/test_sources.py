"""Rooms: channels that a source keeps, and from which nothing is lost.

Covers what issue 5 asks of ``/chat/ROOM``: acknowledged means durable, order is that of the log,
a session resumes where the last one stood, a full queue is caught up with from the log.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred

from cometd_chat.errors import RoomNotFound, StorageUnavailable
from tests.bayeux.parts import (
    KINDS,
    OPTIONS,
    POLL,
    PUSH,
    Rooms,
    World,
    world_with_rooms,
)

kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_what_is_said_in_a_room_reaches_who_subscribed(kind: str) -> None:
    world, _ = world_with_rooms()
    alice, bob, carol = (world.client(kind) for _ in range(3))
    alice.subscribe("/chat/lobby")
    carol.subscribe("/chat/*", "/chat/lobby", "/**")
    for each in (alice, carol):
        each.connect()
    for number in range(3):
        assert bob.publish("/chat/lobby", {"text": number})["successful"]
    bob.publish("/chat/dev", "d")
    assert alice.data() == [{"text": 0}, {"text": 1}, {"text": 2}]
    assert carol.data() == [{"text": 0}, {"text": 1}, {"text": 2}, "d"]


@kinds
def test_acknowledged_means_durable(kind: str) -> None:
    world, rooms = world_with_rooms(durable=False)
    client = world.client(kind)
    exchange = client.ask({"channel": "/chat/lobby", "data": 1})
    assert not exchange.replies
    rooms.commit()
    assert exchange.messages[0]["successful"]


def test_a_request_has_one_reply_in_the_order_of_its_messages() -> None:
    world, rooms = world_with_rooms(durable=False)
    exchange = world.client().ask(
        {"channel": "/app/x", "data": 1},
        {"channel": "/chat/lobby", "data": 2},
        {"channel": "/nowhere", "data": 3},
        {"channel": "/chat/lobby", "data": 4},
    )
    rooms.commit(1)
    assert not exchange.replies
    rooms.commit()
    assert [each["id"] for each in exchange.messages] == ["2", "3", "4", "5"]
    assert [each["successful"] for each in exchange.messages] == [True, True, False, True]


def test_on_a_socket_what_is_ready_does_not_wait() -> None:
    world, rooms = world_with_rooms(durable=False)
    exchange = world.client(PUSH).ask(
        {"channel": "/app/x", "data": 1},
        {"channel": "/chat/lobby", "data": 2},
        {"channel": "/chat/lobby", "data": 3},
        {"channel": "/meta/connect", "connectionType": PUSH},
    )
    assert [[each["id"] for each in frame] for frame in exchange.replies] == [["2"], ["5"]]
    rooms.commit()
    assert [[each["id"] for each in frame] for frame in exchange.replies[2:]] == [["3"], ["4"]]


def test_a_publisher_has_her_reply_before_her_own_words() -> None:
    world, rooms = world_with_rooms(durable=False)
    client = world.client(PUSH)
    client.subscribe("/chat/lobby")
    assert client.push is not None
    seen = len(client.push.frames)
    for number in range(3):
        client.ask({"channel": "/chat/lobby", "data": number})
    rooms.commit()
    world.turn()
    frames = [message for frame in client.push.frames[seen:] for message in frame]
    assert ["successful" in each for each in frames] == [True, True, True, False, False, False]


def test_many_publishes_wait_for_one_commit_together() -> None:
    world, rooms = world_with_rooms(durable=False)
    client = world.client(PUSH)
    for number in range(50):
        client.ask({"channel": "/chat/lobby", "data": number})
    assert len(rooms.waiting) == 50
    rooms.commit()
    assert [event.fields["data"] for _, event in rooms.log] == list(range(50))


@kinds
def test_what_is_published_with_the_subscribe_is_heard(kind: str) -> None:
    world, _ = world_with_rooms()
    client = world.client(kind)
    client.ask(
        {"channel": "/meta/subscribe", "subscription": "/chat/lobby"},
        {"channel": "/chat/lobby", "data": 1},
    )
    client.connect()
    assert client.data() == [1]


def test_the_feeding_begins_after_the_reply_to_the_subscribe() -> None:
    world, _ = world_with_rooms()
    client = world.client(PUSH)
    client.publish("/chat/lobby", "old")
    client.subscribe("/chat/lobby", ext={"cursor": 0})
    assert client.push is not None
    assert client.push.frames[-2][0]["channel"] == "/meta/subscribe"
    assert client.push.frames[-1][0]["data"] == "old"


def test_a_session_resumes_where_the_last_one_stood() -> None:
    world, rooms = world_with_rooms()
    first = world.client()
    first.subscribe("/chat/lobby")
    first.connect()
    first.publish("/chat/lobby", 1)
    assert first.data() == [1]
    first.publish("/chat/lobby", 2)  # its reply comes, but no connect confirms it
    other = world.client(name="bob")
    other.publish("/chat/lobby", 3)
    world.advance(45)
    assert first.id not in world.server.clients
    assert rooms.level == {"alice": 1}
    second = world.client()
    second.subscribe("/chat/lobby")
    second.connect()
    assert second.data() == [2, 3]


def test_a_cursor_in_ext_reaches_the_source() -> None:
    world, _ = world_with_rooms()
    client = world.client()
    for number in range(5):
        client.publish("/chat/lobby", number)
    client.subscribe("/chat/lobby", ext={"cursor": 3})
    client.connect()
    assert client.data() == [3, 4]


@kinds
def test_a_full_queue_loses_nothing_of_a_log(kind: str) -> None:
    world, _ = world_with_rooms(options=attrs.evolve(OPTIONS, max_queue_messages=10))
    client, bob = world.client(kind), world.client()
    client.subscribe("/chat/lobby")
    for number in range(95):
        bob.publish("/chat/lobby", number)
    session = world.server.clients[client.id]
    assert len(session.queue) == 10
    heard = []
    for _ in range(30):
        client.connect(advice={"timeout": 0})
        for push in client.pushes:
            if push.numbers:
                world.server.push_confirmed(push, push.numbers[-1])
        world.turn()
        heard += client.data()
    assert heard == list(range(95))
    assert session.queue.dropped == 0


def test_what_was_refused_is_not_overtaken_by_what_would_fit() -> None:
    world, rooms = world_with_rooms(options=attrs.evolve(OPTIONS, max_queue_bytes=2000))
    client, bob = world.client(), world.client()
    client.subscribe("/chat/a")
    session = world.server.clients[client.id]
    bob.publish("/chat/a", "x" * 1000)
    bob.publish("/chat/a", "y" * 1000)
    small = world.server.event("/chat/a", "z")
    assert small is not None
    assert session.feed(small, rooms, 3) is False
    heard: list[Any] = []
    for _ in range(4):
        client.connect(advice={"timeout": 0})
        heard += client.data()
    assert [each[0] for each in heard] == ["x", "y"]


def test_free_messages_do_not_push_out_those_of_a_log() -> None:
    world, _ = world_with_rooms(options=attrs.evolve(OPTIONS, max_queue_messages=10))
    client, bob = world.client(), world.client()
    client.subscribe("/chat/lobby", "/app/x")
    for number in range(20):
        bob.publish("/chat/lobby", number)
        bob.publish("/app/x", "free")
    heard: list[Any] = []
    for _ in range(10):
        client.connect(advice={"timeout": 0})
        heard += client.data()
    assert [each for each in heard if each != "free"] == list(range(20))


def test_a_source_is_told_how_far_the_client_has_come() -> None:
    world, rooms = world_with_rooms()
    client = world.client(ack=True)
    client.subscribe("/chat/*")
    client.connect()
    client.publish("/chat/a", 1)
    assert rooms.level == {}
    client.connect()
    assert rooms.level == {"alice": 1}


class Refusing(Rooms):
    """Refuses what ends in a word."""

    async def open(self, session: Any, pattern: str, ext: Any) -> Any:
        if pattern.endswith("nowhere"):
            raise RoomNotFound("There is no such room.")
        if pattern.endswith("broken"):
            raise RuntimeError("secret")
        return await super().open(session, pattern, ext)

    async def publish(self, session: Any, message: Any, resend_key: str | None) -> None:
        self.keys.append(resend_key)
        if len(self.keys) == 1:
            raise StorageUnavailable("The log can't be reached just now.")
        await super().publish(session, message, resend_key)


def refusing_world() -> tuple[World, Refusing]:
    rooms = Refusing()
    world = World(sources=[rooms])
    rooms.server = world.server
    return world, rooms


@pytest.mark.parametrize("bad", ["/chat/nowhere", "/chat/broken"])
def test_all_rooms_are_opened_or_none(bad: str) -> None:
    world, rooms = refusing_world()
    client = world.client()
    reply = client.subscribe("/chat/a", "/app/x", "/chat/b", bad)
    assert reply["error"] in (
        "404:There is no such room.:room_not_found",
        "500:Something broke on our side:server_error",
    )
    assert rooms.closed == ["/chat/a", "/chat/b"]
    assert rooms.readers == {}
    assert not world.server.clients[client.id].subscriptions


def test_what_was_not_kept_can_be_sent_again_with_its_id() -> None:
    world, rooms = refusing_world()
    client = world.client()
    first = client.publish("/chat/a", "hi", id="7")
    assert first["error"] == "503:The log can't be reached just now.:storage_unavailable"
    again = client.ask({"channel": "/chat/a", "data": "hi", "id": "7"})
    again.lose()
    assert client.publish("/chat/a", "hi", id="7")["successful"]
    assert len(rooms.log) == 1
    assert rooms.keys[0] == rooms.keys[1]
    assert rooms.keys[0] is not None
    assert len(rooms.keys[0]) == 32


def test_what_comes_again_before_it_is_durable_waits_for_the_same_commit() -> None:
    world, rooms = world_with_rooms(durable=False)
    client = world.client()
    first = client.ask({"channel": "/chat/a", "data": 1, "id": "7"})
    world.advance(5)
    again = client.ask({"channel": "/chat/a", "data": 1, "id": "7"})
    assert [first.replies, again.replies] == [[], []]
    rooms.commit()
    assert first.messages == again.messages
    assert len(rooms.log) == 1


def test_unsubscribing_and_leaving_close_the_source() -> None:
    world, rooms = world_with_rooms()
    client = world.client()
    client.subscribe("/chat/a", "/chat/*", "/app/x")
    client.said("/meta/unsubscribe", subscription="/chat/a")
    assert rooms.closed == ["/chat/a"]
    client.said("/meta/disconnect")
    assert rooms.closed == ["/chat/a", "/chat/*"]


def test_a_source_is_not_opened_twice_for_a_pattern() -> None:
    world, rooms = world_with_rooms()
    client = world.client()
    client.subscribe("/chat/a")
    client.publish("/chat/a", 1)
    client.subscribe("/chat/a", ext={"cursor": 0})
    client.connect()
    assert client.data() == [1]
    assert rooms.closed == []


def test_who_unsubscribes_while_it_opens_is_not_fed() -> None:
    world, rooms = world_with_rooms()
    client = world.client()
    rooms.opening = Deferred()
    client.ask({"channel": "/meta/subscribe", "subscription": "/chat/a"})
    client.ask({"channel": "/meta/unsubscribe", "subscription": "/chat/a"})
    rooms.opening.callback(None)
    assert rooms.closed == ["/chat/a"]
    assert not any(rooms.readers.values())


def test_a_source_that_breaks_afterwards_is_logged_and_stops_nobody() -> None:
    class Broken(Rooms):
        def confirmed(self, *_: Any) -> None:
            raise RuntimeError("confirmed")

        def close(self, *_: Any) -> None:
            raise RuntimeError("close")

    rooms = Broken()
    world = World(sources=[rooms])
    rooms.server = world.server
    client = world.client(POLL)
    client.subscribe("/chat/a")
    client.publish("/chat/a", 1)
    client.connect()
    assert client.data() == [1]
    client.connect()
    assert client.said("/meta/disconnect")["successful"]
    assert not world.server.clients
