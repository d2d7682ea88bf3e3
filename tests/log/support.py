"""Helpers for the tests of the log: waiting, drafts, and a database in a folder of its own.

What it is: `Store` is a database with the log and the directory on it, opened as the service does.

What it may know: the public names of the log, and SQLite's own files.

Invariant: a test that waits has a limit, and what was opened is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar

import attrs
import pytest
import pytest_twisted
from sqlalchemy import NullPool, create_engine
from twisted.internet.defer import Deferred, gatherResults

from cometd_chat.events.record import Draft, Record
from cometd_chat.log.database import Database
from cometd_chat.log.directory import Directory, SqlDirectory
from cometd_chat.log.log import EventLog
from cometd_chat.log.migrations import migrate
from cometd_chat.log.sql import SqlEventLog

#: Seconds that anything here may take, on a busy machine.
PATIENCE = 20.0

LOBBY, DEV = "/chat/lobby", "/chat/dev"

E = TypeVar("E", bound=Exception)
P = ParamSpec("P")
T = TypeVar("T")


def in_reactor(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, Deferred[None]]:
    """Run a test that awaits; the real reactor runs meanwhile."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> Deferred[None]:
        return Deferred.fromCoroutine(test(*args, **kwargs))

    return run


def wait(answer: Deferred[T]) -> Deferred[T]:
    """A Deferred that has a limit."""
    from twisted.internet import reactor

    return answer.addTimeout(PATIENCE, reactor)


def wait_all(answers: Sequence[Deferred[T]]) -> Deferred[list[T]]:
    """The results of several Deferreds."""
    return wait(gatherResults(answers, consumeErrors=True))


def block(answer: Deferred[T]) -> T:
    """The result of a Deferred, in a fixture."""
    result: T = pytest_twisted.blockon(wait(answer))
    return result


async def refused(answer: Deferred[Any], error: type[E]) -> E:
    """The error with which a Deferred fails."""
    with pytest.raises(error) as caught:
        await wait(answer)
    return caught.value


def draft(text: str = "hi", context: str = LOBBY, **fields: Any) -> Draft:
    """Something to say."""
    given = {"type": "message", "sender": "s1", "author": "alice", "data": {"text": text}}
    return Draft(context, **{**given, **fields})


def heard(log: EventLog) -> list[Record]:
    """What followers are told from now on."""
    records: list[Record] = []
    log.follow(records.extend)
    return records


@attrs.frozen
class Store:
    """An open database and what lives in it."""

    database: Database
    log: SqlEventLog
    directory: Directory

    @property
    def folder(self) -> Path:
        return self.database.path.parent

    def close(self) -> Deferred[None]:
        return wait(self.database.close())


def open_store(path: Path, *, max_bytes: int = 2**30, **settings: Any) -> Store:
    """Open a database as the service does. Its epochs are named e001, e002, ... by the number of
    starts, unless the test says otherwise."""
    from twisted.internet import reactor

    names = (f"e{number:03}" for number in count(1))
    settings = {"new_epoch": lambda: next(names), "busy_timeout": 0.2, **settings}
    database = Database(path, reactor, max_bytes=max_bytes, **settings)  # type: ignore[arg-type]
    log = SqlEventLog(database)
    database.open()
    return Store(database, log, SqlDirectory(database))


@cache
def _empty() -> bytes:
    """A database with all tables and nothing in them: it takes as long to make as ten tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "chat.sqlite")
        engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
        with engine.begin() as connection:
            migrate(connection, path.name)
        return path.read_bytes()


def plant_empty(path: Path) -> None:
    """Put there what a start makes of a directory without a database, but for its epoch."""
    path.write_bytes(_empty())


Opener = Callable[..., Store]


@contextmanager
def opener(folder: Path) -> Iterator[Opener]:
    """Opens stores in a folder, and closes them at the end."""
    opened: list[Store] = []

    def open(name: str = "chat.sqlite", **settings: Any) -> Store:
        opened.append(open_store(folder / name, **settings))
        return opened[-1]

    try:
        yield open
    finally:
        for store in opened:
            block(store.close())
