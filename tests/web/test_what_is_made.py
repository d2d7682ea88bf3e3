"""What is made for one and kept for the next is bounded in bytes, not in pieces alone; and what is
made for each test is bounded in calls."""

from __future__ import annotations

from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.chat.shared_state import _PAGES_BYTES, PAGE_BYTES, size_of
from cometd_chat.gateways.bayeux_rooms import _MOST_MADE_BYTES, RoomSource
from tests.garbage import collect
from tests.growth import calls
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import Client


def say(site: MemorySite, count: int) -> None:
    token = site.log_in("alice")
    for number in range(count):
        answer = site.post(
            "/api/v1/rooms/lobby/messages", {"text": f"{number} ".ljust(8000, "x")}, token=token
        )
        assert answer.status == 201


def test_pages_of_the_tail(make_site: MakeSite) -> None:
    site = make_site()
    say(site, 100)
    for id in range(60):
        site.get(f"/api/v1/events/poll?wait=0&cursor={site.log.cursor(id)}")
    pages = site.chat.readers.shared._pages.values()
    kept = sum(size_of(event) for page, _ in pages if page is not None for event in page.events)
    assert 0 < kept <= _PAGES_BYTES + PAGE_BYTES


def test_messages_for_bayeux(make_site: MakeSite) -> None:
    servers: list[BayeuxServer] = []
    site = make_site(embed=servers.append)
    Client(site).joined("/chat/lobby")
    say(site, 600)
    (rooms,) = servers[0].channels.sources_of("/chat/lobby")
    assert isinstance(rooms, RoomSource)
    made = [each for each in rooms._made.values() if each is not None]
    assert 0 < sum(each.weight for each in made) <= _MOST_MADE_BYTES


def test_a_site() -> None:
    """Five thousand tests make one each: a hundred calls more are seconds of ``make check``."""

    def make() -> None:
        with MemorySite():
            pass

    make()
    # Neither is of the first, nor does garbage of other tests count.
    collect()
    assert min(calls(make) for _ in range(5)) < 1_600
