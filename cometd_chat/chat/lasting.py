"""Time for what ends by itself, though the daemon is restarted in between.

What it is: `LastingClock`, which reads the system's clock once, at the start, and then counts.

What it may know: two clocks, and how far this installation had come before.

Invariant: it is never set back and never leaps, whatever becomes of the system's clock, so that a
time on the disk which is so many days ahead stays so many days ahead.
"""

from __future__ import annotations

from collections.abc import Callable

#: So many seconds count at most between the last time that is known from before and the start. A
#: clock that stands 400 days off would else end everything that is kept for a month.
MOST_AWAY = 7 * 86400.0


class LastingClock:
    """Seconds since 1970, as this installation counts them; days beside the system's, at times.

    :param wall_clock: seconds since 1970 by the system, which may be set.
    :param steady: seconds since some time, never set back.
    """

    def __init__(self, wall_clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._steady = steady
        # What is to be added to the steady clock's seconds.
        self._ahead = wall_clock() - steady()

    def start(self, known: float | None, now: float | None = None) -> None:
        """Begin to count.

        :param known: a time by this clock that had come before the start; None when there was none.
        :param now: what time it is, by a clock that others go by too; None for the system's.
        """
        begin = self._wall_clock() if now is None else now
        if known is not None:
            begin = max(known, min(begin, known + MOST_AWAY))
        self._ahead = begin - self._steady()

    def seconds(self) -> float:
        """What time it is."""
        return self._ahead + self._steady()

    def at(self, steady: float) -> float:
        """What time it was by this clock when it was so much by the steady one."""
        return self._ahead + steady
