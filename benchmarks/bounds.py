"""Nothing takes for ever: bounds in time on what is measured.

What it is: `within`, a block that is left by an exception when it takes too long.

What it may know: the one alarm of a process (setitimer(2)).

Invariant: of bounds within each other the one that ends first is the one that counts; what waits in
a system call is woken up. Only the main thread may use it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.processes import BenchmarkFailed


class OutOfTime(BenchmarkFailed):
    """A case took longer than it may."""


@contextmanager
def within(seconds: float, error: Exception) -> Iterator[None]:
    """Let the block take so many seconds.

    :param error: what is raised in it when they are over.
    """
    outer, _ = signal.getitimer(signal.ITIMER_REAL)
    if outer and outer <= seconds:
        yield
        return

    def over(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, over)
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:
            left = outer - (time.monotonic() - began)
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))
