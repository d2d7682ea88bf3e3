"""Connections without a dict.

What it is: Twisted's own transports for what was accepted, in a fifth of the memory.

What it may know: every attribute of theirs.

Invariant: each attribute has the value that Twisted gives it, but for those that name a connection
in Twisted's log, which nobody reads.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure

_DONE = Failure(CONNECTION_DONE)

#: What these are called in Twisted's log, all of them.
LOG_SYSTEM = "http"


class _Slotted:
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

    @property
    def disconnected(self) -> int:
        # It is connected from the beginning on, for it was accepted.
        return 0 if self.connected else 1

    @disconnected.setter
    def disconnected(self, value: int) -> None:
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
        return LOG_SYSTEM

    @logstr.setter
    def logstr(self, value: str) -> None:
        """Not kept."""

    @property
    def repstr(self) -> str:
        return "<a connection of http>"

    @repstr.setter
    def repstr(self, value: str) -> None:
        """Not kept."""


class SlottedServer(_Slotted, tcp.Server):  # type: ignore[misc]
    """A TCP connection that was accepted."""

    __slots__ = ()

    def __init__(
        self, sock: Any, protocol: Any, client: Any, server: Any, sessionno: int, reactor: Any
    ) -> None:
        # What the initializers of Twisted's classes do, but for what is not kept here.
        sock.setblocking(False)
        self.socket, self.protocol, self.server, self.reactor = sock, protocol, server, reactor
        self.client = client
        self.dataBuffer, self.offset = b"", 0
        self._waiting_pieces, self._tempDataLen = None, 0
        self.producer = None
        self.producerPaused = self.streamingProducer = False
        self.disconnecting = 0
        reactor.addReader(self)
        self.connected = 1

    def end(self) -> None:
        """Close now: the peer has closed, all that was written has left, and nobody produces more.

        As `connectionLost` does it, but for shutdown(2): when nothing is left to be read, close(2)
        says the same.
        """
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        protocol, socket = self.protocol, self.socket
        del self.protocol, self.socket
        self.connected = 0
        socket.close()
        protocol.connectionLost(_DONE)


class SlottedUnixServer(_Slotted, unix.Server):  # type: ignore[misc]
    """A connection that was accepted on a Unix socket."""

    __slots__ = ("_sendmsgQueue",)


def use_slotted_transports(port: object, factory: object) -> None:
    """Let the connections that a port accepts have no dict, when nothing is between them and us.

    :param factory: ours; a port of another one, as for TLS, stays what it is.
    """
    slotted = _SLOTTED.get(type(port))
    if slotted is not None and isinstance(port, tcp.Port) and port.factory is factory:
        port.transport = slotted


_SLOTTED: dict[type, type[tcp.Server]] = {tcp.Port: SlottedServer, unix.Port: SlottedUnixServer}
