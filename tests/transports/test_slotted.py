"""Where a connection may change hands, and connections without a dict: all of it by real ones.

A new Twisted that changes what the fast lane relies on fails here.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import tcp as twisted_tcp
from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.web.resource import Resource

from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.refusals import Form
from cometd_chat.web.site import ChatSite
from tests.net import MemoryNet
from tests.servers import MUCH, Servers, reactor, shake_hands, spin_until, take, tls_context


@pytest.fixture
def servers() -> Iterator[Servers]:
    made = Servers()
    yield made
    made.close()


class Nothing(Resource):
    """Answers with nothing."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b""


class Producer:
    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class TestSwapping:
    """What the fast lane needs to know of a channel, and of what it is on."""

    @pytest.fixture
    def channel(self) -> Iterator[Any]:
        """A channel that has answered a request, on a connection in memory."""
        clock = MemoryReactorClock()
        site = ChatSite(Nothing(), lambda error, html: Form(b"", b""), clock, Reaper(clock))
        with MemoryNet(site) as net:
            connection = net.connect()
            response = connection.request("GET", "/")
            assert response.complete
            assert twisted_internals.is_at_rest(connection.channel)
            yield connection.channel

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("requests", [object()]),
            ("_handlingRequest", True),
            ("_busyReceiving", True),
            ("_waitingForTransport", True),
            ("_buffer", b"G"),
            ("_dataBuffer", [b"G"]),
            ("paused", True),
            ("line_mode", 0),
            ("_HTTPChannel__first_line", 0),
            ("_HTTPChannel__first_line", 2),
            ("persistent", False),
        ],
    )
    def test_a_channel_is_at_rest_when_nothing_is_left(
        self, channel: Any, name: str, value: object
    ) -> None:
        # That the name is there at all is what a new Twisted could change.
        before = getattr(channel, name)
        setattr(channel, name, value)
        assert not twisted_internals.is_at_rest(channel)
        setattr(channel, name, before)
        assert twisted_internals.is_at_rest(channel)

    @pytest.mark.parametrize(
        ("data", "at_rest"),
        [
            (b"GET", False),
            (b"GET / HTTP/1.1\r\n", False),
            (b"GET / HTTP/1.1\r\nHost: h\r\n", False),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nh", False),
            (b"\r\n", False),
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\nG", False),
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", True),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", True),
        ],
    )
    def test_a_real_one_is(self, channel: Any, data: bytes, at_rest: bool) -> None:
        channel.dataReceived(data)
        assert not twisted_internals.is_at_rest(channel), "an answer has yet to leave"
        while channel.transport.dataBuffer or channel.transport._tempDataLen:
            channel.transport.doWrite()
        assert twisted_internals.is_at_rest(channel) is at_rest

    def test_not_when_it_closes_or_is_another(self, channel: Any) -> None:
        transport = channel.transport
        twisted_internals.install(transport, object())
        assert not twisted_internals.is_at_rest(channel)
        twisted_internals.install(transport, channel)
        channel.loseConnection()
        assert not twisted_internals.is_at_rest(channel)

    def test_what_is_installed_gets_what_comes(self, servers: Servers) -> None:
        port = reactor.listenTCP(0, servers.factory(), interface="127.0.0.1")
        client = socket.socket()
        transport = servers.connected(port, client, ("127.0.0.1", port.getHost().port))
        got: list[bytes] = []
        protocol: Any = Protocol()
        protocol.dataReceived = got.append
        twisted_internals.install(transport, protocol)
        client.send(b"hi")
        spin_until(lambda: got)
        assert got == [b"hi"]

    @pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
    def test_on_tls_too(self, servers: Servers) -> None:
        server_context, client_context = tls_context()
        port = reactor.listenSSL(0, servers.factory(), server_context, interface="127.0.0.1")
        plain = socket.socket()
        transport = servers.connected(port, plain, ("127.0.0.1", port.getHost().port))
        client = client_context.wrap_socket(plain, do_handshake_on_connect=False)
        servers.closing.append(client.close)
        shake_hands(client)
        got: list[bytes] = []
        protocol: Any = Protocol()
        protocol.dataReceived = got.append
        twisted_internals.install(transport, protocol)
        client.send(b"hi")
        spin_until(lambda: got)
        assert got == [b"hi"]
        assert not twisted_internals.takes_bytes(transport)


class TestLean:
    """Connections without a dict: everything that Twisted does with them is as before."""

    @pytest.fixture(params=["tcp", "unix"])
    def lean(
        self, request: pytest.FixtureRequest, servers: Servers, tmp_path: Path
    ) -> tuple[Any, socket.socket]:
        factory = servers.factory()
        if request.param == "tcp":
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
            client = socket.socket()
            address: Any = ("127.0.0.1", port.getHost().port)
        else:
            port = reactor.listenUNIX(str(tmp_path / "s"), factory)
            client, address = socket.socket(socket.AF_UNIX), str(tmp_path / "s")
        twisted_internals.use_slotted_transports(port, factory)
        return servers.connected(port, client, address), client

    def test_has_no_dict(self, lean: tuple[Any, socket.socket]) -> None:
        transport, client = lean
        slotted = (twisted_internals.SlottedServer, twisted_internals.SlottedUnixServer)
        assert type(transport) in slotted
        client.send(b"x")
        transport.write(b"y" * 1000)
        transport.registerProducer(Producer(), True)
        transport.unregisterProducer()
        spin_until(lambda: take(client, 1000) == 1000)
        assert vars(transport) == {}
        assert twisted_internals.takes_bytes(transport)

    def test_tells_who_is_there(self, lean: tuple[Any, socket.socket]) -> None:
        transport, client = lean
        host, peer = transport.getHost(), transport.getPeer()
        assert type(host) is type(peer)
        if isinstance(peer, IPv4Address):
            assert (peer.host, peer.port) == client.getsockname()
            assert transport.getTcpNoDelay() is False
        assert "http" in repr(transport)
        # The peer's address is in neither of the two.
        assert "127.0.0.1" not in transport.logPrefix() + repr(transport)

    def test_writes_much_and_pauses_its_producer(self, lean: tuple[Any, socket.socket]) -> None:
        transport, client = lean
        producer = Producer()
        transport.registerProducer(producer, True)
        transport.write(b"x" * MUCH)
        assert producer.told == ["pause"]
        taken = 0

        def all_taken() -> bool:
            nonlocal taken
            taken += take(client, MUCH)
            return taken == MUCH

        spin_until(all_taken)
        spin_until(lambda: producer.told == ["pause", "resume"])
        assert twisted_internals.behind(transport) == 0

    @pytest.mark.parametrize("way", ["loseConnection", "abortConnection"])
    def test_closes(self, lean: tuple[Any, socket.socket], way: str) -> None:
        transport, _ = lean
        lost: list[object] = []
        transport.protocol.connectionLost = lost.append
        getattr(transport, way)()
        spin_until(lambda: lost)
        assert transport.disconnected
        assert not transport.connected
        # Twisted's own sign that it has been told.
        assert not hasattr(transport, "socket")
        assert not hasattr(transport, "protocol")

    def test_closes_its_half(self, lean: tuple[Any, socket.socket]) -> None:
        transport, client = lean
        transport.write(b"hi")
        transport.loseWriteConnection()
        got: list[bytes] = []

        def ended() -> bool:
            with suppress(BlockingIOError):
                got.append(client.recv(10))
            return got[-1:] == [b""]

        spin_until(ended)
        assert b"".join(got) == b"hi"

    def test_a_port_of_another_factory_stays_what_it_is(self, servers: Servers) -> None:
        port = reactor.listenTCP(0, servers.factory(), interface="127.0.0.1")
        servers.closing.append(port.stopListening)
        twisted_internals.use_slotted_transports(port, object())
        assert port.transport is twisted_tcp.Server
        twisted_internals.use_slotted_transports(object(), object())
