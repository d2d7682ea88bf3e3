"""The page of a person: its forms do, without script, what moderators and others can do."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from cometd_chat.chat.roles import Role
from cometd_chat.log.control import RoomMember
from cometd_chat.log.room_rows import put_members
from tests.memory import MemorySite
from tests.web.moderators import moderator, sanctioned, with_role
from tests.web.refusals import problem
from tests.web.transports import Client

PATH = "/rooms/lobby/people/bob"
PAGE = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", **PAGE}


def show(site: MemorySite, token: str, path: str = PATH) -> str:
    response = site.get(path, token=token, headers=PAGE)
    assert response.status == 200, response.text
    return response.text


def press(site: MemorySite, token: str, act: str, path: str = PATH, **fields: str) -> Any:
    """Press a button of the page's forms."""
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', show(site, token, path))
    assert found is not None
    body = urlencode({"form_token": found[1], "act": act, **fields}).encode()
    return site.request("POST", path, token=token, headers=FORM, body=body)


def buttons(page: str) -> set[str]:
    return set(re.findall(r'name="act" value="([a-z-]+)"', page))


class TestButtons:
    def test_are_there_for_whoever_may_press_them(self, site: MemorySite) -> None:
        bob, guest, marta = site.log_in("bob"), site.log_in("guest"), moderator(site)
        every = {"silence", "kick", "ban", "ban-network"}
        assert buttons(show(site, guest)) == {"ignore"}
        assert buttons(show(site, bob)) == set()
        assert "This is you." in show(site, bob)
        assert buttons(show(site, marta)) == {"ignore", *every}
        with_role(site, "otto", Role.MODERATOR)
        assert buttons(show(site, marta, "/rooms/lobby/people/otto")) == {"ignore"}

    def test_pressed_by_who_may_not_are_refused(self, site: MemorySite) -> None:
        site.log_in("bob")
        guest = site.log_in("guest")
        refused = press(site, guest, "ban")
        assert refused.status == 403
        assert "You may not silence or send away others" in refused.text
        assert press(site, guest, "hug").status == 400

    def test_of_another_site_are_refused(self, site: MemorySite) -> None:
        site.log_in("bob")
        response = site.request(
            "POST",
            PATH,
            headers={**FORM, "Sec-Fetch-Site": "cross-site"},
            body=urlencode({"act": "ban"}).encode(),
        )
        assert response.status == 403


class TestModerating:
    def test_a_ban_here_and_lifting_it(self, site: MemorySite) -> None:
        bob, marta = site.log_in("bob"), moderator(site)
        page = press(site, marta, "ban", where="here", minutes="30", reason="spam & eggs")
        assert page.status == 200
        assert "bob is banned from the room lobby, for 30 min more: spam &amp; eggs" in page.text
        problem(site, site.get("/api/v1/rooms/lobby/messages", token=bob), 403, "banned")
        found = re.search(r'name="id" value="([0-9a-f]+)"', page.text)
        assert found is not None
        assert "It is lifted." in press(site, marta, "lift", id=found[1]).text
        assert site.get("/api/v1/rooms/lobby/messages", token=bob).status == 200

    def test_silence_everywhere(self, site: MemorySite) -> None:
        bob, marta = site.log_in("bob"), moderator(site)
        page = press(site, marta, "silence", where="everywhere")
        assert "bob is silenced everywhere, until a moderator lifts that." in page.text
        refused = site.post("/api/v1/rooms/dev/messages", {"text": "hi"}, token=bob)
        problem(site, refused, 403, "silenced")

    def test_what_was_typed_comes_back_with_a_refusal(self, site: MemorySite) -> None:
        site.log_in("bob")
        marta = moderator(site)
        page = press(site, marta, "kick", where="here", minutes="ten", reason="<b>loud</b>")
        assert page.status == 400
        assert 'value="ten"' in page.text
        assert "&lt;b&gt;loud&lt;/b&gt;" in page.text
        assert "A whole number from 1 to" in page.text

    def test_of_a_room_that_somebody_moderates_is_for_that_room(self, site: MemorySite) -> None:
        site.log_in("bob")
        olga = site.log_in("olga")
        (session,) = [each for each in site.chat.sessions.all_in_use() if each.name == "olga"]
        moderates = {session.identity: "moderator"}
        site.chat.changes.make(
            lambda each: put_members(each, "", 1, "lobby", moderates),
            lambda _: [RoomMember("lobby", session.identity, "moderator")],
        )
        page = show(site, olga)
        assert "everywhere" not in page.partition("<h2>Moderate")[2].partition("</select>")[0]
        assert press(site, olga, "kick", where="here").status == 200
        assert press(site, olga, "silence", where="everywhere").status == 403


class TestIgnoring:
    def test_and_hearing_again(self, site: MemorySite) -> None:
        site.say("unheard", name="bob")
        carol = site.log_in("carol")
        page = press(site, carol, "ignore")
        assert "You ignore bob from now on." in page.text
        assert buttons(page.text) == {"unignore"}
        assert "unheard" not in show(site, carol, "/rooms/lobby/plain")
        assert "again" in press(site, carol, "unignore").text
        assert "unheard" in show(site, carol, "/rooms/lobby/plain")


def test_who_is_not_logged_in_is_asked_to(site: MemorySite) -> None:
    site.log_in("bob")
    page = site.get(PATH, headers=PAGE)
    assert page.status == 200
    assert "Your name" in page.text
    assert (
        site.get("/rooms/lobby/people/nobody", token=site.log_in("x"), headers=PAGE).status == 404
    )


def test_the_plain_page_leads_there(site: MemorySite) -> None:
    site.say("hi", name="bob")
    assert f'href="{PATH}"' in show(site, site.log_in("carol"), "/rooms/lobby/plain")


def test_the_list_of_people_leads_there(site: MemorySite) -> None:
    Client(site, "stream", token=site.log_in("bob"))
    link = f'<a href="{PATH}" data-name="bob"'
    assert link in show(site, site.log_in("carol"), "/rooms/lobby")


def test_whoever_is_banned_sees_no_page_of_anybody(site: MemorySite) -> None:
    bob, marta = site.log_in("bob"), moderator(site)
    sanctioned(site, marta, "ban", "bob")
    refused = site.get("/rooms/lobby/people/marta", token=bob, headers=PAGE)
    assert refused.status == 403
    assert "You are banned" in refused.text
