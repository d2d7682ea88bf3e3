"""How often Python looks for garbage in circles.

What it is: settings of the interpreter's collector for a process that holds thousands of
connections. All else is freed at once, when nothing refers to it any more; what a connection leaves
is, and the circles that errors make are few.

What it may know: `gc`. This is the process's own business, so only the daemon does it, never a part
that others may embed.

Invariant: when the daemon has stopped, all is as it was before it started.
"""

from __future__ import annotations

import gc

#: After so many more objects than were freed the youngest are looked at; after so many of those
#: looks, those that survived one; after so many of theirs, all there are. Python's own numbers,
#: 700, 10 and 10, are for programs that hold little. With a thousand polls each round of answers is
#: a reason to look, in vain, which took 10 to 20 % of the CPU; and a look at 200,000 objects keeps
#: everybody waiting for 0.1 s.
THRESHOLDS = (20_000, 20, 10)


class GcTuning:
    """Sets the collector, and sets it back."""

    def __init__(self) -> None:
        self._before = gc.get_threshold()

    def begin(self) -> None:
        """Look rarely, and never again at what has been there since the start: modules, routes."""
        self._before = gc.get_threshold()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)

    def end(self) -> None:
        """As before."""
        gc.set_threshold(*self._before)
        gc.unfreeze()
