"""What is kept of sanctions, and how other nodes are told.

What it is: what a sanction is in its table, within the transaction in which it is imposed; and as a
record of the log.

What it may know: its tables, the audit log. Not who may impose what, nor what follows from it.

Invariant: of two that say the same of the same in the same place one is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs
from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, insert, or_, select

from cometd_chat.chat import audit
from cometd_chat.chat.sanction_rules import described
from cometd_chat.chat.sanctions import (
    Sanction,
    kept_sanction,
    kind_named,
)
from cometd_chat.errors import AlreadySanctioned
from cometd_chat.log.control import Sanctioned
from cometd_chat.log.tables import sanctions, secrets

#: The name of the key by which networks are hashed.
KEY = "networks"


def impose(connection: Connection, sanction: Sanction) -> None:
    """Keep a sanction; nothing where it is kept already, since a change may be made again."""
    there = select(sanctions.c.id).where(sanctions.c.id == sanction.id)
    if connection.execute(there).first() is not None:
        return
    alike = _alike(connection, sanction)
    if alike is not None:
        raise _already(alike, sanction.at)
    row = attrs.asdict(sanction) | {
        "kind": sanction.kind.value,
        "identity": sanction.identity or None,
        "network": sanction.network or None,
    }
    connection.execute(insert(sanctions), row)
    audit.note(
        connection,
        at=sanction.at,
        who=sanction.by,
        who_name=sanction.by_name,
        what=sanction.kind.value,
        whom=sanction.who,
        room=sanction.room,
        reason=sanction.reason,
        about=sanction.id,
    )


def impose_new(some: Sequence[Sanction], connection: Connection) -> list[Sanction]:
    """Keep those of some sanctions that say what none says yet."""
    imposed = []
    for each in some:
        with suppress(AlreadySanctioned):
            impose(connection, each)
            imposed.append(each)
    return imposed


def _alike(connection: Connection, sanction: Sanction) -> Sanction | None:
    """What is in force already, of the same kind for the same in the same place."""
    kind, room = sanctions.c.kind == sanction.kind.value, sanctions.c.room
    query = select(sanctions).where(kind, lasting(sanction.at))
    query = query.where(room.is_(None) if sanction.room is None else room == sanction.room)
    if sanction.network:
        query = query.where(sanctions.c.network == sanction.network)
    else:
        query = query.where(sanctions.c.identity == sanction.identity)
    row = connection.execute(query.limit(1)).first()
    return None if row is None else kept_sanction(dict(row._mapping))


def _already(there: Sanction, now: float) -> AlreadySanctioned:
    return AlreadySanctioned(
        f"{described(there, now).removesuffix('.')}, by {there.by_name} already: lift that first."
    )


_KEPT_KEY = select(secrets.c.value).where(secrets.c.name == KEY)


def kept_key(connection: Connection) -> bytes:
    """The key by which networks are hashed; empty where there is none yet."""
    return bytes(connection.execute(_KEPT_KEY).scalar() or b"")


def lasting(now: int | BindParameter[int]) -> ColumnElement[bool]:
    """Which are in force at a moment."""
    ends = or_(sanctions.c.until.is_(None), sanctions.c.until > now)
    return sanctions.c.lifted_at.is_(None) & ends


#: Those in force at the moment that is called ``now``.
IN_FORCE = select(sanctions).where(lasting(bindparam("now"))).order_by(sanctions.c.at)


def told_on(sanction: Sanction) -> Sanctioned:
    """What tells the other nodes of one."""
    return Sanctioned(
        **attrs.asdict(sanction) | {"kind": sanction.kind.value, "network": sanction.network.hex()}
    )


def sanction_told(control: Sanctioned) -> Sanction:
    """The one that such a record tells of."""
    fields = attrs.asdict(control)
    fields |= {"kind": kind_named(control.kind), "network": bytes.fromhex(control.network)}
    return Sanction(**fields)
