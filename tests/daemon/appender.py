"""A process that appends and says what was acknowledged, to be killed at any moment.

Usage: ``python appender.py FILE``. Eight senders append one after the other, for ever; each
acknowledged record is one line on stdout: its id and its text.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from cometd_chat.events.record import Draft, Record
from cometd_chat.log.database import Database
from cometd_chat.log.sql import SqlEventLog


async def send(log: SqlEventLog, sender: str) -> None:
    number = 0
    while True:
        number += 1
        text = f"{os.getpid()}-{sender}-{number}"
        record = await log.append(
            Draft("/chat/lobby", "message", sender, sender, {"text": text}, None, text)
        )
        tell(record)


def tell(record: Record) -> None:
    """In one call, so that a line is there whole or not at all."""
    os.write(sys.stdout.fileno(), f"{record.id} {record.data['text']}\n".encode())


def main(path: Path) -> None:
    database = Database(path, reactor, max_bytes=2**30)  # type: ignore[arg-type]
    log = SqlEventLog(database)
    database.open()
    for number in range(8):
        Deferred.fromCoroutine(send(log, f"s{number}"))
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
