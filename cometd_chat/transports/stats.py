"""Plain counts of what the doors do.

What it is: numbers that the hot path adds to and that the metrics page reads; what is rare, and
tells of trouble, has a line in the log as well.

What it may know: nothing of how the numbers come about.

Invariant: counting costs an addition; whoever shows the numbers does the rest.
"""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import attrs
from twisted.logger import Logger

from cometd_chat.errors import ChatError
from cometd_chat.transports.budget import MemoryBudget


@attrs.define
class DoorCounts:
    """What one door has done since the start, and what it does now.

    :param held: requests that it holds now.
    :param delivered: events that it wrote; only kept ones, to compare with those appended.
    :param bytes_sent: bytes of body that it wrote.
    :param expired: requests whose time ran out.
    """

    held: int = 0
    delivered: int = 0
    bytes_sent: int = 0
    expired: int = 0


@attrs.define
class Ledger:
    """What all doors have done since the start, and the bound that they share.

    :param refusals: how often a client was refused, by the slug of the error.
    """

    _log: ClassVar[Logger] = Logger()

    slow_readers_cut: int = 0
    memory: MemoryBudget = attrs.field(factory=MemoryBudget)
    doors: dict[str, DoorCounts] = attrs.field(factory=dict)
    refusals: Counter[str] = attrs.field(factory=Counter)

    def door(self, name: str) -> DoorCounts:
        """The counts of one door."""
        return self.doors.setdefault(name, DoorCounts())

    def refused(self, error: ChatError) -> None:
        """A client was told of an error."""
        self.refusals[error.slug] += 1

    def expire(self, name: str) -> None:
        """A request that a door held has expired."""
        self.door(name).expired += 1
        self._log.info("a held request expired: {door}", door=name)

    def cut_slow(self, name: str, behind: int) -> None:
        """A reader of a door was cut, which was so many bytes behind."""
        self.slow_readers_cut += 1
        self._log.info("cut a slow reader: {door}, {behind} bytes behind", door=name, behind=behind)
