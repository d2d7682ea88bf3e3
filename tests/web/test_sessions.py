"""One's own devices, by the API."""

from __future__ import annotations

import pytest

from cometd_chat.chat.roles import Role
from cometd_chat.log.members import NewMember
from cometd_chat.lookalikes.keys import name_keys
from tests.chat.parts import now
from tests.memory import MakeSite, MemorySite, cookie_of
from tests.web.refusals import problem

SESSIONS = "/api/v1/sessions"


def member(site: MemorySite, name: str = "alice") -> tuple[str, str]:
    """A member's token, and who they are."""
    new = NewMember(name, name_keys(name), Role.MEMBER.word, None, 1)
    session, token = now(site.chat.make_member(new, ""))
    return token, session.identity


def device(site: MemorySite, identity: str, agent: str = "lynx") -> str:
    return now(site.chat.start_member(identity, "", agent=agent))[1]


def test_devices_are_listed(make_site: MakeSite) -> None:
    site = make_site()
    token, identity = member(site)
    other = device(site, identity)
    site.log_in("bob")
    response = site.get(SESSIONS, token=other)
    assert response.status == 200
    found = response.json()
    assert not found["more"]
    first, second = found["sessions"]
    assert set(first) == {"id", "began", "seen", "agent", "current"}
    # The oldest first; those of one millisecond are in some order.
    assert (first["began"], first["id"]) < (second["began"], second["id"])
    assert {each["agent"]: each["current"] for each in (first, second)} == {"": False, "lynx": True}
    assert first["began"] <= first["seen"]
    page = site.get(f"{SESSIONS}?limit=1", token=token).json()
    assert (page["sessions"][0]["id"], page["more"]) == (first["id"], True)
    rest = site.get(f"{SESSIONS}?after={first['id']}", token=token).json()
    assert [each["id"] for each in rest["sessions"]] == [second["id"]]


def test_a_guests_device_says_what_it_is(make_site: MakeSite) -> None:
    site = make_site()
    firefox = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"}
    token = site.log_in("bob", headers=firefox)
    (only,) = site.get(SESSIONS, token=token).json()["sessions"]
    assert only["agent"] == "Firefox on Linux"


def test_one_is_ended_and_its_streams_with_it(make_site: MakeSite) -> None:
    site = make_site()
    token, identity = member(site)
    other = device(site, identity)
    stream = site.get("/api/v1/events/stream", token=other)
    found = site.get(SESSIONS, token=other).json()["sessions"]
    (id,) = (each["id"] for each in found if each["current"])
    assert site.request("DELETE", f"{SESSIONS}/{id}", token=token).status == 204
    site.turn()
    assert '"bye"' in stream.text
    problem(site, site.get(SESSIONS, token=other), 401, "invalid-token")
    problem(site, site.request("DELETE", f"{SESSIONS}/{id}", token=token), 404, "not-found")
    assert len(site.get(SESSIONS, token=token).json()["sessions"]) == 1


def test_one_ends_ones_own(make_site: MakeSite) -> None:
    site = make_site()
    response = site.post("/api/v1/session", {"name": "bob"})
    cookie, token = cookie_of(response), response.json()["token"]
    (only,) = site.get(SESSIONS, token=token).json()["sessions"]
    assert only["current"]
    ended = site.request(
        "DELETE",
        f"{SESSIONS}/{only['id']}",
        headers={**cookie, "Sec-Fetch-Site": "same-origin"},
    )
    assert ended.status == 204
    assert "Max-Age=0" in (ended.header("set-cookie") or "")
    problem(site, site.get(SESSIONS, token=token), 401, "invalid-token")


@pytest.mark.parametrize("id", ["nothing", "0" * 24, "%20", "x" * 500])
def test_what_is_not_ones_own_is_not_there(make_site: MakeSite, id: str) -> None:
    site = make_site()
    bob = site.log_in("bob")
    problem(site, site.request("DELETE", f"{SESSIONS}/{id}", token=bob), 404, "not-found")
    alice = site.log_in("alice")
    (hers,) = site.get(SESSIONS, token=alice).json()["sessions"]
    refused = site.request("DELETE", f"{SESSIONS}/{hers['id']}", token=bob)
    problem(site, refused, 404, "not-found")
    assert site.get(SESSIONS, token=alice).status == 200


def test_nobody_without_a_session_has_any(make_site: MakeSite) -> None:
    site = make_site()
    problem(site, site.get(SESSIONS), 401)
    problem(site, site.request("DELETE", f"{SESSIONS}/1"), 401)


def test_a_page_of_another_site_ends_none(make_site: MakeSite) -> None:
    site = make_site()
    response = site.post("/api/v1/session", {"name": "bob"})
    cookie, token = cookie_of(response), response.json()["token"]
    (only,) = site.get(SESSIONS, token=token).json()["sessions"]
    foreign = {**cookie, "Sec-Fetch-Site": "cross-site"}
    refused = site.request("DELETE", f"{SESSIONS}/{only['id']}", headers=foreign)
    assert refused.status == 403
    assert site.get(SESSIONS, token=token).status == 200
