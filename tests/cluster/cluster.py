"""The cluster under test: some daemons, what they keep things in, and a balancer before them.

What it is: `Node` is one daemon that can be killed and frozen, `Cluster` all of them with HAProxy
and a proxy that cuts connections before that.

What it may know: `tests.support.Daemon`, `tests.postgresql`, `tests.cluster.balancer`.

Invariant: what was started is stopped, what was frozen goes on; no node may say Traceback.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.cluster.balancer import Balancer
from tests.faults.test_faults import Proxy
from tests.postgresql import PostgresServer
from tests.support import Daemon

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

    def start(self) -> None:
        self.daemon.start()

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
    """All of them."""

    directory: Path
    nodes: Sequence[Node]
    balancer: Balancer
    proxy: Proxy
    server: PostgresServer | None = None

    @property
    def ports(self) -> Mapping[str, int]:
        return {node.name: node.port for node in self.nodes}


@contextmanager
def one_process(directory: Path) -> Iterator[Cluster]:
    """A daemon on its SQLite file, behind the balancer."""
    daemon = Daemon(directory, *OPTIONS)
    with running(directory, [Node("node1", daemon)], None) as cluster:
        yield cluster


@contextmanager
def running(
    directory: Path, nodes: Sequence[Node], server: PostgresServer | None
) -> Iterator[Cluster]:
    """Nodes at work, and the balancer before them."""
    with ExitStack() as stack:
        for node in nodes:
            stack.enter_context(node.daemon)
            stack.callback(node.thaw)
        balancer = Balancer(directory, {node.name: ("127.0.0.1", node.port) for node in nodes})
        stack.enter_context(balancer)
        proxy = Proxy(balancer.port)
        proxy.start()
        stack.callback(proxy.stop)
        yield Cluster(directory, nodes, balancer, proxy, server)
    for node in nodes:
        assert "Traceback" not in node.daemon.log, node.daemon.log
