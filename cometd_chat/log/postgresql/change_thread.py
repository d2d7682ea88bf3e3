"""Changes of what is kept beside the log, by one thread.

What it is: `ChangeThread`. What waits by the time a commit is over shares the next one.

What it may know: transactions, and control records that are told with them. Not what is changed.

Invariant: a change is made and told, or neither; and changes are made in the order in which they
were asked for. When the connection is lost while a commit is under way, what was changed is changed
again: that is for the changes to be fit for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, TypeVar

import attrs
import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from cometd_chat.errors import ShuttingDown, StorageUnavailable
from cometd_chat.log.control import Control, control_draft
from cometd_chat.log.postgresql.attempts import (
    MOST_RETRY,
    PATIENCE,
    RETRY,
    Attempt,
    Deadlines,
    cause,
    is_trouble,
)
from cometd_chat.log.postgresql.changes import append_in
from cometd_chat.log.writer import RETRY_BUSY, RETRY_FAILED

#: How many changes share one commit at most.
_MOST_TOGETHER = 100

#: Where a connection has what is to be told at the end of its transaction.
_TOLD = "comet-chat-told"

T = TypeVar("T")


def tell_in(connection: Connection, controls: Sequence[Control]) -> None:
    """Let all nodes be told, in the order of the log, once the transaction is committed."""
    connection.info[_TOLD].extend(controls)


def transact(connection: Connection, changes: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    """Make changes in one transaction, with what is told of them."""
    told: list[Control] = []
    connection.info[_TOLD] = told
    with connection.begin():
        results = [change(connection) for change in changes]
        if told:
            # At the end, for nobody else can append until this is committed.
            append_in(connection, [control_draft(each) for each in told])
    return results


def not_changed() -> StorageUnavailable:
    """For whoever waits in vain."""
    return StorageUnavailable(
        "Nothing can be stored just now. Try again in a moment.", retry_after=RETRY_FAILED
    )


@attrs.frozen(eq=False)
class _Job:
    change: Callable[[Connection], Any]
    attempt: Attempt


class ChangeThread:
    """One thread that makes changes. All methods are called in the reactor's thread.

    :param engine: gives its connection.
    :param reactor: where the results go.
    :param deadlines: who waits for how long.
    :param max_waiting: how many changes may wait; past it they are refused at once.
    :param at_exit: called at the end of the thread, in it, and may block.
    """

    _log = Logger()

    def __init__(
        self,
        engine: Engine,
        reactor: Any,
        deadlines: Deadlines,
        *,
        max_waiting: int,
        at_exit: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._reactor = reactor
        self._deadlines = deadlines
        self._max_waiting = max_waiting
        self._at_exit = at_exit
        self._waiting = 0
        self._failing = False
        self._stopped: Deferred[None] | None = None
        self._hurry = Event()
        self._hurrying: IDelayedCall | None = None
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # It belongs to the thread.
        self._connection: Connection | None = None
        self._thread = Thread(target=self._run, name="comet-chat-changes", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        """See `Store.write`."""
        if self._stopped is not None:
            return fail(
                ShuttingDown("The daemon is stopping. Send it again in a moment.", retry_after=2)
            )
        if self._waiting >= self._max_waiting:
            return fail(
                StorageUnavailable(
                    "More is being changed than can be stored. Try again in a moment.",
                    retry_after=RETRY_BUSY,
                )
            )
        self._waiting += 1
        job = _Job(change, self._deadlines.begin(not_changed))
        self._jobs.put(job)
        return job.attempt.answer

    def stop(self) -> Deferred[None]:
        """Take nothing more; fires when all that was taken is answered and the thread is gone."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._jobs.put(None)
            # Whoever waits is answered by then, and the daemon must end.
            self._hurrying = self._reactor.callLater(PATIENCE, self._hurry.set)
        return self._stopped

    # In the thread from here on.

    def _run(self) -> None:
        stopping = False
        try:
            while not stopping:
                batch, stopping = self._next_batch()
                self._make(batch)
            self._drop()
            self._at_exit()
        finally:
            self._reactor.callFromThread(self._finish)

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """Wait for a job; with it comes what is waiting by then. True at the end of all jobs."""
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == _MOST_TOGETHER:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _make(self, batch: Sequence[_Job]) -> None:
        """Make changes, however often that is tried, as long as somebody waits for them."""
        left = list(batch)
        delay = RETRY
        try:
            while left := [job for job in left if not job.attempt.over]:
                try:
                    self._try(left)
                except (SQLAlchemyError, psycopg.Error) as error:
                    self._drop()
                    self._reactor.callFromThread(self._note_failing, cause(error))
                    if self._hurry.wait(delay):
                        return
                    delay = min(2 * delay, MOST_RETRY)
        finally:
            self._reactor.callFromThread(self._forget, batch)

    def _try(self, left: list[_Job]) -> None:
        """Make changes; those that were answered leave the list.

        :raises SQLAlchemyError, psycopg.Error: the database is out of reach.
        """
        if self._connection is None:
            self._connection = self._engine.connect()
        connection = self._connection
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        for job in left:
            job.attempt.connection = driver
        try:
            if len(left) > 1 and self._try_together(connection, left):
                return
            # One of them is refused, and it alone is to be undone.
            while left:
                result = _make_one(connection, left[0])
                self._answer([(left.pop(0), result)])
        finally:
            for job in left:
                job.attempt.connection = None

    def _try_together(self, connection: Connection, left: list[_Job]) -> bool:
        try:
            results = transact(connection, [job.change for job in left])
        except Exception as error:
            if is_trouble(error):
                raise
            return False
        self._answer(list(zip(left, results, strict=True)))
        left.clear()
        return True

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.invalidate()
            connection.close()
        except (SQLAlchemyError, psycopg.Error) as error:
            self._reactor.callFromThread(
                self._log.debug, "connection did not close: {error}", error=cause(error)
            )

    def _answer(self, answers: Sequence[tuple[_Job, Any]]) -> None:
        for job, _ in answers:
            job.attempt.connection = None
        self._reactor.callFromThread(self._settle, answers)

    # Back in the reactor's thread.

    def _settle(self, answers: Sequence[tuple[_Job, Any]]) -> None:
        if self._failing:
            self._failing = False
            self._log.info("the database can be changed again")
        for job, result in answers:
            job.attempt.settle(result)

    def _forget(self, batch: Sequence[_Job]) -> None:
        self._waiting -= len(batch)
        for job in batch:
            job.attempt.settle(not_changed())

    def _note_failing(self, why: str) -> None:
        # Once for each time of trouble, and without the statement: that may hold a name.
        if not self._failing:
            self._log.error("the database can't be changed: {cause}", cause=why)
        self._failing = True

    def _finish(self) -> None:
        self._thread.join()
        if self._hurrying is not None and self._hurrying.active():
            self._hurrying.cancel()
        assert self._stopped is not None
        self._stopped.callback(None)


def _make_one(connection: Connection, job: _Job) -> Any:
    """Make one change; what is wrong with it alone is its result.

    :raises SQLAlchemyError, psycopg.Error: the database is out of reach.
    """
    try:
        (result,) = transact(connection, [job.change])
    except (DBAPIError, psycopg.Error) as error:
        if is_trouble(error):
            raise
        return error
    except Exception as error:
        return error
    return result
