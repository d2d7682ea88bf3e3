"""The API of policies and of who waits; and what a policy ends at once, on every transport."""

from __future__ import annotations

from typing import Any

import pytest

from cometd_chat.chat.policies import POLICIES
from cometd_chat.chat.roles import Role
from cometd_chat.events.lines import CALM
from tests.chat.parts import appoint, now
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import Client as BayeuxClient
from tests.web.refusals import problem
from tests.web.talkers import Duplex, Socket
from tests.web.transports import POLLS, STREAMS, Client

POLICIES_PATH = "/api/v1/policies"


def appointed(site: MemorySite, role: Role, name: str = "") -> str:
    """The token of somebody with a role."""
    token = site.log_in(name or f"one-{role.word}s")
    appoint(site.chat.changes, now(site.chat.sessions.by_token(token)), role)
    return token


def patch(site: MemorySite, token: str, **values: object) -> Any:
    return site.request("PATCH", POLICIES_PATH, json=values, token=token)


def test_who_may_not_is_told_which_role_it_takes(site: MemorySite) -> None:
    bob, marta = site.log_in("bob"), appointed(site, Role.MODERATOR)
    for token, values, needed in (
        (bob, {"title": "mine"}, "admin"),
        (bob, {"calm": "slow"}, "moderator"),
        (bob, {}, "moderator"),
        (bob, {"nothing": 1}, "moderator"),
        (marta, {"calm": "slow", "guests": "off"}, "admin"),
    ):
        told = problem(site, patch(site, token, **values), 403, "not-allowed")
        assert told["needed"] == needed, values
        assert ("change policies" in told["detail"]) is (needed == "admin")


def test_what_is_shown_and_changed(site: MemorySite) -> None:
    token = appointed(site, Role.ADMIN)
    shown = site.get(POLICIES_PATH, token=token).json()
    assert shown == {**{name: each.default for name, each in POLICIES.items()}, "pinned": {}}
    answer = patch(site, token, title="The Circle", calm="slow")
    assert answer.status == 200
    assert answer.json() == {**shown, "title": "The Circle", "calm": "slow"}
    assert site.get(POLICIES_PATH, token=token).json() == answer.json()


def test_an_option_pins_one(make_site: MakeSite) -> None:
    site = make_site(public_reading=False, title="Ours")
    token = appointed(site, Role.OWNER)
    shown = site.get(POLICIES_PATH, token=token).json()
    assert (shown["title"], shown["public_reading"]) == ("Ours", False)
    assert shown["pinned"] == {"public_reading": "--public-reading", "title": "--title"}
    told = problem(site, patch(site, token, public_reading=True), 409, "pinned")
    assert told["option"] == "--public-reading"
    assert told["policy"] == "public_reading"
    assert "--public-reading" in told["detail"]


@pytest.mark.parametrize("role", [Role.GUEST, Role.MEMBER])
def test_for_whom_it_is_not(site: MemorySite, role: Role) -> None:
    token = appointed(site, role)
    for response in (site.get(POLICIES_PATH, token=token), patch(site, token, calm="off")):
        assert problem(site, response, 403, "not-allowed")["needed"] == "moderator"
    problem(site, site.get(POLICIES_PATH), 401, "no-session")


def test_bad_input(site: MemorySite) -> None:
    token = appointed(site, Role.OWNER)
    for name, value in (("guests", "nobody"), ("colour", "blue"), ("title", None)):
        told = problem(site, patch(site, token, **{name: value}), 400, "invalid-request")
        assert told["errors"][0]["field"] == name
    problem(
        site, site.request("PATCH", POLICIES_PATH, json=[1], token=token), 400, "invalid-request"
    )
    assert patch(site, token).status == 200


@pytest.mark.parametrize("transport", [*STREAMS, *POLLS])
def test_guests_off_ends_what_guests_hold(site: MemorySite, transport: str) -> None:
    admin, member = appointed(site, Role.ADMIN), appointed(site, Role.MEMBER)
    readers = [
        Client(site, transport, token=token, cursor=site.now)
        for token in (site.log_in("bob"), member)
    ]
    for reader in readers:
        reader.go_on()
    guest, member_reads = readers
    patch(site, admin, guests="off")
    assert guest.response.complete
    assert b"guests-off" in guest.response.body
    assert not member_reads.response.complete
    problem(site, site.post("/api/v1/session", {"name": "carol"}), 403, "guests-off")


def test_and_what_they_speak_through(site: MemorySite) -> None:
    token = site.log_in("bob")
    socket, duplex = Socket(site, token=token), Duplex(site, token=token)
    patch(site, appointed(site, Role.ADMIN), guests="off")
    assert socket.closed_by() == (4000, "guests-off")
    assert duplex.response.complete


def test_who_only_reads_goes_on(site: MemorySite) -> None:
    anybody = Client(site, "stream", cursor=site.now)
    patch(site, appointed(site, Role.ADMIN), guests="off")
    assert not anybody.response.complete


def test_without_public_reading_who_only_reads_does_not(site: MemorySite) -> None:
    anybody = Client(site, "stream", cursor=site.now)
    patch(site, appointed(site, Role.ADMIN), public_reading=False)
    assert anybody.response.complete


@pytest.mark.parametrize(
    "patterns", [["/chat/lobby"], ["/chat/**"], ["/chat/lobby", "/chat/*", "/members/lobby"]]
)
def test_bayeux_hears_how_calm_it_is_once_for_each_room(
    site: MemorySite, patterns: list[str]
) -> None:
    guest = BayeuxClient(site, name="bob").joined(*patterns)
    moderator = appointed(site, Role.MODERATOR)
    patch(site, moderator, calm="members")
    site.request("PATCH", "/api/v1/rooms/lobby", json={"topic": "hush"}, token=moderator)
    told = [each for each in guest.delivered if each["data"].get("type") in ("calm", "room")]
    assert [each["channel"] for each in told] == ["/chat/lobby"] * 2
    assert told[0]["data"] == {"type": "calm", "room": "lobby", "calm": "members"}
    assert told[1]["data"]["changed"] == ["topic"]


@pytest.mark.parametrize("channel", ["/chat/lobby", "/chat/**", "/members/lobby", "/members/*"])
def test_nor_do_they_read_on_in_bayeux(site: MemorySite, channel: str) -> None:
    guest = BayeuxClient(site, name="bob").joined(channel)
    member, other = appointed(site, Role.MEMBER), appointed(site, Role.MEMBER, "carol")
    patch(site, appointed(site, Role.ADMIN), guests="off")
    before = len(guest.delivered)
    site.post("/api/v1/rooms/lobby/messages", {"text": "hi"}, token=member)
    site.get("/api/v1/rooms/lobby/people", token=other)
    assert guest.delivered[before:] == []
    # It has been sent away.
    assert guest.subscribe(channel)["error"].startswith("402:")


def test_the_title_and_the_welcome_are_on_the_pages_from_the_next_one_on(site: MemorySite) -> None:
    token = appointed(site, Role.ADMIN)
    html = {"Accept": "text/html"}
    paths = ["/rooms/lobby", "/rooms/lobby/plain", "/chat"]
    before = [site.get(path, headers=html, token=None).text for path in paths]
    assert patch(site, token, title="The <Den>", welcome="Be <kind>.\nAll of you.").status == 200
    for path, text in zip(paths, before, strict=True):
        shown = site.get(path, headers=html, token=None).text
        assert "Comet Chat</title>" in text, path
        assert "The &lt;Den&gt;</title>" in shown, path
        assert "Be &lt;kind&gt;.<br>" in shown, path
    patch(site, token, public_reading=False)
    log_in = site.get("/", headers=html, token=None).text
    assert '<h1 dir="auto">The &lt;Den&gt;</h1>' in log_in
    assert "Be &lt;kind&gt;.<br>" in log_in
    here = site.get("/rooms/lobby", token=token, headers=html).text
    assert '<b class="house" dir="auto">The &lt;Den&gt;</b>' in here
    assert "Be &lt;kind&gt;." in here
    problem = site.get("/rooms/nil", token=token, headers=html)
    assert (problem.status, "The &lt;Den&gt;</title>" in problem.text) == (404, True)


def test_the_classic_page_welcomes_who_comes_in_and_not_who_goes_on(site: MemorySite) -> None:
    admin = appointed(site, Role.ADMIN)
    patch(site, admin, welcome="Be kind.")
    first = Client(site, "openchat")
    assert first.response.body.count(b"Be kind.") == 1
    again = Client(site, "openchat", cursor=site.now)
    assert b"Be kind." not in again.response.body


@pytest.mark.parametrize(
    ("calm", "words"),
    [
        ("slow", "It is slow here: a message every 10 s."),
        ("members", "For now only members speak, and guests read."),
        ("closed", "For now only moderators speak."),
    ],
)
def test_the_composer_says_how_calm_it_is(site: MemorySite, calm: str, words: str) -> None:
    moderator, bob = appointed(site, Role.MODERATOR), site.log_in("bob")
    html = {"Accept": "text/html"}
    paths = ["/rooms/lobby", "/rooms/lobby/plain", "/chat?action=form&room=lobby"]
    text = Client(site, "text")
    for now_calm in (calm, "off"):
        patch(site, moderator, calm=now_calm)
        for path in paths:
            shown = site.get(path, token=bob, headers=html).text
            assert (words in shown) == (now_calm == calm), path
        assert site.get("/api/v1/rooms").json()["calm"] == now_calm
    told = [line for line in text.response.body.decode().splitlines() if line[2:] in CALM.values()]
    assert told == [f"* {CALM[each]}" for each in (calm, "off")]
