"""``comet-chat copy --from URL --to URL``: from a file into PostgreSQL, or back.

What it is: the command: what its two URLs are, and what it says while it works.

What it may know: data directories, both databases. Nobody but ``__main__`` imports it.

Invariant: a database that a daemon uses is not touched, and what can't be copied is one sentence on
stderr and exit status 1. Whatever stops it, the same command goes on where it stood.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
from twisted.python.usage import Options, UsageError

from cometd_chat.daemon.data_directory import SECRET_BYTES, DataDirectory, SecretFile
from cometd_chat.daemon.lifecycle import CannotStart
from cometd_chat.daemon.option_values import parse_database
from cometd_chat.daemon.stderr import print_error
from cometd_chat.errors import ChatError
from cometd_chat.log.copying import PAGE, CannotCopy, Copy, Progress
from cometd_chat.log.database import Database
from cometd_chat.log.secrets import kept_secret, put_secret
from cometd_chat.log.store import Blocking

#: Seconds between two lines of progress.
_SAY_EVERY = 1.0

#: Of a file nothing is bounded here.
_ANY_SIZE = 2**62

_FORMS = "forms"


class CopyOptions(Options):
    """Where from, and where to."""

    synopsis = "Usage: comet-chat copy --from URL --to URL"
    longdesc = (
        "URL is sqlite:DIRECTORY for a data directory, or postgresql://USER@HOST/DATABASE. A "
        "password is better given by COMET_CHAT_COPY_FROM or COMET_CHAT_COPY_TO: the command line "
        "is everybody's on this machine."
    )
    optParameters = [
        ["from", None, os.environ.get("COMET_CHAT_COPY_FROM"), "What is copied"],
        ["to", None, os.environ.get("COMET_CHAT_COPY_TO"), "Where to; nothing else is in it"],
    ]

    def postOptions(self) -> None:
        for name in ("from", "to"):
            if not self[name]:
                raise UsageError(f"--{name}: say sqlite:DIRECTORY or postgresql://...")
        if self["from"] == self["to"]:
            raise UsageError("--to: that is what is copied from")


@attrs.frozen
class _Side:
    """One of the two databases, open.

    :param secret: the key of the forms' tokens, if there is one.
    :param keep: keeps another one.
    """

    database: Blocking
    secret: Callable[[], bytes | None]
    keep: Callable[[bytes], object]


def run(arguments: Sequence[str], reactor: Any = None, page: int = PAGE) -> int:
    """Copy; the exit status.

    :param arguments: those after ``copy``.
    """
    if reactor is None:
        from twisted.internet import reactor
    options = CopyOptions()
    try:
        options.parseOptions(list(arguments))
    except UsageError as error:
        print_error(f"copy: {error}")
        return 2
    try:
        with ExitStack() as stack:
            source = _open(stack, options["from"], "--from", reactor, must_exist=True)
            target = _open(stack, options["to"], "--to", reactor, must_exist=False)
            copy = Copy(
                source.database,
                target.database,
                keys=lambda: _copy_key(source, target),
                progress=_Told(),
                page=page,
            )
            count = copy.run()
    except (CannotStart, CannotCopy, UsageError, ChatError) as error:
        print_error(f"copy: {error}")
        return 1
    except KeyboardInterrupt:
        print_error("copy: stopped; the same command goes on from here")
        return 130
    except Exception as error:
        if not _is_of_the_database(error):
            raise
        print_error(f"copy: {_cause(error)}; the same command goes on from here")
        return 1
    print(f"copied {count} records, and all rooms, sessions and positions", file=sys.stderr)
    return 0


def _copy_key(source: _Side, target: _Side) -> None:
    key = source.secret()
    if key is not None:
        target.keep(key)


class _Told:
    """Says how far it is, now and then."""

    def __init__(self) -> None:
        self._said = float("-inf")

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_EVERY and progress.copied < progress.last:
            return
        self._said = now
        share = 100 * progress.copied // progress.last if progress.last else 100
        print(
            f"records: {progress.copied} of {progress.last} ({share} %)",
            file=sys.stderr,
            flush=True,
        )


def _open(stack: ExitStack, url: str, name: str, reactor: Any, *, must_exist: bool) -> _Side:
    if url.startswith("sqlite:"):
        directory = Path(url.removeprefix("sqlite:").removeprefix("//") or "comet-chat-data")
        return _open_directory(stack, directory, name, reactor, must_exist=must_exist)
    try:
        parsed = parse_database(url)
    except ValueError as error:
        raise UsageError(f"{name}: {error}; for a file give sqlite:DIRECTORY") from None
    from cometd_chat.log.postgresql.connections import Server
    from cometd_chat.log.postgresql.database import PostgresDatabase

    database = PostgresDatabase(Server(parsed.conninfo, "copy"), reactor, shown=str(parsed))
    stack.callback(database.close)
    try:
        database.prepare()
    except ChatError as error:
        raise CannotCopy(error.detail.replace("--database", name)) from error
    return _Side(
        database,
        lambda: kept_secret(database, _FORMS),
        lambda key: put_secret(database, _FORMS, key),
    )


def _open_directory(
    stack: ExitStack, directory: Path, name: str, reactor: Any, *, must_exist: bool
) -> _Side:
    if must_exist and not (directory / "chat.sqlite").exists():
        raise CannotCopy(f"{name}: there is no chat.sqlite in {directory}")
    data = DataDirectory(directory)
    try:
        data.startService()
    except CannotStart as error:
        raise CannotCopy(str(error).replace("--data", name)) from error
    stack.callback(data.stopService)
    database = Database(data.path / "chat.sqlite", reactor, max_bytes=_ANY_SIZE)
    stack.callback(database.dispose)
    database.prepare()
    file = data.path / "secret"

    def secret() -> bytes | None:
        if not file.exists():
            return None
        kept = SecretFile(file)
        kept.startService()
        return kept.key

    def keep(key: bytes) -> None:
        fresh = file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as writing:
            writing.write(key[:SECRET_BYTES])
        fresh.replace(file)

    return _Side(database, secret, keep)


def _is_of_the_database(error: Exception) -> bool:
    return type(error).__module__.startswith(("sqlalchemy.", "psycopg", "sqlite3"))


def _cause(error: Exception) -> str:
    """What the database said, in a line, without what is in it."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    return said[0] if said else type(error).__name__
