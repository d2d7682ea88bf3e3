"""What the conversation is kept in, joined by the one option that says what that is.

What it is: `Storage`, which `build_storage` makes: a file that is one process's, or a PostgreSQL
that many nodes share. With that come the nodes and the bus between them.

What it may know: the log, the data directory, options. Nobody but `service.py` imports it.

Invariant: nothing else asks which database it is; a storage that many share has a `Cluster`, and
whoever joins parts joins by that.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from cometd_chat import __version__
from cometd_chat.chat_parts import Neighbours
from cometd_chat.comet import Reaper
from cometd_chat.comet.listeners import Listeners
from cometd_chat.daemon.data_directory import SECRET_BYTES, DataDirectory, SecretFile
from cometd_chat.daemon.lifecycle import FunctionService
from cometd_chat.daemon.settings import Settings
from cometd_chat.log.condition import Condition
from cometd_chat.log.database import Database
from cometd_chat.log.directory import Directory, SqlDirectory
from cometd_chat.log.log import EventLog
from cometd_chat.log.nodes import LeasedNodes
from cometd_chat.log.sql import SqlEventLog
from cometd_chat.log.store import Blocking, Store

if TYPE_CHECKING:
    from cometd_chat.log.postgresql.connections import Server
    from cometd_chat.log.postgresql.database import PostgresDatabase

T = TypeVar("T")

#: What keys in the database are for.
FORMS, PEERS = "forms", "peers"


@attrs.frozen
class Cluster:
    """What a node has beside a log and a directory.

    :param condition: how its way to the database is.
    :param left_history: told when the log was put back to an earlier state, and cursors are still
        those of the history that is over; see `PostgresEventLog`.
    :param put_back_to: told once cursors are those of the other one.
    :param peer_key: by which nodes know each other; not before it is open.
    """

    nodes: LeasedNodes
    neighbours: Neighbours
    condition: Callable[[], Condition]
    left_history: Listeners[[]]
    put_back_to: Listeners[[]]
    peer_key: Callable[[], bytes]


@attrs.frozen
class Storage:
    """Where everything is kept.

    :param store: the database, where everything but what was said is read and changed.
    :param secret: the key of the forms' hidden tokens; not before it is open.
    :param services: open and close it, in order.
    :param cluster: None where one process has it for itself.
    """

    log: EventLog
    store: Store
    directory: Directory
    secret: Callable[[], bytes]
    services: Sequence[Service]
    cluster: Cluster | None = None


def build_storage(settings: Settings, data: DataDirectory, reaper: Reaper, reactor: Any) -> Storage:
    """Join the parts of what `--database` says. Nothing is opened yet.

    :param data: the directory of this process, or of its supervisor.
    """
    if settings.database.is_postgresql:
        return _shared(settings, data, reaper, reactor)
    return _own(settings, data, reactor)


def _own(settings: Settings, data: DataDirectory, reactor: Any) -> Storage:
    secret = SecretFile(data.path / "secret")
    database = Database(data.path / "chat.sqlite", reactor, max_bytes=settings.max_log)
    log = SqlEventLog(database)
    return Storage(
        log,
        database,
        SqlDirectory(database),
        lambda: secret.key,
        (secret, FunctionService("log", begin=database.open, end=database.close)),
    )


def _shared(settings: Settings, data: DataDirectory, reaper: Reaper, reactor: Any) -> Storage:
    # Their driver is an extra, that whoever has no PostgreSQL can do without.
    from cometd_chat.log.postgresql.high_water import HighWaterMark
    from cometd_chat.log.postgresql.log import PostgresEventLog
    from cometd_chat.log.postgresql.node_table import SqlNodeTable
    from cometd_chat.log.postgresql.notify_bus import NotifyBus
    from cometd_chat.log.postgresql.shared_directory import PostgresSharedDirectory
    from cometd_chat.log.secrets import shared_secret

    name = _name_of_node(settings)
    server, database = _server(settings, reactor)
    directory = PostgresSharedDirectory(database)
    nodes = LeasedNodes(
        SqlNodeTable(database),
        reaper,
        name=name,
        peer=settings.peer_address,
        version=__version__,
    )
    bus = NotifyBus(lambda: nodes.number, reactor)
    log = PostgresEventLog(
        server,
        database,
        reactor,
        max_bytes=settings.max_log,
        channels=bus.channels,
        high_water=HighWaterMark(data.path),
    )
    keys: dict[str, bytes] = {}

    def begin() -> None:
        database.open()
        database.patiently(log.open)
        bus.attach(log.ears)
        for each in (FORMS, PEERS):
            keys[each] = shared_secret(database, each, SECRET_BYTES)

    def end() -> Deferred[None]:
        return log.close().addCallback(lambda _: database.close())

    return Storage(
        log,
        database,
        directory,
        lambda: keys[FORMS],
        (FunctionService("log", begin=begin, end=end),),
        Cluster(
            nodes,
            Neighbours(bus, nodes, lambda: not (log.ears.unreachable_for() or log.ears.deaf_for())),
            log.condition,
            log.left_history,
            log.put_back_to,
            lambda: keys[PEERS],
        ),
    )


def prepare_for_others(settings: Settings, reactor: Any, then: Callable[[Blocking], T]) -> T:
    """Wait for the server of a storage that many share, and bring its tables up to date, before
    any of them is started. Blocks.

    :param then: what is to be done there once.
    :raises StorageUnavailable: it can't be reached, or refuses us.
    :raises SchemaTooNew: a newer release made the tables.
    """
    _, database = _server(settings, reactor)
    database.prepare()
    try:
        return then(database)
    finally:
        database.close()


def _server(settings: Settings, reactor: Any) -> tuple[Server, PostgresDatabase]:
    from cometd_chat.log.postgresql.connections import Server
    from cometd_chat.log.postgresql.database import PostgresDatabase

    server = Server(settings.database.conninfo, _name_of_node(settings))
    return server, PostgresDatabase(server, reactor, shown=str(settings.database))


def _name_of_node(settings: Settings) -> str:
    return settings.node or socket.gethostname()
