"""Long work, a slice at a time.

What it is: takes steps of an iterator, and lets others have their turn now and then.

What it may know: a clock, and how something is called after the reactor's current turn.

Invariant: no slice is longer than it should be, by more than the steps between two looks at the
clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IReactorTime

#: After so many seconds other work has its turn. Half of the time that somebody waits whose request
#: comes while thousands are told: 5 ms took twice as long at the median, for no CPU that could be
#: measured.
SLICE = 0.002

#: Looking at the clock costs as much as a small step, so it is done once for so many.
CLOCK_EVERY = 32

#: Calls something after the reactor's current turn.
CallSoon = Callable[[Callable[[], None]], object]

#: By so many seconds `call_before_slices` is ahead of them: by more than a slice can be late.
_AHEAD = 3600.0


def call_before_slices(clock: IReactorTime, function: Callable[[], None]) -> None:
    """Call something after the reactor's current turn, before any slice that is due then."""
    clock.callLater(0, function).delay(-_AHEAD)


class TimeSlice:
    """How much is done in one turn.

    :param seconds: the time.
    :param length: in seconds; by default `SLICE`.
    """

    def __init__(self, seconds: Callable[[], float], length: float | None = None) -> None:
        self._seconds = seconds
        self._length = length

    def end(self) -> float:
        """When a slice that begins now is over."""
        return self._seconds() + (SLICE if self._length is None else self._length)

    def take(
        self, steps: Iterator[object], every: int = CLOCK_EVERY, until: float | None = None
    ) -> bool:
        """Take steps of some work until they have taken a slice's time.

        :param every: so many steps are taken between two looks at the clock; 1 where each of them
            is many small ones.
        :param until: the end of the slice, where it began before; by default it begins now.
        :returns: whether that was all of them.
        """
        if until is None:
            until = self.end()
        for count, _ in enumerate(steps, 1):
            if count % every == 0 and self._seconds() >= until:
                return False
        return True


class Slices:
    """Walks through iterators.

    :param seconds: the time.
    """

    def __init__(self, seconds: Callable[[], float], call_soon: CallSoon) -> None:
        self._slice = TimeSlice(seconds)
        self._call_soon = call_soon

    def walk(
        self,
        steps: Iterator[object],
        done: Callable[[], None] = lambda: None,
        every: int = CLOCK_EVERY,
    ) -> None:
        """Take the steps of some work, the first slice of them at once.

        :param done: called after the last one.
        :param every: see `TimeSlice.take`.
        """
        if self._slice.take(steps, every):
            done()
        else:
            self._call_soon(lambda: self.walk(steps, done, every))
