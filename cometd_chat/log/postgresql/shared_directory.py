"""What is kept beside the log, in the PostgreSQL that nodes share.

What it is: `PostgresSharedDirectory`, a `SharedDirectory`.

What it may know: locks and the clock of the database. What is kept there is in `shared_sql.py`.

Invariant: names are changed by one transaction at a time, over all nodes.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, select, text

from cometd_chat.log.postgresql.clock import NOW
from cometd_chat.log.shared_sql import SqlSharedDirectory
from cometd_chat.log.tables import nodes

#: Taken before a name is looked for, to the end of the change. The first number is that of all our
#: locks; 1 is that of appends, which is only taken after this one.
_LOCK_NAMES = text("SELECT pg_advisory_xact_lock(1668246885, 3)")


class PostgresSharedDirectory(SqlSharedDirectory):
    """A `SharedDirectory` in the log's database."""

    def clock(self) -> float:
        """See `SharedDirectory.clock`."""
        now = self._store.read_now(lambda connection: connection.execute(select(NOW)).scalar_one())
        return now / 1000

    def now(self) -> ColumnElement[int] | int:
        """See `SqlSharedDirectory.now`."""
        return NOW

    def lock_names(self, connection: Connection) -> None:
        """See `SqlSharedDirectory.lock_names`."""
        connection.execute(_LOCK_NAMES)

    def is_there(self, connection: Connection, node: int) -> bool:
        """See `SqlSharedDirectory.is_there`."""
        there = select(nodes.c.number).where(nodes.c.number == node)
        locked = there.with_for_update(read=True, key_share=True)
        return connection.execute(locked).first() is not None
