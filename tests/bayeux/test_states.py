"""The two tables of states: nothing that can happen is missing, nothing that is there can't."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import pytest

from cometd_chat.bayeux.states import (
    CONNECT,
    PATH,
    ConnectEvent,
    ConnectState,
    ImpossibleTransition,
    PathEvent,
    PathState,
)
from tests.bayeux.parts import POLL, PUSH, STREAM, FakePush, World

TABLES = [
    (CONNECT, ConnectState.ADMITTED, ConnectState),
    (PATH, PathState.POLLED, PathState),
]


@pytest.mark.parametrize(("table", "first", "states"), TABLES)
def test_every_state_can_be_reached(
    table: Mapping[tuple[Enum, Enum], Enum], first: Enum, states: type[Enum]
) -> None:
    reached, ahead = {first}, [first]
    while ahead:
        state = ahead.pop()
        new = {to for (at, _), to in table.items() if at is state} - reached
        reached |= new
        ahead += new
    assert reached == set(states)


def test_nothing_follows_from_a_connect_that_is_over() -> None:
    over = {ConnectState.DONE, ConnectState.LOST}
    assert {to for (at, _), to in CONNECT.items() if at in over} <= over


@pytest.mark.parametrize("event", [ConnectEvent.HOLD, ConnectEvent.ANSWER])
def test_what_cannot_happen_is_a_fault(event: ConnectEvent) -> None:
    world = World()
    client = world.client()
    connect = world.server.connects._paths[world.server.clients[client.id]].answered
    assert connect is not None
    connect.saw(ConnectEvent.SETTLE)
    with pytest.raises(ImpossibleTransition, match=f"{event.value} while done"):
        connect.saw(event)
    assert connect.state is ConnectState.DONE


def test_a_way_can_not_close_what_is_not_open() -> None:
    world = World()
    path = world.server.connects._paths[world.server.clients[world.client().id]]
    with pytest.raises(ImpossibleTransition, match="closed while polled"):
        path.saw(PathEvent.CLOSED)


@pytest.mark.parametrize("state", PathState)
def test_a_push_connection_is_open_once(state: PathState) -> None:
    is_open = state in (PathState.STANDBY, PathState.PUSHED)
    assert ((state, PathEvent.OPENED) in PATH) is not is_open
    assert ((state, PathEvent.CLOSED) in PATH) is is_open


def state_of(world: World, client_id: str) -> PathState:
    return world.server.connects._paths[world.server.clients[client_id]].state


def test_a_stream_opens_breaks_and_opens_again() -> None:
    world = World()
    client = world.client(STREAM)
    assert state_of(world, client.id) is PathState.PUSHED
    world.server.push_lost(client.stream)
    assert state_of(world, client.id) is PathState.AWAITED
    client.open_stream()
    assert state_of(world, client.id) is PathState.PUSHED
    # It polls again: it has given the stream up.
    client.kind = POLL
    client.connect()
    assert state_of(world, client.id) is PathState.POLLED


def test_a_stream_that_no_connect_has_named_stands_by() -> None:
    world = World()
    client = world.client(POLL)
    push = FakePush()
    world.server.open_stream(client.id, client.peer, push, None)
    assert state_of(world, client.id) is PathState.STANDBY
    client.connect()
    assert state_of(world, client.id) is PathState.STANDBY
    world.server.push_lost(push)
    assert state_of(world, client.id) is PathState.POLLED


def test_a_socket_is_left_for_polls() -> None:
    world = World()
    client = world.client(PUSH)
    assert state_of(world, client.id) is PathState.PUSHED
    push, client.push = client.push, None
    client.kind = POLL
    client.connect()
    assert state_of(world, client.id) is PathState.POLLED
    assert push is not None
    assert push.ended
