"""Who waits is listed, and let in, by the API."""

from __future__ import annotations

from cometd_chat.chat.roles import Role
from tests.memory import MemorySite
from tests.web.people import PASSWORD, invitation, owner
from tests.web.refusals import problem
from tests.web.test_policies import appointed, patch
from tests.web.transports import Client


def test_who_waits_is_listed_and_let_in(site: MemorySite) -> None:
    moderator = appointed(site, Role.MODERATOR)
    patch(site, appointed(site, Role.ADMIN), guests="approve")
    answer = site.post("/api/v1/session", {"name": "bob"})
    assert (answer.status, answer.json()["role"]) == (201, "waiting")
    token = answer.json()["token"]
    me = site.get("/api/v1/session", token=token).json()
    assert me["role"] == "waiting"
    assert me["rights"] == ["see", "follow", "enter", "come-as-guest", "own-account"]
    said = site.post("/api/v1/rooms/lobby/messages", {"text": "hi"}, token=token)
    problem(site, said, 403, "waiting")
    waiting = site.get("/api/v1/waiting", token=moderator).json()
    assert [each["name"] for each in waiting["waiting"]] == ["bob"]
    assert waiting["more"] is False
    assert waiting["waiting"][0]["since"].endswith("Z")
    for value in (0, None, "true"):
        refused = site.post("/api/v1/waiting/bob", {"let_in": value}, token=moderator)
        problem(site, refused, 400, "invalid-request")
    assert site.post("/api/v1/waiting/bob", {"let_in": True}, token=moderator).status == 204
    problem(
        site, site.post("/api/v1/waiting/bob", {"let_in": True}, token=moderator), 404, "not-found"
    )
    said = site.post("/api/v1/rooms/lobby/messages", {"text": "hi"}, token=token)
    assert said.status == 201
    assert site.get("/api/v1/session", token=token).json()["role"] == "guest"


def test_who_is_turned_away_is_gone(site: MemorySite) -> None:
    ada = owner(site)
    patch(site, ada, guests="approve")
    bob = site.log_in("bob")
    stream = Client(site, "stream", token=bob, cursor=site.now)
    problem(site, site.post("/api/v1/waiting/bob", {"let_in": False}, token=bob), 403)
    assert site.post("/api/v1/waiting/bob", {"let_in": False}, token=ada).status == 204
    assert [each["reason"] for each in stream.of("bye")] == ["logged out"]
    problem(site, site.get("/api/v1/session", token=bob), 401, "invalid-token")
    assert site.get("/api/v1/waiting", token=ada).json()["waiting"] == []
    problem(site, site.post("/api/v1/waiting/bob", {"let_in": False}, token=ada), 404)
    assert site.get("/api/v1/audit", token=ada).json()["audit"][0]["what"] == "turn-away"
    # They may come again, and wait again.
    assert site.post("/api/v1/session", {"name": "bob"}).json()["role"] == "waiting"


def test_an_account_is_no_way_past_who_lets_people_in(site: MemorySite) -> None:
    ada = owner(site)
    patch(site, ada, guests="approve", registration="open")
    bob = site.log_in("bob")
    refused = site.post("/api/v1/account", {"password": PASSWORD}, token=bob)
    assert "let you in first" in problem(site, refused, 403, "waiting")["detail"]
    assert site.get("/api/v1/session", token=bob).json()["role"] == "waiting"
    # Who is invited needs nobody else, and who is in is in.
    invited = {"password": PASSWORD, "invite": invitation(site, ada)}
    assert site.post("/api/v1/account", invited, token=bob).status == 201
    carol = site.log_in("carol")
    assert site.post("/api/v1/waiting/carol", {"let_in": True}, token=ada).status == 204
    assert site.post("/api/v1/account", {"password": PASSWORD}, token=carol).status == 201
