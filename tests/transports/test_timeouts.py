"""How long a peer may take for a request and for its answer, whatever trickles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cometd_chat.errors import RequestTimeout
from cometd_chat.transports.timeouts import ANSWER, BODY, HEAD, LEAST_RATE, LINGER
from tests.channels import Net, refusal
from tests.wire import Connection

#: As a test's clock goes on, and the sweep's buckets, in seconds.
STEPS = 2.0


@pytest.fixture(params=[True, False], ids=["lane", "klein"])
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    with Net(lane=request.param) as made:
        yield made


def lasts(net: Net, connection: Connection, each: float, more: Callable[[], object]) -> float:
    """Seconds until the server has had enough, while every so often there is more."""
    begun = net.clock.seconds()
    while not connection.socket.server_done:
        net.advance(each)
        if not connection.socket.server_done:
            more()
        assert net.clock.seconds() - begun < 3600
    return float(net.clock.seconds() - begun)


class TestAHead:
    @pytest.mark.parametrize("each", [0.5, 5.0, 19.0])
    def test_has_a_time_in_all(self, net: Net, each: float) -> None:
        connection = net.connect()
        connection.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: ")
        seconds = lasts(net, connection, each, lambda: connection.send(b"x"))
        assert HEAD <= seconds < HEAD + each + STEPS
        assert connection.closed
        assert connection.surplus == b""
        assert net.memory.held == 0

    def test_that_never_ends_its_first_line(self, net: Net) -> None:
        connection = net.connect()
        connection.send(b"G")
        assert HEAD <= lasts(net, connection, 5, lambda: connection.send(b"E")) < HEAD + 5 + STEPS

    def test_begins_with_its_first_byte(self, net: Net) -> None:
        """Not with the connection, nor with the answer before it."""
        connection = net.connect()
        net.advance(50)
        connection.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
        net.advance(HEAD - STEPS)
        response = connection.expect()
        connection.send(b"\r\n")
        assert response.text.startswith("GET /")
        net.advance(50)
        connection.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
        net.advance(HEAD - STEPS)
        assert not connection.socket.server_done

    def test_behind_another_request_has_its_time_from_the_answer_to_that(self, net: Net) -> None:
        connection = net.connect()
        first = connection.expect()
        connection.send(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\n")
        net.advance(5 * HEAD)
        net.resource.held[0].finish()
        net.turn()
        assert first.complete
        seconds = lasts(net, connection, 1, lambda: connection.send(b"x"))
        assert HEAD <= seconds < HEAD + 1 + STEPS
        assert connection.surplus == b""


class TestABody:
    def send_head(self, net: Net, length: int) -> Connection:
        connection = net.connect()
        connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length)
        return connection

    def test_of_which_nothing_comes(self, net: Net) -> None:
        connection = self.send_head(net, 100)
        assert BODY <= lasts(net, connection, 1, lambda: None) < BODY + 1 + STEPS
        assert connection.closed
        assert connection.surplus == b""

    @pytest.mark.parametrize("each", [0.5, 10.0])
    def test_that_trickles(self, net: Net, each: float) -> None:
        connection = self.send_head(net, 200_000)
        seconds = lasts(net, connection, each, lambda: connection.send(b"x" * 10))
        assert BODY <= seconds < BODY + 2 * each + 2 * STEPS
        assert connection.closed
        assert connection.surplus == b""

    def test_that_pauses_after_a_good_beginning(self, net: Net) -> None:
        """Somebody who means it is told what happened."""
        connection = self.send_head(net, 200_000)
        response = connection.expect("POST")
        connection.send(b"x" * 30 * LEAST_RATE)
        seconds = lasts(net, connection, 1, lambda: None)
        assert BODY + 30 <= seconds < BODY + 30 + 1 + STEPS
        problem = refusal(response, 408)
        assert problem["type"] == RequestTimeout.slug
        assert "again" in problem["detail"]
        net.advance(LINGER + STEPS)
        assert connection.closed
        assert net.memory.held == 0

    def test_that_comes_slowly_but_well_may_take_minutes(self, net: Net) -> None:
        connection = self.send_head(net, 200 * LEAST_RATE)
        response = connection.expect("POST")
        for _ in range(200):
            net.advance(1)
            connection.send(b"x" * LEAST_RATE)
        assert response.text == f"POST / {200 * LEAST_RATE}"

    def test_in_chunks(self, net: Net) -> None:
        connection = net.connect()
        connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        seconds = lasts(net, connection, 1, lambda: connection.send(b"1\r\nx\r\n"))
        assert BODY <= seconds < BODY + 2 + STEPS


class TestAnAnswer:
    SIZE = 200_000

    def ask(self, net: Net, *, closing: bool, window: int = 0) -> Connection:
        connection = net.connect(window=window)
        headers = {"Connection": "close"} if closing else {}
        connection.request("GET", f"/large/{self.SIZE}", headers=headers)
        return connection

    @pytest.mark.parametrize("closing", [True, False])
    def test_that_nobody_takes(self, net: Net, closing: bool) -> None:
        connection = self.ask(net, closing=closing)
        assert net.memory.of("answers") > self.SIZE
        assert ANSWER <= lasts(net, connection, 1, lambda: None) < ANSWER + 1 + STEPS
        assert connection.socket.reset
        assert net.memory.held == 0

    @pytest.mark.parametrize("closing", [True, False])
    def test_that_is_sipped(self, net: Net, closing: bool) -> None:
        connection = self.ask(net, closing=closing)
        seconds = lasts(net, connection, 5, lambda: connection.open_window(50))
        assert ANSWER <= seconds < ANSWER + 10 + STEPS
        assert connection.socket.reset

    @pytest.mark.parametrize("closing", [True, False])
    def test_that_is_taken_slowly_but_well(self, net: Net, closing: bool) -> None:
        connection = self.ask(net, closing=closing)
        while net.memory.of("answers"):
            net.advance(1)
            connection.open_window(LEAST_RATE)
        net.turn()
        assert not connection.socket.reset
        assert connection.closed is closing

    def test_wastes_nobodys_time_with_trickling_requests(self, net: Net) -> None:
        """What comes meanwhile is read when the answer has left, and puts nothing off."""
        connection = self.ask(net, closing=False)
        assert lasts(net, connection, 1, lambda: connection.send(b"G")) < ANSWER + 1 + STEPS


class TestIdle:
    def test_one_is_closed(self, net: Net) -> None:
        assert 60 <= lasts(net, net.connect(), 1, lambda: None) < 60 + 1 + STEPS

    def test_one_whose_last_answer_was_long_ago_is_closed(self, net: Net) -> None:
        connection = net.connect()
        net.advance(30)
        connection.request("GET", "/")
        assert 60 <= lasts(net, connection, 1, lambda: None) < 60 + 1 + STEPS

    def test_a_route_has_all_the_time(self, net: Net) -> None:
        connection = net.connect()
        response = connection.request("GET", "/held")
        net.advance(3600)
        net.resource.held[0].finish()
        net.turn()
        assert response.complete
        assert not connection.closed
