"""Straight from the port to the protocol: what a protocol hears of a new connection by it is what
Twisted tells it, but for being told at once.

Each test runs on both ways, with real sockets and a reactor of its own.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.logger import LogEvent

from cometd_chat.transports import twisted_internals
from tests.loops import Loop, Noting, Refused, ends_with, errors_logged, reset
from tests.memory import MemorySite

IPV6 = "::1"


@pytest.fixture(params=[False, True], ids=["twisted", "directly"])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    made = Loop(directly=request.param)
    yield made
    made.close()


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    with errors_logged() as events:
        yield events


class Beginning(Noting):
    """One that takes what came with its connection, where it is told both at once."""

    def begin(self, transport: Any, data: bytes) -> None:
        self.transport = transport
        self.ends.append("begun")
        self.dataReceived(data)


class TestBeginning:
    @pytest.mark.parametrize("host", ["127.0.0.1", IPV6])
    def test_what_was_sent_at_once_is_there_at_once(self, loop: Loop, host: str) -> None:
        port = loop.listen(Beginning, host=host)
        loop.call(port, b"hello")
        loop.spin_until(lambda: loop.protocols and loop.protocols[0].got)
        (protocol,) = loop.protocols
        assert protocol.got == b"hello"
        assert protocol.ends == (["begun"] if loop.directly else [])
        assert protocol.systems == [protocol.transport.logPrefix()]
        assert protocol.host == host

    def test_the_same_turn_accepts_and_reads(self) -> None:
        loop = Loop(directly=True)
        loop.call(loop.listen(), b"hello")
        loop.reactor.iterate(0.1)
        assert [protocol.got for protocol in loop.protocols] == [b"hello"]
        loop.close()

    def test_what_is_sent_later_comes_later(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen(Beginning))
        assert protocol.transport is not None
        loop.spin()
        assert protocol.got == b""
        client.sendall(b"hello")
        loop.spin_until(lambda: protocol.got)
        assert protocol.got == b"hello"
        assert protocol.ends == []

    def test_one_that_takes_no_data_with_it_is_told_one_after_the_other(self, loop: Loop) -> None:
        made: list[bytes] = []

        class Made(Noting):
            def connectionMade(self) -> None:
                made.append(self.got)

        loop.call(loop.listen(Made), b"hello")
        loop.spin_until(lambda: loop.protocols and loop.protocols[0].got)
        assert made == [b""]
        assert loop.protocols[0].got == b"hello"

    def test_closed_by_what_it_is_told_first(self, loop: Loop, logged: list[LogEvent]) -> None:
        class Closing(Noting):
            def connectionMade(self) -> None:
                transport: Any = self.transport
                transport.abortConnection()

        client = loop.call(loop.listen(Closing), b"hello")
        loop.spin_until(lambda: loop.protocols and loop.protocols[0].ends)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert logged == []

    def test_closed_before_anybody_looked(self, loop: Loop) -> None:
        loop.call(loop.listen(), b"hello").close()
        loop.spin_until(lambda: loop.protocols and loop.protocols[0].ends)
        assert loop.protocols[0].got == b"hello"
        assert [end.__name__ for end in loop.protocols[0].ends] == ["ConnectionDone"]

    def test_closed_before_anything_was_said(self, loop: Loop) -> None:
        loop.call(loop.listen()).close()
        loop.spin_until(lambda: loop.protocols and loop.protocols[0].ends)
        assert [end.__name__ for end in loop.protocols[0].ends] == ["ConnectionDone"]

    def test_reset_before_anybody_looked(self, loop: Loop, logged: list[LogEvent]) -> None:
        reset(loop.call(loop.listen()))
        loop.spin_until(lambda: loop.protocols and loop.protocols[0].ends)
        assert [end.__name__ for end in loop.protocols[0].ends] == ["ConnectionLost"]
        assert logged == []

    def test_no_more_than_a_few_a_turn(self, loop: Loop) -> None:
        port = loop.listen()
        for _ in range(40):
            loop.call(port, b"hello")
        most = 0
        while len(loop.protocols) < 40:
            before = len(loop.protocols)
            loop.reactor.iterate(0.01)
            most = max(most, len(loop.protocols) - before)
        # Twisted begins with one, and takes more as long as more are there.
        assert most == twisted_internals.ACCEPTS
        loop.spin_until(lambda: all(protocol.got for protocol in loop.protocols))


class TestErrors:
    def test_of_what_begins_ends_it_alone(self, loop: Loop, logged: list[LogEvent]) -> None:
        class Failing(Beginning):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                if data == b"fail":
                    raise Refused("by the protocol")

        port = loop.listen(Failing)
        clients = [loop.call(port, data) for data in (b"one", b"fail", b"two")]
        loop.spin_until(lambda: len([each for each in loop.protocols if each.got]) == 3)
        loop.spin_until(lambda: Refused in loop.protocols[1].ends)
        assert clients[1].recv(1) == b""
        (event,) = logged
        assert event["failure"].type is Refused
        assert "dataReceived" in event["failure"].getTraceback()
        assert event["log_system"] == loop.protocols[0].transport.logPrefix()
        for at in (0, 2):
            clients[at].sendall(b"on")
            loop.spin_until(partial(ends_with, loop.protocols[at], b"on"))

    def test_of_the_factory_closes_one_alone(self, logged: list[LogEvent]) -> None:
        """(Twisted leaves it open, for nobody.)"""
        loop = Loop(directly=True)
        made: list[None] = []

        class Failing(Noting):
            def __init__(self) -> None:
                super().__init__()
                made.append(None)
                if len(made) == 2:
                    raise Refused("by the factory")

        port = loop.listen(Failing)
        clients = [loop.call(port, b"hello") for _ in range(3)]
        loop.spin_until(lambda: len([each for each in loop.protocols if each.got]) == 2)
        with suppress(ConnectionResetError):
            assert clients[1].recv(1) == b""
        assert [event["failure"].type for event in logged] == [Refused]
        loop.close()

    def test_what_can_not_be_accepted_is_no_end(
        self, loop: Loop, logged: list[LogEvent], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        port = loop.listen()
        listening = port.socket
        errors = [errno.ECONNABORTED, errno.EPERM]

        class Once:
            def accept(self) -> Any:
                if errors:
                    raise OSError(errors.pop(), "once")
                return listening.accept()

            def __getattr__(self, name: str) -> Any:
                return getattr(listening, name)

        port.socket = Once()
        loop.call(port, b"hello")
        loop.spin_until(lambda: loop.protocols and loop.protocols[0].got)
        assert errors == []
        assert logged == []


class TestOptions:
    """Small pieces are sent at once, by whatever socket is listened on."""

    @pytest.mark.parametrize(
        ("host", "kind"), [("127.0.0.1", IPv4Address), (IPV6, IPv6Address)], ids=["4", "6"]
    )
    @pytest.mark.parametrize("inherits", [False, True])
    def test_no_delay(
        self, host: str, kind: type[IPv4Address | IPv6Address], inherits: bool
    ) -> None:
        loop = Loop(directly=True)
        listening = socket.socket(socket.AF_INET6 if host == IPV6 else socket.AF_INET)
        if inherits:
            listening.bind((host, 0))
            listening.listen()
            listening.setblocking(False)
        port = loop.listen(host=host, inherited=listening if inherits else None)
        listening.close()
        client, protocol = loop.connect(port)
        assert protocol.transport.getTcpNoDelay() is True
        peer = protocol.transport.getPeer()
        assert isinstance(peer, kind)
        assert (peer.host, peer.port) == client.getsockname()[:2]
        loop.close()

    def test_of_both_families_at_once(self) -> None:
        loop = Loop(directly=True)
        port = loop.listen(host="::")
        client = socket.create_connection(("127.0.0.1", port.getHost().port))
        client.sendall(b"hello")
        loop.spin_until(lambda: loop.protocols and loop.protocols[0].got)
        assert loop.protocols[0].host == "::ffff:127.0.0.1"
        client.close()
        loop.close()


class TestOthers:
    def test_ports_that_are_not_ours_stay_what_they_are(self, tmp_path: Path) -> None:
        loop = Loop(directly=True)
        foreign = loop.reactor.listenTCP(0, loop.listen().factory, interface="127.0.0.1")
        unix = loop.reactor.listenUNIX(str(tmp_path / "s"), foreign.factory)
        twisted_internals.use_slotted_transports(unix, foreign.factory)
        for port in (foreign, unix, object()):
            before = dict(getattr(port, "__dict__", {}))
            twisted_internals.accept_directly(port, foreign.factory)
            assert dict(getattr(port, "__dict__", {})) == before
        loop.close()


def fewer_than(site: MemorySite, count: int) -> bool:
    return bool(site.factory.connections.open < count)


class TestTheLane:
    """The daemon's own protocols, at such a port."""

    @pytest.fixture
    def loop(self) -> Iterator[Loop]:
        made = Loop(directly=True)
        yield made
        made.close()

    @pytest.mark.parametrize("fast_lane", [True, False])
    def test_answers_what_came_whole_in_halves_or_late(self, loop: Loop, fast_lane: bool) -> None:
        whole = b"GET /api/v1/events/poll?wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with MemorySite(fast_lane=fast_lane) as site:
            port = loop.reactor.listenTCP(0, site.factory, interface="127.0.0.1")
            loop.use_direct_ways(port, site.factory)
            for halves in ((whole, b""), (whole[:9], whole[9:]), (b"", whole)):
                client = loop.call(port, halves[0])
                loop.spin()
                if halves[1]:
                    client.sendall(halves[1])
                client.setblocking(False)
                answer = b""

                def answered(client: socket.socket = client) -> bool:
                    nonlocal answer
                    site.turn()
                    with suppress(BlockingIOError):
                        answer += client.recv(65536)
                    return b'"cursor"' in answer

                loop.spin_until(answered)
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
                open_before = site.factory.connections.open
                client.close()
                loop.spin_until(partial(fewer_than, site, open_before))
            assert site.factory.connections.open == 0

    def test_an_address_has_no_more_connections_than_it_may(self, loop: Loop) -> None:
        whole = b"GET /api/v1/events/poll?wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with MemorySite(limits=True, connections_per_address=2) as site:
            port = loop.reactor.listenTCP(0, site.factory, interface="127.0.0.1")
            loop.use_direct_ways(port, site.factory)
            clients = [loop.call(port, whole) for _ in range(3)]
            loop.spin()
            assert site.factory.connections.open == 2
            answers = []
            for client in clients:
                loop.spin()
                answers.append(client.recv(65536).split(b"\r\n")[0])
            assert sorted(answers)[:2] == [b"HTTP/1.1 200 OK"] * 2
            assert b"429" in sorted(answers)[2]

    def test_one_that_says_nothing_is_closed_in_time(self, loop: Loop) -> None:
        with MemorySite() as site:
            port = loop.reactor.listenTCP(0, site.factory, interface="127.0.0.1")
            loop.use_direct_ways(port, site.factory)
            silent = loop.call(port)
            answered = loop.call(
                port, b"GET /api/v1/events/poll?wait=0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            loop.spin_until(lambda: site.factory.connections.open == 2)
            loop.spin()
            assert answered.recv(65536).startswith(b"HTTP/1.1 200 OK")
            site.advance(50)
            loop.spin()
            assert site.factory.connections.open == 2
            site.advance(20)
            loop.spin_until(lambda: site.factory.connections.open == 0)
            assert (silent.recv(1), answered.recv(1)) == (b"", b"")
