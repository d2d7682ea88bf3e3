"""The bare SQLite commit: how many a second this disk takes.

What it is: a program: ``commits.py DIRECTORY SECONDS ROWS`` commits that many rows at a time, as
durable as the daemon's, and prints rows a second.

What it may know: SQLite.

Invariant: write-ahead log, synchronous=FULL, one statement prepared once.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path

TABLE = "CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, sender, client_id, text, at)"
INSERT = "INSERT INTO log (sender, client_id, text, at) VALUES (?, ?, ?, ?)"


def commits(path: Path, seconds: float, rows: int) -> float:
    """Rows a second, so many a commit."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(TABLE)
    connection.execute("CREATE UNIQUE INDEX once ON log (sender, client_id)")
    began, done = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        batch = [(f"sender-{n}", f"{done + n}", "." * 80, done) for n in range(rows)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, batch)
        connection.execute("COMMIT")
        done += rows
    return done / took


if __name__ == "__main__":
    print(commits(Path(sys.argv[1], "bare.sqlite"), float(sys.argv[2]), int(sys.argv[3])))
