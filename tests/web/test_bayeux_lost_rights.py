"""Many Bayeux clients end, or lose a room, at once: a few at a time, and nobody hears more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from twisted.internet.defer import Deferred

from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.chat.lost_rights import LOOK_EVERY
from cometd_chat.chat.rights import Affected
from cometd_chat.chat.roles import Role
from cometd_chat.comet import Delivery
from cometd_chat.events import kinds
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import Client
from tests.web.test_fan_out import WORK, BusyClock, move, next_call
from tests.web.test_policies import appointed

MANY = 10 * LOOK_EVERY

NOT_FOR_THEM = "not for them"


class Hall:
    """A site with many Bayeux clients, whose clock shows work from `busy` on."""

    def __init__(self, make_site: MakeSite) -> None:
        servers: list[BayeuxServer] = []
        self.clock = BusyClock()
        self.site: MemorySite = make_site(
            clock=self.clock, embed=servers.append, bayeux_channels=("/app/**",)
        )
        (self.server,) = servers

    def clients(self, *patterns: str) -> list[Client]:
        """So many, who have subscribed to these."""
        clients = [Client(self.site, start=False) for _ in range(MANY)]
        for client in clients:
            client.handshake()
            client.joined(*patterns)
        return clients

    def queued(self, clients: list[Client]) -> bytes:
        """What waits for those who are there yet."""
        there = [each for each in map(self.server.client, (c.id for c in clients)) if each]
        return b"".join(queued.json for each in there for queued in each.queue._waiting)

    def turns(self, count: Callable[[], int], until: int) -> Iterator[int]:
        """Let one turn after the other go by; how many there are before each."""
        yield count()
        while count() != until:
            next_call(self.site)
            move(self.site)
            yield count()


@pytest.fixture
def hall(make_site: MakeSite) -> Hall:
    return Hall(make_site)


def a_few_at_a_time(counts: list[int]) -> bool:
    return max(before - after for before, after in pairwise(counts)) <= LOOK_EVERY


def shut_out_guests(site: MemorySite) -> None:
    changes = {"guests": "off"}
    Deferred.fromCoroutine(site.chat.policies.set(changes, who="", who_name="shell"))


def test_guests_are_shut_out_a_few_at_a_time_and_hear_nothing_more(hall: Hall) -> None:
    site, server = hall.site, hall.server
    clients = hall.clients("/chat/*", "/members/*", "/app/news")
    sessions = [each for each in site.chat.sessions.all_in_use() if each.readers]
    hall.clock.work = WORK
    with site.standing_still():
        shut_out_guests(site)
        assert len(server.clients) == MANY - LOOK_EVERY
        # Whoever is to be told something is looked at first, whatever it is.
        site.chat.notices.tell_person(sessions[-1].identity, kinds.knock("eve", 0))
        assert len(server.clients) == MANY - LOOK_EVERY - 1
        counts = list(hall.turns(lambda: len(server.clients), 0))
    assert a_few_at_a_time(counts)
    hall.clock.work = 0.0
    site.turn()
    assert server.registry.still_hears is None
    assert clients[-1].ask("/app/news", data=1)["error"].startswith("402:")


@pytest.mark.parametrize("by", ["a room", "its people", "a free channel"])
def test_nobody_is_told_what_comes_before_their_turn(hall: Hall, by: str) -> None:
    site, server = hall.site, hall.server
    # By wildcards nobody is seen to leave, which would have to be told first.
    clients = hall.clients("/chat/*", "/members/*", "/app/news")
    hall.clock.work = WORK
    with site.standing_still():
        shut_out_guests(site)
        assert len(server.clients) > MANY / 2
        if by == "a room":
            site.fill(1, text=NOT_FOR_THEM)
        elif by == "its people":
            site.engine.deliver([Delivery("/chat/lobby", kinds.join("lobby", NOT_FOR_THEM, 0))])
        else:
            server.publish("/app/news", NOT_FOR_THEM)
        for _ in hall.turns(lambda: len(server.clients), 0):
            assert NOT_FOR_THEM.encode() not in hall.queued(clients)


def test_who_may_read_a_room_no_longer_goes_on_in_others(hall: Hall) -> None:
    site = hall.site
    admin = appointed(site, Role.ADMIN)
    site.post("/api/v1/rooms", {"name": "den"}, token=admin)
    clients, hand = hall.clients("/chat/den", "/members/den", "/chat/lobby"), site.connect()

    def reading() -> int:
        return sum("/chat/den" in each.subscriptions for each in hall.server.clients.values())

    hall.clock.work = WORK
    with site.standing_still():
        hand.request("PATCH", "/api/v1/rooms/den", json={"kind": "private"}, token=admin)
        move(site)
        assert reading() == MANY - LOOK_EVERY
        site.fill(1, "den", text=NOT_FOR_THEM)
        assert NOT_FOR_THEM.encode() not in hall.queued(clients)
        counts = list(hall.turns(reading, 0))
    hall.clock.work = 0.0
    site.turn()
    assert a_few_at_a_time(counts)
    assert len(hall.server.clients) == MANY
    site.fill(1, text="for them")
    assert hall.queued(clients).count(b"for them") == MANY


def test_nobody_speaks_who_waits_for_their_turn(hall: Hall) -> None:
    clients = hall.clients("/app/news")
    hall.clock.work = WORK
    with hall.site.standing_still():
        shut_out_guests(hall.site)
        last = clients[-1].post(clients[-1].full({"channel": "/app/news", "data": "spam"}))
        for _ in hall.turns(lambda: len(hall.server.clients), 0):
            assert b"spam" not in hall.queued(clients)
    hall.clock.work = 0.0
    hall.site.turn()
    (reply,) = [each for each in last.json() if each["channel"] == "/app/news"]
    assert not reply["successful"]


def test_many_changes_at_once_are_one_more_look(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients, rights = hall.clients("/chat/lobby"), hall.site.chat.rights
    looks, may = 0, rights.may

    def counted(*asked: object, **named: object) -> object:
        nonlocal looks
        looks += 1
        return may(*asked, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(rights, "may", counted)
    hall.clock.work = WORK
    with hall.site.standing_still():
        for _ in range(20):
            rights.changed_by_state(Affected(comes_from=lambda address: True))
        while hall.server.registry.still_hears is not None:
            next_call(hall.site)
    # Whether they may be here, and whether they may read.
    assert 2 * len(clients) <= looks <= 4 * len(clients) + 2
    assert len(hall.server.clients) == MANY


def test_all_are_sent_away_a_few_at_a_time(hall: Hall) -> None:
    hall.clients("/chat/lobby")
    hall.clock.work = WORK
    with hall.site.standing_still():
        hall.site.chat.readers.send_away(3.0)
        counts = list(hall.turns(lambda: len(hall.server.clients), 0))
    assert counts[0] >= MANY - LOOK_EVERY
    assert a_few_at_a_time(counts)


def test_and_before_anything_else_where_the_log_was_put_back(hall: Hall) -> None:
    hall.clients("/chat/lobby")
    hall.clock.work = WORK
    with hall.site.standing_still():
        hall.site.chat.leave_history()
        assert not hall.server.clients


def test_a_stop_answers_a_few_at_a_time(hall: Hall) -> None:
    hall.clients("/chat/lobby")
    over: list[object] = []
    hall.clock.work = WORK
    with hall.site.standing_still():
        hall.server.stop().addCallback(over.append)
        counts = list(hall.turns(lambda: len(hall.server.clients), 0))
    assert counts[0] == MANY - LOOK_EVERY
    assert a_few_at_a_time(counts)
    assert over == [None]
