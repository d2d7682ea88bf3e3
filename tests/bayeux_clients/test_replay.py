"""The client library of Salesforce's streaming, ``aiosfstream-ng``, in a room: it goes on where it
went away."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.talk import Running, log_in, say
from tests.support import Daemon

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("salesforce.py")

#: Options of the library: what is new, and all that there is.
NEW, ALL = -1, -2


class InboundPoster:
    """A room, somebody who speaks there, and the replay markers of who visits it.

    :param visitors: the program that they are.
    """

    def __init__(self, daemon: Daemon, room: str, visitors: Running) -> None:
        self.markers: dict[str, Any] = {}
        self._visitors = visitors
        self._daemon = daemon
        self._room = room
        self._bob = log_in(daemon.port, f"bob-in-{room}")
        self._visits = 0

    def say(self, *texts: str) -> None:
        for text in texts:
            assert say(self._daemon.port, self._bob, text, room=self._room).status == 201

    def hear(
        self,
        expected: Sequence[str],
        *,
        replay: int | None = None,
        fallback: int | None = None,
    ) -> None:
        """Somebody who has not been here subscribes, the last text is said, and that was all."""
        told = self._visit(len(expected), replay, fallback, expected[-1])
        assert told[:-1] == [{"subscribed": True}, *expected]
        self.markers = told[-1]

    def _visit(
        self, count: int, replay: int | None, fallback: int | None, now: str | None
    ) -> list[Any]:
        """What a visitor tells.

        :param now: is said once it has subscribed.
        """
        self._visits += 1
        wanted = {
            # aiohttp keeps no cookies of an address.
            "url": f"http://localhost:{self._daemon.port}",
            "token": log_in(self._daemon.port, f"visitor-{self._visits}-of-{self._room}"),
            "channel": f"/chat/{self._room}",
            "count": count,
            "replay": replay,
            "fallback": fallback,
            "markers": self.markers,
        }
        self._visitors.output = b""
        self._visitors.write(json.dumps(wanted))
        self._visitors.until("\n")
        if now is not None:
            self.say(now)
        told = self._visitors.until("\n\n")
        return [json.loads(line) for line in told.splitlines() if line]

    def refused(self) -> str:
        """Why somebody with the markers is not let in."""
        (told,) = self._visit(0, None, None, None)
        error: str = told["error"]
        return error


@pytest.fixture(scope="module")
def visitors() -> Iterator[Running]:
    """Started once: to import the library takes longer than to visit."""
    with Running(sys.executable, str(PROGRAM), keyboard=True) as program:
        yield program


@pytest.fixture
def talk(daemon: Daemon, room: str, visitors: Running) -> InboundPoster:
    return InboundPoster(daemon, room, visitors)


def test_new_events_only(talk: InboundPoster) -> None:
    talk.say("one", "two")
    talk.hear(["three"], replay=NEW)


def test_all_events(talk: InboundPoster) -> None:
    talk.say("one", "two")
    talk.hear(["one", "two", "three"], replay=ALL)


def test_it_goes_on_where_it_went_away(talk: InboundPoster) -> None:
    talk.say("before")
    talk.hear(["one"])
    talk.say("two", "three")
    talk.hear(["two", "three", "four"])
    talk.hear(["five"])


def test_an_id_that_is_not_ours_is_refused_or_falls_back(talk: InboundPoster) -> None:
    talk.say("one")
    talk.hear(["two"])
    ((channel, (date, _)),) = talk.markers.items()
    talk.markers = {channel: [date, 10**9]}
    assert talk.refused().startswith("400:No message has that replay id")
    talk.hear(["one", "two", "three"], fallback=ALL)
