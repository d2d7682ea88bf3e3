"""What an embedder's code gets of the Bayeux server: the places of the log."""

from __future__ import annotations

from typing import Any

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.server import BayeuxServer
from tests.memory import MakeSite
from tests.web.bayeux import Client


def embed(server: BayeuxServer) -> None:
    """A service that says where the log is, for a client that begins there."""

    def where(session: BayeuxClient, message: Message) -> None:
        log = server.log
        assert log is not None
        now = log.cursor(log.last_id)
        session.answer(message, {"last_id": log.last_id, "cursor": now, "at": log.position(now)})

    server.add_service("/service/where", where)


def asked(client: Client) -> dict[str, Any]:
    """What the service says."""
    client.ask("/service/where", data={})
    told: dict[str, Any] = client.delivered[-1]["data"]
    return told


def test_a_service_says_where_the_log_is(make_site: MakeSite) -> None:
    site = make_site(embed=embed)
    alice = Client(site, name="alice")
    assert asked(alice)["last_id"] == 0
    said = site.say("one")
    told = asked(alice)
    assert told == {"last_id": said["id"], "cursor": said["cursor"], "at": said["id"]}
    site.say("two")
    alice.joined("/chat/lobby", ext={"cursor": told["cursor"]})
    assert alice.texts == ["two"]
