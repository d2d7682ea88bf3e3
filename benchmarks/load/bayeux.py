"""A load client of many Bayeux subscribers that checks what each of them hears.

What it is: `Subscribers`: Bayeux clients by long polling or by WebSocket, on a connection each, and
one publisher for all of them.

What it may know: Bayeux 1.0 and WebSocket (RFC 6455), as far as servers use them here.

Invariant: one thread, raw epoll. Every subscriber hears every message once, in the order in which
they were published, or the measurement fails. A message is published when fewer than `WINDOW` are
on their way, so that no server queues without end and all that is counted has been delivered. What
it costs itself is in every result.
"""

from __future__ import annotations

import json
import re
import select
import time
from typing import Any

import attrs

from benchmarks.load.streams import STALLED, connection
from benchmarks.processes import PATIENCE, Address, BenchmarkFailed
from benchmarks.wire import body, cookie, cookie_of, post, succeeded, whole

#: Messages that not everybody has heard, at most.
WINDOW = 8

#: Stands for a number of as many digits in what is sent again and again.
NUMBER = "########"

#: The text of each message, from which its number is read again.
TEXT = f"at {NUMBER}, a message of some eighty characters, " + "." * 34

#: Seconds after the last message in which nobody may hear anything more.
AFTERWARDS = 0.1

_HEARD = re.compile(rb'"at (\d{8}),')

#: Opcodes of RFC 6455, section 5.2.
_CLOSE, _PING, _PONG = 0x8, 0x9, 0xA


@attrs.frozen
class Place:
    """Where clients meet.

    :param path: of the Bayeux server.
    :param channel: where messages are published.
    :param data: what is published: an object with `TEXT` as its text.
    """

    path: str
    channel: str
    data: dict[str, Any]


class LongPolling:
    """A client on one connection, with one request on its way at a time.

    :param path: of the Bayeux server.
    """

    transport = "long-polling"

    def __init__(self, address: Address, path: str) -> None:
        self.stream = connection(address, blocking=True)
        #: How many messages it has heard, and how often it has connected.
        self.heard = 0
        self.connects = 0
        self._path = path
        self._headers = ""
        self._id = ""
        self._rest = b""
        self._connect = b""

    def begin(self) -> None:
        """Shake hands.

        :raises BenchmarkFailed: it was refused.
        """
        message = {"channel": "/meta/handshake", "version": "1.0"}
        self._id = self._ask({**message, "supportedConnectionTypes": [self.transport]})["clientId"]
        self._connect = self.request(
            {"channel": "/meta/connect", "connectionType": self.transport, "id": NUMBER}
        )

    def subscribe(self, channel: str) -> None:
        """Ask for what is said on a channel.

        :raises BenchmarkFailed: it was refused.
        """
        message = {"channel": "/meta/subscribe", "subscription": channel, "id": "1"}
        self._ask({**message, "clientId": self._id})

    def connect(self) -> None:
        """Ask for what comes; each time with another id, as clients do."""
        self.connects += 1
        self.send(self._connect, self.connects)

    def request(self, message: dict[str, Any]) -> bytes:
        """What this client sends for a message of its own."""
        return self._framed({**message, "clientId": self._id})

    def send(self, request: bytes, number: int) -> None:
        """Send a request with a number in place of `NUMBER`."""
        self.stream.sendall(request.replace(NUMBER.encode(), b"%08d" % number))

    def receive(self) -> bytes:
        """Read what has come; the messages that are whole, as JSON.

        :raises BenchmarkFailed: something was refused, or the connection ended.
        """
        data = self.stream.recv(65536)
        if not data:
            raise BenchmarkFailed(f"the server closed a connection by {self.transport}")
        self._rest += data
        found = self._whole()
        if b'"successful":false' in found or b'"error"' in found:
            raise BenchmarkFailed(f"the server refused something: {found[:500]!r}")
        return found

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message and wait for its reply."""
        self.stream.sendall(self._framed(message))
        while not (come := self.receive()):
            pass
        reply: dict[str, Any] = json.loads(come)[0]
        return reply

    def _framed(self, message: dict[str, Any]) -> bytes:
        return post(self._path, json.dumps([message]).encode(), self._headers)

    def _whole(self) -> bytes:
        """Take the answer from what has come, if it is whole."""
        if not whole(self._rest):
            return b""
        answer, self._rest = self._rest, b""
        if not succeeded(answer):
            raise BenchmarkFailed(f"the server refused a request: {answer[:500]!r}")
        if pair := cookie_of(answer):
            self._headers = cookie(pair)
        return body(answer)


class WebSocket(LongPolling):
    """The same, but messages come without being asked for one by one."""

    transport = "websocket"

    def __init__(self, address: Address, path: str) -> None:
        super().__init__(address, path)
        self.stream.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := self.stream.recv(65536)):
                break
            head += data
        if not head.startswith(b"HTTP/1.1 101"):
            raise BenchmarkFailed(f"the server refused a WebSocket: {head[:500]!r}")
        self._rest = head.partition(b"\r\n\r\n")[2]

    def _framed(self, message: dict[str, Any]) -> bytes:
        return frame(json.dumps([message]).encode())

    def _whole(self) -> bytes:
        """Take the frames that are whole from what has come."""
        data, start, found = self._rest, 0, []
        while span := payload_of(data, start):
            begin, end = span
            kind = data[start] & 0x0F
            if kind == _CLOSE:
                raise BenchmarkFailed(f"the server closed a WebSocket: {data[begin:end]!r}")
            if kind == _PING:
                self.stream.sendall(frame(data[begin:end], _PONG))
            else:
                found.append(data[begin:end])
            start = end
        self._rest = data[start:]
        return b"".join(found)


def frame(payload: bytes, kind: int = 0x1) -> bytes:
    """A client's frame; its mask of zeros changes nothing (RFC 6455, 5.3)."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | kind]) + length + bytes(4) + payload


def payload_of(data: bytes, start: int) -> tuple[int, int] | None:
    """Where the payload of a server's frame begins and ends, if it is whole (RFC 6455, 5.2)."""
    begin = start + 2
    if len(data) < begin:
        return None
    size = data[start + 1]
    if size >= 126:
        begin += 2 if size == 126 else 8
        size = int.from_bytes(data[start + 2 : begin], "big")
    end = begin + size
    return (begin, end) if len(data) >= end else None


class Subscribers:
    """Many subscribers of one channel, and who publishes there.

    The publisher has a WebSocket in either case: its messages are sent while others are on their
    way, and in an order that is known.

    :param address: of the server.
    :param transport: by which the subscribers hear.
    :param count: how many there are.
    """

    def __init__(self, address: Address, place: Place, transport: str, count: int) -> None:
        kind = {each.transport: each for each in (LongPolling, WebSocket)}[transport]
        self._epoll = select.epoll()
        self._clients: dict[int, LongPolling] = {}
        self._count = count
        #: What each message is known by, when it was published, and who has yet to hear it.
        self._names: list[bytes] = []
        self._published: list[float] = []
        self._left: list[int] = []
        self._all_heard = 0
        self._waits: list[float] = []
        for _ in range(count):
            self._arrive(kind(address, place.path), place.channel)
        self._publisher = WebSocket(address, place.path)
        self._arrive(self._publisher)
        message = {"channel": place.channel, "data": place.data, "id": NUMBER}
        self._message = self._publisher.request(message)

    def settle(self, seconds: float) -> None:
        """Answer what comes, such as connects that were held for long enough."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            for fd, _ in self._epoll.poll(left, 4096):
                self._read(self._clients[fd])

    def run(self, seconds: float) -> dict[str, Any]:
        """Publish, always as soon as fewer than `WINDOW` messages are on their way.

        :param seconds: until the last message is published.
        :returns: deliveries, connects, seconds until the last delivery, milliseconds that each
            took, seconds of processor that this client used.
        :raises BenchmarkFailed: a message was lost, came twice, or came out of order.
        """
        first, connects = len(self._published), self._connects()
        self._waits.clear()
        used, began = time.process_time(), time.perf_counter()
        now = began
        while now - began < seconds or self._all_heard < len(self._published):
            while now - began < seconds and len(self._published) - self._all_heard < WINDOW:
                self._publish()
            ready = self._epoll.poll(STALLED, 4096)
            if not ready or now - began > seconds + PATIENCE:
                lost = sum(self._left)
                raise BenchmarkFailed(f"{lost} deliveries of {len(self._published)} messages lost")
            for fd, _ in ready:
                self._read(self._clients[fd])
            now = time.perf_counter()
        used = time.process_time() - used
        self.settle(AFTERWARDS)
        return {
            "received": (len(self._published) - first) * self._count,
            "connects": self._connects() - connects,
            "seconds": now - began,
            "waits": self._waits,
            "client": used,
        }

    def _connects(self) -> int:
        return sum(client.connects for client in self._clients.values())

    def _arrive(self, client: LongPolling, channel: str = "") -> None:
        client.begin()
        if channel:
            client.subscribe(channel)
        client.connect()
        self._clients[client.stream.fileno()] = client
        self._epoll.register(client.stream, select.EPOLLIN)

    def _publish(self) -> None:
        number = len(self._published)
        self._names.append(b"%08d" % number)
        self._left.append(self._count)
        self._published.append(time.perf_counter())
        self._publisher.send(self._message, number)

    def _read(self, client: LongPolling) -> None:
        messages = client.receive()
        if not messages:
            return
        if b'"/meta/connect"' in messages:
            client.connect()
        names = _HEARD.findall(messages)
        first, last = client.heard, client.heard + len(names)
        if names != self._names[first:last]:
            raise BenchmarkFailed(f"lost, twice or out of order: {names} after {first} messages")
        client.heard = last
        now = time.perf_counter()
        for number in range(first, last):
            self._waits.append((now - self._published[number]) * 1e3)
            self._left[number] -= 1
            if not self._left[number]:
                self._all_heard += 1
