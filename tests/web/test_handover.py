"""A house that is handed over: there is an owner at each moment, whichever node is asked."""

from __future__ import annotations

import pytest

from tests.memory import MemorySite
from tests.web.people import ACCOUNT, PASSWORD, SESSION, invitation, log_in, member, owner, token_of
from tests.web.refusals import problem
from tests.web.test_many_nodes import Pair
from tests.wire import Response


def change(site: MemorySite, token: str, name: str, role: str) -> Response:
    return site.request("PATCH", f"/api/v1/users/{name}", json={"role": role}, token=token)


def leave(site: MemorySite, token: str) -> Response:
    asked = {"password": PASSWORD, "messages": "keep"}
    return site.request("DELETE", ACCOUNT, json=asked, token=token)


def role(site: MemorySite, token: str) -> str:
    found: str = site.get(SESSION, token=token).json()["role"]
    return found


def test_a_house_is_handed_over(site: MemorySite) -> None:
    ada = owner(site)
    eve = member(site, "Eve", invitation(site, ada))
    problem(site, change(site, ada, "ada", "member"), 409, "last-owner")
    problem(site, leave(site, ada), 409, "last-owner")
    # Nobody takes it: it is given.
    problem(site, change(site, eve, "Eve", "owner"), 403, "not-allowed")
    held = site.get("/api/v1/events/stream?rooms=lobby", token=eve)
    assert change(site, ada, "Eve", "owner").status == 200
    assert (role(site, ada), role(site, eve)) == ("owner", "owner")
    assert not held.complete, "more rights end nothing"
    assert change(site, ada, "ada", "member").status == 200
    assert (role(site, ada), role(site, eve)) == ("member", "owner")
    # What went with the role has gone with it, and is the other one's.
    problem(site, change(site, ada, "ada", "owner"), 403, "not-allowed")
    problem(site, site.get("/api/v1/users", token=ada), 403, "not-allowed")
    problem(site, change(site, eve, "Eve", "member"), 409, "last-owner")
    # Who has handed it over may go.
    assert leave(site, ada).status == 204
    assert [each["name"] for each in site.get("/api/v1/users", token=eve).json()["users"]] == [
        "Eve"
    ]
    whats = [
        (each["what"], each["whom"], each["reason"])
        for each in site.get("/api/v1/audit", token=eve).json()["audit"]
        if each["what"] == "role"
    ]
    assert sorted(whats) == [("role", "Eve", "owner"), ("role", "ada", "member")]


@pytest.fixture
def pair() -> Pair:
    return Pair()


def two_owners(pair: Pair) -> tuple[str, str]:
    """Ada on the first node, Eve on the second, each logged in on the other one, too."""
    ada = owner(pair.first)
    eve = member(pair.second, "Eve", invitation(pair.second, ada))
    assert change(pair.first, ada, "Eve", "owner").status == 200
    return ada, eve


def test_the_role_goes_over_at_each_node(pair: Pair) -> None:
    ada, eve = two_owners(pair)
    other = token_of(log_in(pair.second, "ada"))
    assert (role(pair.second, eve), role(pair.second, other)) == ("owner", "owner")
    assert change(pair.first, ada, "ada", "member").status == 200
    problem(pair.second, pair.second.get("/api/v1/users", token=other), 403, "not-allowed")
    problem(pair.second, change(pair.second, eve, "Eve", "member"), 409, "last-owner")


@pytest.mark.parametrize("how", ["each themselves", "each other", "deleted"])
def test_of_two_who_go_at_once_at_two_nodes_one_stays(pair: Pair, how: str) -> None:
    ada, eve = two_owners(pair)
    # What the first node does, the second one is not told yet.
    pair.second.log.delay()
    if how == "each themselves":
        asked = change(pair.first, ada, "ada", "member"), change(pair.second, eve, "Eve", "member")
    elif how == "each other":
        asked = change(pair.first, ada, "Eve", "member"), change(pair.second, eve, "ada", "member")
    else:
        asked = leave(pair.first, ada), leave(pair.second, eve)
    pair.second.log.hurry()
    pair.advance(1)
    done, refused = asked
    assert done.status in (200, 204), done.text
    if how == "each other":
        # Whose role was taken takes none any more.
        problem(pair.second, refused, 403, "not-allowed")
    else:
        problem(pair.second, refused, 409, "last-owner")
    stays = ada if how == "each other" else eve
    for node in (pair.first, pair.second):
        users = node.get("/api/v1/users", token=stays).json()["users"]
        assert [each["name"] for each in users if each["role"] == "owner"] == [
            "ada" if how == "each other" else "Eve"
        ]
