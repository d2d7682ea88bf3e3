"""Bayeux clients that write raw HTTP, for each transport.

What it is: `Client` shakes hands, connects again and again as stock clients do, and tells what it
was delivered. `tests.bayeux` has the protocol; here it is about how it travels.

What it may know: the wire. Nothing of `cometd_chat`.

Invariant: a client goes on with its next connect only after the reply to the last.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from tests.memory import MemorySite
from tests.net import ADDRESS
from tests.web.talkers import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    client_frame,
    server_frames,
)
from tests.web.talkers import (
    HANDSHAKE as UPGRADE,
)
from tests.wire import Response

Message = dict[str, Any]

LONG, CROSS, SCRIPT = "long-polling", "cross-origin-long-polling", "callback-polling"
SOCKET, STREAM = "websocket", "eventsource"
KINDS = (LONG, CROSS, SCRIPT, SOCKET, STREAM)

#: The origin of pages that send `CROSS`.
FOREIGN = "https://other.example"


def take_cookies(jar: dict[str, str], response: Response) -> None:
    """Keep the cookies of an answer."""
    for line in response.headers.get("set-cookie", []):
        name, _, value = line.partition(";")[0].partition("=")
        jar[name] = value


def cookie_header(jar: Mapping[str, str]) -> dict[str, str]:
    """The header that sends cookies."""
    return {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items())} if jar else {}


class Line:
    """A WebSocket or an event stream: what came by it."""

    def __init__(self, site: MemorySite, path: str, lines: Mapping[str, str], address: str) -> None:
        self.connection = site.connect(address)
        self.answers_pings = True
        self._answered = 0
        if "Upgrade" in lines:
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            self.connection.send(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            self.response = None
        else:
            self.response = self.connection.request("GET", path, headers=lines)

    @property
    def head(self) -> str:
        """The head of a WebSocket's answer."""
        return self.connection.surplus.partition(b"\r\n\r\n")[0].decode()

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """A WebSocket's frames."""
        return server_frames(self.connection.surplus.partition(b"\r\n\r\n")[2])

    def close_code(self) -> int | None:
        """The code of the server's close frame."""
        codes = [int.from_bytes(data[:2], "big") for opcode, data in self.frames if opcode == CLOSE]
        return codes[0] if codes else None

    def messages(self) -> list[Message]:
        """All messages so far; pings are answered on the way."""
        if self.response is not None:
            data = [each for each in self.response.text.split("\n") if each.startswith("data: ")]
            return [message for each in data for message in json.loads(each[6:])]
        frames = self.frames
        pings = [payload for opcode, payload in frames if opcode == PING]
        if self.answers_pings:
            for payload in pings[self._answered :]:
                self._answered += 1
                self.connection.send(client_frame(PONG, payload))
        return [each for opcode, data in frames if opcode == TEXT for each in json.loads(data)]

    def send(self, messages: list[Message]) -> None:
        self.connection.send(client_frame(TEXT, json.dumps(messages).encode()))


class Client:
    """One Bayeux client.

    :param kind: its transport.
    :param authentication: goes into ``ext`` of its handshake.
    :param ext: more of that.
    :param jar: its cookies, shared with others of the same browser.
    :param headers: of all its requests.
    """

    def __init__(
        self,
        site: MemorySite,
        kind: str = LONG,
        *,
        ext: Message | None = None,
        jar: dict[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        address: str = ADDRESS,
        start: bool = True,
        **authentication: str,
    ) -> None:
        self.site = site
        self.kind = kind
        self.jar = {} if jar is None else jar
        self.headers = dict(headers or {})
        if kind == CROSS:
            self.headers["Origin"] = FOREIGN
        self.address = address
        self.ext: Message = dict(ext or {})
        if authentication:
            self.ext["authentication"] = authentication
        self.id = ""
        self.connection = site.connect(address)
        self.line: Line | None = None
        self.held: Response | None = None
        self.shook: Message = {}
        self.connects: list[Message] = []
        self._delivered: list[Message] = []
        self._read = 0
        self._ids = itertools.count(1)
        if start:
            self.handshake()
            self.connect()
            self.connect()

    # -- one payload

    def post(self, *messages: Message, connection: Any = None) -> Response:
        """Send messages by a request of their own."""
        connection = connection or self.site.connect(self.address)
        headers = {**self.headers, **cookie_header(self.jar)}
        text = json.dumps(messages)
        if self.kind == SCRIPT:
            path = f"/cometd?jsonp=heard&message={quote(text)}"
            response: Response = connection.request("GET", path, headers=headers)
        elif self.kind == CROSS:
            headers["Content-Type"] = "text/plain;charset=UTF-8"
            body = f"message={quote(text)}".encode()
            response = connection.request("POST", "/cometd", headers=headers, body=body)
        else:
            response = connection.request("POST", "/cometd", headers=headers, json=messages)
        take_cookies(self.jar, response)
        return response

    def read(self, response: Response) -> list[Message]:
        """The messages of an answer."""
        assert response.status == 200, response.text
        assert response.complete
        assert response.header("cache-control") == "no-store, no-transform"
        assert response.header("x-content-type-options") == "nosniff"
        if self.kind == SCRIPT:
            assert response.header("content-type") == "text/javascript; charset=utf-8"
            before, _, rest = response.text.partition("(")
            assert before == "/**/heard"
            found: list[Message] = json.loads(rest.removesuffix(");\n"))
            return found
        assert response.header("content-type") == "application/json"
        plain: list[Message] = response.json()
        return plain

    def full(self, message: Message) -> Message:
        """A message with an id and the clientId."""
        known: Message = {"id": str(next(self._ids))}
        if self.id:
            known["clientId"] = self.id
        return {**known, **message}

    def ask(self, channel: str, **fields: Any) -> Message:
        """Send one message, and give its reply."""
        message = self.full({"channel": channel, **fields})
        if self.kind == SOCKET:
            if self.line is None:
                self.open_line()
            assert self.line is not None
            before = len(self.line.messages())
            self.line.send([message])
            found = self.line.messages()[before:]
        else:
            found = self.read(self.post(message, connection=self.connection))
        (reply,) = [
            each for each in found if each.get("id") == message["id"] and "successful" in each
        ]
        return reply

    # -- the protocol

    def handshake(self, **fields: Any) -> Message:
        """Shake hands; the reply."""
        self.id = ""
        message = {
            "version": "1.0",
            "supportedConnectionTypes": [self.kind, LONG],
            **({"ext": self.ext} if self.ext else {}),
            **fields,
        }
        self.shook = self.ask("/meta/handshake", **message)
        self.id = self.shook.get("clientId", "")
        if self.kind == STREAM and self.id:
            self.open_line()
        return self.shook

    def open_line(self, last: int | None = None) -> None:
        """Open a WebSocket or an event stream."""
        headers = {**self.headers, **cookie_header(self.jar)}
        if self.kind == SOCKET:
            self.line = Line(self.site, "/cometd", {**UPGRADE, **headers}, self.address)
        else:
            headers["Accept"] = "text/event-stream"
            if last is not None:
                headers["Last-Event-ID"] = str(last)
            self.line = Line(self.site, f"/cometd/{self.id}", headers, self.address)
        self._read = 0

    def connect(self, **fields: Any) -> None:
        """Send a connect."""
        message = self.full({"channel": "/meta/connect", "connectionType": self.kind, **fields})
        if self.kind == SOCKET:
            if self.line is None:
                self.open_line()
            assert self.line is not None
            self.line.send([message])
        else:
            self.held = self.post(message)

    def pump(self) -> None:
        """Take what has come, and connect again where a connect was answered."""
        found: list[Message] = []
        if self.line is not None:
            every = self.line.messages()
            found, self._read = every[self._read :], len(every)
        if self.held is not None and self.held.complete:
            found += self.read(self.held)
            self.held = None
        replies = [each for each in found if each["channel"] == "/meta/connect"]
        self.connects += replies
        self._delivered += [each for each in found if "data" in each]
        for reply in replies:
            advice = reply.get("advice", {})
            if reply["successful"] and advice["reconnect"] == "retry" and not advice["interval"]:
                self.connect()

    @property
    def delivered(self) -> list[Message]:
        """All that it was delivered so far."""
        while True:
            before = len(self._delivered), len(self.connects)
            self.pump()
            if before == (len(self._delivered), len(self.connects)):
                return self._delivered

    @property
    def texts(self) -> list[str]:
        """What was said in rooms."""
        return [
            each["data"]["text"] for each in self.delivered if each["channel"].startswith("/chat/")
        ]

    def subscribe(self, *patterns: str, **fields: Any) -> Message:
        """Subscribe to some channels; the reply."""
        wanted: object = patterns[0] if len(patterns) == 1 else list(patterns)
        return self.ask("/meta/subscribe", subscription=wanted, **fields)

    def joined(self, *patterns: str, **fields: Any) -> Client:
        """The same client, once it has subscribed."""
        reply = self.subscribe(*patterns, **fields)
        assert reply["successful"], reply
        return self

    def say(self, text: str, room: str = "lobby", **fields: Any) -> Message:
        """Publish to a room; the reply."""
        return self.ask(f"/chat/{room}", data={"text": text}, **fields)

    @property
    def token(self) -> str:
        """What its handshake was given."""
        token: str = self.shook["ext"]["authentication"]["token"]
        return token

    def leave(self) -> None:
        """Be gone without a word."""
        if self.line is not None:
            self.line.connection.reset()
        for connection in self.site.connections:
            if self.held is not None and self.held in connection._waiting:
                connection.reset()
        self.connection.reset()
