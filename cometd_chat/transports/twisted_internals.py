"""What Twisted's public interface does not tell about a connection.

What it is: the only place that reaches below it, guarded by ``tests/transports/test_below.py``.

What it may know: private names of Twisted's transports and Linux's socket ioctls.

Invariant: where a thing can't be known the answer is the harmless one, never an exception.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.logger import ILogObserver, LogPublisher
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ as SIOCOUTQ  # The same number on Linux, see tcp(7).
except ImportError:  # pragma: no cover - not a Unix
    ioctl = None  # type: ignore[assignment]


#: What poll(2) says of a connection that is broken: reset, given up, or closed by both sides.
_BROKEN = select.POLLERR | select.POLLHUP

#: What it says of one whose peer has closed its half; never, where the system doesn't tell.
_HALF_CLOSED: int = getattr(select, "POLLRDHUP", 0)

#: `struct tcp_info` of Linux up to the field that is read, which is tcpi_last_ack_recv.
_TCP_INFO = struct.Struct("56xI") if sys.platform == "linux" else None


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


def acknowledged_ago(transport: Any) -> float:
    """Seconds since the peer's TCP last acknowledged anything (TCP_INFO, tcp(7)).

    It says so to what asks whether a closed window has opened, too. 0 where the system doesn't
    tell, as for a Unix socket, whose peer can't vanish.
    """
    handle = getattr(_lowest(transport), "socket", None)
    if _TCP_INFO is None or handle is None:
        return 0
    try:
        told = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        (milliseconds,) = _TCP_INFO.unpack(told)
    except (OSError, struct.error):
        return 0
    return int(milliseconds) / 1000


def is_broken(transport: Any) -> bool:
    """Whether nothing that is written will arrive any more, as the kernel knows by now.

    The reactor knows it as well, but for a connection that it neither reads nor writes at the
    time. False where it can't be known.
    """
    return bool(_ends(transport) & _BROKEN)


def notice_end(transport: Any, *, reads_on: bool = False) -> bool:
    """End a connection whose peer has gone, which nobody tells while it is not read.

    A paused transport is in no poll of the reactor's: neither the peer's FIN nor its reset is
    heard, and what the kernel holds unread stands before the FIN.

    :param reads_on: whether what the peer sent before it closed its half will be read; the reactor
        finds the end of it then.
    :returns: whether it is gone.
    """
    ends = _ends(transport)
    if ends & _BROKEN:
        transport.abortConnection()
        return True
    if ends & _HALF_CLOSED and not reads_on:
        # As the reactor does when it reads the end.
        _lowest(transport).readConnectionLost(Failure(ConnectionDone()))
        return True
    return False


def _ends(transport: Any) -> int:
    """What poll(2) says of both ends of a socket, however much waits to be read from it."""
    fileno = getattr(transport, "fileno", None)
    if fileno is None:
        return 0
    try:
        poll = select.poll()
        poll.register(fileno(), _HALF_CLOSED)
        found = poll.poll(0)
    except (OSError, ValueError, TypeError):
        return 0
    ends = found[0][1] if found else 0
    # A descriptor that is closed belongs to a connection whose end has been told.
    return 0 if ends & select.POLLNVAL else ends


def _lowest(transport: Any) -> Any:
    """The transport that has the socket, below TLS and what else stands between."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


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
    except OSError as error:
        if error.errno not in _LATER:
            # Nobody else hears of it: the reactor may neither read nor write this connection. Its
            # protocol is told in the next turn; whoever writes may be in the middle of a fan-out.
            transport.abortConnection()
            return
        sent = 0
    if sent < len(data):
        transport.write(data[sent:])


#: The kernel can't take anything just now.
_LATER = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})


def is_sending(transport: Any) -> bool:
    """Whether anything waits in this process; of a transport of which `takes_bytes` is true."""
    return bool(transport.dataBuffer or transport._tempDataLen)


def pause_until_sent(transport: Any) -> bool:
    """Pause the producer of a transport until what was written has left this process.

    Transports pause it by themselves when that is more than 64 KiB, and only then tell it when it
    has left.

    :returns: whether it is paused: False when nothing waits, and where that can't be known.
    """
    tcp = _lowest(transport)
    producer = getattr(tcp, "producer", None)
    if producer is None or not getattr(tcp, "streamingProducer", False) or not unsent(transport):
        return False
    if not tcp.producerPaused:
        tcp.producerPaused = True
        producer.pauseProducing()
    return True


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


def is_of(transport: Any, protocol: Any) -> bool:
    """Whether a connection is a protocol's, and has not ended."""
    current = getattr(transport, "wrappedProtocol", None) or getattr(transport, "protocol", None)
    return current is protocol


def waits_for_request(channel: Any) -> bool:
    """Whether the next line that a channel of HTTP/1.1 reads is the first one of a request."""
    return channel.line_mode == 1 and bool(channel._HTTPChannel__first_line)


def line_before(channel: Any) -> bytes:
    """The last whole line of a head, which a channel keeps until it knows that it is not folded."""
    line: bytes = channel._HTTPChannel__header
    return line


class _Forgetful(list[bytearray]):
    """Takes what is of use to nobody."""

    def append(self, line: bytearray) -> None:
        """Keep nothing of it."""


def keep_no_trailers(channel: Any) -> None:
    """Drop what stands behind the last chunk of the body that ``channel`` begins to read.

    Nobody asks for it, and Twisted would keep 64 KiB of short lines as 1 MiB of objects.
    """
    if hasattr(channel._transferDecoder, "_trailerHeaders"):
        channel._transferDecoder._trailerHeaders = _Forgetful()


def undecoded(channel: Any) -> int:
    """Bytes of a body in chunks that are here, and are neither body nor dropped yet."""
    return len(getattr(channel._transferDecoder, "_buffer", b""))


def pass_through(request: Any) -> None:
    """Let a request send what is written to it as it is: its response has no head of Twisted's."""
    request.startedWriting = 1
    request.chunked = 0


def forget_body(channel: Any) -> None:
    """Let go of what reads the body.

    It and ``channel`` refer to each other, so that what it holds would stay until Python looks for
    such circles, which is seldom (`cometd_chat.daemon.gc_tuning`).
    """
    channel._transferDecoder = None


def forget_unsent(transport: Any) -> None:
    """Let go of what a connection that has ended was yet to send.

    Nobody will send it. What refers to the connection may stay for a while: requests, in circles
    with what handled them, for which Python looks seldom (`cometd_chat.daemon.gc_tuning`), and the
    sweep, which forgets in its own time.
    """
    if hasattr(transport, "_tlsConnection"):
        transport._appSendBuffer = []
        getattr(getattr(transport, "_aggregator", None), "_buffer", []).clear()
    tcp = _lowest(transport)
    if hasattr(tcp, "dataBuffer"):
        tcp.dataBuffer, tcp.offset = b"", 0
        tcp._tempDataBuffer, tcp._tempDataLen = [], 0


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


class _SlottedServer:
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


class LeanServer(_SlottedServer, tcp.Server):  # type: ignore[misc]
    """A TCP connection that was accepted."""

    __slots__ = ()


class LeanUnixServer(_SlottedServer, unix.Server):  # type: ignore[misc]
    """A connection that was accepted on a Unix socket."""

    __slots__ = ("_sendmsgQueue",)


def use_slotted_transports(port: Any, factory: object) -> None:
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
