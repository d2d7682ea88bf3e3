"""Processes of daemons that start in a quarter of the time.

What it is: `Starter` has the program ``warm.py`` fork a daemon; `Forked` is one of those, with as
much of `subprocess.Popen` as tests use.

What it may know: that program.

Invariant: whatever is waited for has a limit; with this process the daemons end.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock

PROGRAM = Path(__file__).with_name("warm.py")

#: What a forked supervisor runs first, so that its workers are forked as well.
FORKED_WORKERS = (PROGRAM.parent / "daemon/stand_ins/forked_workers.py").read_text("utf-8")


class Starter:
    """Starts daemons.

    :param environ: of the program itself.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._lock = RLock()
        self._rest = b""
        self._began: list[int] = []
        self._ended: dict[int, int] = {}

    def start(
        self,
        arguments: Sequence[str],
        directory: Path,
        environ: Mapping[str, str],
        log: Path,
        before: str = "",
    ) -> Forked:
        """Start a daemon without waiting for more than its process.

        :param arguments: the command, twistd's.
        :param log: gets what it prints.
        :param before: Python that its process runs first.
        """
        asked = {
            "arguments": list(arguments),
            "directory": str(directory),
            "environ": dict(environ),
            "log": str(log),
            "before": before,
        }
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            while not self._began:
                assert self._process.poll() is None, "what starts daemons has ended"
                self.look(1)
            return Forked(self, self._began.pop())

    def close(self) -> None:
        """End the program; what daemons there are end with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def status(self, pid: int) -> int | None:
        """How a daemon has ended, or None while it runs."""
        with self._lock:
            self.look(0)
            return self._ended.get(pid)

    def look(self, timeout: float) -> None:
        """Take what the program has to tell, for which so many seconds are waited."""
        assert self._process.stdout is not None
        with self._lock, selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while selector.select(timeout):
                data = os.read(self._process.stdout.fileno(), 65536)
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
