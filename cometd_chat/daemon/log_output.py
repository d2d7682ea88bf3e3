"""How much of the log is written, and what journald is told of it.

What it is: one part of the daemon, the first: it stands between Twisted's log and whoever writes
it down, be that stdout, a file or syslog.

What it may know: Twisted's log observers, systemd's ``JOURNAL_STREAM``. Nothing of the chat.

Invariant: whatever twistd was told about where the log goes holds; here is only decided which
lines, and how journald finds their level.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

from twisted.application.service import Service
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
    eventAsText,
)

from cometd_chat.transports import twisted_internals

#: Levels by their syslog numbers (syslog(3)), as journald takes them from the start of a line.
_PRIORITIES = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}


class LogOutput(Service):
    """Writes what is of a level or above it.

    :param level: the name of the level, such as ``info``.
    :param publisher: of the log; twistd's observers are in it when the service starts.
    :param journal: whether ``stdout`` is read by journald, see `reaches_journal`.
    :param stdout: where lines for journald go.
    """

    name = "log output"

    def __init__(
        self, level: str, publisher: LogPublisher, *, journal: bool, stdout: IO[str] | None
    ) -> None:
        self._level = LogLevel.lookupByName(level)
        self._publisher = publisher
        self._journal = journal
        self._stdout = stdout
        self._replaced: list[tuple[ILogObserver, ILogObserver]] = []

    @classmethod
    def of_process(
        cls, level: str, publisher: LogPublisher, environ: Mapping[str, str]
    ) -> LogOutput:
        """The log of this process, whose real stdout may be journald's."""
        stdout = sys.__stdout__
        return cls(level, publisher, journal=reaches_journal(stdout, environ), stdout=stdout)

    def startService(self) -> None:
        for observer in twisted_internals.observers(self._publisher):
            chosen = FilteringLogObserver(
                self._told_level(observer),
                [LogLevelFilterPredicate(defaultLogLevel=self._level)],
            )
            self._swap(observer, chosen)
            self._replaced.append((observer, chosen))
        super().startService()

    def stopService(self) -> None:
        # Twistd takes back the observer that it gave, and the last line is its own.
        replaced, self._replaced = self._replaced, []
        for observer, chosen in replaced:
            self._swap(chosen, observer)
        super().stopService()

    def _swap(self, old: ILogObserver, new: ILogObserver) -> None:
        self._publisher.removeObserver(old)
        self._publisher.addObserver(new)

    def _told_level(self, observer: ILogObserver) -> ILogObserver:
        """The observer, but one that says each line's level where journald reads it."""
        if (
            self._journal
            and self._stdout is not None
            and twisted_internals.writes_to(observer, self._stdout)
        ):
            return FileLogObserver(self._stdout, as_journal_lines)
        return observer


def reaches_journal(stream: IO[str] | None, environ: Mapping[str, str]) -> bool:
    """Whether what is written to a stream is read by journald (systemd.exec(5), JOURNAL_STREAM)."""
    with suppress(OSError, ValueError, AttributeError):
        status = os.fstat(stream.fileno())  # type: ignore[union-attr]
        return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False


def as_journal_lines(event: LogEvent) -> str | None:
    """An event as lines that each begin with their level (sd-daemon(3)). The time is journald's."""
    text = eventAsText(event, includeTimestamp=False)
    if not text:
        return None
    priority = _PRIORITIES.get(_level(event), 6)
    return "".join(f"<{priority}>{line}\n" for line in text.splitlines() if line)


def _level(event: LogEvent) -> Any:
    return event.get("log_level", LogLevel.info)
