"""Sanctions by the API: what they end at once on every transport, what they refuse, until when."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

import pytest

from cometd_chat.chat.roles import Role
from cometd_chat.chat.sanctions import MOST_MINUTES
from tests.chat.parts import now
from tests.memory import MakeSite, MemorySite
from tests.transport_paths import NAMES, POLLS
from tests.web.bayeux import FOREIGN, KINDS
from tests.web.bayeux import Client as BayeuxClient
from tests.web.moderators import moderator, sanction, sanctioned, with_role
from tests.web.refusals import problem
from tests.web.talkers import Duplex, Socket
from tests.web.transports import Client

#: An address that can be banned with its network, its neighbour, and one of another network.
RAIDER, NEIGHBOUR, ELSEWHERE = "8.8.8.8", "8.8.8.99", "9.9.9.9"


def reader(site: MemorySite, transport: str, token: str, **query: Any) -> Any:
    """Somebody who holds a request by a transport."""
    if transport == "ws":
        return Socket(site, token=token, **query)
    if transport.startswith("duplex"):
        return Duplex(site, token=token, lines=transport == "duplex as lines", **query)
    return Client(site, transport, token=token, **{"cursor": site.now, **query})


def whole(held: Any) -> str:
    """All that came by a held request."""
    if isinstance(held, Socket):
        return json.dumps(held.events()) + str(held.closed_by())
    # A poll is followed by the next.
    told = json.dumps(held.events()) if getattr(held, "transport", "") in POLLS else ""
    text: str = held.response.text
    return told + text


def is_over(held: Any) -> bool:
    if isinstance(held, Socket):
        return held.closed_by() is not None
    if getattr(held, "transport", "") in POLLS:
        held.go_on()
    over: bool = held.response.complete
    return over


def post(site: MemorySite, token: str, room: str = "lobby", text: str = "hi") -> Any:
    return site.post(f"/api/v1/rooms/{room}/messages", {"text": text}, token=token)


@pytest.mark.parametrize("transport", NAMES)
@pytest.mark.parametrize(("kind", "reason"), [("ban", "banned"), ("kick", "kicked")])
class TestWhoIsSentAway:
    def test_is_told_so_and_held_no_longer(
        self, site: MemorySite, transport: str, kind: str, reason: str
    ) -> None:
        mod, bob = moderator(site), site.log_in("bob")
        held = reader(site, transport, bob)
        other = reader(site, transport, site.log_in("carol"))
        assert not is_over(held)
        sanctioned(site, mod, kind, "bob")
        assert is_over(held)
        assert (kind if transport in POLLS else reason) in whole(held)
        assert not is_over(other)
        site.say("after", name="dave")
        assert "after" not in whole(held)
        assert "after" in whole(other)

    def test_of_one_of_two_rooms_goes_on_in_the_other(
        self, site: MemorySite, transport: str, kind: str, reason: str
    ) -> None:
        mod, bob = moderator(site), site.log_in("bob")
        held = reader(site, transport, bob, rooms="dev,lobby")
        sanctioned(site, mod, kind, "bob", room="dev")
        if transport in POLLS:
            # It was answered by what concerns them alone, and asks for what is left.
            assert is_over(held)
            assert "from the room dev" in held.response.text
            held = reader(site, transport, bob, rooms="lobby")
        assert not is_over(held)
        site.advance(3)
        assert site.get("/api/v1/rooms/dev/people").json()["people"] == []
        site.say("in-dev", room="dev", name="dave")
        site.say("in-lobby", name="dave")
        assert "in-dev" not in whole(held)
        assert "in-lobby" in whole(held)

    def test_is_refused_when_they_come_back(
        self, site: MemorySite, transport: str, kind: str, reason: str
    ) -> None:
        mod, bob = moderator(site), site.log_in("bob")
        sanctioned(site, mod, kind, "bob", reason="spam")
        held = reader(site, transport, bob)
        if transport not in ("ws",):
            assert held.response.status in (200, 403)
            assert "spam" in whole(held)
            assert is_over(held)


@pytest.mark.parametrize("kind", KINDS)
class TestBayeux:
    @pytest.fixture
    def site(self, make_site: MakeSite) -> MemorySite:
        return make_site(allow_origin=(FOREIGN,))

    def test_who_is_banned_is_disconnected_and_may_not_shake_hands(
        self, site: MemorySite, kind: str
    ) -> None:
        mod = moderator(site)
        bob = BayeuxClient(site, kind, name="bob").joined("/chat/lobby")
        carol = BayeuxClient(site, kind, name="carol").joined("/chat/lobby")
        sanctioned(site, mod, "ban", "bob", reason="spam")
        site.say("after", name="dave")
        assert "after" not in bob.texts
        assert "after" in carol.texts

    def test_who_is_banned_from_one_room_reads_the_others(
        self, site: MemorySite, kind: str
    ) -> None:
        mod = moderator(site)
        bob = BayeuxClient(site, kind, name="bob").joined("/chat/lobby", "/chat/dev")
        sanctioned(site, mod, "ban", "bob", room="dev")
        site.say("in-dev", room="dev", name="dave")
        site.say("in-lobby", name="dave")
        assert bob.texts == ["in-lobby"]
        assert bob.subscribe("/chat/dev")["error"].startswith("403:")

    def test_who_reads_all_rooms_reads_all_but_that(self, site: MemorySite, kind: str) -> None:
        mod = moderator(site)
        bob = BayeuxClient(site, kind, name="bob").joined("/chat/*")
        sanctioned(site, mod, "ban", "bob", room="dev")
        site.say("in-dev", room="dev", name="dave")
        site.say("in-lobby", name="dave")
        assert bob.texts == ["in-lobby"]

    def test_who_is_silenced_reads_and_says_nothing(self, site: MemorySite, kind: str) -> None:
        mod = moderator(site)
        bob = BayeuxClient(site, kind, name="bob").joined("/chat/lobby")
        sanctioned(site, mod, "silence", "bob")
        assert bob.ask("/chat/lobby", data={"text": "hi"})["error"].startswith("403:")
        site.say("after", name="dave")
        assert bob.texts == ["after"]


class TestWhoIsSilenced:
    def test_says_nothing_by_any_way_and_reads_on(self, site: MemorySite) -> None:
        mod, bob = moderator(site), site.log_in("bob")
        held = {name: reader(site, name, bob) for name in ("stream", "ws", "duplex")}
        told = sanctioned(site, mod, "silence", "bob", minutes=5, reason="shouting")
        refused = problem(site, post(site, bob), 403, "silenced")
        assert refused["until"] == told["until"]
        assert "for 5 min more: shouting" in refused["detail"]
        problem(site, site.post("/api/v1/rooms/lobby/typing", token=bob), 403, "silenced")
        problem(site, site.post("/api/v1/rooms", {"name": "new"}, token=bob), 403, "silenced")
        held["ws"].say("hi")
        (error,) = held["ws"].of("error")
        assert error["status"] == 403
        held["duplex"].say("hi")
        assert "! You may not speak" in whole(held["duplex"])
        assert site.log.last_id == 0
        site.say("aloud", name="dave")
        for each in held.values():
            assert "aloud" in whole(each)
        # A name would be shown to all as well.
        problem(site, site.post("/api/v1/session", {"name": "rob"}, token=bob), 403, "silenced")

    def test_speaks_elsewhere_where_it_is_for_one_room(self, site: MemorySite) -> None:
        mod, bob = moderator(site), site.log_in("bob")
        sanctioned(site, mod, "silence", "bob", room="dev")
        refused = problem(site, post(site, bob, "dev"), 403, "silenced")
        assert refused["room"] == "dev"
        assert post(site, bob).status == 201

    def test_speaks_again_when_it_is_over_by_itself(self, site: MemorySite) -> None:
        mod, bob = moderator(site), site.log_in("bob")
        sanctioned(site, mod, "silence", "bob", minutes=1)
        site.advance(59)
        assert post(site, bob).status == 403
        site.advance(1.5)
        assert post(site, bob).status == 201
        assert site.get("/api/v1/sanctions", token=mod).json()["sanctions"] == []

    def test_speaks_again_when_it_is_lifted(self, site: MemorySite) -> None:
        mod, bob = moderator(site), site.log_in("bob")
        stream = reader(site, "stream", bob)
        made = sanctioned(site, mod, "silence", "bob")
        path = f"/api/v1/sanctions/{made['id']}"
        problem(site, site.request("DELETE", path, token=bob), 403, "not-allowed")
        assert site.request("DELETE", path, token=mod).status == 204
        assert post(site, bob).status == 201
        assert [each.get("lifted") for each in stream.of("sanction")] == [None, True]
        problem(site, site.request("DELETE", path, token=mod), 404)


class TestTold:
    @pytest.mark.parametrize("transport", NAMES)
    def test_them_alone_and_by_every_transport(self, site: MemorySite, transport: str) -> None:
        mod, bob = moderator(site), site.log_in("bob")
        other, held = reader(site, transport, site.log_in("carol")), reader(site, transport, bob)
        sanctioned(site, mod, "silence", "bob", reason="for-shouting")
        assert "for-shouting" in whole(held)
        assert "marta" not in whole(held)
        assert "for-shouting" not in whole(other)

    def test_in_bayeux_by_a_channel_of_their_own(self, site: MemorySite) -> None:
        mod = moderator(site)
        bob = BayeuxClient(site, name="bob").joined("/chat/lobby")
        sanctioned(site, mod, "silence", "bob", reason="shouting")
        (told,) = [each for each in bob.delivered if each["channel"] == "/service/chat/notices"]
        assert told["data"] == {
            "type": "sanction",
            "kind": "silence",
            "room": None,
            "until": None,
            "reason": "shouting",
        }


class TestANetwork:
    @pytest.fixture
    def raid(self, site: MemorySite) -> tuple[MemorySite, str]:
        """Somebody who can be banned with where they come from, and a moderator."""
        mod = moderator(site, address=ELSEWHERE)
        return site, mod

    def ban(self, site: MemorySite, mod: str, who: str = "raider", **fields: Any) -> Any:
        asked = {"kind": "ban-network", "who": who, **fields}
        return site.post("/api/v1/sanctions", asked, token=mod, address=ELSEWHERE)

    def test_is_kept_out_whoever_comes_and_whatever_they_ask(
        self, raid: tuple[MemorySite, str]
    ) -> None:
        site, mod = raid
        raider = site.log_in("raider", address=RAIDER)
        neighbour = site.log_in("neighbour", address=NEIGHBOUR)
        streams = [
            Client(site, "stream", token=raider, address=RAIDER),
            Client(site, "stream", token=neighbour, address=NEIGHBOUR),
            Client(site, "stream", address=NEIGHBOUR),
            Client(site, "stream", token=site.log_in("carol"), address=ELSEWHERE),
        ]
        bayeux = BayeuxClient(site, name="rob", address=NEIGHBOUR).joined("/chat/lobby")
        made = self.ban(site, mod)
        assert made.status == 201, made.text
        assert "8.8" not in made.text
        assert [each.over for each in streams] == [True, True, True, False]
        site.say("after", name="dave")
        assert bayeux.texts == []
        for token in (raider, neighbour, None):
            for path in (
                "/api/v1/rooms",
                "/api/v1/rooms/lobby/messages",
                "/api/v1/events/poll?wait=0",
                "/api/v1/events/stream",
                "/api/v1/rooms/lobby/people",
            ):
                refused = site.get(path, token=token, address=NEIGHBOUR)
                problem(site, refused, 403, "banned")
        problem(site, site.post("/api/v1/session", {"name": "new"}, address=RAIDER), 403, "banned")
        assert site.get("/", address=RAIDER, headers={"Accept": "text/html"}).status == 403
        # The session stays, and is as good as ever elsewhere.
        assert post(site, raider).status == 201

    def test_leaves_nothing_of_an_address_behind(self, raid: tuple[MemorySite, str]) -> None:
        site, mod = raid
        site.log_in("raider", address=RAIDER)
        self.ban(site, mod)
        dump = "".join(site.directory.store._database.connection.iterdump())
        assert "ban-network" in dump
        assert "8.8.8" not in dump
        assert bytes((8, 8, 8)).hex() not in dump.lower()

    @pytest.mark.parametrize("address", ["192.168.1.7", "10.0.0.3", "127.0.0.1", "fd00::7"])
    def test_that_is_private_is_refused(self, site: MemorySite, address: str) -> None:
        mod = moderator(site)
        site.log_in("raider", address=address)
        refused = problem(site, self.ban(site, mod), 403, "not-allowed")
        assert "private network" in refused["detail"]

    def test_of_a_trusted_proxy_is_refused(self, make_site: MakeSite) -> None:
        site = make_site(trusted_proxy=(ip_network("8.8.8.8"),))
        mod = moderator(site)
        site.log_in("raider", address=RAIDER)
        refused = problem(site, self.ban(site, mod), 403, "not-allowed")
        assert "proxy" in refused["detail"]

    def test_of_ones_own_is_refused(self, site: MemorySite) -> None:
        mod = moderator(site, address=ELSEWHERE)
        site.log_in("raider", address="9.9.9.1")
        refused = problem(site, self.ban(site, mod), 403, "not-allowed")
        assert "ban yourself" in refused["detail"]

    def test_keeps_out_nobody_who_moderates(self, raid: tuple[MemorySite, str]) -> None:
        site, mod = raid
        admin = with_role(site, "admin-of-all", Role.ADMIN, NEIGHBOUR)
        stream = Client(site, "stream", token=admin, address=NEIGHBOUR)
        site.log_in("raider", address=RAIDER)
        assert self.ban(site, mod).status == 201
        assert not stream.over
        assert site.get("/api/v1/audit", token=admin, address=NEIGHBOUR).status == 200

    def test_twice_says_so(self, raid: tuple[MemorySite, str]) -> None:
        site, mod = raid
        site.log_in("raider", address=RAIDER)
        assert self.ban(site, mod).status == 201
        problem(site, self.ban(site, mod), 409, "already-sanctioned")

    def test_of_one_room(self, raid: tuple[MemorySite, str]) -> None:
        site, mod = raid
        raider = site.log_in("raider", address=RAIDER)
        stream = Client(site, "stream", token=raider, address=RAIDER, rooms="dev,lobby")
        assert self.ban(site, mod, room="dev").status == 201
        assert not stream.over
        refused = site.post(
            "/api/v1/rooms/dev/messages", {"text": "hi"}, token=raider, address=RAIDER
        )
        problem(site, refused, 403, "banned")
        assert site.get("/api/v1/rooms", address=RAIDER).status == 200

    def test_is_forgotten_with_the_key(self, raid: tuple[MemorySite, str]) -> None:
        site, mod = raid
        site.log_in("raider", address=RAIDER)
        assert self.ban(site, mod).status == 201
        path = "/api/v1/sanctions/forget-networks"
        problem(site, site.post(path, token=mod, address=ELSEWHERE), 403, "not-allowed")
        admin = with_role(site, "keeper", Role.ADMIN, ELSEWHERE)
        assert site.post(path, token=admin, address=ELSEWHERE).json() == {"lifted": 1}
        assert site.get("/api/v1/rooms", address=RAIDER).status == 200
        # By another key it can be banned again.
        assert self.ban(site, mod).status == 201
        assert site.get("/api/v1/rooms", address=RAIDER).status == 403


class TestWhatMakesNoSense:
    @pytest.mark.parametrize(
        ("fields", "status", "slug"),
        [
            ({"who": "marta"}, 400, "invalid-request"),
            ({"who": "owner-of-all"}, 403, "not-below"),
            ({"who": "peer-of-mod"}, 403, "not-below"),
            ({"who": "nobody-here"}, 404, "not-found"),
            ({"who": ""}, 404, "not-found"),
            ({"who": 7}, 400, "invalid-request"),
            ({"minutes": 0}, 400, "invalid-request"),
            ({"minutes": 10**9}, 400, "invalid-request"),
            ({"minutes": MOST_MINUTES + 1}, 400, "invalid-request"),
            ({"minutes": "ten"}, 400, "invalid-request"),
            ({"kind": "hug"}, 400, "invalid-request"),
            ({"room": "nowhere"}, 404, "room-not-found"),
            ({"reason": "x" * 501}, 400, "invalid-request"),
        ],
    )
    def test_is_refused_in_words(
        self, site: MemorySite, fields: dict[str, Any], status: int, slug: str
    ) -> None:
        mod = moderator(site)
        site.log_in("bob")
        for name, role in (("owner-of-all", Role.OWNER), ("peer-of-mod", Role.MODERATOR)):
            with_role(site, name, role)
            self.seen(site, name)
        self.seen(site, "marta")
        self.seen(site, "bob")
        asked = {"kind": "ban", "who": "bob", **fields}
        problem(site, site.post("/api/v1/sanctions", asked, token=mod), status, slug)
        assert site.get("/api/v1/sanctions", token=mod).json()["sanctions"] == []

    def seen(self, site: MemorySite, name: str) -> None:
        site.get("/api/v1/rooms/lobby/people", token=site._tokens[name])

    def test_twice_is_a_conflict_that_says_by_whom(self, site: MemorySite) -> None:
        mod, other = moderator(site), moderator(site, "other-mod")
        site.log_in("bob")
        sanctioned(site, mod, "ban", "bob", reason="spam")
        refused = problem(site, sanction(site, other, "ban", "bob"), 409, "already-sanctioned")
        assert "by marta already" in refused["detail"]
        # Another kind, or another place, is another one.
        sanctioned(site, other, "silence", "bob")
        sanctioned(site, other, "ban", "bob", room="dev")

    def test_a_role_that_is_not_enough_says_which_is(self, site: MemorySite) -> None:
        guest = site.log_in("guest")
        site.log_in("bob")
        refused = problem(site, sanction(site, guest, "ban", "bob"), 403, "not-allowed")
        assert refused["needed"] == "moderator"
        # Nobody learns by it who is here.
        unknown = problem(site, sanction(site, guest, "ban", "nobody"), 403, "not-allowed")
        assert unknown == refused
        for path in ("/api/v1/sanctions", "/api/v1/audit"):
            problem(site, site.get(path, token=guest), 403, "not-allowed")
            problem(site, site.get(path), 401, "no-session")


class TestTheAuditLog:
    def test_says_who_did_what_to_whom_and_why(self, site: MemorySite) -> None:
        mod = moderator(site)
        site.log_in("bob")
        made = sanctioned(site, mod, "kick", "bob", room="dev", reason="spam")
        sanctioned(site, mod, "ban", "bob")
        site.request("DELETE", f"/api/v1/sanctions/{made['id']}", token=mod)
        told = site.get("/api/v1/audit", token=mod).json()
        assert [
            (each["who"], each["what"], each["whom"], each["room"], each["reason"])
            for each in told["audit"]
        ] == [
            ("marta", "lift-kick", "bob", "dev", ""),
            ("marta", "ban", "bob", None, ""),
            ("marta", "kick", "bob", "dev", "spam"),
        ]
        assert [each["undone"] is None for each in told["audit"]] == [True, True, False]
        assert told["more"] is False

    def test_comes_in_pages(self, site: MemorySite) -> None:
        mod = moderator(site)
        for number in range(5):
            site.log_in(f"bob{number}")
            sanctioned(site, mod, "silence", f"bob{number}")
        seen: list[str] = []
        after = ""
        while True:
            page = site.get(f"/api/v1/audit?limit=2{after}", token=mod).json()
            seen += [each["whom"] for each in page["audit"]]
            if not page["more"]:
                break
            after = f"&after={page['audit'][-1]['id']}"
        assert seen == [f"bob{number}" for number in (4, 3, 2, 1, 0)]


def test_those_in_force_are_listed_the_newest_first_in_pages(site: MemorySite) -> None:
    mod = moderator(site)
    for number in range(5):
        site.log_in(f"bob{number}")
        place = {"room": "dev"} if number % 2 else {}
        sanctioned(site, mod, "silence", f"bob{number}", **place)
    first = site.get("/api/v1/sanctions?limit=3", token=mod).json()
    assert [each["who"] for each in first["sanctions"]] == ["bob4", "bob3", "bob2"]
    assert first["more"] is True
    rest = site.get(f"/api/v1/sanctions?after={first['sanctions'][-1]['id']}", token=mod).json()
    assert [each["who"] for each in rest["sanctions"]] == ["bob1", "bob0"]
    in_dev = site.get("/api/v1/sanctions?room=dev", token=mod).json()
    assert [each["who"] for each in in_dev["sanctions"]] == ["bob3", "bob1"]


def test_the_session_of_whoever_is_banned_stays(site: MemorySite) -> None:
    mod, bob = moderator(site), site.log_in("bob")
    sanctioned(site, mod, "ban", "bob")
    refused = problem(site, site.get("/api/v1/rooms/lobby/messages", token=bob), 403, "banned")
    assert refused["until"] is None
    assert site.get("/api/v1/session", token=bob).json()["name"] == "bob"
    assert site.request("DELETE", "/api/v1/session", token=bob).status == 204


class TestToldToSomeAlone:
    def test_moderators_hear_who_knocks(self, site: MemorySite) -> None:
        marta, bob = moderator(site), site.log_in("bob")
        watching, other = reader(site, "stream", marta), reader(site, "stream", bob)
        now(site.chat.policies.set({"guests": "approve"}, who="", who_name="shell"))
        site.log_in("carol")
        assert [each["from"] for each in watching.of("knock")] == ["carol"]
        assert other.of("knock") == []

    def test_who_is_let_into_a_room_hears_so(self, site: MemorySite) -> None:
        marta, bob = with_role(site, "marta", Role.ADMIN), site.log_in("bob")
        held = reader(site, "stream", bob)
        made = site.post("/api/v1/rooms", {"name": "den", "kind": "private"}, token=marta)
        assert made.status == 201, made.text
        answer = site.request("PUT", "/api/v1/rooms/den/members/bob", token=marta)
        assert answer.status in (201, 204), answer.text
        (told,) = held.of("invited")
        assert (told["room"], told["from"]) == ("den", "marta")


def test_one_can_ask_why_one_may_not_speak(site: MemorySite) -> None:
    marta, bob = moderator(site), site.log_in("bob")
    asked = "/api/v1/session?room=lobby"
    me = site.get(asked, token=bob).json()
    assert (me["role"], me["silent"], me["slow"]) == ("guest", None, 0)
    assert "speak" in me["rights"]
    assert "sanction" not in me["rights"]
    hidden = 'id="standing" role="status" dir="auto" hidden></p>'
    assert hidden in site.get("/rooms/lobby", token=bob).text
    made = sanctioned(site, marta, "silence", "bob", room="lobby", minutes=10, reason="noise")
    me = site.get(asked, token=bob).json()
    assert me["silent"]["type"] == "/problems/silenced"
    assert me["silent"]["reason"] == "noise"
    assert me["silent"]["until"] is not None
    assert "speak" not in me["rights"]
    # It is so in that room, and nobody else is told.
    assert site.get("/api/v1/session", token=bob).json()["rights"].count("speak") == 1
    assert site.get(asked, token=marta).json()["silent"] is None
    shown = site.get("/rooms/lobby", token=bob).text
    assert "noise" in shown
    assert hidden not in shown
    site.request("DELETE", f"/api/v1/sanctions/{made['id']}", token=marta)
    assert hidden in site.get("/rooms/lobby", token=bob).text
    problem(site, site.get("/api/v1/session?room=nowhere", token=bob), 404, "room-not-found")
