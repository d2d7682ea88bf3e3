"""The networks of all guests who spoke lately, banned by one act: by the API, a command, a form."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from cometd_chat.chat.roles import Role
from tests.memory import MakeSite, MemorySite
from tests.web.moderators import moderator, with_role
from tests.web.refusals import problem
from tests.wire import Response

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}

#: Where a member comes from, a moderator, and a guest who says nothing.
MEMBER, HOME, QUIET = "9.9.9.9", "8.8.4.4", "7.7.7.7"


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site()


def speak(site: MemorySite, name: str, address: str, token: str = "") -> None:
    token = token or site.log_in(name, address=address)
    path = "/api/v1/rooms/lobby/messages"
    assert site.post(path, {"text": "SPAM"}, token=token, address=address).status == 201


def raid(site: MemorySite) -> str:
    """Ten raiders from three networks; others speak as well. The token of a moderator."""
    mod = moderator(site, address=HOME)
    for number in range(10):
        speak(site, f"raider {number}", f"11.{number % 3}.7.{number + 1}")
    speak(site, "ann", MEMBER, with_role(site, "ann", Role.MEMBER, MEMBER))
    speak(site, "next to the moderator", "8.8.4.77")
    speak(site, "in the house", "192.168.1.3")
    site.log_in("quiet", address=QUIET)
    return mod


def ban(site: MemorySite, token: str, **fields: Any) -> Response:
    asked = {"kind": "ban-network", "guests_of": "lobby", **fields}
    return site.post("/api/v1/sanctions", asked, token=token, address=HOME)


def may_log_in(site: MemorySite, address: str) -> bool:
    status = site.post("/api/v1/session", {"name": f"x {address}"}, address=address).status
    assert status in (201, 403)
    return status == 201


def test_all_their_networks_and_no_other(site: MemorySite) -> None:
    mod = raid(site)
    answer = ban(site, mod, minutes=240, reason="raid")
    assert answer.status == 201, answer.text
    imposed = answer.json()["sanctions"]
    assert len(imposed) == 3
    assert {(each["kind"], each["room"], each["reason"]) for each in imposed} == {
        ("ban-network", None, "raid")
    }
    assert all(each["until"] for each in imposed)
    assert [may_log_in(site, f"11.{number}.7.200") for number in range(4)] == [*[False] * 3, True]
    # Not for what a member said, nor the moderator's own network, nor one that is private; and not
    # whoever said nothing.
    assert all(may_log_in(site, each) for each in (MEMBER, HOME, QUIET, "192.168.1.77"))
    noted = site.get("/api/v1/audit", token=mod).json()["audit"]
    assert [each["what"] for each in noted] == ["ban-network"] * 3


def test_again_bans_none(site: MemorySite) -> None:
    mod = raid(site)
    assert len(ban(site, mod).json()["sanctions"]) == 3
    again = ban(site, mod)
    assert (again.status, again.json()) == (201, {"sanctions": []})
    assert len(site.get("/api/v1/sanctions", token=mod).json()["sanctions"]) == 3


def test_only_of_who_spoke_lately(site: MemorySite) -> None:
    mod = raid(site)
    now = site.chat.moderation.now
    site.chat.moderation.now = lambda: now() + 11 * 60_000
    problem(site, ban(site, mod), 404, "not-found")
    assert len(ban(site, mod, within=20).json()["sanctions"]) == 3


def test_after_a_purge_as_well(site: MemorySite) -> None:
    mod = raid(site)
    asked = {"guests": True, "minutes": 10}
    assert site.post("/api/v1/rooms/lobby/purge", asked, token=mod).status == 201
    assert len(ban(site, mod).json()["sanctions"]) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "ban"},
        {"who": "raider 1"},
        {"guests_of": 7},
        {"within": 0},
        {"within": "ten"},
        {"minutes": 0},
    ],
)
def test_that_makes_no_sense(site: MemorySite, fields: dict[str, Any]) -> None:
    mod = raid(site)
    problem(site, ban(site, mod, **fields), 400, "invalid-request")
    assert may_log_in(site, "11.0.7.200")


def test_by_who_may_not(site: MemorySite) -> None:
    raid(site)
    problem(site, ban(site, site.log_in("eve")), 403, "not-allowed")
    assert may_log_in(site, "11.0.7.200")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/ban guests network 240 raid", "3 networks are banned"),
        ("/ban guests here network", "3 networks are banned"),
        ("/ban guests", "network"),
    ],
)
def test_by_a_command(site: MemorySite, line: str, told: str) -> None:
    mod = raid(site)
    path = "/api/v1/rooms/lobby/commands"
    answer = site.post(path, {"line": line}, token=mod, address=HOME)
    assert told in answer.text
    found = site.get("/api/v1/sanctions", token=mod).json()["sanctions"]
    assert len(found) == (3 if answer.status == 200 else 0)
    assert {each["room"] for each in found} <= {"lobby" if "here" in line else None}


def test_by_a_form(site: MemorySite) -> None:
    mod = raid(site)
    cookie = {"Cookie": f"comet_session_memory={mod}", "Origin": "http://127.0.0.1:8080"}
    page = site.get("/rooms/lobby/messages/1", headers=cookie)
    assert 'value="ban-guests"' in page.text
    body = urlencode({"act": "ban-guests", "minutes": "240", "form_token": token_in(page.text)})
    path, headers = "/rooms/lobby/messages/1", {**cookie, **FORM}
    answer = site.request("POST", path, body=body.encode(), headers=headers, address=HOME)
    assert "3 networks are banned" in answer.text
    assert not may_log_in(site, "11.0.7.200")


def token_in(page: str) -> str:
    return page.split('name="form_token" value="')[1].split('"')[0]
