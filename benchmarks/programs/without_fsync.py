"""The daemon with a disk that need not be waited for: what durability costs.

What it is: a program that takes twistd's arguments and starts twistd, its SQLite connections
changed to ``synchronous = OFF``. The daemon itself has no such option, since nobody should use it.

What it may know: where the daemon sets its connections up.

Invariant: nothing else differs; a daemon that can't be changed so does not start.
"""

from __future__ import annotations

import sqlite3
import sys

from twisted.scripts.twistd import run

from cometd_chat.log import database

_set_up = database._set_up


def _without_fsync(connection: sqlite3.Connection, _record: object) -> None:
    _set_up(connection, _record)
    connection.execute("PRAGMA synchronous = OFF")
    (found,) = connection.execute("PRAGMA synchronous").fetchone()
    if found != 0:
        raise SystemExit("synchronous = OFF was not taken")
    print("without fsync", file=sys.stderr)


database._set_up = _without_fsync

if __name__ == "__main__":
    run()
