"""Who waits until all is told here that was committed when they asked.

What it is: `CatchingUp`, all of those, and what they learn of each look at the log.

What it may know: a clock's seconds, ids. Not how the log is looked at, nor how it is told.

Invariant: nobody waits for longer than was said, and a look that began before they came says
nothing to them.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred


@attrs.define(eq=False)
class _Waiting:
    """One who waits.

    :param until: when that ends, by the reactor's clock.
    :param asked: a look began after it came.
    :param goal: how far the log went then.
    """

    until: float
    asked: bool = False
    goal: int | None = None
    answer: Deferred[None] = attrs.field(factory=Deferred)


class CatchingUp:
    """Who waits."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []

    def wait(self, until: float) -> Deferred[None]:
        """Wait from now, until some time by the reactor's clock; see `expire`."""
        waiting = _Waiting(until)
        self._waiting.append(waiting)
        return waiting.answer

    def look_begins(self) -> None:
        """How far the log goes is asked now."""
        for each in self._waiting:
            each.asked = True

    def look_ends(self, last: int) -> None:
        """And that is what it was, at least, when it was asked."""
        for each in self._waiting:
            if each.asked and each.goal is None:
                each.goal = last

    def settle(self, told: int, floor: int) -> None:
        """Answer those for whom all is told.

        :param told: the last id that was.
        :param floor: the id after which the newest epoch begins: below it nobody gets a cursor that
            other nodes would take for one of before.
        """
        done = [
            each
            for each in self._waiting
            if each.goal is not None and told >= max(each.goal, floor)
        ]
        for each in done:
            self._waiting.remove(each)
            each.answer.callback(None)

    def expire(self, now: float, refusal: Callable[[], Exception]) -> None:
        """Refuse those who have waited for as long as they were to."""
        for each in [each for each in self._waiting if each.until <= now]:
            self._waiting.remove(each)
            each.answer.errback(refusal())

    def refuse(self, error: Exception) -> None:
        """Refuse all of them."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.answer.errback(error)
