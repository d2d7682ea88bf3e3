"""Threads that wait for a database.

What it is: `DaemonThreadPool`, whose threads keep no process alive that ends without closing what
they wait for.

What it may know: Twisted's pools of threads.

Invariant: none.
"""

from __future__ import annotations

from threading import Thread
from typing import Any

from twisted.python.threadpool import ThreadPool


class _DaemonThread(Thread):
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, daemon=True, **settings)


class DaemonThreadPool(ThreadPool):
    """A pool of threads that end with the process."""

    threadFactory = _DaemonThread
