"""Connections that come in, straight from the port to their protocol.

What it is: `accept_directly`, which gives a port of ours its own way to accept.

What it may know: names of Twisted's port that `names` has in its table.

Invariant: a turn accepts `ACCEPTS` connections at most. An error of one is logged, ends it, and
reaches no other.
"""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Protocol

from twisted.internet import tcp
from twisted.internet.main import CONNECTION_LOST
from twisted.python import context, log

from cometd_chat.transports.twisted_internals.names import EPOLL_REACTOR
from cometd_chat.transports.twisted_internals.reading import LOG_CONTEXT, deliver, end
from cometd_chat.transports.twisted_internals.slotted import SlottedServer
from cometd_chat.transports.twisted_internals.starting import ACCEPTS


class DirectFactory(Protocol):
    """What makes protocols."""

    def build_for(self, host: str) -> Any:
        """What a connection begins with, which comes from an address.

        When something has come with it, its ``begin(transport, data)`` is called instead of
        `makeConnection` and `dataReceived`, if it has one.
        """


def accept_directly(port: object, factory: DirectFactory) -> None:
    """Let a port accept without detours, when its connections are of `SlottedServer`.

    Who connects mostly sends its request at once, so that it is here by the time of accept(2): it
    is read before the reactor waits again, which would take a turn of its own for it. Small pieces
    are sent at once (TCP_NODELAY), which accepted sockets inherit from the one that listens (Linux,
    tcp(7)). Of Twisted's way are left out the address as an object and the numbering of
    connections, which nobody asks for. All of it takes 5 of 95 us off what it costs to accept and
    to send a stream's head.

    What can't be accepted for any other reason than that nobody is there, Twisted is left to judge.
    """
    if not isinstance(port, tcp.Port) or port.transport is not SlottedServer:
        return
    if EPOLL_REACTOR is None or type(port.reactor) is not EPOLL_REACTOR:
        return
    port.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    cautiously = port.doRead

    def do_read() -> None:
        if not context.call(LOG_CONTEXT, _accept, port, factory):
            cautiously()

    port.doRead = do_read  # type: ignore[method-assign]


def _accept(port: Any, factory: DirectFactory) -> bool:
    """Accept some, as far as there are, and let them begin; False when Twisted is to look.

    First all are accepted, and then all are read. To do both for one after the other takes 10 us
    of CPU a connection more, since a processor is quicker at what it has just done.
    """
    accepted: list[Any] = []
    is_clear = True
    for _ in range(ACCEPTS):
        try:
            client, address = port.socket.accept()
        except BlockingIOError:
            break
        except OSError:
            is_clear = False
            break
        try:
            accepted.append(_connection(port, factory, client, address))
        except BaseException:
            client.close()
            log.err()
    for connection in accepted:
        _begin(connection)
    return is_clear


def _connection(port: Any, factory: DirectFactory, client: socket.socket, address: Any) -> Any:
    if len(address) == 4 and address[3]:
        # One that only holds on one network: which one is part of its name, as in Twisted.
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        address = (socket.getnameinfo(address, flags)[0], *address[1:])
    protocol = factory.build_for(address[0])
    return SlottedServer(client, protocol, address, port, 0, port.reactor)


def _begin(connection: Any) -> None:
    """Let a connection begin, with what has come on it by now."""
    protocol, reactor = connection.protocol, connection.reactor
    lost = False
    try:
        data = connection.socket.recv(connection.bufferSize)
    except BlockingIOError:
        data = b""
    except OSError:
        data, lost = b"", True
    begin = getattr(protocol, "begin", None) if data else None
    if begin is not None:
        deliver(reactor, connection, partial(begin, connection), data)
        return
    deliver(reactor, connection, protocol.makeConnection, connection)
    if not connection.connected:
        return
    if data:
        deliver(reactor, connection, connection.protocol.dataReceived, data)
    elif lost:
        end(reactor, connection, CONNECTION_LOST)
    # That its peer has closed already, the reactor tells in its next turn.
