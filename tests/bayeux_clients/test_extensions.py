"""The extensions of the library ``cometd``, by all its transports."""

from __future__ import annotations

import time
from itertools import count

import pytest

from tests.bayeux_clients.conftest import MakeClient, Places
from tests.bayeux_clients.stock import KINDS, Kind, Page, StockClient, texts, with_token
from tests.daemon.talk import log_in, once, say
from tests.support import Daemon

pytestmark = pytest.mark.slow

_numbers = count(1)

#: How many tabs of one browser may hold a request.
TABS = 4

COMETD = [kind for kind in KINDS if kind.library == "cometd"]
RELOADED = [kind for kind in COMETD if kind.place == "chromium"]


@pytest.mark.parametrize("kind", COMETD, ids=str)
def test_ack_timesync_timestamp(kind: Kind, make_client: MakeClient, daemon: Daemon) -> None:
    channel = f"/app/extended{next(_numbers)}"
    alice = make_client(kind)
    reply = alice.open(daemon.port, extensions=["ack", "timesync", "timestamp"])
    assert reply["ext"]["ack"]
    timesync = reply["ext"]["timesync"]
    assert abs(timesync["ts"] - time.time() * 1000) < 60_000
    assert timesync["p"] >= 0
    assert alice.subscribe(channel)[0]["successful"]
    for number in range(3):
        alice.publish(channel, {"text": f"{number}"})
        alice.hear(f"{number}")
    assert texts(alice.hear("2")) == ["0", "1", "2"]
    # Every reply to a connect closes a batch: the numbers grow by one.
    batches = [each["ext"]["ack"] for each in alice.replies("/meta/connect") if "ext" in each]
    assert batches == [batches[0] + n for n in range(len(batches))]
    acknowledged = [each["ext"]["ack"] for each in alice.connects()]
    assert acknowledged == [0, *batches][: len(acknowledged)]
    assert all(each["timestamp"].endswith(" GMT") for each in alice.connects())
    # Both run on this machine: their clocks differ by what it takes to ask.
    assert abs(alice.facts()["offset"]) < 1000


@pytest.mark.parametrize("kind", COMETD, ids=str)
def test_binary(kind: Kind, make_client: MakeClient, daemon: Daemon) -> None:
    channel = f"/app/binary{next(_numbers)}"
    alice, bob = make_client(kind, "alice"), make_client(kind, "bob")
    for client in (alice, bob):
        assert client.open(daemon.port, extensions=["binary"])["successful"]
        assert client.subscribe(channel)[0]["successful"]
    data = bytes(range(256)) + b"odd"
    assert alice.publish_binary(channel, data, "these")["successful"]
    for client in (alice, bob):
        [heard] = client.hear("these")
        assert bytes(heard["data"]["data"]) == data
        assert heard["data"]["last"] is True


@pytest.mark.parametrize("kind", RELOADED, ids=str)
def test_a_page_that_is_loaded_again_goes_on(
    kind: Kind, make_client: MakeClient, places: Places, daemon: Daemon
) -> None:
    ext = with_token(daemon.port, f"alice-{next(_numbers)}")
    bob = log_in(daemon.port, f"bob-{next(_numbers)}")
    before = make_client(kind, "reloading")
    page = places.find(kind, daemon.port, "reloading")
    assert isinstance(page, Page)
    reply = before.open(daemon.port, ext=ext, extensions=["ack", "reload"])
    before.subscribe("/chat/lobby")
    say(daemon.port, bob, f"before {kind}")
    before.hear(f"before {kind}")
    before.reload()
    page.load()
    before.is_open = False
    say(daemon.port, bob, f"meanwhile {kind}")
    after: StockClient = make_client(kind, "reloading")
    again = after.open(daemon.port, ext=ext, extensions=["ack", "reload"])
    assert again["ext"]["reload"] is True
    assert again["clientId"] == reply["clientId"]
    after.subscribe("/chat/lobby")
    say(daemon.port, bob, f"after {kind}")
    assert texts(after.hear(f"after {kind}"))[-1] == f"after {kind}"


def test_the_tabs_of_one_browser(make_client: MakeClient, daemon: Daemon) -> None:
    """One too many polls from time to time, and is told why; all hear everything."""
    room = "/chat/lobby"
    bob = log_in(daemon.port, f"bob-{next(_numbers)}")
    # The clients of one process have one cookie, as the tabs of a browser.
    tabs = [make_client(Kind("cometd", "long-polling", "node"), "tabs") for _ in range(TABS + 1)]
    for tab in tabs:
        tab.open(daemon.port, ext=with_token(daemon.port, f"alice-{next(_numbers)}"))
        tab.subscribe(room)
    [advised] = [
        [each["advice"] for each in tab.replies("/meta/connect", count=2) if "advice" in each]
        for tab in tabs[-1:]
    ]
    assert any(each.get("multiple-clients") for each in advised), advised
    say(daemon.port, bob, "to all tabs")
    for tab in tabs:
        tab.hear("to all tabs")


def test_the_cookie_of_the_chat_says_who_it_is(
    make_client: MakeClient, places: Places, daemon: Daemon
) -> None:
    kind = Kind("cometd", "long-polling", "chromium")
    page = places.find(kind, daemon.port, "cookie")
    assert isinstance(page, Page)
    status = page.tab.evaluate(
        """async (name) => (await fetch("/api/v1/session", {
            method: "POST",
            headers: {"Content-Type": "application/json"},
            body: JSON.stringify({name}),
        })).status""",
        "carol-by-cookie",
    )
    assert status == 201
    carol = make_client(kind, "cookie")
    assert carol.open(daemon.port)["successful"]
    carol.subscribe("/chat/lobby")
    carol.publish("/chat/lobby", {"text": "it is me"})
    assert carol.hear("it is me")[-1]["data"]["from"] == "carol-by-cookie"
    assert once(daemon.port, "GET", "/api/v1/rooms/lobby/people").status == 200
