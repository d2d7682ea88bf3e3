"""A request by the slow path, which Klein routes.

What it is: Twisted's request, whose body has a bound and which can be held and upgraded, and what
it needs of the channel that it came on.

What it may know: Twisted's request, its channel and site. Not routes, not the chat.

Invariant: no more of a body than the limit is ever held.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from io import BytesIO

from twisted.internet.defer import Deferred

from cometd_chat.errors import BodyTooLarge, ChatError
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.body import IncomingBody
from cometd_chat.transports.receipt import Receipt
from cometd_chat.transports.request import InputReader, PeerListener, UpgradableRequest
from cometd_chat.transports.response_head import response_head
from cometd_chat.transports.site import ChannelSite
from cometd_chat.transports.twisted_internals import PeerConnection

#: The largest body that any route takes, in bytes.
MAX_BODY = 256 * 1024


def body_too_large() -> BodyTooLarge:
    """The error for one that is larger."""
    return BodyTooLarge(f"A body can have {MAX_BODY // 1024} KiB at most.")


class RequestChannel(twisted_internals.OpenChannel, ABC):
    """What a request needs of its channel."""

    site: ChannelSite

    #: Of the last answer, when somebody wants to know what becomes of it.
    receipt: Receipt | None = None

    @property
    @abstractmethod
    def passes_input(self) -> bool:
        """Whether what comes is for the request that is being answered; see `pass_input`."""

    @abstractmethod
    def pass_input(self, reader: InputReader) -> None:
        """From here on whatever comes is for ``reader``; the connection ends with the response."""

    @abstractmethod
    def body_came(self, size: int) -> None:
        """Some of a body was kept."""

    @abstractmethod
    def refuse(self, error: ChatError) -> None:
        """Answer before there is a route, and close the connection."""


class LimitedRequest(twisted_internals.OpenRequest):
    """A request whose body is counted while it arrives, and that can be held."""

    channel: RequestChannel
    content: BytesIO

    #: The body, when it is read while it arrives; None when the route waits for all of it.
    body: IncomingBody | None = None

    #: Waited for after the last words of a held response, before it is over.
    closing: Callable[[], Deferred[None]] | None = None

    _released: Deferred[None] | None = None

    def __init__(self, channel: RequestChannel, *args: object, **settings: object) -> None:
        super().__init__(channel, *args, **settings)
        #: When its first line came, for the access log.
        self.began = channel.site.reaper.seconds()

    @property
    def direct(self) -> PeerConnection | None:
        """See `HoldableRequest.direct`."""
        transport = self.transport
        allowed = self.channel.site.direct_write
        return transport if allowed and twisted_internals.takes_bytes(transport) else None

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

    def settled(self) -> LimitedRequest:
        """See `HoldableRequest.settled`."""
        return self

    def tell_drained(self, producer: object) -> None:
        """See `HoldableRequest.tell_drained`."""
        self.registerProducer(producer, True)

    def tell_no_more(self) -> None:
        """See `HoldableRequest.tell_no_more`."""
        with suppress(AttributeError):  # Twisted takes the channel from a request that is lost.
            self.unregisterProducer()

    def notice_end(self) -> bool:
        """See `HoldableRequest.notice_end`."""
        channel: RequestChannel | None = self.channel
        if channel is None:  # Twisted takes the channel from a request that is lost.
            return True
        reads_on = self.body is not None or channel.passes_input
        return twisted_internals.notice_end(self.transport, reads_on=reads_on)

    def receipt(self) -> Receipt:
        """See `HoldableRequest.receipt`."""
        receipt = self.channel.receipt = Receipt(self.transport)
        return receipt

    # -- see `request.HttpRequest`, and for what follows `request.UpgradableRequest`

    @property
    def memory(self) -> MutableMapping[object, object]:
        """Nothing is remembered here."""
        return {}

    @property
    def common(self) -> dict[object, object]:
        """Nor here."""
        return {}

    def repeatable(self) -> None:
        """No request stands here."""

    @property
    def upgradable(self) -> UpgradableRequest:
        """Any of them is."""
        return self

    def switch(self, headers: bytes) -> None:
        """Answer with 101, for which Twisted has no way of its own."""
        self.pass_through()
        self.write(response_head(101, b"Switching Protocols", [headers]))

    def pass_input(self, reader: InputReader) -> None:
        """Whatever comes is for ``reader``."""
        self.channel.pass_input(reader)

    def call_soon(self, call: Callable[[], None]) -> object:
        """Call something after the reactor's current turn."""
        return self.channel.callLater(0, call)

    def release(self) -> None:
        """A held response is complete."""
        assert self._released is not None
        self._released.callback(None)

    def cut(self) -> None:
        """Drop the connection: the response gets no proper end, and Klein must not give it one,
        which is cancelled by the loss of the connection, in a later turn of the reactor."""
        self.transport.abortConnection()

    def handle_star(self) -> None:
        """Let it go where all requests go."""
        self.render(self.channel.site.resource)

    def gotLength(self, length: int | None) -> None:
        # Twisted would put a large body into a file, and the reactor would wait for the disk.
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        if self.body is not None:
            if self.body.feed(data) > MAX_BODY:
                self.channel.loseConnection()
        elif self.content.tell() + len(data) > MAX_BODY:
            self.channel.refuse(body_too_large())
        else:
            self.channel.body_came(len(data))
            super().handleContentChunk(data)
