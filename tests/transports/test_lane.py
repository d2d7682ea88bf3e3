"""The fast lane as a connection sees it: what it answers, what it hands on, and when it comes back.

The routes here are made for the tests; that both ways answer alike is shown in
``tests/web/test_lanes.py``.
"""

from __future__ import annotations

import gc
import socket
import sys
import weakref
from collections.abc import Iterator

import pytest
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from cometd_chat.errors import ChatError
from cometd_chat.fastlane.connection import MAX_WAITING
from cometd_chat.fastlane.heads import MAX_REMEMBERED
from cometd_chat.transports.http import LimitedChannel
from cometd_chat.transports.timeouts import ANSWER
from tests.garbage import collect
from tests.lanes import HELD, IDLE, Net, in_lane
from tests.wire import Response


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as made:
        yield made


class TestAnswers:
    def test_a_whole_request_in_one_write(self, net: Net) -> None:
        connection = net.connect()
        lane = connection.channel
        response = connection.request("GET", "/hot/a")
        assert (response.status, response.text) == (200, "a")
        assert response.headers == {
            "server": ["test"],
            "date": ["Thu, 01 Jan 1970 00:16:40 GMT"],
            "content-type": ["text/plain"],
            "content-length": ["1"],
        }
        assert connection.channel is lane

    def test_the_date_is_renewed_each_second(self, net: Net) -> None:
        connection = net.connect()
        seen = []
        for net.now in (1000.0, 1000.9, 1001.0):
            seen.append((connection.request("GET", "/hot/a").header("date") or "")[-6:-4])
        assert seen == ["40", "40", "41"]

    def test_what_has_no_length_is_in_chunks(self, net: Net) -> None:
        response = net.connect().request("POST", "/hot/a", body=b"hi")
        assert response.header("transfer-encoding") == "chunked"
        assert (response.chunks, response.complete) == ([b"hi"], True)
        empty = net.connect().request("POST", "/hot/a", body=b"")
        assert (empty.chunks, empty.complete) == ([], True)

    def test_no_content_has_none(self, net: Net) -> None:
        connection = net.connect()
        response = connection.request("GET", "/hot/nothing")
        assert (response.status, response.complete) == (204, True)
        assert response.header("transfer-encoding") is None
        assert connection.request("GET", "/hot/b").text == "b"

    def test_the_front_may_refuse(self, net: Net) -> None:
        response = net.connect().request("GET", "/hot/held", headers={"X-Refuse": "1"})
        assert (response.status, response.text) == (421, "refused")
        assert net.desk.held == []

    @pytest.mark.parametrize(("name", "status"), [("raises", 404), ("broken", 500)])
    def test_what_a_route_raises_is_answered(self, net: Net, name: str, status: int) -> None:
        connection = net.connect()
        response = connection.request("GET", f"/hot/{name}")
        assert (response.status, response.text) == (status, "failed")
        assert connection.request("GET", "/hot/b").text == "b"

    def test_an_error_after_the_head_ends_the_connection(self, net: Net) -> None:
        connection = net.connect()
        response = connection.request("GET", "/hot/waits")
        request = connection.channel._request
        request.write(b"it began")
        net.desk.waiting[0].errback(RuntimeError("a defect"))
        net.turn()
        assert response.text == "it began"
        assert not response.complete
        assert connection.socket.reset

    def test_a_header_cannot_bring_another(self, net: Net) -> None:
        connection = net.connect()
        response = connection.request("GET", "/hot/held")
        net.desk.held[0].setHeader("x-a", "b\r\nX-C: d")
        net.desk.held[0].write(b"")
        net.turn()
        assert response.header("x-a") == "b X-C: d"
        assert response.header("x-c") is None

    def test_a_name_is_decoded(self, net: Net) -> None:
        assert net.connect().request("GET", "/hot/%C3%A9").body == "é".encode()
        # Not UTF-8: for the general way to refuse.
        assert net.connect().request("GET", "/hot/%C3").text.startswith("general")

    def test_small_writes_leave_at_once(self, net: Net) -> None:
        connection = net.connect()
        assert connection.socket.options[socket.IPPROTO_TCP, socket.TCP_NODELAY]

    def test_each_response_has_its_line_in_the_log(self, net: Net) -> None:
        net.connect().request("GET", "/hot/abc?token=secret")
        (line,) = [each for each in net.logged if "status" in each]
        assert (line["method"], line["path"], line["status"]) == ("GET", "/hot/abc", 200)
        assert line["size"] == 3
        assert not [event for event in net.logged if "secret" in str(event)]


class TestTheGeneralWay:
    def test_has_what_is_not_hot_and_gives_the_connection_back(self, net: Net) -> None:
        connection = net.connect()
        for _ in range(3):
            before = connection.channel
            assert connection.request("GET", "/page").text == "general /page"
            assert in_lane(connection)
            assert connection.channel is not before
            before = connection.channel
            assert connection.request("GET", "/hot/a").text == "a"
            assert connection.channel is before

    def test_is_gone_with_its_request(self, net: Net) -> None:
        """Not only when circles are looked for, or the sweep comes by where it was to be timed."""
        connection = net.connect()
        response = connection.expect()
        connection.send(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\n")
        way = weakref.ref(connection.channel)
        gc.disable()
        try:
            net.slow_path.held.pop().finish()
            net.turn()
            assert response.complete
            assert in_lane(connection)
            assert way() is None
        finally:
            gc.enable()

    def test_leaves_nothing_behind(self, net: Net) -> None:
        connection = net.connect()
        for _ in range(3):
            connection.request("GET", "/page")
        assert connection.transport.producer is None
        assert net.reaper.scheduled == 1
        assert [call for call in net.clock.getDelayedCalls() if call.getTime() > IDLE + 1] == []

    def test_gives_it_back_after_a_response_that_took_its_time(self, net: Net) -> None:
        connection = net.connect()
        response = connection.request("GET", "/held")
        assert type(connection.channel) is LimitedChannel
        net.slow_path.held[0].finish()
        net.turn()
        assert response.status == 200
        assert in_lane(connection)
        assert connection.request("GET", "/hot/a").text == "a"

    def test_keeps_it_while_anything_is_left(self, net: Net) -> None:
        connection = net.connect()
        connection.expect()
        connection.send(b"GET /page HTTP/1.1\r\nHost: h\r\n\r\nGET /ho")
        assert type(connection.channel) is LimitedChannel
        second = connection.expect()
        connection.send(b"t/a HTTP/1.1\r\nHost: h\r\n\r\n")
        assert second.text == "general /hot/a"
        assert in_lane(connection)

    def test_keeps_it_after_a_lone_empty_line(self, net: Net) -> None:
        """The general way forgives one; a second one is refused."""
        connection = net.connect()
        connection.send(b"\r\n")
        assert type(connection.channel) is LimitedChannel
        assert connection.request("GET", "/hot/a").text.startswith("general")

    def test_has_a_connection_that_is_to_be_closed(self, net: Net) -> None:
        connection = net.connect()
        response = connection.request("GET", "/hot/a", headers={"Connection": "close"})
        assert response.text.startswith("general")
        assert connection.closed

    def test_has_names_in_a_query(self, net: Net) -> None:
        assert net.connect().request("GET", "/hot/a?name=b").text.startswith("general")

    def test_has_what_the_lane_cannot_read(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect()
        connection.send(b"nonsense\r\n\r\n")
        assert (response.status, response.text) == (400, "refused")

    @pytest.mark.parametrize("data", [HELD, b"POST /hot/a HTTP/1.1\r\nHost: h\r\n"
                                            b"Content-Length: 2\r\n\r\nhi"])  # fmt: skip
    def test_has_a_request_that_comes_in_pieces(self, net: Net, data: bytes) -> None:
        data = data.replace(b"held", b"abc")
        for at in range(1, len(data)):
            connection = net.connect()
            response = connection.expect()
            connection.send(data[:at])
            assert response.status == 0
            connection.send(data[at:])
            assert response.text.startswith("general /hot/a")
            assert in_lane(connection)

    def test_has_a_connection_whose_peer_is_behind(self, net: Net) -> None:
        """What waits for a peer is bounded by its back-pressure."""
        connection = net.connect(window=0)
        for _ in range(20):
            connection.expect()
            connection.send(b"GET /hot/large HTTP/1.1\r\nHost: h\r\n\r\n")
        assert 100_000 < connection.buffered < 200_000
        connection.open_window(None)
        connection.request("GET", "/page")
        assert in_lane(connection)

    def test_has_what_is_not_on_a_plain_socket(self, net: Net) -> None:
        """TLS is such a wrapper, and so is the PROXY protocol."""
        net.factory = WrappingFactory(net.factory)
        connection = net.connect()
        assert isinstance(connection.channel, ProtocolWrapper)
        assert connection.request("GET", "/hot/a").text.startswith("general")
        assert connection.request("GET", "/hot/a").text.startswith("general")
        assert type(connection.channel.wrappedProtocol) is LimitedChannel


class TestSeveralAtOnce:
    def test_in_one_segment_go_the_general_way(self, net: Net) -> None:
        for first, second in (("/page", "/hot/b"), ("/hot/a", "/page"), ("/hot/a", "/hot/b")):
            connection = net.connect()
            responses = [connection.expect(), connection.expect()]
            connection.send(
                b"".join(
                    f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode() for path in (first, second)
                )
            )
            assert [each.text for each in responses] == [
                f"general {first}",
                f"general {second}",
            ]
            assert in_lane(connection)

    @pytest.mark.parametrize("path", ["/hot/b", "/page"])
    def test_what_comes_meanwhile_is_answered_afterwards(self, net: Net, path: str) -> None:
        connection = net.connect()
        first, second = connection.request("GET", "/hot/held"), connection.request("GET", path)
        assert (first.status, second.status) == (0, 0)
        net.desk.held[0].write(b"1")
        net.desk.held[0].release()
        net.turn()
        assert first.text == "1"
        assert second.complete
        assert net.connect().request("GET", "/hot/c").text == "c"

    def test_what_comes_meanwhile_in_pieces_is_put_together(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/held")
        seconds = [connection.expect() for _ in range(2)]
        for byte in b"GET /hot/b HTTP/1.1\r\nHost: h\r\n\r\nGET /hot/c HTTP/1.1\r\nHost: h\r\n\r\n":
            connection.send(bytes([byte]))
        net.desk.held[0].release()
        net.turn()
        assert [each.text for each in seconds] == ["general /hot/b", "general /hot/c"]

    def test_no_more_than_a_bound_waits(self, net: Net) -> None:
        connection = net.connect()
        first = connection.request("GET", "/hot/held")
        connection.send(b"x" * MAX_WAITING)
        assert connection.transport in net.clock.getReaders()
        connection.send(b"x")
        assert connection.transport not in net.clock.getReaders()
        connection.send(b"x" * 1_000_000)
        assert len(connection.channel._waiting) == MAX_WAITING + 1
        net.desk.held[0].release()
        net.turn()
        assert first.complete

    def test_what_waits_behind_a_cut_is_never_looked_at(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/held")
        connection.request("GET", "/hot/b")
        net.desk.held[0].cut()
        net.turn()
        assert connection.socket.reset
        assert len([each for each in net.logged if "status" in each]) == 0


class TestWhoLeaves:
    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_while_she_is_held_is_told_of_once(self, net: Net, how: str) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/held")
        getattr(connection, how)()
        assert connection.closed
        assert net.desk.lost == net.desk.held
        # Too late, and nothing happens.
        net.desk.held[0].write(b"x")
        net.desk.held[0].release()
        net.desk.held[0].cut()
        assert net.reaper.scheduled == 0

    def test_with_her_half_only_gets_what_was_written(self, net: Net) -> None:
        connection = net.connect(window=1000)
        response = connection.request("GET", "/hot/large")
        connection.close()
        assert not connection.closed
        connection.open_window(None)
        assert response.complete
        assert connection.closed

    def test_while_a_route_waits_ends_it(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/waits")
        connection.close()
        assert net.desk.told == ["CancelledError"]
        assert net.desk.failures == []

    def test_while_something_is_written_does_not_end_that(self, net: Net) -> None:
        connection = net.connect()
        connection.request("POST", "/hot/waits", body=b"")
        connection.close()
        assert net.desk.told == []
        net.desk.waiting[0].callback(b"done")
        net.turn()
        assert net.desk.told == ["went on"]

    @pytest.mark.parametrize("error", [ChatError("No."), RuntimeError("a defect")])
    def test_does_not_hide_a_defect(self, net: Net, error: Exception) -> None:
        connection = net.connect()
        connection.request("POST", "/hot/waits", body=b"")
        connection.close()
        net.desk.waiting[0].errback(error)
        assert net.desk.failures == ([] if isinstance(error, ChatError) else [error])

    def test_before_anything_was_said(self, net: Net) -> None:
        connection = net.connect()
        connection.close()
        assert connection.closed
        assert net.reaper.scheduled == 0


class TestTime:
    def test_an_idle_connection_is_closed(self, net: Net) -> None:
        connection = net.connect()
        net.advance(IDLE - 5)
        connection.request("GET", "/hot/a")
        net.advance(IDLE - 1)
        assert not connection.socket.closed
        net.advance(2)
        assert connection.closed
        assert net.reaper.scheduled == 0

    def test_so_is_one_that_never_says_anything(self, net: Net) -> None:
        connection = net.connect()
        net.advance(IDLE + 1)
        assert connection.closed

    def test_and_one_that_came_back_from_the_general_way(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/page")
        net.advance(IDLE + 1)
        assert connection.closed

    def test_and_one_with_half_a_request(self, net: Net) -> None:
        connection = net.connect()
        connection.send(HELD[:-1])
        net.advance(IDLE + 1)
        assert connection.closed

    def test_one_that_takes_nothing_is_cut(self, net: Net) -> None:
        connection = net.connect(window=100)
        connection.request("GET", "/hot/large")
        net.advance(ANSWER - 1)
        assert not connection.closed
        net.advance(2)
        assert connection.socket.reset

    def test_one_that_is_held_is_left_alone(self, net: Net) -> None:
        connection = net.connect()
        response = connection.request("GET", "/hot/held")
        net.advance(IDLE * 3)
        assert not connection.closed
        net.desk.held[0].release()
        net.turn()
        assert response.complete
        net.advance(IDLE - 1)
        assert not connection.closed
        net.advance(2)
        assert connection.closed


class Told:
    """Who is told that a peer has gone."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def lost(self) -> None:
        self._told.append("lost")


class TestMemory:
    def test_a_stream_keeps_nothing_of_what_was_asked(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/stream", headers={"Cookie": "a=b"})
        (request,) = net.desk.held
        assert connection.channel._head is None
        assert (request._asked, request._cookies, request.uri) == (None, None, request.path)
        assert request.getHeader("host") is None
        assert request.requestHeaders.getRawHeaders("host", []) == []
        assert request.getCookie(b"a") is None

    def test_a_stream_that_has_settled_is_all_there_is_but_for_its_transport(
        self, net: Net
    ) -> None:
        connection = net.connect()
        response = connection.request("GET", "/hot/stream")
        (request,) = net.desk.held
        stream = request.settled()
        assert sys.getsizeof(stream) <= 80 < sys.getsizeof(request)
        assert connection.channel is stream
        assert not hasattr(stream, "__dict__")
        before = response.body
        stream.write(b"more")
        stream.write(b"")
        assert stream.sentLength == len(before) + len(b"more")
        stream.release()
        stream.release()
        net.turn()
        assert (response.complete, response.body) == (True, before + b"more")
        assert len(net.logged) == 1
        assert connection.request("GET", "/hot/a").complete

    def test_what_comes_during_a_stream_waits_for_its_end(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/stream")
        (request,) = net.desk.held
        stream = request.settled()
        response = connection.request("GET", "/hot/a")
        assert (response.complete, net.lane.memory.of("requests") > 0) == (False, True)
        stream.release()
        net.turn()
        assert (response.complete, net.lane.memory.of("requests")) == (True, 0)

    @pytest.mark.parametrize("comes_first", [b"", b"GET"])
    def test_one_whose_peer_goes_is_told_once(self, net: Net, comes_first: bytes) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/stream")
        (request,) = net.desk.held
        stream = request.settled()
        told: list[str] = []
        stream.hold(Told(told))
        if comes_first:
            connection.send(comes_first)
            net.turn()
        connection.close()
        net.turn()
        assert told == ["lost"]
        stream.write(b"more")
        stream.release()
        assert stream.sentLength == request.sentLength
        assert net.lane.memory.held == 0

    def test_what_is_not_a_stream_or_is_over_does_not_settle(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/held")
        (held,) = net.desk.held
        assert held.settled() is held
        other = net.connect()
        other.request("GET", "/hot/stream")
        (_, stream) = net.desk.held
        other.close()
        net.turn()
        assert stream.settled() is stream

    def test_a_head_is_remembered_unless_it_is_large(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/a")
        first = connection.channel._head
        connection.request("GET", "/hot/b")
        assert connection.channel._head is first
        connection.request("GET", "/hot/a", headers={"X-A": "x" * MAX_REMEMBERED})
        assert connection.channel._head is None

    def test_it_has_no_dict(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/hot/stream")
        assert not hasattr(connection.channel, "__dict__")
        assert not hasattr(net.desk.held[0], "__dict__")
        assert vars(connection.transport) == {}

    def test_a_thousand_connections_leave_nothing(self, net: Net) -> None:
        def cycle(count: int) -> int:
            for number in range(count):
                connection = net.connect()
                path = "/hot/held" if number % 2 else "/hot/a"
                connection.request("GET", path)
                if number % 10 == 0:
                    connection.request("GET", "/page")
                connection.close()
                net.connections.clear()
                net._by_transport.clear()
                net.desk.held.clear()
                net.desk.lost.clear()
                net.logged.clear()
            collect()
            return sys.getallocatedblocks()

        before = cycle(500)
        # Less than an object for each.
        assert cycle(1000) - before < 500
        assert net.reaper.scheduled == 0


def test_a_response_is_one_for_each_request(net: Net) -> None:
    connection = net.connect()
    responses: list[Response] = [connection.request("GET", f"/hot/{'a' * n}") for n in (1, 2, 3)]
    assert [each.text for each in responses] == ["a", "aa", "aaa"]
    assert connection.surplus == b""
