"""Two who want the same of accounts at one moment, at one node and at two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cometd_chat.errors import StorageUnavailable
from tests.memory import MemorySite
from tests.web.people import (
    ACCOUNT,
    CLAIM,
    PASSWORD,
    SESSION,
    invitation,
    log_in,
    member,
    owner,
    owner_code,
    token_of,
)
from tests.web.refusals import problem
from tests.web.test_many_nodes import Node, Pair


@pytest.fixture
def pair() -> Pair:
    return Pair()


class Slow:
    """A `Hashing` whose work waits until it is let go: all that asks meanwhile is at once."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def run(self, work: Callable[[], Any], address: str = "") -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        self.waiting.append((answer, work))
        return answer

    def go_on(self) -> None:
        """Let all of it be done."""
        waiting, self.waiting = self.waiting, []
        for answer, work in waiting:
            answer.callback(work())


def ask(site: MemorySite, path: str, asked: object, token: str = "") -> Any:
    """Ask for something that is not answered yet."""
    return site.connect("192.0.2.9").request("POST", path, json=asked, token=token or None)


def test_one_owner_link_and_two_browsers(site: MemorySite) -> None:
    code, slow = owner_code(site), Slow()
    site.passwords._hashing = slow
    asked = [
        ask(site, CLAIM, {"code": code, "name": name, "password": PASSWORD})
        for name in ("ada", "eve")
    ]
    assert len(slow.waiting) == 2, "both found it good"
    slow.go_on()
    site.turn()
    assert sorted(response.status for response in asked) == [201, 410]


def test_a_token_that_was_replaced_meanwhile_chooses_no_password(site: MemorySite) -> None:
    code = invitation(site, owner(site), uses=5)
    guest, slow = site.log_in("bob"), Slow()
    site.passwords._hashing = slow
    first = ask(site, ACCOUNT, {"password": PASSWORD, "invite": code}, guest)
    # Meanwhile the guest takes another name, and with it another token.
    renamed = token_of(site.post(SESSION, {"name": "robert"}, token=guest), 200)
    site.log_in("bob")
    slow.go_on()
    site.turn()
    problem(site, first, 401, "invalid-token")
    assert site.get(SESSION, token=renamed).json()["role"] == "guest"
    left = site.get("/api/v1/invites", token=token_of_owner(site)).json()["invites"]
    assert left == [] or left[0]["left"] == 5, "nothing was used up"


def token_of_owner(site: MemorySite) -> str:
    slow, site.passwords._hashing = site.passwords._hashing, site.hashing
    token = token_of(log_in(site, "ada"))
    site.passwords._hashing = slow
    return token


def test_the_last_place_of_an_invitation(site: MemorySite) -> None:
    code, slow = invitation(site, owner(site), uses=1), Slow()
    guests = [site.log_in(name) for name in ("bob", "carol")]
    site.passwords._hashing = slow
    asked = [ask(site, ACCOUNT, {"password": PASSWORD, "invite": code}, each) for each in guests]
    assert len(slow.waiting) == 2
    slow.go_on()
    site.turn()
    assert sorted(response.status for response in asked) == [201, 410]


def test_a_claim_while_the_database_is_away(site: MemorySite) -> None:
    asked = {"code": owner_code(site), "name": "ada", "password": PASSWORD}
    site.directory.store.failure = StorageUnavailable("Not now.", retry_after=1)
    problem(site, site.post(CLAIM, asked), 503, "storage-unavailable")
    site.directory.store.failure = None
    token_of(site.post(CLAIM, asked))


# -- two nodes


def test_a_link_is_good_once_over_all_nodes(pair: Pair) -> None:
    asked = {"code": owner_code(pair.first), "name": "ada", "password": PASSWORD}
    ada = token_of(pair.first.post(CLAIM, asked))
    problem(pair.second, pair.second.post(CLAIM, {**asked, "name": "eve"}), 410, "code-gone")
    assert pair.second.get(SESSION, token=ada).json()["role"] == "owner"


def test_a_member_of_both(pair: Pair) -> None:
    ada = owner(pair.first)
    code = invitation(pair.second, ada)
    bob = member(pair.first, "bob", code)
    other = token_of(log_in(pair.second, "bob"))
    for node in (pair.first, pair.second):
        problem(node, node.post(SESSION, {"name": "Bob"}), 409, "name-taken")
        assert node.get(SESSION, token=other).json()["role"] == "member"
    change = {"role": "moderator"}
    done = pair.second.request("PATCH", "/api/v1/users/bob", json=change, token=ada)
    assert done.status == 200
    assert pair.first.get(SESSION, token=bob).json()["role"] == "moderator"
    password = {"password": PASSWORD, "new_password": "another four words"}
    held = pair.second.get("/api/v1/events/stream", token=other)
    token_of(pair.first.request("PUT", ACCOUNT, json=password, token=bob), 200)
    pair.second.turn()
    assert '"bye"' in held.text
    problem(pair.second, log_in(pair.second, "bob"), 401, "wrong-password")


def test_an_invitation_is_taken_back_over_all_nodes(pair: Pair) -> None:
    ada = owner(pair.first)
    code = invitation(pair.first, ada)
    assert pair.second.request("DELETE", f"/api/v1/invites/{code}", token=ada).status == 204
    guest = pair.first.log_in("bob")
    asked = {"password": PASSWORD, "invite": code}
    problem(pair.first, pair.first.post(ACCOUNT, asked, token=guest), 410, "code-gone")
    assert isinstance(pair.first, Node)
