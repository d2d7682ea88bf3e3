"""A lock on the daemon's database that another process holds.

What it is: `locked` holds one; `patient` makes a daemon that waits for it longer than by itself.

What it may know: the file of the database, and the default of how long the daemon waits.

Invariant: what is asserted while the lock is held does not depend on how fast the machine is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support import Daemon

#: By itself the daemon gives up after two seconds.
PATIENT = """
from cometd_chat.log.database import Database
assert Database.__init__.__kwdefaults__["busy_timeout"] < 60
Database.__init__.__kwdefaults__["busy_timeout"] = 60.0
"""


def patient(directory: Path, *options: str) -> Daemon:
    """A daemon that waits for a lock for as long as any test may take."""
    return Daemon(directory, *options, before=PATIENT)


@contextmanager
def locked(daemon: Daemon) -> Iterator[None]:
    """Somebody else writes the database and doesn't finish."""
    with closing(sqlite3.connect(daemon.data / "chat.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
