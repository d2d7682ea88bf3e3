"""Subscribing, unsubscribing and publishing: what is allowed, what is refused and in what words.

Covers SubscriptionsWithMultipleChannelsTest, SubscriptionTest (meta fails, service is a no-op),
SubscribeWithPublishDenied, ChannelReleaseTest, AuthorizerTest (as a policy), BadJSONTest
(validation), ConcurrentDisconnectSubscribePublishTest; Faye's subscribe and unsubscribe cases
(single, array, missing, invalid, meta forbidden) and publish cases (invalid channel, no data).
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred, fail

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.policy import OpenPolicy
from cometd_chat.errors import ChatError, NotFound, StorageUnavailable, TooMany
from tests.bayeux.parts import OPTIONS, POLL, PUSH, World, world_with_rooms


def test_the_reply_to_subscribe_has_the_subscription_as_it_was_sent() -> None:
    client = World().client()
    for subscription in ("/app/x", "/app/x/", ["/app/a", "/app/b"], ["/app/c"]):
        reply = client.said("/meta/subscribe", subscription=subscription)
        reply.pop("id")
        assert reply == {
            "channel": "/meta/subscribe",
            "successful": True,
            "subscription": subscription,
        }
        reply = client.said("/meta/unsubscribe", subscription=subscription)
        assert (reply["successful"], reply["subscription"]) == (True, subscription)


@pytest.mark.parametrize("verb", ["/meta/subscribe", "/meta/unsubscribe"])
@pytest.mark.parametrize(
    ("subscription", "error"),
    [
        (..., "403::subscription_missing"),
        (None, "403::subscription_missing"),
        ("", "403::subscription_missing"),
        ([], "403::subscription_missing"),
        ("app", "403:"),
        ("/app//x", "403:"),
        (7, "403:"),
        ({"a": 1}, "403:"),
        (["/app/x", 7], "403:"),
        (["/app/x", "/app/*/y"], "403:"),
        ([["/app/x"]], "403:"),
    ],
)
def test_a_subscription_is_one_pattern_or_some(verb: str, subscription: Any, error: str) -> None:
    client = World().client()
    fields = {} if subscription is ... else {"subscription": subscription}
    reply = client.said(verb, **fields)
    assert reply["successful"] is False
    assert reply["error"].startswith(error)
    assert reply.get("subscription", ...) == subscription
    assert not client.world.server.clients[client.id].subscriptions


@pytest.mark.parametrize(
    "pattern", ["/meta/connect", "/meta/*", "/meta/**", "/meta/foo", "/other/x", "/*", "/other/**"]
)
def test_what_is_not_there_can_not_be_subscribed_to(pattern: str) -> None:
    client = World().client()
    reply = client.subscribe("/app/x", pattern)
    assert reply["error"].startswith("403:")
    assert reply["error"].endswith(":subscribe_denied")
    assert not client.world.server.clients[client.id].subscriptions


def test_unsubscribing_from_what_one_never_had_is_no_mistake() -> None:
    assert World().client().said("/meta/unsubscribe", subscription="/app/x")["successful"]


def test_a_service_channel_can_be_subscribed_to_without_effect() -> None:
    client = World().client()
    assert client.subscribe("/service/echo", "/service/**")["successful"]
    assert not client.world.server.clients[client.id].subscriptions


def test_a_session_has_only_so_many_subscriptions() -> None:
    client = World(options=attrs.evolve(OPTIONS, max_subscriptions=3)).client()
    assert client.subscribe("/app/1", "/app/2")["successful"]
    assert "at most 3" in client.subscribe("/app/3", "/app/4")["error"]
    assert client.subscribe("/app/1", "/app/2", "/app/3", "/app/3")["successful"]


def test_listeners_hear_of_channels_as_they_come_and_go() -> None:
    world = World()
    heard: list[tuple[Any, ...]] = []
    listeners = world.server.listeners
    listeners.channel_added.add(lambda name: heard.append(("added", name)))
    listeners.channel_removed.add(lambda name: heard.append(("removed", name)))
    listeners.subscribed.add(lambda session, name: heard.append(("in", session.id, name)))
    listeners.unsubscribed.add(lambda session, name: heard.append(("out", session.id, name)))
    a, b = world.client(), world.client()
    a.subscribe("/app/x")
    b.subscribe("/app/x")
    a.said("/meta/unsubscribe", subscription="/app/x")
    b.said("/meta/disconnect")
    assert heard == [
        ("added", "/app/x"),
        ("in", a.id, "/app/x"),
        ("in", b.id, "/app/x"),
        ("out", a.id, "/app/x"),
        ("out", b.id, "/app/x"),
        ("removed", "/app/x"),
    ]


# -- publishing


def test_the_reply_to_a_publish_has_no_data() -> None:
    reply = World().client().publish("/app/x", "hi")
    assert reply == {"channel": "/app/x", "successful": True, "id": "2"}


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"channel": "/app/x"}, "402:data:Missing required parameter"),
        ({"channel": "/app/*", "data": 1}, "405:/app/*:channel_invalid"),
        ({"channel": "app", "data": 1}, "405:app:channel_invalid"),
        ({"channel": "/a:b,c", "data": 1}, "405:/a -b;c:channel_invalid"),
        ({"channel": 7, "data": 1}, "405:7:channel_invalid"),
        ({"channel": {}, "data": 1}, "405:{}:channel_invalid"),
        ({"channel": ["/meta/connect"]}, "405:['/meta/connect']:channel_invalid"),
        ({"data": 1}, "400::channel_missing"),
        ({"channel": None, "data": 1}, "400::channel_missing"),
        (
            {"channel": "/other/x", "data": 1},
            "403:There is no channel /other/x here:publish_denied",
        ),
        ({"channel": "/app", "data": 1}, "403:There is no channel /app here:publish_denied"),
        (
            {"channel": "/meta/foo", "data": 1},
            "403:/meta/foo,denied_by_security_policy:publish_denied",
        ),
        (
            {"channel": "/meta/subscribe/x", "subscription": "/app/x", "data": 1},
            "403:/meta/subscribe/x,denied_by_security_policy:publish_denied",
        ),
        (
            {"channel": "/meta/connect/", "data": 1},
            "403:/meta/connect,denied_by_security_policy:publish_denied",
        ),
    ],
)
def test_what_can_not_be_published_is_refused(message: Message, error: str) -> None:
    client = World().client()
    exchange = client.ask(message)
    (reply,) = exchange.messages
    assert reply["successful"] is False
    assert reply["error"] == error
    assert reply.get("channel", ...) == message.get("channel", ...)
    assert "advice" not in reply


def test_one_that_is_refused_takes_no_other_with_it() -> None:
    client = World().client()
    client.subscribe("/app/x")
    exchange = client.ask(
        {"channel": "/app/x", "data": 1},
        {"channel": "/nowhere", "data": 2},
        {},
        {"channel": "/app/x", "data": 3},
    )
    assert [each["successful"] for each in exchange.messages] == [True, False, False, True]
    client.connect()
    assert client.data() == [1, 3]


# -- who may


class Strict(OpenPolicy):
    """Refuses what ends in a word."""

    async def may_create(self, session: BayeuxClient, channel: str) -> None:
        if channel.endswith("new"):
            raise TooMany("Too many channels: wait.")

    async def may_subscribe(self, session: BayeuxClient, pattern: str) -> None:
        if pattern.endswith("deaf"):
            raise TooMany("Too many ears: wait.")

    async def may_publish(self, session: BayeuxClient, message: Message) -> None:
        if message["channel"].endswith("mute"):
            raise TooMany("Too many words: wait.")
        if message["channel"].endswith("broken"):
            raise RuntimeError("secret")


def test_the_policy_is_asked() -> None:
    client = World(policy=Strict()).client()
    ears = "429:Too many ears - wait.:too_many"
    assert client.subscribe("/app/a", "/app/deaf")["error"] == ears
    assert client.subscribe("/app/new")["error"] == "429:Too many channels - wait.:too_many"
    assert client.publish("/app/new")["error"] == "429:Too many channels - wait.:too_many"
    assert client.publish("/app/mute")["error"] == "429:Too many words - wait.:too_many"
    assert client.publish("/service/mute")["error"] == "429:Too many words - wait.:too_many"
    assert client.publish("/app/broken")["error"] == "500:Something broke on our side:server_error"
    assert client.publish("/app/fine")["successful"]
    assert not client.world.server.clients[client.id].subscriptions


class Slow(OpenPolicy):
    """Lets a subscribe wait until it is told otherwise."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []

    async def may_subscribe(self, session: BayeuxClient, pattern: str) -> None:
        self.waiting.append(Deferred())
        await self.waiting[-1]


def test_messages_are_handled_in_the_order_in_which_they_came() -> None:
    policy = Slow()
    world = World(policy=policy)
    client = world.client()
    first = client.ask({"channel": "/meta/subscribe", "subscription": "/app/x"})
    second = client.ask({"channel": "/meta/unsubscribe", "subscription": "/app/x"})
    third = client.ask({"channel": "/app/x", "data": 1})
    assert [each.replies for each in (first, second, third)] == [[], [], []]
    policy.waiting[0].callback(None)
    assert [each.messages[0]["successful"] for each in (first, second, third)] == [True] * 3
    assert not world.server.clients[client.id].subscriptions


def test_only_so_many_requests_wait_for_others() -> None:
    policy = Slow()
    world = World(policy=policy, options=attrs.evolve(OPTIONS, max_waiting_requests=2))
    client = world.client()
    client.ask({"channel": "/meta/subscribe", "subscription": "/app/x"})
    waiting = [client.ask({"channel": "/app/x", "data": 1}) for _ in range(3)]
    assert [bool(each.replies) for each in waiting] == [False, False, True]
    assert waiting[2].messages[0]["error"].startswith("429:")
    policy.waiting[0].callback(None)
    assert all(each.messages for each in waiting)


def test_who_left_meanwhile_is_not_subscribed() -> None:
    policy = Slow()
    world = World(policy=policy)
    client = world.client()
    subscribing = client.ask({"channel": "/meta/subscribe", "subscription": "/app/x"})
    world.server.clients[client.id].disconnect()
    policy.waiting[0].callback(None)
    assert subscribing.messages[0]["error"] == "402::session_unknown"
    assert list(world.server.broadcast.subscriptions) == []


def test_who_left_meanwhile_leaves_no_source_open() -> None:
    world, rooms = world_with_rooms()
    client = world.client()
    rooms.opening = Deferred()
    subscribing = client.ask({"channel": "/meta/subscribe", "subscription": "/chat/a"})
    world.server.clients[client.id].disconnect()
    rooms.opening.callback(None)
    assert subscribing.messages[0]["error"] == "402::session_unknown"
    assert rooms.closed == ["/chat/a"]
    assert rooms.readers == {}


@pytest.mark.parametrize("kind", [POLL, PUSH])
def test_who_can_not_subscribe_just_now_shakes_hands_anew(kind: str) -> None:
    """Stock clients subscribe to all that they want then, and never again to what was refused."""
    world, rooms = world_with_rooms()
    client = world.client(kind)
    client.connect()
    client.connect()
    rooms.opening = fail(StorageUnavailable("Not now.", retry_after=2))
    both = client.ask(
        {"channel": "/meta/subscribe", "subscription": "/chat/a"},
        {"channel": "/meta/subscribe", "subscription": "/app/x"},
    )
    world.turn()
    first, second = (each for each in both.messages if "subscription" in each)
    assert first["error"] == "503:Not now.:storage_unavailable"
    assert first["advice"] == {"reconnect": "handshake", "interval": 2000}
    assert second["successful"]
    assert client.id not in world.server.clients
    assert (client.reply["advice"]["reconnect"], client.reply["advice"]["interval"]) == (
        "handshake",
        2000,
    )
    rooms.opening = None
    client.handshake()
    assert client.subscribe("/chat/a")["successful"]


@pytest.mark.parametrize("error", [TooMany("Wait."), NotFound("There is none.")])
def test_who_may_not_subscribe_stays(error: ChatError) -> None:
    world, rooms = world_with_rooms()
    client = world.client()
    rooms.opening = fail(error)
    reply = client.subscribe("/chat/a")
    assert reply["error"].startswith(f"{error.status}:")
    assert "advice" not in reply
    assert client.id in world.server.clients


# -- service channels


def test_a_service_hears_and_answers() -> None:
    world = World()
    heard: list[Any] = []

    def echo(session: BayeuxClient, message: Message) -> None:
        heard.append(message["data"])
        session.deliver("/service/echo", message["data"] * 2)

    world.server.add_service("/service/echo", echo)
    client = world.client()
    assert client.publish("/service/echo", 21)["successful"]
    client.connect()
    assert heard == [21]
    assert client.deliveries() == [{"channel": "/service/echo", "data": 42}]


def test_a_remote_call_is_answered_with_its_id() -> None:
    world = World()

    def add(session: BayeuxClient, message: Message) -> None:
        session.answer(message, sum(message["data"]))

    world.server.add_service("/service/math/*", add)
    client = world.client()
    client.publish("/service/math/add", [1, 2], id="r1")
    client.connect()
    (answer,) = client.deliveries()
    assert answer == {"channel": "/service/math/add", "data": 3, "id": "r1", "successful": True}


def test_a_service_may_take_its_time_while_others_are_answered() -> None:
    world = World()
    done: Deferred[None] = Deferred()
    world.server.add_service("/service/slow", lambda *_: done)
    client = world.client()
    slow = client.ask({"channel": "/service/slow", "data": 1})
    assert client.publish("/app/x")["successful"]
    assert not slow.replies
    done.callback(None)
    assert slow.messages[0]["successful"]


def test_a_service_that_is_not_there_says_so() -> None:
    reply = World().client().publish("/service/nobody")
    assert reply["error"] == "404:/service/nobody:no_service"


def test_a_service_that_refuses_or_breaks() -> None:
    def refusing(session: BayeuxClient, message: Message) -> None:
        raise TooMany("Enough.")

    def broken(session: BayeuxClient, message: Message) -> None:
        raise RuntimeError("secret")

    world = World()
    world.server.add_service("/service/a", refusing)
    world.server.add_service("/service/b", broken)
    client = world.client()
    assert client.publish("/service/a")["error"] == "429:Enough.:too_many"
    assert client.publish("/service/b")["error"] == "500:Something broke on our side:server_error"
