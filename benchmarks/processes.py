"""A process that is measured: started, waited for, asked what it costs, stopped.

What it is: `Running`, and `start`, which gives one once its port can be connected to.

What it may know: Linux's /proc and its processor clocks.

Invariant: whatever is waited for has a limit; what was started is stopped; a failure shows what
the process printed.
"""

from __future__ import annotations

import random
import resource
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

#: Seconds that a server may take to start or to stop.
PATIENCE = 60.0

#: Seconds that one may take to stop that has failed.
LITTLE_PATIENCE = 5.0

CHECKOUT = Path(__file__).parent.parent

Address = tuple[str, int]


class BenchmarkFailed(Exception):
    """Something that is needed for a figure did not happen; the text says what."""

    #: The command line of the server that was measured, once it is known.
    command = ""


#: Below those that Linux gives to clients, of which there are thousands here (ip(7)).
PORTS = range(10_000, 32_768)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody has, and that no client will be given."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def raise_open_file_limit() -> None:
    """As many open files as the system lets this process and its children have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far, in seconds.

    It is the sum of utime and stime in /proc/PID/stat, read from the process's own clock (see
    clock_getcpuclockid(3)), which has nanoseconds where that file has hundredths of a second.
    """
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@attrs.define
class Running:
    """A server that runs.

    :param address: where it listens.
    :param pids: the processes whose cost is the server's.
    :param took: seconds from its start until it could be connected to.
    """

    name: str
    address: Address
    process: subprocess.Popen[bytes]
    pids: Sequence[int]
    log: Path
    took: float

    def cpu(self) -> float:
        """Seconds of a processor that it has used."""
        return sum(processor_seconds(pid) for pid in self.pids)

    def memory(self) -> int:
        """Resident bytes."""
        return sum(resident_bytes(pid) for pid in self.pids)

    def stop(self, how: signal.Signals = signal.SIGTERM, patience: float = PATIENCE) -> None:
        """Send a signal and wait for the end; who does not end in time is killed."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(PATIENCE)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, BenchmarkFailed):
            error.command = error.command or shown(self.process.args)
        # Who has failed may hang.
        self.stop(patience=LITTLE_PATIENCE if error else PATIENCE)


def start(
    name: str,
    command: Sequence[str],
    directory: Path,
    port: int,
    environ: Mapping[str, str] | None = None,
) -> Running:
    """Start a server and wait until it can be connected to.

    :param directory: where it runs; its output goes to a file there.
    :param port: of 127.0.0.1, where it will listen.
    :raises BenchmarkFailed: it ended, or took longer than `PATIENCE`.
    """
    log = directory / f"{name.replace(' ', '-')}-{port}.log"
    began = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while not _answers(port):
            if process.poll() is not None or time.monotonic() - began > PATIENCE:
                said = log.read_text("utf-8", "replace")[-2000:]
                raise BenchmarkFailed(f"it did not start: {said}")
            time.sleep(0.005)
    except BaseException as error:
        process.kill()
        process.wait()
        if isinstance(error, BenchmarkFailed):
            error.command = shown(command)
        raise
    took = time.monotonic() - began
    return Running(name, ("127.0.0.1", port), process, [process.pid], log, took)


def shown(command: Any) -> str:
    """A command line as a shell takes it, with paths from the checkout on."""
    return shlex.join(str(word).replace(f"{CHECKOUT}/", "") for word in command)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
