"""One connection too many of an address: whoever asks for something is told so.

What it is: a channel that answers no request but by a refusal.

What it may know: our channel.

Invariant: nothing of what is sent is kept, and it is over soon, whatever comes.
"""

from __future__ import annotations

from typing import Any

from twisted.web.http import HTTPChannel

from cometd_chat.errors import TooMany
from cometd_chat.transports.http import LimitedChannel
from cometd_chat.transports.limited_request import LimitedRequest
from cometd_chat.transports.timeouts import Phase

#: So many of them are listened to at a time, so that they read why. Others are cut.
MOST_LINGERING = 1024

#: Seconds after which one may come again.
RETRY = 5


class UnreadRequest(LimitedRequest):
    """A request whose body is dropped."""

    def handleContentChunk(self, data: bytes) -> None:
        """It is for nobody."""


class OverLimitChannel(LimitedChannel):
    """The connection.

    Who asks for something in time is told; who only connects, or trickles, is closed without a
    word, which nobody would read.
    """

    requestFactory: Any = UnreadRequest

    def connectionMade(self) -> None:
        super().connectionMade()
        connections = self.site.connections
        connections.lingering += 1
        if connections.lingering > MOST_LINGERING:
            self._cut()
            return
        self._timeouts.enter(Phase.LINGER)
        self._timeouts.watch()

    def _leave_site(self) -> None:
        self.site.connections.lingering -= 1

    def _go_back(self) -> None:
        """It was never the lane's."""

    def allHeadersReceived(self) -> None:
        # Neither does a route begin early, nor is there more time for a body.
        HTTPChannel.allHeadersReceived(self)

    def allContentReceived(self) -> None:
        most = self.site.connections.most
        detail = f"Your address has {most} connections: close one first."
        self.refuse(TooMany(detail, retry_after=RETRY))
