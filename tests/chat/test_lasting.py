"""A clock that outlives the daemon and is not set with the system's."""

from __future__ import annotations

import pytest

from cometd_chat.chat.lasting import MOST_AWAY, LastingClock

DAY = 86400.0
NOW = 1_795_288_980.0


class Clocks:
    """The system's clock, and one that is never set."""

    def __init__(self) -> None:
        self.wall, self.steady = NOW, 17.0
        self.lasting = self.start(None)

    def start(self, known: float | None) -> LastingClock:
        self.lasting = LastingClock(lambda: self.wall, lambda: self.steady)
        self.lasting.start(known)
        return self.lasting

    def go_on(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_it_begins_with_the_system_s(clocks: Clocks) -> None:
    assert clocks.lasting.seconds() == NOW
    clocks.go_on(100)
    assert clocks.lasting.seconds() == NOW + 100


@pytest.mark.parametrize("days", [400, -400])
def test_it_is_not_set_with_it(clocks: Clocks, days: int) -> None:
    clocks.wall += days * DAY
    assert clocks.lasting.seconds() == NOW
    clocks.go_on(100)
    assert clocks.lasting.seconds() == NOW + 100


@pytest.mark.parametrize(
    ("away", "counted"),
    [
        (0, 0),
        (DAY, DAY),
        (MOST_AWAY, MOST_AWAY),
        (MOST_AWAY + 1, MOST_AWAY),
        (400 * DAY, MOST_AWAY),
        (-1, 0),
        (-400 * DAY, 0),
    ],
)
def test_over_a_restart_it_goes_on(clocks: Clocks, away: float, counted: float) -> None:
    clocks.wall += away
    clocks.steady = 3.0
    lasting = clocks.start(known=NOW)
    assert lasting.seconds() == NOW + counted
    clocks.go_on(10)
    assert lasting.seconds() == NOW + counted + 10
