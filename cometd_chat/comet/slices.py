"""Long work, a slice at a time.

What it is: walks through an iterator, and lets others have their turn now and then.

What it may know: a clock, and how something is called after the reactor's current turn.

Invariant: no slice is longer than `SLICE` and one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

#: After so many seconds other work has its turn.
SLICE = 0.005

#: Looking at the clock costs as much as a small step, so it is done once for so many.
_CLOCK_EVERY = 32

#: Calls something after the reactor's current turn.
CallSoon = Callable[[Callable[[], None]], object]


class Slices:
    """Walks through iterators.

    :param seconds: the time.
    """

    def __init__(self, seconds: Callable[[], float], call_soon: CallSoon) -> None:
        self._seconds = seconds
        self._call_soon = call_soon

    def walk(self, steps: Iterator[object], done: Callable[[], None] = lambda: None) -> None:
        """Take the steps of some work, the first slice of them at once.

        :param done: called after the last one.
        """
        until = self._seconds() + SLICE
        for count, _ in enumerate(steps, 1):
            if count % _CLOCK_EVERY == 0 and self._seconds() >= until:
                self._call_soon(lambda: self.walk(steps, done))
                return
        done()
