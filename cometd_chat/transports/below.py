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
