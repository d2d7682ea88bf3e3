"""How far a node was told, noted beside it, so that a log that was put back is known at its start.

What it is: `Mark`, and `HighWaterMark`, the line in a file of `--data` where it is kept. The
processes that share a directory share the line.

What it may know: one path, names of epochs, ids. No SQL, no cursors.

Invariant: a mark is of a moment at which somebody may have been told of its id, and nothing newer
than a second of what this node told is missing in it; of a node that stopped nothing is. A log that
stands before its mark is not the one that left it.
"""

from __future__ import annotations

import os
import re
from contextlib import closing, suppress
from pathlib import Path

import attrs
from twisted.logger import Logger

#: One line of constant length, so that it is written over by one call.
_LINE = re.compile(rb"([a-z0-9]{4,16}) +([a-z0-9]{4,16}) +([0-9]{20})\n")

#: No log ever comes so far, and JavaScript counts no further: what says so was not written here.
_MOST = 2**53


@attrs.frozen
class Mark:
    """Where a log stood.

    :param origin: which log it is: the name of its first epoch.
    :param epoch: its newest epoch.
    :param id: the last id that the node was told of.
    """

    origin: str
    epoch: str
    id: int


class HighWaterMark:
    """The mark in one directory. Each call reads or writes a file, in any thread.

    :param directory: `--data`.
    """

    _log = Logger()

    def __init__(self, directory: Path) -> None:
        self.path = directory / "postgresql.high-water"
        self._failing = False

    def read(self) -> Mark | None:
        """What was noted last; None when there is nothing that can be read."""
        with suppress(OSError), self.path.open("rb") as file:
            return _parse(file.read(100))
        return None

    def note(self, mark: Mark, *, sync: bool = False) -> None:
        """Remember how far the log has come, unless another process has noted more of it.

        The kernel keeps it should this process be killed; of a machine that loses power half a
        minute may be missing.

        Never raises: a mark that is old is as good as one of a node that stopped then.

        :param sync: whether it has to be on the disk.
        """
        try:
            self._write(mark, sync=sync)
            self._failing = False
        except OSError as error:
            if not self._failing:
                self._log.warn(
                    "{path} can't be written ({reason}): a log that was put back while all nodes "
                    "were stopped may not be known as that by this one",
                    path=str(self.path),
                    reason=error.strerror,
                )
            self._failing = True

    def _write(self, mark: Mark, *, sync: bool) -> None:
        line = f"{mark.origin:<16} {mark.epoch:<16} {mark.id:020}\n".encode("ascii")
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        with closing(os.fdopen(os.open(self.path, flags, 0o600), "r+b", buffering=0)) as file:
            found = _parse(file.read(100) or b"")
            if found is not None and attrs.evolve(found, id=mark.id) == mark and found.id > mark.id:
                return
            os.pwrite(file.fileno(), line, 0)
            os.ftruncate(file.fileno(), len(line))
            if sync:
                os.fsync(file.fileno())


def _parse(line: bytes) -> Mark | None:
    found = _LINE.fullmatch(line)
    if found is None or int(found[3]) > _MOST:
        return None
    return Mark(found[1].decode(), found[2].decode(), int(found[3]))
