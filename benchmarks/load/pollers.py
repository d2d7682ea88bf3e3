"""A load client that polls: each request is held, answered, and followed by the next one.

What it is: `Pollers`, many keep-alive connections that cycle.

What it may know: a `Cycle` says which request comes next; besides that bytes only.

Invariant: one thread, raw epoll; the next request goes out as soon as an answer is whole. What it
costs itself is in every result.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any, Protocol

from benchmarks.load.streams import STALLED, Poster, connection
from benchmarks.processes import Address, BenchmarkFailed
from benchmarks.wire import MARK, body, succeeded, whole

#: Who post in turn, at a steady pace.
POSTERS = 16


class Cycle(Protocol):
    """What a polling client of one server sends."""

    def first(self, number: int) -> bytes:
        """The first request of a client."""

    def following(self, number: int, answer: bytes) -> bytes:
        """The request after an answer."""


class Pollers:
    """Many polling clients of one server.

    :param address: of the server.
    :param cycle: what they send.
    :param count: how many.
    """

    def __init__(self, address: Address, cycle: Cycle, count: int) -> None:
        self._address = address
        self._cycle = cycle
        self._epoll = select.epoll()
        self._clients: dict[int, tuple[int, socket.socket]] = {}
        self._parts: dict[int, bytes] = {}
        self._answers = 0
        self._marks = 0
        for number in range(count):
            stream = connection(address, blocking=True)
            stream.sendall(cycle.first(number))
            self._clients[stream.fileno()] = (number, stream)
            self._epoll.register(stream, select.EPOLLIN)

    def settle(self, seconds: float) -> None:
        """Let everybody arrive: answer what is answered at once."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            for fd, _ in self._epoll.poll(left, 4096):
                self._read(fd)

    def run(self, publish: bytes, messages: int, pause: float) -> dict[str, Any]:
        """Publish one message after the other; the next one when all have this one.

        :param pause: seconds from one message to the next at least.
        :returns: answers, deliveries, seconds, milliseconds until all had a message, seconds of
            processor that this client used.
        """
        poster = Poster(self._address, publish)
        poster_fd = poster.stream.fileno()
        self._epoll.register(poster.stream, select.EPOLLIN)
        answers, self._marks = self._answers, 0
        waits: list[float] = []
        used, began = time.process_time(), time.perf_counter()
        for number in range(1, messages + 1):
            answered, wanted = False, number * len(self._clients)
            poster.post()
            while not answered or self._marks < wanted:
                ready = self._epoll.poll(STALLED, 4096)
                if not ready:
                    raise BenchmarkFailed(
                        f"{wanted - self._marks} of {len(self._clients)} polls did not get message "
                        f"{number} of {messages} within {STALLED:g} s"
                    )
                for fd, _ in ready:
                    if fd == poster_fd:
                        answered = poster.receive() or answered
                    else:
                        self._read(fd)
            waits.append((time.perf_counter() - poster.began) * 1e3)
            if pause:
                self.settle(poster.began + pause - time.perf_counter())
        took, used = time.perf_counter() - began, time.process_time() - used
        poster.stream.close()
        return {
            "answers": self._answers - answers,
            "received": self._marks,
            "seconds": took,
            "waits": waits,
            "client": used,
        }

    def steady(self, publish: bytes, messages: int, every: float) -> dict[str, Any]:
        """Publish at a steady pace, whether or not everybody has what went before.

        Somebody else posts each time, so that no post waits for the answer to another one before
        `POSTERS` are on their way.

        :param every: seconds from one message to the next.
        :returns: milliseconds from when each message was due until each client had it, seconds
            until all had all, seconds of processor that this client used.
        :raises BenchmarkFailed: somebody never got a message.
        """
        posters = [Poster(self._address, publish) for _ in range(POSTERS)]
        by_fd = {poster.stream.fileno(): poster for poster in posters}
        for fd in by_fd:
            self._epoll.register(fd, select.EPOLLIN)
        waits: list[float] = []
        posting: set[int] = set()
        heard = dict.fromkeys(self._clients, 0)
        posted, missing = 0, messages * len(self._clients)
        used, began = time.process_time(), time.perf_counter()
        while missing or posting:
            now, due = time.perf_counter(), began + posted * every
            fd = posters[posted % POSTERS].stream.fileno()
            wait = STALLED
            if posted < messages and fd not in posting:
                if now >= due:
                    by_fd[fd].post()
                    posting.add(fd)
                    posted += 1
                    continue
                wait = due - now
            ready = self._epoll.poll(wait, 4096)
            if not ready and wait == STALLED:
                raise BenchmarkFailed(
                    f"{missing} messages did not come to polls within {STALLED:g} s"
                )
            for fd, _ in ready:
                if fd in by_fd:
                    if by_fd[fd].receive():
                        posting.discard(fd)
                    continue
                marks = self._read(fd)
                now = time.perf_counter()
                for number in range(heard[fd], heard[fd] + marks):
                    waits.append((now - began - number * every) * 1e3)
                heard[fd] += marks
                missing -= marks
        took, used = time.perf_counter() - began, time.process_time() - used
        for poster in posters:
            poster.stream.close()
        return {"waits": waits, "seconds": took, "client": used}

    def _read(self, fd: int) -> int:
        """Read what has come to a client; how many messages, once an answer is whole."""
        number, stream = self._clients[fd]
        data = stream.recv(262144)
        if not data:
            raise BenchmarkFailed("the server closed a polling connection")
        data = self._parts.pop(fd, b"") + data
        if not whole(data):
            self._parts[fd] = data
            return 0
        if not succeeded(data):
            raise BenchmarkFailed(f"the server refused a poll: {data[:500]!r}")
        self._answers += 1
        marks = body(data).count(MARK)
        self._marks += marks
        stream.sendall(self._cycle.following(number, data))
        return marks
