"""When the process may open no more files: whoever is there goes on, and the log says why."""

from __future__ import annotations

import re
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from tests.daemon.talk import wait_until
from tests.support import PATIENCE, Daemon

LIMIT = 150

#: A page, a route, a file and a refusal of each kind; none of them asked for before.
PATHS = (
    *("/", "/rooms/lobby", "/rooms/lobby/plain", "/chat", "/nothing", "/problems/not-found"),
    *("/api/v1/rooms/lobby/messages", "/static/comet.js", "/metrics", "/healthz"),
    "/api/v1/events/poll?wait=0",
)


def ask(stream: socket.socket, request: str) -> bytes:
    """The answer to a request on a connection that stays open."""
    stream.sendall(request.encode())
    answer = b""
    while True:
        data = stream.recv(65536)
        assert data, "the connection that was there goes on"
        answer += data
        head, _, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        if length is not None and len(body) == int(length[1]):
            return answer
        if b"chunked" in head and answer.endswith(b"\r\n0\r\n\r\n"):
            return answer


def test_whoever_is_there_goes_on(tmp_path: Path) -> None:
    prefix = ["sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh"]
    began = time.monotonic()
    with Daemon(tmp_path, "--limits=off", prefix=prefix) as daemon, ExitStack() as stack:
        where = ("127.0.0.1", daemon.port)
        first = stack.enter_context(socket.create_connection(where, PATIENCE))
        others = [
            stack.enter_context(socket.create_connection(where, PATIENCE))
            for _ in range(LIMIT + 20)
        ]
        wait_until(lambda: "no open files are left" in daemon.log, "it says so")
        others[-1].settimeout(PATIENCE)
        assert others[-1].recv(1) == b"", "one too many is closed at once"
        for path in PATHS:
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"
            answer = ask(first, head)
            assert answer.split()[1] in (b"200", b"404"), answer[:300]
        name = b'{"name": "alice"}'
        answer = ask(
            first,
            "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(name)}\r\n\r\n{name.decode()}",
        )
        assert answer.startswith(b"HTTP/1.1 201 ")
        for each in others:
            each.close()
        wait_until(lambda: is_served(where), "there is room again")
    said = daemon.log.partition("open files:")[2]
    minutes = 1 + (time.monotonic() - began) // 60
    assert said.count("no open files are left") <= minutes
    assert "127.0.0.1" not in said
    assert "Traceback" not in said


def is_served(where: tuple[str, int]) -> bool:
    with socket.create_connection(where, PATIENCE) as stream:
        stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        try:
            return stream.recv(12) == b"HTTP/1.1 200"
        except ConnectionResetError:
            return False
