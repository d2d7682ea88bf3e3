"""How far a run has come, and how long it will take.

What it is: `Progress`, which knows the cases of a run with about how long each takes, and says with
every line how much of that is left.

What it may know: a clock, where to print.

Invariant: what is left goes by the pace of the cases that are over: a busy machine is believed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

#: How far the pace that is found may be from the expected one and still be believed.
SLOWEST = 10.0


class Progress:
    """Of one run.

    :param expected: the seconds that each case takes about, in order.
    :param clock: seconds of a clock that is never set back.
    :param out: where lines go; by default stderr.
    """

    def __init__(
        self,
        expected: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
        out: TextIO | None = None,
    ) -> None:
        self._expected = dict(expected)
        self._clock = clock
        self._out = out or sys.stderr
        self._began = clock()
        #: Seconds that cases took which are over.
        self._took: dict[str, float] = {}
        self._case = ""
        self._since = self._began

    def begin(self, case: str) -> None:
        """A case begins."""
        self._case, self._since = case, self._clock()

    def end(self) -> float:
        """The case is over, with figures or without; the seconds that it took."""
        took = self._clock() - self._since
        self._took[self._case] = took
        self._case = ""
        return took

    def left(self) -> float:
        """Seconds that are left, about."""
        expected = {case: self._expected.get(case, 0.0) for case in self._took}
        pace = sum(self._took.values()) / sum(expected.values()) if any(expected.values()) else 1.0
        pace = min(pace, SLOWEST)
        left = sum(
            pace * seconds
            for case, seconds in self._expected.items()
            if case not in self._took and case != self._case
        )
        if self._case:
            spent = self._clock() - self._since
            left += max(0.0, pace * self._expected.get(self._case, 0.0) - spent)
        return left

    def say(self, text: str) -> None:
        """A line, with the time, which case this is, how long it all took and how long it will."""
        where = ""
        if self._case:
            number = len(self._took) + 1
            spent = self._clock() - self._began
            where = f" [{number} of {len(self._expected)}, {minutes(spent)} min"
            where += f", about {minutes(self.left())} to go]"
        print(f"{time.strftime('%H:%M:%S')}{where} {text}", file=self._out, flush=True)


def minutes(seconds: float) -> str:
    """Minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"
