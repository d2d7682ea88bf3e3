"""Plain counts of what the doors do.

What it is: numbers that the hot path adds to and that the metrics page reads.

What it may know: nothing of how the numbers come about.

Invariant: counting costs an addition; whoever shows the numbers does the rest.
"""

from __future__ import annotations

from collections import Counter

import attrs

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
