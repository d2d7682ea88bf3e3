"""Who belongs to rooms, and what becomes of a room, as it is kept.

What it is: what is read and written of the tables of rooms and of their members, within a
transaction of whoever calls.

What it may know: its tables. Not who may do that, nor what a role means.

Invariant: a room's members go with it: who belonged to one of the same name does not belong to the
next one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
from sqlalchemy import Column, ColumnElement, Connection, delete, insert, or_, select, update

from cometd_chat.log.tables import (
    audit,
    invites,
    members,
    positions,
    reports,
    room_members,
    rooms,
    screened,
    sessions,
)

#: The kind of a room that is being removed: its name is nobody's until what was said there is gone.
REMOVED = "removed"


@attrs.frozen
class MemberRow:
    """Somebody who belongs to a room.

    :param by: the identity that let them.
    :param at: milliseconds since 1970-01-01T00:00Z.
    """

    room: str
    identity: str
    role: str
    by: str
    at: int


@attrs.frozen
class NamedMember:
    """The same, as it is listed."""

    identity: str
    name: str
    role: str


_MEMBERS = select(room_members)


def member_rows(connection: Connection) -> list[MemberRow]:
    """All who belong to any room."""
    return [MemberRow(*row) for row in connection.execute(_MEMBERS)]


def add_members(
    connection: Connection, by: str, at: int, room: str, roles: Mapping[str, str] | None
) -> None:
    """Let some belong to a new room, and nobody who belonged to one of the same name before it."""
    drop_members(connection, room)
    put_members(connection, by, at, room, roles or {})


def put_members(
    connection: Connection, by: str, at: int, room: str, roles: Mapping[str, str]
) -> None:
    """Let some belong to a room, as what is said, or as something else than before."""
    there = room_members.c.room == room
    connection.execute(delete(room_members).where(there, room_members.c.identity.in_(list(roles))))
    rows = [
        {"room": room, "identity": identity, "role": role, "by": by, "at": at}
        for identity, role in roles.items()
    ]
    if rows:
        connection.execute(insert(room_members), rows)


def drop_member(connection: Connection, room: str, identity: str) -> bool:
    """Let somebody belong to a room no longer; False where they did not."""
    there = room_members.c.room == room, room_members.c.identity == identity
    return connection.execute(delete(room_members).where(*there)).rowcount > 0


def drop_members(connection: Connection, room: str) -> None:
    """Let nobody belong to a room."""
    connection.execute(delete(room_members).where(room_members.c.room == room))


def named_members(connection: Connection, rooms: Collection[str]) -> dict[str, list[NamedMember]]:
    """Who belongs to some rooms, those first who have for the longest; by room."""
    query = (
        select(
            room_members.c.room,
            room_members.c.identity,
            members.c.name,
            sessions.c.name,
            room_members.c.role,
        )
        .outerjoin(members, members.c.identity == room_members.c.identity)
        .outerjoin(sessions, sessions.c.id == room_members.c.identity)
        .where(room_members.c.room.in_(rooms))
        .order_by(room_members.c.at, room_members.c.identity)
    )
    found: dict[str, list[NamedMember]] = {name: [] for name in rooms}
    for room, identity, member, guest, role in connection.execute(query):
        if member or guest:
            found[room].append(NamedMember(identity, member or guest, role))
    return found


def seen_by(room: Column[Any], identity: str) -> ColumnElement[bool]:
    """Whether what is kept of a room, or of none, may be shown to somebody: neither the room's name
    nor what happens there is for who doesn't belong to one that is not public.

    :param room: the column of its name.
    """
    belongs = select(room_members.c.room).where(
        room_members.c.room == room, room_members.c.identity == identity
    )
    hidden = select(rooms.c.name).where(
        rooms.c.name == room, rooms.c.kind != "public", ~belongs.exists()
    )
    return or_(room.is_(None), ~hidden.exists())


def change_room(connection: Connection, name: str, **values: Any) -> Mapping[str, Any] | None:
    """Change what is kept of a room.

    :returns: its row as it is then, whoever else has changed something of it; None where there is
        none.
    """
    there = rooms.c.name == name, rooms.c.kind != REMOVED
    if connection.execute(update(rooms).where(*there).values(values)).rowcount == 0:
        return None
    return dict(connection.execute(select(rooms).where(rooms.c.name == name)).mappings().one())


def is_there(connection: Connection, name: str) -> bool:
    """Whether there is a room of a name, which is not being removed."""
    there = rooms.c.name == name, rooms.c.kind != REMOVED
    return connection.execute(select(rooms.c.name).where(*there)).first() is not None


def begin_removal(connection: Connection, name: str) -> bool:
    """Let a room be removed: nobody belongs to it, no invitation leads there, and of what was said
    there nothing waits for a moderator. Where not all could see it, nobody learns afterwards what
    was done there: who might is known no longer."""
    there = rooms.c.name == name, rooms.c.kind != REMOVED
    kind = connection.execute(select(rooms.c.kind).where(*there).with_for_update()).scalar()
    if kind is None:
        return False
    change_room(connection, name, kind=REMOVED, topic="")
    drop_members(connection, name)
    of_room = [invites, screened, reports]
    if kind != "public":
        of_room.append(audit)
    for table in of_room:
        connection.execute(delete(table).where(table.c.room == name))
    return True


def end_removal(connection: Connection, name: str) -> None:
    """Let its name be free."""
    connection.execute(delete(positions).where(positions.c.room == name))
    there = rooms.c.name == name, rooms.c.kind == REMOVED
    connection.execute(delete(rooms).where(*there))


_REMOVED = select(rooms.c.name).where(rooms.c.kind == REMOVED)


def is_removed(name: str, connection: Connection) -> bool:
    """Whether a room is being removed, and its name not free yet."""
    return connection.execute(_REMOVED.where(rooms.c.name == name)).first() is not None


def removed_rooms(connection: Connection) -> list[str]:
    """The names of rooms whose removal has begun."""
    return list(connection.execute(_REMOVED).scalars())
