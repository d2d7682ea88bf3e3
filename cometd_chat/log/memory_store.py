"""The tables in memory, for tests and for those who embed the engine.

What it is: `MemoryStore`, a `Store` in SQLite's memory, where each query and each change is done at
once; beside another one it is the same database, as another node reaches it.

What it may know: connections, and who tells of changes. Not what is in the tables.

Invariant: it is the SQL of the real ones, with the tables of the newest migration.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine, event
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
        self._connection: Connection | None = None
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
        with self._database.begin():
            return query(self._database)

    def write_now(self, change: Callable[[Connection], T]) -> T:
        """See `Store.write_now`."""
        self._told = []
        with self._database.begin():
            result = change(self._database)
        told, self._told = self._told, []
        if told:
            self._append([control_draft(each) for each in told])
        return result

    @property
    def _database(self) -> Connection:
        if self._beside is not None:
            return self._beside._database
        if self._connection is None:
            self._connection = _engine().connect()
        return self._connection


@cache
def _engine() -> Engine:
    """One for all, so that a statement is compiled once; each of its connections is a database."""
    engine = create_engine("sqlite://", creator=_new_database, poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    # By the driver itself: SQLAlchemy makes as much of these five letters as of a query, and tests
    # in memory begin hundreds of thousands of times.
    database = connection.connection.driver_connection
    assert isinstance(database, sqlite3.Connection)
    database.execute("BEGIN")


def _new_database() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
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
