"""The page of who belongs to a room: all that can be done there, by forms without script."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from cometd_chat.chat.roles import Role
from tests.memory import MemorySite
from tests.web.test_policies import appointed
from tests.web.test_room_kinds import members, private

PAGE = "/rooms/den/members"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


def press(site: MemorySite, token: str, act: str, path: str = PAGE, **fields: str) -> Any:
    """Send a form of the page by one of its buttons."""
    body = urlencode({"act": act, **fields}).encode()
    return site.request("POST", path, body=body, headers=FORM, token=token)


def page(site: MemorySite, token: str | None, path: str = PAGE) -> Any:
    return site.get(path, token=token, headers={"Accept": "text/html"})


@pytest.fixture
def alice(site: MemorySite) -> str:
    """Who made the private room."""
    token = site.log_in("alice")
    private(site, token)
    return token


def test_who_does_not_belong_finds_no_page(site: MemorySite, alice: str) -> None:
    bob = site.log_in("bob")
    assert page(site, bob).status == 404
    assert press(site, bob, "belong").status == 404
    found, nothing = page(site, bob), page(site, bob, "/rooms/nil/members")
    told = [re.sub(r'nonce="[^"]*"', "", each.text) for each in (found, nothing)]
    assert told[0] == told[1].replace("nil", "den")


def test_people_are_added_and_put_out(site: MemorySite, alice: str) -> None:
    bob = site.log_in("bob")
    shown = press(site, alice, "add", who="bob")
    assert shown.status == 200
    assert "bob belongs to #den." in shown.text
    assert "Put out" in shown.text
    assert "Put out" not in page(site, bob).text
    assert "moderates" in press(site, alice, "moderator", who="bob").text
    assert members(site, alice) == [("alice", "moderator"), ("bob", "moderator")]
    refused = press(site, alice, "put-out", who="bob")
    assert refused.status == 403
    assert "not below" in refused.text
    left = press(site, bob, "leave")
    assert (left.status, left.header("location")) == (303, "/rooms/lobby")
    assert members(site, alice) == [("alice", "moderator")]


def test_what_was_typed_comes_back(site: MemorySite, alice: str) -> None:
    refused = press(site, alice, "add", who="nobody-<b>")
    assert refused.status == 404
    assert 'value="nobody-&lt;b&gt;"' in refused.text
    assert press(site, alice, "nonsense").status == 400


def test_a_room_is_changed(site: MemorySite, alice: str) -> None:
    fields = {"topic": "Dens", "slow": "5", "locked": "yes"}
    assert "It is changed." in press(site, alice, "change", **fields).text
    room = site.get("/api/v1/rooms/den").json()
    assert (room["topic"], room["slow"], room["locked"]) == ("Dens", 5, True)
    assert room["kind"] == "public", "the box was empty"
    assert press(site, alice, "change", topic="x", slow="soon").status == 400
    bob = site.log_in("bob")
    assert "Change the room" not in page(site, bob).text
    assert press(site, bob, "change", topic="mine").status == 403


def test_an_admin_removes_it_with_its_name(site: MemorySite, alice: str) -> None:
    admin = appointed(site, Role.ADMIN)
    press(site, alice, "change", topic="", slow="0")
    assert "Remove it" in page(site, admin).text
    assert press(site, admin, "remove", sure="no").status == 400
    removed = press(site, admin, "remove", sure="den")
    assert (removed.status, removed.header("location")) == (303, "/rooms/lobby")
    assert page(site, alice).status == 404


def test_the_lobby_is_joined_and_left(site: MemorySite) -> None:
    bob, path = site.log_in("bob"), "/rooms/lobby/members"
    assert ">Join<" in page(site, bob, path).text
    assert "You belong to #lobby." in press(site, bob, "belong", path).text
    assert "You do not belong" in press(site, bob, "leave", path).text


def test_without_a_session_one_logs_in_first(site: MemorySite) -> None:
    assert 'action="/log-in"' in page(site, None, "/rooms/lobby/members").text


def test_a_private_room_is_made_by_the_form(site: MemorySite) -> None:
    carol = site.log_in("carol")
    assert 'name="private"' in page(site, carol, "/rooms/lobby").text
    body = urlencode({"name": "nest", "private": "yes", "room": "lobby"}).encode()
    made = site.request("POST", "/rooms", body=body, headers=FORM, token=carol)
    assert (made.status, made.header("location")) == (303, "/rooms/nest")
    for path in ("/rooms", "/", "/rooms/nest/plain"):
        assert "nest" in page(site, carol, path).text
    dave = site.log_in("dave")
    assert "nest" not in page(site, dave, "/rooms").text
    assert page(site, dave, "/rooms/nest").status == 404


def test_every_page_says_what_the_room_is_about_and_why_nobody_speaks(
    site: MemorySite, alice: str
) -> None:
    for path in ("/rooms/den", "/rooms/den/plain"):
        assert "It is slow" not in page(site, alice, path).text
    press(site, alice, "change", topic="our <den>", slow="30", private="yes")
    for path in ("/rooms/den", "/rooms/den/plain", "/chat?action=side&room=den"):
        shown = page(site, alice, path).text
        assert "our &lt;den&gt;" in shown
        assert "It is slow here: a message every 30 s." in shown
    for path in ("/rooms/den", "/rooms/den/plain"):
        shown = page(site, alice, path).text
        assert "changed the topic to: our &lt;den&gt;" in shown
        # Nobody can delete it.
        assert "/rooms/den/messages/" not in shown
    press(site, alice, "change", topic="our <den>", slow="30", private="yes", locked="yes")
    assert "only moderators speak here" in page(site, alice, "/rooms/den").text
