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
from sqlalchemy import BindParameter, Connection, bindparam, or_, select, text

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


# Asked again and again, so made once; see `cometd_chat.log.directory`.
_IDENTITY: BindParameter[Any] = bindparam("identity")
_ROOM: BindParameter[Any] = bindparam("room")
_ACCOUNT_ROLE = select(members.c.role).where(
    members.c.identity == _IDENTITY, members.c.deleted_at.is_(None)
)
_SESSION_ROLE = select(sessions.c.role).where(sessions.c.id == _IDENTITY)
_ROOM_ROLE = select(room_members.c.role).where(
    room_members.c.room == _ROOM, room_members.c.identity == _IDENTITY
)
_SANCTION = (
    select(sanctions)
    .where(
        sanctions.c.identity == _IDENTITY,
        sanctions.c.kind.in_(bindparam("kinds", expanding=True)),
        sanctions.c.lifted_at.is_(None),
        or_(sanctions.c.until.is_(None), sanctions.c.until > bindparam("now")),
        or_(sanctions.c.room.is_(None), sanctions.c.room == _ROOM),
    )
    .limit(1)
)


def rank_of(connection: Connection, identity: str, room: str | None) -> Rank:
    """What somebody is, in the house and in a room.

    :param room: the name of the room; None for none.
    """
    its = {"identity": identity}
    role = connection.execute(_ACCOUNT_ROLE, its).scalar()
    if role is None:
        role = connection.execute(_SESSION_ROLE, its).scalar()
    in_room = None
    if room is not None:
        in_room = connection.execute(_ROOM_ROLE, {**its, "room": room}).scalar()
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
    under = {"identity": identity, "kinds": list(kinds), "room": room, "now": now}
    row = connection.execute(_SANCTION, under).mappings().first()
    return None if row is None else dict(row)


def kind_of(connection: Connection, room: str) -> str | None:
    """For whom a room is; None where there is none."""
    return connection.execute(select(rooms.c.kind).where(rooms.c.name == room)).scalar()
