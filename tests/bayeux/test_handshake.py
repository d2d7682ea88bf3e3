"""The handshake: versions, connection types, advice, who may, and what becomes of refusals.

Covers Faye's handshake cases (missing version and types, no matching types), CometD's
DuplicateHandshakeTest, CometDMultipleHandshakesTest, HandshakeWithAuthenticationTest,
MessageDeliveryDuringHandshakeTest (messages wait for the first connect),
CustomResponseOnSecurityPolicyDenyTest.
"""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from cometd_chat.bayeux.exchange import Peer
from cometd_chat.bayeux.faults import Fault
from cometd_chat.bayeux.identity import Identity, authentication
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.policy import OpenPolicy
from cometd_chat.errors import NameTaken, StorageUnavailable, TooMany
from tests.bayeux.parts import OPTIONS, POLL, Client, World

HANDSHAKE: Message = {
    "id": "1",
    "channel": "/meta/handshake",
    "version": "1.0",
    "minimumVersion": "1.0",
    "supportedConnectionTypes": ["long-polling"],
    "advice": {"timeout": 60000, "interval": 0},
}


def shake(world: World, peer: Peer | None = None, **fields: Any) -> Message:
    message = {key: value for key, value in {**HANDSHAKE, **fields}.items() if value is not ...}
    return world.reply(message, peer=peer)


def test_the_reply_has_everything_that_clients_look_at() -> None:
    world = World()
    reply = shake(world)
    session = world.server.clients[reply.pop("clientId")]
    assert len(session.id) == 40
    assert reply == {
        "id": "1",
        "channel": "/meta/handshake",
        "successful": True,
        "version": "1.0",
        "minimumVersion": "1.0",
        "supportedConnectionTypes": [
            "websocket",
            "eventsource",
            "long-polling",
            "cross-origin-long-polling",
            "callback-polling",
        ],
        "advice": {"reconnect": "retry", "interval": 0, "timeout": 30000},
    }


@pytest.mark.parametrize("id", ["1", "", 7, 1.5, True, "a-b-c", "é", None])
def test_any_scalar_comes_back_as_the_id(id: object) -> None:
    reply = shake(World(), id=id)
    assert reply["id"] == id
    assert type(reply["id"]) is type(id)


def test_without_an_id_there_is_none_in_the_reply() -> None:
    assert "id" not in shake(World(), id=...)


@pytest.mark.parametrize("id", [[], {}, ["1"]])
def test_an_id_is_a_scalar(id: object) -> None:
    reply = shake(World(), id=id)
    assert reply["error"] == "405::message_id_invalid"
    assert "id" not in reply


@pytest.mark.parametrize("version", [..., "1.0", "1.1", "1.0beta", "1"])
def test_takes_every_version_one(version: object) -> None:
    assert shake(World(), version=version)["successful"]


@pytest.mark.parametrize("version", ["2.0", "0.9", "", 1, None, [1]])
def test_refuses_other_versions(version: object) -> None:
    reply = shake(World(), version=version)
    assert reply["error"].startswith("300:")
    assert reply["advice"]["reconnect"] == "none"


def test_refuses_when_no_connection_type_is_common() -> None:
    world = World()
    reply = shake(world, supportedConnectionTypes=["flash", "iframe"])
    assert not reply["successful"]
    assert reply["error"] == "301:flash,iframe:Connection types not supported"
    assert reply["advice"]["reconnect"] == "none"
    assert not world.server.clients


@pytest.mark.parametrize("types", ["long-polling", None, 7, {}])
def test_connection_types_are_an_array(types: object) -> None:
    reply = shake(World(), supportedConnectionTypes=types)
    assert reply["error"] == "402:supportedConnectionTypes:Missing required parameter"


def test_a_client_that_names_no_types_is_taken_at_that() -> None:
    assert shake(World(), supportedConnectionTypes=...)["successful"]


def test_one_common_type_is_enough_and_strange_ones_do_no_harm() -> None:
    types: list[Any] = [7, None, {}, "in-process", "callback-polling"]
    assert shake(World(), supportedConnectionTypes=types)["successful"]


def test_each_handshake_makes_a_session_of_its_own() -> None:
    world = World()
    assert shake(world)["clientId"] != shake(world)["clientId"]
    assert len(world.server.clients) == 2


def test_messages_beside_a_handshake_are_refused_and_the_handshake_is_not() -> None:
    exchange = World().ask(HANDSHAKE, {"channel": "/app/x", "data": 1, "id": "2"})
    first, second = exchange.messages
    assert first["successful"]
    assert second["error"] == "402::session_unknown"


def test_what_is_sent_before_the_first_connect_waits_for_it() -> None:
    world = World()
    world.server.listeners.client_added.add(lambda each: each.deliver("/app/x", "welcome"))
    client = Client(world)
    client.handshake()
    assert client.connect().messages[0] == {"channel": "/app/x", "data": "welcome"}


def test_a_session_that_never_connects_dies() -> None:
    world = World()
    shake(world)
    world.advance(9)
    assert world.server.clients
    world.advance(3)
    assert not world.server.clients


class Deciding(OpenPolicy):
    """Raises what it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.seen: list[tuple[Message, Peer]] = []

    async def identify(self, message: Message, peer: Peer) -> Identity:
        self.seen.append((message, peer))
        if self.error is not None:
            raise self.error
        said = authentication(message)
        name = said.name or "guest-1"
        return Identity(said.token or "7", name, reply_ext={"authentication": {"name": name}})


def test_the_policy_hears_token_name_and_peer() -> None:
    policy = Deciding()
    world = World(policy=policy)
    peer = Peer(POLL, token="cookie", address="192.0.2.1")
    shake(world, peer=peer, ext={"authentication": {"token": "t", "name": "bob"}})
    message, seen = policy.seen[0]
    assert authentication(message).token == "t"
    assert authentication(message).name == "bob"
    assert seen is peer
    assert "cookie" not in repr(seen)
    (session,) = world.server.clients.values()
    assert (session.identity.id, session.identity.name) == ("t", "bob")


def test_who_has_no_name_is_told_the_one_that_was_made_up() -> None:
    reply = shake(World(policy=Deciding()))
    assert reply["ext"] == {"authentication": {"name": "guest-1"}}


@pytest.mark.parametrize("ext", [None, 7, {"authentication": 7}, {"authentication": {"token": 7}}])
def test_strange_authentication_counts_as_none(ext: object) -> None:
    policy = Deciding()
    assert shake(World(policy=policy), ext=ext)["successful"]
    assert authentication(policy.seen[0][0]).token is None


def test_a_refusal_says_why_and_ends_it() -> None:
    world = World(policy=Deciding(NameTaken("Somebody else is alice: choose another name.")))
    reply = shake(world)
    assert reply["successful"] is False
    assert reply["error"] == "409:Somebody else is alice - choose another name.:name_taken"
    assert reply["advice"] == {"reconnect": "none", "interval": 0}
    assert "clientId" not in reply
    assert not world.server.clients


def test_a_policy_may_refuse_in_bayeux_own_words() -> None:
    reply = shake(World(policy=Deciding(Fault(403, "handshake_denied", ["Not today"]))))
    assert reply["error"] == "403:Not today:handshake_denied"
    assert reply["advice"]["reconnect"] == "none"


@pytest.mark.parametrize(
    ("error", "interval"),
    [(TooMany("Too many.", retry_after=2.5), 2500), (StorageUnavailable("Not now."), 1000)],
)
def test_what_time_can_heal_is_tried_again(error: Exception, interval: int) -> None:
    reply = shake(World(policy=Deciding(error)))
    assert reply["advice"] == {"reconnect": "handshake", "interval": interval}


def test_a_policy_that_breaks_refuses_and_is_logged() -> None:
    reply = shake(World(policy=Deciding(RuntimeError("secret"))))
    assert reply["error"] == "500:Something broke on our side:server_error"
    assert reply["advice"] == {"reconnect": "handshake", "interval": 5000}
    assert "secret" not in str(reply)


def test_there_are_only_so_many_sessions() -> None:
    world = World(options=attrs.evolve(OPTIONS, max_sessions=1))
    assert shake(world)["successful"]
    reply = shake(world)
    assert reply["error"].startswith("503:")
    assert reply["advice"]["reconnect"] == "handshake"


def test_a_server_that_stops_takes_nobody() -> None:
    world = World()
    world.server.stop()
    assert shake(world)["advice"]["reconnect"] == "handshake"
