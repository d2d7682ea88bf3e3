"""A reactor whose time is never set back.

What it is: `make_steady`. Twisted's reactors count by the system's clock, so that all that waits in
one waits as much longer as that is set back (Twisted's ticket 2424), and comes at once when it is
set forward.

What it may know: Twisted's reactors, some of their private names; guarded by
``tests/test_steady.py``.

Invariant: what waits already still waits as long as it would have.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import ReactorBase


def make_steady(reactor: Any) -> None:
    """Let a reactor count from now by CLOCK_MONOTONIC. It stays so: others may rely on it by then.

    A clock of a test, which is no reactor of Twisted's, has a time of its own and keeps it.
    """
    if not isinstance(reactor, ReactorBase) or reactor.seconds is time.monotonic:
        return
    waiting = reactor.getDelayedCalls()
    ahead = time.monotonic() - reactor.seconds()
    reactor.seconds = time.monotonic
    for call in waiting:
        # All by the same, so that they stay in their order.
        call.time += ahead  # type: ignore[attr-defined]
        call.seconds = time.monotonic  # type: ignore[attr-defined]
