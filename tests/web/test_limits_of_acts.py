"""What anybody can order has a limit, by their session and by where they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometd_chat.chat import limits
from cometd_chat.chat.limits import Limit
from tests.chat.parts import now
from tests.memory import MakeSite, MemorySite
from tests.web.people import INVITES, invitation, member, owner
from tests.web.refusals import problem
from tests.web.transports import Client

LOBBY = "/api/v1/rooms/lobby"
ATTIC = "/api/v1/rooms/attic"


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site(limits=True)


@pytest.fixture
def bob(site: MemorySite) -> str:
    """The token of a member, who has made a room."""
    bob = member(site, "bob", invitation(site, owner(site)))
    assert site.post("/api/v1/rooms", {"name": "attic"}, token=bob).status == 201
    site.log_in("eve", address="9.9.9.9")
    return bob


Act = Callable[[MemorySite, str, int], Any]


def put_and_drop(site: MemorySite, token: str, number: int) -> Any:
    method = "DELETE" if number % 2 else "PUT"
    return site.request(method, f"{ATTIC}/members/eve", token=token)


def sanction(site: MemorySite, token: str, number: int) -> Any:
    asked = {"kind": "silence", "who": "eve", "room": "attic"}
    return site.post("/api/v1/sanctions", asked, token=token)


def report(site: MemorySite, token: str, number: int) -> Any:
    return site.post(f"{LOBBY}/messages/1/report", {"reason": "r"}, token=token)


def ignore(site: MemorySite, token: str, number: int) -> Any:
    method = "DELETE" if number % 2 else "PUT"
    return site.request(method, "/api/v1/ignored/eve", token=token)


def change(site: MemorySite, token: str, number: int) -> Any:
    return site.request("PATCH", ATTIC, json={"slow": number + 1}, token=token)


ACTS: dict[str, tuple[Limit, Act]] = {
    "members": (limits.MEMBERS, put_and_drop),
    "invitations": (limits.INVITATIONS, lambda s, t, _: s.post(INVITES, {}, token=t)),
    "links": (
        limits.INVITATIONS,
        lambda s, t, _: s.post("/api/v1/session/link", {}, token=t),
    ),
    "exports": (limits.EXPORTS, lambda s, t, _: s.get("/api/v1/account/export", token=t)),
    "reports": (limits.REPORTS, report),
    "ignored": (limits.IGNORES, ignore),
    "changes of a room": (limits.MESSAGES, change),
    "purges": (
        limits.MODERATION,
        lambda s, t, _: s.post(f"{ATTIC}/purge", {"who": "eve"}, token=t),
    ),
    "sanctions": (limits.MODERATION, sanction),
    "direct, again": (
        limits.MESSAGES,
        lambda s, t, _: s.post("/api/v1/direct", {"with": ["eve"]}, token=t),
    ),
}


@pytest.mark.parametrize("what", ACTS)
def test_too_much_of_it(site: MemorySite, bob: str, what: str) -> None:
    limit, act = ACTS[what]
    assert limit.session is not None
    assert site.post(f"{LOBBY}/messages", {"text": "one"}, token=bob).status == 201
    site.advance(60)
    # All but ten, without the work.
    rest = max(0, int(limit.session.burst) - 10)
    who = now(site.chat.sessions.by_token(bob)).identity
    site.chat.limits.take(limit, rest, session=who)
    statuses = [act(site, bob, number).status for number in range(rest, int(limit.session.burst))]
    assert 429 not in statuses
    refused = problem(site, act(site, bob, 0), 429, "too-many")
    assert limit.what in refused["detail"]
    # In a while it goes on.
    site.advance(1 + 1 / limit.session.each_second)
    assert act(site, bob, 1).status != 429


def test_new_direct_conversations(site: MemorySite, bob: str) -> None:
    for number in range(11):
        site.log_in(f"guest{number}", address=f"9.9.9.{number}")
    asked = [{"with": [f"guest{number}"]} for number in range(11)]
    answers = [site.post("/api/v1/direct", each, token=bob) for each in asked]
    assert [each.status for each in answers] == [201] * 10 + [429]
    # Those that there are stay.
    assert site.post("/api/v1/direct", asked[0], token=bob).status == 200


def test_many_from_one_address(site: MemorySite, bob: str) -> None:
    """Other sessions of theirs have what the address has left."""
    assert limits.REPORTS.session is not None
    assert limits.REPORTS.address is not None
    sessions = int(limits.REPORTS.address.burst / limits.REPORTS.session.burst)
    assert site.post(f"{LOBBY}/messages", {"text": "one"}, token=bob).status == 201
    for number in range(sessions):
        token = site.log_in(f"raider{number}", address="8.8.8.8")
        for _ in range(int(limits.REPORTS.session.burst)):
            answer = site.post(
                f"{LOBBY}/messages/1/report", {"reason": "r"}, token=token, address="8.8.8.8"
            )
            assert answer.status == 201
    token = site.log_in("raider", address="8.8.8.8")
    answer = site.post(
        f"{LOBBY}/messages/1/report", {"reason": "r"}, token=token, address="8.8.8.8"
    )
    assert "address" in problem(site, answer, 429, "too-many")["detail"]
    assert report(site, bob, 0).status == 201


def test_who_knocks_too_often_waits_and_is_not_told_of(site: MemorySite) -> None:
    ada = owner(site)
    policy = site.request("PATCH", "/api/v1/policies", json={"guests": "approve"}, token=ada)
    assert policy.status == 200
    stream = Client(site, "stream", token=ada, cursor=site.now)
    for number in range(15):
        site.log_in(f"guest{number}", address="8.8.8.8")
    site.log_in("other", address="9.9.9.9")
    assert [each["from"] for each in stream.of("knock")] == [
        *(f"guest{number}" for number in range(10)),
        "other",
    ]
    waiting = site.get("/api/v1/waiting", token=ada).json()["waiting"]
    assert len(waiting) == 16
