"""What Bayeux requests make the daemon hold, by each transport: counted while it is held, refused
where there is no room."""

from __future__ import annotations

import pytest

from cometd_chat.transports.budget import MemoryBudget
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import CROSS, FOREIGN, LONG, SCRIPT, SOCKET, Client, Message

#: What is small as JSON and large as objects: some 40 KB in memory.
MUCH: Message = {"much": [{} for _ in range(200)]}


def budget(site: MemorySite) -> MemoryBudget:
    memory: MemoryBudget = site.factory.memory
    return memory


@pytest.mark.parametrize("kind", [LONG, CROSS, SCRIPT])
def test_a_connect_that_is_held_counts_with_all_that_came_with_it(
    make_site: MakeSite, kind: str
) -> None:
    site = make_site(allow_origin=(FOREIGN,))
    client = Client(site, kind, name="alice").joined("/chat/lobby")
    before = budget(site).of("requests")
    client.connect(ext=MUCH)
    assert budget(site).of("requests") - before > 20_000
    site.say("hi")
    assert client.texts == ["hi"]
    assert budget(site).of("requests") - before < 10_000


def test_one_whose_peer_has_gone_counts_no_longer(site: MemorySite) -> None:
    client = Client(site, LONG, name="alice")
    before = budget(site).of("requests")
    client.connect(ext=MUCH)
    assert client.held is not None
    site.connections[-1].reset()
    assert budget(site).of("requests") <= before


def test_one_that_is_let_go_of_is_cut_and_comes_again(make_site: MakeSite) -> None:
    site = make_site()
    client = Client(site, LONG, name="alice").joined("/chat/lobby")
    client.connect(ext=MUCH)
    connection = site.connections[-1]
    budget(site).limit = budget(site).trigger = 30_000
    budget(site).account(0)
    site.turn()
    assert connection.closed
    budget(site).limit = budget(site).trigger = 10**9
    client.connect()
    site.say("hi")
    assert client.texts == ["hi"]


def test_where_there_is_no_room_for_its_messages_it_is_refused(site: MemorySite) -> None:
    client = Client(site, LONG, name="alice")
    budget(site).limit = 30_000
    response = client.post({"channel": "/app/x", "data": MUCH, "clientId": client.id, "id": "1"})
    assert response.status == 503
    assert response.json()["type"] == "/problems/memory-short"
    assert response.header("retry-after") == "5"
    assert client.ask("/app/x", data={})["channel"] == "/app/x"


def test_frames_of_a_socket_count_while_they_are_handled(site: MemorySite) -> None:
    client = Client(site, SOCKET, name="alice").joined("/chat/lobby")
    before = budget(site).of("requests")
    site.log.hold()
    assert client.line is not None
    client.line.send([client.full({"channel": "/chat/lobby", "data": {"text": "hi", **MUCH}})])
    assert budget(site).of("requests") - before > 20_000
    site.log.release()
    site.turn()
    client.line.send([])
    assert budget(site).of("requests") - before < 1000
    assert client.texts == ["hi"]
