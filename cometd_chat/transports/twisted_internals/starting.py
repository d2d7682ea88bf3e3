"""What the daemon sets up: ports, TLS, the log.

What it is: what endpoints, ports and observers are told that no argument of theirs says.

What it may know: names of Twisted's that `names` has in its table.

Invariant: where one is missing, Twisted's own behaviour is what is left.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet import tcp, unix
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.ssl import CertificateOptions
from twisted.logger import ILogObserver, LogPublisher

#: Connections that a port accepts in one turn. Of the time that somebody waits for their turn, what
#: takes the longest: each new connection sends a request at once, and may have something to catch
#: up with.
ACCEPTS = 16


def accept_few(port: object) -> None:
    """Let a port accept no more than `ACCEPTS` connections in one turn of the reactor.

    Twisted takes ever more in one turn as long as more are waiting. When thousands come back at
    once, whoever is connected already would wait until all of them have been served.
    """
    if not isinstance(port, tcp.Port):
        return

    def do_read() -> None:
        port.numberAccepts = min(getattr(port, "numberAccepts", ACCEPTS), ACCEPTS)
        type(port).doRead(port)

    port.doRead = do_read  # type: ignore[method-assign]


def adopt_unix(reactor: Any, listening: socket.socket, factory: IProtocolFactory) -> IListeningPort:
    """A port for a Unix socket that somebody else has made and may have yet. Twisted would set its
    mode to 666 and its queue to 50, and at the end remove its path.

    :param listening: it is the port's from now on.
    """
    port: Any = unix.Port(listening.getsockname(), factory, reactor=reactor)
    factory.doStart()
    port.socket, port.fileno = listening, listening.fileno
    port.connected, port.numberAccepts = True, ACCEPTS
    port._shouldShutdown = False  # For all who have it.
    port.connectionLost = partial(tcp.Port.connectionLost, port)
    port.startReading()
    adopted: IListeningPort = port
    return adopted


def leave_open(port: object) -> None:
    """Let a port close its socket at the end, and not end it for others who have it, too."""
    if isinstance(port, tcp.Port):
        port._shouldShutdown = False


def socket_path(endpoint: object) -> str | None:
    """Where an endpoint makes a Unix socket; None for any other one, and where that isn't known."""
    if not isinstance(endpoint, UNIXServerEndpoint):
        return None
    return getattr(endpoint, "_address", None)


def tls_options(endpoint: object) -> CertificateOptions | None:
    """How an endpoint speaks TLS; None for one that speaks none."""
    options = getattr(endpoint, "_sslContextFactory", None)
    return options if isinstance(options, CertificateOptions) else None


def set_tls(
    options: CertificateOptions,
    ciphers: Sequence[str],
    *,
    add: int,
    remove: int,
    context: type[SSL.Context] | None,
) -> None:
    """Set what the arguments of `CertificateOptions` don't.

    :param add: options of OpenSSL, and those to ``remove``.
    :param context: to be made instead of Twisted's; None to leave that.
    """
    options._cipherString = ":".join(ciphers)
    options._options = options._options & ~remove | add
    if context is not None:
        options._contextFactory = context


def observers(publisher: LogPublisher) -> list[ILogObserver]:
    """Those who hear a log now; none where Twisted doesn't tell."""
    return list(getattr(publisher, "_observers", ()))


def writes_to(observer: object, stream: object) -> bool:
    """Whether an observer of the log writes to just that stream."""
    return getattr(observer, "_outFile", None) is stream
