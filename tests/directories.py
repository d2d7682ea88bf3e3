"""What is kept in a directory in memory, looked at and changed past it.

What it is: functions over its rows, for tests of what becomes of a backup, and of rows that are
older than what is in use.

What it may know: the tables.

Invariant: nobody is told of what is changed by it.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
from sqlalchemy import Connection, delete, insert, select

from cometd_chat.log.directory import RoomRow, SessionRow
from cometd_chat.log.memory_directory import MemoryDirectory, MemorySharedDirectory
from cometd_chat.log.tables import rooms, sessions

Kept = MemoryDirectory | MemorySharedDirectory


def kept_sessions(directory: Kept) -> dict[str, SessionRow]:
    """All sessions, by their ids."""
    found = directory.store.read_now(lambda connection: connection.execute(select(sessions)).all())
    return {row.id: SessionRow(*row) for row in found}


def replace_sessions(directory: Kept, rows: Iterable[SessionRow], *ids: str) -> None:
    """Keep these, in the place of those of some ids, or of all."""
    gone = delete(sessions).where(sessions.c.id.in_(ids)) if ids else delete(sessions)
    put = [attrs.asdict(row) for row in rows]
    directory.store.write_now(lambda connection: connection.execute(gone).close())
    if put:
        directory.store.write_now(lambda each: each.execute(insert(sessions), put).close())


def replace_room(directory: Kept, name: str | None, row: RoomRow) -> None:
    """Keep a room in the place of another one."""
    gone, put = delete(rooms).where(rooms.c.name == name), insert(rooms).values(attrs.asdict(row))

    def change(connection: Connection) -> None:
        connection.execute(gone)
        connection.execute(put)

    directory.store.write_now(change)


def remove_room(directory: Kept, name: str) -> None:
    """Keep a room no longer."""
    gone = delete(rooms).where(rooms.c.name == name)
    directory.store.write_now(lambda connection: connection.execute(gone).close())
