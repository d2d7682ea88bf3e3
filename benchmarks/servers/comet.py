"""Our own daemon, as a user would start it.

What it is: `Comet`, a `Server`, and how its sessions and rooms are made from outside.

What it may know: the command line and the documented interface. Nothing of its inside.

Invariant: default options but for the limits on rates; every run has a new data directory.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from benchmarks.processes import Address, Running, free_port, start
from benchmarks.servers.server import scratch
from benchmarks.wire import (
    MARK,
    ask,
    connect,
    cookie,
    exchange,
    get,
    post,
)

EVENTS = "/api/v1/events"
POSTS = "/api/v1/rooms/{}/messages"

#: A room that nobody reads.
QUIET = "quiet"

#: The text of each message; with it an event has some 220 bytes.
TEXT = "a message of some forty characters, each " + "." * 40 + MARK.decode()

#: Connections on which sessions are made.
AT_ONCE = 16

#: Without the short cuts of the hot path.
PLAIN = ("--direct-write=off", "--fast-lane=off")


@lru_cache
def has_short_cuts() -> bool:
    """Whether this version's daemon has all options of `PLAIN`."""
    said = subprocess.run([twistd(), "comet-chat", "--help"], capture_output=True, timeout=60)
    return all(option.partition("=")[0].encode() in said.stdout for option in PLAIN)


def twistd() -> str:
    """The running Python's twistd."""
    return str(Path(sys.executable).parent / "twistd")


class Comet:
    """The daemon.

    :param transport: the held request that `subscribe` opens.
    :param options: more options of the daemon.
    :param name: what it is called in results.
    :param launcher: what to start instead of twistd, with the same arguments.
    """

    def __init__(
        self,
        transport: str = "sse",
        options: Sequence[str] = (),
        name: str = "comet",
        launcher: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.transport = transport
        self.ready = b"hello"
        self.cookie = ""
        self._options = list(options)
        self._launcher = list(launcher) or [twistd()]
        self._directory = scratch(name)
        self._port = free_port()
        self._subscribed = False

    def start(self) -> Running:
        """Start with a publisher's session and a room that nobody reads."""
        running = self.start_again()
        if not self.cookie:
            (self.cookie,) = cookies(running.address, ["publisher"])
            room = post("/api/v1/rooms", b'{"name": "%s"}' % QUIET.encode(), cookie(self.cookie))
            ask(running.address, room)
        return running

    def start_again(self) -> Running:
        """Start on the data of the last start."""
        listen = f"--listen=tcp:{self._port}:interface=127.0.0.1:backlog=4096"
        data = f"--data={self._directory / 'data'}"
        arguments = ["-n", "--pidfile=", "comet-chat", listen, data, "--limits=off"]
        command = [*self._launcher, *arguments, *self._options]
        return start(self.name, command, self._directory, self._port)

    def kill(self, running: Running) -> None:
        """End it as a crash would."""
        running.stop(signal.SIGKILL)

    def subscribe(self) -> bytes:
        """Open the transport; the first time as the publisher, who so is present all the time."""
        path = f"{EVENTS}/{self.transport}"
        if self._subscribed:
            return get(path)
        self._subscribed = True
        return get(path, cookie(self.cookie))

    def publish(self, payload: bytes) -> bytes:
        """Post to the lobby; the daemon makes the payload itself."""
        return post(POSTS.format("lobby"), message(), cookie(self.cookie))

    def publish_to_nobody(self, payload: bytes) -> bytes:
        """Post to the room that nobody reads."""
        return post(POSTS.format(QUIET), message(), cookie(self.cookie))

    def sample(self, address: Address) -> bytes:
        """What one message looks like on the transport, with all its framing."""
        with connect(address) as reader:
            reader.sendall(get(f"{EVENTS}/{self.transport}"))
            head = b""
            while self.ready not in head:
                head += reader.recv(65536)
            ask(address, self.publish(b""))
            read = b""
            while MARK not in read or not read.endswith(b"\n"):
                read = reader.recv(65536)
        return read


def message() -> bytes:
    """The body of a post."""
    return json.dumps({"text": TEXT}).encode()


def session(address: Address, name: str) -> str:
    """The token of a new session."""
    found: str = json.loads(ask(address, new_session(name)))["token"]
    return found


def sessions(address: Address, names: Sequence[str]) -> list[str]:
    """The tokens of new sessions, made on a few connections at once."""
    return [pair.partition("=")[2] for pair in cookies(address, names)]


def cookies(address: Address, names: Sequence[str]) -> list[str]:
    """The cookies of new sessions, name and value, made on a few connections at once."""

    def some(part: Sequence[str]) -> list[str]:
        with connect(address) as stream:
            return [_cookie_of(exchange(stream, new_session(name))) for name in part]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = pool.map(some, [names[start::AT_ONCE] for start in range(AT_ONCE)])
        return [pair for part in parts for pair in part]


def _cookie_of(answer: bytes) -> str:
    found = re.search(rb"\r\nSet-Cookie: ([^;]+)", answer)
    assert found, answer
    return found[1].decode()


def new_session(name: str) -> bytes:
    """The request for a session."""
    return post("/api/v1/session", json.dumps({"name": name}).encode())


def cursor(address: Address) -> str:
    """Where the log stands."""
    found: str = json.loads(ask(address, get(f"{EVENTS}/poll?wait=0")))["cursor"]
    return found
