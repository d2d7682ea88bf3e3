"""HTTP by hand: the bytes of requests, and how an answer is taken apart.

What it is: functions and one small parser for answers with a Content-Length.

What it may know: HTTP/1.1.

Invariant: every server is sent the same headers, those of a browser's own request.
"""

from __future__ import annotations

import re
import socket

from benchmarks.processes import PATIENCE, Address, BenchmarkFailed

#: Once in each message and nowhere else on the wire, so that a message is counted by one byte,
#: however it is framed and cut.
MARK = b"~"

#: What a browser sends with each request; some 450 bytes with the request line and a cookie.
BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n"
    "Referer: http://localhost/rooms/lobby\r\n"
    "Sec-Fetch-Dest: empty\r\n"
    "Sec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Connection: keep-alive\r\n"
)

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_COOKIE = re.compile(rb"(?i)\r\nset-cookie: *([^;\r]+)")


def get(path: str, headers: str = "", accept: str = "*/*") -> bytes:
    """A browser's GET.

    :param headers: more header lines, each with its line end.
    """
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{BROWSER}Accept: {accept}\r\n{headers}\r\n"
    ).encode()


def post(path: str, body: bytes, headers: str = "", kind: str = "application/json") -> bytes:
    """A browser's POST."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{BROWSER}Origin: http://localhost\r\n"
        f"Accept: */*\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    ).encode() + body


def cookie(pair: str) -> str:
    """The header line by which a browser shows its session.

    :param pair: name and value, as the server gave them.
    """
    return f"Cookie: {pair}\r\n"


def bearer(token: str) -> str:
    """The header line by which a program shows its session."""
    return f"Authorization: Bearer {token}\r\n"


def whole(data: bytes) -> int:
    """How long the answer at the beginning of the data is, or 0 while it is not whole."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    found = _LENGTH.search(data, 0, head + 2)
    length = head + 4 + (int(found[1]) if found else 0)
    return length if len(data) >= length else 0


def succeeded(answer: bytes) -> bool:
    """Whether the status is one of the 200s."""
    return answer.startswith(b"HTTP/1.1 2")


def cookie_of(answer: bytes) -> str:
    """Name and value of the cookie that an answer sets, or nothing."""
    found = _COOKIE.search(answer, 0, answer.find(b"\r\n\r\n"))
    return found[1].decode() if found else ""


def body(answer: bytes) -> bytes:
    """What comes after the head."""
    return answer.partition(b"\r\n\r\n")[2]


def connect(address: Address) -> socket.socket:
    """A blocking connection for a few requests."""
    stream = socket.create_connection(address, PATIENCE)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def exchange(stream: socket.socket, request: bytes) -> bytes:
    """Send a request and wait for its answer.

    :raises BenchmarkFailed: the connection ended, or the answer is no success.
    """
    stream.sendall(request)
    read = b""
    while not whole(read):
        data = stream.recv(65536)
        if not data:
            raise BenchmarkFailed(f"closed instead of an answer to {request[:80]!r}: {read!r}")
        read += data
    if not succeeded(read):
        raise BenchmarkFailed(f"refused {request[:80]!r}: {read[:500]!r}")
    return read


def ask(address: Address, request: bytes) -> bytes:
    """One request on a connection of its own; the answer's body."""
    with connect(address) as stream:
        return body(exchange(stream, request))
