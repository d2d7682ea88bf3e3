"""The directory of everything that is kept, and the key in it.

What it is: two parts of the daemon, started before all others.

What it may know: files. Not what others put there.

Invariant: one daemon a directory, and nobody else can read what is in it, or say which file is
meant by a name in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from twisted.application.service import Service

from cometd_chat.daemon.lifecycle import CannotStart

#: Length of the key of the forms' hidden tokens.
SECRET_BYTES = 32


class DataDirectory(Service):
    """The directory of everything that is kept, made when missing, and ours alone.

    :param path: of the directory.
    """

    name = "data directory"

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def startService(self) -> None:
        """Make and lock the directory.

        :raises CannotStart: it can't be used, others can look into it, or another daemon uses it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._refuse_open()
            self._lock = self._take_lock()
        except (FileExistsError, NotADirectoryError) as error:
            raise CannotStart(
                f"--data {self.path}: that is not a directory; name another one"
            ) from error
        except OSError as error:
            raise CannotStart(
                f"--data {self.path}: can't be written to ({error.strerror}); give this user the "
                "right to, or name another directory"
            ) from error
        super().startService()

    def _refuse_open(self) -> None:
        """Refuse a directory that others may read, or put files into. It was made by somebody else:
        what is in it is not necessarily ours, so that it is not for us to close it."""
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CannotStart(
                f"--data {self.path}: others than this user can look into it (mode {mode:o}), and "
                f"everything that is said is kept there; run: chmod 700 {self.path}"
            )

    def _take_lock(self) -> int:
        lock = open_own(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(lock, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(lock)
            raise CannotStart(
                f"--data {self.path}: another daemon (process {holder}) uses this directory; stop "
                "it, or name another directory"
            ) from error
        except OSError:
            os.close(lock)
            raise
        os.truncate(lock, 0)
        os.write(lock, b"%d\n" % os.getpid())
        return lock

    def stopService(self) -> None:
        if self._lock is not None:
            # The file stays: were it removed, two daemons could each hold a lock of that name.
            os.close(self._lock)
            self._lock = None
        super().stopService()


def open_own(path: Path, flags: int) -> int:
    """Open a file of ours; never what a link leads to, nor a device.

    :param flags: of open(2).
    :returns: a descriptor.
    :raises CannotStart: it is no plain file.
    :raises OSError: it can't be opened.
    """
    more = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(path, flags | more, 0o600)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise
        raise _no_file(path) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _no_file(path)
    return file


def _no_file(path: Path) -> CannotStart:
    return CannotStart(f"{path}: a link, or no file at all; put the file itself in its place")


class SecretFile(Service):
    """A key that is made once and kept in a file of its own.

    :param path: of the file, in a directory that is ours.
    """

    name = "secret"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.key = b""

    def startService(self) -> None:
        """Read the key, or make it.

        :raises CannotStart: it is none.
        """
        if not os.path.lexists(self._path):
            # Whole or not at all: a kill in between must not leave a short key behind.
            fresh = self._path.with_suffix(".new")
            with suppress(FileNotFoundError):
                fresh.unlink()
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as writing:
                writing.write(secrets.token_bytes(SECRET_BYTES))
            fresh.replace(self._path)
        with os.fdopen(open_own(self._path, os.O_RDONLY), "rb") as reading:
            self.key = reading.read(SECRET_BYTES + 1)
        if len(self.key) != SECRET_BYTES:
            raise CannotStart(f"{self._path}: not a key of {SECRET_BYTES} bytes; remove the file")
        super().startService()
