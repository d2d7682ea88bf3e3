"""Whom somebody ignores: neither heard nor shown, by whichever way they read, and nobody knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cometd_chat.chat import ignored
from cometd_chat.chat.held_subscription import HeldSubscription
from tests.memory import MakeSite, MemorySite
from tests.transport_paths import NAMES, POLLS
from tests.web.bayeux import FOREIGN, KINDS
from tests.web.bayeux import Client as BayeuxClient
from tests.web.refusals import problem
from tests.web.talkers import Duplex, Socket
from tests.web.transports import Client

TROLL = "troll"


def reader(site: MemorySite, transport: str, token: str, **query: Any) -> Any:
    """Somebody who holds a request by a transport."""
    if transport == "ws":
        return Socket(site, token=token, **query)
    if transport.startswith("duplex"):
        return Duplex(site, token=token, **query)
    return Client(site, transport, token=token, **{"cursor": site.now, **query})


def whole(held: Any) -> str:
    """All that came by it."""
    if isinstance(held, (Socket, Client)):
        return json.dumps(held.events())
    text: str = held.response.text
    return text


def ignore(site: MemorySite, token: str, name: str = TROLL, method: str = "PUT") -> Any:
    return site.request(method, f"/api/v1/ignored/{name}", token=token)


@pytest.mark.parametrize("transport", NAMES)
class TestWhoIsIgnored:
    def test_is_not_heard_from_then_on(self, site: MemorySite, transport: str) -> None:
        bob = site.log_in("bob")
        site.say("before", name=TROLL)
        held = reader(site, transport, bob)
        other = reader(site, transport, site.log_in("carol"))
        assert ignore(site, bob).status == 204
        site.say("unheard", name=TROLL)
        site.say("heard", name="dave")
        site.say("unheard-too", name=TROLL)
        assert "unheard" not in whole(held)
        assert "heard" in whole(held)
        assert "unheard-too" in whole(other)
        assert ignore(site, bob, method="DELETE").status == 204
        site.say("again", name=TROLL)
        assert "again" in whole(held)

    def test_is_not_in_what_is_resumed(self, make_site: MakeSite, transport: str) -> None:
        site = make_site(tail=3)
        bob = site.log_in("bob")
        first = site.say("first", name="dave")
        site.log_in(TROLL)
        ignore(site, bob)
        for number in range(8):
            site.say(f"unheard {number}", name=TROLL)
            site.say(f"said {number}", name="dave")
        held = reader(site, transport, bob, cursor=first["cursor"])
        told = whole(held)
        assert "unheard" not in told
        for number in range(8):
            assert f"said {number}" in told
        site.say("last", name="dave")
        assert "last" in whole(held)

    def test_comes_and_goes_and_writes_unseen(self, site: MemorySite, transport: str) -> None:
        bob, troll = site.log_in("bob"), site.log_in(TROLL)
        ignore(site, bob)
        held = reader(site, transport, bob)
        site.get("/api/v1/rooms/lobby/people", token=troll)
        site.post("/api/v1/rooms/lobby/typing", token=troll)
        site.request("POST", "/api/v1/rooms/lobby/leave", token=troll)
        site.advance(3)
        assert TROLL not in whole(held)
        if transport in POLLS:
            assert not held.response.complete


@pytest.mark.parametrize("kind", KINDS)
def test_nor_in_bayeux(make_site: MakeSite, kind: str) -> None:
    site = make_site(allow_origin=(FOREIGN,))
    site.log_in(TROLL)
    bob = BayeuxClient(site, kind, name="bob").joined("/chat/lobby", "/members/lobby")
    carol = BayeuxClient(site, kind, name="carol").joined("/chat/lobby")
    ignore(site, bob.token)
    site.say("unheard", name=TROLL)
    site.say("heard", name="dave")
    assert bob.texts == ["heard"]
    assert carol.texts == ["unheard", "heard"]
    assert TROLL not in json.dumps(bob.delivered)
    ignore(site, bob.token, method="DELETE")
    site.say("again", name=TROLL)
    assert bob.texts == ["heard", "again"]


def test_a_page_of_history_is_as_long_as_ever(site: MemorySite) -> None:
    bob, carol = site.log_in("bob"), site.log_in("carol")
    site.log_in(TROLL)
    ignore(site, bob)
    for number in range(30):
        site.say(f"said {number}", name="dave" if number % 3 == 0 else TROLL)
    said = [f"said {number}" for number in range(0, 30, 3)]
    path = "/api/v1/rooms/lobby/messages?limit=4"
    seen: list[str] = []
    before = ""
    while True:
        page = site.get(path + before, token=bob).json()
        seen = [each["text"] for each in page["messages"]] + seen
        assert len(page["messages"]) == 4 or not page["more"]
        if not page["more"]:
            break
        before = f"&before={page['messages'][0]['id']}"
    assert seen == said
    forward = site.get(f"{path}&after=0", token=bob).json()
    assert [each["text"] for each in forward["messages"]] == said[:4]
    assert forward["more"]
    assert len(site.get("/api/v1/rooms/lobby/messages", token=carol).json()["messages"]) == 30


def test_pages_and_lists_do_not_show_them(site: MemorySite) -> None:
    bob = site.log_in("bob")
    troll = site.log_in(TROLL)
    said = site.say("unheard", name=TROLL)
    site.get("/api/v1/rooms/lobby/people", token=troll)
    ignore(site, bob)
    for path in ("/rooms/lobby", "/rooms/lobby/plain"):
        page = site.get(path, token=bob, headers={"Accept": "text/html"})
        assert page.status == 200
        assert "unheard" not in page.text
        assert TROLL not in page.text
    people = site.get("/api/v1/rooms/lobby/people", token=bob).json()["people"]
    assert [each["name"] for each in people] == ["bob"]
    path = f"/api/v1/rooms/lobby/messages/{said['id']}"
    problem(site, site.get(path, token=bob), 404)


class TestTheList:
    def test_is_ones_own_and_says_what_they_were_called(self, site: MemorySite) -> None:
        bob, troll = site.log_in("bob"), site.log_in(TROLL)
        ignore(site, bob)
        troll = site.post("/api/v1/session", {"name": "angel"}, token=troll).json()["token"]
        assert site.get("/api/v1/ignored", token=bob).json() == {"ignored": [{"name": TROLL}]}
        assert site.get("/api/v1/ignored", token=troll).json() == {"ignored": []}
        # By either name, and when they are gone.
        assert ignore(site, bob, "angel", "DELETE").status == 204
        assert ignore(site, bob, "angel").status == 204
        site.request("DELETE", "/api/v1/session", token=troll)
        assert ignore(site, bob, "angel", "DELETE").status == 204
        problem(site, ignore(site, bob, "angel", "DELETE"), 404)

    def test_has_not_oneself_nor_nobody(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        problem(site, ignore(site, bob, "bob"), 400)
        problem(site, ignore(site, bob, "nobody"), 404)
        problem(site, ignore(site, bob, "nobody", "DELETE"), 404)
        problem(site, site.request("PUT", "/api/v1/ignored/bob"), 401)

    def test_twice_is_once(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        site.log_in(TROLL)
        assert [ignore(site, bob).status for _ in range(2)] == [204, 204]
        assert site.get("/api/v1/ignored", token=bob).json() == {"ignored": [{"name": TROLL}]}

    def test_has_a_bound(self, site: MemorySite, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ignored, "MOST", 2)
        bob = site.log_in("bob")
        for name in ("one", "two", "three"):
            site.log_in(name)
        assert [ignore(site, bob, name).status for name in ("one", "two", "three")] == [
            204,
            204,
            400,
        ]

    def test_may_not_be_changed_too_often(self, make_site: MakeSite) -> None:
        site = make_site(limits=True)
        bob = site.log_in("bob")
        site.log_in(TROLL)
        statuses = [ignore(site, bob).status for _ in range(25)]
        assert statuses[:20] == [204] * 20
        assert set(statuses[20:]) == {429}

    def test_is_kept(self, site: MemorySite, make_site: MakeSite) -> None:
        bob = site.log_in("bob")
        site.log_in(TROLL)
        ignore(site, bob)
        again = make_site(directory=site.directory, log=site.log)
        assert again.get("/api/v1/ignored", token=bob).json() == {"ignored": [{"name": TROLL}]}
        assert len(again.chat.ignored.lists) == 1

    def test_goes_with_a_guest(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        site.log_in(TROLL)
        ignore(site, bob)
        site.request("DELETE", "/api/v1/session", token=bob)
        assert len(site.chat.ignored.lists) == 1
        site.clock.advance(ignored.LOOK_EVERY + 1)
        site.turn()
        assert site.chat.ignored.lists == {}


def test_it_costs_nothing_to_those_who_ignore_nobody(
    site: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 300 streams one ignores somebody: that one alone is told by itself."""
    bob = site.log_in("bob")
    site.log_in(TROLL)
    ignore(site, bob)
    held = reader(site, "stream", bob)
    others = [Client(site, "stream", cursor=site.now) for _ in range(300)]
    alone: list[object] = []
    take = HeldSubscription.take_chosen

    def note(self: HeldSubscription, batch: Any) -> None:
        alone.append(self)
        take(self, batch)

    monkeypatch.setattr(HeldSubscription, "take_chosen", note)
    site.say("unheard", name=TROLL)
    # As it comes, and as it is said.
    assert len(alone) == 2
    assert len(set(map(id, alone))) == 1
    assert held.texts() == []
    assert all(each.texts() == ["unheard"] for each in others)
