"""A load client whose streams are never read: it sees that something has come, and no more.

What it is: `Silent`: open many streams, post, and say when the last one has something new.

What it may know: bytes of requests.

Invariant: it takes next to nothing of the processors that the server could use.
"""

from __future__ import annotations

import select
import socket
import time

from benchmarks.load.streams import Poster, connection
from benchmarks.processes import PATIENCE, Address, BenchmarkFailed


class Silent:
    """Many held connections to one server.

    :param address: of the server.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        # Told once each time that something comes, whether or not what came before was read.
        self._epoll = select.epoll()
        self._streams: list[socket.socket] = []

    def open(self, request: bytes, count: int) -> None:
        """Open so many streams and wait until each is held."""
        for _ in range(count):
            stream = connection(self._address)
            stream.send(request)
            self._streams.append(stream)
            self._epoll.register(stream, select.EPOLLIN | select.EPOLLET)
            if len(self._streams) % 100 == 0:
                self._settle(0.05)
        self._settle(1.0)

    def walk(self, publish: bytes, times: int) -> list[float]:
        """Post one message after the other.

        :returns: of each, milliseconds from the first stream that has it to the last one.
        """
        poster = Poster(self._address, publish)
        poster.stream.setblocking(True)
        return [self._one(poster) for _ in range(times)]

    def _one(self, poster: Poster) -> float:
        self._settle(0.3)
        told: set[int] = set()
        first = 0.0
        poster.post()
        while len(told) < len(self._streams):
            ready = self._epoll.poll(PATIENCE, 4096)
            if not ready:
                raise BenchmarkFailed(f"{len(self._streams) - len(told)} streams were not told")
            first = first or time.perf_counter()
            told.update(fd for fd, _ in ready)
            # What comes in between need not be seen one by one.
            time.sleep(0.0005)
        last = time.perf_counter()
        while not poster.receive():
            pass
        return (last - first) * 1e3

    def _settle(self, seconds: float) -> None:
        """Wait until nothing has come for so long."""
        while self._epoll.poll(seconds, 4096):
            pass
