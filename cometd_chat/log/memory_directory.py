"""What is kept beside a log in memory.

What it is: `MemoryDirectory`, and `MemorySharedDirectory`, that of several nodes in one process,
for tests and for programs that embed the engine and need nothing durable.

What it may know: a `MemoryStore`, and what is said in a log in memory.

Invariant: they are the durable ones, and differ in durability only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete
from twisted.internet.defer import Deferred, succeed

from cometd_chat.log.directory import RoomRow, SqlDirectory, put_rooms, putting
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.memory_store import MemoryStore
from cometd_chat.log.shared_sql import SqlSharedDirectory
from cometd_chat.log.tables import nodes


def _put_rooms(store: MemoryStore, rows: Sequence[RoomRow]) -> None:
    if rows:
        store.write_now(lambda connection: put_rooms(connection, rows))


class MemoryDirectory(SqlDirectory):
    """A `Directory` in memory.

    :param rooms: the rooms that are there from the start.
    :param log: what is said; None for nothing.
    """

    def __init__(self, rooms: Sequence[RoomRow] = (), log: MemoryEventLog | None = None) -> None:
        #: Where it is, with all else that is beside the log.
        self.store = MemoryStore()
        super().__init__(self.store)
        self._log = log
        _put_rooms(self.store, rooms)

    def remove_silent_room(self, name: str, context: str) -> Deferred[bool]:
        """See `Directory.remove_silent_room`."""
        if self._log is not None and self._log.has(context):
            return succeed(False)
        return super().remove_silent_room(name, context)


class MemorySharedDirectory(SqlSharedDirectory):
    """A `SharedDirectory` in memory.

    :param rooms: those that are there from the start.
    :param log: what is said, and tells the changes; as long as it is cut, so is this.
    :param seconds: the clock by which sessions are seen.
    :param beside: that of another node: the two are one.
    """

    def __init__(
        self,
        rooms: Sequence[RoomRow],
        log: MemoryEventLog,
        seconds: Callable[[], float],
        beside: MemorySharedDirectory | None = None,
    ) -> None:
        #: Where it is, with all else that is beside the log.
        self.store: MemoryStore = MemoryStore(
            log.append_all,
            lambda: log.cut or log.failure,
            None if beside is None else beside.store,
        )
        super().__init__(self.store)
        self._log = log
        self._seconds = seconds
        self._gone: set[int] = set() if beside is None else beside._gone
        _put_rooms(self.store, rooms)

    def forget_node(self, number: int) -> None:
        """A node is gone, and what it had claimed is free."""
        self._gone.add(number)
        its = delete(nodes).where(nodes.c.number == number)
        self.store.write_now(lambda connection: connection.execute(its).close())

    def clock(self) -> float:
        """See `SharedDirectory.clock`."""
        return self._seconds()

    def now(self) -> int:
        """See `SqlSharedDirectory.now`."""
        return int(self._seconds() * 1000)

    def lock_names(self, connection: Connection) -> None:
        """See `SqlSharedDirectory.lock_names`: there is one at a time."""

    def is_there(self, connection: Connection, node: int) -> bool:
        """See `SqlSharedDirectory.is_there`. A node is there unless it was said to be gone: the
        table of nodes is elsewhere."""
        if node in self._gone:
            return False
        put = putting(connection, nodes).values(
            number=node, name="", peer="", version="", lease_until=0
        )
        connection.execute(put.on_conflict_do_nothing())
        return True

    def remove_silent_room(self, name: str, context: str) -> Deferred[bool]:
        """See `Directory.remove_silent_room`."""
        if self._log.has(context):
            return succeed(False)
        return super().remove_silent_room(name, context)
