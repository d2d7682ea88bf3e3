"""Processes of daemons that start in a quarter of the time.

What it is: `Starter` has the program ``warm.py`` fork a daemon; `Forked` is one of those, with as
much of `subprocess.Popen` as tests use. `StarterOfMany` runs it once for all of pytest-xdist's
workers, each of which would import everything.

What it may know: that program.

Invariant: whatever is waited for has a limit; with this process the daemons end.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock

PROGRAM = Path(__file__).with_name("warm.py")

#: What a forked supervisor runs first, so that its workers are forked as well.
FORKED_WORKERS = (PROGRAM.parent / "daemon/stand_ins/forked_workers.py").read_text("utf-8")


#: Says to pytest-xdist's workers where there is a `StarterOfMany`.
VARIABLE = "COMET_STARTER_OF_MANY"


class StarterOfMany:
    """The program for many, who are told of it by a variable. It ends with this process."""

    def __init__(self) -> None:
        # For nobody but this user.
        self._directory = TemporaryDirectory(prefix="comet-chat-starter-")
        path = str(Path(self._directory.name) / "socket")
        with socket.socket(socket.AF_UNIX) as port:
            port.bind(path)
            # Whoever comes early waits until all is imported.
            port.listen(100)
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(port.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[port.fileno()],
            )
        os.environ[VARIABLE] = path

    def close(self) -> None:
        del os.environ[VARIABLE]
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._directory.cleanup()


class Starter:
    """Starts daemons. Use `of_many` or `own`.

    :param connection: to the program.
    :param process: the program, if it is for nobody else.
    """

    def __init__(
        self, connection: socket.socket, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        self._connection = connection
        self._process = process
        self._lock = RLock()
        self._rest = b""
        self._began: list[int] = []
        self._ended: dict[int, int] = {}

    @classmethod
    def of_many(cls, environ: Mapping[str, str]) -> Starter:
        """By the program that is there for many, or one of its own. Daemons are in the calling
        thread's network.

        :param environ: of the latter.
        """
        if VARIABLE not in os.environ:
            return cls.own(environ)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(os.environ[VARIABLE])
        with open("/proc/thread-self/ns/net", "rb") as network:  # noqa: PTH123
            socket.send_fds(connection, [b"\n"], [network.fileno()])
        return cls(connection)

    @classmethod
    def own(cls, environ: Mapping[str, str]) -> Starter:
        """By a program of its own.

        :param environ: of the program.
        """
        ours, its = socket.socketpair()
        with its:
            command = [sys.executable, str(PROGRAM)]
            it = its.fileno()
            process = subprocess.Popen(command, env=dict(environ), stdin=it, stdout=it)
        return cls(ours, process)

    def start(
        self,
        arguments: Sequence[str],
        directory: Path,
        environ: Mapping[str, str],
        log: Path,
        before: str = "",
        data: Path | None = None,
    ) -> Forked:
        """Start a daemon without waiting for more than its process.

        :param arguments: the command, twistd's.
        :param log: gets what it prints.
        :param before: Python that its process runs first.
        :param data: its directory, which is made with a database that has all tables, unless it
            is there.
        """
        asked = {
            "arguments": list(arguments),
            "directory": str(directory),
            "environ": dict(environ),
            "log": str(log),
            "before": before,
            "data": "" if data is None else str(data),
        }
        with self._lock:
            self._connection.sendall(json.dumps(asked).encode() + b"\n")
            while not self._began:
                self.look(1)
            return Forked(self, self._began.pop())

    def close(self) -> None:
        """End it; what daemons there are end with it."""
        self._connection.shutdown(socket.SHUT_WR)
        self._connection.settimeout(60)
        while self._connection.recv(65536):
            pass
        self._connection.close()
        if self._process is not None:
            self._process.wait(60)

    def status(self, pid: int) -> int | None:
        """How a daemon has ended, or None while it runs."""
        with self._lock:
            self.look(0)
            return self._ended.get(pid)

    def look(self, timeout: float) -> None:
        """Take what the program has to tell, for which so many seconds are waited."""
        with self._lock, selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            while selector.select(timeout):
                data = self._connection.recv(65536)
                assert data, "what starts daemons has ended"
                *lines, self._rest = (self._rest + data).split(b"\n")
                for what, pid, *status in map(bytes.split, lines):
                    if what == b"began":
                        self._began.append(int(pid))
                    else:
                        self._ended[int(pid)] = int(status[0])
                timeout = 0


class Forked:
    """A daemon's process."""

    def __init__(self, starter: Starter, pid: int) -> None:
        self.pid = pid
        self._starter = starter

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._starter.status(self.pid)

    def wait(self, timeout: float) -> int:
        """Wait for its end.

        :raises subprocess.TimeoutExpired: that takes longer.
        """
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("twistd", timeout)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
