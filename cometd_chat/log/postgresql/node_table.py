"""The table of nodes in PostgreSQL.

What it is: `SqlNodeTable`, a `NodeTable` whose clock is the database's.

What it may know: its table, control records. Not who asks, nor when.

Invariant: a node that is forgotten is told to be gone in the same transaction. The clock is not
believed: a lease is told with its age, and whose is over those who look say by clocks of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update
from twisted.internet.defer import Deferred

from cometd_chat.log.control import NodeGone, NodeJoined
from cometd_chat.log.leases import LEASE, Lease, NodeRow
from cometd_chat.log.postgresql.clock import NOW
from cometd_chat.log.store import SharedStore
from cometd_chat.log.tables import nodes

_LEASE = int(LEASE * 1000)

_ROW = (nodes.c.number, nodes.c.name, nodes.c.peer, nodes.c.version)


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
        query = select(*_ROW).where(nodes.c.lease_until > NOW).order_by(nodes.c.number)
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

    def renew(self, number: int) -> Deferred[Sequence[Lease]]:
        """See `NodeTable.renew`."""
        renew = update(nodes).where(nodes.c.number == number).values(lease_until=NOW + _LEASE)
        age = NOW + _LEASE - nodes.c.lease_until
        leases = select(*_ROW, nodes.c.lease_until, age).order_by(nodes.c.number)

        def change(connection: Connection) -> Sequence[Lease]:
            connection.execute(renew)
            rows = connection.execute(leases)
            return [Lease(NodeRow(*row), until, age / 1000) for *row, until, age in rows]

        return self._store.write(change)

    def forget(self, leases: Sequence[Lease]) -> Deferred[None]:
        """See `NodeTable.forget`."""

        def change(connection: Connection) -> None:
            for each in leases:
                # Its node may renew it at this moment: then it is another one, whoever comes first.
                same = nodes.c.number == each.node, nodes.c.lease_until == each.stamp
                if connection.execute(delete(nodes).where(*same)).rowcount:
                    self._store.tell(connection, NodeGone(each.node))

        return self._store.write(change)

    def remove(self, number: int) -> Deferred[None]:
        """See `NodeTable.remove`."""

        def change(connection: Connection) -> None:
            if connection.execute(delete(nodes).where(nodes.c.number == number)).rowcount:
                self._store.tell(connection, NodeGone(number, stopped=True))

        return self._store.write(change)
