"""Thousands lose a right at once: their streams end a few at a time, and nobody hears more."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cometd_chat.chat.rights import Affected
from cometd_chat.chat.roles import Role
from cometd_chat.events import kinds
from tests.memory import MakeSite, MemorySite
from tests.web.test_fan_out import MANY, WORK, BusyClock, move, next_call
from tests.web.test_policies import appointed
from tests.web.transports import Client

#: Where readers come from, and where who acts on them does.
RAIDERS, HERE = "11.7.7.{}", "192.0.2.9"


def shut_out_the_public(site: MemorySite) -> None:
    changes = {"public_reading": False}
    Deferred.fromCoroutine(site.chat.policies.set(changes, who="", who_name="shell"))


def streams(site: MemorySite, room: str = "lobby") -> list[Client]:
    return [
        Client(site, "stream", rooms=room, address=RAIDERS.format(1 + number % 200))
        for number in range(MANY)
    ]


def ended(clients: list[Client], reason: bytes) -> int:
    return sum(reason in client.response.body for client in clients)


def let_go(site: MemorySite, clients: list[Client], reason: bytes) -> list[int]:
    """Let one turn after the other go by until all have ended; how many had by each."""
    counts = [ended(clients, reason)]
    while counts[-1] < len(clients):
        next_call(site)
        move(site)
        counts.append(ended(clients, reason))
    return counts


def test_the_public_is_shut_out_a_few_at_a_time_and_hears_nothing_more(
    make_site: MakeSite,
) -> None:
    clock = BusyClock()
    site = make_site(clock=clock)
    clients, other = streams(site), site.connect(HERE)
    clock.work = WORK
    with site.standing_still():
        shut_out_the_public(site)
        move(site)
        assert ended(clients, b'"bye"') < MANY / 10
        healthy = other.request("GET", "/healthz")
        # Said while most of them are there yet.
        site.fill(1, text="not for them")
        counts = let_go(site, clients, b'"bye"')
        assert healthy.text == "alive\n"
    clock.work = 0.0
    site.turn()
    assert max(after - before for before, after in pairwise(counts)) < MANY / 10
    assert ended(clients, b"not for them") == 0
    assert all(client.response.body.count(b'"bye"') == 1 for client in clients)
    assert site.engine.still_hears is None


def test_so_do_those_of_a_room_that_is_removed(make_site: MakeSite) -> None:
    clock = BusyClock()
    site = make_site(clock=clock)
    admin = appointed(site, Role.ADMIN)
    site.post("/api/v1/rooms", {"name": "den"}, token=admin)
    clients, hand = streams(site, "den"), site.connect(HERE)
    clock.work = WORK
    with site.standing_still():
        removed = hand.request("DELETE", "/api/v1/rooms/den", token=admin)
        move(site)
        counts = let_go(site, clients, b"removed")
    clock.work = 0.0
    site.turn()
    assert removed.status == 204
    assert max(after - before for before, after in pairwise(counts)) < MANY / 10
    # Nothing is kept of a room of which nobody reads anything.
    assert site.engine.context("/chat/den") is None


def test_many_changes_at_once_are_one_more_look(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a moderator bans the networks of a raid, one after the other."""
    clock = BusyClock()
    site = make_site(clock=clock)
    clients, rights, looks = streams(site), site.chat.rights, 0
    may = rights.may

    def counted(*asked: Any) -> Any:
        nonlocal looks
        looks += 1
        return may(*asked)

    monkeypatch.setattr(rights, "may", counted)
    clock.work = WORK
    with site.standing_still():
        for _ in range(50):
            rights.changed_by_state(Affected(comes_from=lambda address: True))
        while site.engine.still_hears is not None:
            next_call(site)
    assert len(clients) <= looks <= 2 * len(clients) + 1
    assert ended(clients, b'"bye"') == 0


def test_nobody_who_waits_for_a_look_is_told_anything_alone(make_site: MakeSite) -> None:
    clock = BusyClock()
    site = make_site(clock=clock)
    clients = streams(site)
    token = site.log_in("ann")
    ann = Client(site, "stream", token=token)
    (session,) = [each for each in site.chat.sessions.all_in_use() if each.name == "ann"]
    clock.work = WORK
    with site.standing_still():
        shut_out_the_public(site)
        changes = {"guests": "off"}
        Deferred.fromCoroutine(site.chat.policies.set(changes, who="", who_name="shell"))
        site.chat.notices.tell_person(session.identity, kinds.knock("eve", 0))
        let_go(site, [*clients, ann], b'"bye"')
    assert b"eve" not in ann.response.body
