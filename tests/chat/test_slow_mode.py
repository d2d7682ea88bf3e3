"""Slow mode: who waits for how long, and what is kept of it."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from cometd_chat.chat.slow_mode import FORGET_EVERY, SlowMode
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import SlowModeOn
from cometd_chat.events.record import Record

LOBBY, DEV = "/chat/lobby", "/chat/dev"


class Slow:
    """Two rooms, one of them slow."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seconds = {LOBBY: 10.0}
        self.mode = SlowMode(Reaper(self.clock), lambda path: self.seconds.get(path, 0.0))

    def wait(self, path: str = LOBBY, who: str = "alice") -> float:
        """How long somebody has to wait, who says something if they need not."""
        try:
            self.mode.take(path, who)
        except SlowModeOn as error:
            return error.retry_after or -1
        return 0


@pytest.fixture
def slow() -> Slow:
    return Slow()


def test_who_spoke_waits_and_others_do_not(slow: Slow) -> None:
    assert slow.wait() == 0
    assert slow.wait() == 10
    assert slow.wait(who="bob") == 0
    slow.clock.advance(9)
    assert slow.wait() == 1
    slow.clock.advance(1)
    assert slow.wait() == 0


def test_a_room_that_is_not_slow_keeps_nothing(slow: Slow) -> None:
    for _ in range(3):
        assert slow.wait(DEV) == 0
    assert len(slow.mode) == 0
    assert slow.clock.getDelayedCalls() == []


def test_the_refusal_says_how_long_in_words(slow: Slow) -> None:
    slow.seconds[LOBBY] = 600
    slow.wait()
    slow.clock.advance(550.5)
    with pytest.raises(SlowModeOn, match="a message every 10 min: yours can be sent in 50 s"):
        slow.mode.take(LOBBY, "alice")


def test_what_was_not_said_does_not_count(slow: Slow) -> None:
    slow.mode.take(LOBBY, "alice")()
    assert slow.wait() == 0
    slow.clock.advance(10)
    # Back is what was before, too.
    slow.mode.take(LOBBY, "alice")()
    assert slow.wait() == 0
    assert slow.wait() == 10


def said(path: str, who: str, type: str = "message") -> Record:
    return Record(1, "e", path, type, who, who, {"text": "hi"}, None, None, 0)


def test_what_was_said_on_another_node_counts_once(slow: Slow) -> None:
    slow.mode.told([said(LOBBY, "alice"), said(DEV, "alice"), said(LOBBY, "bob", "delete")])
    assert slow.wait() == 10
    assert slow.wait(DEV) == 0
    assert slow.wait(who="bob") == 0
    slow.clock.advance(10)
    assert slow.wait() == 0
    slow.clock.advance(3)
    # It comes from the log as well, which takes a moment.
    slow.mode.told([said(LOBBY, "alice")])
    assert slow.wait() == 7


def test_a_room_that_is_slow_no_longer_lets_everybody_speak(slow: Slow) -> None:
    slow.wait()
    slow.seconds.clear()
    assert slow.wait() == 0


def test_who_may_speak_again_is_forgotten(slow: Slow) -> None:
    for number in range(2500):
        slow.mode.take(LOBBY, f"guest {number}")
    slow.clock.advance(5)
    slow.mode.take(LOBBY, "late")
    assert len(slow.mode) == 2501
    slow.clock.pump([1] * (int(FORGET_EVERY) + 5))
    assert len(slow.mode) == 0
    assert slow.clock.getDelayedCalls() == []


def test_who_may_not_yet_is_kept(slow: Slow) -> None:
    slow.seconds[LOBBY] = 3600
    slow.wait()
    slow.clock.pump([1] * 1800)
    assert slow.wait() == 1800
