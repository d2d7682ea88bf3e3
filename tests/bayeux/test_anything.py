"""Whatever is sent, the server answers it: no failure, no message without a reply, no leak.

Random requests of random messages over all kinds of transport, with losses and time in between.
"""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs

from cometd_chat.bayeux.exchange import Peer
from cometd_chat.bayeux.extensions import AckExtension, TimestampExtension, TimesyncExtension
from cometd_chat.bayeux.states import ConnectState, PathState
from cometd_chat.errors import BodyTooLarge, InvalidRequest
from tests.bayeux.parts import PUSH, FakeExchange, FakePush, Rooms, World
from tests.examples import examples

META = ["handshake", "connect", "subscribe", "unsubscribe", "disconnect", "foo"]
CHANNELS = [f"/meta/{each}" for each in META] + [
    *("/app/x", "/app/*", "/app/**", "/**", "/chat/a", "/chat/*", "/service/x", "/nowhere", "x"),
]
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["ack", "timeout", "interval", "timesync"]), st.integers()),
)
fields = {
    "channel": st.one_of(st.sampled_from(CHANNELS), junk),
    "id": st.one_of(st.sampled_from(["1", "2"]), junk),
    "clientId": st.one_of(st.sampled_from(["A", "B"]), junk),
    "subscription": st.one_of(
        st.sampled_from(CHANNELS), st.lists(st.sampled_from(CHANNELS), max_size=3), junk
    ),
    "data": junk,
    "ext": st.one_of(
        junk, st.fixed_dictionaries({}, optional={"ack": junk, "timesync": junk, "x": junk})
    ),
    "advice": junk,
    "connectionType": st.one_of(st.sampled_from(["long-polling", "eventsource", "x"]), junk),
    "version": st.one_of(st.just("1.0"), junk),
    "supportedConnectionTypes": st.one_of(st.just(["long-polling"]), junk),
    "successful": junk,
    "error": junk,
}
usual = st.fixed_dictionaries(
    {
        "channel": st.sampled_from(CHANNELS),
        "clientId": st.sampled_from(["A", "B"]),
        "subscription": st.sampled_from(CHANNELS),
        "data": junk,
    },
    optional={"id": fields["id"], "ext": fields["ext"], "advice": fields["advice"]},
)
messages = st.one_of(usual, st.fixed_dictionaries({}, optional=fields))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.booleans(), st.lists(messages, max_size=4)),
        st.tuples(st.sampled_from(["lose", "lose line", "commit", "turn"]), st.none(), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([1, 12, 40]), st.none()),
    ),
    max_size=15,
)


@settings(max_examples=examples(150))
@given(steps)
def test_each_message_has_a_reply_and_nothing_fails(steps: list[Any]) -> None:
    rooms = Rooms(durable=False)
    extensions = [AckExtension(), TimesyncExtension(lambda: 5.0), TimestampExtension(lambda: 5.0)]
    world = World(sources=[rooms], extensions=extensions)
    rooms.server = world.server
    ids = {"A": world.client(ack=True).id, "B": world.client().id}
    push = FakePush()
    asked: list[tuple[FakeExchange, int]] = []
    lost: list[FakeExchange] = []
    with capturedLogs() as logs:
        for step, first, second in steps:
            if step == "ask":
                sent = push if first else None
                asked.append((ask(world, second, ids, sent), len(second)))
            elif step == "lose" and asked:
                lost.append(asked[-1][0])
                world.server.lost(asked[-1][0])
            elif step == "lose line":
                world.server.push_lost(push)
                push = FakePush(opened_at=world.clock.seconds())
            elif step == "commit":
                rooms.commit()
            elif step == "wait":
                world.advance(first)
            else:
                world.turn()
            check_states(world)
        rooms.commit()
        world.advance(200)
    assert [each for each in logs if each["log_level"] >= LogLevel.error] == []
    for exchange, count in asked:
        replies = [each for each in exchange.messages if "successful" in each]
        assert all(isinstance(each["successful"], bool) for each in replies)
        if exchange.push is None and exchange not in lost:
            assert len(replies) == count, exchange.messages
    assert not world.server.clients
    assert world.reaper.scheduled == 0
    assert world.clock.getDelayedCalls() == []
    assert not world.server.connects._by_exchange
    assert not world.server.connects._by_push
    assert world.server.connects.held == 0


def check_states(world: World) -> None:
    """What is noted of a client's way agrees with its state."""
    for path in world.server.connects._paths.values():
        has_push = path.state in (PathState.STANDBY, PathState.PUSHED)
        assert (path.push is not None) is has_push
        assert path.held is None or path.held.state is ConnectState.HELD
        assert path.answered is None or path.answered.state is ConnectState.ANSWERED


def ask(world: World, raw: list[Any], ids: dict[str, str], push: FakePush | None) -> FakeExchange:
    sent = []
    for message in raw:
        client_id = message.get("clientId")
        known = ids.get(client_id, client_id) if isinstance(client_id, str) else client_id
        sent.append({**message, "clientId": known} if "clientId" in message else message)
    exchange = FakeExchange(Peer("long-polling" if push is None else PUSH), push)
    world.server.process(world.server.decode(msgspec.json.encode(sent)), exchange)
    return exchange


@given(st.binary(max_size=60))
def test_bytes_are_messages_or_a_refusal(body: bytes) -> None:
    world = World()
    try:
        found = world.server.decode(body)
    except (InvalidRequest, BodyTooLarge):
        return
    exchange = FakeExchange(Peer("long-polling"))
    world.server.process(found, exchange)
    assert len(exchange.messages) == len(found)
