"""The writer: one thread that commits, in groups, all that waits to be stored.

What it is: `Writer` takes drafts and small changes on the reactor's thread and answers each by a
Deferred. Everything that waits when a commit begins shares it, and the results of one commit come
back to the reactor in one call.

What it may know: connections and transactions. Which statements are run is for others to say.

Drafts are stored by the driver itself: SQLAlchemy's transaction and its four executions cost as
much as SQLite does with them (of CPU in this thread, the disk's flush included, a commit of one
draft took 239 us with them and takes 163 without). Changes are rare, and are made through
SQLAlchemy; a commit that holds one begins and ends by it.

Invariant: nothing is published or answered before it is committed, and of a commit that failed
nothing is left; the next one starts afresh, on a new connection. The reactor never waits for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Protocol, TypeVar

import attrs
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.errors import ShuttingDown, StorageUnavailable
from cometd_chat.events.record import Draft, Record

#: How much shares one commit at most. It bounds how long the first one waits for the last.
MAX_BATCH = 1000

#: Seconds after which a sender may try again, when too much waits or when a commit failed.
RETRY_BUSY, RETRY_FAILED = 1.0, 5.0

#: Seconds after which the write-ahead log is emptied again that somebody was reading.
RETRY_EMPTYING = 0.2

T = TypeVar("T")


@attrs.frozen
class Appended:
    """What became of some drafts.

    :param outcomes: for each draft its record, or why there is none.
    :param fresh: records that have to be published, in id order.
    """

    outcomes: Sequence[Record | Exception]
    fresh: Sequence[Record]


class Appender(Protocol):
    """Who knows how drafts are stored."""

    def start(self, connection: Connection) -> None:
        """Look up what is stored; called once, before anything else, in a transaction."""

    def append_batch(
        self,
        driver: sqlite3.Connection,
        drafts: Sequence[Draft],
        *,
        outcome_unknown: bool,
        though_full: bool = False,
    ) -> Appended:
        """Store drafts; called in the writer's thread, inside its transaction.

        :param driver: what is below SQLAlchemy's connection.
        :param outcome_unknown: the commit before this one failed, and may have come through all the
            same: look whether there are records which nobody was told of.
        :param though_full: what is full takes them all the same.
        """

    def committed(self, records: Sequence[Record]) -> None:
        """Records were committed, in id order, and nobody knows yet; called in the writer's thread.
        Must not raise."""

    def publish(self, records: Sequence[Record]) -> None:
        """Committed records, in id order; called in the reactor's thread. Must not raise."""


@attrs.frozen(eq=False)
class _Append:
    drafts: Sequence[Draft]
    answer: Deferred[Sequence[Record | Exception]]

    @property
    def size(self) -> int:
        return len(self.drafts)


@attrs.frozen(eq=False)
class _Write:
    change: Callable[[Connection], Any]
    answer: Deferred[Any]

    size = 1


@attrs.frozen(eq=False)
class _Amend:
    change: Callable[[Connection], Sequence[Draft]]
    answer: Deferred[Sequence[Record]]

    size = 1


@attrs.frozen(eq=False)
class _Overwrite:
    answer: Deferred[None]

    size = 1


_Job = _Append | _Write | _Amend | _Overwrite


class Writer:
    """One thread that commits in groups.

    All methods are called in the reactor's thread.

    :param connect: gives a new connection, whose transactions are write transactions.
    :param reactor: where the results go.
    :param appender: who stores drafts and hears of the committed ones.
    :param max_waiting: how many drafts and changes may wait; past it they are refused at once.
    :param at_exit: called at the end of the thread, in it, and may block.
    """

    _log = Logger()

    def __init__(
        self,
        connect: Callable[[], Connection],
        reactor: IReactorFromThreads,
        appender: Appender,
        *,
        max_waiting: int,
        at_exit: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._at_exit = at_exit
        self._reactor = reactor
        self._appender = appender
        self._max_waiting = max_waiting
        self._waiting = 0
        self._failing = False
        self._stopped: Deferred[None] | None = None
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # These two belong to the thread.
        self._connection: Connection | None = None
        self._driver: sqlite3.Connection | None = None
        self._outcome_unknown = False
        self._to_empty = False
        self._empty_again = 0.0
        # A daemon thread: a start that fails after this one must not keep the process alive.
        self._thread = Thread(target=self._run, name="comet-chat-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def append(self, drafts: Sequence[Draft]) -> Deferred[Sequence[Record | Exception]]:
        """Store drafts, in one commit. Cancelling the result does not stop that.

        :returns: for each draft its record, or why there is none.
        :raises StorageUnavailable: too much is waiting, or the commit failed.
        :raises ShuttingDown: the writer was told to stop.
        """
        return self._submit(_Append(drafts, Deferred()))

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        """Run a small change. If it raises, it alone is undone and its error is the result.

        :raises StorageUnavailable: too much is waiting, or the commit failed.
        :raises ShuttingDown: the writer was told to stop.
        """
        return self._submit(_Write(change, Deferred()))

    def amend(self, change: Callable[[Connection], Sequence[Draft]]) -> Deferred[Sequence[Record]]:
        """Run a small change and store what it says is to be told of it, though the log is full.
        If it raises, it alone is undone and its error is the result.

        :returns: the records.
        :raises StorageUnavailable: too much is waiting, or the commit failed.
        :raises ShuttingDown: the writer was told to stop.
        """
        return self._submit(_Amend(change, Deferred()))

    def overwrite(self) -> Deferred[None]:
        """Let nothing be left in the write-ahead log of what was overwritten by earlier changes:
        SQLite keeps the pages as they were there, until it has been emptied.

        Somebody may be reading it. Then it is tried again, and nobody waits for that.

        :raises StorageUnavailable: too much is waiting, or that failed.
        :raises ShuttingDown: the writer was told to stop.
        """
        return self._submit(_Overwrite(Deferred()))

    def stop(self) -> Deferred[None]:
        """Take nothing more; fires when all that was taken is answered and the thread is gone."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._jobs.put(None)
        return self._stopped

    def _refusal(self, size: int) -> Exception | None:
        if self._stopped is not None:
            return ShuttingDown("The daemon is stopping. Send it again in a moment.", retry_after=2)
        if self._waiting + size > self._max_waiting:
            return StorageUnavailable(
                "More is being said than can be stored. Send it again in a moment.",
                retry_after=RETRY_BUSY,
            )
        return None

    def _submit(self, job: _Job) -> Deferred[Any]:
        refusal = self._refusal(job.size)
        if refusal is not None:
            return fail(refusal)
        self._waiting += job.size
        self._jobs.put(job)
        return job.answer

    # In the writer's thread from here on.

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            if batch:
                self._commit(batch)
        try:
            self._drop_connection()
            self._at_exit()
        finally:
            self._reactor.callFromThread(self._finish)

    def _next_batch(self) -> tuple[list[_Job], bool]:
        """Wait for a job; with it comes what is waiting by then. True at the end of all jobs."""
        batch: list[_Job] = []
        size = 0
        try:
            job = self._jobs.get(timeout=RETRY_EMPTYING if self._to_empty else None)
        except Empty:
            self._empty_log()
            return batch, False
        while job is not None:
            batch.append(job)
            size += job.size
            if size >= MAX_BATCH:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: Sequence[_Job]) -> None:
        """Store a batch in one transaction and hand the results to the reactor."""
        appends = [job for job in batch if isinstance(job, _Append)]
        writes = [job for job in batch if isinstance(job, _Write)]
        amends = [job for job in batch if isinstance(job, _Amend)]
        overwrites = [job for job in batch if isinstance(job, _Overwrite)]
        drafts = [draft for job in appends for draft in job.drafts]
        fresh: list[Record] = []
        appended = Appended((), ())
        try:
            if self._connection is None or self._driver is None:
                self._connection = self._connect()
                self._driver = driver_of(self._connection)
            connection, driver = self._connection, self._driver
            with connection.begin() if writes or amends else _transaction(driver):
                if drafts or self._outcome_unknown:
                    appended = self._appender.append_batch(
                        driver, drafts, outcome_unknown=self._outcome_unknown
                    )
                    fresh += appended.fresh
                results = [_run_change(connection, job.change) for job in writes]
                told = [self._run_amendment(connection, driver, job) for job in amends]
                fresh += [
                    record for each in told if not isinstance(each, Exception) for record in each
                ]
                outcomes = iter(appended.outcomes)
                answers: list[tuple[_Job, Any]] = [
                    *[(job, list(islice(outcomes, job.size))) for job in appends],
                    *zip(writes, results, strict=True),
                    *zip(amends, told, strict=True),
                    *[(job, None) for job in overwrites],
                ]
        except Exception as error:
            # Whatever it was: what the file holds now is looked up by the next batch.
            self._outcome_unknown = True
            self._drop_connection()
            self._reactor.callFromThread(self._fail, batch, error)
        else:
            self._outcome_unknown = False
            if fresh:
                self._appender.committed(fresh)
            if overwrites or (self._to_empty and monotonic() >= self._empty_again):
                self._empty_log()
            self._reactor.callFromThread(self._answer, fresh, answers)

    def _run_amendment(
        self, connection: Connection, driver: sqlite3.Connection, job: _Amend
    ) -> list[Record] | Exception:
        """Run a change and store what is to be told of it."""
        drafts = _run_change(connection, job.change)
        if isinstance(drafts, Exception):
            return drafts
        if not drafts:
            return []
        # Its drafts have no client_id: each becomes a record.
        appended = self._appender.append_batch(
            driver, drafts, outcome_unknown=False, though_full=True
        )
        return list(appended.fresh)

    def _empty_log(self) -> None:
        """Take what is in the write-ahead log to the file, and cut it off; not in a transaction.

        Nobody is waited for: while others read it, it can't be emptied, and is tried again.
        """
        self._to_empty, self._empty_again = True, monotonic() + RETRY_EMPTYING
        if self._driver is None:
            return
        try:
            (timeout,) = self._driver.execute("PRAGMA busy_timeout").fetchone()
            self._driver.execute("PRAGMA busy_timeout = 0")
            try:
                (busy, _, _) = self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._driver.execute(f"PRAGMA busy_timeout = {timeout}")
        except sqlite3.Error as error:
            # All is stored. A disk that is full, for one, takes it later.
            self._reactor.callFromThread(
                self._log.debug, "the write-ahead log was not emptied: {error}", error=str(error)
            )
        else:
            self._to_empty = bool(busy)

    def _drop_connection(self) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        if connection is None:
            return
        try:
            connection.invalidate()
            connection.close()
        except SQLAlchemyError as error:
            self._reactor.callFromThread(
                self._log.debug, "connection did not close: {error}", error=str(error)
            )

    # Back in the reactor's thread.

    def _answer(self, fresh: Sequence[Record], answers: Sequence[tuple[_Job, Any]]) -> None:
        """Followers first: when a sender hears of its record, all others can read it already."""
        if self._failing:
            self._failing = False
            self._log.info("the database can be written again")
        self._waiting -= sum(job.size for job, _ in answers)
        if fresh:
            self._appender.publish(fresh)
        for job, outcome in answers:
            if isinstance(outcome, Exception):
                job.answer.errback(outcome)
            else:
                job.answer.callback(outcome)

    def _fail(self, batch: Sequence[_Job], error: Exception) -> None:
        self._waiting -= sum(job.size for job in batch)
        if not isinstance(error, SQLAlchemyError | sqlite3.Error):
            # Not the storage but a defect of ours: the senders get it as it is.
            reason = Failure(error)
            self._log.failure("a batch could not be stored", failure=reason)
            for job in batch:
                job.answer.errback(reason)
            return
        # Once for each time of trouble, and without the statement: that may hold a text.
        if not self._failing:
            self._log.error("the database can't be written: {cause}", cause=cause(error))
        self._failing = True
        for job in batch:
            job.answer.errback(
                StorageUnavailable(
                    "Nothing can be stored just now. Nothing was sent; try again in a moment.",
                    retry_after=RETRY_FAILED,
                )
            )

    def _finish(self) -> None:
        self._thread.join()
        assert self._stopped is not None
        self._stopped.callback(None)


def cause(error: Exception) -> str:
    """What the database itself said, without the statement and its parameters."""
    if isinstance(error, sqlite3.Error):
        return str(error)
    return str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__


def driver_of(connection: Connection) -> sqlite3.Connection:
    """What is below a connection of SQLAlchemy's."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


@contextmanager
def _transaction(driver: sqlite3.Connection) -> Iterator[None]:
    """A write transaction by the driver itself. After an error its connection is of no more use."""
    driver.execute("BEGIN IMMEDIATE")
    yield
    driver.execute("COMMIT")


def _run_change(connection: Connection, change: Callable[[Connection], T]) -> T | Exception:
    """Run a change in a savepoint of its own; what is wrong with it alone is its result.

    :raises DBAPIError: the storage failed, and with it the whole transaction.
    """
    try:
        with connection.begin_nested():
            return change(connection)
    except IntegrityError as error:
        return error
    except DBAPIError:
        raise
    except Exception as error:
        return error
