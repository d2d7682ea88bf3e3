"""Those who speak by the transport by which they read: `Socket` and `Duplex`.

What it is: clients of the transports ``ws`` and ``duplex`` of a `MemorySite`. A socket's frames are
made here by hand, so that wrong ones can be made, and read by wsproto's client; a body goes out in
whatever chunks a test likes.

What it may know: RFC 6455, RFC 9112, the interface's section 4. Nothing of `cometd_chat`.

Invariant: a frame of the server's that a strict client would refuse fails here.
"""

from __future__ import annotations

import json
import struct
from typing import Any
from urllib.parse import urlencode

from wsproto import ConnectionType
from wsproto import connection as wsproto_connection
from wsproto.events import CloseConnection, TextMessage
from wsproto.utilities import generate_accept_token

from tests import decoders
from tests.decoders import Seen
from tests.memory import MemorySite
from tests.net import ADDRESS
from tests.wire import Response

MORE, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Host": "127.0.0.1:8080",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}

_MASK = b"\x37\xfa\x21\x3d"


def masked(payload: bytes, mask: bytes = _MASK) -> bytes:
    """A payload as a client has to send it (RFC 6455, section 5.3)."""
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def client_frame(
    opcode: int, payload: bytes = b"", *, end: bool = True, reserved: int = 0, mask: bool = True
) -> bytes:
    """A client's frame, right or wrong.

    :param end: the last one of its message.
    :param reserved: the three reserved bits.
    """
    first = (0x80 if end else 0) | reserved << 4 | opcode
    bit = 0x80 if mask else 0
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    return head + (_MASK + masked(payload) if mask else payload)


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and payload of a server's whole frames, which all have to be as small as they can be,
    unmasked and the only one of their message."""
    found = []
    while data:
        first, size = data[0], data[1]
        assert first & 0xF0 == 0x80, f"fragmented, or a reserved bit: {first:#x}"
        assert size < 0x80, "masked"
        begin = 2
        if size == 126:
            (size,) = struct.unpack("!H", data[2:4])
            begin = 4
            assert size >= 126
        elif size == 127:
            (size,) = struct.unpack("!Q", data[2:10])
            begin = 10
            assert size >= 65536
        if len(data) < begin + size:
            break
        found.append((first & 0x0F, data[begin : begin + size]))
        data = data[begin + size :]
    return found


def message(text: str, **fields: Any) -> bytes:
    """What a socket sends to say something."""
    return json.dumps({"type": "message", "text": text, **fields}).encode()


def said(site: MemorySite, room: str = "lobby") -> list[str]:
    """All that was said in a room."""
    messages = site.get(f"/api/v1/rooms/{room}/messages?limit=200").json()["messages"]
    return [each["text"] for each in messages]


class Socket:
    """A client of the transport ``ws``.

    :param token: goes into the query.
    :param early: is sent in the same segment as the handshake.
    :param headers: more headers of the handshake; None takes one away.
    :param query: see the interface; those that are None are left out.
    """

    def __init__(
        self,
        site: MemorySite,
        *,
        token: str | None = None,
        early: bytes = b"",
        headers: dict[str, str | None] | None = None,
        address: str = ADDRESS,
        window: int | None = None,
        **query: Any,
    ) -> None:
        self.site = site
        self.connection = site.connect(address, window=window)
        asked = {**query, "token": token}
        fields = {name: value for name, value in asked.items() if value is not None}
        lines = {**HANDSHAKE, **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        path = "/api/v1/events/ws?" + urlencode(fields)
        self.connection.send(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode() + early)

    # -- what comes

    @property
    def head(self) -> str:
        """The head of the answer, which has to be a proper handshake."""
        head = self.connection.surplus.partition(b"\r\n\r\n")[0].decode()
        lines = head.lower().split("\r\n")
        assert lines[0].startswith("http/1.1 101 "), head
        assert {"upgrade: websocket", "connection: upgrade"} <= set(lines)
        accept = generate_accept_token(KEY.encode()).decode()
        assert f"Sec-WebSocket-Accept: {accept}".lower() in lines
        return head

    @property
    def read(self) -> bytes:
        """What came after the head."""
        assert self.head
        return self.connection.surplus.partition(b"\r\n\r\n")[2]

    def frames(self, *opcodes: int) -> list[tuple[int, bytes]]:
        """The server's frames, of some kinds or all."""
        return [each for each in server_frames(self.read) if not opcodes or each[0] in opcodes]

    def events(self) -> list[Seen]:
        """All events so far."""
        client = wsproto_connection.Connection(ConnectionType.CLIENT)
        client.receive_data(self.read)
        found: list[Seen] = []
        for event in client.events():
            if isinstance(event, TextMessage):
                assert event.message_finished
                found.append(json.loads(event.data))
        return found

    def of(self, *types: str) -> list[Seen]:
        """The events of some types."""
        return [event for event in self.events() if event["type"] in types]

    def texts(self) -> list[str]:
        """What was said."""
        return [event["text"] for event in self.of("message")]

    @property
    def cursor(self) -> str:
        """Where it would go on."""
        cursor: str
        (*_, cursor) = (each["cursor"] for each in self.events() if each.get("cursor"))
        return cursor

    def closed_by(self) -> tuple[int, str] | None:
        """Code and reason of the server's close frame, which has to be its last frame."""
        client = wsproto_connection.Connection(ConnectionType.CLIENT)
        client.receive_data(self.read)
        closes = [event for event in client.events() if isinstance(event, CloseConnection)]
        if not closes:
            return None
        assert [opcode for opcode, _ in self.frames()].index(CLOSE) == len(self.frames()) - 1
        return int(closes[0].code), closes[0].reason or ""

    # -- what goes

    def frame(self, opcode: int, payload: bytes = b"", **options: Any) -> None:
        """Send a frame; see `client_frame`."""
        self.connection.send(client_frame(opcode, payload, **options))

    def say(self, text: object, **fields: Any) -> None:
        """Post a message."""
        self.post({"type": "message", "text": text, **fields})

    def post(self, what: object) -> None:
        """Send some JSON."""
        self.frame(TEXT, json.dumps(what).encode())

    def leave(self) -> None:
        """Close the connection, without a close frame."""
        self.connection.close()


class Duplex:
    """A client of the transport ``duplex`` that sends its body in chunks, or in whatever it was
    told to.

    :param token: in the query; without one, and without ``name``, it is nobody.
    :param lines: whether to ask for a JSON object a line.
    :param headers: more headers; with a ``Content-Length`` the body isn't chunked.
    :param path: by default that of the API.
    """

    def __init__(
        self,
        site: MemorySite,
        *,
        token: str | None = None,
        method: str = "POST",
        lines: bool = False,
        headers: dict[str, str] | None = None,
        path: str = "/api/v1/events/duplex",
        version: str = "HTTP/1.1",
        early: bytes = b"",
        address: str = ADDRESS,
        window: int | None = None,
        **query: Any,
    ) -> None:
        self.site = site
        self.json = lines
        self.connection = site.connect(address, window=window)
        head = {"Host": "127.0.0.1:8080", **(headers or {})}
        self.chunked = not any(name.lower() == "content-length" for name in head)
        if self.chunked:
            head["Transfer-Encoding"] = "chunked"
        if lines:
            head["Accept"] = "application/x-ndjson"
        else:
            query = {"cursors": "1", **query}
        asked = {**query, "token": token}
        fields = {name: value for name, value in asked.items() if value is not None}
        self.response: Response = self.connection.expect(method)
        text = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        request = f"{method} {path}?{urlencode(fields)} {version}\r\n{text}\r\n"
        self.connection.send(request.encode() + early)

    def send(self, data: bytes) -> None:
        """Send a part of the body."""
        if self.chunked:
            data = b"%x\r\n%s\r\n" % (len(data), data)
        self.connection.send(data)

    def say(self, text: str) -> None:
        """Send a line."""
        self.send(text.encode() + b"\n")

    def end(self) -> None:
        """End a chunked body."""
        self.connection.send(b"0\r\n\r\n")

    def events(self) -> list[Seen]:
        """All that it has seen so far."""
        read = decoders.read_lines if self.json else decoders.read_text
        return read(self.response.body)

    def of(self, *types: str) -> list[Seen]:
        """The events of some types."""
        return [event for event in self.events() if event["type"] in types]

    def texts(self) -> list[str]:
        """What was said."""
        return [event["text"] for event in self.of("message")]

    @property
    def cursor(self) -> str:
        """Where it would go on."""
        cursor: str
        (*_, cursor) = (each["cursor"] for each in self.events() if each.get("cursor"))
        return cursor

    def leave(self) -> None:
        """Be gone."""
        self.connection.reset()
