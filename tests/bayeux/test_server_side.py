"""What the server's own code can do: publish, deliver, listen, make channels lazy.

Covers LazyChannelAndMessageTest (global timeout, channel timeout, mixed, deliver immediate and
lazy, queue of only lazy, not inherited from parent, inherited from wildcard), BroadcastToPublisher-
Test in part, ServerRestartTest in part, and that a fan-out makes way for other work.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from cometd_chat.bayeux.channels import InvalidChannel
from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.faults import Fault
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.policy import OpenPolicy
from tests.bayeux.parts import KINDS, PUSH, Client, World

kinds = pytest.mark.parametrize("kind", KINDS)


def listening(world: World, *patterns: str, kind: str = "long-polling") -> Client:
    client = world.client(kind)
    if patterns:
        client.subscribe(*patterns)
    client.connect()
    return client


@kinds
def test_the_server_delivers_to_one(kind: str) -> None:
    world = World()
    one, other = (listening(world, "/app/x", kind=kind) for _ in range(2))
    world.server.clients[one.id].deliver("/private/x", {"a": 1})
    world.turn()
    assert one.deliveries() == [{"channel": "/private/x", "data": {"a": 1}}]
    assert other.data() == []


@pytest.mark.parametrize("channel", ["x", "/app/*", "/é", ""])
def test_what_is_no_channel_can_not_be_published_to(channel: str) -> None:
    with pytest.raises(InvalidChannel):
        World().server.publish(channel, 1)
    with pytest.raises(InvalidChannel):
        World(free=[channel + "//"])


def test_what_is_no_json_is_the_callers_mistake_and_reaches_nobody() -> None:
    world = World()
    client = listening(world, "/app/x")
    with pytest.raises(TypeError):
        world.server.publish("/app/x", object())
    world.turn()
    assert not client.answered


def test_listeners_hear_and_may_stop_what_is_published() -> None:
    world = World()
    client = listening(world, "/app/**")
    heard: list[Any] = []

    def listener(session: Any, message: Any) -> bool:
        heard.append((None if session is None else session.id, message["data"]))
        return bool(message["data"] != "bad")

    world.server.channel("/app/*").listeners.append(listener)
    assert client.publish("/app/x", "good")["successful"]
    assert client.publish("/app/x", "bad")["error"] == "404::message_deleted"
    assert not world.server.publish("/app/x", "bad")
    assert world.server.publish("/app/x/y", "bad")
    world.turn()
    assert heard == [(client.id, "good"), (client.id, "bad"), (None, "bad")]
    assert client.data() == ["good", "bad"]
    world.server.broadcast.forget("/app/*")
    assert world.server.publish("/app/x", "bad")


# -- lazy messages


@kinds
def test_a_lazy_message_waits_for_another(kind: str) -> None:
    world = World()
    client = listening(world, "/app/**", kind=kind)
    world.server.publish("/app/x", "lazy", lazy=True)
    world.advance(1)
    assert client.data() == []
    world.server.publish("/app/x", "now")
    world.turn()
    assert client.data() == ["lazy", "now"]


@kinds
def test_a_lazy_message_does_not_wait_for_ever(kind: str) -> None:
    world = World()
    client = listening(world, "/app/**", kind=kind)
    world.server.publish("/app/x", "lazy", lazy=True)
    world.advance(4)
    world.server.clients[client.id].deliver("/app/x", "lazier", lazy=True)
    assert client.data() == []
    world.advance(2)
    assert client.data() == ["lazy", "lazier"]


def test_a_connect_is_held_while_only_lazy_messages_wait() -> None:
    world = World()
    client = world.client()
    client.subscribe("/app/x")
    world.server.publish("/app/x", "lazy", lazy=True)
    client.connect()
    assert not client.answered
    world.advance(6)
    assert client.data() == ["lazy"]


def test_a_channel_may_be_lazy_for_a_time_of_its_own() -> None:
    world = World()
    client = listening(world, "/app/**")
    slow, quick = world.server.channel("/app/slow"), world.server.channel("/app/quick")
    slow.lazy = quick.lazy = True
    quick.lazy_timeout = 1
    world.server.publish("/app/slow", "slow")
    world.advance(1)
    world.server.publish("/app/quick", "quick")
    assert client.data() == []
    world.advance(2.5)
    assert client.data() == ["slow", "quick"]


def test_laziness_comes_from_wildcards_and_not_from_parents() -> None:
    world = World()
    client = listening(world, "/app/**")
    world.server.channel("/app/a").lazy = True
    world.server.channel("/app/b/*").lazy = True
    world.server.publish("/app/b/x", "lazy")
    world.turn()
    assert client.data() == []
    world.server.publish("/app/a/x", "now")
    world.turn()
    assert client.data() == ["lazy", "now"]


def test_who_leaves_while_lazy_messages_wait_leaves_nothing_behind() -> None:
    world = World()
    client = listening(world, "/app/x")
    world.server.publish("/app/x", "lazy", lazy=True)
    client.said("/meta/disconnect")
    assert world.reaper.scheduled == 0


# -- many


class TickingClock(Clock):
    """Time goes by whenever somebody looks."""

    ticking = False

    def seconds(self) -> float:
        if self.ticking:
            self.rightNow += 0.002
        return super().seconds()


def test_a_fan_out_makes_way_for_other_work() -> None:
    world = World()
    clients = [listening(world, "/app/x", kind=PUSH) for _ in range(200)]
    clock = TickingClock()
    looked: list[int] = []
    world.server.publish("/app/x", 1)
    world.reaper._clock = clock
    clock.ticking = True
    while not looked or looked[-1] < 200:
        # One turn of the reactor: what is called soon from here on is for the next.
        due = [each for each in world.clock.calls if each.getTime() <= world.clock.seconds()]
        for call in due:
            world.clock.calls.remove(call)
            call.func(*call.args, **call.kw)
        done = [each for each in clients if "data" in each.pushes[0].frames[-1][0]]
        looked.append(len(done))
    assert looked[-1] == 200
    assert len(looked) > 2


def test_counts_for_those_who_look_from_outside() -> None:
    world = World()
    client = listening(world, "/app/x")
    world.server.publish("/app/x", 1)
    world.turn()
    held = client.held
    assert held is not None
    world.server.lost(held)
    client.held = None
    client.connect()
    world.advance(60)
    counts = world.server.connects.counts
    assert (counts.delivered, counts.redelivered, counts.lost, counts.expired) == (2, 1, 1, 1)


class Silent(OpenPolicy):
    """Nobody may publish."""

    async def may_publish(self, client: BayeuxClient, message: Message) -> None:
        raise Fault(403, "publish_denied", ["silence"])


def test_another_policy_counts_from_the_next_message() -> None:
    world = World()
    client = world.client()
    assert client.said("/app/x", data=1)["successful"]
    world.server.policy = Silent()
    reply = client.said("/app/x", data=2)
    assert reply["error"] == "403:silence:publish_denied"
    assert isinstance(world.server.policy, Silent)
