"""The tables in memory, for tests and for those who embed the engine.

What it is: `MemoryStore`, a `Store` in SQLite's memory, where each query and each change is done at
once; beside another one it is the same database, as another node reaches it.

What it may know: connections, and who tells of changes. Not what is in the tables.

Invariant: it is the SQL of the real ones, with the tables of the newest migration.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred, execute, fail

from cometd_chat.errors import ChatError
from cometd_chat.events.record import Draft
from cometd_chat.log.control import Control, control_draft
from cometd_chat.log.tables import metadata

T = TypeVar("T")


class MemoryStore:
    """A `SharedStore` in memory.

    :param append: appends to the log that tells of changes, where there are several nodes.
    :param trouble: why the database can't be reached from here; None when it can.
    :param beside: that of another node, whose database it is.
    """

    def __init__(
        self,
        append: Callable[[Sequence[Draft]], object] = lambda drafts: None,
        trouble: Callable[[], ChatError | None] = lambda: None,
        beside: MemoryStore | None = None,
    ) -> None:
        self._append = append
        self._trouble = trouble
        self._beside = beside
        self._taken: list[Connection] = []
        self._giving_back: weakref.finalize[..., object] | None = None
        self._told: list[Control] = []
        #: While set, each change and each question is refused with it.
        self.failure: ChatError | None = None

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """See `Store.read`."""
        refusal = self.failure or self._trouble()
        return execute(self.read_now, query) if refusal is None else fail(refusal)

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        """See `Store.write`."""
        refusal = self.failure or self._trouble()
        return execute(self.write_now, change) if refusal is None else fail(refusal)

    def tell(self, connection: Connection, *controls: Control) -> None:
        """See `SharedStore.tell`."""
        self._told.extend(controls)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """See `Store.read_now`."""
        database = self._database
        try:
            return query(database)
        except SQLAlchemyError:
            self._keep()
            raise

    def write_now(self, change: Callable[[Connection], T]) -> T:
        """See `Store.write_now`."""
        database = self._database
        driver = _driver(database)
        self._told = []
        driver.execute("SAVEPOINT change")
        try:
            result = change(database)
        except BaseException as error:
            if not isinstance(error, ChatError):
                self._keep()
            driver.execute("ROLLBACK TO change")
            raise
        finally:
            driver.execute("RELEASE change")
        told, self._told = self._told, []
        if told:
            self._append([control_draft(each) for each in told])
        return result

    @property
    def _database(self) -> Connection:
        if self._beside is not None:
            return self._beside._database
        if not self._taken:
            self._taken.append(_take())
            self._giving_back = weakref.finalize(self, _give_back, self._taken)
            self._giving_back.atexit = False
        return self._taken[0]

    def close(self) -> None:
        """Let the next one have this database at once, and not only when this store is garbage that
        was found: one that was used just now is still in the processor's caches."""
        if self._giving_back is not None:
            self._giving_back()

    def _keep(self) -> None:
        """Let nobody have this database after this store: something failed in it."""
        if self._beside is not None:
            self._beside._keep()
        elif self._giving_back is not None:
            self._giving_back.detach()


# A database is used again when its store is gone: to read the definitions of its tables takes a new
# connection a quarter of a millisecond, and to prepare the statements of a start as long again. All
# that is done in one is within a savepoint of a transaction that is never committed, and each
# change in another one within that: to roll back to it empties the database, and fails where it is
# no longer the one that was begun with.

#: Those that nobody uses any more.
_idle: list[Connection] = []


def _take() -> Connection:
    """A database with all tables and nothing in them."""
    while _idle:
        connection = _idle.pop()
        try:
            _driver(connection).execute("ROLLBACK TO empty")
        except (SQLAlchemyError, sqlite3.Error):
            connection.invalidate()
        else:
            return connection
    connection = _engine().connect()
    _driver(connection).execute("BEGIN")
    _driver(connection).execute("SAVEPOINT empty")
    return connection


def _give_back(taken: list[Connection]) -> None:
    # What a store took is taken from it: garbage may come back to life, and ask for its own again.
    _idle.append(taken.pop())


def _driver(connection: Connection) -> sqlite3.Connection:
    # By the driver itself: SQLAlchemy makes as much of beginning as of a query, and tests in memory
    # begin hundreds of thousands of times.
    database = connection.connection.driver_connection
    assert isinstance(database, sqlite3.Connection)
    return database


@cache
def _engine() -> Engine:
    """One for all, so that a statement is compiled once; each of its connections is a database."""
    return create_engine("sqlite://", creator=_new_database, poolclass=NullPool)


def _new_database() -> sqlite3.Connection:
    database = sqlite3.connect(
        ":memory:", isolation_level=None, check_same_thread=False, cached_statements=1024
    )
    database.deserialize(_empty())
    database.execute("PRAGMA foreign_keys = ON")
    return database


@cache
def _empty() -> bytes:
    """A database with all tables and nothing in them, in a tenth of the time that it takes to make
    them."""
    made = sqlite3.connect(":memory:", isolation_level=None)
    engine = create_engine("sqlite://", creator=lambda: made, poolclass=NullPool)
    with engine.connect() as connection:
        metadata.create_all(connection)
        return made.serialize()
