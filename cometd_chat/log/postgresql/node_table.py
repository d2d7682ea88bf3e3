"""The table of nodes in PostgreSQL.

What it is: `SqlNodeTable`, a `NodeTable` whose clock is the database's.

What it may know: its table, control records. Not who asks, nor when.

Invariant: a lease is counted by one clock, and a node that is forgotten is told to be gone in the
same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update
from twisted.internet.defer import Deferred

from cometd_chat.log.control import NodeGone, NodeJoined
from cometd_chat.log.nodes import LEASE, NodeRow
from cometd_chat.log.postgresql.clock import NOW
from cometd_chat.log.store import SharedStore
from cometd_chat.log.tables import nodes

_LEASE = int(LEASE * 1000)


class SqlNodeTable:
    """A `NodeTable` in the database that the nodes share.

    :param store: the database.
    """

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    def add_now(self, name: str, peer: str, version: str) -> int:
        """See `NodeTable.add_now`."""
        return self._store.write_now(lambda connection: self._add(connection, name, peer, version))

    def rows_now(self) -> Sequence[NodeRow]:
        """See `NodeTable.rows_now`."""
        columns = (nodes.c.number, nodes.c.name, nodes.c.peer, nodes.c.version)
        query = select(*columns).where(nodes.c.lease_until > NOW).order_by(nodes.c.number)
        return self._store.read_now(
            lambda connection: [NodeRow(*row) for row in connection.execute(query)]
        )

    def add(self, name: str, peer: str, version: str) -> Deferred[int]:
        """See `NodeTable.add`. One that is in doubt is added once more: the number that nobody has
        is gone with its lease."""
        return self._store.write(lambda connection: self._add(connection, name, peer, version))

    def _add(self, connection: Connection, name: str, peer: str, version: str) -> int:
        row = {"name": name, "peer": peer, "version": version, "lease_until": NOW + _LEASE}
        number = connection.execute(
            insert(nodes).values(row).returning(nodes.c.number)
        ).scalar_one()
        self._store.tell(connection, NodeJoined(number, name, peer, version))
        return int(number)

    def renew(self, number: int) -> Deferred[bool]:
        """See `NodeTable.renew`."""
        mine = update(nodes).where(nodes.c.number == number, nodes.c.lease_until > NOW)
        renew = mine.values(lease_until=NOW + _LEASE)
        forget = delete(nodes).where(nodes.c.lease_until <= NOW).returning(nodes.c.number)

        def change(connection: Connection) -> bool:
            good = connection.execute(renew).rowcount > 0
            gone = sorted(connection.execute(forget).scalars())
            self._store.tell(connection, *map(NodeGone, gone))
            return good

        return self._store.write(change)

    def remove(self, number: int) -> Deferred[None]:
        """See `NodeTable.remove`."""

        def change(connection: Connection) -> None:
            if connection.execute(delete(nodes).where(nodes.c.number == number)).rowcount:
                self._store.tell(connection, NodeGone(number, stopped=True))

        return self._store.write(change)
