"""/meta/connect: what is answered at once, what is held, and how each one ends.

Covers DuplicateMetaConnectTest, CometDDuplicateMetaConnectTest, MultipleClientSessionsTest,
MetaConnectWithOtherMessagesTest, CustomAdviceTest, ServerSessionExpirationTest, SweepTest and
OrphanedSessionTest (the core's part), SlowConnectionTest, SimulatedNetworkFailureTest,
ConcurrentConnectDisconnectTest; of CometD's Node server: holds connect, sweeps after handshake and
after connect, holds while another request is processed, client closes held connect, unknown session
on bad first message; of Faye: connect with unknown client, missing clientId, unknown type.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from cometd_chat.bayeux.exchange import Arrival, Peer
from tests.bayeux.parts import KINDS, OPTIONS, POLL, PUSH, STREAM, Client, FakePush, World

RETRY = {"reconnect": "retry", "interval": 0, "timeout": 30000}


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_is_answered_at_once_with_full_advice(kind: str) -> None:
    client = Client(World(), kind)
    client.handshake()
    client.connect()
    reply = client.reply
    assert reply["successful"] is True
    assert reply["id"] == "1"
    assert "clientId" not in reply
    if kind != STREAM:
        assert reply["advice"] == RETRY


def test_the_second_is_held_for_the_time_that_the_advice_states() -> None:
    client = World().client()
    client.connect()
    assert client.held is not None
    assert client.held.held_for == 30
    client.world.advance(29)
    assert not client.answered
    client.world.advance(1.5)
    assert client.reply == {
        "id": "2",
        "channel": "/meta/connect",
        "successful": True,
        "advice": RETRY,
    }


def test_on_a_line_it_is_a_heartbeat_and_held_as_long() -> None:
    client = World().client(PUSH)
    client.connect()
    client.subscribe("/app/x")
    client.publish("/app/x")
    assert client.data() == ["hi"]
    assert not client.answered
    client.world.advance(31)
    assert client.reply["advice"] == RETRY


def test_on_an_event_source_it_is_answered_at_once_and_asks_for_the_next_late() -> None:
    client = World().client(STREAM)
    client.connect()
    assert client.reply["advice"] == {"reconnect": "retry", "interval": 30000, "timeout": 0}


def test_an_event_source_may_open_after_its_first_connect() -> None:
    world = World()
    client = Client(world, STREAM)
    client.open_stream = lambda last_number=None: None  # type: ignore[method-assign]
    client.handshake()
    client.connect()
    client.subscribe("/app/x")
    client.publish("/app/x", 1)
    del client.open_stream
    client.open_stream()
    assert client.data() == [1]


def test_it_is_not_held_when_the_client_does_not_want_it() -> None:
    client = World().client()
    client.connect(advice={"timeout": 0})
    assert client.reply["advice"] == RETRY


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(5000, 5), (60_000_000, 30), (-1, 30), ("1", 30), (None, 30)]
)
def test_a_client_may_ask_for_less_and_not_for_more(timeout: Any, seconds: float) -> None:
    client = World().client()
    held = client.connect(advice={"timeout": timeout})
    assert held.held_for == seconds


def test_strange_advice_does_no_harm() -> None:
    client = World().client()
    assert client.connect(advice=[1]).held_for == 30


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_never_held_beside_other_messages(kind: str) -> None:
    client = World().client(kind)
    exchange = client.ask(
        {"channel": "/meta/connect", "connectionType": kind},
        {"channel": "/meta/subscribe", "subscription": "/app/x"},
    )
    assert [each["channel"] for each in exchange.messages] == ["/meta/subscribe", "/meta/connect"]


def test_what_comes_in_the_same_request_goes_with_it() -> None:
    client = World().client()
    client.subscribe("/app/x")
    exchange = client.ask(
        {"channel": "/meta/connect", "connectionType": POLL},
        {"channel": "/app/x", "data": "hi"},
    )
    replies = [(each["channel"], "data" in each) for each in exchange.messages]
    assert replies == [("/app/x", False), ("/app/x", True), ("/meta/connect", False)]


def test_two_in_one_request_are_one_too_many() -> None:
    client = World().client()
    connect = {"channel": "/meta/connect", "connectionType": POLL}
    first, second = client.ask(connect, connect).messages
    assert [first["successful"], second["successful"]] == [False, True]
    assert "advice" not in first


def test_other_requests_do_not_wait_for_it() -> None:
    client = World().client()
    client.connect()
    assert client.subscribe("/app/x")["successful"]
    assert client.publish("/app/y")["successful"]
    assert not client.answered


# -- replaced


def test_a_newer_one_takes_its_place() -> None:
    client = World().client()
    first = client.connect()
    client.held = None
    client.connect()
    (reply,) = first.messages
    assert reply["successful"] is False
    assert reply["id"] == "2"
    assert reply["error"].startswith("409:")
    assert "advice" not in reply
    assert not client.answered


def test_what_waits_goes_with_the_newer_one() -> None:
    world = World()
    client = world.client()
    client.subscribe("/app/x")
    first = client.connect()
    world.server.publish("/app/x", 1)
    client.held = None
    client.connect()
    assert [each["channel"] for each in first.messages] == ["/meta/connect"]
    assert client.data() == [1]


def test_a_newer_one_on_the_same_socket_replaces_it_too() -> None:
    client = World().client(PUSH)
    first = client.connect()
    second = client.connect()
    assert first.messages[0]["successful"] is False
    assert not second.messages
    assert client.push is not None
    assert not client.push.ended


def test_replacing_again_and_again_leaves_nothing_behind() -> None:
    client = World().client()
    for _ in range(50):
        client.connect()
    connects = client.world.server.connects
    assert connects.held == 1
    assert len(connects._by_exchange) == 1
    assert connects.counts.replaced == 49


# -- unknown sessions


@pytest.mark.parametrize("client_id", [..., "x", "", 7, None, ["a"], {"a": 1}])
@pytest.mark.parametrize("channel", ["/meta/connect", "/meta/subscribe", "/meta/disconnect", "/a"])
def test_who_is_not_known_has_to_handshake(client_id: object, channel: str) -> None:
    message = {"channel": channel, "id": "9", "subscription": "/app/x", "data": 1}
    if client_id is not ...:
        message["clientId"] = client_id
    reply = World().reply(message)
    assert reply["successful"] is False
    assert reply["error"] == "402::session_unknown"
    assert reply["advice"] == {"reconnect": "handshake", "interval": 0}
    assert reply["id"] == "9"


def test_a_connection_type_that_we_do_not_have_is_refused() -> None:
    client = World().client()
    reply = client.said("/meta/connect", connectionType="flash")
    assert reply["error"] == "301:flash:Connection types not supported"


# -- expiry


def test_a_session_without_a_connect_lives_for_its_max_interval() -> None:
    client = World().client()
    client.world.advance(9.5)
    assert client.id in client.world.server.clients
    client.world.advance(2)
    assert client.id not in client.world.server.clients
    client.connect()
    assert client.reply["advice"]["reconnect"] == "handshake"


def test_a_held_connect_keeps_it() -> None:
    client = World().client()
    client.connect()
    client.world.advance(29)
    assert client.id in client.world.server.clients
    client.world.advance(10)
    assert client.id in client.world.server.clients  # answered at 30, and then 10 more
    client.world.advance(3)
    assert client.id not in client.world.server.clients


@pytest.mark.parametrize("kind", KINDS)
def test_any_message_puts_it_off(kind: str) -> None:
    client = World().client(kind)
    for _ in range(10):
        client.world.advance(8)
        client.publish("/app/x")
    assert client.id in client.world.server.clients


def test_an_interval_that_the_client_announces_is_waited_for_within_bounds() -> None:
    client = World().client()
    client.connect(advice={"timeout": 0, "interval": 20_000})
    client.world.advance(28)
    assert client.id in client.world.server.clients
    client.connect(advice={"timeout": 0, "interval": 86_400_000})
    client.world.advance(69)
    assert client.id in client.world.server.clients
    client.world.advance(3)
    assert client.id not in client.world.server.clients


def test_an_event_source_is_not_expected_before_the_interval_it_was_given() -> None:
    client = World().client(STREAM)
    client.world.advance(38)
    assert client.id in client.world.server.clients
    client.world.advance(4)
    assert client.id not in client.world.server.clients
    assert client.stream.ended


def test_expiry_lets_go_of_everything() -> None:
    world = World()
    client = world.client()
    client.subscribe("/app/x")
    removed: list[bool] = []
    world.server.listeners.client_removed.add(lambda _, timed_out: removed.append(timed_out))
    world.advance(12)
    assert removed == [True]
    assert list(world.server.broadcast.subscriptions) == []
    assert world.reaper.scheduled == 0
    assert not world.server.connects._by_exchange
    world.server.publish("/app/x", 1)
    world.turn()
    assert world.clock.getDelayedCalls() == []


def test_an_expired_session_is_never_told_to_stay_away() -> None:
    world = World()
    client = world.client(PUSH)
    client.connect()
    assert client.push is not None
    world.server.push_lost(client.push)
    world.advance(12)
    assert client.id not in world.server.clients
    frames = [message for frame in client.push.frames for message in frame]
    assert all(each.get("advice", {}).get("reconnect") != "none" for each in frames)


def test_a_large_reply_on_a_slow_link_does_not_cost_the_session() -> None:
    world = World()
    client = world.client()
    client.subscribe("/app/x")
    held = client.connect()
    world.server.publish("/app/x", "x" * 1000)
    world.turn()
    held.known = Arrival.UNDER_WAY
    world.advance(60)
    assert client.id in world.server.clients
    held.known = Arrival.UNKNOWN
    world.advance(20)
    assert client.id not in world.server.clients


# -- the peer is gone


def test_a_held_connect_whose_peer_is_gone_is_let_go() -> None:
    world = World()
    client = world.client()
    client.subscribe("/app/x")
    held = client.connect()
    world.server.lost(held)
    world.server.lost(held)
    assert world.server.connects.held == 0
    world.server.publish("/app/x", 1)
    world.turn()
    assert not held.replies
    client.held = None
    client.connect()
    assert client.data() == [1]


def test_its_session_dies_when_nobody_comes_back() -> None:
    world = World()
    client = world.client()
    world.server.lost(client.connect())
    world.advance(12)
    assert not world.server.clients


def test_a_loss_that_nobody_knows_of_does_no_harm() -> None:
    world = World()
    client = world.client()
    world.server.lost(client.ask({"channel": "/app/x", "data": 1}))
    world.server.push_lost(FakePush())
    world.server.push_writable(FakePush())
    world.server.push_confirmed(FakePush(), 3)
    client.subscribe("/app/x")
    client.publish("/app/x", 2)
    client.connect()
    assert client.data() == [2]
    assert world.server.connects.counts.lost == 0


# -- several windows of one browser

TWO = attrs.evolve(OPTIONS, max_sessions_per_browser=2)


def tab(world: World, browser: str | None = "b1") -> Client:
    return world.client(peer=Peer(POLL, browser=browser))


def test_windows_beyond_the_limit_are_asked_to_come_by_and_by() -> None:
    world = World(options=TWO)
    tabs = [tab(world) for _ in range(3)]
    for each in tabs:
        each.connect()
    assert [each.answered for each in tabs] == [False, False, True]
    assert tabs[2].reply["successful"] is True
    assert tabs[2].reply["advice"] == {
        "reconnect": "retry",
        "interval": 2000,
        "timeout": 30000,
        "multiple-clients": True,
    }


@pytest.mark.parametrize("end", ["lost", "left", "disconnected", "overdue"])
def test_a_place_is_free_again_however_a_connect_ends(end: str) -> None:
    world = World(options=TWO)
    first, second = tab(world), tab(world)
    held = first.connect()
    second.connect()
    session = world.server.client(first.id)
    assert session is not None
    if end == "lost":
        world.server.lost(held)
    elif end == "left":
        first.said("/meta/disconnect")
    elif end == "disconnected":
        session.disconnect()
    else:
        world.advance(31)
        second.connect()
    newcomer, late = tab(world), tab(world)
    newcomer.connect()
    late.connect()
    assert [newcomer.answered, late.answered] == [False, True]


def test_the_same_window_twice_is_one_window() -> None:
    world = World(options=attrs.evolve(OPTIONS, max_sessions_per_browser=1))
    client = tab(world)
    client.connect()
    client.connect()
    assert not client.answered


def test_other_browsers_and_programs_without_cookies_do_not_count() -> None:
    world = World(options=attrs.evolve(OPTIONS, max_sessions_per_browser=1))
    tabs = [tab(world, browser) for browser in ("b1", "b2", None, None)]
    for each in tabs:
        each.connect()
    assert not any(each.answered for each in tabs)


def test_sockets_do_not_count() -> None:
    world = World(options=attrs.evolve(OPTIONS, max_sessions_per_browser=1))
    tabs = [world.client(PUSH, peer=Peer(PUSH, browser="b1")) for _ in range(3)]
    for each in tabs:
        each.connect()
    assert not any(each.answered for each in tabs)


def test_windows_beyond_the_limit_can_be_sent_away() -> None:
    options = attrs.evolve(OPTIONS, max_sessions_per_browser=1, multi_session_interval=0)
    world = World(options=options)
    tab(world).connect()
    late = Client(world, peer=Peer(POLL, browser="b1"))
    late.handshake()
    late.connect()
    assert late.reply["advice"]["reconnect"] == "none"
    assert late.reply["advice"]["multiple-clients"] is True


def test_a_window_beyond_the_limit_still_gets_its_messages() -> None:
    world = World(options=attrs.evolve(OPTIONS, max_sessions_per_browser=1))
    tab(world).connect()
    late = tab(world)
    late.subscribe("/app/x")
    world.server.publish("/app/x", 1)
    late.connect()
    assert late.held is not None
    assert [each.get("data") for each in late.held.messages] == [1, None]
