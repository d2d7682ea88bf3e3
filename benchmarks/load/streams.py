"""A load client that holds thousands of streams open and counts what comes.

What it is: `Streams`: open many, publish one message at a time or flat out, be there idle.

What it may know: bytes of requests, and the one byte that marks a message.

Invariant: one thread, raw epoll, one buffer; one read a readiness, nothing parsed but the answers
to posts. What it costs itself is in every result.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.processes import PATIENCE, Address, BenchmarkFailed
from benchmarks.wire import MARK, succeeded, whole

#: Seconds without any byte after which what has not come counts as lost.
GIVE_UP = 4.0

#: Seconds without any byte after which a server has stalled. It is less than servers let a
#: connection be idle, or it would look as if they had closed that of the poster.
STALLED = 15.0

#: How many connections may be on their way at once while streams are opened.
AT_ONCE = 200

#: Closing a connection with this resets it, so that no port of ours has to wait.
RESET = struct.pack("ii", 1, 0)


class Poster:
    """A keep-alive connection that posts one message after the other."""

    def __init__(self, address: Address, request: bytes) -> None:
        self.stream = connection(address, blocking=True)
        self.request = request
        self.began = 0.0
        self._read = b""

    def post(self) -> None:
        """Send the request."""
        self.began = time.perf_counter()
        self.stream.sendall(self.request)

    def receive(self) -> bool:
        """Read what has come; whether the answer is whole.

        :raises BenchmarkFailed: it is no success, or the connection ended.
        """
        data = self.stream.recv(65536)
        if not data:
            raise BenchmarkFailed("the server closed the connection of a poster")
        self._read += data
        if not whole(self._read):
            return False
        answer, self._read = self._read, b""
        if not succeeded(answer) or b'"successful":false' in answer:
            raise BenchmarkFailed(f"the server refused a post: {answer[:500]!r}")
        return True


class Streams:
    """Many held connections to one server.

    :param address: of the server.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._epoll = select.epoll()
        self._buffer = bytearray(2**20)
        self._streams: dict[int, socket.socket] = {}
        self._receive: dict[int, Callable[[bytearray], int]] = {}
        self._lost = 0

    def open(
        self,
        requests: Sequence[bytes],
        ready: bytes,
        at_once: int = AT_ONCE,
        address: Address | None = None,
    ) -> float:
        """Open a stream a request and wait until each has shown that it is held.

        :param ready: what comes on a stream that is held; empty for a request that is held in
            silence.
        :param address: of another node of the same server.
        :returns: seconds that it took.
        """
        began = time.perf_counter()
        opening: dict[int, tuple[socket.socket, bytes]] = {}
        waiting = iter(requests)
        left = len(requests)
        while left:
            while len(opening) < at_once and (request := next(waiting, None)) is not None:
                stream = connection(address or self._address)
                stream.send(request)
                opening[stream.fileno()] = (stream, b"")
                self._epoll.register(stream, select.EPOLLIN)
                if not ready:
                    self._keep(opening.pop(stream.fileno())[0])
                    left -= 1
            for fd in self._ready(f"{left} of {len(requests)} streams were not opened"):
                if fd not in opening:
                    self._read(fd)
                    continue
                stream, head = opening[fd]
                head += (data := stream.recv(65536))
                if not data or not head.startswith(b"HTTP/1.1 "[: len(head)]):
                    raise BenchmarkFailed(f"the server refused a stream: {head[:500]!r}")
                opening[fd] = (stream, head)
                if ready in head:
                    self._keep(opening.pop(fd)[0])
                    left -= 1
        return time.perf_counter() - began

    def fan_out(self, publish: bytes, times: int, pause: float, wanted: bool) -> dict[str, Any]:
        """Publish one message at a time; the next one when all have this one.

        :param pause: seconds between all having a message and the next one.
        :param wanted: whether the streams shall get the messages; else only the answers count.
        :returns: lists of milliseconds until the first and the last stream had a message and until
            the post was answered; seconds of processor that this client used.
        """
        poster = Poster(self._address, publish)
        self._epoll.register(poster.stream, select.EPOLLIN)
        first, last, answered = [], [], []
        used = time.process_time()
        for _ in range(times):
            time.sleep(pause)
            self._drain()
            times_of_one = self._one(poster, len(self._streams) if wanted else 0)
            first.append(times_of_one[0])
            last.append(times_of_one[1])
            answered.append(times_of_one[2])
        used = time.process_time() - used
        poster.stream.close()
        return {"first": first, "last": last, "answered": answered, "client": used}

    def _one(self, poster: Poster, missing: int) -> tuple[float, float, float]:
        """Milliseconds of one message: to the first, to the last, to the answer."""
        fd_of_poster = poster.stream.fileno()
        clock, buffer, receive = time.perf_counter, self._buffer, self._receive
        first = last = answered = 0.0
        poster.post()
        while missing > 0 or not answered:
            ready = self._epoll.poll(STALLED, 4096)
            if not ready:
                raise BenchmarkFailed(
                    f"{missing} streams did not get a message within {STALLED:g} s"
                )
            for fd, _ in ready:
                if fd == fd_of_poster:
                    if poster.receive():
                        answered = clock()
                    continue
                size = receive[fd](buffer)
                if not size:
                    self._drop(fd)
                    raise BenchmarkFailed("the server closed a stream during a fan-out")
                missing -= buffer.count(MARK, 0, size)
                first = first or clock()
            if len(ready) > 1 or ready[0][0] != fd_of_poster:
                last = clock()
        began = poster.began
        return (first - began) * 1e3, (last - began) * 1e3, (answered - began) * 1e3

    def flood(self, requests: Sequence[bytes], seconds: float) -> dict[str, Any]:
        """Publish flat out: each poster sends its next post when its last one is answered.

        :param requests: a poster's post each.
        :returns: acknowledged posts, seconds until the last was, milliseconds of each, deliveries,
            those that are missing, streams that were closed, seconds from the first post to the
            last delivery, seconds of processor that this client used.
        """
        posters: dict[int, Poster] = {}
        for request in requests:
            poster = Poster(self._address, request)
            posters[poster.stream.fileno()] = poster
            self._epoll.register(poster.stream, select.EPOLLIN)
        self._drain()
        streams, lost = len(self._streams), self._lost
        used, began = time.process_time(), time.perf_counter()
        waits, received, answered, heard = self._flooding(posters, began + seconds)
        used = time.process_time() - used
        for poster in posters.values():
            poster.stream.close()
        return {
            "acknowledged": len(waits),
            "posting": answered - began,
            "waits": waits,
            "received": received,
            "missing": len(waits) * streams - received,
            "closed": self._lost - lost,
            "seconds": max(answered, heard) - began,
            "client": used,
        }

    def _flooding(
        self, posters: dict[int, Poster], until: float
    ) -> tuple[list[float], int, float, float]:
        """Milliseconds of each post, deliveries, the times of the last answer and delivery."""
        buffer, receive, clock = self._buffer, self._receive, time.perf_counter
        streams = len(self._streams)
        waits: list[float] = []
        received, posting = 0, len(posters)
        for poster in posters.values():
            poster.post()
        answered = heard = clock()
        while posting or received < len(waits) * streams:
            ready = self._epoll.poll(PATIENCE if posting else GIVE_UP, 4096)
            if posting and not ready:
                raise BenchmarkFailed(f"{posting} posts were not answered")
            for fd, _ in ready:
                if fd not in posters:
                    size = receive[fd](buffer)
                    if count := buffer.count(MARK, 0, size):
                        received += count
                        heard = clock()
                    if not size:
                        self._drop(fd)
                elif posters[fd].receive():
                    answered = clock()
                    waits.append((answered - posters[fd].began) * 1e3)
                    if answered < until:
                        posters[fd].post()
                    else:
                        posting -= 1
            if not posting and clock() - max(heard, answered) > GIVE_UP:
                break  # Heartbeats may still come, but no message.
        return waits, received, answered, heard

    def idle(self, seconds: float) -> dict[str, Any]:
        """Be there and read what comes, such as heartbeats.

        :returns: reads, streams that were closed.
        """
        until = time.perf_counter() + seconds
        reads, lost = 0, self._lost
        while (left := until - time.perf_counter()) > 0:
            for fd, _ in self._epoll.poll(left, 4096):
                self._read(fd)
                reads += 1
        return {"reads": reads, "closed": self._lost - lost}

    def count(self) -> int:
        """How many are open."""
        return len(self._streams)

    def hear(self, messages: int, limit: float) -> dict[str, Any]:
        """Read until so many messages have come, or until the limit in seconds.

        :returns: messages that are missing, seconds until the last one came, seconds of processor
            that this client used.
        """
        buffer, receive, clock = self._buffer, self._receive, time.perf_counter
        used, began = time.process_time(), clock()
        heard = began
        missing = messages
        while missing > 0 and (left := began + limit - clock()) > 0:
            for fd, _ in self._epoll.poll(left, 4096):
                size = receive[fd](buffer)
                if count := buffer.count(MARK, 0, size):
                    missing -= count
                    heard = clock()
                if not size:
                    self._drop(fd)
        used = time.process_time() - used
        return {"missing": missing, "seconds": heard - began, "client": used}

    def come_back(self, requests: Sequence[bytes], each: int, at_once: int) -> dict[str, Any]:
        """Open all streams as fast as they can be opened, and read until each has so many
        messages.

        :param each: messages that a stream misses.
        :returns: seconds until half and until all streams were level, streams that never were.
        """
        began = time.perf_counter()
        counts: dict[int, int] = {}
        waiting = iter(requests)
        level: list[float] = []
        heads = 0
        while len(level) < len(requests):
            while len(counts) - heads < at_once and (request := next(waiting, None)) is not None:
                stream = connection(self._address)
                stream.send(request)
                counts[stream.fileno()] = -1
                self._epoll.register(stream, select.EPOLLIN)
                self._keep(stream)
            for fd in self._ready(f"{len(requests) - len(level)} clients never were level"):
                size = self._receive[fd](self._buffer)
                if not size:
                    raise BenchmarkFailed("the server closed a stream that came back")
                if counts[fd] < 0:
                    counts[fd] = 0
                    heads += 1
                marks = self._buffer.count(MARK, 0, size)
                counts[fd] += marks
                if marks and counts[fd] == each:
                    level.append(time.perf_counter() - began)
        return {"half": level[len(level) // 2], "all": level[-1]}

    def _ready(self, otherwise: str) -> list[int]:
        """Connections with something to read.

        :raises BenchmarkFailed: nothing came.
        """
        ready = self._epoll.poll(PATIENCE, 4096)
        if not ready:
            raise BenchmarkFailed(f"{otherwise} within {PATIENCE:g} s")
        return [fd for fd, _ in ready]

    def _keep(self, stream: socket.socket) -> None:
        self._streams[stream.fileno()] = stream
        self._receive[stream.fileno()] = stream.recv_into

    def _read(self, fd: int) -> None:
        if not self._receive[fd](self._buffer):
            self._drop(fd)

    def _drop(self, fd: int) -> None:
        self._epoll.unregister(fd)
        self._receive.pop(fd)
        self._streams.pop(fd).close()
        self._lost += 1

    def _drain(self) -> None:
        """Read what came unasked meanwhile, such as heartbeats."""
        while ready := self._epoll.poll(0, 4096):
            for fd, _ in ready:
                self._read(fd)


def connection(address: Address, blocking: bool = False) -> socket.socket:
    """A connection that is reset when it is closed."""
    stream = socket.socket()
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    # On loopback this is over at once: the kernel accepts, not the server.
    stream.settimeout(PATIENCE)
    stream.connect(address)
    stream.setblocking(blocking)
    return stream
