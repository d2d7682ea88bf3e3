"""Connections of the model client, and the ways in which she lets go of one.

What it is: a plain socket, or curl's; what a transport's request looks like on it.

What it may know: HTTP requests, sockets, curl. Not what the bytes mean that come.

Invariant: whatever is waited for has a limit, and what was opened is closed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol
from urllib.parse import quote

import attrs

from tests.faults.decoding import CALLBACK

#: Seconds that a connection may take to come about.
PATIENCE = 10.0

#: Makes the socket, where it isn't an ordinary one.
MakeSocket = Callable[[], socket.socket]


@attrs.frozen(kw_only=True)
class Request:
    """What the model client asks a transport for.

    :param host: with its port, as the client sees it.
    :param wait: seconds that a poll is held.
    :param by_header: the cursor goes where a browser's event stream puts it.
    :param said: lines to say by the transport `duplex`.
    :param version: of HTTP.
    :param fate: what a proxy on the way is to do.
    """

    transport: str
    host: str
    rooms: tuple[str, ...]
    cursor: str
    token: str
    wait: float = 1.0
    by_header: bool = False
    said: tuple[str, ...] = ()
    version: str = "HTTP/1.1"
    fate: Mapping[str, object] | None = None

    @property
    def path(self) -> str:
        """Path and query."""
        query = f"rooms={quote(','.join(self.rooms))}&token={self.token}"
        if not (self.transport == "sse" and self.by_header):
            query += f"&cursor={self.cursor}"
        if self.transport in ("text", "duplex"):
            query += "&cursors=1"
        if self.transport in ("poll", "jsonp"):
            query += f"&wait={self.wait}"
        if self.transport == "jsonp":
            query += f"&callback={CALLBACK}"
        return f"/api/v1/events/{self.transport}?{query}"

    @property
    def headers(self) -> dict[str, str]:
        """What is said besides ``Host``."""
        found: dict[str, str] = {}
        if self.fate is not None:
            found["X-Fate"] = json.dumps(self.fate)
        if self.transport == "sse" and self.by_header:
            found["Last-Event-ID"] = self.cursor
        return found

    def bytes(self) -> bytes:
        """The request on the wire; that of `duplex` has a body without an end."""
        headers = {"Host": self.host, **self.headers}
        body = b""
        if self.transport == "duplex":
            headers["Transfer-Encoding"] = "chunked"
            lines = [line.encode() + b"\n" for line in self.said]
            body = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in lines)
        method = "POST" if self.transport == "duplex" else "GET"
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {self.path} {self.version}\r\n{head}\r\n".encode() + body


class Line(Protocol):
    """A connection that bytes come from."""

    def read(self, size: int, timeout: float) -> bytes | None:
        """What comes next, at most ``size`` bytes; nothing at the end, None after ``timeout``
        seconds of silence.

        :raises OSError: the connection is broken.
        """

    def send(self, data: bytes) -> None:
        """Say something."""

    def fin(self) -> None:
        """Hang up."""

    def rst(self) -> None:
        """Be gone, as a process that has crashed."""


class SocketLine:
    """A plain socket.

    :param address: host and port.
    :param make: makes the socket.
    :param window: bytes that the kernel takes for a reader who is not reading, or None for its own
        idea of that.
    """

    def __init__(
        self, address: tuple[str, int], make: MakeSocket = socket.socket, window: int | None = None
    ) -> None:
        self._socket = make()
        try:
            if window is not None:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            self._socket.settimeout(PATIENCE)
            self._socket.connect(address)
        except BaseException:
            self._socket.close()
            raise

    def read(self, size: int, timeout: float) -> bytes | None:
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(size)
        except TimeoutError:
            return None

    def send(self, data: bytes) -> None:
        self._socket.settimeout(PATIENCE)
        self._socket.sendall(data)

    def is_cut(self, timeout: float) -> bool:
        """Whether the other side has cut us within so many seconds; nothing is read."""
        poll = select.poll()
        poll.register(self._socket, 0)  # Errors and hang-ups are always told.
        return bool(poll.poll(timeout * 1000))

    def fin(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def rst(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class CurlLine:
    """curl, which reads a transport and, by `duplex`, takes lines from its input.

    Its output begins with the response's head; chunks are taken apart.
    """

    def __init__(self, request: Request) -> None:
        headers = [f"-H{name}: {value}" for name, value in request.headers.items()]
        # `-T.` reads the input without blocking; not so with `--max-time`, which curl then spends
        # waiting for input.
        talk = ["-T.", "-XPOST", "-HExpect:"] if request.transport == "duplex" else []
        url = f"http://{request.host}{request.path}"
        self._process = subprocess.Popen(
            ["curl", "-sNi", *headers, *talk, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def read(self, size: int, timeout: float) -> bytes | None:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            return None
        data = os.read(self._process.stdout.fileno(), size)
        if not data and self._process.wait(PATIENCE):
            raise ConnectionError(f"curl ended with status {self._process.returncode}")
        return data

    def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    def fin(self) -> None:
        self._end(signal.SIGTERM)

    def rst(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        self._process.communicate()
