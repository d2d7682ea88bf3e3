"""What all daemons with one database must know, and nobody else.

What it is: `shared_secret`, which makes a key once for all of them.

What it may know: its table.

Invariant: all who have the database have the same key, whoever made it.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from cometd_chat.log.store import Store
from cometd_chat.log.tables import secrets


def shared_secret(
    store: Store,
    name: str,
    size: int,
    random_bytes: Callable[[int], bytes] = random.token_bytes,
) -> bytes:
    """A key, made when there is none. Blocks: for the start, before the reactor runs.

    :param name: what it is for.
    :param size: how many bytes it has.
    """
    query = select(secrets.c.value).where(secrets.c.name == name)

    def find(connection: Connection) -> bytes | None:
        value = connection.execute(query).scalar()
        return None if value is None else bytes(value)

    def make(connection: Connection) -> None:
        row = {"name": name, "value": random_bytes(size)}
        connection.execute(insert(secrets), row)

    key = store.read_now(find)
    if key is None:
        # Should another node be faster, its key is that of all.
        with suppress(IntegrityError):
            store.write_now(make)
        key = store.read_now(find)
        assert key is not None
    return key
