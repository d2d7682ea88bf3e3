"""Peers that go while nothing is read from them.

Behind a request that is held waits more than a connection keeps of what comes next, so that it is
paused: the end of the peer stands behind bytes that nobody reads, and the reactor does not listen.
Each way of a request and of bytes is tried, and what a peer had is free again: its descriptor, its
place among those of its address, its name.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest

from tests.daemon.talk import held, history, log_in, once, people, wait_until
from tests.daemon.tls import certificate
from tests.support import Daemon, free_port, read_until

#: Nobody waits until somebody expires.
HEARTBEAT, EXPIRATION_DELAY = 0.5, 3600.0

#: Past what the lane and the general way keep of what follows a request.
TOO_MUCH = 17_500

TOKEN = "?token={token}"
EVENTS = "/api/v1/events/"

#: Requests that are held, by transport, and what of a request each is.
REQUESTS = {
    **{
        transport: f"GET {EVENTS}{transport}{TOKEN}"
        for transport in ("frame", "stream", "sse", "multipart")
    },
    "text": f"GET /rooms/lobby.txt{TOKEN}",
    "openchat": f"GET /chat{TOKEN}&action=openchat",
    "bayeux-eventsource": "GET /cometd/{client}",
}

#: How a peer goes.
CLOSE, RESET, HALF = "closes", "resets", "closes its half, and reads on"


@attrs.frozen
class Way:
    """A way to the daemon.

    :param options: of the daemon.
    """

    name: str
    options: tuple[str, ...] = ()

    def connect(self, daemon: Daemon) -> socket.socket:
        if self.name == "unix":
            path = str(daemon.directory / "chat.sock")
            client = socket.socket(socket.AF_UNIX)
            client.connect(path)
            return client
        if self.name != "tls":
            return socket.create_connection(("127.0.0.1", daemon.port))
        client = socket.create_connection(("127.0.0.1", TLS_PORT))
        context = ssl.create_default_context(cafile=str(daemon.directory / "both.pem"))
        return context.wrap_socket(client, server_hostname="localhost")


# Those of the same daemon stand together.
WAYS = (
    Way("lane"),
    Way("tls"),
    Way("unix"),
    Way("general", ("--fast-lane=off",)),
    Way("ordinary", ("--fast-lane=off", "--direct-write=off")),
)

TLS_PORT = free_port()


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: str(way.name))
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Way], Daemon]]:
    """The one of a way's options, which is started when it is first asked for; one runs at a
    time."""
    with ExitStack() as stack:
        running: dict[tuple[str, ...], Daemon] = {}

        def of(way: Way) -> Daemon:
            if way.options not in running:
                running.clear()
                stack.close()
                directory = tmp_path_factory.mktemp(way.name)
                running[way.options] = stack.enter_context(started(way, directory))
            return running[way.options]

        yield of


@pytest.fixture(scope="module")
def daemon(daemons: Callable[[Way], Daemon], way: Way) -> Daemon:
    return daemons(way)


def started(way: Way, directory: Path) -> Daemon:
    certificate(directory)
    port = free_port()
    return Daemon(
        directory,
        f"--listen=tcp:{port}:interface=127.0.0.1",
        f"--listen=ssl:{TLS_PORT}:interface=127.0.0.1:privateKey=both.pem:certKey=both.pem",
        "--listen=unix:chat.sock",
        f"--heartbeat={HEARTBEAT:g}",
        "--poll-timeout=2",
        f"--expiration-delay={EXPIRATION_DELAY:g}",
        "--limits=off",
        *way.options,
        port=port,
    )


def bayeux_client(port: int) -> tuple[str, str]:
    """A Bayeux session, and the cookie of its browser."""
    message = {"channel": "/meta/handshake", "version": "1.0"}
    shaken = once(
        port,
        "POST",
        "/cometd",
        body=[{**message, "supportedConnectionTypes": ["eventsource", "long-polling"]}],
    )
    return shaken.json[0]["clientId"], shaken.headers["set-cookie"].partition(";")[0]


def held_by(way: Way, daemon: Daemon, transport: str, name: str) -> socket.socket:
    """A connection with a request that is held, and with more behind it than is kept."""
    token = client = cookie = ""
    more = ""
    if transport.startswith("bayeux"):
        client, cookie = bayeux_client(daemon.port)
        more = f"Accept: text/event-stream\r\nCookie: {cookie}\r\n"
    else:
        token = log_in(daemon.port, name)
    asked = REQUESTS[transport].format(token=quote(token), client=client)
    peer = way.connect(daemon)
    peer.sendall(f"{asked} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
    assert read_until(peer, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    # Not a request: for the general way and the lane it is one more line of a head.
    peer.sendall(b"x" * TOO_MUCH)
    return peer


def go(peer: socket.socket, how: str, stack: ExitStack) -> None:
    if how == RESET:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if how == HALF:
        socket.socket.shutdown(peer, socket.SHUT_WR)
        stack.enter_context(peer)
    else:
        peer.close()


def open_files(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def test_they_are_let_go(daemon: Daemon, way: Way) -> None:
    once(daemon.port, "GET", "/metrics")
    before = open_files(daemon)
    peers = [
        (how, held_by(way, daemon, transport, f"{way.name}-{transport}-{number}"))
        for number, how in enumerate((CLOSE, RESET, HALF))
        for transport in REQUESTS
    ]
    wait_until(lambda: held(daemon.port) == dict.fromkeys(REQUESTS, 3), "all are held")
    with ExitStack() as stack:
        for how, peer in peers:
            go(peer, how, stack)
        wait_until(lambda: held(daemon.port) == {}, "none is held")
        wait_until(lambda: open_files(daemon) <= before, "no descriptor is open")
    wait_until(lambda: not people(daemon.port), "no name is left")


def test_a_duplex_body_is_read_to_its_end(daemon: Daemon, way: Way) -> None:
    """Its sender closes her half behind what waits to be posted: all of that is said."""
    token = log_in(daemon.port, f"typist-{way.name}")
    lines = "".join(f"line {number}\n" for number in range(300))
    with way.connect(daemon) as peer:
        peer.sendall(
            f"POST /rooms/lobby.txt?token={token} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Length: {len(lines)}\r\n\r\n{lines}".encode()
        )
        if way.name != "tls":  # It has no halves.
            peer.shutdown(socket.SHUT_WR)
        said = read_until(peer, b"line 299\n")
    assert said.count(f"[typist-{way.name}] line".encode()) == 300


def test_a_socket_is_read_to_its_end(daemon: Daemon, way: Way) -> None:
    token = log_in(daemon.port, f"alice-{way.name}")
    peer = way.connect(daemon)
    peer.sendall(
        f"GET {EVENTS}ws?token={token} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    read_until(peer, b"hello")
    for number in range(200):
        text = json.dumps({"type": "message", "text": f"said {number}"}).encode()
        peer.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    # Closed wholly it would be reset, since not all is read that came: what was sent may be lost.
    socket.socket.shutdown(peer, socket.SHUT_WR)
    wait_until(lambda: held(daemon.port) == {}, "it is not held")
    peer.close()
    wait_until(lambda: said_by(f"alice-{way.name}", daemon.port) == 200, "all is said")


def said_by(name: str, port: int) -> int:
    return sum(message["from"] == name for message in history(port))
