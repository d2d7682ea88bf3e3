"""Twisted's HTTP/1.1, with public names for what a subclass has to see and to decide.

What it is: `OpenChannel` and `OpenRequest`, which are Twisted's and do what those do, and questions
about who has a connection.

What it may know: names of Twisted's channel and request that `names` has in its table.

Invariant: nothing is decided here.
"""

from __future__ import annotations

from typing import Any

from twisted.protocols.policies import ProtocolWrapper
from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from cometd_chat.transports.twisted_internals.connection import PeerConnection
from cometd_chat.transports.twisted_internals.sending import takes_bytes


class _Forgetful(list[bytearray]):
    """Takes what is of use to nobody."""

    def append(self, line: bytearray) -> None:
        """Keep nothing of it."""


class OpenRequest(Request):
    """A request, and what Twisted would answer by itself."""

    transport: PeerConnection  # type: ignore[assignment]

    def handle_star(self) -> None:
        """``OPTIONS *`` was asked. (Twisted's own answer is a 200, whatever the host.)"""
        super()._handleStar()

    def _handleStar(self) -> None:
        self.handle_star()

    def pass_through(self) -> None:
        """Send what is written as it is: the response has no head of Twisted's."""
        self.startedWriting = 1
        self.chunked = 0


class OpenChannel(HTTPChannel):
    """A channel that can be looked into."""

    #: What every connection that it is given is.
    transport: PeerConnection  # type: ignore[assignment]

    # -- the connection

    def only_read(self) -> None:
        """Nothing more is produced, and what the peer sends is read again."""
        producer: Any = self._networkProducer
        producer.unregisterProducer()
        producer.resumeProducing()

    # -- the head that is being read

    @property
    def awaits_request(self) -> bool:
        """Whether the next line that is read is the first one of a request."""
        return self.line_mode == 1 and bool(getattr(self, "_HTTPChannel__first_line", False))

    @property
    def unread(self) -> bytes:
        """What has come and is no whole line yet, or is behind the one that is at work."""
        return self._buffer

    @property
    def is_parsing(self) -> bool:
        """Whether a line is at work."""
        return bool(self._busyReceiving)

    @property
    def line_before(self) -> bytes:
        """The last whole line of a head, which is kept until it is known not to be folded."""
        line: bytes = getattr(self, "_HTTPChannel__header", b"")
        return line

    @property
    def header_size(self) -> int:
        """Bytes of the head that have come, ends of lines left out."""
        return self._receivedHeaderSize

    @property
    def header_count(self) -> int:
        """Fields of the head that have come."""
        return self._receivedHeaderCount

    @property
    def command(self) -> bytes:
        """The method of the request that is being read."""
        return self._command

    @property
    def target(self) -> bytes:
        """What it asks for."""
        return self._path

    @target.setter
    def target(self, target: bytes) -> None:
        self._path = target

    @property
    def version(self) -> bytes:
        """The version of HTTP that it is of."""
        return self._version

    # -- the body

    def takes_length(self, header: bytes, value: bytes) -> bool:
        """Whether a header may say how long the body is; else the request is no good."""
        return True

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if not self.takes_length(header, data):
            return bool(self._failChooseTransferDecoder())
        chosen = bool(super()._maybeChooseTransferDecoder(header, data))
        # Nobody asks for what stands behind the last chunk, and Twisted would keep 64 KiB of short
        # lines as 1 MiB of objects.
        decoder: Any = self._transferDecoder
        if hasattr(decoder, "_trailerHeaders"):
            decoder._trailerHeaders = _Forgetful()
        return chosen

    @property
    def undecoded(self) -> int:
        """Bytes of a body in chunks that are here, and are neither body nor dropped yet."""
        return len(getattr(self._transferDecoder, "_buffer", b""))

    def forget_body(self) -> None:
        """Let go of what reads the body.

        It and the channel refer to each other, so that what it holds would stay until Python looks
        for such circles, which is seldom (`cometd_chat.daemon.gc_tuning`).
        """
        self._transferDecoder = None

    # -- the request that is being answered

    @property
    def is_handling(self) -> bool:
        """Whether a request is being answered."""
        return bool(self._handlingRequest)

    @is_handling.setter
    def is_handling(self, handling: bool) -> None:
        self._handlingRequest = handling

    @property
    def waiting(self) -> list[bytes]:
        """What has come meanwhile."""
        return self._dataBuffer

    def take_waiting(self) -> list[bytes]:
        """The same, which is no longer kept."""
        waiting, self._dataBuffer = self._dataBuffer, []
        return waiting

    # -- what can't be parsed

    def bad_request(self) -> None:
        """The head is no good: answer it, and close."""
        super()._respondToBadRequestAndDisconnect()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.bad_request()


def install(connection: PeerConnection, protocol: Any) -> None:
    """Let another protocol have a connection from now on; it is not told of that here.

    TLS and what else stands between a socket and a protocol calls its own by another name.
    """
    transport: Any = connection
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol


def is_of(connection: object, protocol: object) -> bool:
    """Whether a connection is a protocol's, and has not ended."""
    current = getattr(connection, "wrappedProtocol", None) or getattr(connection, "protocol", None)
    return current is protocol


def is_at_rest(channel: HTTPChannel) -> bool:
    """Whether a channel is between two requests, and nothing waits anywhere: nothing is lost when
    another protocol takes its place."""
    transport: Any = channel.transport
    return (
        takes_bytes(transport)
        and transport.connected
        and transport.protocol is channel
        and not transport.disconnecting
        and not channel.requests
        and not channel._handlingRequest
        and not channel._busyReceiving
        and not channel._waitingForTransport
        and not channel._buffer
        and not channel._dataBuffer
        and not channel.paused
        and channel.line_mode == 1
        # 0 is inside of a head, 2 is after an empty line in front of one.
        and channel._HTTPChannel__first_line == 1
        and bool(channel.persistent)
    )
