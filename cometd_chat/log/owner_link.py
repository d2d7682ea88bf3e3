"""The owner link: how the first owner comes to be, and one who has lost the password comes back.

What it is: makes the code of a link, which `cometd_chat.chat.accounts` takes.

What it may know: what is kept of codes and of members. Not where the link is shown.

Invariant: only a hash of the code is kept. Who reads what the daemon prints, or may run commands on
its data, is who it belongs to.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable

from sqlalchemy import Connection, select

from cometd_chat.log.codes import CLAIM, CodeRow, add_code, was_claimable
from cometd_chat.log.store import Blocking
from cometd_chat.log.tables import members

#: The role of who owns the chat, in its row.
OWNER = "owner"

#: Milliseconds for which an owner link is good.
GOOD_FOR = 3_600_000


def code_hash(code: str) -> bytes:
    """What is kept of a code."""
    # It has 144 random bits: there is nothing to guess, so a fast hash will do.
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()


def new_code(random_bytes: Callable[[int], bytes]) -> str:
    """A code that nobody has, 24 characters."""
    return urlsafe_b64encode(random_bytes(18)).decode("ascii")


def make_owner_code(
    connection: Connection, random_bytes: Callable[[int], bytes], seconds: float
) -> str:
    """Make the code of an owner link, in the place of one that was not used.

    :param seconds: now, since 1970.
    """
    code, now = new_code(random_bytes), int(seconds * 1000)
    add_code(connection, CodeRow(code_hash(code), CLAIM, None, now + GOOD_FOR), now)
    return code


def first_owner_code(
    store: Blocking, random_bytes: Callable[[int], bytes], wall_clock: Callable[[], float]
) -> str | None:
    """The code of the first owner link, at the first start; None when there was one already, or
    there is an owner. Blocks: for the start.

    :param wall_clock: seconds since 1970.
    """

    def make(connection: Connection) -> str | None:
        if was_claimable(connection) or has_owner(connection):
            return None
        return make_owner_code(connection, random_bytes, wall_clock())

    return store.write_now(make)


def has_owner(connection: Connection) -> bool:
    """Whether somebody owns the chat."""
    owner = select(members.c.identity).where(members.c.role == OWNER)
    return (
        connection.execute(owner.where(members.c.deleted_at.is_(None)).limit(1)).first() is not None
    )
