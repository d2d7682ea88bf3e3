"""A log in PostgreSQL for tests, and several on one database, as several daemons have it.

What it is: `Node`, a log with who reads for it; `Cluster`, all of them on one database.

What it may know: the public names of the log, and the server of the tests.

Invariant: what was opened is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any, TypeVar

import attrs
import psycopg
from sqlalchemy import Connection, Engine, create_engine
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThread

from cometd_chat.events.record import Record
from cometd_chat.log.postgresql.connections import Server
from cometd_chat.log.postgresql.log import PostgresEventLog
from cometd_chat.log.postgresql.notify_bus import NotifyBus
from tests.log.support import block, heard, wait
from tests.postgresql import PostgresServer

T = TypeVar("T")

#: Databases that nobody has at the moment.
_idle: dict[PostgresServer, list[str]] = {}

_EMPTY = """
DELETE FROM records; DELETE FROM epochs; DELETE FROM sessions; DELETE FROM nodes;
DELETE FROM secrets; DELETE FROM hidden; DELETE FROM rooms WHERE name <> 'lobby';
DELETE FROM members; DELETE FROM invites; DELETE FROM codes; DELETE FROM policies;
DELETE FROM room_members; DELETE FROM sanctions; DELETE FROM ignored; DELETE FROM audit;
DELETE FROM reports; DELETE FROM purges;
ALTER SEQUENCE epochs_number_seq RESTART;
"""


@cache
def _plain_engine(url: str) -> Engine:
    """It keeps its connections, each of which takes the server as long as a hundred reads. It looks
    first whether one is still there: a test may have ended it."""
    made = create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), pool_pre_ping=True, max_overflow=20
    )
    _engines.append(made)
    return made


_engines: list[Engine] = []


def close_readers() -> None:
    """Close what all that read databases have kept."""
    for each in _engines:
        each.dispose()


class PlainStore:
    """Runs queries and changes in the reactor's own threads.

    :param url: where the database is now.
    """

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        return deferToThread(self.read_now, query)

    def read_now(self, query: Callable[[Connection], T]) -> T:
        with _plain_engine(self._url()).connect() as connection:
            return query(connection)

    def write(self, change: Callable[[Connection], T]) -> Deferred[T]:
        return deferToThread(self.write_now, change)

    def write_now(self, change: Callable[[Connection], T]) -> T:
        with _plain_engine(self._url()).begin() as connection:
            return change(connection)


@attrs.define(eq=False)
class Node:
    """A log as one daemon has it, and what it was told since it was opened."""

    name: str
    log: PostgresEventLog
    readers: PlainStore
    bus: NotifyBus
    told: list[Record] = attrs.field(factory=list)
    closed: bool = False

    def close(self) -> Deferred[None]:
        if self.closed:
            return succeed(None)
        self.closed = True
        return wait(self.log.close())


@attrs.define(eq=False)
class Cluster:
    """Nodes on one database.

    :param database: what it is called.
    :param driver: makes the nodes' connections.
    """

    server: PostgresServer
    database: str
    driver: Callable[..., psycopg.Connection[tuple[object, ...]]] = psycopg.connect
    nodes: list[Node] = attrs.field(factory=list)
    _names: Any = attrs.field(factory=lambda: (f"e{number:03}" for number in count(1)))

    @classmethod
    def on(cls, server: PostgresServer, **settings: Any) -> Cluster:
        """On a database of their own, with its tables and nothing in them.

        One that a test has left is emptied for the next one: that is a hundred times less work for
        the machine than to make one.
        """
        idle = _idle.setdefault(server, [])
        if not idle:
            idle.append(server.fresh_database())
        return cls(server, idle.pop(), **settings)

    @property
    def url(self) -> str:
        return self.server.url(self.database)

    def open(self, *, url: str | None = None, **settings: Any) -> Node:
        """One more node.

        :param url: where it finds the database, if not where that is.
        """
        from twisted.internet import reactor

        name = f"node-{len(self.nodes) + 1}"
        readers = PlainStore(lambda: self.url)
        settings = {"max_bytes": 2**30, "new_epoch": lambda: next(self._names), **settings}
        number = len(self.nodes) + 1
        bus = NotifyBus(lambda: number, reactor)
        server = self.server_for(name, url)
        log = PostgresEventLog(server, readers, reactor, channels=bus.channels, **settings)
        log.open()
        bus.attach(log.ears)
        node = Node(name, log, readers, bus, heard(log))
        self.nodes.append(node)
        return node

    def server_for(self, name: str, url: str | None = None) -> Server:
        """Where a node finds the database.

        :param name: what the node is called.
        """
        return Server(url or self.url, name, driver=self.driver)

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of the test's own."""
        return psycopg.connect(self.url, autocommit=True)

    def rows(self) -> list[tuple[int, str]]:
        """The id and the data of all records."""
        with self.connect() as connection:
            return connection.execute("SELECT id, data FROM records ORDER BY id").fetchall()

    def close(self) -> None:
        """Close all nodes, and leave nothing in the database."""
        self.close_nodes()
        with _plain_engine(self.url).begin() as connection:
            connection.exec_driver_sql(_EMPTY)
        _idle[self.server].append(self.database)

    def close_nodes(self) -> None:
        """Close all nodes."""
        for node in self.nodes:
            block(node.close())
