"""A second gateway beside Bayeux: what one wants to hear of, it does not take from another."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, succeed

from tests.chat.parts import now
from tests.memory import MakeSite, MemorySite
from tests.web.bayeux import Client


class Gateway:
    """The chat in another protocol, as far as it hears what happens."""

    def __init__(self, site: MemorySite) -> None:
        self.freed: list[str] = []
        self.forgotten: list[str] = []
        self.waited = 0
        self.parted: Deferred[None] = Deferred()
        chat = site.chat
        chat.sessions.freed.add(lambda session: self.freed.append(session.name))
        chat.sessions.forgotten.add(lambda session: self.forgotten.append(session.name))
        chat.messages.append_waited.add(self._wait)
        chat.call_at_stop(lambda: self.parted)

    def _wait(self, seconds: float) -> None:
        self.waited += 1


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    return make_site(guest_timeout=900, limits=True)


def test_both_hear_of_names_that_are_free(site: MemorySite) -> None:
    one, two = Gateway(site), Gateway(site)
    alice = now(site.chat.sessions.by_token(site.log_in("alice")))
    site.chat.arrive(alice, site.chat.rooms.find("lobby", None), "")
    site.advance(1000)
    assert one.freed == two.freed == one.forgotten == two.forgotten == ["alice"]
    # The chat itself hears as before: she is nowhere, and counts at no address.
    assert site.chat.presence.people("lobby") == []


def test_both_hear_of_appends_and_so_does_the_daemon(site: MemorySite) -> None:
    one, two = Gateway(site), Gateway(site)
    site.say("hi")
    assert (one.waited, two.waited) == (1, 1)
    assert "comet_chat_append_seconds_count 1.0" in site.metrics


def test_a_stop_parts_all_and_waits_for_all(site: MemorySite) -> None:
    one, two = Gateway(site), Gateway(site)
    alice = Client(site, name="alice").joined("/chat/lobby")
    steps = ["told"]
    site.chat.stop().addCallback(lambda _: steps.append("stopped"))
    site.turn()
    for gateway in (one, two):
        steps.append("parted")
        gateway.parted.callback(None)
    assert steps == ["told", "parted", "parted", "stopped"]
    # Bayeux was there first, and was told as well.
    alice.pump()
    assert alice.connects


def test_one_that_can_not_part_holds_nobody_up(site: MemorySite) -> None:
    def fail() -> Deferred[None]:
        raise RuntimeError("it is not there")

    site.chat.call_at_stop(fail)
    later = Gateway(site)
    later.parted = succeed(None)
    stopping = site.chat.stop()
    site.turn()
    assert stopping.called
    (failure,) = site.take_failures()
    assert str(failure["log_failure"].value) == "it is not there"
