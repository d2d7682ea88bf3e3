"""How far a database has come, noted beside it, so that one that was put back is known.

What it is: `HighWaterMark`, a line in a file next to the database: the newest epoch, the last id
that anybody may have been told of, and which file the database was.

What it may know: two paths, names of epochs, ids. No SQL, no cursors.

Invariant: an id is noted after it is committed and before anybody is told of it. So a database that
stands before its mark is not the one that left it; and where there is no mark that can be believed,
that is what is said, for an epoch too many loses nothing.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import attrs
from twisted.logger import Logger

#: One line of constant length, so that it is written over by one call.
_LINE = re.compile(r"([a-z0-9]{4,16}) +([0-9]{20}) ([0-9]{20}) ([0-9]{20}) ([0-9]{20})\n")

#: No log ever comes so far, and JavaScript counts no further: what says so was not written here.
_MOST = 2**53


@attrs.frozen
class Mark:
    """Where a database stood.

    :param epoch: its newest epoch.
    :param id: the last id that was given out.
    :param file: which file it was: its device, and its number there.
    :param changed_at: when the kernel changed that file last, in nanoseconds, if it was closed in
        peace; 0 while it is open, and when its process was killed.
    """

    epoch: str
    id: int
    file: tuple[int, int]
    changed_at: int


class HighWaterMark:
    """The mark of one database.

    `note` is called in one thread; everything else before that thread runs, or at its end.

    :param database: the file.
    """

    _log = Logger()

    def __init__(self, database: Path) -> None:
        self._database = database
        self.path = database.with_name(f"{database.name}.high-water")
        self._descriptor: int | None = None
        self._failing = False
        # What was found, and what was noted last.
        self._found: os.stat_result | None = None
        self._noted: Mark | None = None

    def look(self) -> Mark | None:
        """See which file the database is, before anything is done to it.

        :returns: what was noted last; None when there is nothing that can be read.
        """
        with suppress(FileNotFoundError):
            self._found = self._database.stat()
        return self._left()

    def is_of(self, mark: Mark) -> bool:
        """Whether the database is still the file that a mark was of, and nobody has touched it
        since; who copies a whole directory into its place does, whatever times he gives it."""
        found = self._found
        if found is None or mark.file != (found.st_dev, found.st_ino):
            return False
        return mark.changed_at in (0, found.st_ctime_ns)

    def note(self, epoch: str, id: int) -> None:
        """Remember how far the database has come.

        The kernel keeps it should this process be killed. It is not forced onto the disk: of a
        machine that loses power half a minute may be missing, and then a database that was put back
        is known by its epoch or its file, or as one that a cursor is ahead of.

        Never raises. A mark that can't be written is removed, and the next start begins an epoch.
        """
        try:
            if self._noted is None:
                found = self._database.stat()
                file = (found.st_dev, found.st_ino)
            else:
                file = self._noted.file
            self._noted = Mark(epoch, id, file, 0)
            self._write(self._noted)
            self._failing = False
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """The database was closed, and is not touched any more."""
        if self._descriptor is None or self._noted is None:
            return
        try:
            changed_at = self._database.stat().st_ctime_ns
            self._write(attrs.evolve(self._noted, changed_at=changed_at))
            os.fsync(self._descriptor)
        except OSError as error:
            self._give_up(error)
        self._let_go()

    def _write(self, mark: Mark) -> None:
        device, number = mark.file
        text = f"{mark.epoch:<16} {mark.id:020} {device:020} {number:020} {mark.changed_at:020}\n"
        line = text.encode("ascii")
        if self._descriptor is None:
            self._descriptor = self._begin(line)
        else:
            os.pwrite(self._descriptor, line, 0)

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _begin(self, line: bytes) -> int:
        """Open the file, made when missing, and write its first line."""
        descriptor = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            os.ftruncate(descriptor, len(line))
            os.pwrite(descriptor, line, 0)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _give_up(self, error: OSError) -> None:
        if not self._failing:
            self._log.warn(
                "{path} can't be written ({reason}): should the daemon end now, its next start "
                "takes the database for one that was put back",
                path=str(self.path),
                reason=error.strerror,
            )
        self._failing = True
        self._let_go()
        with suppress(OSError):
            self.path.unlink()

    def _left(self) -> Mark | None:
        try:
            found = _LINE.fullmatch(self.path.read_text("ascii")) if self.path.is_file() else None
        except (OSError, ValueError):
            return None
        if found is None or int(found[2]) > _MOST:
            return None
        return Mark(found[1], int(found[2]), (int(found[3]), int(found[4])), int(found[5]))
