"""The acknowledge extension: no message is lost over a connection that breaks.

Covers AckExtensionTest, MetaConnectFailureWithAckExtensionTest, CometDAckAndReloadExtensionsTest
(the server's part), MetaConnectOvertakenWithAckExtensionTest; of the Node server: resends when the
connection breaks, ack sets batch.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.bayeux.parts import POLL, PUSH, Client, FakePush, World


def listening(world: World, kind: str = POLL) -> Client:
    client = world.client(kind, ack=True)
    client.subscribe("/app/x")
    client.connect()
    return client


def test_it_is_agreed_in_the_handshake() -> None:
    world = World()
    assert Client(world, ack=True).handshake()["ext"] == {"ack": True}
    assert "ext" not in Client(world).handshake()
    assert "ext" not in Client(World(extensions=[]), ack=True).handshake()


def test_each_reply_to_a_connect_has_the_next_number() -> None:
    world = World()
    client = Client(world, ack=True)
    client.handshake()
    client.connect()
    numbers = [client.reply["ext"]["ack"]]
    for _ in range(3):
        client.connect(advice={"timeout": 0})
        numbers.append(client.reply["ext"]["ack"])
    assert numbers == [1, 2, 3, 4]


def test_other_replies_have_none_and_carry_nothing() -> None:
    client = listening(World())
    exchange = client.ask({"channel": "/app/x", "data": 1})
    assert exchange.messages == [{"channel": "/app/x", "successful": True, "id": "4"}]


def test_without_the_extension_there_are_no_numbers() -> None:
    client = World().client()
    client.connect(ext={"ack": 7}, advice={"timeout": 0})
    assert "ext" not in client.reply


def connect_with(client: Client, number: Any) -> list[Any]:
    """Connect with a number of its own; the data that comes, if it is answered."""
    client.held = None
    client.ack = False
    held = client.connect(ext={"ack": number})
    client.ack = True
    return [each["data"] for each in held.messages if "data" in each]


def test_what_is_not_confirmed_comes_again_with_the_number_of_the_new_reply() -> None:
    world = World()
    client = listening(world)
    world.server.publish("/app/x", 1)
    world.turn()
    assert client.reply["ext"]["ack"] == 2
    world.server.publish("/app/x", 2)
    assert connect_with(client, 1) == [1, 2]
    assert client.reply["ext"]["ack"] == 3
    assert connect_with(client, 2) == [2]
    assert connect_with(client, 4) == []
    assert not client.answered


@pytest.mark.parametrize("number", [99, -1, "2", None, 2.5, True, [2]])
def test_a_number_that_was_never_sent_confirms_nothing(number: Any) -> None:
    world = World()
    client = listening(world)
    world.server.publish("/app/x", 1)
    world.turn()
    assert connect_with(client, number) == [1]
    assert connect_with(client, 3) == []


def test_an_old_number_does_not_undo_a_newer_one() -> None:
    world = World()
    client = listening(world)
    world.server.publish("/app/x", 1)
    world.turn()
    assert connect_with(client, 2) == []
    world.server.publish("/app/x", 2)
    world.turn()
    assert connect_with(client, 0) == [2]


def test_a_connect_that_overtakes_gets_what_the_other_one_took() -> None:
    world = World()
    client = listening(world)
    overtaken = client.held
    assert overtaken is not None
    world.server.publish("/app/x", 1)
    world.turn()
    assert connect_with(client, 1) == [1]
    world.server.lost(overtaken)
    world.server.publish("/app/x", 2)
    world.turn()
    assert connect_with(client, 3) == [2]


def test_a_replaced_connect_carries_neither_messages_nor_a_number() -> None:
    world = World()
    client = listening(world)
    replaced = client.held
    assert replaced is not None
    world.server.publish("/app/x", 1)
    assert connect_with(client, 1) == [1]
    (reply,) = replaced.messages
    assert "ext" not in reply


def test_what_had_arrived_after_all_does_not_come_again() -> None:
    world = World()
    client = listening(world)
    held = client.held
    assert held is not None
    world.server.publish("/app/x", 1)
    world.turn()
    world.server.lost(held)
    assert connect_with(client, 2) == []


def test_on_a_socket_messages_go_with_connects_too() -> None:
    world = World()
    client = listening(world, PUSH)
    assert client.push is not None
    world.server.publish("/app/x", 1)
    world.turn()
    frame = client.push.frames[-1]
    assert frame[0] == {"channel": "/app/x", "data": 1}
    assert frame[1]["ext"] == {"ack": 2}
    assert connect_with(client, 2) == []
    assert not client.answered


def test_a_socket_that_breaks_loses_nothing() -> None:
    world = World()
    client = listening(world, PUSH)
    assert client.push is not None
    world.server.publish("/app/x", 1)
    world.turn()
    world.server.push_lost(client.push)
    world.server.publish("/app/x", 2)
    client.push = FakePush(opened_at=1)
    assert connect_with(client, 1) == [1, 2]


def test_after_a_reload_a_new_socket_goes_on_with_the_old_session() -> None:
    world = World()
    client = listening(world, PUSH)
    old = client.push
    assert old is not None
    client.push = FakePush(opened_at=1)
    client.held = None
    held = client.connect(advice={"timeout": 0})
    assert held.messages[-1]["successful"] is True
    assert old.ended
    world.server.publish("/app/x", 1)
    client.connect()
    assert client.data() == [1]


def test_a_session_may_leave_many_replies_unconfirmed() -> None:
    world = World()
    client = listening(world)
    for number in range(200):
        world.server.publish("/app/x", number)
        connect_with(client, 0)
    assert connect_with(client, 0) == list(range(200))
    assert connect_with(client, client.reply["ext"]["ack"]) == []
