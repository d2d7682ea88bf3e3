"""How far a peer is, and whether it is there.

What it is: questions about a connection that Twisted's public interface has no answer to.

What it may know: Linux's socket ioctls, and names of Twisted's that `names` has in its table.

Invariant: where a thing can't be known the answer is the harmless one, never an exception.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from cometd_chat.transports.twisted_internals.connection import PeerConnection

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


def unsent(transport: object) -> int:
    """Bytes that wait in this process because the kernel did not take them yet.

    On TLS these are what the TCP transport below holds, what TLS itself holds back, and the small
    writes that it gathers until the reactor's next turn.
    """
    tcp, waiting = transport, 0
    if isinstance(transport, TLSMemoryBIOProtocol):
        tcp = transport.transport
        gathered = getattr(getattr(transport, "_aggregator", None), "_buffer", ())
        held_back = getattr(transport, "_appSendBuffer", ())
        waiting = sum(map(len, gathered)) + sum(map(len, held_back))
    data_buffer = getattr(tcp, "dataBuffer", b"")
    offset = getattr(tcp, "offset", 0)
    return waiting + len(data_buffer) - offset + getattr(tcp, "_tempDataLen", 0)


def unacknowledged(transport: object) -> int:
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


def behind(transport: object) -> int:
    """How many bytes a peer is behind: what waits here, and what it has not acknowledged."""
    return unsent(transport) + unacknowledged(transport)


def acknowledged_ago(transport: object) -> float:
    """Seconds since the peer's TCP last acknowledged anything (TCP_INFO, tcp(7)).

    It says so to what asks whether a closed window has opened, too. 0 where the system doesn't
    tell, as for a Unix socket, whose peer can't vanish.
    """
    handle = getattr(lowest(transport), "socket", None)
    if _TCP_INFO is None or handle is None:
        return 0
    try:
        told = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        (milliseconds,) = _TCP_INFO.unpack(told)
    except (OSError, struct.error):
        return 0
    return int(milliseconds) / 1000


def is_broken(transport: object) -> bool:
    """Whether nothing that is written will arrive any more, as the kernel knows by now.

    The reactor knows it as well, but for a connection that it neither reads nor writes at the
    time. False where it can't be known.
    """
    return bool(_ends(transport) & _BROKEN)


def notice_end(transport: PeerConnection, *, reads_on: bool = False) -> bool:
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
        lowest(transport).readConnectionLost(Failure(ConnectionDone()))
        return True
    return False


def _ends(transport: object) -> int:
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


def lowest(transport: object) -> Any:
    """The transport that has the socket, below TLS and what else stands between."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
