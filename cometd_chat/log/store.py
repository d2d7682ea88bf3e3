"""What a directory is kept in.

What it is: `Store`, the seam of a database's tables: it runs queries and changes in threads; and
`SharedStore`, one whose changes can be told to all nodes.

What it may know: connections, control records. Not what is in the tables.

Invariant: what was answered is durable; a change is made and told, or neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection
from twisted.internet.defer import Deferred

from cometd_chat.log.control import Control

T = TypeVar("T")


class Blocking(Protocol):
    """A database whose tables are there, for the start, before the reactor runs."""

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """Run a query and block; all of it sees the database at one moment."""

    def write_now(self, change: Callable[[Connection], T]) -> T:
        """Run a change in a transaction and block."""


class Store(Blocking, Protocol):
    """A database that is open.

    `read` and `write` are called in the reactor's thread, and answer there.
    """

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """Run a query; all of it sees the database at one moment, which is after each change that
        was answered.

        :raises StorageUnavailable: the database can't be read just now.
        :raises ShuttingDown: it was closed.
        """

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        """Run a small change in a transaction. Changes are made in the order in which they were
        asked for. If one raises, it alone is undone and its error is the result.

        Where the database is elsewhere, one that is in doubt is made again: it has to be such that
        this does no harm.

        :raises StorageUnavailable: the database can't be written just now.
        :raises ShuttingDown: it was closed.
        """


class SharedStore(Store, Protocol):
    """A database that is open, and that other nodes have too."""

    def tell(self, connection: Connection, *controls: Control) -> None:
        """Let all nodes be told, within a change, of what they must not miss: once it is committed,
        and only then."""
