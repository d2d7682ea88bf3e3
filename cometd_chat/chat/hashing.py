"""Threads that hash passwords: few of them, and a queue that has an end.

What it is: `Hashing`, where work is done that the reactor can't wait for, and `HashingThreads`,
which does it in threads of its own.

What it may know: Twisted's pools of threads, addresses. Not what is hashed.

Invariant: nothing is hashed in the reactor's thread; what waits is bounded, in all and for each
address, and what is refused has cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore, fail, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from cometd_chat.addresses import limit_key
from cometd_chat.chat.refusals import stopping
from cometd_chat.errors import TooBusy, TooMany
from cometd_chat.log.threads import DaemonThreadPool

#: How many run at once: each takes a processor, and 19 MiB.
THREADS = 2

#: How many may be under way, those that run among them: a second or two of work.
MOST = 64

#: So many of them of one address, so that whoever guesses leaves a place for others.
MOST_OF_ADDRESS = 16

#: Seconds after which the queue is shorter.
_RETRY_AFTER = 2.0

T = TypeVar("T")


class Hashing(Protocol):
    """Where what takes long is done."""

    def run(self, work: Callable[[], T], address: str = "") -> Deferred[T]:
        """Do something that blocks; the answer comes in the reactor's thread.

        Cancelling the result does not stop that.

        :param address: for whom; empty where that isn't known.
        :raises TooBusy: too much waits already.
        :raises TooMany: too much of that address does.
        :raises ShuttingDown: this was closed.
        """


class HashingThreads:
    """A `Hashing` in threads of its own, which begin when they are needed.

    :param reactor: where the results go.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._pool = DaemonThreadPool(0, THREADS, name="comet-chat-hashing")
        self._turns = DeferredSemaphore(THREADS)
        self._under_way: Counter[str] = Counter()
        self._closed = False

    def start(self) -> None:
        """Take work from now on."""
        self._pool.start()

    def run(self, work: Callable[[], T], address: str = "") -> Deferred[T]:
        """See `Hashing.run`."""
        key = limit_key(address)
        if self._closed:
            return fail(stopping())
        if self._under_way.total() >= MOST:
            return fail(
                TooBusy(
                    "Too many log in at this moment. Try again in a few seconds.",
                    retry_after=_RETRY_AFTER,
                )
            )
        if key and self._under_way[key] >= MOST_OF_ADDRESS:
            return fail(
                TooMany(
                    "Too many passwords from your address at once. Try again in a few seconds.",
                    retry_after=_RETRY_AFTER,
                )
            )
        self._under_way[key] += 1
        working: Deferred[T] = self._turns.run(self._begin, work)
        # Whoever asked may leave and cancel what they wait for; the work counts until it is done.
        shown: Deferred[T] = Deferred()
        working.addBoth(self._done, key)
        working.chainDeferred(shown)
        return shown

    def _begin(self, work: Callable[[], T]) -> Deferred[T]:
        if self._closed:
            return fail(stopping())
        return deferToThreadPool(self._reactor, self._pool, work)

    def _done(self, result: T | Failure, key: str) -> T | Failure:
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
        return result

    def close(self) -> Deferred[Any]:
        """Take nothing more; what waits is refused, and what runs is waited for."""
        self._closed = True
        turns = gatherResults([self._turns.acquire() for _ in range(THREADS)])
        return turns.addCallback(lambda _: self._pool.stop())
