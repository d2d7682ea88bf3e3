"""From one who publishes to all who subscribed, by each kind of transport: once, in order, and not
lost when a connection breaks.

Covers of Faye's integration and engine cases: between clients, none for who unsubscribed, several,
multibyte, each message once however many patterns match, no shared copies; of CometD:
PublishDoesNotLeakClientIdTest, BroadcastToPublisherTest, MessageProcessingOrderTest,
MetaConnectDeliverOnlyTest (deliveries go with connects only), HighRateServerEventsTest,
WebSocketTransportTest (second connect on another socket loses nothing), CometDFalsyMessageTest,
BatchedRepliesWebSocketTest, SubscriptionTest (same channel sent once).
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from cometd_chat.bayeux.exchange import Arrival, Peer
from tests.bayeux.parts import (
    KINDS,
    OPTIONS,
    POLL,
    PUSH,
    STREAM,
    Client,
    FakeExchange,
    FakePush,
    World,
)

kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_a_message_has_a_channel_and_data_and_nothing_that_its_publisher_could_forge(
    kind: str,
) -> None:
    world = World()
    alice, bob = world.client(kind), world.client(kind)
    alice.subscribe("/app/x")
    alice.connect()
    forged = {
        "advice": {"reconnect": "none"},
        "ext": {"ack": 7},
        "successful": True,
        "error": "x",
        "timestamp": "x",
        "subscription": "/app/y",
    }
    bob.publish("/app/x", {"a": 1}, **forged)
    assert alice.deliveries() == [{"channel": "/app/x", "data": {"a": 1}}]


@kinds
def test_of_ext_only_what_is_named_goes_with_a_message(kind: str) -> None:
    world = World()
    alice = world.client(kind)
    alice.subscribe("/app/x")
    alice.connect()
    world.server.relayed_ext.add("mine")
    alice.publish("/app/x", 1, ext={"binary": {}, "secret": 7, "mine": [None]})
    alice.publish("/app/x", 2, ext={"secret": 7})
    alice.publish("/app/x", 3, ext="binary")
    world.server.publish("/app/x", 4, ext={"any": 1})
    world.turn()
    assert alice.deliveries() == [
        {"channel": "/app/x", "data": 1, "ext": {"binary": {}, "mine": [None]}},
        {"channel": "/app/x", "data": 2},
        {"channel": "/app/x", "data": 3},
        {"channel": "/app/x", "data": 4, "ext": {"any": 1}},
    ]


@kinds
@pytest.mark.parametrize("data", [None, 0, 1.5, False, "", "é☃😀", [], {}, {"a": [None]}])
def test_any_json_is_data(kind: str, data: Any) -> None:
    world = World()
    client = world.client(kind)
    client.subscribe("/app/x")
    client.connect()
    client.publish("/app/x", data)
    assert client.data() == [data]


@kinds
def test_a_publisher_hears_herself_after_her_reply(kind: str) -> None:
    client = World().client(kind)
    client.subscribe("/app/x")
    exchange = client.ask({"channel": "/app/x", "data": 1})
    assert [each["successful"] for each in exchange.messages] == [True]
    assert client.data() == [1]
    if kind == PUSH:
        assert client.push is not None
        last_two = client.push.frames[-2:]
        assert ["successful" in frame[0] for frame in last_two] == [True, False]


@kinds
def test_a_message_comes_once_however_many_patterns_match(kind: str) -> None:
    world = World()
    client = world.client(kind)
    for pattern in ("/app/x", "/app/*", "/app/**", "/**", "/app/x"):
        assert client.subscribe(pattern)["successful"]
    client.connect()
    world.server.publish("/app/x", 1)
    world.server.publish("/app/a/b", 2)
    world.turn()
    assert client.data() == [1, 2]


@kinds
def test_who_unsubscribed_hears_no_more(kind: str) -> None:
    world = World()
    client = world.client(kind)
    client.subscribe("/app/x", "/app/y", "/app/*")
    client.said("/meta/unsubscribe", subscription=["/app/x", "/app/*"])
    world.server.publish("/app/x", 1)
    world.server.publish("/app/y", 2)
    world.turn()
    client.connect()
    assert client.data() == [2]


@kinds
def test_all_who_subscribed_hear_it(kind: str) -> None:
    world = World()
    clients = [world.client(each) for each in KINDS * 2]
    for each in clients:
        each.subscribe("/app/x")
        each.connect()
    world.client(kind).publish("/app/x", 1)
    assert [each.data() for each in clients] == [[1]] * 6


@kinds
def test_a_thousand_messages_come_in_order(kind: str) -> None:
    world = World()
    alice, bob = world.client(kind), world.client(kind)
    alice.subscribe("/app/x")
    alice.connect()
    heard = []
    for number in range(1000):
        bob.publish("/app/x", number)
        if number % 7 == 0:
            heard += alice.data()
    assert heard + alice.data() == list(range(1000))


def test_what_is_said_in_one_turn_goes_out_together() -> None:
    world = World()
    poll, push = world.client(POLL), world.client(PUSH)
    for each in (poll, push):
        each.subscribe("/app/x")
        each.connect()
    for number in range(5):
        world.server.publish("/app/x", number)
    assert not poll.answered
    world.turn()
    assert poll.held is not None
    assert len(poll.held.messages) == 6
    assert push.push is not None
    assert len(push.push.frames[-1]) == 5


def test_a_batch_that_is_published_goes_out_together() -> None:
    world = World()
    alice, bob = world.client(), world.client()
    alice.subscribe("/app/x")
    held = alice.connect()
    exchange = bob.ask(*({"channel": "/app/x", "data": number} for number in range(10)))
    assert [each["id"] for each in exchange.messages] == [str(n) for n in range(2, 12)]
    assert len(held.messages) == 11


def test_deliveries_go_with_connects_before_their_reply() -> None:
    client = World().client()
    client.subscribe("/app/x")
    client.connect()
    assert client.ask({"channel": "/app/x", "data": 1}).messages[0]["successful"]
    assert client.held is not None
    assert [each.get("data") for each in client.held.messages] == [1, None]


def test_the_json_of_a_broadcast_is_made_once() -> None:
    world = World()
    clients = [world.client() for _ in range(3)]
    for each in clients:
        each.subscribe("/app/x")
    world.server.publish("/app/x", 1)
    queues = [world.server.clients[each.id].queue.take(1, 100) for each in clients]
    assert len({id(queued.json) for (queued,) in queues}) == 1


def test_a_reply_is_bounded_and_the_rest_goes_with_the_next() -> None:
    world = World(options=attrs.evolve(OPTIONS, max_reply_messages=10, max_reply_bytes=300))
    client = world.client()
    client.subscribe("/app/x")
    for number in range(25):
        world.server.publish("/app/x", number)
    held = client.connect()
    assert len(held.messages) < 12
    assert client.data() == list(range(25))


def test_the_publisher_can_be_left_out() -> None:
    world = World()
    client = world.client()
    client.subscribe("/app/**")
    client.publish("/app/x", 1)
    world.server.channel("/app/quiet/*").broadcast_to_publisher = False
    client.publish("/app/quiet/x", 2)
    world.server.publish("/app/quiet/x", 3)
    world.server.clients[client.id].broadcast_to_publisher = False
    client.publish("/app/x", 4)
    client.connect()
    assert client.data() == [1, 3]
    silent = World(options=attrs.evolve(OPTIONS, broadcast_to_publisher=False)).client()
    silent.subscribe("/app/x")
    silent.publish("/app/x")
    silent.connect()
    assert silent.data() == []


# -- connections that break


#: What comes by a proxy: how its connection ends tells nothing.
PROXIED = Peer(POLL, forwarded=True)


def listening(world: World, kind: str = POLL, peer: Peer | None = None) -> Client:
    client = world.client(kind, peer=peer)
    client.subscribe("/app/x")
    client.connect()
    return client


def test_a_reply_that_could_not_be_written_is_sent_again() -> None:
    world = World()
    client = listening(world)
    lost = client.held
    assert lost is not None
    world.server.publish("/app/x", 1)
    world.turn()
    assert lost.replies
    world.server.lost(lost)
    world.server.publish("/app/x", 2)
    client.held = None
    client.connect()
    assert client.data() == [1, 2]


def test_a_reply_that_fails_counts_as_lost() -> None:
    class Broken(FakeExchange):
        def reply(self, messages: Any) -> None:
            raise OSError("gone")

    world = World()
    client = world.client()
    client.subscribe("/app/x")
    world.server.publish("/app/x", 1)
    message = {"channel": "/meta/connect", "clientId": client.id}
    world.server.process([message], Broken(Peer(POLL)))
    client.connect()
    assert client.data() == [1]


def test_it_goes_at_once_with_a_connect_that_is_held_already() -> None:
    world = World()
    client = listening(world)
    lost = client.held
    assert lost is not None
    world.server.publish("/app/x", 1)
    world.turn()
    lost.known = Arrival.UNDER_WAY
    client.held = None
    client.connect()
    assert client.data() == [1]
    world.server.lost(lost)
    world.turn()
    assert client.data() == []


def test_a_connect_that_comes_again_with_its_id_gets_the_same_again() -> None:
    world = World()
    client = listening(world)
    client.connect()
    client.connect(id="5")
    for number in range(3):
        world.server.publish("/app/x", number)
        world.turn()
        client.held = None
        client.connect(id="5")
    assert client.held is not None
    assert take(client) == [0]
    client.connect()
    assert client.data() == [1, 2]


@pytest.mark.parametrize("before", range(4))
def test_a_connect_may_come_again_however_new_its_session_is(before: int) -> None:
    """Faye after a handshake: the first connects of a session may be those whose replies are
    lost."""
    world = World()
    client = Client(world, peer=PROXIED)
    client.handshake()
    client.subscribe("/app/x")
    for number in range(before):
        client.connect(id=str(number))
    if before:
        client.connect(id="9")
    world.server.publish("/app/x", 1)
    world.turn()
    if not before:
        # The first is answered at once.
        client.connect(id="9")
    assert client.answered
    client.held = None
    client.connect(id="9")
    assert take(client) == [1]


def test_a_connect_may_come_again_for_as_long_as_a_network_is_bad() -> None:
    world = World()
    client = listening(world, peer=PROXIED)
    client.connect()
    client.connect(id="5")
    world.server.publish("/app/x", 1)
    world.turn()
    for _ in range(50):
        client.held = None
        client.connect(id="5")
    assert client.data() == [1]


@pytest.mark.parametrize("before", [2, 9])
def test_a_connect_that_was_overtaken_takes_nothing(before: int) -> None:
    """It was given up and came late, by a node that stood still."""
    world = World()
    client = listening(world, peer=PROXIED)
    for _ in range(before):
        client.connect()
    held = client.held
    assert held is not None
    late = client.ask({"channel": "/meta/connect", "id": "3"})
    assert [each["successful"] for each in late.messages] == [False]
    assert not held.replies
    world.server.publish("/app/x", 1)
    world.turn()
    assert client.data() == [1]


@pytest.mark.parametrize("said_between", [True, False])
def test_of_two_connects_with_one_id_either_may_be_the_one_that_is_listened_to(
    said_between: bool,
) -> None:
    """What goes with both is confirmed by the next connect, and nothing else."""
    world = World()
    client = listening(world, peer=PROXIED)
    client.connect()
    live = client.connect(id="5")
    if said_between:
        world.server.publish("/app/x", 1)
        world.turn()
    late = client.ask({"channel": "/meta/connect", "id": "5"})
    world.server.publish("/app/x", 2)
    world.turn()
    assert late.replies
    assert client.held is live
    assert client.data() == ([1, 2] if said_between else [2])


@pytest.mark.parametrize(("ids", "most"), [([], 6), (["1"], 6), (["1", "2", "3"], 64)])
def test_connects_that_all_have_one_id_get_everything(ids: list[str], most: int) -> None:
    """At first they may look like one that comes again, and then no more."""
    world = World()
    client = Client(world, peer=PROXIED)
    client.handshake()
    client.subscribe("/app/x")
    for id in [*ids, "same"]:
        client.connect(id=id)
    heard = []
    for number in range(100):
        world.server.publish("/app/x", number)
        world.turn()
        heard += take(client)
        client.connect(id="same")
    assert sorted(set(heard)) == list(range(99))
    assert len(heard) <= 99 + most
    assert heard[-10:] == list(range(89, 99))


def test_connects_without_an_id_get_everything_once() -> None:
    world = World()
    client = listening(world, peer=PROXIED)
    heard = []
    for number in range(20):
        world.server.publish("/app/x", number)
        world.turn()
        heard += take(client)
        client.connect(id=None)
    assert heard == list(range(20))


@pytest.mark.parametrize(
    "ids",
    [
        ["7", "1", "8", "2"] * 30,
        [str(number % 5) for number in range(120)],
        [f"{number * 7919 % 1009:036}" for number in range(120)],
        list(range(120, 0, -1)),
    ],
)
def test_ids_of_any_kind_will_do(ids: list[object]) -> None:
    """Who gives ids that fall, or a few over and over, is refused a few times, and loses
    nothing."""
    world = World()
    client = listening(world, peer=PROXIED)
    heard = []
    for number, id in enumerate(ids):
        world.server.publish("/app/x", number)
        world.turn()
        heard += take(client)
        client.connect(id=id)
    heard += client.data()
    assert sorted(set(heard)) == list(range(len(ids)))


@pytest.mark.parametrize("kind", [PUSH, STREAM])
def test_what_was_pushed_on_a_line_that_broke_is_pushed_on_the_next(kind: str) -> None:
    world = World()
    client = listening(world, kind)
    push = client.pushes[0]
    world.server.publish("/app/x", 1)
    world.server.publish("/app/x", 2)
    world.turn()
    world.server.push_confirmed(push, push.numbers[0])
    world.server.push_lost(push)
    world.server.publish("/app/x", 3)
    world.turn()
    if kind == PUSH:
        client.push = FakePush(opened_at=world.clock.seconds())
        client.held = None
        client.connect()
    else:
        client.open_stream()
    new = client.pushes[0]
    assert [each["data"] for frame in new.frames for each in frame if "data" in each] == [2, 3]


def test_the_next_connect_on_a_line_confirms_what_came_before_the_last_reply() -> None:
    world = World()
    client = listening(world, PUSH)
    queue = world.server.clients[client.id].queue
    world.server.publish("/app/x", 1)
    world.advance(31)
    assert client.answered
    world.server.publish("/app/x", 2)
    world.turn()
    assert queue.unconfirmed == 2
    client.connect()
    assert queue.unconfirmed == 1


def test_an_event_source_that_opens_again_says_what_it_has() -> None:
    world = World()
    client = listening(world, STREAM)
    old = client.stream
    for number in range(3):
        world.server.publish("/app/x", number)
    world.turn()
    client.open_stream(last_number=old.numbers[1])
    assert old.ended
    assert [each["data"] for frame in client.stream.frames for each in frame] == [2]


def test_a_second_socket_takes_over_and_nothing_is_lost() -> None:
    world = World()
    client = listening(world, PUSH)
    old = client.push
    assert old is not None
    client.push = FakePush(opened_at=1)
    client.held = None
    client.connect()
    assert old.ended
    world.server.push_lost(old)
    world.server.publish("/app/x", 1)
    world.turn()
    assert [frame for frame in client.push.frames if "data" in frame[0]] == [
        [{"channel": "/app/x", "data": 1}]
    ]


def test_a_client_may_go_from_polling_to_a_socket_and_back() -> None:
    world = World()
    client = listening(world)
    socket = FakePush()
    world.server.publish("/app/x", 1)
    assert client.data() == []  # not before the turn has ended
    world.turn()
    assert client.data() == [1]
    client.held = None
    client.kind, client.peer, client.push = PUSH, Peer(PUSH), socket
    client.connect()
    world.server.publish("/app/x", 2)
    world.turn()
    assert client.data() == [2]
    world.advance(31)
    client.connect()
    world.server.push_lost(socket)
    client.kind, client.peer, client.push, client.held = POLL, Peer(POLL), None, None
    client.connect()
    world.server.publish("/app/x", 3)
    world.turn()
    assert client.data() == [3]


def test_what_was_pushed_on_a_socket_that_broke_goes_with_the_next_poll() -> None:
    world = World()
    client = listening(world, PUSH)
    assert client.push is not None
    world.server.publish("/app/x", 1)
    world.turn()
    world.server.push_lost(client.push)
    client.kind, client.peer, client.push, client.held = POLL, Peer(POLL), None, None
    client.connect()
    assert client.data() == [1]


def test_nothing_is_pushed_to_an_event_source_whose_client_still_polls() -> None:
    """Faye hears that its stream is open by an event; it may have sent any number of polls until
    then, and what was pushed to it before them would come again as their answers."""
    world = World()
    client = Client(world, STREAM)
    client.handshake()
    client.subscribe("/app/x")
    world.server.publish("/app/x", 1)
    client.connect(connectionType=POLL)
    for number in (2, 3):
        client.connect(connectionType=POLL)
        world.server.publish("/app/x", number)
        world.turn()
    assert client.stream.frames == []
    assert client.data() == [1, 2, 3]
    client.connect()
    world.server.publish("/app/x", 4)
    world.turn()
    assert [each["data"] for frame in client.stream.frames for each in frame] == [4]


def test_a_client_that_leaves_its_event_source_for_polls_gets_what_it_may_have_missed() -> None:
    world = World()
    client = listening(world, STREAM)
    world.server.publish("/app/x", 1)
    world.turn()
    assert client.data() == [1]
    client.connect(connectionType=POLL)
    assert client.stream.ended
    assert client.data() == [1]


@pytest.mark.parametrize("arrives", [True, False])
def test_a_stream_that_opens_while_a_reply_is_on_its_way_waits_for_that(arrives: bool) -> None:
    """On a slow machine Faye polls until its stream is open."""
    world = World()
    client = Client(world, STREAM)
    client.open_stream = lambda last_number=None: None  # type: ignore[method-assign]
    client.handshake()
    client.subscribe("/app/x")
    client.connect(connectionType=POLL)
    held = client.connect(connectionType=POLL)
    world.server.publish("/app/x", 1)
    world.turn()
    del client.open_stream
    client.open_stream()
    world.server.publish("/app/x", 2)
    world.turn()
    assert client.stream.frames == []
    if not arrives:
        client.held = None
        world.server.lost(held)
        world.turn()
    client.connect()
    assert client.data() == [1, 2]


def test_who_gets_messages_beside_her_stream_is_asked_for_the_next_connect_soon() -> None:
    world = World()
    client = listening(world, STREAM)
    world.server.push_lost(client.stream)
    world.server.publish("/app/x", 1)
    client.connect()
    assert client.reply["advice"]["interval"] == 0
    client.open_stream()
    client.connect()
    assert client.reply["advice"]["interval"] == 30000
    assert client.data() == [1]


def test_a_peer_that_goes_while_its_connect_waits_for_what_came_with_it_takes_nothing() -> None:
    world = World()
    client = listening(world)
    done: Deferred[None] = Deferred()
    world.server.add_service("/service/slow", lambda *_: done)
    exchange = client.ask(
        {"channel": "/service/slow", "data": 1}, {"channel": "/meta/connect", "data": 1}
    )
    world.server.publish("/app/x", 1)
    world.server.lost(exchange)
    done.callback(None)
    assert exchange.replies == []
    client.held = None
    client.connect()
    assert client.data() == [1]


def test_a_line_that_takes_no_more_gets_the_rest_when_it_does() -> None:
    world = World()
    client = listening(world, PUSH)
    push = client.push
    assert push is not None
    push.writable = False
    for number in range(3):
        world.server.publish("/app/x", number)
    world.turn()
    assert client.data() == []
    push.writable = True
    world.server.push_writable(push)
    world.turn()
    assert client.data() == [0, 1, 2]


def test_a_line_that_can_not_be_written_to_counts_as_lost() -> None:
    class Broken(FakePush):
        def send(self, messages: Any) -> None:
            raise OSError("gone")

    world = World()
    client = listening(world, PUSH)
    client.push = Broken(opened_at=1)
    client.held = None
    client.connect()
    world.server.publish("/app/x", 1)
    world.turn()
    client.push = FakePush(opened_at=1)
    client.held = None
    client.connect()
    assert client.data() == [1]


def test_who_shakes_hands_anew_on_her_socket_hears_things_once() -> None:
    world = World()
    client = listening(world, PUSH)
    client.held = None
    client.handshake()
    client.connect()
    client.subscribe("/app/x")
    world.server.publish("/app/x", 1)
    world.turn()
    assert client.data() == [1]


def test_a_full_queue_drops_the_oldest_and_says_so() -> None:
    world = World(options=attrs.evolve(OPTIONS, max_queue_messages=8))
    client = world.client()
    client.subscribe("/app/x")
    dropped: list[int] = []
    world.server.listeners.dropped.add(lambda _, count: dropped.append(count))
    for number in range(20):
        world.server.publish("/app/x", number)
    client.connect()
    heard = client.data()
    assert heard == list(range(20 - len(heard), 20))
    assert dropped[-1] == 20 - len(heard)


steps = st.lists(
    st.sampled_from(["publish", "connect", "abort", "lose reply", "unread", "turn", "again"]),
    max_size=40,
)


@given(steps, st.booleans())
def test_nothing_is_lost_or_reordered_over_a_bad_network(steps: list[str], ack: bool) -> None:
    """Random breaks of long polls. With acknowledgement each message comes once or more and in
    order; without it, too, as the transport knows of every loss."""
    world = World()
    client = world.client(ack=ack)
    client.subscribe("/app/x")
    client.connect()
    heard: list[int] = []
    published = 0
    for step in steps:
        held = client.held
        if step == "publish":
            world.server.publish("/app/x", published)
            published += 1
        elif step == "turn":
            world.turn()
        elif step == "connect" and held is not None and held.replies:
            heard += take(client)
            client.connect()
        elif step in ("abort", "lose reply") and held is not None:
            if bool(held.replies) is (step == "lose reply"):
                world.server.lost(held)
                client.held = None
                client.connect()
        elif step == "unread" and held is not None and held.replies:
            # The client's kernel took it, and the client is gone.
            held.lose()
            client.held = None
            client.connect()
        elif step == "again" and held is not None:
            # Nobody is told, but what is asked knows.
            held.known = Arrival.UNDER_WAY
            client.held = None
            client.connect()
    world.turn()
    for _ in range(5):
        if client.held is not None and client.answered:
            heard += take(client)
            client.connect()
    assert sorted(set(heard)) == list(range(published))
    assert_once_begun_goes_on(heard)


faults = st.lists(
    st.tuples(
        st.sampled_from(["publish", "arrive", "arrive", "answer", "answer", "give up", "lose"]),
        st.integers(0, 3),
    ),
    max_size=60,
)


@given(faults)
def test_who_sends_a_connect_again_loses_nothing_whatever_nodes_and_proxies_do(
    faults: list[tuple[str, int]],
) -> None:
    """Faye by a proxy without stickiness: each of its requests goes by another node, may wait there
    for any time, and be answered when nobody listens any more; and no reply says whether it has
    arrived."""
    world = World()
    client = Client(world, peer=PROXIED)
    client.handshake()
    client.subscribe("/app/x")
    id, published, heard = 10, 0, list[int]()
    # Copies that are on their way, and the one that is listened to, with what became of it.
    sent: list[tuple[int, int]] = [(0, id)]
    newest = 0
    arrived: dict[int, FakeExchange] = {}

    def again() -> None:
        nonlocal newest
        newest += 1
        sent.append((newest, id))

    def answer() -> None:
        nonlocal id
        exchange = arrived.get(newest)
        if exchange is not None and exchange.replies:
            heard.extend(each["data"] for each in exchange.messages if "data" in each)
            id += 1
            again()

    def arrive(which: int) -> None:
        copy, its_id = sent.pop(which)
        arrived[copy] = client.ask({"channel": "/meta/connect", "id": str(its_id)})

    for fault, which in faults:
        if fault == "publish":
            world.server.publish("/app/x", published)
            published += 1
            world.turn()
        elif fault == "arrive" and which < len(sent):
            arrive(which)
        elif fault == "answer":
            answer()
        elif fault == "give up":
            again()
        elif fault == "lose" and which < len(sent) and sent[which][0] != newest:
            sent.pop(which)
    for _ in range(10):
        if sent and sent[-1][0] == newest:
            arrive(-1)
        answer()
    assert sorted(set(heard)) == list(range(published))
    assert_once_begun_goes_on(heard)


def take(client: Client) -> list[int]:
    assert client.held is not None
    found = [each["data"] for each in client.held.messages if "data" in each]
    client.collect(client.held)
    client._delivered.clear()
    return found


def assert_once_begun_goes_on(heard: list[int]) -> None:
    """What comes is what comes next, or a repetition of what came before it."""
    newest = -1
    for number in heard:
        assert number <= newest + 1
        newest = max(newest, number)
