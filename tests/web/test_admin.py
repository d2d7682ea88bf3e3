"""The pages of who runs the house: each of their forms does what it says, without script."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from cometd_chat.chat.roles import Role
from cometd_chat.web.admin_pages import SECTIONS
from cometd_chat.web.live import LiveNumbers
from tests.decoders import read_sse
from tests.memory import MakeSite, MemorySite
from tests.web.moderators import moderator, sanctioned, with_role
from tests.web.people import invitation, log_in, member, owner, token_of
from tests.web.refusals import problem
from tests.wire import Response

PAGE = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", **PAGE}


def show(site: MemorySite, token: str, section: str, status: int = 200) -> str:
    response = site.get(f"/admin/{section}", token=token, headers=PAGE)
    assert response.status == status, response.text
    return response.text


def press(site: MemorySite, token: str, section: str, act: str, **fields: str) -> Any:
    """Press a button of a page."""
    name = section.partition("?")[0]
    return send(site, token, name, {"act": act, **fields})


def send(site: MemorySite, token: str, section: str, fields: dict[str, str]) -> Any:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', show(site, token, "audit"))
    assert found is not None
    body = urlencode({"form_token": found[1], **fields}).encode()
    return site.request("POST", f"/admin/{section}", token=token, headers=FORM, body=body)


def listed(page: str) -> list[str]:
    """The pages that a page lists."""
    return re.findall(r'href="/admin/([a-z]+)"', page.partition("</nav>")[0])


def say(site: MemorySite, token: str, text: str) -> Response:
    return site.post("/api/v1/rooms/lobby/messages", {"text": text}, token=token)


def make_room(site: MemorySite, token: str, name: str) -> None:
    assert site.post("/api/v1/rooms", {"name": name}, token=token).status == 201


def one(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    assert found is not None, page
    return found[1]


class TestWhoSeesWhich:
    def test_a_page_lists_those_that_one_may_see(self, site: MemorySite) -> None:
        assert listed(show(site, owner(site), "now")) == [each.name for each in SECTIONS]
        seen = ["waiting", "reports", "sanctions", "rooms", "audit"]
        marta = moderator(site)
        assert listed(show(site, marta, "waiting")) == seen
        for section in SECTIONS:
            assert show(site, marta, section.name, 200 if section.name in seen else 403)

    def test_the_first_one_is_where_one_begins(self, site: MemorySite) -> None:
        for token, first in ((owner(site), "now"), (moderator(site), "waiting")):
            response = site.get("/admin", token=token, headers=PAGE)
            assert (response.status, response.header("location")) == (303, f"/admin/{first}")
            # A text browser finds it as well.
            plain = site.get("/rooms/lobby/plain", token=token, headers=PAGE).text
            assert 'href="/admin"' in plain

    @pytest.mark.parametrize("role", [Role.GUEST, Role.MEMBER])
    def test_for_whom_they_are_not(self, site: MemorySite, role: Role) -> None:
        token = with_role(site, "bob", role)
        for path in ("/admin", *(f"/admin/{each.name}" for each in SECTIONS)):
            assert site.get(path, token=token, headers=PAGE).status == 403
            assert 'name="name"' in site.get(path, headers=PAGE).text  # To log in.

    def test_forms_of_another_site_are_refused(self, site: MemorySite) -> None:
        token = owner(site)
        headers = {**FORM, "Sec-Fetch-Site": "cross-site"}
        for section in ("calm", *(each.name for each in SECTIONS)):
            refused = site.request(
                "POST", f"/admin/{section}", headers=headers, body=b"calm=closed"
            )
            assert refused.status == 403
        assert site.get("/api/v1/policies", token=token).json()["calm"] == "off"

    def test_a_button_that_is_not_there(self, site: MemorySite) -> None:
        refused = press(site, owner(site), "now", "hug")
        assert refused.status == 400
        assert "There is no such button" in refused.text


class TestCalm:
    def test_one_click_calms_the_house(self, site: MemorySite) -> None:
        marta, bob = moderator(site), site.log_in("bob")
        done = send(site, marta, "calm", {"calm": "members", "section": "reports"})
        assert (done.status, done.header("location")) == (303, "/admin/reports")
        assert 'value="members" class="choice-button" aria-pressed="true"' in show(
            site, marta, "reports"
        )
        problem(site, say(site, bob, "hello"), 403, "calm")

    def test_what_an_option_pins_can_be_no_other(self, make_site: MakeSite) -> None:
        site = make_site(title="Ours")
        page = show(site, owner(site), "policies")
        assert "The option --title says so" in page
        assert re.search(r'name="title" value="Ours"[^>]* disabled', page)


class TestRooms:
    def test_topic_slow_mode_lock_and_archive(self, site: MemorySite) -> None:
        ada = owner(site)
        fields = {"room": "dev", "topic": "Code & tea", "slow": "30", "locked": "yes"}
        assert "#dev is changed." in press(site, ada, "rooms", "change", **fields).text
        shown = site.get("/api/v1/rooms/dev").json()
        assert (shown["topic"], shown["slow"], shown["locked"]) == ("Code & tea", 30, True)
        assert "Code &amp; tea" in show(site, ada, "rooms")

    def test_a_number_that_is_none(self, site: MemorySite) -> None:
        refused = press(site, owner(site), "rooms", "change", room="lobby", slow="often")
        assert refused.status == 400
        assert 'class="problem"' in refused.text

    def test_removing_one_asks_whether_one_is_sure(self, site: MemorySite) -> None:
        ada = owner(site)
        refused = press(site, ada, "rooms", "remove", room="dev")
        assert refused.status == 400
        assert site.get("/api/v1/rooms/dev").status == 200
        assert "#dev is gone" in press(site, ada, "rooms", "remove", room="dev", sure="yes").text
        assert site.get("/api/v1/rooms/dev").status == 404


class TestPeople:
    def test_search_role_and_sessions(self, site: MemorySite) -> None:
        ada = owner(site)
        code = invitation(site, ada, uses=5)
        for name in ("Bob", "Bert", "Carol"):
            member(site, name, code)
        token_of(log_in(site, "Bob"))
        found = show(site, ada, "people?name=b")
        assert re.findall(r'name="name" value="(\w+)"', found)[1::2] == ["Bert", "Bob"]
        assert "No account has a name that begins so" in show(site, ada, "people?name=z%25")
        done = press(site, ada, "people", "role", name="Bob", role="moderator")
        assert "Bob is moderator from now." in done.text
        ended = press(site, ada, "people", "end", name="Bob")
        assert "Bob was logged out of 2 devices." in ended.text

    def test_who_is_not_below_is_not_touched(self, site: MemorySite) -> None:
        ada = owner(site)
        code = invitation(site, ada, uses=5, role="admin")
        anna = member(site, "Anna", code)
        member(site, "Otto", code)
        for act in ("role", "end"):
            refused = press(site, anna, "people", act, name="Otto", role="member")
            assert refused.status == 403, act
        assert press(site, anna, "people", "end", name="Ada").status == 403
        assert press(site, ada, "people", "role", name="Nobody", role="member").status == 404


class TestPolicies:
    def test_all_of_them_by_one_form(self, site: MemorySite) -> None:
        ada = owner(site)
        wanted = {
            "title": "The Circle",
            "welcome": "Be kind.\r\nSay hello.",
            "guests": "approve",
            "registration": "open",
            "rooms": "moderator",
            "refuse": "spam\r\n\r\neggs\r\n",
            "hold": "ham",
        }
        assert "It is so from now on." in press(site, ada, "policies", "change", **wanted).text
        now = site.get("/api/v1/policies", token=ada).json()
        assert now == {
            "title": "The Circle",
            "welcome": "Be kind.\nSay hello.",
            "guests": "approve",
            "registration": "open",
            "rooms": "moderator",
            "public_reading": False,
            "words": {"refuse": ["spam", "eggs"], "hold": ["ham"]},
            "calm": "off",
            "pinned": {},
        }

    def test_the_audit_log_says_what_changed_as_people_read_it(self, site: MemorySite) -> None:
        ada = owner(site)
        for change in (
            {"words": {"refuse": ["spam", "eggs"], "hold": ["ham"]}},
            {"words": {"refuse": ["eggs", "<b>"], "hold": ["ham", "spam"]}},
            {"guests": "off", "public_reading": False},
        ):
            changed = site.request("PATCH", "/api/v1/policies", json=change, token=ada)
            assert changed.status == 200
        audit = site.get("/api/v1/audit", token=ada).json()["audit"]
        assert [(each["whom"], each["reason"]) for each in reversed(audit)][-4:] == [
            ("words", "refused from now: spam, eggs; held from now: ham"),
            ("words", "refused from now: <b>; refused no longer: spam; held from now: spam"),
            ("guests", "off"),
            ("public_reading", "no"),
        ]
        page = show(site, ada, "audit")
        assert "refused from now: &lt;b&gt;; refused no longer: spam; held from now: spam" in page
        assert "[&#34;" not in page

    def test_what_can_not_be_is_refused_and_nothing_changes(self, site: MemorySite) -> None:
        ada = owner(site)
        before = site.get("/api/v1/policies", token=ada).json()
        refused = press(site, ada, "policies", "change", title="", guests="open")
        assert refused.status == 400
        assert site.get("/api/v1/policies", token=ada).json() == before


class TestWhatWaits:
    def test_letting_in(self, site: MemorySite) -> None:
        ada = owner(site)
        site.request("PATCH", "/api/v1/policies", json={"guests": "approve"}, token=ada)
        bob = site.log_in("bob")
        assert "bob" in show(site, ada, "waiting")
        assert "bob is in." in press(site, ada, "waiting", "let-in", name="bob").text
        assert say(site, bob, "hello").status == 201
        assert "Nobody waits." in show(site, ada, "waiting")

    def test_a_report_is_settled_or_the_message_deleted(self, site: MemorySite) -> None:
        marta, bob, carol = moderator(site), site.log_in("bob"), site.log_in("carol")
        for text in ("<b>buy</b>", "fine"):
            id = say(site, bob, text).json()["id"]
            report = {"reason": "not nice"}
            path = f"/api/v1/rooms/lobby/messages/{id}/report"
            assert site.post(path, report, token=carol).status == 201
        page = show(site, marta, "reports")
        assert "&lt;b&gt;buy&lt;/b&gt;" in page
        assert "not nice" in page
        form = r'name="id" value="(\w+)">\s*<input type="hidden" name="room" value="lobby">'
        first = one(form, page)
        message = one(first + r'">\s*<input[^>]*>\s*<input[^>]*name="message" value="(\d+)"', page)
        done = press(site, marta, "reports", "delete", id=first, room="lobby", message=message)
        assert "The message is deleted." in done.text
        gone = site.get(f"/api/v1/rooms/lobby/messages/{message}", token=bob).json()
        assert gone["deleted"] == "moderator"
        settled = press(site, marta, "reports", "settle", id=one(form, done.text))
        assert "Nothing was reported" in settled.text

    def test_what_the_word_filter_holds(self, site: MemorySite) -> None:
        ada, bob = owner(site), site.log_in("bob")
        words = {"words": {"hold": ["spam"]}}
        site.request("PATCH", "/api/v1/policies", json=words, token=ada)
        for _ in range(2):
            say(site, bob, "spam!")
        for act, says in (("say", "It is said now."), ("drop", "It is dropped")):
            page = show(site, ada, "reports")
            id = one(r'name="id" value="(\w+)"', page)
            assert says in press(site, ada, "reports", act, id=id).text
        assert "Nothing was reported" in show(site, ada, "reports")

    def test_sanctions_are_lifted(self, site: MemorySite) -> None:
        marta, bob = moderator(site), site.log_in("bob")
        made = sanctioned(site, marta, "ban", "bob", reason="spam & eggs")
        page = show(site, marta, "sanctions")
        assert "bob is banned" in page
        assert "spam &amp; eggs" in page
        assert "It is lifted." in press(site, marta, "sanctions", "lift", id=made["id"]).text
        assert say(site, bob, "back").status == 201

    def test_the_audit_log_says_who_did_what(self, site: MemorySite) -> None:
        marta = moderator(site)
        site.log_in("bob")
        made = sanctioned(site, marta, "silence", "bob", reason="loud")
        assert re.search(r"marta</td> <td>silence</td>.*loud", show(site, marta, "audit"))
        press(site, marta, "sanctions", "lift", id=made["id"])
        assert "silence, undone" in show(site, marta, "audit")


def test_long_lists_are_paged(make_site: MakeSite) -> None:
    site = make_site(limits=False)
    ada = owner(site)
    for at in range(105):
        make_room(site, ada, f"room{at:03}")
    page = show(site, ada, "rooms")
    after = one(r'href="/admin/rooms\?after=([\w-]+)"', page)
    rest = show(site, ada, f"rooms?after={after}")
    assert "#room104" in rest
    assert "#room104" not in page


class TestLive:
    PATH = "/api/v1/live/events"

    def watch(self, site: MemorySite, token: str) -> Response:
        response = site.get(self.PATH, token=token)
        assert response.status == 200
        assert response.header("content-type") == "text/event-stream"
        return response

    def events(self, response: Response) -> list[dict[str, Any]]:
        return read_sse(response.body)

    def test_the_numbers_come_at_once_and_each_second(self, site: MemorySite) -> None:
        ada = owner(site)
        watching = self.watch(site, ada)
        first = self.events(watching)[-1]
        assert (first["type"], first["posts"], first["held"]) == ("live", 0, {})
        site.say("hello")
        site.advance(1.1)
        second = self.events(watching)[-1]
        assert (second["posts"], second["held"]) == (1, {"live": 1})
        assert second["seconds"] > first["seconds"]
        assert second["rooms"][0]["name"] == "lobby"

    def test_the_same_once(self, site: MemorySite) -> None:
        told = site.get("/api/v1/live", token=owner(site)).json()
        assert set(told["memory"]) >= {"streams", "answers"}

    def test_for_whom_it_is_not(self, site: MemorySite) -> None:
        for path in (self.PATH, "/api/v1/live"):
            problem(site, site.get(path, token=moderator(site, path[-4:])), 403, "not-allowed")
            problem(site, site.get(path), 401, "no-session")

    def test_nobody_looks_while_nobody_watches(
        self, site: MemorySite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada = owner(site)
        connection = site.connect()
        connection.request("GET", self.PATH, token=ada)
        assert site.get("/api/v1/live", token=ada).json()["held"] == {"live": 1}
        connection.close()
        site.advance(2)
        with monkeypatch.context() as patched:
            # Whoever looked would raise.
            patched.setattr(LiveNumbers, "look", None)
            site.advance(5)
        assert site.get("/api/v1/live", token=ada).json()["held"] == {}

    def test_it_ends_with_the_right_and_with_the_session(self, site: MemorySite) -> None:
        ada = owner(site)
        code = invitation(site, ada, uses=5, role="admin")
        anna, otto = member(site, "Anna", code), member(site, "Otto", code)
        hers, his = self.watch(site, anna), self.watch(site, otto)
        role = {"role": "member"}
        assert site.request("PATCH", "/api/v1/users/Anna", json=role, token=ada).status == 200
        assert site.request("DELETE", "/api/v1/session", token=otto).status == 204
        for watching in (hers, his):
            assert self.events(watching)[-1]["type"] == "bye"
            assert watching.complete
        assert site.get("/api/v1/live", token=ada).json()["held"] == {}

    def test_a_session_holds_so_many_and_the_oldest_goes(self, site: MemorySite) -> None:
        ada = owner(site)
        watching = [self.watch(site, ada) for _ in range(6)]
        assert [each.complete for each in watching] == [True] * 2 + [False] * 4

    def test_who_takes_nothing_is_let_go(self, make_site: MakeSite) -> None:
        site = make_site(expiration_delay=60.0)
        connection = site.connect(window=600)
        connection.request("GET", self.PATH, token=owner(site))
        site.advance(130)
        context = site.chat.feed.engine.context("/live")
        assert context is not None
        assert context.handlers == []
        site.take_failures()

    def test_it_goes_when_the_daemon_stops(self, site: MemorySite) -> None:
        watching = self.watch(site, owner(site))
        site.stop()
        assert watching.complete
