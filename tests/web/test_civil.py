"""Slow mode, a calm house, and words that are not said: what posts are told, by whichever way."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from cometd_chat.chat.roles import Role
from cometd_chat.chat.screened import KEPT, LOOK_EVERY, MOST
from tests.chat.parts import now
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import Client as BayeuxClient
from tests.web.moderators import moderator, with_role
from tests.web.refusals import problem
from tests.web.talkers import Socket
from tests.web.transports import Client

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


def post(site: MemorySite, token: str, text: str = "hi", room: str = "lobby", **fields: Any) -> Any:
    return site.post(f"/api/v1/rooms/{room}/messages", {"text": text, **fields}, token=token)


def policy(site: MemorySite, **values: object) -> None:
    """Set policies, as from the shell."""
    now(site.chat.policies.set(values, who="", who_name="shell"))
    site.turn()


class TestSlowMode:
    @pytest.fixture(params=["room", "calm"])
    def site(self, make_site: MakeSite, request: pytest.FixtureRequest) -> MemorySite:
        """A lobby with ten seconds between two messages of one person."""
        site = make_site()
        if request.param == "calm":
            policy(site, calm="slow")
        else:
            room = site.chat.rooms.named("lobby")
            assert room is not None
            room.slow = 10
        return site

    def test_makes_people_wait_and_says_how_long(self, site: MemorySite) -> None:
        bob, carol = site.log_in("bob"), site.log_in("carol")
        assert post(site, bob).status == 201
        refused = post(site, bob)
        problem(site, refused, 429, "slow-mode")
        assert refused.header("retry-after") == "10"
        assert post(site, carol).status == 201
        site.advance(6)
        assert post(site, bob).header("retry-after") == "4"
        site.advance(4.5)
        assert post(site, bob).status == 201

    def test_is_told_by_the_transport_that_is_spoken_by(self, site: MemorySite) -> None:
        socket = Socket(site, token=site.log_in("bob"))
        socket.say("one")
        socket.say("two")
        (error,) = socket.of("error")
        assert error["status"] == 429
        assert "slow mode" in error["detail"]

    def test_exempts_who_moderates(self, site: MemorySite) -> None:
        marta = moderator(site)
        assert [post(site, marta).status for _ in range(3)] == [201] * 3

    def test_lets_what_was_not_said_be_said(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        # What is refused, and what was said before, is not said now.
        problem(site, post(site, bob, ""), 400)
        assert post(site, bob, client_id="one").status == 201
        site.advance(10.5)
        assert post(site, bob, client_id="one").status == 200
        assert post(site, bob, client_id="two").status == 201

    def test_is_over_when_it_is_switched_off(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        post(site, bob)
        policy(site, calm="off")
        room = site.chat.rooms.named("lobby")
        assert room is not None
        room.slow = 0
        assert post(site, bob).status == 201


class TestWords:
    @pytest.fixture
    def site(self, make_site: MakeSite) -> MemorySite:
        site = make_site()
        policy(site, words={"refuse": ["badword"], "hold": ["maybe"]})
        return site

    def test_that_are_refused(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        refused = problem(site, post(site, bob, "what a B.A.D.W.O.R.D"), 400, "invalid-request")
        assert refused["errors"][0]["field"] == "text"
        # What the list has is not told.
        assert "badword" not in str(refused).lower()
        assert post(site, bob, "badwords are fine").status == 201
        socket = Socket(site, token=bob)
        socket.say("badword")
        assert socket.of("error")[0]["status"] == 400
        assert post(site, moderator(site), "badword").status == 201

    def test_that_wait_are_let_through_by_a_moderator(self, site: MemorySite) -> None:
        bob, marta = site.log_in("bob"), moderator(site)
        watching = Client(site, "stream", token=marta, cursor=site.now)
        other = Client(site, "stream", cursor=site.now)
        problem(site, post(site, bob, "well, maybe", client_id="m1"), 202, "held")
        # Sent again it waits once.
        problem(site, post(site, bob, "well, maybe", client_id="m1"), 202, "held")
        assert site.log.last_id == 0
        (held,) = watching.of("held")
        assert (held["from"], held["room"]) == ("bob", "lobby")
        assert other.of("held") == []
        (item,) = site.get("/api/v1/held", token=marta).json()["held"]
        assert (item["id"], item["text"]) == (held["item"], "well, maybe")
        path = f"/api/v1/held/{item['id']}"
        problem(site, site.post(path, {"say": True}, token=bob), 403, "not-allowed")
        problem(site, site.post(path, {"say": "yes"}, token=marta), 400)
        assert site.post(path, {"say": True}, token=marta).status == 204
        (said,) = other.of("message")
        assert (said["from"], said["text"], said["client_id"]) == ("bob", "well, maybe", "m1")
        problem(site, site.post(path, {"say": True}, token=marta), 404)
        assert post(site, bob, "well, maybe", client_id="m1").status in (200, 202)
        whats = [each["what"] for each in site.get("/api/v1/audit", token=marta).json()["audit"]]
        assert "let-through" in whats

    def test_what_waits_is_not_refused(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        assert post(site, bob, "maybe").status == 202
        socket = Socket(site, token=bob)
        socket.say("maybe not")
        assert socket.of("error")[0]["status"] == 202
        assert 'comet_chat_refused_total{error="' not in site.metrics
        assert post(site, bob, "badword").status == 400
        assert 'comet_chat_refused_total{error="held"' not in site.metrics
        assert 'comet_chat_refused_total{error="invalid-request"} 1.0' in site.metrics

    def test_that_wait_and_are_held_back(self, site: MemorySite) -> None:
        bob, marta = site.log_in("bob"), moderator(site)
        stream = Client(site, "stream", token=bob, cursor=site.now)
        post(site, bob, "well, maybe", client_id="m1")
        (item,) = site.get("/api/v1/held?room=lobby", token=marta).json()["held"]
        answer = site.post(f"/api/v1/held/{item['id']}", {"say": False}, token=marta)
        assert answer.status == 204
        (told,) = stream.of("error")
        assert (told["status"], told["client_id"]) == (403, "m1")
        assert site.log.last_id == 0
        assert site.get("/api/v1/held", token=marta).json() == {"held": [], "more": False}

    @pytest.mark.parametrize(
        ("path", "field"), [("", "text"), ("/plain", "text"), ("/chat", "message")]
    )
    def test_that_wait_are_told_by_the_form(self, site: MemorySite, path: str, field: str) -> None:
        bob, marta = site.log_in("bob"), moderator(site)
        found = re.search(
            r'name="form_token" value="(\w+)"', site.get("/rooms/lobby", token=bob).text
        )
        assert found is not None
        fields = {"form_token": found[1], field: "well, maybe", "action": "post"}
        there = path if path == "/chat" else f"/rooms/lobby{path}"
        body = urlencode(fields).encode()
        page = site.request("POST", there, token=bob, headers=FORM, body=body)
        assert page.status == 202
        assert "A moderator looks at this before it is said." in page.text
        # It is no fault of theirs, and the box is empty: it is not to be sent again.
        assert 'role="alert">A moderator' not in page.text
        assert "well, maybe" not in page.text
        (item,) = site.get("/api/v1/held", token=marta).json()["held"]
        assert item["text"] == "well, maybe"

    @pytest.mark.parametrize("say", [True, False])
    def test_that_wait_are_told_in_bayeux(self, site: MemorySite, say: bool) -> None:
        marta = moderator(site)
        bob = BayeuxClient(site, name="bob").joined("/chat/lobby")
        reply = bob.ask("/chat/lobby", data={"text": "well, maybe", "client_id": "m1"})
        assert (reply["successful"], reply["error"][:4]) == (False, "202:")
        (item,) = site.get("/api/v1/held", token=marta).json()["held"]
        site.post(f"/api/v1/held/{item['id']}", {"say": say}, token=marta)
        told = {each["channel"]: each["data"] for each in bob.delivered}
        if say:
            assert told["/chat/lobby"]["text"] == "well, maybe"
            assert "/service/chat/notices" not in told
        else:
            notice = told["/service/chat/notices"]
            assert (notice["type"], notice["status"]) == ("error", 403)
            assert notice["client_id"] == "m1"

    def test_that_wait_have_a_bound_and_an_end(self, site: MemorySite) -> None:
        bob, marta = site.log_in("bob"), moderator(site)
        statuses = [post(site, bob, "maybe").status for _ in range(MOST + 1)]
        assert statuses == [202] * MOST + [429]
        site.clock.advance(KEPT / 1000)
        site.advance(LOOK_EVERY + 1)
        again = with_role(site, "otto", Role.MODERATOR)
        assert site.get("/api/v1/held", token=again).json()["held"] == []
        assert marta

    def test_nobody_but_moderators_sees_what_waits(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        problem(site, site.get("/api/v1/held", token=bob), 403, "not-allowed")
        problem(site, site.get("/api/v1/held"), 401)

    def test_that_are_taken_off_the_list_are_said(self, site: MemorySite) -> None:
        bob = site.log_in("bob")
        policy(site, words={})
        assert post(site, bob, "badword, maybe").status == 201
