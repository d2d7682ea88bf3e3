"""WebSocket (RFC 6455): the same held stream, with frames for chunks and an ear for the peer.

What it is: the framing of what goes out, and `WebSocket`, which reads what comes in. What goes out
is framed once and shared like at every other transport; only answers to pings and closes are its
own.

What it may know: wsproto, our channel. Not what a message means.

Invariant: no more of an incoming message than its limit is ever held; each connection ends with
a close frame whose code says whether to come back.
"""

from __future__ import annotations

import re
import struct
from base64 import b64decode
from collections.abc import Callable
from sys import getsizeof
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import RemoteProtocolError, generate_accept_token

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import InvalidRequest, UpgradeRequired
from cometd_chat.events.event import Event
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.framings import PerEventFraming
from cometd_chat.transports.paced_reader import PacedReader
from cometd_chat.transports.request import HttpRequest, UpgradableRequest

#: The largest message that a peer may send, in bytes, and in how many fragments: as much as a body
#: has. The bound that counts is the text's own, and JSON may write each of its 8,000 code points in
#: twelve bytes.
MAX_MESSAGE = 256 * 1024
MAX_FRAGMENTS = 1024

#: What we call that which we speak, where a peer wants a name for it.
SUBPROTOCOL = "comet.v1"

#: (RFC 9110, section 5.6.2), as long as anybody calls a protocol.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")

#: A peer that is so many bytes behind gets no answers to its pings (RFC 6455, section 5.5.3).
MAX_UNREAD = 64 * 1024

#: Seconds that a peer has to answer our close frame.
CLOSE_TIMEOUT = 2.0

#: Close codes (RFC 6455, section 7.4, and our own): who gets the first one comes back.
COME_BACK = 1012
STAY_AWAY = 4000

_TEXT, _PING, _CLOSE = 0x1, 0x9, 0x8

#: Bytes of a reason that fit into a control frame beside its code.
_MOST_REASON = 123


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole message in one unmasked frame (RFC 6455, section 5.2)."""
    size = len(payload)
    first = 0x80 | opcode
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; a reason is cut to what it can hold."""
    held = reason.encode()[:_MOST_REASON].decode(errors="ignore")
    return frame(_CLOSE, struct.pack("!H", code) + held.encode())


class WebSocketFrames(PerEventFraming):
    """Each event a text message; the last one is followed by the close frame that it means."""

    content_type = "application/json"

    def one(self, event: Event) -> bytes:
        message = frame(_TEXT, event.json)
        if event.type == "heartbeat":
            # The event is for scripts, which see no pings; the ping is for what is in between.
            return message + frame(_PING, b"")
        if event.type == "reopen":
            return message + close_frame(COME_BACK)
        if event.type == "bye":
            return message + close_frame(STAY_AWAY, event.fields["reason"])
        return message


class WebSocketListener(Protocol):
    """Who hears what a peer says."""

    @property
    def held(self) -> int:
        """Bytes of it that wait there."""

    def message_received(self, text: str) -> None:
        """A whole text message."""


class SocketReader(Protocol):
    """Who reads through a socket."""

    def on_progress(self) -> None:
        """The peer is there."""

    def finish(self) -> None:
        """The peer has closed: nothing more is written."""


class WebSocket(PacedReader):
    """The incoming half of one connection.

    Made by `accept`; what goes out is written by the held stream on the same request.
    """

    def __init__(self, request: UpgradableRequest, max_message: int = MAX_MESSAGE) -> None:
        super().__init__(request.transport, request.call_soon)
        #: Told what an answer to a ping of ours carries.
        self.when_answered: Callable[[bytes], None] = lambda payload: None
        #: Told when the peer has answered our close frame: it has read all before that.
        self.when_close_answered: Callable[[], None] = lambda: None
        self._request = request
        self._max_message = max_message
        self._connection = Connection(ConnectionType.SERVER)
        self._text: list[str] = []
        self._size = self._held = self._unread = 0
        self._fragments = 0
        self._closing = False
        self._closed: Deferred[None] | None = None
        self._reader: SocketReader | None = None
        self._listener: WebSocketListener | None = None
        self._reaper: Reaper | None = None
        self.due_bucket = 0

    @classmethod
    def accept(
        cls, request: HttpRequest, *, headers: bytes = b"", max_message: int = MAX_MESSAGE
    ) -> WebSocket:
        """Answer the handshake with 101; `require_upgrade` has said that it is one.

        :param headers: more lines of the answer's head, each with its end.
        :param max_message: the largest message that the peer may send, in bytes.
        """
        upgradable = request.upgradable
        assert upgradable is not None  # What asks for an upgrade goes no other way.
        key = request.getHeader("sec-websocket-key") or ""
        token = generate_accept_token(key.encode("ascii"))
        protocol = _subprotocol(request)
        if protocol is not None:
            headers += b"Sec-WebSocket-Protocol: %s\r\n" % protocol.encode("ascii")
        upgradable.switch(
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s"
            % (token, headers)
        )
        return cls(upgradable, max_message)

    def listen(
        self,
        reader: SocketReader,
        listener: WebSocketListener,
        reaper: Reaper,
        closing: Callable[[], Deferred[None]] | None = None,
    ) -> None:
        """Begin to read.

        :param listener: hears messages.
        :param closing: waited for after our last words; by default `closed`.
        """
        self._reader = reader
        self._listener = listener
        self._reaper = reaper
        self._request.closing = self.closed if closing is None else closing
        self._request.pass_input(self)

    @property
    def held(self) -> int:
        """Bytes that wait: of a message that has not come wholly, as Python holds them, of what is
        not read yet, and with who hears it."""
        waiting = 0 if self._listener is None else self._listener.held
        return self._held + self._unread + waiting

    def closed(self) -> Deferred[None]:
        """Fires when the peer has answered our close frame, or has had the time to."""
        if self._closing or self._reaper is None:
            return succeed(None)
        self._closed = Deferred()
        self._reaper.schedule(self, CLOSE_TIMEOUT)
        return self._closed

    def on_due(self, now: float) -> float | None:
        """The peer did not answer in time; see `Reaper.schedule`."""
        self._finish()
        return None

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self._closing:
            return
        if self._reader is not None:
            self._reader.on_progress()
        self._unread += len(data)
        self._connection.receive_data(data)
        self._go_on()

    def _read_one(self) -> bool:
        """Handle the next frame."""
        if self._closing:
            return False
        try:
            event = next(self._connection.events(), None)
        except RemoteProtocolError as error:
            hint = error.event_hint
            code = hint.code if isinstance(hint, CloseConnection) else CloseReason.PROTOCOL_ERROR
            self._close(code)
            return False
        if event is None:
            self._unread = 0
            return False
        self._handle(event)
        return True

    def _handle(self, event: object) -> None:
        if isinstance(event, TextMessage):
            self._collect(event)
        elif isinstance(event, BytesMessage):
            self._close(CloseReason.UNSUPPORTED_DATA)
        elif isinstance(event, Ping):
            self._answer_ping(event)
        elif isinstance(event, Pong):
            self.when_answered(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            self._answer_close(event)

    def _answer_ping(self, event: Ping) -> None:
        # Who reads no answers gets no more of them: they are in nobody's budget.
        if self._closed is None and twisted_internals.unsent(self._request.transport) <= MAX_UNREAD:
            self._request.write(self._connection.send(event.response()))

    def _collect(self, event: TextMessage) -> None:
        if self._closed is not None:
            # We have closed and wait for the peer to do so: what it says now is for nobody.
            return
        self._text.append(event.data)
        self._size += len(event.data.encode())
        self._held += getsizeof(event.data)
        self._fragments += event.frame_finished
        if self._size > self._max_message or self._fragments > MAX_FRAGMENTS:
            self._close(CloseReason.MESSAGE_TOO_BIG)
            return
        if not event.message_finished:
            return
        text = "".join(self._text)
        self._text.clear()
        self._size = self._held = self._fragments = 0
        if self._listener is not None:
            self._listener.message_received(text)

    def _answer_close(self, event: CloseConnection) -> None:
        if self._closed is None:
            self._request.write(close_frame(event.code if event.code != 1005 else 1000))
        else:
            self.when_close_answered()
        self._finish()

    def _close(self, code: int) -> None:
        """Close for something that the peer did wrong."""
        if self._closed is None:
            self._request.write(close_frame(code))
        self._finish()

    def _finish(self) -> None:
        self._closing = True
        self._text.clear()
        self._held = self._unread = 0
        closed, self._closed = self._closed, None
        if self._reaper is not None:
            self._reaper.cancel(self)
        if closed is not None:
            closed.callback(None)
        elif self._reader is not None:
            # The peer ended it: the close frames have been exchanged, nothing more is written.
            self._reader.finish()


def require_upgrade(request: HttpRequest) -> None:
    """Refuse a request that is no handshake (RFC 6455, section 4.2.1).

    :raises UpgradeRequired: it asks for no WebSocket, or for one of another version.
    :raises InvalidRequest: it asks in a way that can't be answered.
    """
    if "websocket" not in _tokens(request, "upgrade"):
        raise UpgradeRequired(
            "This transport is for WebSocket clients (RFC 6455); scripts can use sse."
        )
    if request.method != b"GET" or request.clientproto != b"HTTP/1.1":
        raise InvalidRequest("A WebSocket begins with a GET of HTTP/1.1.")
    if "upgrade" not in _tokens(request, "connection"):
        raise UpgradeRequired("A WebSocket's handshake has the header Connection: Upgrade.")
    if _lines(request, "sec-websocket-version") != ["13"]:
        raise UpgradeRequired("This transport speaks version 13 of WebSocket (RFC 6455) only.")
    keys = _lines(request, "sec-websocket-key")
    try:
        nonce = b64decode("".join(keys), validate=True)
    except ValueError:
        nonce = b""
    if len(keys) != 1 or len(nonce) != 16:
        raise InvalidRequest("Sec-WebSocket-Key has to be there once, 16 bytes in base64.")


def _subprotocol(request: HttpRequest) -> str | None:
    """The subprotocol to agree upon: ours if it is offered, or else the first that is.

    Whoever offers some and is told none has failed (WebSockets standard, section 3), and all that
    we would say by any of them is the same.
    """
    offered = [
        each.strip() for each in ",".join(_lines(request, "sec-websocket-protocol")).split(",")
    ]
    names = [each for each in offered if _TOKEN.fullmatch(each)]
    return SUBPROTOCOL if SUBPROTOCOL in names else next(iter(names), None)


def _lines(request: HttpRequest, header: str) -> list[str]:
    """All values of a header."""
    return list(request.requestHeaders.getRawHeaders(header, []))


def _tokens(request: HttpRequest, header: str) -> list[str]:
    """The members of a header that is a list, in lower case."""
    return [each.strip().lower() for each in ",".join(_lines(request, header)).split(",")]
