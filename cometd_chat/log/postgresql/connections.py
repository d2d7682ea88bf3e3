"""Connections to PostgreSQL, as all of a node need them.

What it is: `Server`, where the database is, and how a connection to it is set up: so that what was
committed is on the disk, and one that is dead is noticed on both sides within seconds.

What it may know: psycopg. Not what is in the database.

Invariant: nothing that is shown has the password.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Sequence

import attrs
import psycopg
from psycopg import conninfo, pq
from psycopg.errors import error_from_result

#: Seconds that a connection may take to come about.
CONNECT_TIMEOUT = 5

#: How the kernel finds out that the other machine is gone, and how soon: an idle connection is
#: asked every 2 s and given up after 2 s more, what is sent must arrive within 3 s.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 3000,
}

#: Each one has a reason: appends need READ COMMITTED; a client that stands still with the log's
#: lock must not hold up all others; the server keeps what a vanished client had for hours; and what
#: a client that stands still does not read pins the queue of notifications of all.
_SETTINGS = """
SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off;
SET idle_in_transaction_session_timeout = '2s';
SET statement_timeout = 0;
SET lock_timeout = 0;
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = '30s';
SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off';
"""

#: What connections are for by which something is stored.
STORING = ("append", "change")

Connection = psycopg.Connection[tuple[object, ...]]


@attrs.frozen
class Server:
    """Where the database is.

    :param conninfo: its URL as libpq reads it, with the password.
    :param node: what operators call this node; they see it in ``pg_stat_activity``.
    :param driver: makes connections, as `psycopg.connect` does.
    """

    conninfo: str = attrs.field(repr=False)
    node: str = ""
    driver: Callable[..., Connection] = attrs.field(
        default=psycopg.connect, kw_only=True, repr=False, eq=False
    )
    #: Each connection that something is stored by goes past them first: they may raise.
    checks: list[Callable[[Connection], None]] = attrs.field(factory=list, repr=False, eq=False)

    def connect(self, role: str) -> Connection:
        """A new connection, on which each statement is a transaction. Blocks.

        :param role: what it is for.
        :raises psycopg.OperationalError: it can't be reached, or refuses us.
        """
        asked = conninfo.conninfo_to_dict(self.conninfo)
        ours = {
            **_KEEPALIVE,
            "connect_timeout": CONNECT_TIMEOUT,
            # A standby can be read, and is behind.
            "target_session_attrs": "read-write",
        }
        connection = self.driver(
            self.conninfo,
            autocommit=True,
            **{name: value for name, value in ours.items() if name not in asked},
            client_encoding="UTF8",
            application_name=f"comet-chat {self.node} {role}".replace("  ", " ")[:63],
        )
        try:
            connection.execute(_SETTINGS)
            if role in STORING:
                for check in self.checks:
                    check(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def prepare(connection: Connection, name: str, query: str) -> None:
    """Let the server know a statement, for `execute_prepared`.

    :param query: with ``$1`` and so on.
    """
    result = connection.pgconn.prepare(name.encode(), query.encode())
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise error_from_result(result)


def execute_prepared(
    connection: Connection, name: str, arguments: Sequence[str | None]
) -> list[bytes | None]:
    """The only row that a prepared statement gives, as text. Blocks.

    By libpq itself: what the driver does around one statement takes 0.3 ms, which is as long as the
    server needs for a lone message but for its disk, and nobody is told before.

    :param arguments: as the server reads them. None of them holds a NUL, where libpq would end it.
    :raises psycopg.Error: as the driver does.
    """
    given = [None if each is None else each.encode() for each in arguments]
    # None is NULL, as everywhere there; the types of this one method know nothing of it.
    result = connection.pgconn.exec_prepared(name.encode(), given)  # type: ignore[arg-type]
    if result.status != pq.ExecStatus.TUPLES_OK:
        raise error_from_result(result)
    return [result.get_value(0, column) for column in range(result.nfields)]


def is_lost(connection: Connection) -> bool:
    """Whether a connection is of no more use."""
    return connection.closed or connection.pgconn.status != pq.ConnStatus.OK


def is_alive(connection: Connection) -> bool:
    """Whether an idle connection is still there, as far as this machine was told: what is sent on
    one that is not would be in doubt for no reason."""
    if is_lost(connection):
        return False
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    # What it says before it goes is read first, and that it is gone then.
    while not is_lost(connection) and poll.poll(0):
        try:
            connection.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
    return not is_lost(connection)


def shut_down(connection: Connection) -> None:
    """End a connection for a thread that waits for an answer on it, as if the network had.

    Its statement may have been run. A query is not cancelled instead: one that waits for a standby
    would then report success.
    """
    try:
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error):
        return


def reason(error: Exception) -> str:
    """What is wrong, in a line, without what was said and without the password."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return error.diag.message_primary
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
