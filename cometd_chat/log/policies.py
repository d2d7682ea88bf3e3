"""The policies, and who waits by one of them, as they are kept.

What it is: what is read and written of their tables, within a transaction of whoever calls.

What it may know: its tables. Not what a policy means.

Invariant: what was never changed has no row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from sqlalchemy import Connection, delete, insert, or_, select, tuple_, update

from cometd_chat.log.tables import policies, sessions

_WAITING = "waiting"
_GUEST = "guest"

_KEPT = select(policies)


def kept_policies(connection: Connection) -> Mapping[str, str]:
    """Their values as JSON, by their names."""
    return {row.name: row.value for row in connection.execute(_KEPT)}


def put_policies(connection: Connection, values: Mapping[str, str]) -> None:
    """Keep other values of some.

    :param values: as JSON, by their names.
    """
    connection.execute(delete(policies).where(policies.c.name.in_(list(values))))
    rows = [{"name": name, "value": value} for name, value in values.items()]
    connection.execute(insert(policies), rows)


@attrs.frozen
class WaitingRow:
    """Somebody who waits to be let in.

    :param since: milliseconds since 1970-01-01T00:00Z.
    """

    session: str
    name: str
    since: int


def waiting_rows(connection: Connection, after: str | None, limit: int) -> Sequence[WaitingRow]:
    """Who waits, those first who have waited for the longest.

    :param after: the name of the last one of the page before; None for the first page.
    """
    waiting = sessions.c.role == _WAITING
    order = sessions.c.created_at, sessions.c.id
    query = select(sessions.c.id, sessions.c.name, sessions.c.created_at).where(waiting)
    if after is not None:
        last = connection.execute(
            select(*order).where(waiting, sessions.c.name == after).limit(1)
        ).first()
        if last is not None:
            query = query.where(tuple_(*order) > tuple_(*last))
    rows = connection.execute(query.order_by(*order).limit(limit))
    return [WaitingRow(*row) for row in rows]


def waiting_session(connection: Connection, name: str, name_key: str) -> str | None:
    """The id of the session of somebody who waits; see `let_in`."""
    # That of who holds nothing but a connection is in no row; see `claims`.
    is_named = or_(sessions.c.name_key == name_key, sessions.c.name == name)
    query = select(sessions.c.id).where(sessions.c.role == _WAITING, is_named).limit(1)
    found: str | None = connection.execute(query).scalar()
    return found


def let_in(connection: Connection, name: str, name_key: str) -> str | None:
    """Make a guest of somebody who waits; the id of their session, None where there is none.

    :param name_key: what their name is compared by.
    """
    found = waiting_session(connection, name, name_key)
    if found is not None:
        connection.execute(update(sessions).where(sessions.c.id == found).values(role=_GUEST))
    return found


def let_all_in(connection: Connection) -> None:
    """Make guests of all who wait."""
    connection.execute(update(sessions).where(sessions.c.role == _WAITING).values(role=_GUEST))
