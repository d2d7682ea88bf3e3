"""How these tests talk to a daemon: through the standard library's HTTP client.

What it is: one request and its answer; a held request, read as it comes; the daemon's numbers.

What it may know: the interface of the daemon. Nothing of its inside.

Invariant: whatever is waited for has a limit, and an end of a response counts as clean only when
its last chunk has come.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import attrs

from tests.support import PATIENCE

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

_rooms = count(1)


@attrs.frozen
class Answer:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


def connect(port: int, timeout: float = PATIENCE) -> HTTPConnection:
    """A connection to the daemon, not open yet; it stays open over several requests."""
    return HTTPConnection("127.0.0.1", port, timeout=timeout)


def ask(
    connection: HTTPConnection,
    method: str,
    path: str,
    *,
    token: str | None = None,
    body: object = None,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request.

    :param token: goes into the Authorization header.
    :param body: sent as JSON.
    :param form: sent as a browser sends a form.
    """
    head = dict(headers or {})
    data: str | None = None
    if token is not None:
        head["Authorization"] = f"Bearer {token}"
    if body is not None:
        head["Content-Type"], data = JSON, json.dumps(body)
    if form is not None:
        head["Content-Type"], data = FORM, urlencode(form)
    connection.request(method, path, data, head)
    response = connection.getresponse()
    answered = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, answered, response.read())


def once(port: int, method: str, path: str, **request: Any) -> Answer:
    """One request on a connection of its own; see `ask`."""
    connection = connect(port)
    try:
        return ask(connection, method, path, **request)
    finally:
        connection.close()


def log_in(port: int, name: str) -> str:
    """The token of a new guest."""
    return log_in_by_cookie(port, name)[1]


def log_in_by_cookie(port: int, name: str) -> tuple[str, str]:
    """The name and the value of a new guest's cookie; the value is the token."""
    answer = once(port, "POST", "/api/v1/session", body={"name": name})
    assert answer.status == 201, answer
    cookie, _, token = answer.headers["set-cookie"].partition(";")[0].partition("=")
    assert token == answer.json["token"]
    return cookie, token


def make_room(port: int) -> str:
    """A room that nobody has used: what the guests of another test do when they leave is not heard
    there."""
    name = f"room-{next(_rooms)}"
    token = log_in(port, f"maker-of-{name}")
    assert once(port, "POST", "/api/v1/rooms", token=token, body={"name": name}).status == 201
    return name


def say(
    port: int, token: str, text: str, *, client_id: str | None = None, room: str = "lobby"
) -> Answer:
    """Post a message."""
    body = {"text": text} if client_id is None else {"text": text, "client_id": client_id}
    return once(port, "POST", f"/api/v1/rooms/{room}/messages", token=token, body=body)


def history(port: int, room: str = "lobby") -> list[dict[str, Any]]:
    """All messages of a room, oldest first."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["id"] if found else 0
        page = once(port, "GET", f"/api/v1/rooms/{room}/messages?after={after}&limit=200").json
        found += page["messages"]
        if not page["more"]:
            return found


def people(port: int, room: str = "lobby") -> set[str]:
    """The names of those who are in a room."""
    answer = once(port, "GET", f"/api/v1/rooms/{room}/people")
    return {each["name"] for each in answer.json["people"]}


def held(port: int) -> Mapping[str, int]:
    """How many requests each transport holds; transports that hold none are left out."""
    text = once(port, "GET", "/metrics").text
    found = re.findall(r'^comet_chat_held_requests\{transport="([\w-]+)"\} (\d+)\.0$', text, re.M)
    return {transport: int(count) for transport, count in found if int(count)}


def metric(port: int, name: str) -> float:
    """One of the daemon's numbers, such as ``comet_chat_held_requests{transport="frame"}``; 0 when
    it isn't there."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", once(port, "GET", "/metrics").text, re.M)
    return 0.0 if found is None else float(found[1])


def wait_until(true: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Look again and again, ever less often: a look asks the daemon, which has something to do.
    What takes long, such as a lease that ends, is found a tenth later than it could be."""
    began = time.monotonic()
    while not true():
        waited = time.monotonic() - began
        assert waited < timeout, f"this did not come true: {what}"
        time.sleep(min(max(0.01, waited / 10), 0.5))


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return _memory(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most that it had since `forget_peak`."""
    return _memory(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """See clear_refs in proc(5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, what: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{what}:\s+(\d+) kB$", status, re.M)
    assert found is not None
    return int(found[1]) * 1024


class Held:
    """A held request: ``with Held(port, "/api/v1/events/stream") as held: ...``.

    :param path: with its query.
    :param timeout: seconds for each read, and for all that one call waits for.
    :param headers: of the request.
    """

    def __init__(
        self,
        port: int,
        path: str,
        *,
        timeout: float = PATIENCE,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.read = b""
        self._timeout = timeout
        self._response: HTTPResponse | None = None
        self._connection = connect(port, timeout)
        self._connection.request("GET", path, headers=dict(headers or {}))

    @property
    def response(self) -> HTTPResponse:
        """The response. Its head is waited for when it is first asked for: a poll's comes late."""
        if self._response is None:
            self._response = self._connection.getresponse()
        return self._response

    def more(self) -> bytes:
        """What comes next; nothing at the clean end.

        :raises http.client.IncompleteRead: the response was cut off.
        """
        data = self.response.read1(65536)
        self.read += data
        return data

    def until(self, wanted: bytes) -> bytes:
        """Read until some bytes have come; all that was read."""
        # By the clock: heartbeats come for ever.
        deadline = time.monotonic() + self._timeout
        while wanted not in self.read:
            on_time = time.monotonic() < deadline and self.more()
            assert on_time, f"{wanted!r} did not come; what came: {self.read[-2000:]!r}"
        return self.read

    def to_end(self) -> bytes:
        """Read to the clean end; all that was read."""
        deadline = time.monotonic() + self._timeout
        while self.more():
            assert time.monotonic() < deadline, f"no end; what came: {self.read[-2000:]!r}"
        return self.read

    def events(self) -> Iterator[dict[str, Any]]:
        """The events of the transport ``stream``, one a line, as they come, to the clean end.
        Heartbeats alone are not waited for without end."""
        rest, last = b"", time.monotonic()
        while data := self.more():
            self.read = b""
            *lines, rest = (rest + data).split(b"\n")
            for event in map(json.loads, lines):
                if event["type"] != "heartbeat":
                    last = time.monotonic()
                yield event
            assert time.monotonic() - last < PATIENCE, "nothing but heartbeats came"

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Running:
    """A program whose output is read while it runs: ``with Running("curl", "-sN", url) as curl``.

    It is ended with the block, unless it has ended by itself.

    :param keyboard: it can be typed to, by `write`; without one its input has ended already. What
        it says of its progress is not read then: curl does, wherever it writes to no terminal.
    """

    def __init__(self, *arguments: str, keyboard: bool = False) -> None:
        self.process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE if keyboard else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if keyboard else subprocess.STDOUT,
        )
        self.output = b""

    def write(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def until(self, wanted: str, timeout: float = PATIENCE) -> str:
        """Read until something has come; all that was read."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while wanted.encode() not in self.output:
                left = deadline - time.monotonic()
                assert left > 0, f"{wanted!r} did not come; what came: {self.output[-2000:]!r}"
                if not selector.select(left):
                    continue
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, f"ended before {wanted!r} came; what came: {self.output[-2000:]!r}"
                self.output += data
        return self.output.decode()

    def to_end(self) -> str:
        """Wait for its end, which has to be a success; all that was read."""
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.output += rest
        assert self.process.returncode == 0, self.output[-2000:]
        return self.output.decode()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
