"""How work grows with what it is done to, on a machine that may be busy.

What it is: the ratio of the CPU time of large work to that of small work, and how many calls some
work makes.

What it may know: the clock of this thread's CPU, and Python's hook for profilers.

Invariant: what other programs do meanwhile does not count, and what the machine costs once (a cold
cache, a look for garbage) is left out by taking the least of several runs.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

#: Runs of which the quickest counts.
_RUNS = 5


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time that some work takes at least."""
    spent = []
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(_RUNS):
            before = time.thread_time()
            work()
            spent.append(time.thread_time() - before)
    finally:
        if enabled:
            gc.enable()
    return min(spent)


def growth(small: Callable[[], object], large: Callable[[], object]) -> float:
    """How many times the CPU time of the small work the large one takes.

    Ten times the work that grows evenly takes about 10 times as long; with its square, 100 times.
    Choose the small one so that it takes a millisecond or more.
    """
    return cpu_seconds(large) / cpu_seconds(small)


def calls(work: Callable[[], object]) -> int:
    """How many calls of Python's functions some work makes."""
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count
