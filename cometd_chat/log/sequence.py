"""From records that come in any order to the one order of the log.

What it is: `Sequence`, which takes what a process learns of a log that others append to as well:
its own appends, bells of others, what it read. It hands out the records in order, each one once.

What it may know: ids. No SQL, no clock, no I/O.

Invariant: what was handed out is all that is in the log from where it began to `told`; whatever
came twice, late, out of order, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

import attrs

#: How many records are kept that came too early. What is more is read again in its turn.
MOST_EARLY = 5000


class Numbered(Protocol):
    """Something that has a place in the log."""

    @property
    def id(self) -> int:
        """Its place: 1 for the first one, each next one is one more."""


Item = TypeVar("Item", bound=Numbered)


@attrs.frozen
class Missing:
    """Records that are in the log and did not come: those with ``after < id < before``."""

    after: int
    before: int


class Sequence(Generic[Item]):
    """The contiguous beginning of what was taken.

    :param told: the id up to which everything has been handed out already.
    :param most_early: how many records to keep that can't be handed out yet.
    """

    def __init__(self, told: int, *, most_early: int = MOST_EARLY) -> None:
        #: Id of the newest record that was handed out.
        self.told = told
        #: How far the log goes, as far as is known here.
        self.known = told
        self._most_early = most_early
        self._early: dict[int, Item] = {}

    @property
    def lag(self) -> int:
        """How many records are known to be in the log and were not handed out."""
        return self.known - self.told

    def note(self, id: int) -> None:
        """The log goes as far as this, at least."""
        self.known = max(self.known, id)

    def take(self, items: Iterable[Item], *, whole_below: int = 0) -> list[Item]:
        """Take records, which must be committed, in any order.

        :param whole_below: of the ids below this one no others than have been taken by now are in
            the log, nor will be: there was nothing between, as after a backup was restored.
        :returns: those that may be told now, in the order of their ids.
        """
        early, told, known = self._early, self.told, self.known
        for item in items:
            id = item.id
            if id > told:
                early[id] = item
                if id > known:
                    known = id
        self.known = known
        ready = []
        following = self.told + 1
        if following < whole_below:
            ready = [early.pop(id) for id in sorted(early) if id < whole_below]
            following = whole_below
            self.note(whole_below - 1)
        while early and (found := early.pop(following, None)) is not None:
            ready.append(found)
            following += 1
        self.told = following - 1
        if len(early) > self._most_early:
            self._let_go()
        return ready

    def missing(self) -> Missing | None:
        """The oldest records that are known to be in the log and have not come."""
        if self.known == self.told:
            return None
        return Missing(self.told, min(self._early, default=self.known + 1))

    def forget(self) -> None:
        """Only what was told counts: what is known beyond may be of a log that was put back."""
        self.known = self.told
        self._early.clear()

    def skip(self, id: int) -> None:
        """Begin after another id."""
        self.told = id
        self.forget()

    def _let_go(self) -> None:
        """Let the newest go: they come last, and are known to be there."""
        for id in sorted(self._early)[self._most_early :]:
            del self._early[id]
