"""Servers in Python that stand beside ours: the floor, aiohttp, Tornado.

What it is: a `Server` for each of the programs in `benchmarks.programs`.

What it may know: the paths of these programs.

Invariant: each runs in a process of its own, on the same Python as the daemon.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from benchmarks.processes import Running, free_port, start
from benchmarks.servers.server import scratch
from benchmarks.wire import get, post

PROGRAMS = Path(__file__).parent.parent / "programs"


class Program:
    """A program of ours.

    :param name: of the file, and in results.
    :param payload: what to publish instead of what a case says.
    """

    ready = b"\r\n\r\n"

    def __init__(self, name: str, payload: bytes = b"") -> None:
        self.name = name
        self._payload = payload

    def start(self) -> Running:
        """Start the program on a free port."""
        port = free_port()
        command = [sys.executable, str(PROGRAMS / f"{self.name}.py"), str(port)]
        return start(self.name, command, scratch(self.name), port)

    def subscribe(self) -> bytes:
        """A request that is held."""
        return get("/subscribe")

    def publish(self, payload: bytes) -> bytes:
        """To all."""
        return post("/publish", self._payload or payload)

    def publish_to_nobody(self, payload: bytes) -> bytes:
        """To nobody."""
        return post("/nobody", self._payload or payload)


def floor(frame: bytes) -> Program:
    """The least that Python can do: a loop of ``socket.send``.

    :param frame: what it sends, byte for byte, such as our daemon's frame.
    """
    return Program("floor", frame)


def aiohttp() -> Program:
    """Server-sent events by aiohttp."""
    return Program("sse_aiohttp")


def missing(module: str) -> str:
    """What has to be installed first, or nothing."""
    return "" if find_spec(module) else f"{module} is not installed: make bench installs it"
