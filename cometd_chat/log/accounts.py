"""Accounts, as they are kept: what somebody logs in by, and what admins see.

What it is: `AccountRow`, and statements about the table of members, for whoever has a connection.

What it may know: identities, names' keys, hashes of passwords. Not what a role may do.

Invariant: an account that was deleted is found by nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from sqlalchemy import Connection, and_, bindparam, case, func, or_, select, update

from cometd_chat.log.tables import members, sessions


@attrs.frozen
class AccountRow:
    """An account.

    :param role: its word.
    :param password: what is kept of it; None for who logs in by other means.
    :param created_at: milliseconds since 1970-01-01T00:00Z, like all times here.
    """

    identity: str
    name: str
    role: str
    password: str | None
    created_at: int
    seen_at: int


#: When any of their sessions was seen, where nodes note that.
_SEEN = (
    select(func.max(sessions.c.seen_at))
    .where(sessions.c.identity == members.c.identity, sessions.c.identity != "")
    .scalar_subquery()
)

_COLUMNS = (
    members.c.identity,
    members.c.name,
    members.c.role,
    members.c.password,
    members.c.created_at,
    case((members.c.seen_at < _SEEN, _SEEN), else_=members.c.seen_at),
)

_THERE = members.c.deleted_at.is_(None)

# Asked again and again, so made once; see `cometd_chat.log.directory`.
_NAMED = select(*_COLUMNS).where(
    _THERE,
    or_(members.c.name_key == bindparam("folded"), members.c.name_looks == bindparam("looks")),
)
_OF = select(*_COLUMNS).where(_THERE, members.c.identity == bindparam("identity"))


def account_named(connection: Connection, folded: str, looks: str) -> AccountRow | None:
    """The account whose name has either of two keys."""
    row = connection.execute(_NAMED, {"folded": folded, "looks": looks}).first()
    return None if row is None else AccountRow(*row)


def account_of(connection: Connection, identity: str) -> AccountRow | None:
    """The account of an identity."""
    row = connection.execute(_OF, {"identity": identity}).first()
    return None if row is None else AccountRow(*row)


def put_password(
    connection: Connection, identity: str, password: str, instead_of: str | None
) -> bool:
    """Keep another password.

    :param instead_of: what was kept until now.
    :returns: False when that was another one: somebody has changed it meanwhile.
    """
    known = password, instead_of
    its = and_(members.c.identity == identity, members.c.password.in_(known), _THERE)
    return bool(connection.execute(update(members).where(its).values(password=password)).rowcount)


def set_password(connection: Connection, identity: str, password: str) -> None:
    """Keep another password, whatever was kept until now."""
    its = and_(members.c.identity == identity, _THERE)
    connection.execute(update(members).where(its).values(password=password))


def accounts_page(
    connection: Connection, after: str | None, limit: int, beginning: str = ""
) -> Sequence[AccountRow]:
    """Accounts in the order of their names' keys.

    :param after: the key of the last one that is known.
    :param beginning: what their keys begin with.
    """
    query = select(*_COLUMNS).where(_THERE).order_by(members.c.name_key).limit(limit)
    if after is not None:
        query = query.where(members.c.name_key > after)
    if beginning:
        query = query.where(members.c.name_key.startswith(beginning, autoescape=True))
    return [AccountRow(*row) for row in connection.execute(query)]
