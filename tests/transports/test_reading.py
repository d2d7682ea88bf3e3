"""Straight from the poll to the protocol: what a protocol hears by it is what Twisted tells it.

Each test runs on both ways, with real sockets and a reactor of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogEvent
from twisted.python import context, log
from twisted.python.failure import Failure

from cometd_chat.daemon.settings import Settings
from cometd_chat.service import build
from cometd_chat.transports import twisted_internals
from tests.loops import Loop, Noting, NotingHalves, Refused, ends_with, errors_logged, reset


@pytest.fixture(params=[False, True], ids=["twisted", "directly"])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    made = Loop(directly=request.param)
    yield made
    made.close()


@pytest.fixture
def logged() -> Iterator[list[LogEvent]]:
    with errors_logged() as events:
        yield events


class TestReading:
    def test_gets_what_comes_in_the_log_s_context(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen())
        for word in (b"one", b"two"):
            client.sendall(word)
            loop.spin_until(partial(ends_with, protocol, word))
        assert protocol.got == b"onetwo"
        assert set(protocol.systems) == {protocol.transport.logPrefix()}
        loop.spin()
        assert context.get(log.ILogContext)["system"] != protocol.transport.logPrefix()

    def test_gets_much_piece_by_piece(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen())
        client.setblocking(False)
        sent = 0

        def all_there() -> bool:
            nonlocal sent
            with suppress(BlockingIOError):
                sent += client.send(b"x" * (2**20 - sent))
            return len(protocol.got) == 2**20

        loop.spin_until(all_there)
        assert protocol.got == b"x" * 2**20

    def test_an_error_ends_its_connection_and_no_other(
        self, loop: Loop, logged: list[LogEvent]
    ) -> None:
        port = loop.listen()
        before, other = loop.connect(port)
        client, protocol = loop.connect(port)
        after, another = loop.connect(port)

        def fail(protocol: Noting) -> None:
            raise Refused("by the protocol")

        protocol.does = {b"fail": fail}
        # All of them in one turn.
        for each in (before, client, after):
            each.sendall(b"fail")
        loop.spin_until(lambda: other.got and another.got and protocol.ends)
        assert protocol.ends == [Refused]
        assert client.recv(10) == b""
        (event,) = logged
        assert event["failure"].type is Refused
        assert "dataReceived" in event["failure"].getTraceback()
        assert event["log_system"] == other.transport.logPrefix()
        for others, told in ((before, other), (after, another)):
            others.sendall(b"on")
            loop.spin_until(partial(ends_with, told, b"on"))
            assert told.ends == []

    def test_an_operating_system_s_error_of_a_protocol_is_one(
        self, loop: Loop, logged: list[LogEvent]
    ) -> None:
        """It is not taken for one of the socket's."""
        client, protocol = loop.connect(loop.listen())

        def fail(protocol: Noting) -> None:
            raise BlockingIOError("a file of the protocol's")

        protocol.does = {b"fail": fail}
        client.sendall(b"fail")
        loop.spin_until(lambda: protocol.ends)
        assert protocol.ends == [BlockingIOError]
        assert [event["failure"].type for event in logged] == [BlockingIOError]

    def test_an_error_in_the_end_is_logged(self, loop: Loop, logged: list[LogEvent]) -> None:
        port = loop.listen()
        client, protocol = loop.connect(port)
        other, told = loop.connect(port)

        def fail(reason: Failure) -> None:
            protocol.ends.append(reason.type)
            raise Refused("to end")

        protocol.connectionLost = fail
        client.close()
        other.sendall(b"on")
        loop.spin_until(lambda: protocol.ends and told.got)
        assert [event["failure"].type for event in logged] == [Refused]
        assert told.ends == []


class TestEnds:
    """Why a connection is lost, by what the peer does."""

    def test_closed(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen())
        client.sendall(b"last words")
        client.close()
        loop.spin_until(lambda: protocol.ends)
        assert protocol.got == b"last words"
        assert [end.__name__ for end in protocol.ends] == ["ConnectionDone"]

    def test_reset(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen())
        reset(client)
        loop.spin_until(lambda: protocol.ends)
        assert [end.__name__ for end in protocol.ends] == ["ConnectionLost"]

    def test_half_closed(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen(NotingHalves))
        client.sendall(b"the question")
        client.shutdown(socket.SHUT_WR)
        loop.spin_until(lambda: protocol.ends)
        assert protocol.got == b"the question"
        assert protocol.ends == ["half"]
        protocol.transport.write(b"the answer")
        protocol.transport.loseConnection()
        loop.spin_until(lambda: len(protocol.ends) == 2)
        assert client.recv(100) == b"the answer"

    def test_half_closed_where_halves_are_nothing(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen())
        client.shutdown(socket.SHUT_WR)
        loop.spin_until(lambda: protocol.ends)
        assert [end.__name__ for end in protocol.ends] == ["ConnectionDone"]

    @pytest.mark.parametrize("way", ["loseConnection", "abortConnection"])
    def test_by_what_was_done_for_another_in_the_same_turn(
        self, loop: Loop, logged: list[LogEvent], way: str
    ) -> None:
        port = loop.listen()
        clients = [loop.connect(port) for _ in range(4)]

        def end_all(protocol: Noting) -> None:
            for _, each in clients:
                getattr(each.transport, way)()

        for _, protocol in clients:
            protocol.does = {b"end": end_all}
        for client, _ in clients:
            client.sendall(b"end")
        loop.spin_until(lambda: all(protocol.ends for _, protocol in clients))
        assert all(len(protocol.ends) == 1 for _, protocol in clients)
        assert logged == []


class TestPausing:
    def test_what_is_paused_reads_nothing_until_it_goes_on(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen())
        protocol.does = {b"stop": lambda protocol: protocol.transport.pauseProducing()}
        client.sendall(b"stop")
        loop.spin_until(lambda: protocol.got)
        client.sendall(b"more")
        loop.spin()
        assert protocol.got == b"stop"
        protocol.transport.resumeProducing()
        loop.spin_until(lambda: protocol.got == b"stopmore")

    def test_what_is_paused_writes_on(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen())
        protocol.transport.pauseProducing()
        client.sendall(b"more")
        protocol.transport.write(b"an answer")
        loop.spin()
        assert client.recv(100) == b"an answer"
        assert protocol.got == b""

    def test_reads_and_writes_in_one_event(self, loop: Loop) -> None:
        client, protocol = loop.connect(loop.listen())
        client.sendall(b"more")
        protocol.transport.write(b"an answer")
        loop.spin_until(lambda: protocol.got)
        assert client.recv(100) == b"an answer"


class TestOthers:
    """What is not one of ours goes Twisted's way, on a reactor that reads ours directly."""

    def test_unix_sockets_and_foreign_ports(self, loop: Loop, tmp_path: Path) -> None:
        got: list[bytes] = []

        class Foreign(Protocol):
            def dataReceived(self, data: bytes) -> None:
                got.append(data)

        factory = Factory.forProtocol(Foreign)
        port = loop.reactor.listenTCP(0, factory, interface="127.0.0.1")
        loop.reactor.listenUNIX(str(tmp_path / "s"), factory)
        with (
            socket.create_connection(("127.0.0.1", port.getHost().port)) as tcp,
            socket.socket(socket.AF_UNIX) as unix,
        ):
            unix.connect(str(tmp_path / "s"))
            for client in (tcp, unix):
                client.sendall(b"hi")
            loop.spin_until(lambda: len(got) == 2)
        assert got == [b"hi", b"hi"]

    def test_timed_calls_and_other_threads(self, loop: Loop) -> None:
        called: list[str] = []
        loop.reactor.callLater(0, called.append, "later")
        loop.reactor.callFromThread(called.append, "thread")
        loop.spin_until(lambda: len(called) == 2)


@pytest.mark.parametrize("direct_write", [True, False])
def test_a_daemon_reads_directly_unless_that_is_off(tmp_path: Path, direct_write: bool) -> None:
    reactor = EPollReactor()
    build(Settings(data=tmp_path / "data", direct_write=direct_write), reactor)
    assert ("doIteration" in vars(reactor)) is direct_write
    reactor._poller.close()


def test_a_reactor_that_does_not_poll_by_epoll_is_left_alone() -> None:
    class Other(EPollReactor):
        """May do it in any way."""

    for reactor in (object(), Other()):
        before = dict(getattr(reactor, "__dict__", {}))
        twisted_internals.read_directly(reactor)
        assert dict(getattr(reactor, "__dict__", {})) == before
