"""Accounts by the API: the owner link, passwords, members, log-in links, deletion."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from cometd_chat.errors import StorageUnavailable
from tests.hashing import weak
from tests.memory import MakeSite, MemorySite, cookie_of
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
from tests.web.refusals import fields, problem
from tests.web.transports import Client

MESSAGES = "/api/v1/rooms/lobby/messages"
PEOPLE = "/api/v1/rooms/lobby/people"
LINK = "/api/v1/session/link"


def me(site: MemorySite, token: str) -> tuple[str, str]:
    response = site.get(SESSION, token=token)
    assert response.status == 200, response.text
    told = response.json()
    return told["name"], told["role"]


# -- the owner link


def test_the_owner_link_makes_the_owner(site: MemorySite) -> None:
    asked = {"code": owner_code(site), "name": "Ada", "password": PASSWORD}
    response = site.post(CLAIM, asked)
    told = response.json()
    assert response.status == 201
    assert (told["name"], told["role"]) == ("Ada", "owner")
    assert response.header("location") == SESSION
    assert "HttpOnly" in (response.header("set-cookie") or "")
    assert me(site, told["token"]) == ("Ada", "owner")
    problem(site, site.post(CLAIM, {**asked, "name": "Eve"}), 410, "code-gone")


@pytest.mark.parametrize("code", ["", "nonsense", "x" * 5000, "\0"])
def test_an_owner_link_that_is_none(site: MemorySite, code: str) -> None:
    owner_code(site)
    asked = {"code": code, "name": "Eve", "password": PASSWORD}
    problem(site, site.post(CLAIM, asked), 410, "code-gone")
    assert site.hasher.worked == 0, "nothing is hashed for that"


def test_an_owner_link_after_an_hour(site: MemorySite) -> None:
    asked = {"code": owner_code(site, time.time() - 3600), "name": "Eve", "password": PASSWORD}
    problem(site, site.post(CLAIM, asked), 410, "code-gone")


@pytest.mark.parametrize(
    ("change", "field"), [({"name": "a/b"}, "name"), ({"password": "short"}, "password")]
)
def test_a_claim_that_is_refused_uses_nothing_up(
    site: MemorySite, change: dict[str, str], field: str
) -> None:
    asked = {"code": owner_code(site), "name": "Ada", "password": PASSWORD}
    assert fields(problem(site, site.post(CLAIM, {**asked, **change}), 400)) == [field]
    site.log_in("Eve")
    problem(site, site.post(CLAIM, {**asked, "name": "Eve"}), 409, "name-taken")
    token_of(site.post(CLAIM, asked))


def test_a_guest_who_claims_keeps_what_they_said(site: MemorySite) -> None:
    ada = site.log_in("ada")
    said = {"text": "mine", "client_id": "c-1"}
    first = site.post(MESSAGES, said, token=ada).json()
    asked = {"code": owner_code(site), "name": "ada", "password": PASSWORD}
    owners = token_of(site.post(CLAIM, asked, token=ada))
    again = site.post(MESSAGES, said, token=owners)
    assert (again.status, again.json()) == (200, first)
    problem(site, site.get(SESSION, token=ada), 401, "invalid-token")


def test_an_owner_who_lost_the_password_comes_back(site: MemorySite) -> None:
    owner(site, "ada")
    asked = {"code": owner_code(site), "name": "Ada", "password": "another four words"}
    token = token_of(site.post(CLAIM, asked))
    assert me(site, token) == ("ada", "owner")
    problem(site, log_in(site, "ada"), 401, "wrong-password")
    token_of(log_in(site, "ada", "another four words"))


def test_and_nobody_else_is_the_owner_any_more(site: MemorySite) -> None:
    """Who comes back may do so since somebody else has a session of theirs."""
    lost = owner(site, "ada")
    link = site.post("/api/v1/session/link", token=lost).json()["url"]
    stream = Client(site, "stream", token=lost)
    asked = {"code": owner_code(site), "name": "ada", "password": "another four words"}
    token = token_of(site.post(CLAIM, asked, token=token_of(log_in(site, "ada"))))
    problem(site, site.get(SESSION, token=lost), 401, "invalid-token")
    assert stream.response.complete
    assert site.get("/" + link.partition("://")[2].partition("/")[2]).status == 410
    (device,) = site.get("/api/v1/sessions", token=token).json()["sessions"]
    assert device["current"] is True


def test_a_new_password_ends_the_links_of_other_devices(site: MemorySite) -> None:
    ada = owner(site, "ada")
    link = site.post("/api/v1/session/link", token=ada).json()["url"]
    changed = {"password": PASSWORD, "new_password": "another four words"}
    assert site.request("PUT", ACCOUNT, json=changed, token=ada).status == 200
    assert site.get("/" + link.partition("://")[2].partition("/")[2]).status == 410


def test_nobody_takes_a_members_name_by_an_owner_link(site: MemorySite) -> None:
    bob = member(site, "bob", invitation(site, owner(site)))
    asked = {"code": owner_code(site), "name": "bob", "password": "another four words"}
    problem(site, site.post(CLAIM, asked), 409, "name-taken")
    assert me(site, token_of(site.post(CLAIM, asked, token=bob))) == ("bob", "owner")


# -- passwords


def test_a_member_logs_in_on_many_devices(site: MemorySite) -> None:
    first = owner(site, "ada")
    said = {"text": "hello", "client_id": "c-1"}
    event = site.post(MESSAGES, said, token=first).json()
    second = token_of(log_in(site, "ADA "))
    assert second != first
    again = site.post(MESSAGES, said, token=second)
    assert (again.status, again.json()) == (200, event), "one sender"
    people = site.get(PEOPLE).json()["people"]
    assert people == [{"name": "ada", "role": "owner"}], "and one person"
    assert me(site, first) == me(site, second)


@pytest.mark.parametrize("name", ["ada", "nobody here", "a/b", "", "x" * 9000])
@pytest.mark.parametrize("password", ["wrong, but long", "short", "x" * 9000, "a\0b"])
def test_a_wrong_name_is_as_a_wrong_password(site: MemorySite, name: str, password: str) -> None:
    owner(site, "ada")
    before = site.hasher.worked
    found = problem(site, log_in(site, name, password), 401, "wrong-password")
    assert site.hasher.worked == before + 1, "it takes as long"
    assert found == problem(site, log_in(site, "ada", "wrong"), 401, "wrong-password")


def test_a_wrong_password_costs_time(make_site: MakeSite) -> None:
    site = make_site(limits=True)
    owner(site, "ada")
    for number in range(5):
        wrong = log_in(site, "ada", "wrong", address=f"192.0.2.{number}")
        problem(site, wrong, 401, "wrong-password")
    for number, wait in enumerate((1, 2, 4)):
        before = site.hasher.worked
        refused = log_in(site, "ada", address="192.0.2.99")
        assert f"{wait} s" in problem(site, refused, 429, "too-many")["detail"]
        assert refused.header("retry-after") == str(wait)
        assert site.hasher.worked == before, "it was not looked at"
        site.advance(wait)
        wrong = log_in(site, "ada", "wrong", address=f"198.51.100.{number}")
        problem(site, wrong, 401, "wrong-password")
    site.advance(8)
    token_of(log_in(site, "ada", address="192.0.2.99"))


def test_a_queue_that_is_full(site: MemorySite) -> None:
    owner(site, "ada")
    site.hashing.full = True
    problem(site, log_in(site, "ada"), 503, "too-busy")
    site.hashing.full = False
    token_of(log_in(site, "ada"))


def test_parameters_are_renewed_at_log_in(site: MemorySite) -> None:
    owner(site, "ada")
    site.passwords._hasher = stronger = weak(time_cost=2)
    token_of(log_in(site, "ada"))
    assert stronger.worked == 2, "a look, and a new one"
    token_of(log_in(site, "ada"))
    assert stronger.worked == 3


def test_a_members_name_is_no_guests(site: MemorySite) -> None:
    owner(site, "ada")
    for name in ("ada", "Ada", "ADA "):
        problem(site, site.post(SESSION, {"name": name}), 409, "name-taken")
    text = site.get("/rooms/lobby.txt?name=ada")
    problem(site, text, 409, "name-taken")


def test_another_password_ends_all_other_sessions(site: MemorySite) -> None:
    first = owner(site, "ada")
    second = token_of(log_in(site, "ada"))
    stream = site.get("/api/v1/events/stream", token=second)
    own = site.get("/api/v1/events/stream", token=first)
    change = {"password": PASSWORD, "new_password": "another four words"}
    wrong = {**change, "password": "wrong"}
    problem(site, site.request("PUT", ACCOUNT, json=wrong, token=first), 401, "wrong-password")
    assert me(site, second)
    renewed = token_of(site.request("PUT", ACCOUNT, json=change, token=first), 200)
    assert json.loads(stream.text.splitlines()[-1])["type"] == "bye"
    assert json.loads(own.text.splitlines()[-1])["type"] == "reopen"
    for token in (first, second):
        problem(site, site.get(SESSION, token=token), 401, "invalid-token")
    assert me(site, renewed) == ("ada", "owner")
    problem(site, log_in(site, "ada"), 401, "wrong-password")
    token_of(log_in(site, "ada", "another four words"))


# -- becoming a member


def test_a_guest_becomes_a_member(site: MemorySite) -> None:
    code = invitation(site, owner(site, "ada"))
    bob = site.log_in("bob")
    said = {"text": "as a guest", "client_id": "c-1"}
    event = site.post(MESSAGES, said, token=bob).json()
    stream = site.get("/api/v1/events/stream", token=bob)
    asked = {"password": PASSWORD, "invite": f"https://chat.example.org/invite/{code}/"}
    response = site.post(ACCOUNT, asked, token=bob)
    token = token_of(response)
    assert (response.json()["name"], response.json()["role"]) == ("bob", "member")
    problem(site, site.get(SESSION, token=bob), 401, "invalid-token")
    assert site.post(MESSAGES, said, token=token).json() == event
    assert json.loads(stream.text.splitlines()[-1])["type"] == "reopen"
    told = [json.loads(line)["type"] for line in stream.text.splitlines()]
    assert "leave" not in told, "nobody has gone"
    problem(site, site.post(ACCOUNT, asked, token=token), 409, "already-member")


def test_registration_asks_for_an_invitation(site: MemorySite) -> None:
    owner(site)
    bob = site.log_in("bob")
    problem(site, site.post(ACCOUNT, {"password": PASSWORD}, token=bob), 403, "invite-needed")
    asked = {"password": PASSWORD, "invite": "nonsense"}
    problem(site, site.post(ACCOUNT, asked, token=bob), 410, "code-gone")


def test_a_guest_without_a_session(site: MemorySite) -> None:
    problem(site, site.post(ACCOUNT, {"password": PASSWORD}), 401, "no-session")


def test_an_invitation_lets_in_no_more_than_it_says(site: MemorySite) -> None:
    code = invitation(site, owner(site), uses=1)
    member(site, "bob", code)
    carol = site.log_in("carol")
    asked = {"password": PASSWORD, "invite": code}
    problem(site, site.post(ACCOUNT, asked, token=carol), 410, "code-gone")


# -- log-in links


def link_code(site: MemorySite, token: str) -> str:
    response = site.post(LINK, {}, token=token)
    assert response.status == 201, response.text
    url: str = response.json()["url"]
    return url.rpartition("/")[2]


def test_a_link_is_for_members(site: MemorySite) -> None:
    problem(site, site.post(LINK, {}, token=site.log_in("bob")), 403, "not-allowed")
    problem(site, site.post(LINK, {}), 401, "no-session")


def test_a_link_lets_another_device_in_once(site: MemorySite) -> None:
    ada = owner(site, "ada")
    path = f"/link/{link_code(site, ada)}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    done = site.request("POST", path, body=b"", headers=headers)
    assert (done.status, done.header("location")) == (303, "/rooms/lobby")
    assert site.get(SESSION, headers=cookie_of(done)).json()["name"] == "ada"
    problem(site, site.request("POST", path, body=b"", headers=headers), 410, "code-gone")


def test_another_link_takes_the_place_of_the_last(site: MemorySite) -> None:
    ada = owner(site, "ada")
    first, second = link_code(site, ada), link_code(site, ada)
    assert site.get(f"/link/{first}").status == 410
    assert site.get(f"/link/{second}").status == 200


# -- leaving


def delete(site: MemorySite, token: str, **asked: Any) -> Any:
    body = {"password": PASSWORD, "messages": "keep", **asked}
    return site.request("DELETE", ACCOUNT, json=body, token=token)


def test_an_account_is_deleted(site: MemorySite) -> None:
    ada = owner(site, "ada")
    bob = member(site, "bob", invitation(site, ada))
    other = token_of(log_in(site, "bob"))
    stream = site.get("/api/v1/events/stream", token=other)
    site.post(MESSAGES, {"text": "I was here"}, token=bob)
    problem(site, delete(site, bob, password="wrong"), 401, "wrong-password")
    assert fields(problem(site, delete(site, bob, messages="some"), 400)) == ["messages"]
    assert delete(site, bob).status == 204
    assert json.loads(stream.text.splitlines()[-1])["type"] == "bye"
    for token in (bob, other):
        problem(site, site.get(SESSION, token=token), 401, "invalid-token")
    problem(site, log_in(site, "bob"), 401, "wrong-password")
    problem(site, site.post(SESSION, {"name": "bob"}), 409, "name-taken")
    # By whom is in the database, which tests of members look at.
    assert [each["text"] for each in site.get(MESSAGES).json()["messages"]] == ["I was here"]


def test_what_somebody_said_goes_with_them(site: MemorySite) -> None:
    ada = owner(site, "ada")
    site.post(MESSAGES, {"text": "hers"}, token=ada)
    bob = member(site, "bob", invitation(site, ada))
    site.fill(600)
    site.post(MESSAGES, {"text": "I was here"}, token=bob)
    assert delete(site, bob, messages="delete").status == 204
    said = site.get(f"{MESSAGES}?limit=200").json()["messages"]
    assert "I was here" not in str(said)
    assert [each["deleted"] for each in said if "deleted" in each] == ["own"]
    assert site.get(f"{MESSAGES}/1").json()["text"] == "hers"


def test_the_last_owner_stays(site: MemorySite) -> None:
    ada = owner(site, "ada")
    problem(site, delete(site, ada), 409, "last-owner")
    assert me(site, ada) == ("ada", "owner")


def test_everything_of_mine(site: MemorySite) -> None:
    ada = owner(site, "ada")
    code = invitation(site, ada)
    site.fill(1200)
    for number in range(3):
        site.post(MESSAGES, {"text": f"mine {number}"}, token=ada)
    site.say("not mine")
    response = site.get("/api/v1/account/export", token=ada)
    assert response.status == 200
    assert response.header("content-type") == "application/x-ndjson"
    assert "attachment" in (response.header("content-disposition") or "")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert lines[0]["name"] == "ada"
    assert [each["code"] for each in lines if each["type"] == "invite"] == [code]
    assert [each["text"] for each in lines if each["type"] == "message"] == [
        "mine 0",
        "mine 1",
        "mine 2",
    ]
    assert PASSWORD not in response.text
    assert "argon2" not in response.text
    problem(site, site.get("/api/v1/account/export"), 401, "no-session")


def test_an_export_that_breaks_off_is_no_whole_one(site: MemorySite) -> None:
    ada = owner(site, "ada")
    site.fill(1500)
    site.log.holding_reads = True
    response = site.get("/api/v1/account/export", token=ada)
    site.log.answer_read()
    site.turn()
    site.log.failing_reads = StorageUnavailable("Not now.", retry_after=1)
    site.log.answer_read()
    site.turn()
    assert response.status == 200
    assert not response.complete, "nobody takes a part for the whole"


def test_who_leaves_an_export_ends_it(site: MemorySite) -> None:
    ada = owner(site, "ada")
    site.fill(1500)
    site.log.holding_reads = True
    connection = site.connect("192.0.2.9")
    connection.request("GET", "/api/v1/account/export", token=ada)
    connection.close()
    site.turn()
    while site.log.waiting_reads:
        site.log.answer_read()
        site.turn()
    assert site.get(SESSION, token=ada).status == 200
