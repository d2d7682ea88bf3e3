"""HTTP/1.1 with our limits, at the end of a request's head and in its body.

What it is: the one subclass of Twisted's channel. It refuses a body that is too large before it
arrives, cuts a chunked one, and answers what can't be parsed.

What it may know: Twisted's channel, some of its private names included; guarded by
``tests/transports/test_http.py``. Not routes, not the chat.

Invariant: no more of a body than the limit is ever held, and every refusal has the one form that
the web layer gives to errors.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any, Protocol, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport, ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from zope.interface import implementer

from cometd_chat.errors import BodyTooLarge, ChatError, InvalidRequest
from cometd_chat.transports import below
from cometd_chat.transports.body import IncomingBody
from cometd_chat.transports.held import PeerListener
from cometd_chat.transports.lane import Lane
from cometd_chat.transports.receipt import Receipt

#: The largest body that any route takes, in bytes.
MAX_BODY = 256 * 1024

#: After a refusal a peer may go on sending for so many seconds. Closing at once would reset the
#: connection, and the reset would destroy the answer before it is read.
LINGER = 2


class ChannelSite(Protocol):
    """What channels have in common; see `site.ChatSite`, also for what is not said here."""

    lane: Lane | None
    direct_write: bool
    reads_early: Callable[[bytes, bytes], bool]
    seconds: Callable[[], float]

    #: The form of errors that never reach a route: of the error and whether HTML is wanted, the
    #: content type and the body.
    render_refusal: Callable[[ChatError, bool], tuple[bytes, bytes]]


class LimitedRequest(Request):
    """A request whose body is counted while it arrives, and that can be held."""

    channel: LimitedChannel
    content: BytesIO

    #: The body, when it is read while it arrives; None when the route waits for all of it.
    body: IncomingBody | None = None

    #: Waited for after the last words of a held response, before it is over.
    closing: Callable[[], Deferred[None]] | None = None

    _released: Deferred[None] | None = None

    def __init__(self, channel: LimitedChannel, *args: object, **settings: object) -> None:
        super().__init__(channel, *args, **settings)
        #: When its first line came, for the access log.
        self.began = channel.site.seconds()

    @property
    def direct(self) -> Any:
        """See `HoldableRequest.direct`."""
        transport = self.transport
        allowed = type(self.channel) is LimitedChannel and self.channel.site.direct_write
        return transport if allowed and below.takes_bytes(transport) else None

    def hold(self, held: PeerListener) -> None:
        """From here on ``held.lost`` is called when the peer goes."""
        # Klein cancels what the route waits for; it absorbs the CancelledError that follows.
        self._released = Deferred(lambda released: held.lost())

    async def until_released(self) -> None:
        """What the route of a held request waits for: Klein finishes the response then."""
        if self._released is not None:
            await self._released
        if self.closing is not None:
            await self.closing()

    def tell_drained(self, producer: object) -> None:
        """See `HoldableRequest.tell_drained`."""
        self.registerProducer(producer, True)

    def tell_no_more(self) -> None:
        """See `HoldableRequest.tell_no_more`."""
        with suppress(AttributeError):  # Twisted takes the channel from a request that is lost.
            self.unregisterProducer()

    def notice_end(self) -> bool:
        """See `HoldableRequest.notice_end`."""
        reads_on = self.body is not None or self.channel.passes_input
        return below.notice_end(self.transport, reads_on=reads_on)

    def receipt(self) -> Receipt:
        """See `HoldableRequest.receipt`."""
        receipt = self.channel.receipt = Receipt(self.transport)
        return receipt

    def release(self) -> None:
        """A held response is complete."""
        assert self._released is not None
        self._released.callback(None)

    def cut(self) -> None:
        """Drop the connection: the response gets no proper end, and Klein must not give it one,
        which is cancelled by the loss of the connection, in a later turn of the reactor."""
        cast(ITCPTransport, self.transport).abortConnection()

    def gotLength(self, length: int | None) -> None:
        # Twisted would put a large body into a file, and the reactor would wait for the disk.
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        if self.body is not None:
            if self.body.feed(data) > MAX_BODY:
                self.channel.loseConnection()
        elif self.content.tell() + len(data) > MAX_BODY:
            self.channel.refuse(BodyTooLarge(_too_large(MAX_BODY)), 413)
        else:
            super().handleContentChunk(data)


@implementer(IHalfCloseableProtocol)
class LimitedChannel(HTTPChannel):
    """A channel that refuses in our own form."""

    site: ChannelSite
    transport: ITransport
    _refused = False
    _early: LimitedRequest | None = None
    _input: Callable[[bytes], None] | None = None

    #: Of the last answer, when somebody wants to know what becomes of it.
    receipt: Receipt | None = None

    def allHeadersReceived(self) -> None:
        # `length` is None for a chunked body, which is counted as it comes.
        if self.site.reads_early(self._command, self._path):
            super().allHeadersReceived()
            self._begin_early(self.requests[-1])
        elif self.length is not None and self.length > MAX_BODY:
            self.refuse(BodyTooLarge(_too_large(MAX_BODY)), 413)
        else:
            super().allHeadersReceived()

    def _begin_early(self, request: LimitedRequest) -> None:
        """Let the route begin while the body arrives; the connection ends with the response."""
        self._early = request
        self.persistent = False
        request.responseHeaders.setRawHeaders(b"connection", [b"close"])
        self.setTimeout(None)
        request.body = IncomingBody()
        request.requestReceived(self._command, self._path, self._version)

    def pass_input(self, receive: Callable[[bytes], None]) -> None:
        """From here on whatever comes is for ``receive``; the connection ends with the response."""
        self.persistent = False
        self._input = receive
        held_back, self._dataBuffer = self._dataBuffer, []
        for data in held_back:
            receive(data)

    @property
    def passes_input(self) -> bool:
        """Whether what comes is for the request that is being answered; see `pass_input`."""
        return self._input is not None

    def requestDone(self, request: LimitedRequest) -> None:
        early, self._early = self._early, None
        half_read = early is not None and early.body is not None and not early.body.ended
        if half_read or self._input is not None:
            # It may be sending yet: let it finish, or it may lose the end of what we said.
            del self.requests[0]
            self._refused, self._input = True, None
            self._linger()
        else:
            super().requestDone(request)
            self._go_back()

    def _go_back(self) -> None:
        """Give the connection back to the fast lane, when there is one and nothing is left here."""
        lane = self.site.lane
        if lane is None or self._refused or self._input is not None:
            return
        if below.is_at_rest(self):
            self.setTimeout(None)
            transport: Any = self.transport
            transport.unregisterProducer()
            lane.take(transport, self.receipt)

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize:
            wrong = f"The head of a request can have {self.totalHeadersSize // 1024} KiB at most."
        elif self._receivedHeaderCount > self.maxHeaders:
            wrong = f"A request can have {self.maxHeaders} headers at most."
        else:
            wrong = "This is not a request that HTTP/1.1 allows (RFC 9112)."
        self.refuse(InvalidRequest(wrong), 400)

    def refuse(self, error: ChatError, status: int) -> None:
        """Answer before there is a route, and let the peer finish what it is sending."""
        if self._refused:
            return
        self._refused = True
        if self._early is not None:
            # Its response has begun: there is no other way to say it any more.
            self.loseConnection()
            return
        headers = self.requests[-1].requestHeaders if self.requests else None
        accept = (headers.getRawHeaders(b"accept") if headers is not None else None) or [b""]
        kind, body = self.site.render_refusal(error, b"text/html" in accept[0])
        self.transport.write(
            b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n"
            b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            b"Connection: close\r\n\r\n%s" % (status, error.title.encode(), kind, len(body), body)
        )
        self._linger()

    def _linger(self) -> None:
        self.setTimeout(LINGER)
        # Nothing more is produced, and what the peer sends is read again, to be dropped.
        transport: Any = self._networkProducer
        transport.unregisterProducer()
        transport.resumeProducing()
        if ITCPTransport.providedBy(self.transport) and not self.isSecure():
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self.receipt is not None:
            self.receipt.asked()
            self.receipt = None
        # What a refused peer still sends is dropped; `setTimeout` is what ends it.
        if self._input is not None:
            self._input(data)
        elif not self._refused:
            super().dataReceived(data)
            self._go_back()

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(InvalidRequest("A line of the request's head can have 16 KiB at most."), 400)

    def lineReceived(self, line: bytes) -> None:
        if not self._refused:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        if self._input is not None:
            self._input(data)
        elif not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        if self._early is not None and self._early.body is not None:
            # The route is at work already.
            self._handlingRequest = True
            self._early.body.end()
        elif not self._refused:
            super().allContentReceived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.receipt is not None:
            self.receipt.over(reason)
        super().connectionLost(reason)

    def readConnectionLost(self) -> None:
        if self.receipt is not None:
            self.receipt.peer_closed()
        if self._early is not None and self._early.body is not None:
            # She has said all that she has to say and listens yet.
            self._early.body.break_off()
        else:
            # Any other peer that closes its half is gone for us.
            self.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our half is closed, after a refusal."""

    # As in the base class, but for the lines in the log, which would have the peer's address.

    def timeoutConnection(self) -> None:
        if self.receipt is not None:
            self.receipt.closed()
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        self._abortingCall = None
        cast(ITCPTransport, self.transport).abortConnection()


def _too_large(limit: int) -> str:
    return f"A body can have {limit // 1024} KiB at most."


def address_of(request: IRequest) -> str:
    """The peer's IP address; an empty string where it has none, as on a Unix socket."""
    address = request.getClientAddress()
    return address.host if isinstance(address, (IPv4Address, IPv6Address)) else ""
