"""Plain counts of what the transports do.

What it is: numbers that the hot path adds to and that the metrics page reads; what is rare, and
tells of trouble, has a line in the log as well.

What it may know: nothing of how the numbers come about.

Invariant: counting costs an addition; whoever shows the numbers does the rest.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import attrs
from twisted.logger import Logger

from cometd_chat.errors import ChatError
from cometd_chat.transports.budget import MemoryBudget


@attrs.define
class TransportCounts:
    """What one transport has done since the start, and what it does now.

    :param held: requests that it holds now.
    :param delivered: events that it wrote; only kept ones, to compare with those appended.
    :param bytes_sent: bytes of body that it wrote.
    :param expired: requests whose time ran out.
    """

    held: int = 0
    delivered: int = 0
    bytes_sent: int = 0
    expired: int = 0


@attrs.frozen
class SlowReader:
    """Somebody whose stream was cut, since they took too little of it.

    :param behind: by how many bytes they were.
    :param name: who; empty for somebody who only reads, or where that is not known.
    :param rooms: what they read.
    """

    transport: str
    behind: int
    name: str
    rooms: Sequence[str]


#: So many of them are remembered, the last ones.
SLOW_READERS = 8


@attrs.define
class TransportStats:
    """What all transports have done since the start, and the bound that they share.

    :param refusals: how often a client was refused, by the slug of the error.
    """

    _log: ClassVar[Logger] = Logger()

    slow_readers_cut: int = 0
    slow_readers: deque[SlowReader] = attrs.field(factory=partial(deque, maxlen=SLOW_READERS))
    memory: MemoryBudget = attrs.field(factory=MemoryBudget)
    transports: dict[str, TransportCounts] = attrs.field(factory=dict)
    refusals: Counter[str] = attrs.field(factory=Counter)

    def transport(self, name: str) -> TransportCounts:
        """The counts of one transport."""
        return self.transports.setdefault(name, TransportCounts())

    def refused(self, error: ChatError) -> None:
        """A client was told of an error; or of what is none, as that a moderator looks at what they
        said before others do."""
        if error.status >= 400:
            self.refusals[error.slug] += 1

    def expire(self, name: str) -> None:
        """A request that a transport held has expired."""
        self.transport(name).expired += 1
        self._log.info("a held request expired: {transport}", transport=name)

    def cut_slow(self, reader: SlowReader) -> None:
        """A reader was cut."""
        self.slow_readers_cut += 1
        self.slow_readers.append(reader)
        self._log.info(
            "cut a slow reader: {transport}, {behind} bytes behind",
            transport=reader.transport,
            behind=reader.behind,
        )
