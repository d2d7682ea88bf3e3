"""A bound on everything that connections make this process hold.

What it is: the sum of what is held for each of them, by kind, and the letting go of the furthest
behind when it grows too large.

What it may know: holders, as things that can be measured and shed. Not what they hold.

Invariant: what is held for all connections together stays under the limit, and those for whom most
is held pay for it.
"""

from __future__ import annotations

from typing import Literal, Protocol

from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.tombstones import TombstoneList
from cometd_chat.errors import MemoryShort

#: Bytes, where nothing else is said.
LIMIT = 256 * 1024 * 1024

#: What is held: what the readers of held responses have not taken; what those of complete answers
#: have not taken; requests that are half here, are being handled or wait behind another; the queues
#: of Bayeux sessions; what is said and waits to be durable; what other nodes have not taken.
Kind = Literal["streams", "answers", "requests", "bayeux", "posts", "links"]
KINDS: tuple[Kind, ...] = ("streams", "answers", "requests", "bayeux", "posts", "links")

#: Seconds after which whoever was refused may come again.
_RETRY = 5


class Holder(Protocol):
    """Something that holds memory for one connection, or for one session."""

    def measure(self) -> int:
        """How many bytes it holds; also told by `MemoryBudget.account`."""

    def shed(self, size: int) -> None:
        """Let go of them, and of whoever they are held for.

        :param size: what was measured.
        """

    @property
    def over(self) -> bool:
        """Whether it has ended, and is counted no longer."""


def memory_short() -> MemoryShort:
    """The error for somebody whose request is refused for want of memory."""
    return MemoryShort(
        "The daemon holds as much for its clients as it may: try again in a moment.",
        retry_after=_RETRY,
    )


class _Streams(TombstoneList[Holder]):
    """The streams, which stay; one that is over is marked by that."""

    __slots__ = ()

    def there(self) -> list[Holder]:
        """Those that are counted."""
        # One that was over and is there again is here twice.
        return [each for each in dict.fromkeys(self.items) if not each.over]


class MemoryBudget:
    """The bound.

    :param limit: in bytes.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        #: Told when some had to let go.
        self.relieved: Listeners[[]] = Listeners("memory that was let go")
        #: In bytes.
        self.limit = limit
        #: When more is held than this, it is time to look. The limit, unless that is passed and
        #: nobody is left who could be shed.
        self.trigger = limit
        #: At most so many bytes are held: what was written since the last look counts wholly.
        self.held = 0
        # Of these, what is no stream's. Streams are counted by an addition to `held` alone.
        self._others = dict.fromkeys(KINDS, 0)
        self._streams = _Streams()
        # All others mostly come and go, a channel with each request that goes the slow way, and
        # they are large: in that list as many that are over would lie as there are streams.
        self._passing: dict[Holder, None] = {}
        self._relieving = False
        #: How many holders had to let go.
        self.shed = 0

    def of(self, kind: Kind) -> int:
        """How many bytes of a kind are held, at most."""
        return self._others[kind] if kind != "streams" else self.held - sum(self._others.values())

    def add(self, holder: Holder, kind: Kind = "streams") -> None:
        """Count a holder from now."""
        if kind == "streams":
            self._streams.items.append(holder)
        else:
            self._passing[holder] = None

    def remove(self, holder: Holder, size: int, kind: Kind = "streams") -> None:
        """Count a holder no longer, which is over and counted for so many bytes."""
        self.account(-size, kind)
        if kind == "streams":
            self._streams.forget_one()
        else:
            self._passing.pop(holder, None)

    def account(self, change: int, kind: Kind = "streams") -> None:
        """So many bytes more, or fewer, are held. May shed any holder, who asks included."""
        self.held += change
        if kind != "streams":
            self._others[kind] += change
        if self.held > self.trigger:
            self.relieve()
        elif change < 0 and self.held <= self.limit:
            self.trigger = self.limit

    def require(self, size: int) -> None:
        """See that there is room for something that can't be shed once it is there.

        :raises MemoryShort: there is none, and nobody is left to make it.
        """
        if self.held + size > self.limit:
            self.relieve()
        if self.held + size > self.limit:
            raise memory_short()

    def relieve(self) -> None:
        """Measure all, and shed those for whom most is held until there is some room again."""
        if self._relieving:
            return
        self._relieving, before = True, self.shed
        try:
            measured = sorted(
                (
                    (holder.measure(), index, holder)
                    for index, holder in enumerate([*self._streams.items, *self._passing])
                    if not holder.over
                ),
                reverse=True,
            )
            for size, _, holder in measured:
                if self.held <= self.limit * 3 // 4:
                    break
                if not holder.over:
                    self.shed += 1
                    holder.shed(size)
        finally:
            self._relieving = False
            # Looking at all in vain at each write would be worse than being over.
            self.trigger = max(self.limit, self.held + self.limit // 8)
        if self.shed > before:
            self.relieved.tell()
