"""What Twisted's public interface does not tell about a connection.

What it is: the only place that reaches below it, guarded by ``tests/transports/test_below.py``.

What it may know: private names of Twisted's transports and Linux's socket ioctls.

Invariant: where a thing can't be known the answer is the harmless one, never an exception.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import ILogObserver, LogPublisher
from twisted.protocols.policies import ProtocolWrapper

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ as SIOCOUTQ  # The same number on Linux, see tcp(7).
except ImportError:  # pragma: no cover - not a Unix
    ioctl = None  # type: ignore[assignment]


#: None where the system hasn't got it.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)

#: The longest that it can be, in milliseconds: some weeks.
_LONGEST = 2**31 - 1


def unsent(transport: Any) -> int:
    """Bytes that wait in this process because the kernel did not take them yet.

    On TLS these are what the TCP transport below holds, what TLS itself holds back, and the small
    writes that it gathers until the reactor's next turn.
    """
    tcp, waiting = transport, 0
    if hasattr(transport, "_tlsConnection"):
        tcp = transport.transport
        gathered = getattr(getattr(transport, "_aggregator", None), "_buffer", ())
        held_back = getattr(transport, "_appSendBuffer", ())
        waiting = sum(map(len, gathered)) + sum(map(len, held_back))
    data_buffer = getattr(tcp, "dataBuffer", b"")
    offset = getattr(tcp, "offset", 0)
    return waiting + len(data_buffer) - offset + getattr(tcp, "_tempDataLen", 0)


def unacknowledged(transport: Any) -> int:
    """Bytes that the kernel took and the peer's TCP has not acknowledged (SIOCOUTQ, tcp(7)).

    On a Unix socket: that the peer has not read. 0 where the system doesn't tell.
    """
    fileno = getattr(transport, "fileno", None)
    if ioctl is None or fileno is None:
        return 0
    try:
        answer: bytes = ioctl(fileno(), SIOCOUTQ, b"\0\0\0\0")
    except (OSError, ValueError, TypeError):
        return 0
    (count,) = struct.unpack("i", answer)
    return int(count)


def behind(transport: Any) -> int:
    """How many bytes a peer is behind: what waits here, and what it has not acknowledged."""
    return unsent(transport) + unacknowledged(transport)


def takes_bytes(transport: Any) -> bool:
    """Whether `send` may go by the socket of a transport: plain TCP and Unix sockets."""
    return type(transport) in _PLAIN


def send(transport: Any, data: bytes) -> None:
    """Hand bytes to the kernel at once; what it does not take goes the ordinary way.

    `write` waits for the reactor's next turn, which costs more than the sending: a descriptor that
    is put into the poll and taken out again, and a copy. Here nothing may wait in the transport,
    or bytes would overtake each other, and it may not be about to close.

    :param transport: of which `takes_bytes` is true.
    """
    if (
        transport.dataBuffer
        or transport._tempDataLen
        or not transport.connected
        or transport.disconnecting
    ):
        transport.write(data)
        return
    try:
        sent = transport.socket.send(data)
    except BlockingIOError:
        sent = 0
    except OSError:
        # The peer is gone, as the reactor will find in its next turn and tell.
        return
    if sent < len(data):
        transport.write(data[sent:])


def set_user_timeout(transport: Any, seconds: float) -> None:
    """Let the kernel end a connection when something sent has not been acknowledged for so long.

    A peer that vanished says nothing, and the kernel goes on sending to it for a quarter of an
    hour. Only what was sent and waits is timed: a connection on which nothing is sent lives on.
    TCP_USER_TIMEOUT, see RFC 5482 and tcp(7). Nothing happens on a Unix socket, and where the
    system hasn't got it.

    :param seconds: 0 for the system's own time.
    """
    tcp = transport.transport if hasattr(transport, "_tlsConnection") else transport
    handle = getattr(tcp, "socket", None)
    if _USER_TIMEOUT is not None and handle is not None:
        milliseconds = min(round(seconds * 1000), _LONGEST)
        with suppress(OSError):
            handle.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, milliseconds)


def install(transport: Any, protocol: Any) -> None:
    """Let another protocol have a connection from now on; it is not told of that here.

    TLS and what else stands between a socket and a protocol calls its own by another name.
    """
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol


def observers(publisher: LogPublisher) -> list[ILogObserver]:
    """Those who hear a log now; none where Twisted doesn't tell."""
    return list(getattr(publisher, "_observers", ()))


def writes_to(observer: object, stream: object) -> bool:
    """Whether an observer of the log writes to just that stream."""
    return getattr(observer, "_outFile", None) is stream


def is_at_rest(channel: Any) -> bool:
    """Whether a channel of HTTP/1.1 is between two requests, and nothing waits anywhere: nothing
    is lost when another protocol takes its place."""
    transport = channel.transport
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


class _Lean:
    """A connection without a dict: most of what one costs at rest is its dict.

    Twisted's defaults are attributes of the class, which slots hide, so that they are set here
    first. Whatever else is set on one, as its end and an abort do, still goes into a dict.
    """

    __slots__ = (
        "_peer",
        "_peer_port",
        "_tempDataLen",
        "_waiting_pieces",
        "connected",
        "dataBuffer",
        "disconnecting",
        "offset",
        "producer",
        "producerPaused",
        "protocol",
        "reactor",
        "server",
        "socket",
        "streamingProducer",
    )

    socket: Any

    def __init__(self, *arguments: Any) -> None:
        self.connected = self.disconnecting = 0
        self.dataBuffer = b""
        self.offset = 0
        self.producer = None
        self.producerPaused = self.streamingProducer = False
        self._waiting_pieces: list[bytes] | None = None
        super().__init__(*arguments)

    # What Twisted keeps for each and mostly never needs: an empty list of pieces to be written, and
    # the bound method of a socket that the socket can be asked for.

    @property
    def _tempDataBuffer(self) -> list[bytes]:
        if self._waiting_pieces is None:
            self._waiting_pieces = []
        return self._waiting_pieces

    @_tempDataBuffer.setter
    def _tempDataBuffer(self, pieces: list[bytes]) -> None:
        self._waiting_pieces = pieces or None

    @property
    def fileno(self) -> Any:
        # After its end a connection has no socket, as it then has no `fileno` in Twisted.
        return self.socket.fileno

    @fileno.setter
    def fileno(self, fileno: object) -> None:
        """Not kept."""

    @fileno.deleter
    def fileno(self) -> None:
        """Not kept."""

    # The peer's address: a host and a port are half of what the pair of them is.

    @property
    def client(self) -> Any:
        return self._peer if self._peer_port is None else (self._peer, self._peer_port)

    @client.setter
    def client(self, address: tuple[Any, ...]) -> None:
        self._peer: Any = address
        self._peer_port: int | None = None
        if len(address) == 2 and address[1] is not None:
            self._peer, self._peer_port = address

    @property
    def hostname(self) -> Any:
        return self.client[0]

    @hostname.setter
    def hostname(self, value: object) -> None:
        """Not kept."""

    @property
    def _addressType(self) -> Any:
        return IPv4Address if len(self.client) == 2 else IPv6Address

    @_addressType.setter
    def _addressType(self, value: object) -> None:
        """Not kept."""

    # A number and two strings by which Twisted would know each connection in its log, the peer's
    # address in them: made for each, and never the same.

    @property
    def sessionno(self) -> int:
        return 0

    @sessionno.setter
    def sessionno(self, value: int) -> None:
        """Not kept."""

    @property
    def logstr(self) -> str:
        return "http"

    @logstr.setter
    def logstr(self, value: str) -> None:
        """Not kept."""

    @property
    def repstr(self) -> str:
        return "<a connection of http>"

    @repstr.setter
    def repstr(self, value: str) -> None:
        """Not kept."""


class LeanServer(_Lean, tcp.Server):  # type: ignore[misc]
    """A TCP connection that was accepted."""

    __slots__ = ()


class LeanUnixServer(_Lean, unix.Server):  # type: ignore[misc]
    """A connection that was accepted on a Unix socket."""

    __slots__ = ("_sendmsgQueue",)


def make_lean(port: Any, factory: object) -> None:
    """Let the connections that a port accepts be lean, when nothing is between them and us.

    :param factory: ours; a port of another one, as for TLS, stays what it is.
    """
    lean = _LEAN.get(type(port))
    if lean is not None and port.factory is factory:
        port.transport = lean


def accept_few(port: Any) -> None:
    """Let a port accept no more than `ACCEPTS` connections in one turn of the reactor.

    Twisted takes ever more in one turn as long as more are waiting. When thousands come back at
    once, whoever is connected already would wait until all of them have been served.
    """
    if not isinstance(port, tcp.Port):
        return

    def do_read() -> None:
        port.numberAccepts = min(port.numberAccepts, ACCEPTS)
        type(port).doRead(port)

    port.doRead = do_read  # type: ignore[method-assign]


#: Of the time that somebody waits for her turn, what takes the longest: each new connection sends
#: a request at once, and may have something to catch up with.
ACCEPTS = 16

_LEAN: dict[type, type] = {tcp.Port: LeanServer, unix.Port: LeanUnixServer}

#: Transports whose socket takes bytes as they are; a subclass may do anything to them (TLS is one
#: on older ways to start it), so that the type has to be one of these.
_PLAIN = frozenset({tcp.Server, unix.Server, LeanServer, LeanUnixServer})
