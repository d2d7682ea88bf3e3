"""What Twisted's private names and the kernel tell of real sockets: the numbers add up.

A new Twisted that renames one of those names fails here, and not by readers who are never cut.
"""

from __future__ import annotations

import errno
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from cometd_chat.transports import twisted_internals
from cometd_chat.transports.twisted_internals import looking
from tests.servers import MUCH, Servers, reactor, shake_hands, spin_until, take, tls_context


@pytest.fixture
def servers() -> Iterator[Servers]:
    made = Servers()
    yield made
    made.close()


@pytest.fixture
def tcp(servers: Servers) -> tuple[Any, socket.socket]:
    """The server's transport and the client's socket of a TCP connection."""
    port = reactor.listenTCP(0, servers.factory(), interface="127.0.0.1")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    transport = servers.connected(port, client, ("127.0.0.1", port.getHost().port))
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    return transport, client


class TestTcp:
    def test_nothing_written_is_nothing_behind(self, tcp: tuple[Any, socket.socket]) -> None:
        assert twisted_internals.behind(tcp[0]) == 0

    def test_what_was_just_written_waits_in_the_process(
        self, tcp: tuple[Any, socket.socket]
    ) -> None:
        transport, _ = tcp
        transport.write(b"x" * 1000)
        transport.writeSequence([b"y" * 500, b"z" * 500])
        assert twisted_internals.unsent(transport) == 2000
        assert twisted_internals.unacknowledged(transport) == 0

    def test_every_byte_is_here_or_in_the_kernel_or_at_the_peer(
        self, tcp: tuple[Any, socket.socket]
    ) -> None:
        transport, _ = tcp
        transport.write(b"x" * MUCH)
        spin_until(lambda: twisted_internals.unacknowledged(transport) > 0)
        for _ in range(20):
            reactor.iterate(0.001)
        # Twisted keeps what it sent of a large buffer until it is done: `offset` counts that.
        transport.write(b"y" * 1000)
        unsent, unacknowledged = (
            twisted_internals.unsent(transport),
            twisted_internals.unacknowledged(transport),
        )
        assert 0 < unacknowledged < MUCH
        assert 0 < unsent < MUCH + 1000
        # The peer's kernel has acknowledged the rest, which nobody has read.
        there = MUCH + 1000 - unsent - unacknowledged
        assert 0 < there < 2**20
        assert twisted_internals.behind(transport) == unsent + unacknowledged

    def test_what_was_not_sent_is_let_go(self, tcp: tuple[Any, socket.socket]) -> None:
        transport, _ = tcp
        transport.write(b"x" * MUCH)
        spin_until(lambda: twisted_internals.unacknowledged(transport) > 0)
        transport.write(b"y" * 1000)
        transport.abortConnection()
        twisted_internals.forget_unsent(transport)
        assert twisted_internals.unsent(transport) == 0
        assert not transport.dataBuffer
        assert not transport._tempDataBuffer
        spin_until(lambda: not transport.connected)

    def test_reading_brings_it_down_to_nothing(self, tcp: tuple[Any, socket.socket]) -> None:
        transport, client = tcp
        transport.write(b"x" * MUCH)
        taken = 0

        def all_taken() -> bool:
            nonlocal taken
            taken += take(client, MUCH)
            assert twisted_internals.behind(transport) <= MUCH - taken
            return taken == MUCH

        spin_until(all_taken)
        spin_until(lambda: twisted_internals.behind(transport) == 0)

    def test_a_closed_connection_is_not_behind(self, tcp: tuple[Any, socket.socket]) -> None:
        transport, _ = tcp
        transport.abortConnection()
        spin_until(lambda: not transport.connected)
        assert twisted_internals.unacknowledged(transport) == 0
        assert not twisted_internals.is_broken(transport)
        assert not twisted_internals.notice_end(transport)
        assert twisted_internals.acknowledged_ago(transport) == 0

    def test_how_long_ago_anything_was_acknowledged(self, tcp: tuple[Any, socket.socket]) -> None:
        transport, client = tcp
        began = time.monotonic()
        spin_until(lambda: twisted_internals.acknowledged_ago(transport) >= 0.05)
        assert twisted_internals.acknowledged_ago(transport) <= time.monotonic() - began + 1
        transport.write(b"x")
        spin_until(lambda: take(client, 1))
        spin_until(lambda: twisted_internals.acknowledged_ago(transport) < 0.05)


class TestUnix:
    def test_numbers_are_sane(self, servers: Servers, tmp_path: Any) -> None:
        path = str(tmp_path / "s")
        port = reactor.listenUNIX(path, servers.factory())
        client = socket.socket(socket.AF_UNIX)
        transport = servers.connected(port, client, path)
        assert twisted_internals.behind(transport) == 0
        transport.write(b"x" * MUCH)
        assert twisted_internals.unsent(transport) == MUCH
        spin_until(lambda: twisted_internals.unsent(transport) < MUCH)
        # The kernel counts its own overhead here, too: more than what was sent, less than double.
        sent = MUCH - twisted_internals.unsent(transport)
        assert sent <= twisted_internals.unacknowledged(transport) <= 4 * sent
        taken = 0

        def all_taken() -> bool:
            nonlocal taken
            taken += take(client, MUCH)
            return taken == MUCH

        spin_until(all_taken)
        spin_until(lambda: twisted_internals.behind(transport) == 0)


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
class TestTls:
    @pytest.fixture
    def tls(self, servers: Servers) -> tuple[Any, ssl.SSLSocket]:
        """The server's transport and the client's socket, before they shake hands."""
        server_context, client_context = tls_context()
        port = reactor.listenSSL(0, servers.factory(), server_context, interface="127.0.0.1")
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        transport = servers.connected(port, plain, ("127.0.0.1", port.getHost().port))
        client = client_context.wrap_socket(plain, do_handshake_on_connect=False)
        servers.closing.append(client.close)
        return transport, client

    def test_numbers_are_sane(self, tls: tuple[Any, ssl.SSLSocket]) -> None:
        transport, client = tls
        shake_hands(client)
        spin_until(lambda: twisted_internals.behind(transport) == 0)
        transport.write(b"x" * MUCH)
        # Once here, once encrypted: nothing is counted twice and nothing is forgotten.
        assert MUCH <= twisted_internals.behind(transport) < MUCH * 1.1
        for _ in range(20):
            reactor.iterate(0.001)
        assert twisted_internals.unacknowledged(transport) > 0
        assert MUCH // 2 < twisted_internals.behind(transport) < MUCH * 1.1
        taken = 0

        def all_taken() -> bool:
            nonlocal taken
            taken += take(client, MUCH)
            return taken == MUCH

        spin_until(all_taken)
        spin_until(lambda: twisted_internals.behind(transport) == 0)

    def test_what_was_not_sent_is_let_go(self, tls: tuple[Any, ssl.SSLSocket]) -> None:
        transport, _ = tls
        transport.write(b"x" * 1000)
        reactor.iterate(0)
        transport.write(b"y" * 1000)
        transport.abortConnection()
        twisted_internals.forget_unsent(transport)
        assert twisted_internals.unsent(transport) == 0

    def test_what_tls_gathers_and_holds_back_counts(self, tls: tuple[Any, ssl.SSLSocket]) -> None:
        """Small writes wait for the reactor's next turn, and all for the end of the handshake."""
        transport, client = tls
        transport.write(b"x" * 1000)
        assert transport._aggregator._buffer
        assert twisted_internals.unsent(transport) == 1000
        reactor.iterate(0)
        assert transport._appSendBuffer
        assert twisted_internals.unsent(transport) == 1000
        transport.write(b"y" * 1000)
        assert twisted_internals.unsent(transport) == 2000
        shake_hands(client)
        spin_until(lambda: take(client, 2000) == 2000)
        spin_until(lambda: twisted_internals.behind(transport) == 0)


class TestWhatIsNotKnown:
    def test_is_nothing(self) -> None:
        assert twisted_internals.behind(StringTransport()) == 0
        assert twisted_internals.behind(object()) == 0
        nothing: Any
        for nothing in (StringTransport(), object()):
            assert not twisted_internals.is_broken(nothing)
            assert not twisted_internals.notice_end(nothing)
            assert twisted_internals.acknowledged_ago(nothing) == 0

    def test_is_nothing_where_the_system_does_not_tell(
        self, tcp: tuple[Any, socket.socket], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(looking, "ioctl", None)
        monkeypatch.setattr(looking, "_TCP_INFO", None)
        tcp[0].write(b"x")
        assert twisted_internals.behind(tcp[0]) == 1
        spin_until(lambda: twisted_internals.behind(tcp[0]) == 0)
        assert twisted_internals.acknowledged_ago(tcp[0]) == 0


class Told(Protocol):
    """Writes down what its transport tells it."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._told.append("lost")


@implementer(IHalfCloseableProtocol)
class ToldOfHalves(Told):
    def readConnectionLost(self) -> None:
        self._told.append("half")

    def writeConnectionLost(self) -> None:
        """Never closed alone."""


def told_by(transport: Any, kind: type[Told] = ToldOfHalves) -> list[str]:
    """What a transport, which is not read from now, will have told."""
    told: list[str] = []
    transport.protocol = kind(told)
    transport.pauseProducing()
    return told


def spin() -> None:
    """Let the reactor do what it has to do."""
    for _ in range(20):
        reactor.iterate(0.001)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.fixture(params=["tcp", "unix"])
def plain(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Any
) -> tuple[Any, socket.socket]:
    """The server's transport and the client's socket of a plain connection."""
    if request.param == "tcp":
        pair: tuple[Any, socket.socket] = request.getfixturevalue("tcp")
        return pair
    path = str(tmp_path / "s")
    port = reactor.listenUNIX(path, servers.factory())
    client = socket.socket(socket.AF_UNIX)
    return servers.connected(port, client, path), client


class TestAPeerThatGoesWhileItIsNotRead:
    """More waits unread than anybody will read; behind it comes the end."""

    def test_is_not_noticed_by_the_reactor(self, plain: tuple[Any, socket.socket]) -> None:
        transport, client = plain
        told = told_by(transport)
        client.sendall(b"x" * 1000)
        client.close()
        spin()
        assert told == []

    def test_is_there_until_it_goes(self, plain: tuple[Any, socket.socket]) -> None:
        transport, client = plain
        told = told_by(transport)
        client.sendall(b"x" * 1000)
        assert not twisted_internals.notice_end(transport)
        assert not twisted_internals.is_broken(transport)
        spin()
        assert told == []

    def test_is_told_of_a_half_that_was_closed(self, plain: tuple[Any, socket.socket]) -> None:
        transport, client = plain
        told = told_by(transport)
        client.sendall(b"x" * 1000)
        client.shutdown(socket.SHUT_WR)
        spin_until(lambda: twisted_internals.notice_end(transport))
        assert told == ["half"]
        assert not twisted_internals.is_broken(transport), "it may be listening yet"

    def test_is_lost_where_halves_are_nothing(self, plain: tuple[Any, socket.socket]) -> None:
        transport, client = plain
        told = told_by(transport, Told)
        client.sendall(b"x" * 1000)
        client.shutdown(socket.SHUT_WR)
        spin_until(lambda: twisted_internals.notice_end(transport))
        assert told == ["lost"]

    def test_keeps_what_will_be_read(self, plain: tuple[Any, socket.socket]) -> None:
        transport, client = plain
        told = told_by(transport)
        client.sendall(b"x" * 1000)
        client.shutdown(socket.SHUT_WR)
        spin()
        assert not twisted_internals.notice_end(transport, reads_on=True)
        assert told == []

    @pytest.mark.parametrize("reads_on", [False, True])
    def test_is_lost_by_a_reset(self, plain: tuple[Any, socket.socket], reads_on: bool) -> None:
        transport, client = plain
        told = told_by(transport)
        client.sendall(b"x" * 1000)
        reset(client)
        spin_until(lambda: twisted_internals.is_broken(transport))
        assert twisted_internals.notice_end(transport, reads_on=reads_on)
        assert told == [], "whoever looks may be in the middle of something"
        spin_until(lambda: told == ["lost"])

    def test_is_lost_by_what_is_sent_to_it(self, plain: tuple[Any, socket.socket]) -> None:
        transport, client = plain
        told = told_by(transport)
        reset(client)
        spin_until(lambda: twisted_internals.is_broken(transport))
        twisted_internals.send(transport, b"x")
        twisted_internals.send(transport, b"y")
        assert told == []
        spin_until(lambda: told == ["lost"])

    @pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
    def test_through_tls(self, servers: Servers) -> None:
        server_context, client_context = tls_context()
        port = reactor.listenSSL(0, servers.factory(), server_context, interface="127.0.0.1")
        bare = socket.socket()
        transport = servers.connected(port, bare, ("127.0.0.1", port.getHost().port))
        # Twisted can't abort what TLS is done with.
        servers.closing.remove(transport.abortConnection)
        client = client_context.wrap_socket(bare, do_handshake_on_connect=False)
        shake_hands(client)
        told: list[str] = []
        transport.wrappedProtocol = Told(told)
        transport.pauseProducing()
        client.send(b"x" * 1000)
        assert not twisted_internals.notice_end(transport)
        client.close()
        spin_until(lambda: twisted_internals.notice_end(transport))
        spin_until(lambda: told == ["lost"])

    def test_what_the_kernel_can_not_take_just_now_waits(
        self, tcp: tuple[Any, socket.socket], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transport, client = tcp

        class Full:
            def send(self, data: bytes) -> int:
                raise OSError(errno.ENOBUFS, "no buffers")

        with monkeypatch.context() as patched:
            patched.setattr(transport, "socket", Full())
            twisted_internals.send(transport, b"xyz")
        assert twisted_internals.unsent(transport) == 3
        spin_until(lambda: take(client, 3) == 3)


class TestAccepting:
    def test_few_connections_in_one_turn_however_many_wait(self) -> None:
        accepted: list[Any] = []

        class Counted(Protocol):
            def connectionMade(self) -> None:
                accepted.append(self)

        factory = Factory.forProtocol(Counted)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=200)
        twisted_internals.accept_few(port)
        where = ("127.0.0.1", port.getHost().port)
        clients = [socket.create_connection(where) for _ in range(100)]
        try:
            turns = []
            while len(accepted) < len(clients):
                before = len(accepted)
                port.doRead()
                turns.append(len(accepted) - before)
            assert max(turns) == twisted_internals.ACCEPTS
        finally:
            for client in clients:
                client.close()
            port.stopListening()
            spin_until(lambda: all(not each.transport.connected for each in accepted))

    def test_what_is_no_port_of_tcp_stays_as_it_is(self) -> None:
        port = object()
        twisted_internals.accept_few(port)
        assert not hasattr(port, "doRead")
