"""A PostgreSQL server, in which several nodes keep one log.

What it is: `database`, the URL of an empty database on a server of our own, and `missing`.

What it may know: the server of the tests.

Invariant: it waits for the disk as PostgreSQL does by itself: posts are durable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.postgresql import PostgresServer, programs

#: As it comes, but for more memory than the tests give it.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "autovacuum": "on",
    "max_logical_replication_workers": "4",
}


def missing() -> str:
    """Why it can't be measured here, or nothing."""
    try:
        programs()
    except FileNotFoundError as error:
        return str(error)
    return ""


@contextmanager
def database() -> Iterator[str]:
    """The URL of an empty database, for as long as it is wanted."""
    server = PostgresServer.new(settings=SETTINGS, on_disk=True)
    try:
        server.start()
        yield server.url(server.fresh_database())
    finally:
        server.remove()
