"""The nine transports as they are read from a connection that may break at any byte.

What it is: for each transport a decoder that takes bytes as they come and gives the events that are
certain by then; what is cut off in the middle was never there.

What it may know: `tests.decoders`, HTTP, the stock WebSocket library. Nothing of our writers.

Invariant: a decoder gives an event only with a cursor, in it or after it, with which a client can
go on behind it; so whoever is cut may throw away whatever the decoder still holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Protocol

import attrs
from websockets.client import ClientProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response as UpgradeResponse
from websockets.uri import parse_uri

from tests.decoders import (
    Parts,
    Seen,
    read_frame,
    read_jsonp,
    read_lines,
    read_sse,
    read_text,
)
from tests.transport_paths import POLLS

#: Lines for people, which show neither ids nor cursors of messages.
FOR_PEOPLE = ("text", "duplex")

CALLBACK = "chat.hear"


class Refused(Exception):
    """A transport answered with another status than that of a held request."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status


class Decoder(Protocol):
    """Bytes of a body in, events out."""

    def feed(self, data: bytes) -> list[Seen]:
        """The events that are certain now."""


class FrameDecoder:
    """A browser runs a script when its end tag has come."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Seen]:
        *scripts, self._rest = (self._rest + data).split(b"</script>")
        pages = [read_frame(script + b"</script>") for script in scripts]
        return [event for page in pages for batch in page.batches for event in batch]


class LineDecoder:
    """NDJSON: a line counts with its end."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        assert headers["content-type"] == "application/x-ndjson"
        self._rest = b""

    def feed(self, data: bytes) -> list[Seen]:
        whole, end, self._rest = (self._rest + data).rpartition(b"\n")
        return read_lines(whole + end)


class SseDecoder:
    """An event stream dispatches at an empty line."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        assert headers["content-type"] == "text/event-stream"
        self._rest = b""

    def feed(self, data: bytes) -> list[Seen]:
        whole, end, self._rest = (self._rest + data).rpartition(b"\n\n")
        found = read_sse(whole + end)
        for event in found:
            # What a browser would send when it comes back is what the event itself says.
            assert "cursor" not in event or event["last_event_id"] == event["cursor"]
            del event["last_event_id"]
        return found


class TextDecoder:
    """Lines for people: only a line with a cursor says how far they go."""

    _CERTAIN = re.compile(
        rb"^\* (?:cursor \S+|the stream ends here, go on with cursor=\S+)\n", re.MULTILINE
    )

    def __init__(self, headers: Mapping[str, str]) -> None:
        assert headers["content-type"] == "text/plain; charset=utf-8"
        self._rest = b""

    def feed(self, data: bytes) -> list[Seen]:
        self._rest += data
        if b"\n" not in data:
            return []
        certain = 0
        for found in self._CERTAIN.finditer(self._rest):
            certain = found.end()
        whole, self._rest = self._rest[:certain], self._rest[certain:]
        return read_text(whole)


def read_poll(body: bytes) -> list[Seen]:
    """The answer of a poll."""
    return _read_answer(json.loads(body))


def read_callback_poll(body: bytes) -> list[Seen]:
    """The answer of a callback poll."""
    answer = read_jsonp(body)
    assert answer.pop("callback") == CALLBACK
    return _read_answer(answer)


def _read_answer(answer: Seen) -> list[Seen]:
    """Its events; its cursor comes as a heartbeat, after them."""
    assert set(answer) == {"events", "cursor"}
    # Only a refusal has no cursor.
    cursor = answer["cursor"]
    return [*answer["events"], *([{"type": "heartbeat", "cursor": cursor}] if cursor else [])]


BODIES: Mapping[str, Callable[[Mapping[str, str]], Decoder]] = {
    "frame": FrameDecoder,
    "stream": LineDecoder,
    "sse": SseDecoder,
    "multipart": lambda headers: Parts(headers["content-type"]),
    "text": TextDecoder,
    "duplex": TextDecoder,
}

ANSWERS: Mapping[str, Callable[[bytes], list[Seen]]] = {
    "poll": read_poll,
    "jsonp": read_callback_poll,
}


@attrs.define
class Response:
    """The responses on one connection, from their heads to their events (RFC 9112).

    :param transport: whose.
    :param decoded: whether what comes after the head is the body itself, chunks taken apart.
    """

    transport: str
    decoded: bool = False
    ended: bool = False
    _rest: bytes = b""
    _body: bytes = b""
    _headers: dict[str, str] | None = None
    _length: int | None = None
    _status: int = 0
    _decoder: Decoder | None = None

    def feed(self, data: bytes) -> list[Seen]:
        """The events that are certain now.

        :raises Refused: the status says that nothing is held.
        """
        self._rest += data
        found: list[Seen] = []
        while self._rest and not self.ended:
            before = self._rest
            found += self._step()
            if self._rest == before:
                break
        return found

    @property
    def idle(self) -> bool:
        """Whether an answer is over and no other has begun."""
        return self._headers is None and not self._rest

    def _step(self) -> list[Seen]:
        if self._headers is None:
            self._read_head()
            return []
        if self._length is not None:
            return self._read_answer(self._headers, self._length)
        if self.decoded or "chunked" not in self._headers.get("transfer-encoding", ""):
            data, self._rest = self._rest, b""
            return self._read_body(data)
        return self._read_chunk()

    def _read_head(self) -> None:
        head, end, rest = self._rest.partition(b"\r\n\r\n")
        if not end:
            return
        self._rest = rest
        status, *lines = head.decode("ascii").split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        headers = {name.lower(): value for name, _, value in pairs}
        self._status = int(status.split()[1])
        if self._status == 100:
            return
        self._headers = headers
        length = headers.get("content-length")
        self._length = None if length is None else int(length)
        if self._status == 200 and self.transport not in POLLS and self._length is None:
            self._decoder = BODIES[self.transport](headers)

    def _read_answer(self, headers: Mapping[str, str], length: int) -> list[Seen]:
        """A complete answer; another may follow."""
        if len(self._rest) < length:
            return []
        body, self._rest = self._rest[:length], self._rest[length:]
        self._headers = None
        if self._status != 200:
            raise Refused(self._status, body)
        if self.transport not in POLLS:
            # A refusal in a form that the transport's client can see.
            self.ended = True
            return BODIES[self.transport](headers).feed(body)
        self.ended = headers.get("connection") == "close"
        return ANSWERS[self.transport](body)

    def _read_chunk(self) -> list[Seen]:
        size, end, rest = self._rest.partition(b"\r\n")
        if not end or len(rest) < int(size, 16) + 2:
            return []
        length = int(size, 16)
        data, tail = rest[:length], rest[length : length + 2]
        assert tail == b"\r\n"
        self._rest = rest[length + 2 :]
        if not length:
            self.ended = True
        return self._read_body(data)

    def _read_body(self, data: bytes) -> list[Seen]:
        if self._decoder is None:
            self._body += data
            if not self.ended:
                return []
            if self._status != 200:
                raise Refused(self._status, self._body)
            return ANSWERS[self.transport](self._body)
        return self._decoder.feed(data)


class WebSocketResponse:
    """A WebSocket, read by the stock library.

    :param url: of the transport.
    :param headers: more of the handshake.
    """

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._protocol = ClientProtocol(parse_uri(url))
        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._text = b""
        self.ended = False

    def to_send(self) -> bytes:
        """What the library has to say: the handshake, pongs, closes, and what was `say`\\ d."""
        return b"".join(self._protocol.data_to_send())

    def say(self, message: Seen) -> None:
        """Put a message into what is to be sent."""
        self._protocol.send_text(json.dumps(message).encode())

    @property
    def open(self) -> bool:
        """Whether the handshake is over."""
        return self._protocol.state.name == "OPEN"

    def feed(self, data: bytes) -> list[Seen]:
        """The events of whole messages."""
        self._protocol.receive_data(data)
        if isinstance(self._protocol.parser_exc, ProtocolError):
            raise AssertionError("the library takes it for no WebSocket") from (
                self._protocol.parser_exc
            )
        found: list[Seen] = []
        for event in self._protocol.events_received():
            if isinstance(event, UpgradeResponse):
                if event.status_code != 101:
                    raise Refused(event.status_code, bytes(event.body or b""))
            elif isinstance(event, Frame):
                found += self._frame(event)
        return found

    def _frame(self, frame: Frame) -> list[Seen]:
        if frame.opcode is Opcode.CLOSE:
            self.ended = True
            return []
        if frame.opcode not in (Opcode.TEXT, Opcode.CONT):
            return []
        self._text += bytes(frame.data)
        if not frame.fin:
            return []
        text, self._text = self._text, b""
        event: Seen = json.loads(text)
        return [event]
