"""Connections to PostgreSQL that one test after the other has.

What it is: `connect`, which takes the place of `psycopg.connect`, and `close_kept`.

What it may know: psycopg.

Invariant: who gets a connection finds it as new: nothing is prepared, set, locked or listened to,
and no transaction is open on it. What is not at rest when it is closed is not kept. Where a server
stands still, to close one waits for it: this is for tests in which nothing goes wrong with it.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from threading import Lock
from typing import Any

import psycopg
from psycopg import pq

from cometd_chat.log.postgresql.connections import Connection, is_alive

#: By what was asked for: those that nobody has.
_kept: dict[str, list[pq.abc.PGconn]] = defaultdict(list)
_lock = Lock()


class KeptConnection(psycopg.Connection[tuple[object, ...]]):
    """What is left of it when it is closed is another one's."""

    asked = ""

    def close(self) -> None:
        """See `psycopg.Connection.close`."""
        pgconn = self.pgconn
        if not self.closed and _made_as_new(pgconn):
            self.pgconn = _ended()
            with _lock:
                _kept[self.asked].append(pgconn)
        super().close()


def connect(conninfo: str, *, autocommit: bool, **settings: Any) -> Connection:
    """A connection, as `psycopg.connect` makes it: by it, or left by a test."""
    asked = repr((conninfo, sorted(settings.items())))
    connection = _take(asked) or KeptConnection.connect(conninfo, **settings)
    connection.asked = asked
    connection.autocommit = autocommit
    return connection


def close_kept() -> None:
    """Leave none."""
    for each in _kept.values():
        while each:
            each.pop().finish()


def _take(asked: str) -> KeptConnection | None:
    """One that was kept, unless the server has ended it since."""
    with _lock:
        left = _kept[asked]
        while left:
            connection = KeptConnection(left.pop())
            if is_alive(connection):
                return connection
    return None


def _made_as_new(pgconn: pq.abc.PGconn) -> bool:
    """Take all from a connection that was done to it; False when that can't be."""
    try:
        pgconn.nonblocking = 0
        if pgconn.pipeline_status:
            pgconn.exit_pipeline_mode()
        if pgconn.transaction_status != pq.TransactionStatus.IDLE:
            return False
        if pgconn.exec_(b"DISCARD ALL").status != pq.ExecStatus.COMMAND_OK:
            return False
        while pgconn.notifies() is not None:
            continue
    except psycopg.Error:
        return False
    return True


@cache
def _ended() -> pq.abc.PGconn:
    """One on which nothing can be asked."""
    pgconn = pq.PGconn.connect_start(b"host=/nowhere")
    pgconn.finish()
    return pgconn
