"""The database: a PostgreSQL server, which many nodes share.

What it is: `PostgresDatabase` brings the tables up to date, and runs what it is given: changes in
one thread, reads in a few.

What it may know: connections, threads, how long to wait. Not what is in the tables.

Invariant: a commit is on the server's disk when it is reported; after `open` nothing here waits for
the server on the reactor's thread, and nobody waits for longer than `attempts.PATIENCE`. Nothing
that is shown has the password.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine, QueuePool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.errors import StorageUnavailable
from cometd_chat.log.control import Control
from cometd_chat.log.copying import refuse_half_a_copy
from cometd_chat.log.migrations import SCHEMA, migrate
from cometd_chat.log.postgresql.attempts import (
    MOST_RETRY,
    PATIENCE,
    RETRY,
    Attempt,
    Deadlines,
    cause,
    is_trouble,
)
from cometd_chat.log.postgresql.change_thread import ChangeThread, tell_in, transact
from cometd_chat.log.postgresql.connections import Server, reason
from cometd_chat.log.threads import READERS, ReaderThreads
from cometd_chat.log.writer import RETRY_FAILED

#: Seconds that a start waits for a server that is away, and between two lines that say so.
START_PATIENCE, START_LINE = 30.0, 5.0

#: Seconds between two looks meanwhile.
_START_LOOK = 0.5

#: PostgreSQL 13; older ones get no mends any more.
_OLDEST = 130000

#: One node migrates, and the others wait until it has. The first number is that of all our locks.
_LOCK_SCHEMA = text("SELECT pg_advisory_xact_lock(1668246885, 2)")

#: What a server says that is there and will not have us, however long we wait.
_HOPELESS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "not permitted")

T = TypeVar("T")


def not_read() -> StorageUnavailable:
    """For whoever waits in vain."""
    return StorageUnavailable(
        "The log can't be read just now. Try again in a moment.", retry_after=RETRY_FAILED
    )


class PostgresDatabase:
    """One database, and this node's threads on it; a `Store`.

    `open` is called before the reactor runs, everything else in the reactor's thread.

    :param server: where it is.
    :param reactor: where results go, and its clock.
    :param shown: its URL as it may be shown.
    :param max_waiting: how many changes may wait, and how many reads.
    :param schema: where the migrations are.
    :param pause: waits for so many seconds; for the start.
    :param patience: seconds that somebody waits for a server that is out of reach.
    """

    _log = Logger()

    def __init__(
        self,
        server: Server,
        reactor: Any,
        *,
        shown: str,
        max_waiting: int = 10_000,
        schema: str = SCHEMA,
        pause: Callable[[float], None] = time.sleep,
        patience: float = PATIENCE,
    ) -> None:
        self.server = server
        self.shown = shown
        self._reactor = reactor
        self._schema = schema
        self._pause = pause
        self._write_engine = self._engine("change", 1, isolation_level="READ COMMITTED")
        self._read_engine = self._engine(
            "read",
            READERS,
            isolation_level="REPEATABLE READ",
            execution_options={"postgresql_readonly": True},
        )
        self._deadlines = Deadlines(reactor, patience)
        self._failing = False
        self._closing = Event()
        self.readers = ReaderThreads(reactor, max_waiting=max_waiting)
        self._changes = ChangeThread(
            self._write_engine,
            reactor,
            self._deadlines,
            max_waiting=max_waiting,
            at_exit=self._close_readers,
        )
        self._opened = False
        self._closed: Deferred[None] | None = None

    def open(self) -> None:
        """Make it ready and start the threads; see `prepare`."""
        self.prepare()
        try:
            self.read_now(lambda each: refuse_half_a_copy(each, f"The database {self.shown}"))
        except StorageUnavailable:
            self._dispose()
            raise
        self._changes.start()
        self.readers.start()
        self._opened = True

    def prepare(self) -> None:
        """Wait for the server, and bring the tables up to date. Blocks.

        :raises SchemaTooNew: a newer release made them.
        :raises StorageUnavailable: the server can't be reached, or refuses us; the text says why.
        """
        self._wait_for_server()
        try:
            self.patiently(self._migrate_all)
        except StorageUnavailable:
            self._dispose()
            raise
        except (SQLAlchemyError, psycopg.Error) as error:
            self._dispose()
            raise StorageUnavailable(
                f"--database {self.shown}: can't be made ready ({cause(error)}); give a database "
                "that its user owns"
            ) from error

    def _wait_for_server(self) -> None:
        """Connect once; a server that is away may come back."""
        begun = said = self._reactor.seconds()
        while True:
            try:
                connection = self.server.connect("start")
            except psycopg.Error as error:
                why = reason(error)
            else:
                version = connection.info.server_version
                connection.close()
                if version < _OLDEST:
                    raise StorageUnavailable(
                        f"--database {self.shown}: that is PostgreSQL {version // 10000}; at least "
                        f"version {_OLDEST // 10000} is needed"
                    )
                return
            now = self._reactor.seconds()
            hopeless = any(each in why for each in _HOPELESS)
            if hopeless or now - begun >= START_PATIENCE:
                remedy = "give the right URL" if hopeless else "start it, or give the right URL"
                raise StorageUnavailable(
                    f"--database {self.shown}: can't be reached ({why}); {remedy}"
                )
            if now == begun or now - said >= START_LINE:
                said = now
                self._log.warn(
                    "waiting for the database {url}: {reason}", url=self.shown, reason=why
                )
            self._pause(_START_LOOK)

    def _migrate_all(self) -> None:
        with self._write_engine.connect() as connection, connection.begin():
            self._migrate(connection)

    def _migrate(self, connection: Connection) -> None:
        # Steps take longer than changes may.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(_LOCK_SCHEMA)
        migrate(connection, f"The database {self.shown}", self._schema)

    def close(self) -> Deferred[None]:
        """Take nothing more; fires when all that was taken is stored and all threads are gone."""
        if self._closed is None:
            self.readers.close()
            self._closing.set()
            if self._opened:
                self._closed = self._changes.stop()
                self._closed.addCallback(lambda _: self._deadlines.stop())
            else:
                self._dispose()
                self._closed = succeed(None)
        return self._closed

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        """See `Store.write`."""
        return self._changes.write(change)

    def tell(self, connection: Connection, *controls: Control) -> None:
        """Let all nodes be told, within a change, of what they must not miss: once it is committed,
        and only then."""
        tell_in(connection, controls)

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """See `Store.read`. Cancelling the result does not stop that."""
        attempt = self._deadlines.begin(not_read)
        reading: Deferred[T] = self.readers.run(
            partial(self._try, query, attempt), self._finish_read
        )
        reading.addBoth(attempt.settle)
        return attempt.answer

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """See `Store.read_now`."""

        def read() -> T:
            with self._read_engine.connect() as connection:
                return query(connection)

        return self.patiently(read)

    def write_now(self, change: Callable[[Connection], T]) -> T:
        """See `Store.write_now`."""

        def write() -> T:
            with self._write_engine.connect() as connection:
                result: T = transact(connection, [change])[0]
                return result

        return self.patiently(write)

    def patiently(self, step: Callable[[], T]) -> T:
        """A step of the start. Should the server go away meanwhile, it is waited for, as for one
        that is away when the start begins, and the step is made again. Blocks.
        """
        begun = self._reactor.seconds()
        while True:
            try:
                return step()
            except (SQLAlchemyError, psycopg.Error, StorageUnavailable) as error:
                why = error.__cause__ if isinstance(error, StorageUnavailable) else error
                late = self._reactor.seconds() - begun >= START_PATIENCE
                if late or not (isinstance(why, Exception) and is_trouble(why)):
                    raise
                self._log.warn(
                    "the database {url} went away during the start: {reason}",
                    url=self.shown,
                    reason=cause(why),
                )
                self._pause(_START_LOOK)
                self._wait_for_server()

    def _try(self, query: Callable[[Connection], T], attempt: Attempt) -> T:
        """Read, however often that is tried, as long as somebody waits for it; in a thread."""
        delay = RETRY
        while not attempt.over:
            try:
                with self._read_engine.connect() as connection:
                    driver = connection.connection.driver_connection
                    assert isinstance(driver, psycopg.Connection)
                    attempt.connection = driver
                    try:
                        return query(connection)
                    finally:
                        attempt.connection = None
            except SQLAlchemyError as error:
                if not is_trouble(error) or self._closing.wait(delay):
                    raise
                self._reactor.callFromThread(self._note_failing, cause(error))
                delay = min(2 * delay, MOST_RETRY)
        raise not_read()

    def _finish_read(self, result: T | Failure) -> T | Failure:
        error = result.value if isinstance(result, Failure) else None
        if not isinstance(error, SQLAlchemyError):
            if error is None and self._failing:
                self._failing = False
                self._log.info("the database can be read again")
            return result
        self._note_failing(cause(error))
        raise not_read() from error

    def _note_failing(self, why: str) -> None:
        if not self._failing:
            self._log.error("the database can't be read: {cause}", cause=why)
        self._failing = True

    def _close_readers(self) -> None:
        self.readers.join()
        self._dispose()

    def _dispose(self) -> None:
        self._read_engine.dispose()
        self._write_engine.dispose()

    def _engine(self, role: str, most: int, **settings: Any) -> Engine:
        """An engine whose connections are the server's.

        Parameters are hidden in errors, since they hold what people say.
        """
        return create_engine(
            "postgresql+psycopg://",
            creator=partial(self.server.connect, role),
            poolclass=QueuePool,
            pool_size=most,
            # One for the start, or whoever blocks.
            max_overflow=1,
            hide_parameters=True,
            use_native_hstore=False,
            **settings,
        )
