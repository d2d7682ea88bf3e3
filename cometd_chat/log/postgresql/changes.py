"""Changes of the database that no node may miss.

What it is: `append_in`, which appends in the transaction of the change that it tells of.

What it may know: a transaction of somebody else's, and ``comet_append_1``.

Invariant: the change is made and told, or neither.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import sqlalchemy

from cometd_chat.events.record import Draft
from cometd_chat.log.postgresql.batches import APPEND, append_arguments


def append_in(connection: sqlalchemy.Connection, drafts: Sequence[Draft]) -> int:
    """Append drafts in the transaction that is open; they are told once it is committed, by the
    ordinary way: who must know when, asks the log to `catch_up`.

    From here to the end of the transaction nobody else can append anything. So this is the last
    that is done in it, and the connection has an ``idle_in_transaction_session_timeout``: it is one
    of `Server.connect`'s.

    :param drafts: without a client_id.
    :returns: the id of the last one.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    row = driver.execute(APPEND, append_arguments(drafts)).fetchone()
    assert row is not None
    return int(row[0]) + len(drafts)
