"""HAProxy before several nodes: round robin without stickiness, each request goes to another one.

What it is: HAProxy as a process on loopback, and how many requests each node got by it.

What it may know: HAProxy's configuration and its statistics (the management guide, 9.1).

Invariant: a connection that stays open is balanced request by request; which node is next is never
decided by who asks.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import attrs

from tests.daemon.talk import wait_until
from tests.support import end, environment, free_port

CONFIGURATION = """
global
    # One thread has one turn of the wheel.
    nbthread 1
    maxconn 8000
    stats socket {socket} level admin

defaults
    mode http
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout tunnel 30s
    option http-no-delay
    option forwardfor
    # Who is asked and does not even take the connection has done nothing: another one is asked.
    retries 3
    option redispatch 1
    retry-on conn-failure

frontend everybody
    bind {host}:{port}
    default_backend nodes

backend nodes
    balance roundrobin
    http-reuse safe
    option httpchk GET {check}
    # A node that answers no more is left out after a second, and gets requests again at once.
    default-server check inter 500ms fall 2 rise 1
{servers}
"""


@attrs.define
class Balancer:
    """HAProxy: ``with Balancer(directory, {"node1": ("127.0.0.1", 8081)}) as balancer: ...``.

    :param directory: for its files.
    :param nodes: where each node is, by name.
    :param check: what a node has to answer with 200 to get requests.
    """

    directory: Path
    nodes: Mapping[str, tuple[str, int]]
    check: str = "/readyz"
    host: str = "127.0.0.1"
    port: int = attrs.field(factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.directory / "haproxy.log").read_text()

    def start(self) -> None:
        executable = shutil.which("haproxy")
        assert executable, "haproxy: make test installs it; or apt-get install it"
        servers = "\n".join(
            f"    server {name} {host}:{port}" for name, (host, port) in self.nodes.items()
        )
        path = self.directory / "haproxy.cfg"
        path.write_text(
            CONFIGURATION.format(
                socket=self.directory / "haproxy.sock",
                host=self.host,
                port=self.port,
                check=self.check,
                servers=servers,
            )
        )
        with (self.directory / "haproxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [executable, "-db", "-f", str(path)],
                cwd=self.directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._answers, "HAProxy listens")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"HAProxy ended:\n{self.log}"
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def requests(self) -> dict[str, int]:
        """How many requests each node has got."""
        with socket.socket(socket.AF_UNIX) as asked:
            # Such a path may be longer than an address of a socket: relative, it is not.
            here = os.open(self.directory, os.O_RDONLY)
            try:
                asked.connect(f"/proc/self/fd/{here}/haproxy.sock")
            finally:
                os.close(here)
            asked.sendall(b"show stat\n")
            with asked.makefile("r") as answer:
                rows = list(csv.DictReader(io.StringIO(answer.read().removeprefix("# "))))
        return {row["svname"]: int(row["stot"]) for row in rows if row["svname"] in self.nodes}

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            end(process, "HAProxy", lambda: self.log)

    def __enter__(self) -> Balancer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
