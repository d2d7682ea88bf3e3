"""Threads that wait for a database.

What it is: `DaemonThreadPool`, whose threads keep no process alive that ends without closing what
they wait for, and `ReaderThreads`, which bounds what is under way.

What it may know: Twisted's pools of threads. Not what is run in them.

Invariant: whatever is asked for is answered in the reactor's thread, or refused at once.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cometd_chat.errors import ShuttingDown, StorageUnavailable

#: How many reads run at once.
READERS = 4

#: How many are under way: those that run, and those whose results the reactor has not taken. While
#: it is busy the threads would go on, and leave the results of all that wait in memory.
UNDER_WAY = 2 * READERS

#: Seconds after which one may try again when too many read.
_RETRY_BUSY = 1.0

T = TypeVar("T")


class _DaemonThread(Thread):
    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, daemon=True, **settings)


class DaemonThreadPool(ThreadPool):
    """A pool of threads that end with the process."""

    threadFactory = _DaemonThread


class ReaderThreads:
    """The threads that read.

    :param reactor: where the results go.
    :param max_waiting: how many reads may wait; past it they are refused at once.
    """

    def __init__(self, reactor: IReactorFromThreads, *, max_waiting: int) -> None:
        self._reactor = reactor
        self._max_waiting = max_waiting
        self._pool = DaemonThreadPool(0, READERS, name="comet-chat-readers")
        self._turns = DeferredSemaphore(UNDER_WAY)
        #: How many run, or wait to.
        self.reading = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._turns.waiting)

    def start(self) -> None:
        """Take reads from now on."""
        self._pool.start()

    def run(self, read: Callable[[], T], finish: Callable[[Any], Any]) -> Deferred[T]:
        """Run something in a thread. Cancelling the result does not stop that.

        :param finish: given what became of it, in the reactor's thread, whoever waits for it.
        :raises StorageUnavailable: too many reads wait.
        :raises ShuttingDown: this was closed.
        """
        if self._closed:
            return fail(ShuttingDown("The daemon is stopping. Try again in a moment."))
        if self.reading >= self._max_waiting:
            return fail(
                StorageUnavailable(
                    "Too many are reading the log. Try again in a moment.", retry_after=_RETRY_BUSY
                )
            )
        self.reading += 1
        reading: Deferred[T] = self._turns.run(deferToThreadPool, self._reactor, self._pool, read)
        # Whoever asked may leave and cancel what they wait for; the read runs on and counts until
        # it is done.
        shown: Deferred[T] = Deferred()
        counted: Deferred[T] = reading.addBoth(self._done).addBoth(finish)
        counted.chainDeferred(shown)
        return shown

    def _done(self, result: T | Failure) -> T | Failure:
        self.reading -= 1
        return result

    def close(self) -> None:
        """Take nothing more, and let no read wait for its turn: the threads end when they have done
        what they have."""
        self._closed = True
        waiting = self.waiting
        self._turns.limit += waiting
        for _ in range(waiting):
            self._turns.release()

    def join(self) -> None:
        """Wait until the threads are gone; in another one."""
        self._pool.stop()
