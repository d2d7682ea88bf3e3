"""What somebody is, as it is kept: by which it is decided who may act on whom, where it is done.

What it is: `Rank`, read within a transaction, and the lock by which roles stay what they are until
its end.

What it may know: the tables of people, rooms and sanctions. Not what a role may do.

Invariant: after `lock_roles` nobody's role changes until the transaction is over: of two who take
each other's role away at once, the second one has none any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
from sqlalchemy import Connection, or_, select, text

from cometd_chat.log.tables import members, room_members, rooms, sanctions, sessions

#: That of roles; SQLite has one writer at a time. See `cometd_chat.log.members` for that of names.
_LOCK_ROLES = text("SELECT pg_advisory_xact_lock(1668246885, 4)")

#: The kinds of sanctions by which somebody is nowhere, or not in a room; and who says nothing.
KEPT_OUT = ("ban", "kick")
SAYS_NOTHING = (*KEPT_OUT, "silence")


@attrs.frozen
class Rank:
    """What somebody is.

    :param role: the word of their role in the house; that of a guest for who is not known.
    :param in_room: of their role in a room; None for who does not belong to it.
    """

    role: str
    in_room: str | None


def lock_roles(connection: Connection) -> None:
    """Let nobody's role change but by this transaction. To be called before any is read."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK_ROLES)


def rank_of(connection: Connection, identity: str, room: str | None) -> Rank:
    """What somebody is, in the house and in a room.

    :param room: the name of the room; None for none.
    """
    account = select(members.c.role).where(
        members.c.identity == identity, members.c.deleted_at.is_(None)
    )
    role = connection.execute(account).scalar()
    if role is None:
        role = connection.execute(select(sessions.c.role).where(sessions.c.id == identity)).scalar()
    in_room = None
    if room is not None:
        there = room_members.c.room == room, room_members.c.identity == identity
        in_room = connection.execute(select(room_members.c.role).where(*there)).scalar()
    return Rank(role or "guest", in_room)


def sanction_on(
    connection: Connection,
    identity: str,
    room: str | None,
    now: int,
    kinds: Collection[str] = KEPT_OUT,
) -> Mapping[str, Any] | None:
    """The sanction that somebody is under, in a room or everywhere; None for none.

    :param now: milliseconds since 1970-01-01T00:00Z.
    :param kinds: of which kinds.
    """
    lasting = (
        sanctions.c.lifted_at.is_(None),
        or_(sanctions.c.until.is_(None), sanctions.c.until > now),
    )
    query = (
        select(sanctions)
        .where(sanctions.c.identity == identity, sanctions.c.kind.in_(kinds), *lasting)
        .where(or_(sanctions.c.room.is_(None), sanctions.c.room == room))
    )
    row = connection.execute(query.limit(1)).mappings().first()
    return None if row is None else dict(row)


def kind_of(connection: Connection, room: str) -> str | None:
    """For whom a room is; None where there is none."""
    return connection.execute(select(rooms.c.kind).where(rooms.c.name == room)).scalar()
