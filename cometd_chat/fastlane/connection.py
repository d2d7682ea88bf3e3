"""The fast lane: what the hottest requests need of HTTP/1.1, and no more.

What it is: `LaneConnection` is what a connection is at rest. It answers whole, simple requests of
the hot routes as a `LaneRequest`, and hands every other byte, untouched, to the slow path, which
gives the connection back when it is idle again.

What it may know: heads, transports, the sweep. Which routes are hot, and what they answer, it is
given.

Invariant: one request at a time, in the order in which they came; a request that the slow path
would read in another way, or answer differently, never gets in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from zope.interface import implementer

from cometd_chat.comet.reaper import Reaper
from cometd_chat.fastlane.heads import (
    MAX_REMEMBERED,
    Head,
    KnownHeads,
    SimpleRequest,
    read_line,
    read_request,
)
from cometd_chat.fastlane.request import Guard, LaneRequest
from cometd_chat.fastlane.routes import HotRoute, HotRoutes, RouteMatch
from cometd_chat.fastlane.stream import LaneStream, StreamOrigin
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.receipt import Receipt
from cometd_chat.transports.standing import AnsweredRequest, AnswerHead, StandingRequest
from cometd_chat.transports.twisted_internals import PeerConnection

#: Bytes of further requests that wait while one is answered; past it nothing more is read. The
#: slow path's own number.
MAX_WAITING = 16 * 1024

#: So many different heads of answers are shared. They differ by transport and by the origin that
#: may see them.
_MAX_HEADS = 64

#: Targets of streams that are remembered, whose paths have names of rooms in them.
_MAX_ORIGINS = 256


class SlowChannel(Protocol):
    """What can read anything."""

    #: Of the last answer, when somebody wants to know what becomes of it.
    receipt: Receipt | None

    def makeConnection(self, transport: Any) -> None:
        """A connection is this one's."""

    def dataReceived(self, data: bytes) -> None:
        """Something came."""


class SlowPathFactory(Protocol):
    """What takes all that the lane doesn't; see `http.ChatSite`."""

    def build_channel(self) -> SlowChannel:
        """A channel that can read anything."""

    def log_access(self, request: AnsweredRequest) -> None:
        """Write a line of access log."""

    def connection_over(self, connection: PeerConnection) -> None:
        """A connection is over."""


class Lane:
    """What all connections of the lane share.

    :param memory: where what is held counts.
    :param direct_write: whether bytes may go past Twisted's buffers, see `twisted_internals.send`.
    :param wall_clock: seconds since 1970, for the Date header.
    :param timeout: seconds after which an idle connection is closed.
    """

    def __init__(
        self,
        routes: Sequence[HotRoute],
        guard: Guard,
        reaper: Reaper,
        memory: MemoryBudget,
        *,
        direct_write: bool,
        wall_clock: Callable[[], float],
        timeout: float,
    ) -> None:
        self.routes = HotRoutes(routes)
        self.guard = guard
        self.reaper = reaper
        self.memory = memory
        self.direct_write = direct_write
        self.timeout = timeout
        self.heads = KnownHeads()
        self.slow_path: SlowPathFactory
        #: Whether each answer is to be shown to `log_access`; whoever has the slow path says so.
        self.logs_access = True
        self._wall_clock = wall_clock
        self._date = (0, b"")
        self._origins: dict[tuple[bytes, bytes], StreamOrigin] = {}
        self._heads: dict[tuple[bytes, bytes], AnswerHead] = {}
        #: See `ChannelSite`.
        self.is_parting = self.is_leaving = False

    def part(self) -> None:
        """Take no more: whoever asks is told by the slow path that the connection ends."""
        self.is_parting = True
        self.routes = HotRoutes(())

    def leave(self) -> None:
        """Let each connection end once it has been answered."""
        self.is_leaving = True

    def date(self) -> bytes:
        """The line of the Date header in this second."""
        now = int(self._wall_clock())
        if now != self._date[0]:
            self._date = (now, b"Date: %b\r\n" % datetimeToString(now))
        return self._date[1]

    def answer_head(self, before: bytes, after: bytes) -> AnswerHead:
        """See `SharedLane.answer_head`."""
        head = self._heads.get((before, after))
        if head is None:
            head = AnswerHead(before, after, self.date)
            if len(self._heads) < _MAX_HEADS:
                self._heads[before, after] = head
        return head

    def log_access(self, request: AnsweredRequest) -> None:
        """Write a line of access log."""
        self.slow_path.log_access(request)

    def origin(self, method: bytes, path: bytes) -> StreamOrigin:
        """One object for all streams that were asked for alike."""
        origin = self._origins.get((method, path))
        if origin is None:
            if len(self._origins) >= _MAX_ORIGINS:
                self._origins.clear()
            origin = self._origins[method, path] = StreamOrigin(self, method, path)
        return origin

    def connection_over(self, connection: PeerConnection) -> None:
        """A connection is over."""
        self.slow_path.connection_over(connection)

    def wake(self, stream: LaneStream) -> LaneConnection:
        """See `StreamLane.wake`."""
        connection = LaneConnection(self)
        connection.wake(stream)
        return connection

    def take(self, connection: PeerConnection, receipt: Receipt | None) -> None:
        """Take a connection back from the slow path.

        :param receipt: of its last answer, when somebody wants to know about that.
        """
        resting = LaneConnection(self)
        resting.receipt = receipt
        twisted_internals.install(connection, resting)
        resting.rest(connection)


class AnsweringRequest(Protocol):
    """A request of the lane that is being answered."""

    def lost(self) -> None:
        """The peer is gone."""


@implementer(IHalfCloseableProtocol)
class LaneConnection:
    """A connection at rest, or with one request of the lane that is being answered. A
    `StandingPlace` for requests that come again and again.

    A holder of the budget (`budget.Holder`) while bytes of further requests wait here.
    """

    # A daemon holds as many of these as it has readers: no dict each.
    __slots__ = (
        "_head",
        "_idle_since",
        "_request",
        "_standing",
        "_waiting",
        "due_bucket",
        "lane",
        "receipt",
        "transport",
    )

    #: While it has one: from `makeConnection` or `rest` until it is over, or another's.
    transport: PeerConnection

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.due_bucket = 0
        self._idle_since = 0.0
        #: The last head, which the next one most likely equals.
        self._head: Head | None = None
        self._request: AnsweringRequest | None = None
        #: The last request, when the next one is most likely the same.
        self._standing: StandingRequest | None = None
        #: What came while a request was answered.
        self._waiting = b""
        #: Of the last answer, when somebody wants to know what becomes of it.
        self.receipt: Receipt | None = None

    # -- called by the transport

    def makeConnection(self, transport: PeerConnection) -> None:
        """It is accepted."""
        if twisted_internals.takes_bytes(transport):
            # Nothing happens on a Unix socket.
            transport.setTcpNoDelay(True)
            self.rest(transport)
        else:
            # TLS has more below it than the lane knows of.
            self.transport = transport
            self._leave()

    def begin(self, transport: PeerConnection, data: bytes) -> None:
        """It is accepted, and this has come already; see `twisted_internals.accept_directly`.

        What is not answered by the end of this is held, or the slow path's: there is nothing to
        look at until then, so that the sweep is not told.
        """
        self.transport = transport
        self._read(data)

    def dataReceived(self, data: bytes) -> None:
        """Answer it, or hand it on."""
        if self._request is not None:
            self._wait(data)
            return
        if self.receipt is not None:
            self.receipt.asked()
            self.receipt = None
        standing = self._standing
        if standing is not None and not self.lane.is_parting:
            self._request = standing
            if standing.again(data):
                return
            self._request = self._standing = None
        self._read(data)

    def _read(self, data: bytes) -> None:
        """Begin with what has come."""
        line = read_line(data)
        if line is not None:
            path, _, query = line[2].partition(b"?")
            match = self.lane.routes.find(line[1], path)
            # Names in a query begin and end a session, which is rare.
            if match is not None and b"name=" not in query:
                simple = read_request(data, line, self._head, self.lane.heads.read)
                if simple is not None:
                    self._answer(simple, match)
                    return
        self._leave().dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        """It is over."""
        self.lane.connection_over(self.transport)
        self.lane.reaper.cancel(self)
        self._take_waiting()
        request, self._request, self._head = self._request, None, None
        transport = self.transport
        del self.transport
        if self.receipt is not None:
            self.receipt.over(reason)
        if request is not None:
            request.lost()
        self._end_standing()
        twisted_internals.forget_unsent(transport)

    def readConnectionLost(self) -> None:
        """A peer that closes its half is gone for us."""
        if self.receipt is not None:
            self.receipt.peer_closed()
        twisted_internals.close_after_peer(self.transport)

    def writeConnectionLost(self) -> None:
        """Our half is never closed alone."""

    # -- requests

    def _answer(self, simple: SimpleRequest, match: RouteMatch) -> None:
        self._head = simple.head if len(simple.head.block) <= MAX_REMEMBERED else None
        route = match.route
        # One path and one method for all requests: a stream keeps them for the access log.
        self._request = request = LaneRequest(self, simple, route.method, match.path)
        request.begin(route, match.name)

    def forget_head(self) -> None:
        """Keep nothing for a next request."""
        self._head = None
        self._idle_since = 0.0  # Until it is idle again, one object for all.

    def settle(self, stream: LaneStream) -> None:
        """This is what is left of the request, and of this connection: it is forgotten."""
        self.lane.reaper.cancel(self)
        self._request = None
        twisted_internals.install(self.transport, stream)

    def wake(self, stream: LaneStream) -> None:
        """Take the place of a stream, which is the request of this connection now."""
        self.transport = stream.transport
        self._request = stream
        twisted_internals.install(stream.transport, self)

    # -- a request that stands; see `StandingPlace`

    @property
    def reaper(self) -> Reaper:
        """The sweep."""
        return self.lane.reaper

    def stand(self, standing: StandingRequest) -> None:
        """See `StandingPlace.stand`."""
        self._request = self._standing = standing

    def forget(self, standing: StandingRequest) -> None:
        """See `StandingPlace.forget`."""
        if self._standing is standing:
            self._standing = None

    def new_receipt(self) -> Receipt:
        """See `StandingPlace.new_receipt`."""
        receipt = self.receipt = Receipt(self.transport)
        return receipt

    def answer(self, standing: StandingRequest, data: bytes, at: float) -> None:
        """See `StandingPlace.answer`. The hot path of polls."""
        lane = self.lane
        if lane.direct_write:
            twisted_internals.send(self.transport, data)
        else:
            self.transport.write(data)
        if lane.logs_access:
            lane.log_access(standing)
        if (
            self._waiting
            or not self.due_bucket
            or lane.is_leaving
            or twisted_internals.is_sending(self.transport)
        ):
            self.response_over()
        else:
            self._request = None
            self._idle_since = at

    def cut(self) -> None:
        """See `StandingPlace.cut`."""
        self.transport.abortConnection()

    def _end_standing(self) -> None:
        """What comes next is not for what stands here."""
        standing, self._standing = self._standing, None
        if standing is not None:
            standing.lost()

    def response_over(self) -> None:
        """The response is complete: read on."""
        self._request = None
        if self.lane.is_leaving and not self._waiting:
            self.transport.loseConnection()
            return
        waiting = self._take_waiting() if self._waiting else b""
        if twisted_internals.is_sending(self.transport):
            # What a peer has not taken yet is a matter of back-pressure, which the slow path has.
            receipt, self.receipt = self.receipt, None
            channel = self._leave()
            channel.receipt = None if waiting else receipt
            channel.dataReceived(waiting)
            return
        self._idle_since = self.lane.reaper.seconds()
        if not self.due_bucket:
            self.lane.reaper.schedule(self, self.lane.timeout)
        if waiting:
            self._end_standing()
            self.transport.resumeProducing()
            # This was sent before the answer was: whether that was read nobody will know.
            self.receipt = None
            self._read(waiting)

    # -- what came too early

    def _wait(self, data: bytes) -> None:
        first, self._waiting = not self._waiting, self._waiting + data
        if len(self._waiting) > MAX_WAITING:
            self.transport.pauseProducing()
        if first:
            self.lane.memory.add(self, "requests")
        self.lane.memory.account(len(data), "requests")

    def _take_waiting(self) -> bytes:
        waiting, self._waiting = self._waiting, b""
        if waiting:
            self.lane.memory.remove(self, len(waiting), "requests")
        return waiting

    @property
    def over(self) -> bool:
        """See `budget.Holder`."""
        return not self._waiting

    def measure(self) -> int:
        """See `budget.Holder`."""
        return len(self._waiting)

    def shed(self, size: int) -> None:
        """See `budget.Holder`."""
        self._take_waiting()
        self.transport.abortConnection()

    # -- rest, and the slow path

    def rest(self, transport: PeerConnection) -> None:
        """Wait for a request."""
        self.transport = transport
        self._idle_since = self.lane.reaper.seconds()
        self.lane.reaper.schedule(self, self.lane.timeout)

    def close_when_idle(self) -> None:
        """End it, if it has no request."""
        if self._request is None:
            self.transport.loseConnection()

    def _leave(self) -> SlowChannel:
        """Let a channel that can read anything take this one's place."""
        self._end_standing()
        transport = self.transport
        del self.transport
        self.lane.reaper.cancel(self)
        channel = self.lane.slow_path.build_channel()
        twisted_internals.install(transport, channel)
        channel.makeConnection(transport)
        return channel

    def on_due(self, now: float) -> float | None:
        """The sweep's look: close it when it was idle for too long. (See `Reaper.schedule`.)"""
        if self._request is not None:
            # It is looked at again once its response is over.
            return None
        left = self._idle_since + self.lane.timeout - now
        if left > 0:
            return left
        if self.receipt is not None:
            self.receipt.closed()
        # At rest nothing waits to be sent.
        self.transport.loseConnection()
        return None
