"""What the C library does with memory that nobody needs any more.

What it is: settings of glibc's allocator, and its giving back of what was let go.

What it may know: glibc, by its numbers (mallopt(3), malloc_trim(3)). This is the process's own
business, so only the daemon does it, never a part that others may embed.

Invariant: with any other C library nothing happens.
"""

from __future__ import annotations

import ctypes
from typing import Any

from twisted.internet.interfaces import IReactorTime

#: Numbers of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8

#: What is as large gets pages of its own, which go back when it does. By itself glibc raises that
#: up to 32 MiB as it meets large things, and a page of history that is gone stays a hole in a heap.
LARGE = 128 * 1024

#: Seconds after connections had to let go: they are over by then, and one look does for many.
SOON = 1.0


class Allocator:
    """The allocator of this process.

    :param clock: when to give back.
    :param library: the C library; by default the one that this process uses.
    """

    def __init__(self, clock: IReactorTime, library: Any = None) -> None:
        self._clock = clock
        self._library = _c_library() if library is None else library
        self._scheduled = False

    def begin(self) -> None:
        """Keep little; before there are threads. Each would have a heap of its own."""
        mallopt = getattr(self._library, "mallopt", None)
        if mallopt is not None:
            mallopt(_ARENA_MAX, 1)
            mallopt(_MMAP_THRESHOLD, LARGE)
            mallopt(_TRIM_THRESHOLD, LARGE)

    def give_back_soon(self) -> None:
        """Much was let go, and small things between may keep it from going back by itself."""
        if not self._scheduled and hasattr(self._library, "malloc_trim"):
            self._scheduled = True
            self._clock.callLater(SOON, self._give_back)

    def _give_back(self) -> None:
        self._scheduled = False
        self._library.malloc_trim(0)


def _c_library() -> Any:
    """The C library of this process; None where there is none to be had by that way."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # pragma: no cover - Windows
        return None
