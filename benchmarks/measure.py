"""Measures one daemon: latency, durable posts a second, memory of idle streams.

What it is: a client of one thread and plain sockets that starts a daemon of its own, in a new
directory, and prints a table: ``python benchmarks/measure.py``.

What it may know: the interface of the daemon. Nothing of its inside.

Invariant: what this program itself costs is in the table, so that nobody takes its limit for the
daemon's.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

POSTERS = 64
SECONDS = 10.0
READERS = 100
MESSAGES = 400
PAUSE = 0.02
IDLE = 1000
PATIENCE = 60.0

_STAMP = re.compile(rb'"text":"at (\d+)"')


class Measured:
    """A daemon that is measured.

    :param directory: where it keeps its data; the disk under it decides what a commit costs.
    """

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address: tuple[str, int] = probe.getsockname()
        self._log = directory / "log"
        twistd = [str(Path(sys.executable).parent / "twistd"), "-n", "--pidfile=", "comet-chat"]
        listen = f"--listen=tcp:{self.address[1]}:interface=127.0.0.1"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*twistd, listen, f"--data={directory / 'data'}", "--limits=off"],
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while "open files:" not in self._log.read_text("utf-8", "replace"):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise SystemExit(f"The daemon did not start:\n{self._log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)

    def connect(self) -> socket.socket:
        stream = socket.create_connection(self.address, PATIENCE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream

    def log_in(self, name: str) -> str:
        with self.connect() as stream:
            stream.sendall(request("POST", "/api/v1/session", {"name": name}))
            answer = read_until(stream, b"}")
        token: str = json.loads(answer.partition(b"\r\n\r\n")[2])["token"]
        return token

    def open_stream(self) -> socket.socket:
        stream = self.connect()
        stream.sendall(request("GET", "/api/v1/events/stream"))
        read_until(stream, b'"hello"')
        return stream

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        status = Path(f"/proc/{self._process.pid}/statm").read_text().split()
        return int(status[1]) * resource.getpagesize()

    @property
    def cpu(self) -> float:
        """Seconds of a processor so far."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / 100


def request(method: str, path: str, body: object = None, token: str = "") -> bytes:
    """The bytes of a request."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if data:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    return head.encode() + b"\r\n" + data


def read_until(stream: socket.socket, wanted: bytes) -> bytes:
    read = b""
    while wanted not in read:
        data = stream.recv(65536)
        if not data:
            raise SystemExit(f"The daemon closed a connection: {read!r}")
        read += data
    return read


def post(token: str, text: str) -> bytes:
    return request("POST", "/api/v1/rooms/lobby/messages", {"text": text}, token)


def latencies(daemon: Measured) -> list[float]:
    """Milliseconds from before a post is sent until each stream has it, for all of them."""
    token = daemon.log_in("latency")
    found: list[float] = []
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        poster = stack.enter_context(daemon.connect())
        selector.register(poster, selectors.EVENT_READ, True)
        for _ in range(READERS):
            stream = stack.enter_context(daemon.open_stream())
            selector.register(stream, selectors.EVENT_READ, False)
        for number in range(MESSAGES):
            poster.sendall(post(token, f"at {time.perf_counter_ns()}"))
            rest = READERS + 1
            while rest:
                ready = selector.select(PATIENCE)
                if not ready:
                    raise SystemExit(f"{rest} of the streams never got message {number}.")
                for key, _ in ready:
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    now = time.perf_counter_ns()
                    if key.data:
                        rest -= 1
                    for stamp in () if key.data else _STAMP.findall(data):
                        rest -= 1
                        found.append((now - int(stamp)) / 1e6)
            if number < MESSAGES - 1:
                time.sleep(PAUSE)
    return sorted(found)


def posts_a_second(daemon: Measured) -> float:
    """Acknowledged posts; each poster waits for its answer before it sends the next one."""
    done = 0
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for number in range(POSTERS):
            stream = stack.enter_context(daemon.connect())
            message = post(
                daemon.log_in(f"poster{number}"), "a message of some forty characters, each"
            )
            selector.register(stream, selectors.EVENT_READ, message)
            stream.sendall(message)
        began = time.perf_counter()
        while (took := time.perf_counter() - began) < SECONDS:
            for key, _ in selector.select(1):
                answer = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not answer.startswith(b"HTTP/1.1 201 "):
                    raise SystemExit(f"The daemon refused a post: {answer!r}")
                done += 1
                key.fileobj.sendall(key.data)  # type: ignore[union-attr]
    return done / took


def memory_of_idle(daemon: Measured) -> float:
    """KiB that each of many idle streams costs the daemon."""
    with ExitStack() as stack:
        stack.enter_context(daemon.open_stream())
        before = daemon.resident
        for _ in range(IDLE):
            stack.enter_context(daemon.open_stream())
        return (daemon.resident - before) / IDLE / 1024


@contextmanager
def fresh_daemon(directory: str) -> Iterator[Measured]:
    with TemporaryDirectory(dir=directory) as path:
        daemon = Measured(Path(path))
        try:
            daemon.wait_until_ready()
            yield daemon
        finally:
            daemon.stop()


def show(name: str, value: str) -> None:
    print(f"{name:<58}{value:>16}", flush=True)


def measured(directory: str, what: Callable[[Measured], list[tuple[str, str]]]) -> None:
    """Measure one thing on a daemon of its own, and what it cost both sides."""
    with fresh_daemon(directory) as daemon:
        began, ours, theirs = time.perf_counter(), time.process_time(), daemon.cpu
        rows = what(daemon)
        took = time.perf_counter() - began
        for name, value in rows:
            show(name, value)
        show("  processor used by this program", f"{(time.process_time() - ours) / took:.0%}")
        show("  processor used by the daemon", f"{(daemon.cpu - theirs) / took:.0%}")


def latency_rows(daemon: Measured) -> list[tuple[str, str]]:
    found = latencies(daemon)
    p50, p99 = found[len(found) // 2], found[len(found) * 99 // 100]
    name = f"publish to receive, {READERS} streams"
    return [(f"{name}, p50", f"{p50:.2f} ms"), (f"{name}, p99", f"{p99:.2f} ms")]


def posts_rows(daemon: Measured) -> list[tuple[str, str]]:
    rate = posts_a_second(daemon)
    return [(f"acknowledged durable posts, {POSTERS} posters", f"{rate:.0f} /s")]


def memory_rows(daemon: Measured) -> list[tuple[str, str]]:
    each = memory_of_idle(daemon)
    total = daemon.resident / 2**20
    return [
        (f"memory of each of {IDLE} idle streams", f"{each:.1f} KiB"),
        ("  of the whole daemon after them", f"{total:.0f} MiB"),
    ]


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description="Measure a Comet Chat daemon.")
    parser.add_argument(
        "--directory", default=".", help="where to put its data: the disk that is measured"
    )
    directory = parser.parse_args().directory
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for what in (latency_rows, posts_rows, memory_rows):
        measured(directory, what)


if __name__ == "__main__":
    main()
