"""Rooms that are private, direct, changed and removed; who belongs to them; on every transport."""

from __future__ import annotations

from typing import Any

import pytest

from cometd_chat.chat.lost_rights import LOST_RIGHT
from cometd_chat.chat.roles import Role
from cometd_chat.chat.room_changes import LATE
from cometd_chat.gateways.bayeux_policy import NOTICES
from cometd_chat.log.room_rows import named_members
from tests.memory import MemorySite
from tests.web.bayeux import Client as BayeuxClient
from tests.web.refusals import problem
from tests.web.test_policies import appointed
from tests.web.transports import POLLS, STREAMS, Client

ROOMS = "/api/v1/rooms"


def private(site: MemorySite, token: str, name: str = "den") -> dict[str, Any]:
    """A private room."""
    made = site.post(ROOMS, {"name": name, "kind": "private"}, token=token)
    assert made.status == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def patch(site: MemorySite, token: str, room: str, **fields: object) -> Any:
    return site.request("PATCH", f"{ROOMS}/{room}", json=fields, token=token)


def put(site: MemorySite, token: str, who: str, room: str = "den", **fields: object) -> Any:
    return site.request("PUT", f"{ROOMS}/{room}/members/{who}", json=fields, token=token)


def drop(site: MemorySite, token: str, who: str, room: str = "den") -> Any:
    return site.request("DELETE", f"{ROOMS}/{room}/members/{who}", token=token)


def members(site: MemorySite, token: str, room: str = "den") -> list[tuple[str, str]]:
    found = site.get(f"{ROOMS}/{room}/members", token=token)
    assert found.status == 200, found.text
    return sorted((each["name"], each["role"]) for each in found.json()["members"])


def listed(site: MemorySite, token: str | None) -> list[str]:
    return [each["name"] for each in site.get(ROOMS, token=token).json()["rooms"]]


class TestPrivate:
    def test_it_is_there_for_who_belongs(self, site: MemorySite) -> None:
        alice, bob = site.log_in("alice"), site.log_in("bob")
        assert private(site, alice)["kind"] == "private"
        assert listed(site, alice) == ["lobby", "den", "dev"]
        assert listed(site, bob) == listed(site, None) == ["lobby", "dev"]
        for token in (bob, None, appointed(site, Role.OWNER)):
            problem(site, site.get(f"{ROOMS}/den", token=token), 404, "room-not-found")
        assert members(site, alice) == [("alice", "moderator")]
        assert put(site, alice, "bob").status == 201
        assert put(site, alice, "bob").status == 204
        assert members(site, bob) == [("alice", "moderator"), ("bob", "member")]
        assert listed(site, bob) == ["lobby", "den", "dev"]
        said = site.post(f"{ROOMS}/den/messages", {"text": "hi"}, token=bob)
        assert said.status == 201

    def test_lists_page_over_it(self, site: MemorySite) -> None:
        alice = site.log_in("alice")
        for name in ("aa", "mm", "zz"):
            private(site, alice, name)
        found: list[str] = []
        path = f"{ROOMS}?limit=2"
        while True:
            page = site.get(path, token=alice).json()
            found += [each["name"] for each in page["rooms"]]
            if not page["more"]:
                break
            path = f"{ROOMS}?limit=2&after={found[-1]}"
        assert found == ["lobby", "aa", "dev", "mm", "zz"]

    @pytest.mark.parametrize("transport", [*STREAMS, *POLLS])
    def test_who_is_put_out_reads_no_longer(self, site: MemorySite, transport: str) -> None:
        alice, bob = site.log_in("alice"), site.log_in("bob")
        private(site, alice)
        put(site, alice, "bob")
        held = Client(site, transport, token=bob, rooms="den", cursor=site.now)
        held.go_on()
        other = Client(site, "stream", token=alice, rooms="den", cursor=site.now)
        assert drop(site, alice, "bob").status == 204
        assert held.response.complete
        assert not other.response.complete
        problem(site, site.get(f"{ROOMS}/den", token=bob), 404, "room-not-found")

    def test_a_stream_of_several_goes_on_with_the_others(self, site: MemorySite) -> None:
        alice, bob = site.log_in("alice"), site.log_in("bob")
        private(site, alice)
        put(site, alice, "bob")
        held = Client(site, "stream", token=bob, rooms="den,lobby", cursor=site.now)
        drop(site, alice, "bob")
        site.post(f"{ROOMS}/den/messages", {"text": "whisper"}, token=alice)
        site.post(f"{ROOMS}/lobby/messages", {"text": "aloud"}, token=alice)
        assert held.texts() == ["aloud"]

    def test_bayeux_brings_it_to_who_belongs(self, site: MemorySite) -> None:
        """And to who is added later, by the wildcard that they have."""
        alice = site.log_in("alice")
        bob = BayeuxClient(site, name="bob").joined("/chat/**")
        mallory = BayeuxClient(site, name="mallory").joined("/chat/**")
        private(site, alice)
        site.post(f"{ROOMS}/den/messages", {"text": "one"}, token=alice)
        put(site, alice, "bob")
        site.post(f"{ROOMS}/den/messages", {"text": "two"}, token=alice)
        drop(site, alice, "bob")
        site.post(f"{ROOMS}/den/messages", {"text": "three"}, token=alice)
        site.post(f"{ROOMS}/lobby/messages", {"text": "aloud"}, token=alice)
        site.turn()
        assert bob.texts == ["two", "aloud"]
        assert mallory.texts == ["aloud"]
        assert mallory.subscribe("/chat/den")["error"].startswith("404:")

    @pytest.mark.parametrize("how", ["put out", "private", "removed"])
    def test_who_is_sent_away_is_told_so_in_bayeux(self, site: MemorySite, how: str) -> None:
        """Once, whatever they subscribed to, and what else they read goes on."""
        alice, mod = site.log_in("alice"), appointed(site, Role.ADMIN)
        site.post(ROOMS, {"name": "den"}, token=alice)
        if how == "put out":
            patch(site, alice, "den", kind="private")
            bob = BayeuxClient(site, name="bob")
            put(site, alice, "bob")
        else:
            bob = BayeuxClient(site, name="bob")
        bob.joined("/chat/den", "/members/den", "/chat/lobby")
        before = len(bob.delivered)
        if how == "put out":
            drop(site, alice, "bob")
        elif how == "private":
            patch(site, alice, "den", kind="private")
        else:
            assert site.request("DELETE", f"{ROOMS}/den", token=mod).status == 204
        site.turn()
        told = [each for each in bob.delivered[before:] if each["channel"] == NOTICES]
        why = "removed" if how == "removed" else LOST_RIGHT
        assert [each["data"] for each in told] == [{"type": "bye", "reason": why, "room": "den"}]
        assert not any(each["channel"] == "/members/den" for each in bob.delivered[before:])
        site.say("aloud", name="dave")
        assert bob.texts == ["aloud"]

    def test_what_becomes_private_sends_strangers_away(self, site: MemorySite) -> None:
        alice = site.log_in("alice")
        site.post(ROOMS, {"name": "den"}, token=alice)
        stranger = Client(site, "stream", rooms="den", cursor=site.now)
        assert patch(site, alice, "den", kind="private").json()["kind"] == "private"
        assert stranger.response.complete
        assert listed(site, None) == ["lobby", "dev"]
        assert patch(site, alice, "den", kind="public").status == 200
        assert listed(site, None) == ["lobby", "den", "dev"]

    def test_who_makes_it_private_belongs_to_it(self, site: MemorySite) -> None:
        moderator = appointed(site, Role.MODERATOR)
        assert patch(site, moderator, "dev", kind="private").status == 200
        assert members(site, moderator, "dev") == [("one-moderators", "moderator")]


class TestMembers:
    def test_who_may(self, site: MemorySite) -> None:
        alice, bob, carol = (site.log_in(name) for name in ("alice", "bob", "carol"))
        private(site, alice)
        problem(site, put(site, bob, "bob"), 404, "room-not-found")
        put(site, alice, "bob")
        told = problem(site, put(site, bob, "carol"), 403, "not-allowed")
        assert told["needed"] == "member"
        problem(site, drop(site, bob, "alice"), 403, "not-allowed")
        assert put(site, alice, "bob", role="moderator").status == 204
        problem(site, drop(site, bob, "alice"), 403, "not-below")
        assert put(site, bob, "carol").status == 201
        assert drop(site, carol, "carol").status == 204
        problem(site, drop(site, carol, "carol"), 404, "room-not-found")

    def test_bad_input(self, site: MemorySite) -> None:
        alice = site.log_in("alice")
        private(site, alice)
        problem(site, put(site, alice, "nobody"), 404, "not-found")
        problem(site, put(site, alice, "alice", role="owner"), 400, "invalid-request")
        site.log_in("bob")
        problem(site, drop(site, alice, "bob"), 404, "not-found")

    def test_joining_a_public_room(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        assert put(site, bob, "bob", "dev").status == 201
        assert put(site, bob, "bob", "dev").status == 204
        assert members(site, bob, "dev") == [("bob", "member")]
        assert drop(site, bob, "bob", "dev").status == 204


class TestChange:
    def test_what_can_be_changed(self, site: MemorySite) -> None:
        alice = site.log_in("alice")
        room = site.post(ROOMS, {"name": "den"}, token=alice).json()
        for fields in (
            {"topic": "About dens"},
            {"slow": 30},
            {"locked": True},
            {"locked": False, "archived": True},
        ):
            room |= fields
            assert patch(site, alice, "den", **fields).json() == room
            assert site.get(f"{ROOMS}/den").json() == room
        problem(site, patch(site, site.log_in("bob"), "den", topic="x"), 403, "not-allowed")

    @pytest.mark.parametrize(
        "fields",
        [
            {"topic": 7},
            {"topic": "x" * 201},
            {"kind": "direct"},
            {"slow": -1},
            {"slow": True},
            {"slow": 10**9},
            {"locked": "yes"},
            {"name": "other"},
        ],
    )
    def test_bad_input(self, site: MemorySite, fields: dict[str, object]) -> None:
        alice = site.log_in("alice")
        site.post(ROOMS, {"name": "den"}, token=alice)
        told = problem(site, patch(site, alice, "den", **fields), 400, "invalid-request")
        assert told["errors"][0]["field"] in fields

    def test_the_lobby_is_for_all(self, site: MemorySite) -> None:
        owner = appointed(site, Role.OWNER)
        for fields in ({"kind": "private"}, {"archived": True}):
            problem(site, patch(site, owner, "lobby", **fields), 400, "invalid-request")
        removed = site.request("DELETE", f"{ROOMS}/lobby", token=owner)
        problem(site, removed, 400, "invalid-request")

    def test_nobody_speaks_where_it_is_archived(self, site: MemorySite) -> None:
        alice = site.log_in("alice")
        site.post(ROOMS, {"name": "den"}, token=alice)
        patch(site, alice, "den", archived=True)
        said = site.post(f"{ROOMS}/den/messages", {"text": "hi"}, token=alice)
        problem(site, said, 403, "room-archived")

    def test_only_moderators_speak_where_it_is_locked(self, site: MemorySite) -> None:
        alice, bob = site.log_in("alice"), site.log_in("bob")
        site.post(ROOMS, {"name": "den"}, token=alice)
        patch(site, alice, "den", locked=True)
        said = site.post(f"{ROOMS}/den/messages", {"text": "hi"}, token=bob)
        problem(site, said, 403, "room-locked")
        assert site.post(f"{ROOMS}/den/messages", {"text": "hi"}, token=alice).status == 201


class TestRemove:
    @pytest.mark.parametrize("transport", [*STREAMS, *POLLS])
    def test_what_was_said_is_gone_and_who_reads_is_told(
        self, site: MemorySite, transport: str
    ) -> None:
        admin, alice = appointed(site, Role.ADMIN), site.log_in("alice")
        site.post(ROOMS, {"name": "den"}, token=alice)
        site.post(f"{ROOMS}/den/messages", {"text": "a-secret"}, token=alice)
        alone = Client(site, transport, token=alice, rooms="den", cursor=site.now)
        alone.go_on()
        several = Client(site, "stream", rooms="den,lobby", cursor=site.now)
        problem(site, site.request("DELETE", f"{ROOMS}/den", token=alice), 403, "not-allowed")
        assert site.request("DELETE", f"{ROOMS}/den", token=admin).status == 204
        assert alone.response.complete
        assert b"removed" in alone.response.body
        site.say("aloud")
        assert several.texts() == ["aloud"]
        assert "a-secret" not in str(site.log._kept.records)
        problem(site, site.get(f"{ROOMS}/den", token=alice), 404, "room-not-found")

    def test_its_name_is_free_a_moment_later(self, site: MemorySite) -> None:
        admin, alice = appointed(site, Role.ADMIN), site.log_in("alice")
        private(site, alice)
        put(site, alice, "one-admins")
        site.post(f"{ROOMS}/den/messages", {"text": "a-secret"}, token=alice)
        assert site.request("DELETE", f"{ROOMS}/den", token=admin).status == 204
        assert site.post(ROOMS, {"name": "den"}, token=admin).status == 409
        site.advance(LATE + 1)
        assert site.post(ROOMS, {"name": "den"}, token=admin).status == 201
        assert members(site, admin) == [("one-admins", "moderator")]
        assert site.get(f"{ROOMS}/den/messages").json()["messages"] == []


class TestDirect:
    @pytest.mark.parametrize("page", ["", "/plain"])
    def test_pages_call_it_by_whom_it_is_with(self, site: MemorySite, page: str) -> None:
        alice = appointed(site, Role.MEMBER, "alice")
        assert appointed(site, Role.MEMBER, "bob")
        name = site.post("/api/v1/direct", {"with": ["bob"]}, token=alice).json()["name"]
        there = site.get(f"/rooms/{name}{page}", token=alice).text
        assert '<h1 dir="auto">bob</h1>' in there
        assert f"#{name}" not in there
        # And so does the list of rooms, elsewhere.
        assert ">bob</a>" in site.get(f"/rooms/lobby{page}", token=alice).text
        assert ">bob</a>" in site.get("/chat?action=side", token=alice).text

    @pytest.mark.parametrize("path", ["/rooms/lobby", "/rooms", "/chat?action=side", ROOMS])
    def test_lists_read_all_their_people_at_once(
        self, site: MemorySite, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, names = appointed(site, Role.MEMBER, "alice"), ["bob", "carol", "dave"]
        for name in names:
            appointed(site, Role.MEMBER, name)
            site.post("/api/v1/direct", {"with": [name]}, token=alice)
        asked = 0

        def counted(*args: Any) -> Any:
            nonlocal asked
            asked += 1
            return named_members(*args)

        monkeypatch.setattr("cometd_chat.chat.room_changes.named_members", counted)
        found = site.get(path, token=alice)
        assert asked == 1
        if path == ROOMS:
            shown = {",".join(each.get("with", ())) for each in found.json()["rooms"]}
            assert shown == {"", *names}
        else:
            assert all(f">{name}</a>" in found.text for name in names)

    def test_its_people_are_fixed(self, site: MemorySite) -> None:
        alice, bob = appointed(site, Role.MEMBER, "alice"), appointed(site, Role.MEMBER, "bob")
        made = site.post("/api/v1/direct", {"with": ["bob"]}, token=alice)
        assert made.status == 201
        room = made.json()
        assert room["kind"] == "direct"
        assert room["with"] == ["bob"]
        name = room["name"]
        assert name.startswith("direct-")
        assert len(name) == len("direct-") + 16
        again = site.post("/api/v1/direct", {"with": ["alice"]}, token=bob)
        assert (again.status, again.json()["name"]) == (200, name)
        assert again.json()["with"] == ["alice"]
        carol = site.log_in("carol")
        problem(site, site.get(f"{ROOMS}/{name}", token=carol), 404, "room-not-found")
        for refused in (
            put(site, alice, "carol", name),
            drop(site, alice, "alice", name),
            drop(site, alice, "bob", name),
            patch(site, alice, name, topic="x"),
        ):
            problem(site, refused, 403, "not-allowed")
        said = site.post(f"{ROOMS}/{name}/messages", {"text": "hi"}, token=bob)
        assert said.status == 201

    def test_who_is_spoken_to_is_told_of_it_once(self, site: MemorySite) -> None:
        alice, bob = appointed(site, Role.MEMBER, "alice"), appointed(site, Role.MEMBER, "bob")
        held = {each: Client(site, "stream", token=each) for each in (alice, bob)}
        for _ in range(2):
            made = site.post("/api/v1/direct", {"with": ["bob"]}, token=alice)
        (told,) = held[bob].of("invited")
        assert (told["room"], told["from"]) == (made.json()["name"], "alice")
        assert not held[alice].of("invited")

    def test_bad_input(self, site: MemorySite) -> None:
        alice = appointed(site, Role.MEMBER, "alice")
        for names in ([], ["alice"], "bob", [7], ["x"] * 21):
            answer = site.post("/api/v1/direct", {"with": names}, token=alice)
            problem(site, answer, 400, "invalid-request")
        answer = site.post("/api/v1/direct", {"with": ["nobody"]}, token=alice)
        problem(site, answer, 404, "not-found")
        answer = site.post("/api/v1/direct", {"with": ["alice"]}, token=site.log_in("guest1"))
        problem(site, answer, 403, "not-allowed")
