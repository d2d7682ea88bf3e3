"""Invitations and users by the API."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.memory import MemorySite, cookie_of
from tests.web.people import (
    ACCOUNT,
    INVITES,
    PASSWORD,
    invitation,
    member,
    owner,
)
from tests.web.refusals import fields, problem

USERS = "/api/v1/users"


@pytest.fixture
def ada(site: MemorySite) -> str:
    """The owner's token."""
    return owner(site, "ada")


def test_an_invitation(site: MemorySite, ada: str) -> None:
    asked = {"room": "dev", "uses": 40, "days": 3, "role": "moderator"}
    response = site.post(INVITES, asked, token=ada, headers={"Host": "127.0.0.1:9000"})
    made = response.json()
    assert response.status == 201
    assert len(made["code"]) == 12
    assert made.pop("url") == f"http://127.0.0.1:9000/invite/{made['code']}"
    assert response.header("location") == f"/invite/{made['code']}"
    seconds = time.mktime(time.strptime(made["until"], "%Y-%m-%dT%H:%M:%S.%fZ")) - time.timezone
    assert abs(seconds - time.time() - 3 * 86400) < 600
    del made["until"]
    assert made == {
        "code": made["code"],
        "room": "dev",
        "role": "moderator",
        "uses": 40,
        "left": 40,
        "by": "ada",
    }


def test_an_invitation_that_says_nothing(site: MemorySite, ada: str) -> None:
    made = site.post(INVITES, {}, token=ada).json()
    assert (made["room"], made["role"], made["uses"], made["left"]) == (None, "member", 100, 100)
    assert made["until"]
    for_ever = site.post(INVITES, {"uses": None, "days": None}, token=ada).json()
    assert (for_ever["uses"], for_ever["left"], for_ever["until"]) == (None, None, None)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"uses": 0}, "uses"),
        ({"uses": 10_001}, "uses"),
        ({"uses": "5"}, "uses"),
        ({"uses": True}, "uses"),
        ({"uses": 1.5}, "uses"),
        ({"days": 0}, "days"),
        ({"days": 10**9}, "days"),
        ({"role": "guest"}, "role"),
        ({"role": "owner"}, "role"),
        ({"role": "king"}, "role"),
        ({"role": 3}, "role"),
        ({"room": 3}, "room"),
    ],
)
def test_one_that_can_not_be(site: MemorySite, ada: str, asked: dict[str, Any], field: str) -> None:
    assert fields(problem(site, site.post(INVITES, asked, token=ada), 400)) == [field]


def test_a_room_that_is_not_there(site: MemorySite, ada: str) -> None:
    problem(site, site.post(INVITES, {"room": "attic"}, token=ada), 404, "room-not-found")


def test_who_may_invite(site: MemorySite, ada: str) -> None:
    problem(site, site.post(INVITES, {}), 401, "no-session")
    found = problem(site, site.post(INVITES, {}, token=site.log_in("guest")), 403, "not-allowed")
    assert "member" in found["detail"]
    bob = member(site, "bob", invitation(site, ada))
    invitation(site, bob)
    problem(site, site.post(INVITES, {"role": "moderator"}, token=bob), 403, "not-allowed")
    carol = member(site, "carol", invitation(site, ada, role="admin"))
    invitation(site, carol, role="moderator")
    problem(site, site.post(INVITES, {"role": "admin"}, token=carol), 403, "not-below")


def test_those_that_are_good(site: MemorySite, ada: str) -> None:
    bob = member(site, "bob", invitation(site, ada, uses=1))
    codes = [invitation(site, each) for each in (ada, bob, bob)]

    def listed(token: str, query: str = "") -> tuple[set[str], bool]:
        told = site.get(f"{INVITES}{query}", token=token).json()
        return {each["code"] for each in told["invites"]}, told["more"]

    assert listed(bob) == (set(codes[1:]), False)
    assert listed(ada) == (set(codes), False), "one that is used up is not among them"
    first, more = listed(ada, "?limit=2")
    assert (len(first), more) == (2, True)
    last = site.get(f"{INVITES}?limit=2", token=ada).json()["invites"][-1]["code"]
    assert listed(ada, f"?limit=2&after={last}") == (set(codes) - first, False)


def test_one_is_taken_back(site: MemorySite, ada: str) -> None:
    bob = member(site, "bob", invitation(site, ada))
    of_ada, of_bob = invitation(site, ada), invitation(site, bob)
    taken = site.request("DELETE", f"{INVITES}/{of_ada}", token=bob)
    problem(site, taken, 404, "not-found")
    for code in (of_ada, of_bob, of_bob):
        assert site.request("DELETE", f"{INVITES}/{code}", token=ada).status == 204
    carol = site.log_in("carol")
    for code in (of_ada, of_bob):
        asked = {"password": PASSWORD, "invite": code}
        problem(site, site.post(ACCOUNT, asked, token=carol), 410, "code-gone")
    problem(site, site.request("DELETE", f"{INVITES}/none", token=ada), 404, "not-found")


def test_an_invitation_leads_into_a_private_room(site: MemorySite, ada: str) -> None:
    made = site.post("/api/v1/rooms", {"name": "attic", "kind": "private"}, token=ada)
    assert made.status == 201
    code = invitation(site, ada, room="attic", uses=2)
    bob = member(site, "bob", code)
    assert site.get("/api/v1/rooms/attic", token=bob).status == 200
    carol = member(site, "carol", invitation(site, ada))
    problem(site, site.get("/api/v1/rooms/attic", token=carol), 404, "room-not-found")
    problem(site, site.post(INVITES, {"room": "attic"}, token=carol), 404, "room-not-found")
    form = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": f"Bearer {carol}",
    }
    for _ in range(2):
        done = site.request("POST", f"/invite/{code}", body=b"", headers=form)
        assert (done.status, done.header("location")) in ((303, "/rooms/attic"), (410, None))
    assert site.get("/api/v1/rooms/attic", token=carol).status == 200
    invites = site.get(INVITES, token=ada).json()["invites"]
    assert code not in [each["code"] for each in invites], "each used it once"


def test_an_invited_guest_does_not_wait(site: MemorySite, ada: str) -> None:
    asked = {"guests": "approve"}
    assert site.request("PATCH", "/api/v1/policies", json=asked, token=ada).status == 200
    waiting = site.log_in("carol")
    assert site.get("/api/v1/session", token=waiting).json()["role"] == "waiting"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    path = f"/invite/{invitation(site, ada)}"
    done = site.request("POST", path, body=b"name=bob", headers=form)
    assert done.status == 303
    me = site.get("/api/v1/session", headers=cookie_of(done)).json()
    assert (me["name"], me["role"]) == ("bob", "guest")


def test_without_guests_an_invitation_takes_a_password(site: MemorySite, ada: str) -> None:
    asked = {"guests": "off"}
    assert site.request("PATCH", "/api/v1/policies", json=asked, token=ada).status == 200
    form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    path = f"/invite/{invitation(site, ada)}"
    assert "come in as a guest" not in site.get(path, headers=form).text
    refused = site.request("POST", path, body=b"name=bob", headers=form)
    assert refused.status == 403
    body = b"name=bob&password=four+words+of+mine"
    assert site.request("POST", path, body=body, headers=form).status == 303


# -- users


def names(site: MemorySite, token: str, query: str = "") -> list[tuple[str, str]]:
    told = site.get(f"{USERS}{query}", token=token).json()
    return [(each["name"], each["role"]) for each in told["users"]]


def test_users(site: MemorySite, ada: str) -> None:
    bob = member(site, "Bob", invitation(site, ada))
    member(site, "carol", invitation(site, ada, role="admin"))
    assert names(site, ada) == [("ada", "owner"), ("Bob", "member"), ("carol", "admin")]
    assert names(site, ada, "?limit=1") == [("ada", "owner")]
    assert names(site, ada, "?after=bob") == [("carol", "admin")]
    problem(site, site.get(USERS, token=bob), 403, "not-allowed")


def change(site: MemorySite, token: str, name: str, role: str) -> Any:
    return site.request("PATCH", f"{USERS}/{name}", json={"role": role}, token=token)


def test_a_role_is_given(site: MemorySite, ada: str) -> None:
    bob = member(site, "bob", invitation(site, ada))
    stream = site.get("/api/v1/events/stream", token=bob)
    response = change(site, ada, "BOB", "moderator")
    assert (response.status, response.json()["role"]) == (200, "moderator")
    assert site.get("/api/v1/session", token=bob).json()["role"] == "moderator"
    assert "bye" not in stream.text
    assert change(site, ada, "bob", "member").json()["role"] == "member"
    problem(site, change(site, bob, "ada", "member"), 403, "not-allowed")
    problem(site, change(site, ada, "nobody", "member"), 404, "not-found")
    for role in ("king", "guest"):
        assert fields(problem(site, change(site, ada, "bob", role), 400)) == ["role"]


def test_nobody_touches_who_is_not_below_them(site: MemorySite, ada: str) -> None:
    bob = member(site, "bob", invitation(site, ada, role="admin"))
    member(site, "carol", invitation(site, ada, role="admin"))
    member(site, "dan", invitation(site, ada))
    assert change(site, bob, "dan", "moderator").status == 200
    problem(site, change(site, bob, "dan", "admin"), 403)
    problem(site, change(site, bob, "carol", "member"), 403)
    problem(site, change(site, bob, "ada", "member"), 403)
    problem(site, change(site, bob, "bob", "owner"), 403)


def test_an_account_is_removed(site: MemorySite, ada: str) -> None:
    bob = member(site, "bob", invitation(site, ada, role="admin"))
    dan = member(site, "dan", invitation(site, ada))
    stream = site.get("/api/v1/events/stream", token=dan)

    def remove(token: str, name: str) -> Any:
        return site.request("DELETE", f"{USERS}/{name}", token=token)

    problem(site, remove(dan, "bob"), 403, "not-allowed")
    problem(site, remove(bob, "ada"), 403, "not-below")
    problem(site, remove(bob, "bob"), 403, "not-below")
    problem(site, remove(bob, "nobody"), 404, "not-found")
    assert remove(bob, "Dan").status == 204
    assert '"bye"' in stream.text
    problem(site, site.get("/api/v1/session", token=dan), 401, "invalid-token")
    assert names(site, ada) == [("ada", "owner"), ("bob", "admin")]
    audit = site.get("/api/v1/audit", token=ada).json()["audit"]
    assert ("remove-account", "dan", "bob") in [
        (each["what"], each["whom"], each["who"]) for each in audit
    ]
