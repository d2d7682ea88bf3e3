"""What all daemons with one database must know, and nobody else.

What it is: `shared_secret`, which makes a key once for all of them.

What it may know: its table.

Invariant: all who have the database have the same key, whoever made it.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from cometd_chat.log.store import Blocking
from cometd_chat.log.tables import secrets


def shared_secret(
    store: Blocking,
    name: str,
    size: int,
    random_bytes: Callable[[int], bytes] = random.token_bytes,
) -> bytes:
    """A key, made when there is none. Blocks: for the start, before the reactor runs.

    :param name: what it is for.
    :param size: how many bytes it has.
    """
    key = kept_secret(store, name)
    if key is None:
        # Should another node be faster, its key is that of all.
        with suppress(IntegrityError):
            row = {"name": name, "value": random_bytes(size)}
            store.write_now(lambda connection: connection.execute(insert(secrets), row).close())
        key = kept_secret(store, name)
        assert key is not None
    return key


def kept_secret(store: Blocking, name: str) -> bytes | None:
    """A key, if there is one. Blocks."""
    query = select(secrets.c.value).where(secrets.c.name == name)
    value = store.read_now(lambda connection: connection.execute(query).scalar())
    return None if value is None else bytes(value)


def put_secret(store: Blocking, name: str, key: bytes) -> None:
    """Keep a key, in the place of another one. Blocks."""

    def put(connection: Connection) -> None:
        connection.execute(delete(secrets).where(secrets.c.name == name))
        connection.execute(insert(secrets), {"name": name, "value": key})

    store.write_now(put)
