"""Codes that are good once.

What it is: statements about their table, for the transaction of a change.

What it may know: hashes of codes, times. Not what a code lets in.

Invariant: of all who use a code, at whichever node, one finds it good.
"""

from __future__ import annotations

import attrs
from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from cometd_chat.errors import CodeGone
from cometd_chat.log.tables import codes

#: Leads to who owns the daemon.
CLAIM = "claim"

#: Lets another device of somebody in.
LINK = "link"

#: Milliseconds for which is known that a code was there.
_REMEMBERED = 86_400_000


@attrs.frozen
class CodeRow:
    """A code.

    :param hash: of it; it is kept nowhere.
    :param identity: whose device it lets in; None for who is to be the owner.
    :param until: milliseconds since 1970-01-01T00:00Z, like all times here.
    :param used_at: None for one that was not used.
    """

    hash: bytes
    kind: str
    identity: str | None
    until: int
    used_at: int | None = None


def add_code(connection: Connection, row: CodeRow, now: int) -> None:
    """Keep a code. It takes the place of those like it that were not used: whoever asks for
    another one has lost it, or shown it to too many."""
    before = and_(codes.c.kind == row.kind, codes.c.used_at.is_(None))
    like_it = and_(before, codes.c.identity.is_not_distinct_from(row.identity))
    old = codes.c.until < now - _REMEMBERED
    # Of an owner link is known for ever that there was one.
    connection.execute(delete(codes).where(or_(like_it, and_(old, codes.c.kind != CLAIM))))
    if not connection.execute(select(codes.c.hash).where(codes.c.hash == row.hash)).first():
        connection.execute(insert(codes), attrs.asdict(row))


def find_code(connection: Connection, hash: bytes, kind: str, now: int) -> CodeRow:
    """A code that is good.

    :raises CodeGone: it isn't, or there is none.
    """
    query = select(codes).where(codes.c.hash == hash, codes.c.kind == kind)
    row = connection.execute(query).one_or_none()
    if row is None or row.used_at is not None or row.until <= now:
        raise code_gone(kind)
    return CodeRow(*row)


def use_code(connection: Connection, hash: bytes, kind: str, now: int) -> CodeRow:
    """Use a code up.

    :raises CodeGone: it is good no longer, or there is none.
    """
    found = find_code(connection, hash, kind, now)
    mine = and_(codes.c.hash == hash, codes.c.used_at.is_(None))
    # At another node somebody may just have found it good as well: the row decides.
    if not connection.execute(update(codes).where(mine).values(used_at=now)).rowcount:
        raise code_gone(kind)
    if kind == CLAIM:
        # Two daemons that began at once have each shown one.
        others = and_(codes.c.kind == CLAIM, codes.c.used_at.is_(None))
        connection.execute(update(codes).where(others).values(used_at=now))
    return found


def was_claimable(connection: Connection) -> bool:
    """Whether an owner link was ever made."""
    query = select(codes.c.hash).where(codes.c.kind == CLAIM).limit(1)
    return connection.execute(query).first() is not None


def code_gone(kind: str) -> CodeGone:
    """The refusal of a code that isn't good."""
    if kind == CLAIM:
        return CodeGone(
            "This owner link is good no longer: it was used, an hour is over, or another one was "
            "made since. On the machine of the daemon, comet-chat owner-link makes another."
        )
    return CodeGone(
        "This log-in link is good no longer: it was used, ten minutes are over, or another one was "
        "made since. Make another on the device that is logged in."
    )
