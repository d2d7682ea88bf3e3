"""A bound on what all held streams together may be behind.

What it is: the sum of what each stream's reader has not taken, and the cutting of the furthest
behind when it grows too large.

What it may know: streams, as things that can be measured and cut. Not what they carry.

Invariant: what all readers have not taken stays under the limit, and the slowest pay for it.
"""

from __future__ import annotations

from typing import Protocol

#: Bytes that all readers together may be behind, kernel buffers included.
LIMIT = 256 * 1024 * 1024

#: So many that are over may stay in the list, however few others there are.
_KEEP_OVER = 8


class Behind(Protocol):
    """Something that a reader can be behind of."""

    def measure(self) -> int:
        """How many bytes its reader is behind; also told by `Ceiling.account`."""

    def cut_slow(self, behind: int) -> None:
        """Drop it."""

    @property
    def over(self) -> bool:
        """Whether it has ended, and is counted no longer."""


class Ceiling:
    """The bound.

    :param limit: in bytes.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        #: In bytes.
        self.limit = limit
        # A list costs a fifth of what a dict does for each; those that are over leave it when they
        # are as many as the others.
        self._streams: list[Behind] = []
        self._over = 0
        self._relieving = False
        #: At most so many bytes are behind: what was written since the last look counts wholly.
        self.behind = 0

    def add(self, stream: Behind) -> None:
        """Count a stream from now."""
        self._streams.append(stream)

    def remove(self, stream: Behind, behind: int) -> None:
        """Count a stream no longer, which is over and counted for so many bytes."""
        self.behind -= behind
        self._over += 1
        if self._over * 2 > len(self._streams) + _KEEP_OVER:
            self._streams = [each for each in self._streams if not each.over]
            self._over = 0

    def account(self, change: int) -> None:
        """So many bytes more, or fewer, are behind."""
        self.behind += change
        if self.behind > self.limit:
            self.relieve()

    def relieve(self) -> None:
        """Measure all, and cut the slowest until there is some room again."""
        if self._relieving:
            return
        self._relieving = True
        try:
            measured = sorted(
                (
                    (stream.measure(), index, stream)
                    for index, stream in enumerate(self._streams)
                    if not stream.over
                ),
                reverse=True,
            )
            for behind, _, stream in measured:
                if self.behind <= self.limit * 3 // 4:
                    break
                stream.cut_slow(behind)
        finally:
            self._relieving = False
