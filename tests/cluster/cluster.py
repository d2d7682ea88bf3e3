"""The cluster under test: some daemons, what they keep things in, and a balancer before them.

What it is: `Node` is one daemon that can be killed and frozen, `Cluster` all of them with HAProxy
and a proxy that cuts connections before that.

What it may know: `tests.support.Daemon`, `tests.postgresql`, `tests.cluster.balancer`.

Invariant: what was started is stopped, and what was frozen goes on.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.cluster.balancer import Balancer
from tests.cluster.late_ears import LateEars
from tests.cluster.shim import Shim, shim
from tests.daemon.test_clock import SETTABLE_CLOCKS
from tests.faults.test_faults import Proxy
from tests.networks import Star, may_make_networks, star
from tests.postgresql import PASSWORD, USER, PostgresServer
from tests.support import Daemon, free_port

OPTIONS = (
    "--limits=off",
    "--heartbeat=0.5",
    "--poll-timeout=2",
    "--expiration-delay=5",
    "--reader-budget=256KiB",
    "--trusted-proxy=127.0.0.1",
)


@attrs.define
class Node:
    """One daemon."""

    name: str
    daemon: Daemon
    frozen: bool = False

    @property
    def port(self) -> int:
        return self.daemon.port

    def kill(self) -> None:
        """``kill -9``."""
        self.thaw()
        self.daemon.kill()

    def has_ended(self) -> bool:
        """Whether its process is no more."""
        process = self.daemon.process
        return process is None or process.poll() is not None

    def answers(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as probe:
            probe.settimeout(0.2)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def freeze(self) -> None:
        """Its time stands still."""
        self._signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """It goes on; nothing happens when it isn't frozen."""
        if self.frozen:
            self._signal(signal.SIGCONT)
        self.frozen = False

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self.daemon.pid, number)


@attrs.define
class Cluster:
    """All of them.

    :param server: where the nodes keep everything; it changes with a failover.
    :param database: its name there.
    :param ports: where a server listens; the nodes try one after the other.
    :param star: by whose cables the nodes reach it, one each.
    :param ahead: says by how many seconds the clock of the first node is ahead.
    """

    directory: Path
    nodes: Sequence[Node]
    balancer: Balancer
    proxy: Proxy
    server: PostgresServer
    database: str
    ports: tuple[int, int]
    shim: Shim
    star: Star | None
    ahead: Path

    @property
    def listening(self) -> Mapping[str, int]:
        """The port of each node."""
        return {node.name: node.port for node in self.nodes}


@contextmanager
def cluster(
    directory: Path,
    size: int,
    *,
    cables: int | None = None,
    slow: int | None = None,
    on_disk: bool = False,
) -> Iterator[Cluster]:
    """So many nodes on a PostgreSQL of their own, behind a balancer.

    :param cables: by how many that can be cut they reach it, in a network of the caller's own, if
        this user may make one; as many as there are nodes, if it isn't said. Without any, no clock
        can be set either.
    :param slow: the number of a node that hears of everything half a second late.
    :param on_disk: the server's files are there. In memory, too, it asks for each to be kept, and
        waits as long as the shim says.
    """
    with ExitStack() as stack:
        cables = size if cables is None else cables
        cut = cables and may_make_networks()
        middle = stack.enter_context(star(cables)) if cut else None
        shimmed = stack.enter_context(shim())
        server = PostgresServer.new(
            # What is said to be durable is: the disk is asked, and is slow when the shim says so.
            settings={
                "fsync": "on",
                # Beside all else, as everywhere.
                "autovacuum": "on",
                "autovacuum_naptime": "10s",
                # After a crash one call for all files, not one for each of a thousand.
                "recovery_init_sync_method": "syncfs",
                "listen_addresses": "*",
            },
            environ=shimmed.environ,
            prefix=() if middle is None else middle.prefix,
            on_disk=on_disk,
        )
        ahead = directory / "ahead"
        ahead.write_text("0")
        ports = (server.port, free_port())
        made = Cluster(
            directory,
            [],
            Balancer(directory, {}),
            Proxy(0, directory),
            server,
            "",
            ports,
            shimmed,
            middle,
            ahead,
        )
        stack.callback(lambda: made.server.remove())
        server.start()
        made.database = server.fresh_database()
        late = None if slow is None else stack.enter_context(LateEars(server.host, server.port))
        urls = [_url(made, number) for number in range(size)]
        if late is not None and slow is not None:
            urls[slow] = server.url(made.database, port=late.port)
        if cables and size:
            stack.enter_context(Daemon.own_starter(SETTABLE_CLOCKS))
        made.nodes = [_node(made, number, url) for number, url in enumerate(urls)]
        for node in made.nodes:
            stack.enter_context(node.daemon)
            stack.callback(node.thaw)
        made.balancer.nodes = {node.name: ("127.0.0.1", node.port) for node in made.nodes}
        stack.enter_context(made.balancer)
        made.proxy = Proxy(made.balancer.port, directory)
        made.proxy.start()
        stack.callback(made.proxy.stop)
        yield made


def _node(made: Cluster, number: int, url: str) -> Node:
    """A node that isn't started yet; of the first one the clock can be set, if any can."""
    directory = made.directory / f"node{number}"
    directory.mkdir()
    environ = {"COMET_CHAT_DATABASE": url}
    if number == 0:
        environ["AHEAD"] = str(made.ahead)
    daemon = Daemon(directory, *OPTIONS, f"--node=node{number}", environ=environ)
    return Node(f"node{number}", daemon)


def _url(made: Cluster, number: int) -> str:
    """Where a node finds the database, wherever it is after a failover."""
    host = made.server.host if made.star is None else made.star.address(number)
    both = ",".join(f"{host}:{port}" for port in made.ports)
    where = f"{USER}:{PASSWORD}@{both}/{made.database}"
    return f"postgresql://{where}?target_session_attrs=read-write"
