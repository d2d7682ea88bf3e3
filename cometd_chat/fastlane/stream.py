"""A request of the fast lane once its response has become a stream.

What it is: what is left of a `LaneRequest` and its `LaneConnection`, in a third of their memory: it
will be long until the next request, and there are many streams.

What it may know: the transport that it came on. Not what was asked, nor who by.

Invariant: what it writes is what the request would have written.
"""

from __future__ import annotations

from typing import Literal, Protocol

import attrs
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from cometd_chat.events.event import chunk
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.receipt import Receipt
from cometd_chat.transports.request import PeerListener
from cometd_chat.transports.standing import AnsweredRequest
from cometd_chat.transports.twisted_internals import PeerConnection

#: RFC 9112, section 7.1.
LAST_CHUNK = b"0\r\n\r\n"


class StreamLane(Protocol):
    """What a stream needs of what all connections of the lane share."""

    @property
    def direct_write(self) -> bool:
        """Whether bytes may go past Twisted's buffers, see `twisted_internals.send`."""

    def log_access(self, request: AnsweredRequest) -> None:
        """Write a line of access log."""

    def connection_over(self, connection: PeerConnection) -> None:
        """A connection is over."""

    def wake(self, stream: LaneStream) -> StreamConnection:
        """Give the connection of a stream a protocol that can do more."""


class StreamConnection(Protocol):
    """What a connection is but for while it is a stream; see `LaneConnection`."""

    #: Of the last answer, when somebody wants to know what becomes of it.
    receipt: Receipt | None

    def dataReceived(self, data: bytes) -> None:
        """Something came, which waits while the stream lasts."""

    def response_over(self) -> None:
        """The response is complete: read on."""


@attrs.frozen
class StreamOrigin:
    """What streams have in common that were asked for alike; one object for all of them."""

    lane: StreamLane
    method: bytes
    path: bytes


@implementer(IHalfCloseableProtocol)
class LaneStream:
    """See `HoldableRequest`, and `AnsweredRequest` for the access log. It is its connection's
    protocol, too, until something comes by that or the stream is over: nothing more is needed of a
    connection that is only written to.

    :param origin: what was asked for.
    :param began: when it came, in the reaper's seconds.
    :param sent: bytes of body that were written.
    :param held: told when the peer goes.
    """

    __slots__ = (
        "_connection",
        "_held",
        "_origin",
        "began",
        "sentLength",
        "transport",
    )

    code = 200
    chunked: Literal[True] = True

    def __init__(
        self,
        origin: StreamOrigin,
        transport: PeerConnection,
        began: float,
        sent: int,
        held: PeerListener,
    ) -> None:
        self._origin = origin
        self.transport = transport
        self.began = began
        self.sentLength = sent
        # None once it is over.
        self._held: PeerListener | None = held
        # The protocol, when it is another one again.
        self._connection: StreamConnection | None = None

    @property
    def method(self) -> bytes:
        """See `AnsweredRequest`."""
        return self._origin.method

    @property
    def path(self) -> bytes:
        """See `AnsweredRequest`."""
        return self._origin.path

    # -- called by the transport

    def dataReceived(self, data: bytes) -> None:
        """It waits."""
        self._wake().dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        """It is over."""
        self._origin.lane.connection_over(self.transport)
        self.lost()
        twisted_internals.forget_unsent(self.transport)

    def readConnectionLost(self) -> None:
        """A peer that closes its half is gone for us."""
        twisted_internals.close_after_peer(self.transport)

    def writeConnectionLost(self) -> None:
        """Our half is never closed alone."""

    def _wake(self) -> StreamConnection:
        """A connection that can do more takes over."""
        if self._connection is None:
            self._connection = self._origin.lane.wake(self)
        return self._connection

    # -- the response

    @property
    def direct(self) -> PeerConnection | None:
        """See `HoldableRequest.direct`."""
        return self.transport if self._origin.lane.direct_write else None

    def hold(self, held: PeerListener) -> None:
        """See `HoldableRequest.hold`."""
        self._held = held

    def lost(self) -> None:
        """The peer has gone."""
        held, self._held = self._held, None
        if held is not None:
            held.lost()

    def setHeader(self, name: str | bytes, value: str | bytes) -> None:
        """Too late: its head is out."""

    def write(self, data: bytes) -> None:
        """Write a piece of the body."""
        if self._held is not None and data:
            self.sentLength += len(data)
            self._send(chunk(data))

    def _send(self, data: bytes) -> None:
        if self._origin.lane.direct_write:
            twisted_internals.send(self.transport, data)
        else:
            self.transport.write(data)

    def settled(self) -> LaneStream:
        """See `HoldableRequest.settled`."""
        return self

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
        receipt = self._wake().receipt = Receipt(self.transport)
        return receipt

    def release(self) -> None:
        """The response is complete."""
        if self._held is None:
            return
        self._send(LAST_CHUNK)
        self._held = None
        self._origin.lane.log_access(self)
        self._wake().response_over()

    def cut(self) -> None:
        """Drop the connection: the response gets no proper end."""
        self.transport.abortConnection()
