"""Salesforce's replay extension over rooms: our ids, given back."""

from __future__ import annotations

from typing import Any

import pytest

from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import FOREIGN, KINDS, LONG, SOCKET, Client

ROOM = "/chat/lobby"


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site(allow_origin=(FOREIGN,), bayeux_channels=("/app/**",))


def places(client: Client) -> list[int]:
    """The ids that were replayed, or came."""
    return [each["data"]["event"]["replayId"] for each in client.delivered]


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_has_its_place(site: MemorySite, kind: str) -> None:
    alice = Client(site, kind, ext={"replay": True}, name="alice")
    assert alice.shook["ext"]["replay"] is True
    alice.joined(ROOM)
    site.say("one")
    (message,) = alice.delivered
    data = message["data"]
    assert data["text"] == "one"
    assert data["event"] == {"replayId": data["id"], "createdDate": data["at"]}


def test_who_did_not_ask_for_it_has_none(site: MemorySite) -> None:
    alice = Client(site, name="alice").joined(ROOM)
    replaying = Client(site, ext={"replay": True}).joined(ROOM)
    site.say("one")
    (message,) = alice.delivered
    assert list(message["data"]) == ["id", "room", "from", "text", "at"]
    assert places(replaying) == [message["data"]["id"]]
    assert "replay" not in alice.shook["ext"]


@pytest.mark.parametrize(
    ("wanted", "texts"),
    [
        (lambda ids: -1, ["now"]),
        (lambda ids: -2, ["one", "two", "three", "now"]),
        (lambda ids: 0, ["one", "two", "three", "now"]),
        (lambda ids: ids[0], ["two", "three", "now"]),
        (lambda ids: ids[2], ["now"]),
    ],
    ids=["new", "all", "nothing", "first", "last"],
)
def test_where_it_begins(site: MemorySite, wanted: Any, texts: list[str]) -> None:
    ids = [site.say(text)["id"] for text in ("one", "two", "three")]
    alice = Client(site, name="alice").joined(ROOM, ext={"replay": {ROOM: wanted(ids)}})
    site.say("now")
    assert alice.texts == texts
    assert len(places(alice)) == len(texts)


def test_each_channel_has_its_own_and_the_others_none(site: MemorySite) -> None:
    first = site.say("one")["id"]
    site.say("two")
    site.say("other", "dev")
    alice = Client(site, name="alice")
    ext = {"replay": {"/chat/lobby/": first, "/chat/nowhere": 7}}
    alice.joined("/chat/lobby", "/chat/dev", ext=ext)
    assert alice.texts == ["two"]


def test_new_ones_only_though_the_session_stood_before_them(site: MemorySite) -> None:
    token = site.log_in("alice")
    alice = Client(site, token=token).joined(ROOM)
    alice.leave()
    site.say("meanwhile")
    back = Client(site, token=token).joined(ROOM, ext={"replay": {ROOM: -1}})
    site.say("now")
    assert back.texts == ["now"]


def test_our_cursor_is_as_good(site: MemorySite) -> None:
    cursor = site.say("one")["cursor"]
    site.say("two")
    alice = Client(site, name="alice").joined(ROOM, ext={"replay": {ROOM: cursor}})
    assert alice.texts == ["two"]


@pytest.mark.parametrize("wanted", [-3, 10**9, 1.5, True, [], "nonsense", "1.zzzz"])
def test_what_is_no_place_of_ours(site: MemorySite, wanted: object) -> None:
    """As 400, which has clients fall back on what they may have been told to."""
    alice = Client(site, name="alice")
    assert alice.subscribe(ROOM, ext={"replay": {ROOM: wanted}})["error"].startswith("400:")
    assert alice.subscribe(ROOM, ext={"replay": {ROOM: -2}})["successful"]


@pytest.mark.parametrize("replay", [None, 7, [], {"/chat/dev": 1}])
def test_what_says_nothing_of_the_channel_begins_as_ever(site: MemorySite, replay: object) -> None:
    site.say("one")
    assert Client(site, name="alice").joined(ROOM, ext={"replay": replay}).texts == []


class TestByAddress:
    """Salesforce's clients come to a path with a version, and may say nothing of replaying."""

    @pytest.mark.parametrize("path", ["/cometd/45.0", "/cometd/45.0/handshake"])
    def test_long_polling(self, site: MemorySite, path: str) -> None:
        alice = Client(site, LONG, name="alice", start=False)
        shaking = {"channel": "/meta/handshake", "ext": alice.ext}
        alice.id = site.post(path, shaking).json()[0]["clientId"]
        alice.connect()
        alice.connect()
        alice.joined(ROOM)
        said = site.say("one")
        assert places(alice) == [said["id"]]

    @pytest.mark.parametrize("path", ["/cometd/45", "/cometd/handshake", "/cometd/x45.0"])
    def test_other_paths(self, site: MemorySite, path: str) -> None:
        alice = Client(site, LONG, name="alice", start=False)
        shaking = {"channel": "/meta/handshake", "ext": alice.ext}
        alice.id = site.post(path, shaking).json()[0]["clientId"]
        alice.connect()
        alice.connect()
        alice.joined(ROOM)
        site.say("one")
        assert "event" not in alice.delivered[0]["data"]


def test_what_is_not_kept_has_no_place(site: MemorySite) -> None:
    alice = Client(site, SOCKET, ext={"replay": True}, name="alice").joined("/app/x")
    alice.ask("/app/x", data={"n": 1}, id="p")
    (message,) = [each for each in alice.delivered if each["channel"] == "/app/x"]
    assert message["data"] == {"n": 1}
