"""Tuning of Python's cyclic garbage collector.

What it is: its thresholds for a process that holds thousands of connections, and the freezing of
what is there at the start. The collector is for cycles of references alone: all else is freed at
once, when nothing refers to it any more. What a connection leaves is, and the cycles that errors
make are few.

What it may know: `gc`. This is the process's own business, so only the daemon does it, never a part
that others may embed.

Invariant: when the daemon has stopped, all is as it was before it started.
"""

from __future__ import annotations

import gc

from twisted.application.service import Service

#: After so many more objects than were freed the youngest are looked at; after so many of those
#: looks, those that survived one; after so many of theirs, all there are. Python's own numbers,
#: 700, 10 and 10, are for programs that hold little. With a thousand polls each round of answers is
#: a reason to look, in vain, which took 10 to 20 % of the CPU; and a look at 200,000 objects keeps
#: everybody waiting for 0.1 s.
THRESHOLDS = (20_000, 20, 10)


class GcTuning(Service):
    """The cyclic garbage collector tuned for as long as the daemon runs: it collects rarely, and
    never again looks at what has been there since the start, such as modules and routes."""

    name = "gc tuning"

    def __init__(self) -> None:
        self._before = gc.get_threshold()

    def startService(self) -> None:
        super().startService()
        self._before = gc.get_threshold()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)

    def stopService(self) -> None:
        super().stopService()
        gc.set_threshold(*self._before)
        gc.unfreeze()
