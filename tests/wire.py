"""A client's end of a connection, in memory: a socket, and a reader of HTTP/1.1.

What it is: `MemorySocket` is what the kernel would be between the two, `Connection` the client's
end, `Response` what comes back, decoded here and by nothing of the server's.

What it may know: the socket's side of Twisted's TCP transport. Nothing of the chat.

Invariant: everything above the socket is real, so what is paced, cut or reset is so by Twisted.
"""

from __future__ import annotations

import errno
import json as json_module
import struct
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from cometd_chat.transports import twisted_internals


class Net(Protocol):
    """What a connection is part of."""

    #: The reactor.
    clock: Any
    #: Makes the server's protocols.
    factory: Any
    #: Makes what they are on: one of Twisted's, or of ours.
    transport_class: Any
    #: Those that may have something to do.
    stirred: dict[Connection, None]

    def turn(self) -> None:
        """Do all that can be done now."""


class MemorySocket:
    """The server's socket: the kernel's two buffers, and how far the peer is.

    :param window: how many more bytes the kernel takes from the server; None for any number.
    :param on_change: told when the server has sent something, or closes it, or its half of it.
    """

    def __init__(self, number: int, window: int | None, on_change: Callable[[], None]) -> None:
        self._number = number
        self.window = window
        self._on_change = on_change
        self.to_server = bytearray()
        self.to_client = bytearray()
        #: Bytes that the kernel took and the peer has not acknowledged, see `net.fake_kernel`.
        self.unacknowledged = 0
        #: Seconds since the peer's TCP acknowledged anything, as TCP_INFO tells.
        self.acknowledged_ago = 0.0
        #: Whether the peer's TCP acknowledges what is sent to it from now.
        self.acknowledges = True
        #: Set by the client: it has closed its half, or is gone.
        self.client_done = self.client_gone = False
        #: Set by the server: it has closed its half, or everything, or everything by a reset.
        self.server_done = self.closed = self.reset = False
        #: What the server has set on it.
        self.options: dict[tuple[int, int], object] = {}

    def fileno(self) -> int:
        return self._number

    def setblocking(self, flag: bool) -> None: ...

    def setsockopt(self, level: int, name: int, value: object) -> None:
        self.options[level, name] = value
        # SO_LINGER with zero seconds: closing sends a reset (tcp._AbortingMixin).
        self.reset = self.reset or isinstance(value, bytes)

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        return struct.pack("56xI", round(self.acknowledged_ago * 1000))

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 8080)

    def send(self, data: bytes | memoryview) -> int:
        if self.client_gone:
            raise ConnectionResetError(errno.ECONNRESET, "the client is gone")
        taken = len(data) if self.window is None else min(self.window, len(data))
        if data and not taken:
            raise BlockingIOError(errno.EWOULDBLOCK, "the window is full")
        if self.window is not None:
            self.window -= taken
        self.to_client += data[:taken]
        self._on_change()
        if not self.acknowledges:
            self.unacknowledged += taken
        return taken

    def recv(self, size: int) -> bytes:
        if self.client_gone:
            raise ConnectionResetError(errno.ECONNRESET, "the client is gone")
        if not self.to_server and not self.client_done:
            raise BlockingIOError(errno.EWOULDBLOCK, "nothing has come")
        data = bytes(self.to_server[:size])
        del self.to_server[:size]
        return data

    @property
    def readable(self) -> bool:
        return bool(self.to_server) or self.client_done or self.client_gone

    @property
    def writable(self) -> bool:
        return self.window is None or self.window > 0 or self.client_gone

    def shutdown(self, how: int) -> None:
        self.server_done = True
        self._on_change()

    def close(self) -> None:
        self.server_done = self.closed = True
        self._on_change()


@attrs.define(eq=False)
class Response:
    """What came back for one request, as far as it has come.

    :param method: of the request; a response to HEAD has no body.
    :param chunks: the pieces of the body as they were sent.
    :param complete: it has its proper end.
    """

    method: str
    status: int = 0
    version: str = ""
    headers: dict[str, list[str]] = attrs.field(factory=dict)
    informational: list[int] = attrs.field(factory=list)
    chunks: list[bytes] = attrs.field(factory=list)
    complete: bool = False
    _length: int | None = None
    _chunked: bool = False
    _taken: int = 0

    @property
    def body(self) -> bytes:
        """All that has come of the body."""
        return b"".join(self.chunks)

    @property
    def text(self) -> str:
        """The same as text."""
        return self.body.decode()

    def take(self) -> bytes:
        """What has come of the body since this was asked last."""
        body = self.body
        new, self._taken = body[self._taken :], len(body)
        return new

    def json(self) -> Any:
        """The body as JSON; it has to be there completely."""
        assert self.complete, f"the response is not complete: {self!r}"
        return json_module.loads(self.body)

    def header(self, name: str) -> str | None:
        """The one header of that name, or None."""
        values = self.headers.get(name.lower(), [])
        assert len(values) <= 1, f"{name} stands there {len(values)} times"
        return values[0] if values else None

    # -- decoding (RFC 9112), called by the connection

    def read(self, data: bytearray) -> bool:
        """Take what belongs to this response; True when it was all of it."""
        while not self.status:
            if not self._read_head(data):
                return False
        while not self.complete and self._read_body(data):
            pass
        return self.complete

    def _read_head(self, data: bytearray) -> bool:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        start, *lines = bytes(data[:end]).decode("latin-1").split("\r\n")
        del data[: end + 4]
        version, status, _ = start.split(" ", 2)
        if status.startswith("1"):
            self.informational.append(int(status))
            return True
        self.version, self.status = version, int(status)
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, f"a wrong header: {line!r}"
            assert name == name.strip(), f"a wrong header: {line!r}"
            self.headers.setdefault(name.lower(), []).append(value.strip())
        self._chunked = self.headers.get("transfer-encoding") == ["chunked"]
        length = self.header("content-length")
        assert not (self._chunked and length), "both a length and chunks"
        self._length = None if length is None else int(length)
        self.complete = self.method == "HEAD" or self.status in (204, 304) or self._length == 0
        return True

    def _read_body(self, data: bytearray) -> bool:
        if self._chunked:
            return self._read_chunk(data)
        if not data:
            return False
        size = len(data) if self._length is None else self._length - len(self.body)
        self.chunks.append(bytes(data[:size]))
        del data[:size]
        self.complete = self._length is not None and len(self.body) == self._length
        return True

    def _read_chunk(self, data: bytearray) -> bool:
        head, line_end, _ = bytes(data[:20]).partition(b"\r\n")
        if not line_end:
            return False
        size = int(head, 16)
        begin = len(head) + 2
        if len(data) < begin + size + 2:
            return False
        assert data[begin + size : begin + size + 2] == b"\r\n"
        if size:
            self.chunks.append(bytes(data[begin : begin + size]))
        del data[: begin + size + 2]
        self.complete = not size
        return True

    def ended(self) -> None:
        """The connection is over: a body without length or chunks is complete with that."""
        if self.status and self._length is None and not self._chunked:
            self.complete = True


class Connection:
    """A client's end of a connection. Use `MemorySite.connect`."""

    def __init__(self, net: Net, address: str, number: int, window: int | None) -> None:
        self._net = net
        self.socket = MemorySocket(number, window, self._stir)
        self._unread = bytearray()
        self._waiting: list[Response] = []
        kind: Any = IPv4Address
        client: tuple[object, ...] = (address, number)
        if ":" in address:
            kind, client = IPv6Address, (address, number, 0, 0)
        protocol = net.factory.buildProtocol(kind("TCP", address, number))
        self.transport = net.transport_class(
            self.socket,
            protocol,
            client,
            None,
            number,
            net.clock,
        )
        self.transport.repstr = f"<memory connection {number}>"
        protocol.makeConnection(self.transport)

    def _stir(self) -> None:
        self._net.stirred[self] = None

    # -- what a client does

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        body: bytes | None = None,
        token: str | None = None,
        version: str = "HTTP/1.1",
    ) -> Response:
        """Send a request; its response fills up as the site goes on."""
        lines = {"Host": "127.0.0.1:8080", **(headers or {})}
        if json is not None:
            body = json_module.dumps(json).encode()
            lines.setdefault("Content-Type", "application/json")
        if token is not None:
            lines["Authorization"] = f"Bearer {token}"
        if body is not None:
            lines.setdefault("Content-Length", str(len(body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        response = self.expect(method)
        self.send(f"{method} {path} {version}\r\n{head}\r\n".encode() + (body or b""))
        return response

    def expect(self, method: str = "GET") -> Response:
        """Await a response to what is sent by `send`."""
        response = Response(method)
        self._waiting.append(response)
        return response

    def send(self, data: bytes) -> None:
        """Send bytes, and let the site do what it does with them."""
        self.socket.to_server += data
        self._go_on()

    def close(self) -> None:
        """Close the client's half (FIN)."""
        self.socket.client_done = True
        self._go_on()

    def reset(self) -> None:
        """Be gone: what the server does next meets a reset (RST)."""
        self.socket.client_gone = True
        self._go_on()

    def open_window(self, size: int | None) -> None:
        """Let the kernel take so many bytes more from the server, or any number."""
        self.socket.window = size
        self._go_on()

    def _go_on(self) -> None:
        self._stir()
        self._net.turn()

    # -- what became of it

    @property
    def channel(self) -> Any:
        """What has the connection on the server's side, at this moment."""
        return self.transport.protocol

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection."""
        return self.socket.closed

    @property
    def buffered(self) -> int:
        """Bytes that wait in the server's process."""
        return twisted_internals.unsent(self.transport)

    @property
    def surplus(self) -> bytes:
        """What came and belongs to no response."""
        return bytes(self._unread)

    # -- the reactor's part, called by the site

    def move(self) -> bool:
        """Read, write and decode what is there; False when there is nothing."""
        moved = self._move_in() or self._move_out()
        if self.socket.to_client:
            self._unread += self.socket.to_client
            self.socket.to_client.clear()
            self._decode()
        if self.socket.server_done and self._waiting:
            self._waiting[0].ended()
            self._waiting.clear()
        if not self.socket.readable or self.socket.closed:
            self._net.stirred.pop(self, None)
        return moved

    def _move_in(self) -> bool:
        if not self.socket.readable or self.transport not in self._net.clock.getReaders():
            return False
        self._settle(self.transport.doRead(), reading=True)
        return True

    def _move_out(self) -> bool:
        if self.transport not in self._net.clock.getWriters() or not self.socket.writable:
            return False
        self._settle(self.transport.doWrite(), reading=False)
        return True

    def _settle(self, outcome: Any, *, reading: bool) -> None:
        """End the connection as the reactor would (`_DisconnectSelectableMixin`)."""
        if outcome is None:
            return
        self._net.clock.removeReader(self.transport)
        done = isinstance(outcome, ConnectionDone)
        if reading and done:
            self.transport.readConnectionLost(Failure(outcome))
            return
        self._net.clock.removeWriter(self.transport)
        reason = outcome if done else ConnectionLost()
        self.transport.connectionLost(Failure(reason))

    def _decode(self) -> None:
        while self._waiting and self._unread and self._waiting[0].read(self._unread):
            del self._waiting[0]
