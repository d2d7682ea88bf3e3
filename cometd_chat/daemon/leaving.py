"""How a process ends: at once.

What it is: `leave_all_at_exit`.

What it may know: `gc`, `atexit`. This is the process's own business, so only programs do it, never
a part that others may embed.

Invariant: whatever Python does at the end of a process it does, but for looking at each object.
"""

from __future__ import annotations

import atexit
import gc


def leave_all_at_exit() -> None:
    """Leave what is in memory to the system when this process ends.

    Python takes apart what goes in circles, which is nearly all that was imported: half a second of
    CPU in which a worker has stopped and is still there. What has to be closed is by then, since
    all parts of a daemon have stopped. Exit handlers, threads and what stdout still has are waited
    for as ever.
    """
    # Handlers run in the reverse of their order, so that this one comes after all others.
    atexit.register(gc.freeze)
