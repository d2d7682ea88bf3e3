"""The site: a channel, or a lane, for each connection, and the access log.

What it is: Twisted's Site, with our channels.

What it may know: channels, the fast lane. Not routes, not the chat.

Invariant: nothing that lets somebody in is ever in the log: it has neither queries nor headers, and
no codes of links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError
from cometd_chat.fastlane.connection import Lane, LaneConnection
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.connections import Connections
from cometd_chat.transports.foreign_protocols import ForeignProtocols
from cometd_chat.transports.http import LimitedChannel
from cometd_chat.transports.limited_request import LimitedRequest
from cometd_chat.transports.over_limit import OverLimitChannel
from cometd_chat.transports.refusals import Form
from cometd_chat.transports.request import host_of
from cometd_chat.transports.standing import AnsweredRequest
from cometd_chat.transports.twisted_internals import PeerConnection


class ChatSite(Site):
    """A Site of our channels, with an access log that has no query strings.

    :param render_refusal: the form of errors that never reach a route.
    :param reaper: the sweep that ends what is too slow.
    :param memory: where what is held counts; by default a budget of its own.
    :param connections: their count, and how many an address may have; by default any number.
    :param reads_early: of method and path: whether the route begins before the body has come.
    :param direct_write: whether bodies may go past Twisted's buffers, see `twisted_internals.send`.
    :param timeout: seconds after which a connection without a request is closed.
    :param lane: answers the hottest requests; None to let every request go the slow path.
    :param access_log: whether each response is a line in the log.
    """

    _access_log = Logger()

    #: Twisted would log each port's opening and closing once more.
    noisy = False

    def __init__(
        self,
        resource: IResource,
        render_refusal: Callable[[ChatError, bool], Form],
        reactor: IReactorTime,
        reaper: Reaper,
        *,
        memory: MemoryBudget | None = None,
        connections: Connections | None = None,
        reads_early: Callable[[bytes, bytes], bool] = lambda method, path: False,
        direct_write: bool = True,
        timeout: float = 60,
        lane: Lane | None = None,
        access_log: bool = False,
    ) -> None:
        super().__init__(
            resource,
            timeout=timeout,
            parsePOSTFormSubmission=False,
            reactor=reactor,
        )
        self.render_refusal = render_refusal
        self.reads_early = reads_early
        self.direct_write = direct_write
        self.lane = lane
        self._logs_access = access_log
        self.reaper = reaper
        self.memory = MemoryBudget() if memory is None else memory
        self.connections = Connections() if connections is None else connections
        self.timeout = timeout
        self.is_parting = self.is_leaving = False
        self.foreign_protocols = ForeignProtocols(reaper.seconds)
        if lane is not None:
            lane.slow_path = self
            lane.logs_access = access_log

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> LimitedChannel | LaneConnection:
        """What a connection begins with. (It stays a Site: TLS asks it for its protocols.)"""
        return self.build_for(host_of(addr))

    def build_for(self, host: str) -> LimitedChannel | LaneConnection:
        """What a connection begins with that comes from an address; empty where that isn't known.

        See `twisted_internals.accept_directly`.
        """
        if not self.connections.admit(host):
            return self._build(OverLimitChannel)
        return self.build_channel() if self.lane is None else LaneConnection(self.lane)

    def connection_over(self, connection: PeerConnection) -> None:
        """A connection that was admitted is over."""
        self.connections.left(host_of(connection.getPeer()))

    def part(self) -> None:
        """Let each connection end with the answer to its next request, which says so."""
        self.is_parting = True
        if self.lane is not None:
            self.lane.part()

    def close_idle(self, transports: Iterable[object]) -> None:
        """Close those connections of ours that have no request, and from now on those that have
        been answered.

        :param transports: any, ours among them.
        """
        self.is_leaving = True
        if self.lane is not None:
            self.lane.leave()
        for transport in transports:
            protocol = getattr(transport, "protocol", None)
            # TLS is between.
            protocol = getattr(protocol, "wrappedProtocol", protocol)
            if isinstance(protocol, LimitedChannel | LaneConnection):
                protocol.close_when_idle()

    def build_channel(self) -> LimitedChannel:
        """A channel, which reads whatever HTTP/1.1 allows."""
        return self._build(LimitedChannel)

    def _build(self, kind: type[LimitedChannel]) -> LimitedChannel:
        self.protocol = kind  # type: ignore[assignment]
        channel: LimitedChannel = super().buildProtocol(None)
        channel.requestFactory = kind.requestFactory
        return channel

    def acceptableProtocols(self) -> list[bytes]:
        """What TLS may agree upon: our channels speak HTTP/1.1, whatever else is installed."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Nothing to open: the log is the daemon's own."""

    def stopFactory(self) -> None:
        """Nothing to close."""

    def log(self, request: Request) -> None:
        """See `log_access`."""
        assert isinstance(request, LimitedRequest)
        self.log_access(request)

    def log_access(self, request: AnsweredRequest) -> None:
        """One line a response; tokens travel in queries and headers, so neither is in it, nor are
        codes that are part of a path.

        A line costs as much as many an answer, so that there are none unless they are asked for.
        """
        if not self._logs_access:
            return
        self._access_log.debug(
            "{method} {path} {status} {size} {milliseconds:.1f} ms",
            method=request.method.decode("ascii", "replace"),
            path=shown_path(request.path),
            status=request.code,
            size=request.sentLength,
            milliseconds=(self.reaper.seconds() - request.began) * 1000,
        )


#: Where what comes next lets somebody in.
_CODES = re.compile(rb"^(/(?:api/v1/invites|claim|invite|link)/+)[^/]+", re.IGNORECASE)


def shown_path(path: bytes) -> str:
    """A path as the log may have it: without what lets somebody in."""
    if b"%" in path:
        # It may spell anything; what it spells is not for the log where it spells this.
        plain = unquote_to_bytes(path)
        path = plain if _CODES.match(plain) else path
    return _CODES.sub(rb"\1...", path).decode("ascii", "replace")
