"""The database that nodes share, as what is kept in it sees it.

What it is: `SharedStore`, a `Store` whose changes can be told to all nodes, and its clock.

What it may know: nothing but that.

Invariant: a change is made and told, or neither.
"""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import BigInteger, ColumnElement, Connection, cast, extract, func

from cometd_chat.log.control import Control
from cometd_chat.log.store import Store

#: Milliseconds since 1970-01-01T00:00Z by the clock of the database: the one that all nodes have.
NOW: ColumnElement[int] = cast(extract("epoch", func.clock_timestamp()) * 1000, BigInteger)


class SharedStore(Store, Protocol):
    """A database that is open, and that other nodes have too."""

    def tell(self, connection: Connection, *controls: Control) -> None:
        """Let all nodes be told, within a change, of what they must not miss: once it is committed,
        and only then."""
