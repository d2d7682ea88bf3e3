"""A thousand hostile connections of every kind together: memory stays under one figure, and whoever
says something beside them is answered."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from cometd_chat.transports.budget import KINDS
from tests.daemon.talk import (
    forget_peak,
    held,
    log_in,
    make_room,
    metric,
    once,
    peak,
    resident,
    say,
    wait_until,
)
from tests.daemon.test_memory_bounds import many_files
from tests.support import PATIENCE, Daemon

MIB = 2**20

CONNECTIONS = 1000
CEILING = 32 * MIB

#: What may be resident above what is at rest: docs/operations.md, under Memory.
ALLOWED = CEILING * 5 // 4

#: 24,000 bytes of UTF-8: a page of history is full with eleven of them.
TEXT = "\N{EURO SIGN}" * 7990
MESSAGES = 32

#: Said in front of the readers that do not read: twice the ceiling, for a hundred of them.
SAID = 24

#: Chunks, or fragments, of a byte or of none: if each took fifty bytes, those of all would be more
#: than is allowed beside what else is held.
SMALL = 10_000

JSON = "Content-Type: application/json\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def head(method: str, path: str, fields: str = "") -> bytes:
    """A head of a request."""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode()


def frame(opcode: int, data: bytes, *, last: bool = True) -> bytes:
    """A frame of WebSocket, masked with zeros (RFC 6455, section 5.2)."""
    kind, size = bytes([opcode | (0x80 if last else 0)]), len(data)
    if size < 126:
        return kind + bytes([0x80 | size]) + bytes(4) + data
    return kind + bytes([0x80 | 126]) + size.to_bytes(2, "big") + bytes(4) + data


def kinds(room: str) -> Mapping[str, bytes]:
    """What each kind of hostile connection sends. None of them ever reads."""
    messages = f"/api/v1/rooms/{room}/messages"
    history, events = f"{messages}?limit=200", f"rooms={room}&backlog=10"
    return {
        "stream": head("GET", f"/api/v1/events/stream?{events}"),
        "event stream": head("GET", f"/api/v1/events/sse?{events}"),
        "hidden frame": head("GET", f"/api/v1/events/frame?{events}"),
        "answer": head("GET", history),
        "page": head("GET", f"/rooms/{room}", "Accept: text/html\r\n"),
        "pipelined answers": head("GET", history) * 100,
        "pipelined polls": head("GET", f"/api/v1/events/poll?{events}&wait=0") * 100,
        "pipelined pages": head("GET", f"/rooms/{room}", "Accept: text/html\r\n") * 100,
        "half a head": head("GET", "/", "X: " + "a" * 15000)[:-2],
        "half a body": head("POST", "/cometd", f"{JSON}Content-Length: 262000\r\n") + b"[" * 200000,
        "half a form": head(
            "POST",
            "/chat",
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 262000\r\n",
        )
        + b"a=b&" * 50000,
        "small chunks": head("POST", "/cometd", JSON + CHUNKED) + b"1\r\n[\r\n" * SMALL,
        "a chunk's extension": head("POST", "/cometd", JSON + CHUNKED) + b"1;" + b"a" * 200000,
        "trailers": head("POST", "/cometd", JSON + CHUNKED) + b"0\r\n" + b"X: a\r\n" * 40000,
        "websocket": head("GET", f"/api/v1/events/ws?{events}", UPGRADE),
        "pings": head("GET", "/api/v1/events/ws", UPGRADE) + frame(9, b"x" * 125) * 1500,
        "fragments": head("GET", "/cometd", UPGRADE)
        + frame(1, b"[", last=False)
        + frame(0, b" " * 60000, last=False) * 3,
        "empty fragments": head("GET", "/api/v1/events/ws", UPGRADE)
        + frame(1, b"{", last=False)
        + frame(0, b"", last=False) * SMALL,
        "duplex": head("POST", f"/api/v1/events/duplex?{events}", CHUNKED)
        + b"10000\r\n"
        + b"a" * 65536
        + b"\r\n",
    }


class Hostile:
    """One of them.

    :param number: each two hundred have an address of their own.
    """

    def __init__(self, port: int, number: int, words: bytes) -> None:
        self._words = memoryview(words)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(PATIENCE)
        self._socket.bind((f"127.0.1.{1 + number // 200}", 0))
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)

    def push(self) -> None:
        """Send as much as goes now; the daemon may have ended it."""
        with suppress(BlockingIOError):
            try:
                while self._words:
                    self._words = self._words[self._socket.send(self._words) :]
            except (ConnectionResetError, BrokenPipeError):
                self._words = self._words[:0]

    def close(self) -> None:
        self._socket.close()


def post_bayeux(port: int, *messages: Mapping[str, object]) -> list[dict[str, object]]:
    """The replies to some Bayeux messages."""
    answer = once(port, "POST", "/cometd", body=messages)
    assert answer.status == 200, answer
    replies: list[dict[str, object]] = json.loads(answer.body)
    return replies


def leave_queue(port: int, room: str) -> None:
    """A Bayeux session that subscribes to all that is said and never asks for any of it."""
    [shaken] = post_bayeux(
        port,
        {
            "channel": "/meta/handshake",
            "version": "1.0",
            "supportedConnectionTypes": ["long-polling"],
        },
    )
    client = shaken["clientId"]
    [subscribed] = post_bayeux(
        port,
        {"channel": "/meta/subscribe", "clientId": client, "subscription": f"/chat/{room}"},
    )
    assert subscribed["successful"], subscribed


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += str(each.readlink()).startswith("socket:")
    return found


def warm_up(port: int, room: str, token: str) -> None:
    """Let the daemon have what it keeps for everybody: the newest messages, threads, templates."""
    for number in range(MESSAGES):
        assert say(port, token, f"{number} {TEXT}"[:7990], room=room).status == 201
    # Side by side, so that all threads that read the log have what they keep of it: on a machine
    # with time for it one alone would serve who asks in turn.
    with ThreadPoolExecutor(16) as threads:
        for path in (f"/api/v1/rooms/{room}/messages?limit=200", f"/rooms/{room}", "/"):
            for answer in threads.map(partial(once, port, "GET"), [path] * 64):
                assert answer.status == 200


def test_a_thousand_of_every_kind_together(tmp_path: Path) -> None:
    options = ("--limits=off", f"--memory-ceiling={CEILING // MIB}MiB")
    with many_files(), Daemon(tmp_path, *options) as daemon:
        port, pid = daemon.port, daemon.pid
        room, alice = make_room(port), log_in(port, "alice")
        warm_up(port, room, alice)
        base, before = resident(pid), sockets(pid)
        hostile: list[Hostile] = []
        words = kinds(room)
        forget_peak(pid)
        for _ in range(50):
            leave_queue(port, room)
        for number, each in enumerate(islice(cycle(words.values()), CONNECTIONS)):
            hostile.append(Hostile(port, number, each))
            hostile[-1].push()
            if number % 100 == 99:
                # So that she is answered in turn, what was sent so far has been looked at.
                assert say(port, alice, "beside them", room=room).status == 201
        for number in range(SAID):
            for one in hostile:
                one.push()
            assert say(port, alice, f"{number} {TEXT}"[:7990], room=room).status == 201
        shed = metric(port, "comet_chat_memory_shed_total")
        held_bytes = {
            kind: metric(port, f'comet_chat_memory_held_bytes{{kind="{kind}"}}') / MIB
            for kind in KINDS
        }
        there = sockets(pid) - before
        for one in hostile:
            one.close()
        wait_until(lambda: not held(port), "nobody is held any more")
        wait_until(lambda: sockets(pid) <= before, "all sockets are closed")
        assert say(port, alice, "after them", room=room).status == 201
        grown = peak(pid) - base
        print(
            f"base {base / MIB:.0f} MiB, grown by {grown / MIB:.1f} of {ALLOWED / MIB:.0f} MiB; "
            f"{there} were there, {shed:.0f} let go; held {held_bytes}; "
            f"{(resident(pid) - base) / MIB:.1f} MiB more after"
        )
        assert shed, "the ceiling was never reached: this has shown nothing"
        assert grown <= ALLOWED
        assert "Traceback" not in daemon.log
