"""Commands, by every way in which somebody writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from cometd_chat.chat.commands import COMMANDS
from cometd_chat.chat.roles import Role
from tests.memory import MakeSite, MemorySite, cookie_of
from tests.web.moderators import moderator
from tests.web.refusals import problem
from tests.web.talkers import Duplex, Socket
from tests.web.test_deletions import history, promote

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}

COMMAND = "/api/v1/rooms/lobby/commands"


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site()


def run(site: MemorySite, line: object, token: str) -> Any:
    return site.post(COMMAND, {"line": line}, token=token)


def notice(site: MemorySite, line: str, token: str) -> str:
    answer = run(site, line, token)
    assert answer.status == 200, answer.text
    told: str = answer.json()["notice"]
    return told


class TestByTheApi:
    def test_help_lists_what_one_may(self, site: MemorySite) -> None:
        guest, maud = site.log_in("carol"), promote(site, "maud")
        shown = notice(site, "/help", guest)
        assert "/nick NAME" in shown
        assert "/purge" not in shown
        assert "/purge NAME|guests" in notice(site, "/help", maud)
        assert notice(site, "/help /JOIN", guest).startswith("/join ROOM: ")
        assert run(site, "/help purge", guest).status == 400

    @pytest.mark.parametrize(
        "line", ["/foo", "/foo bar", "/usr/bin/python is broken", "/", "/ help"]
    )
    def test_one_that_is_not_there_is_never_said(self, site: MemorySite, line: str) -> None:
        answer = run(site, line, site.log_in("carol"))
        told = problem(site, answer, 400, "invalid-request")
        assert told["detail"].startswith("There is no /")
        assert told["detail"].endswith("; /help lists them.")
        assert site.log.last_id == 0

    @pytest.mark.parametrize("line", ["help", "//help", "", 5, None])
    def test_what_is_none(self, site: MemorySite, line: object) -> None:
        problem(site, run(site, line, site.log_in("carol")), 400, "invalid-request")

    def test_messages_are_taken_as_they_are(self, site: MemorySite) -> None:
        site.say("/help")
        site.say("//help")
        assert history(site) == ["/help", "//help"]

    def test_nick(self, site: MemorySite) -> None:
        answer = run(site, '/nick "Carol Two"', site.log_in("carol")).json()
        assert answer["notice"] == "You are Carol Two now."
        assert site.get("/api/v1/session", token=answer["token"]).json()["name"] == "Carol Two"
        problem(site, run(site, "/nick", answer["token"]), 400)
        site.log_in("bob")
        problem(site, run(site, "/nick bob", answer["token"]), 409, "name-taken")

    def test_rooms(self, site: MemorySite) -> None:
        token = site.log_in("carol")
        assert run(site, "/join #dev", token).json()["room"] == "dev"
        assert run(site, "/join new-one", token).json() == {
            "notice": "The room new-one is new.",
            "room": "new-one",
        }
        assert "new-one (0)" in notice(site, "/list", token)
        assert run(site, "/leave", token).json()["room"] == "lobby"
        problem(site, run(site, "/join", token), 400)

    def test_people(self, site: MemorySite) -> None:
        token = site.log_in("carol")
        site.say("hi", name="dan")
        assert notice(site, "/names", token) == "Here: dan."
        assert notice(site, "/whois @dan", token) == "dan: guest, in lobby."
        problem(site, run(site, "/whois nobody", token), 404)
        problem(site, run(site, "/whois", token), 400)

    def test_what_a_room_is(self, site: MemorySite) -> None:
        maud, carol = promote(site, "maud"), site.log_in("carol")
        assert notice(site, "/topic", carol) == "This room has no topic."
        assert notice(site, "/topic  fish and   chips", maud) == "The topic is: fish and chips"
        assert notice(site, "/topic", carol) == "The topic is: fish and chips"
        assert notice(site, "/slow 30", maud).startswith("Everybody but moderators waits 30 s")
        assert site.get("/api/v1/rooms/lobby").json()["slow"] == 30
        assert notice(site, "/slow off", maud).startswith("Nobody waits")
        problem(site, run(site, "/slow", maud), 400)
        assert notice(site, "/lock", maud).startswith("Only moderators")
        answer = site.post("/api/v1/rooms/lobby/messages", {"text": "hi"}, token=carol)
        assert answer.status == 403
        assert notice(site, "/unlock", maud).startswith("Everybody speaks")
        for line in ("/topic mine", "/slow 5", "/lock", "/unlock", "/op carol"):
            problem(site, run(site, line, carol), 403, "not-allowed")

    def test_who_belongs(self, site: MemorySite) -> None:
        maud, carol = promote(site, "maud", Role.ADMIN), site.log_in("carol")
        assert notice(site, "/invite carol", maud) == "carol belongs to the room lobby now."
        assert notice(site, "/op carol", maud) == "carol moderates the room lobby now."
        assert notice(site, "/lock", carol).startswith("Only moderators")
        assert notice(site, "/deop carol", maud).startswith("carol does not moderate")
        problem(site, run(site, "/unlock", carol), 403)
        problem(site, run(site, "/invite nobody", maud), 404)

    def test_words_for_one_alone(self, site: MemorySite) -> None:
        maud, carol = promote(site, "maud"), site.log_in("carol")
        answer = run(site, "/msg carol psst, /there", maud).json()
        assert answer["room"].startswith("direct-")
        found = site.get(f"/api/v1/rooms/{answer['room']}/messages", token=carol).json()
        assert [each["text"] for each in found["messages"]] == ["psst, /there"]
        problem(site, run(site, "/msg carol", maud), 400)
        problem(site, run(site, "/msg nobody hi", maud), 404)
        problem(site, run(site, "/msg maud hi", carol), 403, "not-allowed")
        assert history(site) == []

    def test_ignoring(self, site: MemorySite) -> None:
        token = site.log_in("carol")
        site.say("hi", name="dan")
        assert notice(site, "/ignore dan", token) == "You neither hear nor see dan from now on."
        assert notice(site, "/ignore dan", token) == "You ignore dan already."
        assert notice(site, "/unignore dan", token) == "You hear and see dan again."
        problem(site, run(site, "/unignore dan", token), 404)
        problem(site, run(site, "/ignore carol", token), 400)

    def test_logout(self, site: MemorySite) -> None:
        token = site.log_in("carol")
        assert run(site, "/logout", token).json()["ended"] is True
        assert site.get("/api/v1/session", token=token).status == 401

    def test_purge_and_back(self, site: MemorySite) -> None:
        for number in range(3):
            site.say(f"spam {number}", name="a spammer")
        maud = promote(site, "maud")
        told = notice(site, "/purge @a spammer 5 all that spam", maud)
        assert "last 5 minutes that a spammer said" in told
        assert set(history(site)) == {"moderator"}
        assert notice(site, "/unpurge", maud).endswith("is back.")
        assert history(site)[0] == "spam 0"
        problem(site, run(site, "/unpurge", maud), 404)
        problem(site, run(site, "/purge bob 0", maud), 404)
        problem(site, run(site, "/purge @a spammer 0", maud), 400)

    def test_purge_of_guests(self, site: MemorySite) -> None:
        site.say("spam", name="raider")
        site.say("talk", name="guests")
        maud = promote(site, "maud")
        # Who is called that is somebody.
        assert "that guests said" in notice(site, "/purge @guests", maud)
        assert history(site) == ["spam", "moderator"]
        assert notice(site, "/unpurge", maud).endswith("is back.")
        refusal = run(site, "/purge guests", maud)
        problem(site, refusal, 400)
        assert "of how many minutes?" in refusal.text.lower()
        problem(site, run(site, "/purge guests 0", maud), 400)
        assert history(site) == ["spam", "talk"]
        told = notice(site, "/purge guests 10 a raid", maud)
        assert "All of the last 10 minutes that guests said in this room is gone" in told
        assert history(site) == ["moderator", "moderator"]
        assert notice(site, "/unpurge", maud).endswith("is back.")
        assert history(site) == ["spam", "talk"]

    def test_calm(self, site: MemorySite) -> None:
        maud, carol = promote(site, "maud"), site.log_in("carol")
        assert notice(site, "/calm", maud).startswith("Calm is off.")
        assert notice(site, "/calm Members", maud) == "Calm is members now, in all rooms."
        answer = site.post("/api/v1/rooms/lobby/messages", {"text": "hi"}, token=carol)
        assert answer.status == 403
        problem(site, run(site, "/calm down", maud), 400)
        problem(site, run(site, "/calm off", carol), 403, "not-allowed")

    def test_what_one_may_not(self, site: MemorySite) -> None:
        site.say("hi", name="dan")
        carol = site.log_in("carol")
        problem(site, run(site, "/purge dan", carol), 403, "not-allowed")
        assert history(site) == ["hi"]

    def test_in_a_room_that_is_not_there(self, site: MemorySite) -> None:
        token = site.log_in("carol")
        answer = site.post("/api/v1/rooms/nowhere/commands", {"line": "/help"}, token=token)
        problem(site, answer, 404, "room-not-found")

    def test_they_count_as_messages_do(self, make_site: MakeSite) -> None:
        site = make_site(limits=True)
        token = site.log_in("carol")
        found = [run(site, "/names", token).status for _ in range(25)]
        assert 429 in found


class TestByAStream:
    def test_a_socket(self, site: MemorySite) -> None:
        socket = Socket(site, token=site.log_in("carol"))
        socket.post({"type": "message", "text": "/help", "client_id": "k1"})
        socket.post({"type": "message", "text": "/foo", "client_id": "k2"})
        socket.post({"type": "message", "text": "//foo", "client_id": "k3"})
        (told,) = socket.of("notice")
        assert told["text"].startswith("/nick")
        assert told["client_id"] == "k1"
        (error,) = socket.of("error")
        assert (error["status"], error["client_id"]) == (400, "k2")
        assert error["detail"].startswith("there is no /foo")
        assert history(site) == ["/foo"]

    def test_duplex(self, site: MemorySite) -> None:
        duplex = Duplex(site, name="dan")
        duplex.say("/names")
        duplex.say("/foo")
        duplex.say("//foo")
        body = duplex.response.body
        assert b"* Here: dan.\n" in body
        assert b"! there is no /foo; /help lists them\n" in body
        assert history(site) == ["/foo"]

    @pytest.mark.parametrize("line", ["/nick other", "/join dev"])
    def test_stays_what_it_is(self, site: MemorySite, line: str) -> None:
        socket = Socket(site, token=site.log_in("carol"))
        socket.post({"type": "message", "text": line})
        (error,) = socket.of("error")
        assert error["status"] == 403

    def test_logout_ends_it(self, site: MemorySite) -> None:
        socket = Socket(site, token=site.log_in("carol"))
        socket.post({"type": "message", "text": "/logout"})
        assert [event["reason"] for event in socket.of("bye")] == ["logged out"]


class TestByAForm:
    """The pages without script, and the classic one."""

    FORMS = (("/rooms/lobby", "text"), ("/rooms/lobby/plain", "text"), ("/chat", "message"))

    def send(self, site: MemorySite, path: str, field: str, line: str) -> Any:
        entered = site.post("/api/v1/session", {"name": f"carol {len(line)}"})
        cookie = cookie_of(entered)
        page = site.get("/rooms/lobby/plain", headers=cookie).text
        token = page.partition('name="form_token" value="')[2].partition('"')[0]
        fields = {"form_token": token, field: line, "action": "post", "room": "lobby"}
        headers = {**cookie, **FORM, "Origin": "http://127.0.0.1:8080"}
        return site.request("POST", path, body=urlencode(fields).encode(), headers=headers)

    @pytest.mark.parametrize(("path", "field"), FORMS)
    def test_what_came_of_it_is_on_the_page(self, site: MemorySite, path: str, field: str) -> None:
        answer = self.send(site, path, field, "/names")
        assert answer.status == 200
        assert "Here: carol" in answer.text
        assert site.log.last_id == 0

    @pytest.mark.parametrize(("path", "field"), FORMS)
    def test_one_that_is_not_there_stays_in_the_box(
        self, site: MemorySite, path: str, field: str
    ) -> None:
        answer = self.send(site, path, field, "/foo bar")
        assert answer.status == 400
        assert "There is no /foo; /help lists them." in answer.text
        assert "/foo bar" in answer.text
        assert site.log.last_id == 0

    @pytest.mark.parametrize(("path", "field"), FORMS)
    def test_two_slashes_say_one(self, site: MemorySite, path: str, field: str) -> None:
        assert self.send(site, path, field, "//foo").status == 303
        assert history(site) == ["/foo"]

    @pytest.mark.parametrize(("path", "field"), FORMS)
    def test_they_lead_elsewhere(self, site: MemorySite, path: str, field: str) -> None:
        answer = self.send(site, path, field, "/join dev")
        assert answer.status == 303
        assert "dev" in (answer.header("location") or "")
        assert self.send(site, path, field, "/logout").status == 303


def test_each_has_a_help_that_is_a_part_of_a_sentence() -> None:
    for name, command in COMMANDS.items():
        assert name == command.name.lower()
        assert command.help[0].islower()
        assert not command.help.endswith(".")


def test_the_document_has_the_table() -> None:
    document = Path(__file__, "../../../docs/protocol.md").resolve().read_text()
    rows = [
        (cells[1].strip("` "), cells[3].strip())
        for line in document.splitlines()
        if line.startswith("| `/")
        for cells in [line.replace("\\|", "/").split("|")]
    ]
    assert rows == [(each.usage.replace("|", "/"), each.help) for each in COMMANDS.values()]


class TestSanctions:
    def test_a_silence_and_its_end(self, site: MemorySite) -> None:
        site.say("hi", name="dan")
        maud = promote(site, "maud")
        told = notice(site, "/silence dan 5 too loud", maud)
        assert told.startswith("dan is silenced everywhere until 20")
        assert site.chat.moderation.listed(None)[0].reason == "too loud"
        assert notice(site, "/bans", maud).endswith(", by maud: too loud")
        problem(site, run(site, "/unban dan", maud), 404)
        assert notice(site, "/unsilence dan", maud) == "dan is silenced no longer."
        assert notice(site, "/bans", maud).startswith("Nobody is")

    def test_a_kick_and_a_ban_here(self, site: MemorySite) -> None:
        site.say("hi", name="dan")
        maud = promote(site, "maud")
        assert "sent away in the room lobby until" in notice(site, "/kick dan here", maud)
        assert notice(site, "/ban dan", maud) == "dan is banned everywhere."
        problem(site, run(site, "/ban dan", maud), 409)
        assert notice(site, "/unban DAN", maud) == "dan is banned no longer."
        assert site.chat.moderation.listed(None) == []

    def test_of_the_network(self, site: MemorySite) -> None:
        site.log_in("dan", address="81.2.69.142")
        maud = promote(site, "maud")
        told = notice(site, "/ban dan network 60", maud)
        assert told.startswith("dan, and all of their network, is banned everywhere until")
        assert site.chat.moderation.listed(None)[0].identity == ""

    @pytest.mark.parametrize(
        ("line", "status"),
        [
            ("/silence", 400),
            ("/silence nobody", 404),
            ("/silence dan 0", 400),
            ("/silence dan 999999999", 400),
            ("/silence maud", 400),
            ("/unsilence dan", 404),
        ],
    )
    def test_that_makes_no_sense(self, site: MemorySite, line: str, status: int) -> None:
        site.say("hi", name="dan")
        maud = promote(site, "maud")
        assert run(site, line, maud).status == status
        assert site.chat.moderation.listed(None) == []

    @pytest.mark.parametrize("line", ["/silence dan", "/kick dan", "/ban dan", "/bans", "/unban x"])
    def test_of_who_may_not(self, site: MemorySite, line: str) -> None:
        site.say("hi", name="dan")
        problem(site, run(site, line, site.log_in("carol")), 403, "not-allowed")


@pytest.mark.parametrize("line", ["/silence bob 1000000000", "/kick bob 99999999999999999999"])
def test_a_number_that_is_too_large_is_called_so(site: MemorySite, line: str) -> None:
    site.log_in("bob")
    answer = site.post(COMMAND, {"line": line}, token=moderator(site))
    told = problem(site, answer, 400)
    assert "is too large" in told["detail"]


def test_a_refusal_reads_well(site: MemorySite) -> None:
    marta = moderator(site)
    told = problem(site, site.post(COMMAND, {"line": "/calm loud"}, token=marta), 400)
    assert told["detail"].endswith("speak).")
    bob = site.log_in("bob")
    told = problem(site, site.post(COMMAND, {"line": "/lock"}, token=bob), 403)
    assert told["detail"] == "You may not change the room lobby: that takes a moderator."
    told = problem(site, site.request("DELETE", "/api/v1/rooms/lobby", token=bob), 403)
    assert told["detail"] == "You may not remove the room lobby: that takes an admin."
    moderator(site, "otto")
    told = problem(site, site.post(COMMAND, {"line": "/ban otto"}, token=marta), 403, "not-below")
    assert (told["role"], told["needed"]) == ("moderator", "admin")
