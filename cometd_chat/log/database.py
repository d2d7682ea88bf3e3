"""The database: one SQLite file, one thread that writes it, a few that read it.

What it is: `Database` opens the file, brings it up to date, and runs what it is given: appends and
changes in the writer's thread, reads in the readers' threads.

What it may know: the file, its settings, connections, threads. Not what is in the tables.

Invariant: a commit is on the disk when it is reported (write-ahead log, synchronous=FULL); after
`open` nothing here waits for the disk on the reactor's thread.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, Pool, QueuePool, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.errors import StorageUnavailable
from cometd_chat.events.record import Draft, Record
from cometd_chat.log.copying import refuse_half_a_copy
from cometd_chat.log.epochs import random_epoch
from cometd_chat.log.high_water import HighWaterMark, Mark
from cometd_chat.log.log import Usage
from cometd_chat.log.migrations import SCHEMA, back_up, migrate
from cometd_chat.log.threads import READERS, ReaderThreads
from cometd_chat.log.writer import RETRY_FAILED, Appender, Writer, cause

#: Seconds that a statement waits for a lock which somebody else has on the file.
BUSY_TIMEOUT = 2.0

#: Bytes that an idle write-ahead log keeps on the disk after a long reader has let it grow.
WAL_KEPT = 16 * 1024 * 1024

#: KiB of pages that each connection keeps; the kernel keeps the file, too. SQLite's own number, 2
#: MB, is as much again as a thousand readers take.
CACHE = 512

T = TypeVar("T")


class Database:
    """One file, its writer and its readers.

    `open` is called before the reactor runs, everything else in the reactor's thread.

    :param path: the file; its directory exists and is ours alone.
    :param reactor: where results go.
    :param max_bytes: size of the file and its write-ahead log past which it is full.
    :param wall_clock: seconds since 1970-01-01T00:00Z, for the times in records.
    :param new_epoch: gives a name for an epoch, see `cometd_chat.log.epochs`.
    :param max_waiting: how many appends and changes may wait, and how many reads.
    :param busy_timeout: seconds to wait for a lock that another process holds.
    :param schema: where the migrations are.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        reactor: IReactorFromThreads,
        *,
        max_bytes: int,
        wall_clock: Callable[[], float] = time.time,
        new_epoch: Callable[[], str] = random_epoch,
        max_waiting: int = 10_000,
        busy_timeout: float = BUSY_TIMEOUT,
        schema: str = SCHEMA,
    ) -> None:
        self.path = path.absolute()
        self.max_bytes = max_bytes
        self.wall_clock = wall_clock
        self.new_epoch = new_epoch
        #: How far it has come, noted beside it.
        self.high_water = HighWaterMark(self.path)
        #: What was noted of it before it was opened.
        self.left: Mark | None = None
        self._wal = self.path.with_name(f"{path.name}-wal")
        self._reactor = reactor
        self._max_waiting = max_waiting
        self._busy_timeout = busy_timeout
        self._schema = schema
        self._appender: Appender | None = None
        self._write_engine = self._engine("BEGIN IMMEDIATE", NullPool)
        # One more for the start, when this thread reads, and one that stays open.
        self._read_engine = self._engine("BEGIN", QueuePool, pool_size=READERS + 2)
        self._anchor: Connection | None = None
        self._writer: Writer | None = None
        self.readers = ReaderThreads(reactor, max_waiting=max_waiting)
        self._closed: Deferred[None] | None = None

    def attach(self, appender: Appender) -> None:
        """Name the one who stores drafts; before `open`."""
        if self._appender is not None or self._writer is not None:
            raise RuntimeError("one log a database, attached before the database is opened")
        self._appender = appender

    def open(self) -> None:
        """Open the file, made when missing (0600), and bring it up to date. Blocks.

        :raises SchemaTooNew: a newer release wrote the file.
        :raises StorageUnavailable: the file can't be opened; the text says why.
        """
        if self._appender is None:
            raise RuntimeError("attach a log before opening the database")
        with self._refusing():
            self._prepare()
            with self._write_engine.connect() as connection:
                refuse_half_a_copy(connection, f"The database {self.path}")
            with self._write_engine.connect() as connection, connection.begin():
                self._appender.start(connection)
            # With its last connection SQLite removes the write-ahead log, and on a full disk
            # there'd be no room for another: nothing could be read while nothing is written.
            self._anchor = self._read_engine.connect()
        self._writer = Writer(
            self._write_engine.connect,
            self._reactor,
            self._appender,
            max_waiting=self._max_waiting,
            at_exit=self._close_readers,
        )
        self._writer.start()
        self.readers.start()

    def prepare(self) -> None:
        """Make the file when it is missing, and bring it up to date, for who reads and writes it by
        `read_now` and `write_now` alone. Blocks; see `open`."""
        with self._refusing():
            self._prepare()

    def _prepare(self) -> None:
        self.left = self.high_water.look()
        self._make_file()
        with self._write_engine.connect() as connection, connection.begin():
            migrate(connection, str(self.path), self._schema, back_up=partial(back_up, self.path))

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Say what is wrong with the file."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            reason = (error.strerror if isinstance(error, OSError) else cause(error)) or ""
            raise StorageUnavailable(
                f"The database {self.path} can't be opened ({reason}): {self._remedy(reason)}"
            ) from error

    def dispose(self) -> None:
        """Let go of the file, after `prepare`."""
        self._read_engine.dispose()

    def close(self) -> Deferred[None]:
        """Take nothing more; fires when all that was taken is stored and all threads are gone."""
        if self._closed is None:
            self.readers.close()
            self._closed = succeed(None) if self._writer is None else self._writer.stop()
        return self._closed

    def append(self, drafts: Sequence[Draft]) -> Deferred[Sequence[Record | Exception]]:
        """See `Writer.append`."""
        return self._open_writer().append(drafts)

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        """Run a small change in the writer's thread, see `Writer.write`."""
        return self._open_writer().write(change)

    def amend(self, change: Callable[[Connection], Sequence[Draft]]) -> Deferred[Sequence[Record]]:
        """Run a small change and store what is to be told of it, see `Writer.amend`."""
        return self._open_writer().amend(change)

    def overwrite(self) -> Deferred[None]:
        """Let nothing be left on the disk of what earlier changes took out, see
        `Writer.overwrite`."""
        return self._open_writer().overwrite()

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """Run a query in a reader's thread; all of it sees the database at one moment.

        Cancelling the result does not stop that.

        :raises StorageUnavailable: the database can't be read, or too many reads wait.
        :raises ShuttingDown: the database was closed.
        """
        return self.readers.run(partial(self.read_now, query), self._finish_read)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """Run a query in this thread, and block it: for the start, before the reactor runs."""
        with self._read_engine.connect() as connection:
            return query(connection)

    def write_now(self, change: Callable[[Connection], T]) -> T:
        """Run a change in this thread, and block it: for the start, before the reactor runs."""
        with self._write_engine.connect() as connection, connection.begin():
            return change(connection)

    def usage(self) -> Usage:
        """How much the file and its write-ahead log take on the disk. In any thread."""
        return Usage(_size(self.path) + _size(self._wal), self.max_bytes)

    def call_from_thread(self, function: Callable[..., object], *arguments: object) -> None:
        """Call something in the reactor's thread, from the writer's."""
        self._reactor.callFromThread(function, *arguments)

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("the database is not open")
        return self._writer

    def _finish_read(self, result: T | Failure) -> T | Failure:
        error = result.value if isinstance(result, Failure) else None
        if not isinstance(error, SQLAlchemyError):
            return result
        self._log.error("the database can't be read: {cause}", cause=cause(error))
        raise StorageUnavailable(
            "The log can't be read just now. Try again in a moment.", retry_after=RETRY_FAILED
        ) from error

    def _close_readers(self) -> None:
        self.readers.join()
        if self._anchor is not None:
            self._anchor.close()
        self._read_engine.dispose()
        self.high_water.close()

    def _make_file(self) -> None:
        """Make the file when it is missing. SQLite gives its other files the mode of this one.

        Under its own name it has a header from the beginning: one that is empty was never ours,
        and to take it for a new one would be to forget all that was said.
        """
        self._refuse_remains()
        if self.path.exists():
            self.path.chmod(0o600)
            return
        fresh = self.path.with_name(f"{self.path.name}.new")
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(fresh)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()
        fresh.replace(self.path)

    def _refuse_remains(self) -> None:
        """Refuse a file that is empty, and a write-ahead log whose file is gone.

        :raises StorageUnavailable: what is there is not all that was.
        """
        if _size(self.path):
            return
        if self.path.exists():
            raise StorageUnavailable(f"The database {self.path} is empty: {self._which_backup()}")
        if _size(self._wal):
            raise StorageUnavailable(
                f"The database {self.path} is gone, and {self._wal.name} is of no use alone: "
                f"{self._which_backup()}"
            )

    def _remedy(self, reason: str) -> str:
        """What to do about a file that can't be opened."""
        if "malformed" in reason or "not a database" in reason:
            return self._which_backup()
        return (
            "see that the disk has room, that the file is ours to write, and that no other program "
            "holds it."
        )

    def _which_backup(self) -> str:
        """What to put in the place of a file that is no good."""
        copies = [
            copy
            for copy in self.path.parent.glob(f"{self.path.name}.backup-*")
            if copy.suffix != ".partial"
        ]
        other = f"or move {self.path.name} and {self._wal.name} away to begin with nothing."
        if not copies:
            return (
                "put your newest backup in its place, as the documentation says under Backup and "
                f"restore, {other}"
            )
        newest = max(copies, key=lambda copy: copy.stat().st_mtime)
        return (
            "put your newest backup in its place, as the documentation says under Backup and "
            f"restore; the newest copy beside it, from before an upgrade, is {newest.name}; {other}"
        )

    def _engine(self, begin: str, pool: type[Pool], **settings: int) -> Engine:
        """An engine whose transactions begin as said.

        Parameters are hidden in errors, since they hold what people say.
        """
        engine = create_engine(
            URL.create("sqlite", database=str(self.path)),
            poolclass=pool,
            hide_parameters=True,
            connect_args={"timeout": self._busy_timeout, "check_same_thread": False},
            **settings,
        )
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
        return engine


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    """Settings of each new connection."""
    # The driver's own way of beginning transactions knows neither reads nor savepoints.
    connection.isolation_level = None
    for setting in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        # What is taken out is overwritten by zeros, and not only forgotten.
        "secure_delete = ON",
        f"cache_size = -{CACHE}",
        f"journal_size_limit = {WAL_KEPT}",
    ):
        connection.execute(f"PRAGMA {setting}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
