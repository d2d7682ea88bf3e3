"""A request of the fast lane, and its answer.

What it is: as much of Twisted's `Request` as the hot routes use, for a whole request that was read
already.

What it may know: the connection that it came on. No routes, no parsing.

Invariant: its answer is what Twisted's request would have made of it, header by header, but for
being written at once; after its end nothing more is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, RESPONSES

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError
from cometd_chat.events.event import chunk
from cometd_chat.fastlane.headers import LINES, AnswerHeaders, ReceivedHeaders, header_line
from cometd_chat.fastlane.heads import MAX_REMEMBERED, SimpleRequest
from cometd_chat.fastlane.routes import Answer, HotRoute
from cometd_chat.fastlane.stream import LAST_CHUNK, LaneStream, StreamConnection, StreamOrigin
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.body import IncomingBody
from cometd_chat.transports.receipt import Receipt
from cometd_chat.transports.request import (
    HoldableRequest,
    HttpRequest,
    PeerListener,
    UpgradableRequest,
)
from cometd_chat.transports.response_head import response_head
from cometd_chat.transports.standing import AnsweredRequest, AnswerHead, Repeatable, StandingPlace
from cometd_chat.transports.twisted_internals import PeerConnection


class SharedLane(Protocol):
    """What a request needs of what all connections of the lane share."""

    @property
    def guard(self) -> Guard:
        """What stands before all routes."""

    @property
    def direct_write(self) -> bool:
        """Whether bytes may go past Twisted's buffers, see `twisted_internals.send`."""

    @property
    def reaper(self) -> Reaper:
        """The clock."""

    def date(self) -> bytes:
        """The line of the Date header in this second."""

    def log_access(self, request: AnsweredRequest) -> None:
        """Write a line of access log."""

    def origin(self, method: bytes, path: bytes) -> StreamOrigin:
        """One object for all streams that were asked for alike."""

    def connection_over(self, connection: PeerConnection) -> None:
        """A connection is over."""

    def wake(self, stream: LaneStream) -> StreamConnection:
        """See `StreamLane.wake`."""

    def answer_head(self, before: bytes, after: bytes) -> AnswerHead:
        """The head of answers that have these lines before and after their date."""


class Guard(Protocol):
    """What stands before all routes; see `web.guard.RequestGuard`."""

    def admit(self, request: HttpRequest) -> bytes | None:
        """Set what every answer has.

        :returns: the body of a refusal; None when the request may go on to its route.
        """

    def fail(self, request: HttpRequest, failure: Failure) -> bytes:
        """Set what the answer to an error has, and give its body."""


class Carrier(StandingPlace, Protocol):
    """What a request needs of the connection that it came on."""

    #: Of the last answer, when somebody wants to know what becomes of it.
    receipt: Receipt | None

    @property
    def lane(self) -> SharedLane:
        """What all connections share."""

    @property
    def transport(self) -> PeerConnection:
        """Where its peer is."""

    def forget_head(self) -> None:
        """Keep nothing for a next request."""

    def settle(self, stream: LaneStream) -> None:
        """This is what is left of the request, and of the connection."""

    def response_over(self) -> None:
        """The response is complete: read on."""


class LaneRequest:
    """A request of the lane: as much of Twisted's `Request` as the hot routes use.

    What their answers have in common with it, they have by the same names; the bytes that go out
    are the same, too, but for being written at once.
    """

    __slots__ = (
        "_asked",
        "_awaited",
        "_connection",
        "_cookies",
        "_headers",
        "_held",
        "_over",
        "_reason",
        "_work",
        "_writes",
        "began",
        "chunked",
        "code",
        "method",
        "path",
        "sentLength",
        "transport",
    )

    clientproto = b"HTTP/1.1"

    #: A body is whole before it is taken, and what asks for an upgrade isn't simple.
    body: IncomingBody | None = None
    upgradable: UpgradableRequest | None = None

    def __init__(
        self, connection: Carrier, simple: SimpleRequest, method: bytes, path: bytes
    ) -> None:
        self._connection = connection
        self.transport = connection.transport
        self.method = method
        self.path = path
        #: When it came, for the access log; one object for all of the same moment.
        self.began = connection.lane.reaper.coarse_now()
        # All that was asked; None once a stream has begun.
        self._asked: SimpleRequest | None = simple
        self._cookies: dict[bytes, bytes] | None = None
        self.code = 200
        self._reason = b"OK"
        self.sentLength = 0
        # What stands first in every answer stands first here.
        self._headers: dict[bytes, bytes] | None = {b"Server": b"", b"Date": connection.lane.date()}
        self.chunked = False
        self._over = False
        self._held: PeerListener | None = None
        self._work: Answer | None = None
        self._awaited: Deferred[Any] | None = None
        self._writes = False

    # -- what was sent

    @property
    def memory(self) -> dict[object, object]:
        """What was found out about requests with the same header lines on this connection."""
        return self._asked.head.memory if self._asked is not None else {}

    @property
    def common(self) -> dict[object, object]:
        """The same on any connection, but for who asks and how far they have come."""
        return self._asked.head.common if self._asked is not None else {}

    @property
    def uri(self) -> bytes:
        """The path and the query."""
        return self._asked.target if self._asked is not None else self.path

    @property
    def requestHeaders(self) -> ReceivedHeaders:
        """The header lines."""
        return ReceivedHeaders(self._fields)

    def getHeader(self, key: str) -> str | None:
        """The last value of a header; None when it isn't there."""
        values = self._fields.get(key.lower())
        return None if values is None else values[-1]

    @property
    def received_cookies(self) -> dict[bytes, bytes]:
        """The cookies; a route may take out what is no good."""
        if self._cookies is None:
            self._cookies = dict(self._asked.head.cookies) if self._asked is not None else {}
        return self._cookies

    def getCookie(self, key: bytes) -> bytes | None:
        """The value of a cookie; None when it isn't there."""
        return self.received_cookies.get(key)

    @property
    def content(self) -> BytesIO:
        """The body."""
        return BytesIO(self._asked.body if self._asked is not None else b"")

    def isSecure(self) -> bool:
        """Never: TLS takes the slow path."""
        return False

    def getClientAddress(self) -> IAddress:
        """Where the peer is."""
        address: IAddress = self.transport.getPeer()
        return address

    @property
    def _fields(self) -> Mapping[str, tuple[str, ...]]:
        return self._asked.head.fields if self._asked is not None else {}

    # -- the route

    def begin(self, route: HotRoute, name: str) -> None:
        """Let the guard look at it, then the route."""
        refusal = self._connection.lane.guard.admit(self)
        if refusal is not None:
            self._finish(refusal)
            return
        self._writes = route.writes
        self._work = route.endpoint(self, name)
        self._go_on(self._work.send, None)

    def _go_on(self, step: Callable[[Any], Any], value: Any) -> None:
        """Let the route go on until it is through or waits for something.

        `Deferred.fromCoroutine` does the same; but most of these routes never wait, and then it
        costs as much as all the rest.
        """
        self._awaited = None
        try:
            awaited = step(value)
        except StopIteration as stop:
            self._work = None
            if isinstance(stop.value, bytes):
                self._finish(stop.value)
        except Exception:
            self._work = None
            self._fail(Failure())
        else:
            self._awaited = awaited
            awaited.addCallbacks(self._resume, self._throw)

    def _resume(self, result: object) -> None:
        assert self._work is not None
        self._go_on(self._work.send, result)

    def _throw(self, failure: Failure) -> None:
        assert self._work is not None
        self._go_on(self._work.throw, failure.value)

    def _fail(self, failure: Failure) -> None:
        if self._over and failure.check(ChatError, CancelledError):
            return
        body = self._connection.lane.guard.fail(self, failure)
        if self._headers is None and not self._over:
            # Its response has begun: there is no other way to say it any more.
            self.cut()
        else:
            self._finish(body)

    def lost(self) -> None:
        """The peer has gone."""
        self._over = True
        if self._held is not None:
            self._held.lost()
        elif self._awaited is not None and not self._writes:
            self._awaited.cancel()

    # -- the answer

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status."""
        self.code = code
        self._reason = RESPONSES.get(code, b"Unknown Status") if message is None else message

    def setHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Set a header of the answer; too late when its head is out."""
        if self._headers is not None:
            # Seven times an answer: a call for it would cost as much as it does.
            canonical, line = LINES.get((name, value)) or header_line(name, value)
            self._headers[canonical] = line

    @property
    def responseHeaders(self) -> AnswerHeaders:
        """The headers of the answer."""
        return AnswerHeaders(self._headers)

    def write(self, data: bytes) -> None:
        """Write a piece of the body; with the first one the head goes out."""
        if self._over:
            return
        self._send(self._framed(data))
        if self.chunked and self._asked is not None:
            # A stream: it will be long until the next request, and there are many streams.
            self._asked = self._cookies = None
            self._connection.forget_head()

    def _finish(self, body: bytes) -> None:
        """Write all of the answer."""
        if not self._over:
            data = self._framed(body)
            self._send(data + LAST_CHUNK if self.chunked else data)
            self._end()

    def _framed(self, data: bytes) -> bytes:
        """The bytes of a piece; those of the head before the first one."""
        head = b""
        if self._headers is not None:
            has_length = b"Content-Length" in self._headers
            self.chunked = not has_length and self.code not in NO_BODY_CODES
            if self.chunked:
                self._headers[b"Transfer-Encoding"] = b"Transfer-Encoding: chunked\r\n"
            head = response_head(self.code, self._reason, self._headers.values())
            self._headers = None
        if self.code in NO_BODY_CODES:
            return head
        self.sentLength += len(data)
        return head + (chunk(data) if self.chunked and data else data)

    def _send(self, data: bytes) -> None:
        if self._connection.lane.direct_write:
            twisted_internals.send(self.transport, data)
        else:
            self.transport.write(data)

    def repeatable(self) -> Repeatable | None:
        """See `HttpRequest.repeatable`."""
        asked, headers = self._asked, self._headers
        if asked is None or headers is None or self._over or len(asked.head.block) > MAX_REMEMBERED:
            return None
        if b"Set-Cookie" in headers or b"Content-Length" in headers or self.code != 200:
            return None
        lines = dict(headers)
        del lines[b"Date"]
        before = response_head(self.code, self._reason, [lines.pop(b"Server")])[: -len(b"\r\n")]
        head = self._connection.lane.answer_head(before, b"".join(lines.values()))
        return Repeatable(
            self._connection, self.method, self.path, asked.target, asked.head.block, head
        )

    # -- holding; see `held.HoldableRequest`

    @property
    def direct(self) -> PeerConnection | None:
        """See `HoldableRequest.direct`."""
        return self.transport if self._connection.lane.direct_write else None

    def hold(self, held: PeerListener) -> None:
        """From here on ``held.lost`` is called when the peer goes."""
        self._held = held
        if self._over:
            held.lost()

    def settled(self) -> HoldableRequest:
        """See `HoldableRequest.settled`."""
        if self._over or self._held is None or not self.chunked or self.code != 200:
            return self
        stream = LaneStream(
            self._connection.lane.origin(self.method, self.path),
            self.transport,
            self.began,
            self.sentLength,
            self._held,
        )
        self._connection.settle(stream)
        return stream

    def tell_drained(self, producer: object) -> None:
        """See `HoldableRequest.tell_drained`."""
        # As one that pulls: a transport tells one that pushes only when it had to pause it.
        self.transport.registerProducer(producer, False)

    def tell_no_more(self) -> None:
        """See `HoldableRequest.tell_no_more`."""
        self.transport.unregisterProducer()

    def notice_end(self) -> bool:
        """See `HoldableRequest.notice_end`."""
        return twisted_internals.notice_end(self.transport)

    def receipt(self) -> Receipt:
        """See `HoldableRequest.receipt`."""
        receipt = self._connection.receipt = Receipt(self.transport)
        return receipt

    def release(self) -> None:
        """A held response is complete."""
        if self._headers is not None:
            self._finish(b"")
        elif not self._over:
            if self.chunked:
                self._send(LAST_CHUNK)
            self._end()

    def cut(self) -> None:
        """Drop the connection: the response gets no proper end."""
        self.transport.abortConnection()

    def _end(self) -> None:
        self._over = True
        self._held = None
        connection = self._connection
        connection.lane.log_access(self)
        connection.response_over()
