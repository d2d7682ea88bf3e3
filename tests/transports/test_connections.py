"""How many connections an address may have, and what becomes of one more."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports import over_limit, twisted_internals
from cometd_chat.transports.connections import Connections
from cometd_chat.transports.timeouts import HEAD, LINGER
from cometd_chat.web.site import ChatSite
from tests.channels import Echo, Net, refusal, render_refusal
from tests.servers import Servers, reactor, shake_hands, spin_until, tls_context

MOST = 3
ONE, OTHER = "192.0.2.7", "192.0.2.8"


class TestCounting:
    def test_each_address_has_so_many(self) -> None:
        connections = Connections(MOST)
        assert [connections.admit(ONE) for _ in range(MOST + 2)] == [True] * MOST + [False] * 2
        assert connections.admit(OTHER)
        assert (connections.open, connections.refused) == (MOST + 1, 2)
        connections.left(ONE)
        assert connections.admit(ONE)
        for _ in range(MOST):
            connections.left(ONE)
        connections.left(OTHER)
        assert connections.open == 0
        assert not connections._by_address

    def test_a_network_of_ipv6_is_one_address(self) -> None:
        connections = Connections(MOST)
        assert all(connections.admit(f"2001:db8::{number:x}") for number in range(MOST))
        assert not connections.admit("2001:db8::ffff")
        assert connections.admit("2001:db8:0:1::1")
        connections.left("2001:db8::1")
        assert connections.admit("2001:db8::ffff")

    def test_an_address_of_ipv4_is_one_however_it_is_written(self) -> None:
        connections = Connections(1)
        assert connections.admit("::ffff:192.0.2.7")
        assert not connections.admit(ONE)

    @pytest.mark.parametrize("address", ["", ONE])
    def test_a_unix_socket_and_a_trusted_proxy_are_not_counted(self, address: str) -> None:
        connections = Connections(MOST, lambda each: each == ONE)
        assert all(connections.admit(address) for _ in range(100))
        for _ in range(100):
            connections.left(address)
        assert connections.open == 0

    def test_without_a_bound_there_are_any_number(self) -> None:
        connections = Connections()
        assert all(connections.admit(ONE) for _ in range(1000))
        assert connections.open == 1000
        assert not connections._by_address


class TestOneMore:
    @pytest.fixture(params=[True, False], ids=["lane", "klein"])
    def net(self, request: pytest.FixtureRequest) -> Iterator[Net]:
        with Net(lane=request.param) as made:
            site: ChatSite = made.factory
            site.connections.most = MOST
            yield made

    def test_is_told_so_and_closed(self, net: Net) -> None:
        there = [net.connect() for _ in range(MOST)]
        refused = net.connect()
        response = refused.request("POST", "/", body=b"x" * 1000)
        assert f"{MOST} connections" in refusal(response, 429)["detail"]
        assert response.header("retry-after") == "5"
        for _ in range(10):
            refused.send(b"x" * 100_000)
        assert net.resource.bodies == []
        assert net.memory.held == 0
        net.advance(LINGER + 2)
        assert refused.closed
        assert not refused.socket.reset
        for each in there:
            assert each.request("GET", "/").text == "GET / 0"
        assert net.connect(OTHER).request("GET", "/").text == "GET / 0"

    @pytest.mark.parametrize(
        ("sent", "then"),
        [
            (b"", b""),
            (b"GET / HTTP/1.1\r\nX: ", b"x"),
            (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n", b"x" * 50_000),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        ],
    )
    def test_who_does_not_ask_in_time_is_closed_without_a_word(
        self, net: Net, sent: bytes, then: bytes
    ) -> None:
        for _ in range(MOST):
            net.connect()
        refused = net.connect()
        refused.send(sent)
        for _ in range(int(LINGER) + 1):
            assert not refused.socket.reset
            net.advance(1)
            refused.send(then)
            assert net.memory.held < 2000
        assert refused.closed
        assert refused.surplus == b""

    @pytest.mark.parametrize("way", ["closes", "resets", "is idle", "asks to close"])
    def test_one_that_ends_makes_room(self, net: Net, way: str) -> None:
        first, *_ = [net.connect() for _ in range(MOST)]
        first.request("GET", "/")
        if way == "closes":
            first.close()
        elif way == "resets":
            first.reset()
        elif way == "is idle":
            net.advance(63)
        else:
            first.request("GET", "/", headers={"Connection": "close"})
        assert first.closed
        assert net.connect().request("GET", "/").text == "GET / 0"

    def test_all_are_forgotten_in_the_end(self, net: Net) -> None:
        for _ in range(2 * MOST):
            net.connect().send(b"GET")
        net.advance(2 * HEAD)
        connections = net.factory.connections
        assert (connections.open, connections.lingering) == (0, 0)
        assert connections.refused == MOST

    def test_too_many_who_linger_are_cut(self, net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(over_limit, "MOST_LINGERING", 5)
        refused = [net.connect() for _ in range(MOST + 10)][MOST:]
        assert [each.socket.reset for each in refused] == [False] * 5 + [True] * 5
        net.advance(LINGER + 2)
        assert net.factory.connections.lingering == 0


class TestRealOnes:
    @pytest.fixture
    def site(self) -> ChatSite:
        clock = MemoryReactorClock()
        connections = Connections(MOST)
        return ChatSite(Echo(), render_refusal, clock, Reaper(clock), connections=connections)

    @pytest.fixture
    def servers(self) -> Iterator[Servers]:
        made = Servers()
        yield made
        made.close()

    def connect(self, servers: Servers, address: Any) -> socket.socket:
        client = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
        servers.closing.insert(0, client.close)
        client.connect(address)
        client.setblocking(False)
        return client

    @pytest.mark.parametrize("kind", ["tcp", "unix"])
    def test_are_counted_out_as_well(
        self, site: ChatSite, servers: Servers, kind: str, tmp_path: Path
    ) -> None:
        if kind == "tcp":
            port = reactor.listenTCP(0, site, interface="127.0.0.1")
            address: Any = ("127.0.0.1", port.getHost().port)
        else:
            port = reactor.listenUNIX(str(tmp_path / "s"), site)
            address = str(tmp_path / "s")
        twisted_internals.use_slotted_transports(port, site)
        servers.closing.append(port.stopListening)
        clients = [self.connect(servers, address) for _ in range(2 * MOST)]
        admitted = MOST if kind == "tcp" else 2 * MOST
        spin_until(lambda: site.connections.open + site.connections.refused == 2 * MOST)
        assert site.connections.open == admitted
        for client in clients:
            client.close()
        spin_until(lambda: not site.connections.open and not site.connections.lingering)

    @pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
    def test_over_tls(self, site: ChatSite, servers: Servers) -> None:
        server_context, context = tls_context()
        port = reactor.listenSSL(0, site, server_context, interface="127.0.0.1")
        servers.closing.append(port.stopListening)
        address = ("127.0.0.1", port.getHost().port)
        clients = []
        for _ in range(MOST + 1):
            client = self.connect(servers, address)
            clients.append(context.wrap_socket(client, do_handshake_on_connect=False))
            shake_hands(clients[-1])
            clients[-1].send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert site.connections.open == MOST
        told = bytearray()

        def read() -> bool:
            with suppress(ssl.SSLWantReadError):
                told.extend(clients[-1].recv(65536))
            return b"close one first" in told

        spin_until(read)
        for each in clients:
            each.close()
        spin_until(lambda: not site.connections.open and not site.connections.lingering)
