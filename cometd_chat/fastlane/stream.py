"""A request of the fast lane once its response has become a stream.

What it is: what is left of a `LaneRequest`, in half of its memory: it will be long until the next
request, and there are many streams.

What it may know: the connection that it came on. Not what was asked, nor who by.

Invariant: what it writes is what the request would have written.
"""

from __future__ import annotations

from typing import Literal, Protocol

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


class StreamCarrier(Protocol):
    """What a stream needs of the connection that it came on."""

    #: Of the last answer, when somebody wants to know what becomes of it.
    receipt: Receipt | None

    @property
    def lane(self) -> StreamLane:
        """What all connections share."""

    @property
    def transport(self) -> PeerConnection:
        """Where its peer is."""

    def response_over(self) -> None:
        """The response is complete: read on."""


class LaneStream:
    """See `HoldableRequest`, and `AnsweredRequest` for the access log.

    :param began: when it came, in the reaper's seconds.
    :param sent: bytes of body that were written.
    :param held: told when the peer goes.
    """

    __slots__ = ("_connection", "_held", "began", "method", "path", "sentLength", "transport")

    code = 200
    chunked: Literal[True] = True

    def __init__(
        self,
        connection: StreamCarrier,
        method: bytes,
        path: bytes,
        began: float,
        sent: int,
        held: PeerListener,
    ) -> None:
        self._connection = connection
        # Its connection has one only until it ends, and a cut may come later.
        self.transport = connection.transport
        self.method = method
        self.path = path
        self.began = began
        self.sentLength = sent
        # None once it is over.
        self._held: PeerListener | None = held

    @property
    def direct(self) -> PeerConnection | None:
        """See `HoldableRequest.direct`."""
        return self.transport if self._connection.lane.direct_write else None

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
        if self._connection.lane.direct_write:
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
        receipt = self._connection.receipt = Receipt(self.transport)
        return receipt

    def release(self) -> None:
        """The response is complete."""
        if self._held is None:
            return
        self._send(LAST_CHUNK)
        self._held = None
        self._connection.lane.log_access(self)
        self._connection.response_over()

    def cut(self) -> None:
        """Drop the connection: the response gets no proper end."""
        self.transport.abortConnection()
