"""Rights that are lost while a request waits: who may not read any more holds nothing."""

from __future__ import annotations

import pytest

from cometd_chat.chat.rights import Act, AnyRoom
from cometd_chat.chat.sessions import Session
from tests.chat.parts import now
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import Client
from tests.web.refusals import problem


@pytest.mark.parametrize("transport", ["stream", "poll", "text"])
def test_a_session_that_ends_while_its_transport_is_opened(
    site: MemorySite, transport: str
) -> None:
    token = site.log_in("alice")
    site.log.holding_reads = True
    waiting = site.get(f"/api/v1/events/{transport}?backlog=5", token=token)
    assert site.log.waiting_reads == 1
    assert site.request("DELETE", "/api/v1/session", token=token).status == 204
    site.log.answer_read()
    site.turn()
    problem(site, waiting, 401, "invalid-token")
    assert site.get("/api/v1/rooms/lobby/people").json() == {"people": []}


def may_not_follow(session: Session | None, act: Act, room: AnyRoom) -> bool:
    """The room ``dev`` may be seen, and not be followed."""
    return room.name != "dev" or act is not Act.FOLLOW


@pytest.mark.parametrize("transport", ["stream", "poll", "text"])
def test_a_room_that_may_not_be_followed(site: MemorySite, transport: str) -> None:
    site.chat.rights.change(may_not_follow)
    token = site.log_in("alice")
    assert site.get("/api/v1/rooms/dev/messages", token=token).status == 200
    refused = site.get(f"/api/v1/events/{transport}?rooms=dev", token=token)
    problem(site, refused, 403, "not-allowed")


def test_nor_in_bayeux(site: MemorySite) -> None:
    site.chat.rights.change(may_not_follow)
    alice = Client(site, name="alice")
    for channel in ("/chat/dev", "/members/dev"):
        assert alice.subscribe(channel)["error"].startswith("403:")
    assert alice.subscribe("/chat/lobby", "/members/lobby")["successful"]


def test_a_bayeux_client_whose_session_has_lost_its_name(make_site: MakeSite) -> None:
    """It keeps it for as long as it is there; should it not, nothing is done by a session that is
    out of use."""
    site = make_site(bayeux_channels=("/app/**",))

    def nameless(name: str) -> Client:
        client = Client(site, name=name).joined("/app/x")
        site.chat.sessions.free_name(now(site.chat.sessions.by_token(client.token)))
        return client

    alice = nameless("alice")
    for channel in ("/app/x", "/app/new", "/chat/lobby"):
        assert alice.ask(channel, data={"text": "hi"})["error"].startswith("503:")
    for number, channel in enumerate(("/app/new", "/chat/lobby", "/members/lobby")):
        assert nameless(f"bob{number}").subscribe(channel)["error"].startswith("503:")


def test_a_daemon_that_stops_says_so_before_it_looks_who_asks(site: MemorySite) -> None:
    site.stop()
    problem(site, site.get("/api/v1/events/stream", token="wrong"), 503, "shutting-down")
