"""What goes out, past Twisted's buffers and in them.

What it is: `send`, which hands bytes to the kernel at once, and what becomes of those that wait.

What it may know: names of Twisted's transports that `names` has in its table.

Invariant: bytes leave in the order in which they were written, whichever way each took.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

from twisted.internet import tcp, unix
from twisted.protocols.tls import TLSMemoryBIOProtocol

from cometd_chat.transports.twisted_internals.connection import PeerConnection
from cometd_chat.transports.twisted_internals.looking import lowest, unsent
from cometd_chat.transports.twisted_internals.slotted import SlottedServer, SlottedUnixServer

#: Transports whose socket takes bytes as they are; a subclass may do anything to them (TLS is one
#: on older ways to start it), so that the type has to be one of these.
_PLAIN = frozenset({tcp.Server, unix.Server, SlottedServer, SlottedUnixServer})


def takes_bytes(transport: object) -> bool:
    """Whether `send` may go by the socket of a transport: plain TCP and Unix sockets."""
    return type(transport) in _PLAIN


def send(connection: PeerConnection, data: bytes) -> None:
    """Hand bytes to the kernel at once; what it does not take goes the ordinary way.

    `write` waits for the reactor's next turn, which costs more than the sending: a descriptor that
    is put into the poll and taken out again, and a copy. Here nothing may wait in the transport,
    or bytes would overtake each other, and it may not be about to close.

    :param connection: of which `takes_bytes` is true.
    """
    transport: Any = connection
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


def send_to_all(
    connections: Sequence[PeerConnection], data: bytes
) -> Sequence[tuple[int, Exception]]:
    """`send` for each of many, spelt out: a call for each would cost a twentieth of the sending.

    :returns: those that raised, by their places, and what.
    """
    size, index, failures = len(data), -1, []
    transport: Any
    for transport in connections:
        index += 1
        try:
            if (
                transport.dataBuffer
                or transport._tempDataLen
                or not transport.connected
                or transport.disconnecting
            ):
                transport.write(data)
                continue
            try:
                sent = transport.socket.send(data)
            except OSError as error:
                if error.errno not in _LATER:
                    transport.abortConnection()
                    continue
                sent = 0
            if sent < size:
                transport.write(data[sent:])
        except Exception as error:
            failures.append((index, error))
    return failures


#: The kernel can't take anything just now.
_LATER = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})


def is_sending(connection: PeerConnection) -> bool:
    """Whether anything waits in this process; of one of which `takes_bytes` is true."""
    transport: Any = connection
    return bool(transport.dataBuffer or transport._tempDataLen)


def close_after_peer(connection: PeerConnection) -> None:
    """Close a connection whose peer has closed its half, once all that was written has gone.

    Mostly it has, and then the connection ends in this call, where Twisted would first take it out
    of the poll, put it in again to see whether it can be written to, and end it in the next turn.

    :param connection: of which `takes_bytes` is true.
    """
    connection.unregisterProducer()
    if type(connection) is SlottedServer and not is_sending(connection):
        connection.end()
    else:
        connection.loseConnection()


def pause_until_sent(connection: PeerConnection) -> bool:
    """Pause the producer of a transport until what was written has left this process.

    Transports pause it by themselves when that is more than 64 KiB, and only then tell it when it
    has left.

    :returns: whether it is paused: False when nothing waits, and where that can't be known.
    """
    tcp = lowest(connection)
    producer = getattr(tcp, "producer", None)
    if producer is None or not getattr(tcp, "streamingProducer", False) or not unsent(connection):
        return False
    if not tcp.producerPaused:
        tcp.producerPaused = True
        producer.pauseProducing()
    return True


def forget_unsent(transport: object) -> None:
    """Let go of what a connection that has ended was yet to send.

    Nobody will send it. What refers to the connection may stay for a while: requests, in circles
    with what handled them, for which Python looks seldom (`cometd_chat.daemon.gc_tuning`), and the
    sweep, which forgets in its own time.
    """
    if isinstance(transport, TLSMemoryBIOProtocol):
        transport._appSendBuffer = []
        getattr(getattr(transport, "_aggregator", None), "_buffer", []).clear()
    tcp = lowest(transport)
    if hasattr(tcp, "dataBuffer"):
        tcp.dataBuffer, tcp.offset = b"", 0
        tcp._tempDataBuffer, tcp._tempDataLen = [], 0
