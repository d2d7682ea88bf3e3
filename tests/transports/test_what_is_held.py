"""What a channel and a lane make the process hold: pipelined and half-read requests, answers that
nobody takes; that it is bounded, counted, and let go."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator

import pytest

from cometd_chat.errors import MemoryShort
from cometd_chat.fastlane.connection import MAX_WAITING
from tests import lanes
from tests.channels import Net, refusal
from tests.garbage import collect
from tests.wire import Connection, Response

KIB = 1024

#: What a transport holds before it says that it is full.
FULL = 64 * KIB

#: What one that a route works at counts for beside its bytes.
IN_HAND = 12 * KIB


@pytest.fixture(params=[True, False], ids=["lane", "klein"])
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    with Net(lane=request.param) as made:
        yield made


#: The head of a request with a large body.
HALF = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


class TestPipelined:
    @pytest.mark.parametrize("size", [1, 500, 30 * KIB, 300 * KIB])
    def test_none_is_read_before_the_answer_to_the_one_before_it_has_left(
        self, net: Net, size: int
    ) -> None:
        connection = net.connect(window=0)
        responses = [connection.expect() for _ in range(100)]
        connection.send(get(f"/large/{size}") * 100)
        assert len(net.resource.bodies) == 1
        assert connection.buffered < size + KIB
        for number in range(1, 101):
            while not responses[number - 1].complete:
                assert len(net.resource.bodies) == number
                connection.open_window(size // 4 + 50)
        assert all(len(each.body) == size for each in responses)
        connection.open_window(None)
        assert net.memory.held == 0
        assert connection.request("GET", "/").text == "GET / 0"

    def test_what_waits_behind_an_answer_is_bounded_and_counted(self, net: Net) -> None:
        connection = net.connect(window=0)
        for _ in range(100):
            connection.send(get("/large/1000") * 300)
        waiting = 100 * 300 * len(get("/large/1000")) - len(connection.socket.to_server)
        assert 0 < waiting < 2 * FULL
        assert 0 <= net.memory.of("requests") - (waiting - len(get("/large/1000"))) < KIB
        connection.reset()
        assert net.memory.held == 0

    def test_what_waits_behind_a_route_is_bounded_and_counted(self, net: Net) -> None:
        connection = net.connect()
        connection.send(get("/held"))
        for _ in range(100):
            connection.send(b"x" * 10_000)
        waiting = 1_000_000 - len(connection.socket.to_server)
        assert 16 * KIB < waiting < 2 * FULL
        assert 0 <= net.memory.of("requests") - waiting - IN_HAND < KIB
        connection.reset()
        net.resource.held[0].finish()
        net.turn()
        assert connection.closed
        assert net.memory.held == 0

    def test_others_have_their_turns_in_between(self, net: Net) -> None:
        """However many come in one segment, each is read in a turn of its own."""
        connection = net.connect()
        with net.standing_still():
            connection.send(get("/") * 500)
            moves = 0
            while len(net.resource.bodies) < 500:
                assert net.move()
                moves += 1
        assert moves >= 500


class TestInHand:
    """A request that waits for its answer is more than its bytes: objects of the routes."""

    def test_counts_until_its_answer_begins(self, net: Net) -> None:
        connection = net.connect()
        connection.send(get("/held"))
        assert 0 < net.memory.of("requests") - IN_HAND < KIB
        net.resource.held[0].write(b"it begins")
        connection.send(get("/"))
        assert 0 < net.memory.of("requests") < KIB
        net.resource.held[0].finish()
        net.turn()
        assert net.memory.held == 0

    def test_many_make_way_for_each_other(self, net: Net) -> None:
        """What they count for is let go of as any other memory is."""
        net.memory.limit = net.memory.trigger = 10 * IN_HAND
        connections = [net.connect() for _ in range(50)]
        for connection in connections:
            connection.send(get("/held"))
            assert net.memory.held <= 10 * IN_HAND
        assert sum(not each.closed for each in connections) in range(7, 11)


class TestHalfRead:
    def test_a_head_counts_with_what_its_lines_cost(self, net: Net) -> None:
        connection = net.connect()
        connection.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a: b\r\n" * 400)
        assert 400 * 250 < net.memory.of("requests") < 400 * 400
        connection.send(b"\r\n")
        assert net.memory.held == 0
        connection.send(b"GET / HTTP/1.1\r\nHost: h\r\nCookie: " + b"a=;" * 1000)
        connection.send(b"\r\nX: y\r\n")
        assert net.memory.of("requests") > 1000 * 150
        connection.reset()
        assert net.memory.held == 0

    def test_a_body_counts_until_it_is_answered(self, net: Net) -> None:
        connection = net.connect()
        connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        connection.send(b"x" * 50_000)
        assert 50_000 < net.memory.of("requests") < 52_000
        response = connection.expect("POST")
        connection.send(b"x" * 50_000)
        assert response.text == "POST / 100000"
        assert net.memory.held == 0
        connection.send(b"GET /held HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        connection.send(b"x" * 100_000)
        assert 100_000 < net.memory.of("requests") - IN_HAND < 102_000
        net.resource.held[0].finish()
        net.turn()
        assert net.memory.held == 0


class TestAtTheCeiling:
    LIMIT = 1000 * KIB

    @pytest.fixture(params=[True, False], ids=["lane", "klein"])
    def net(self, request: pytest.FixtureRequest) -> Iterator[Net]:
        with Net(lane=request.param, limit=self.LIMIT) as made:
            yield made

    def half(self, net: Net, size: int) -> tuple[Connection, Response]:
        """A connection with so much of a body that has not come wholly."""
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(HALF + b"x" * size)
        return connection, response

    def test_the_largest_half_bodies_are_refused(self, net: Net) -> None:
        small, response = self.half(net, 1000)
        large = [self.half(net, size) for size in range(100_000, 170_000, 10_000)]
        assert net.memory.shed == 0
        last, _ = self.half(net, 150_000)
        # Until a quarter is free again.
        assert net.memory.held <= self.LIMIT * 3 // 4
        refused = [each for _, each in large if each.status]
        assert refused == [each for _, each in large[-len(refused) :]]
        assert net.memory.shed == len(refused) + last.socket.server_done
        for each in refused:
            problem = refusal(each, 503)
            assert problem["type"] == MemoryShort.slug
            assert "moment" in problem["detail"]
            assert each.header("retry-after") == "5"
        small.send(b"x" * 199_000)
        assert response.text == "POST / 200000"

    def test_answers_that_nobody_takes_are_cut(self, net: Net) -> None:
        small = net.connect(window=0)
        small.request("GET", "/large/1000")
        for _ in range(10):
            net.connect(window=0).request("GET", "/large/200000")
            assert net.memory.held <= self.LIMIT
        assert sum(each.socket.reset for each in net.connections) == net.memory.shed > 0
        assert not small.socket.reset
        assert net.connect().request("GET", "/").text == "GET / 0"

    def test_what_waits_behind_a_held_request_is_cut(self, net: Net) -> None:
        for _ in range(30):
            connection = net.connect()
            connection.send(get("/held"))
            connection.send(b"x" * 60_000)
            assert net.memory.held <= self.LIMIT
        assert net.memory.shed == net.resource.lost > 0


class TestInTheLane:
    @pytest.fixture
    def lane(self) -> Iterator[lanes.Net]:
        with lanes.Net() as made:
            yield made

    def test_what_waits_behind_a_held_request_counts(self, lane: lanes.Net) -> None:
        connection = lane.connect()
        response = connection.request("GET", "/hot/held")
        second = connection.expect()
        connection.send(get("/hot/a")[:10])
        assert lane.memory.of("requests") == 10
        connection.send(get("/hot/a")[10:])
        assert lane.memory.of("requests") == len(get("/hot/a"))
        lane.desk.held[0].release()
        lane.turn()
        assert response.complete
        assert second.text
        assert lane.memory.held == 0

    def test_it_is_cut_at_the_ceiling_and_forgotten_with_its_connection(
        self, lane: lanes.Net
    ) -> None:
        lane.memory.limit = lane.memory.trigger = 5 * MAX_WAITING
        connections = [lane.connect() for _ in range(20)]
        for each in connections:
            each.request("GET", "/hot/held")
            each.send(b"x" * MAX_WAITING)
            assert lane.memory.held <= lane.memory.limit
        assert sum(each.closed for each in connections) == lane.memory.shed > 0
        for each in connections:
            each.reset()
        assert lane.memory.held == 0

    def test_an_answer_that_nobody_takes_counts_and_comes_back_to_the_lane(
        self, lane: lanes.Net
    ) -> None:
        connection = lane.connect(window=1000)
        response = connection.request("GET", "/hot/large")
        assert not lanes.in_lane(connection)
        assert lane.memory.of("answers") == connection.buffered > 0
        connection.open_window(None)
        assert response.complete
        assert lanes.in_lane(connection)
        assert lane.memory.held == 0


#: The head of a request whose body comes in chunks, and the last one of them.
CHUNKS = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"


def held_by_python(send: Callable[[], object]) -> int:
    """Objects that are there after ``send``, without Python's looking for garbage in circles."""
    collect()
    gc.disable()
    before = sys.getallocatedblocks()
    try:
        send()
        return sys.getallocatedblocks() - before
    finally:
        gc.enable()


class TestTrailers:
    """What stands behind the last chunk (RFC 9112, section 7.1.2), which nobody asks for."""

    def test_they_are_dropped_as_they_come(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(CHUNKS)
        assert held_by_python(lambda: connection.send(b"X: a\r\n" * 10_000)) < 2_000
        connection.send(b"\r\n")
        assert response.text == "POST / 1"
        assert connection.request("GET", "/").text == "GET / 0"

    def test_too_many_leave_nothing_behind(self, net: Net) -> None:
        def send() -> None:
            for _ in range(5):
                connection = net.connect()
                response = connection.expect("POST")
                connection.send(CHUNKS + b"X: a\r\n" * 11_000)
                refusal(response, 400)
                connection.close()

        assert held_by_python(send) < 11_000
        assert net.memory.held == 0

    def test_half_a_line_counts(self, net: Net) -> None:
        connection = net.connect()
        connection.send(CHUNKS + b"x" * 60 * KIB)
        assert net.memory.held > 60 * KIB
