"""Appending to the log in PostgreSQL, by one thread.

What it is: `AppendThread`. What waits by the time a commit is over shares the next one.

What it may know: drafts, ``comet_append_1`` and its careful twin, a connection of its own.

Invariant: a draft is stored once, or it is not answered as stored. When the connection is lost
while a commit is under way it is *in doubt*, and the database is asked what became of it; a sender
is never told that nothing was sent when it may have been.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, cast

import attrs
import psycopg
from msgspec.structs import replace
from psycopg.errors import DataError, IntegrityError, ProgramLimitExceeded, UniqueViolation
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.errors import ChatError, LogFull, ShuttingDown, StorageUnavailable
from cometd_chat.events.record import Draft, Record
from cometd_chat.log.log import Outcome
from cometd_chat.log.postgresql.batches import (
    APPEND_KNOWN,
    COLUMNS,
    PREPARED_APPEND,
    append_arguments,
    read_row,
    stored,
)
from cometd_chat.log.postgresql.connections import (
    Connection,
    Server,
    execute_prepared,
    is_alive,
    is_lost,
    prepare,
    reason,
    shut_down,
)
from cometd_chat.log.postgresql.joining import Book, read_book
from cometd_chat.log.writer import MAX_BATCH, RETRY_BUSY, RETRY_FAILED

#: Seconds that a sender waits for a database that is out of reach, or stands still.
PATIENCE = 5.0

#: Seconds between two attempts to connect: at least so many, and up to twice as many each time.
_RETRY, _MOST_RETRY = 0.02, 0.5

#: Seconds after which it makes sense to look whether the operator has made room.
_RETRY_FULL = 60.0

#: What is wrong with one draft alone.
_WRONG_DRAFT = (DataError, IntegrityError, ProgramLimitExceeded)

#: What its connections know `PREPARED_APPEND` as.
_APPEND = "comet_append"

_BY_ID = f"SELECT {COLUMNS} FROM records WHERE id = ANY(%s)"  # noqa: S608
_BY_KEY = (
    f"SELECT {COLUMNS} FROM records r"  # noqa: S608
    " WHERE r.sender = %s AND r.client_id = %s"
)


def nothing_sent() -> StorageUnavailable:
    """For whoever said what was not stored."""
    return StorageUnavailable(
        "Nothing can be stored just now. Nothing was sent; try again in a moment.",
        retry_after=RETRY_FAILED,
    )


def in_doubt() -> StorageUnavailable:
    """For whoever said what may have been stored."""
    return StorageUnavailable(
        "The log can't be reached just now. What was sent may have been stored: repeat it with the "
        "same client_id, and it is stored once.",
        retry_after=RETRY_FAILED,
    )


@attrs.define(eq=False)
class Job:
    """Drafts that go together, and who waits for them.

    :param until: until when, by the reactor's clock.
    """

    drafts: Sequence[Draft]
    until: float
    answer: Deferred[Sequence[Outcome]] = attrs.field(factory=Deferred)
    #: The thread has begun to send it; it is that from then on.
    sent: bool = False
    #: Who waits was answered already, by the reactor.
    answered: bool = False
    #: What became of them, once that is known.
    outcomes: Sequence[Outcome] | None = None
    #: Told once all up to here is.
    last: int = 0


#: What became of drafts: of each of them, what is to be told, and the epochs there are.
Stored = tuple[Sequence[Outcome], Sequence[Record], Book]


class Following:
    """What the thread has to do with who is told; see `cometd_chat.log.postgresql.log`."""

    def __init__(
        self,
        take: Callable[[Sequence[Record]], None],
        told: Callable[[], int],
        known: Callable[[], int],
        book: Callable[[], Book],
        learn: Callable[[Book], None],
        full: Callable[[], bool],
    ) -> None:
        #: Takes committed records, in the reactor's thread.
        self.take = take
        #: How far followers were told, in the reactor's thread.
        self.told = told
        #: How far the log is known to go, in any thread.
        self.known = known
        #: The epochs that are known; in any thread.
        self.book = book
        #: There are newer ones; in the reactor's thread.
        self.learn = learn
        #: Nothing new may be stored; in any thread.
        self.full = full


class AppendThread:
    """One thread that commits in groups.

    All methods are called in the reactor's thread.

    :param server: where the database is.
    :param reactor: where the results go, and its clock.
    :param following: who is told.
    :param max_waiting: how many drafts may wait; past it they are refused at once.
    """

    _log = Logger()

    def __init__(
        self, server: Server, reactor: Any, following: Following, *, max_waiting: int
    ) -> None:
        self._server = server
        self._reactor = reactor
        self._following = following
        self._max_waiting = max_waiting
        self._waiting = 0
        self._unanswered: deque[Job] = deque()
        self._sweep: IDelayedCall | None = None
        self._cutting: IDelayedCall | None = None
        self._failing = False
        self._stopped: Deferred[None] | None = None
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        #: Since the start; see `cometd_chat.log.condition.Condition`.
        self.commits = self.doubts = 0
        self.commit_seconds = 0.0
        # The connection belongs to the thread, but for being shut down.
        self._connection: Connection | None = None
        self._hurry = Event()
        self._thread = Thread(target=self._run, name="comet-chat-append", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def append(self, drafts: Sequence[Draft]) -> Deferred[Sequence[Outcome]]:
        """Store drafts, in one commit. Cancelling the result does not stop that.

        :returns: for each draft its record, or why there is none.
        :raises StorageUnavailable: too much is waiting, or the database is out of reach.
        :raises ShuttingDown: it was told to stop.
        """
        if self._stopped is not None:
            return fail(
                ShuttingDown("The daemon is stopping. Send it again in a moment.", retry_after=2)
            )
        if self._waiting + len(drafts) > self._max_waiting:
            return fail(
                StorageUnavailable(
                    "More is being said than can be stored. Send it again in a moment.",
                    retry_after=RETRY_BUSY,
                )
            )
        job = Job(drafts, self._reactor.seconds() + PATIENCE)
        self._waiting += len(drafts)
        self._unanswered.append(job)
        if self._sweep is None:
            self._sweep = self._reactor.callLater(PATIENCE, self._expire)
        self._jobs.put(job)
        return job.answer

    def stop(self) -> Deferred[None]:
        """Take nothing more; fires when all that was taken is answered and the thread is gone."""
        if self._stopped is None:
            self._stopped = Deferred()
            self._jobs.put(None)
            # Whoever waits for it is answered by then, and the daemon must end.
            self._cutting = self._reactor.callLater(PATIENCE, self._cut)
        return self._stopped

    def settle(self) -> None:
        """Answer those whose records have been told."""
        if not self._unanswered:
            return
        told = self._following.told()
        while self._unanswered:
            job = self._unanswered[0]
            ready = job.outcomes is not None and job.last <= told
            if not ready and not job.answered:
                return
            # Before anybody hears of it, who may come back here.
            self._unanswered.popleft()
            if job.outcomes is not None:
                self._answer(job, job.outcomes)

    def _answer(self, job: Job, outcome: Sequence[Outcome] | Exception) -> None:
        if job.answered:
            return
        job.answered = True
        self._waiting -= len(job.drafts)
        if isinstance(outcome, Exception):
            job.answer.errback(outcome)
        else:
            job.answer.callback(outcome)

    def _give_up(self, job: Job) -> None:
        """Answer who has waited long enough."""
        if job.answered:
            return
        # First it is said that it was answered, then it is looked whether it was sent: the thread
        # does it the other way round.
        job.answered = True
        self._waiting -= len(job.drafts)
        job.answer.errback(in_doubt() if job.sent else nothing_sent())

    def _expire(self) -> None:
        self._sweep = None
        now = self._reactor.seconds()
        while self._unanswered and (
            self._unanswered[0].answered or self._unanswered[0].until <= now
        ):
            self._give_up(self._unanswered.popleft())
        if self._unanswered:
            self._sweep = self._reactor.callLater(self._unanswered[0].until - now, self._expire)

    def _cut(self) -> None:
        self._hurry.set()
        if self._thread.is_alive() and self._connection is not None:
            shut_down(self._connection)

    # In the thread from here on.

    def _run(self) -> None:
        stopping = False
        try:
            while not stopping:
                batch, stopping = self._next_batch()
                if batch:
                    self._store(batch)
            self._drop()
        finally:
            self._reactor.callFromThread(self._finish)

    def _next_batch(self) -> tuple[list[Job], bool]:
        """Wait for a job; with it comes what is waiting by then. True at the end of all jobs."""
        batch: list[Job] = []
        size = 0
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            size += len(job.drafts)
            if size >= MAX_BATCH:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _store(self, batch: Sequence[Job]) -> None:
        """Store a batch, however often that takes, as long as somebody waits for it."""
        # What is newer than this and was there before us was stored by us, when it is in doubt.
        since = self._following.known()
        doubtful = False
        delay = _RETRY
        while jobs := [job for job in batch if not job.answered]:
            try:
                connection = self._connect()
            except psycopg.Error as error:
                why = reason(error)
            except Exception:
                self._reactor.callFromThread(self._break, jobs, Failure())
                return
            else:
                # First it is said that it is sent, then it is looked who was told that it was not.
                for job in jobs:
                    job.sent = True
                jobs = [job for job in jobs if not job.answered]
                drafts = [draft for job in jobs for draft in job.drafts]
                try:
                    results = self._append(connection, drafts, since if doubtful else None)
                except psycopg.Error as error:
                    why = reason(error)
                    if not is_lost(connection):
                        self._reactor.callFromThread(self._refuse, jobs, nothing_sent(), why)
                        return
                    self.doubts += not doubtful
                    doubtful = True
                except Exception:
                    self._reactor.callFromThread(self._break, jobs, Failure())
                    return
                else:
                    self._reactor.callFromThread(self._stored, jobs, *results)
                    return
            self._drop()
            self._reactor.callFromThread(self._note_failing, why)
            if self._hurry.wait(delay * (0.5 + random.random())):  # noqa: S311
                refusal = in_doubt() if doubtful else nothing_sent()
                self._reactor.callFromThread(self._refuse, jobs, refusal, why)
                return
            delay = min(2 * delay, _MOST_RETRY)

    def _connect(self) -> Connection:
        if self._connection is not None and not is_alive(self._connection):
            self._drop()
        if self._connection is None:
            connection = self._server.connect("append")
            try:
                prepare(connection, _APPEND, PREPARED_APPEND)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _append(
        self, connection: Connection, drafts: Sequence[Draft], since: int | None = None
    ) -> Stored:
        """Store drafts.

        :param since: where the log stood when these were sent for the first time; None when that is
            now.
        """
        book = self._following.book()
        if self._following.full():
            return _look_up(connection, drafts, book)
        begun = time.monotonic()
        try:
            if since is not None:
                return _append_known(connection, drafts, book, since)
            row = execute_prepared(connection, _APPEND, append_arguments(drafts))
        except UniqueViolation:
            return _append_known(connection, drafts, book)
        except _WRONG_DRAFT as error:
            if len(drafts) == 1:
                return [_refusal(error)], [], book
            return self._append_each(connection, drafts)
        finally:
            self.commits += 1
            self.commit_seconds += time.monotonic() - begun
        base, at, number = (int(each or 0) for each in row)
        book = _book_of(connection, number, book)
        records = stored(drafts, base, at, book.name(number) or "")
        return records, records, book

    def _append_each(self, connection: Connection, drafts: Sequence[Draft]) -> Stored:
        """Store drafts one by one: those that are good must not suffer from one that is not."""
        outcomes: list[Outcome] = []
        fresh: list[Record] = []
        book = self._following.book()
        for draft in drafts:
            some, new, book = self._append(connection, [draft])
            outcomes += some
            fresh += new
        return outcomes, fresh, book

    # Back in the reactor's thread.

    def _stored(
        self, jobs: Sequence[Job], outcomes: Sequence[Outcome], fresh: Sequence[Record], book: Book
    ) -> None:
        """Followers first: when a sender hears of its record, all others can read it already."""
        if self._failing:
            self._failing = False
            self._log.info("the database can be written again")
        self._following.learn(book)
        rest = iter(outcomes)
        for job in jobs:
            job.outcomes = list(islice(rest, len(job.drafts)))
            job.last = max(
                (each.id for each in job.outcomes if isinstance(each, Record)), default=0
            )
        self._following.take(fresh)
        self.settle()

    def _refuse(self, jobs: Sequence[Job], error: ChatError, why: str) -> None:
        self._note_failing(why)
        for job in jobs:
            self._answer(job, error)
        self.settle()

    def _break(self, jobs: Sequence[Job], failure: Failure) -> None:
        # Not the storage but a defect of ours: the senders get it as it is.
        self._log.failure("a batch could not be stored", failure=failure)
        assert isinstance(failure.value, Exception)
        for job in jobs:
            self._answer(job, failure.value)
        self.settle()

    def _note_failing(self, why: str) -> None:
        # Once for each time of trouble, and without the statement: that may hold a text.
        if not self._failing:
            self._log.error("the database can't be written: {cause}", cause=why)
        self._failing = True

    def _finish(self) -> None:
        self._thread.join()
        while self._unanswered:
            self._give_up(self._unanswered.popleft())
        for timer in (self._sweep, self._cutting):
            if timer is not None and timer.active():
                timer.cancel()
        assert self._stopped is not None
        self._stopped.callback(None)


def _book_of(connection: Connection, number: int, known: Book) -> Book:
    """The epochs, with the one of a number."""
    return known if known.name(number) is not None else read_book(connection)


def _append_known(
    connection: Connection, drafts: Sequence[Draft], known: Book, since: int | None = None
) -> Stored:
    """Store those of some drafts that are not stored yet.

    :param since: see `AppendThread._append`. They may have been stored a moment ago: of one without
        a client_id nobody can tell, so that one is not sent again; of another one it is no repeat.
    """
    outcomes: list[Outcome] = [in_doubt()] * len(drafts)
    places = [n for n, draft in enumerate(drafts) if draft.client_id is not None or since is None]
    wanted = [drafts[n] for n in places]
    if not wanted:
        return outcomes, [], known
    arguments = append_arguments(wanted)[:-1]
    rows = connection.execute(APPEND_KNOWN, arguments).fetchall()
    results = cast(list[tuple[int, int, int, bool]], rows)
    book = _book_of(connection, results[0][2], known)
    fresh: dict[int, Record] = {}
    for draft, (id, at, number, is_known) in zip(wanted, results, strict=True):
        if not is_known:
            (fresh[id],) = stored([draft], id - 1, at, book.name(number) or "")
    ids = [id for id, _, _, is_known in results if is_known and id not in fresh]
    found = connection.execute(_BY_ID, [ids]).fetchall() if ids else []
    before = {record.id: record for record in (read_row(row, book.epochs.of) for row in found)}
    ours = {id: each for id, each in before.items() if since is not None and id > since}
    for place, (id, _, _, is_known) in zip(places, results, strict=True):
        record = fresh.get(id) or before[id]
        repeated = is_known and id not in ours
        outcomes[place] = replace(record, repeated=True) if repeated else record
    return outcomes, [*ours.values(), *fresh.values()], book


def _look_up(connection: Connection, drafts: Sequence[Draft], book: Book) -> Stored:
    """What becomes of drafts when nothing new may be stored."""
    outcomes: list[Outcome] = []
    for draft in drafts:
        row = None
        if draft.client_id is not None:
            row = connection.execute(_BY_KEY, [draft.sender, draft.client_id]).fetchone()
        if row is None:
            outcomes.append(log_full())
        else:
            outcomes.append(replace(read_row(row, book.epochs.of), repeated=True))
    return outcomes, [], book


def _refusal(error: psycopg.Error) -> ValueError:
    """For a draft that PostgreSQL can't keep."""
    return ValueError(f"a draft can't be stored: {reason(error)}")


def log_full() -> LogFull:
    """For whoever says something that there is no room for."""
    return LogFull(
        "What is kept here has reached its limit. Nothing new can be said until the operator makes "
        "room.",
        retry_after=_RETRY_FULL,
    )
