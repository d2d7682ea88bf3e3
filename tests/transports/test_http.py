"""The channel's limits: what is refused, when, in which form, and that the refusal arrives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

import pytest
from twisted.logger import LogLevel
from twisted.web.http import HTTPChannel
from twisted.web.server import Request

from cometd_chat.transports.http import LimitedChannel
from cometd_chat.transports.limited_request import MAX_BODY
from cometd_chat.transports.timeouts import LINGER
from tests.channels import Net, refusal

KIB = 1024


@pytest.fixture(params=[True, False], ids=["lane", "klein"])
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    with Net(lane=request.param) as made:
        yield made


class TestBodies:
    def test_a_body_at_the_limit_is_taken(self, net: Net) -> None:
        response = net.connect().request("POST", "/", body=b"x" * MAX_BODY)
        assert response.text == f"POST / {MAX_BODY}"

    def test_one_byte_more_is_refused_by_its_length_before_it_arrives(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
            b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1)
        )
        assert "256 KiB" in refusal(response, 413)["detail"]
        assert response.informational == []
        assert net.resource.bodies == []

    def test_a_body_that_fits_is_asked_for(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        # What came is no response yet, and says to go on.
        assert (response.status, response.informational) == (0, [100])
        connection.send(b"hi")
        assert response.text == "POST / 2"

    def test_a_chunked_body_is_cut_at_the_limit(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 64 * KIB + b"\r\n"
        for _ in range(4):
            connection.send(chunk)
            assert response.status == 0
        connection.send(b"1\r\nx\r\n")
        refusal(response, 413)
        assert net.resource.bodies == []

    def test_a_chunked_body_at_the_limit_is_taken(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (MAX_BODY, b"x" * MAX_BODY))
        assert response.text == f"POST / {MAX_BODY}"

    def test_both_are_refused_when_all_comes_at_once(self, net: Net) -> None:
        much = b"x" * (MAX_BODY + 1)
        for rest in (
            b"Content-Length: %d\r\n\r\n%s" % (len(much), much),
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(much), much),
        ):
            connection = net.connect()
            response = connection.expect("POST")
            connection.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + rest)
            refusal(response, 413)
            assert connection.surplus == b""
        assert net.resource.bodies == []

    def test_no_more_of_a_body_than_the_limit_is_ever_held(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        request = connection.channel.requests[0]
        # In memory: the reactor must not wait for a disk, which may be full.
        assert isinstance(request.content, BytesIO)
        for number in range(1, 5):
            connection.send(b"10000\r\n" + b"x" * 64 * KIB + b"\r\n")
            assert request.content.tell() == number * 64 * KIB
            assert 0 <= net.memory.of("requests") - number * 64 * KIB < 2 * KIB
        for _ in range(40):
            connection.send(b"10000\r\n" + b"x" * 64 * KIB + b"\r\n")
            assert request.content.closed
            assert net.memory.held == 0
        refusal(response, 413)


class TestAPeerThatGoesOnSending:
    def test_gets_the_answer_and_an_orderly_end(self, net: Net) -> None:
        """Closing at once would reset the connection and destroy the answer."""
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        refusal(response, 413)
        assert connection.socket.server_done
        for _ in range(10):
            connection.send(b"x" * 100_000)
            assert not connection.closed
        connection.close()
        assert connection.closed
        assert not connection.socket.reset

    def test_is_not_waited_for_for_ever(self, net: Net) -> None:
        connection = net.connect()
        connection.expect("POST")
        connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(int(LINGER)):
            assert not connection.closed
            net.advance(1)
            connection.send(b"x" * 1000)
        net.advance(0.5)
        assert connection.closed

    def test_cannot_begin_another_request(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        connection.send(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
        refusal(response, 413)
        assert net.resource.bodies == []
        assert connection.surplus == b""


MALFORMED = {
    "no version": b"GET /\r\nHost: h\r\n\r\n",
    "another protocol": b"GET / SIP/2.0\r\nHost: h\r\n\r\n",
    "a method with a blank": b"GE T / HTTP/1.1\r\nHost: h\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a header without colon": b"GET / HTTP/1.1\r\nHost h\r\n\r\n",
    "a header with a blank in its name": b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
    "a header with NUL": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
    "a length that is no number": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
    "a length and chunks": (
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a length of more digits than Python reads": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"9" * 4301 + b"\r\n\r\n"
    ),
    "a length of many noughts": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"0" * 4301 + b"2\r\n\r\nhi"
    ),
    "a length of digits of another script": (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \xd9\xa2\r\n\r\nhi"
    ),
    "the identity encoding": (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n"),
    "the identity encoding, and a length": (
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Identity\r\nContent-Length: 2\r\n\r\nhi"
    ),
    "a target without a slash": b"GET x HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target of another scheme": b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target without a host": b"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n",
    "an authority": b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
    "a star that isn't asked for its options": b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    "an unknown encoding": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a chunk without a length": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhi",
}


class TestTargets:
    @pytest.mark.parametrize(
        ("target", "path"),
        [
            (b"http://h", b"/"),
            (b"http://h/", b"/"),
            (b"HTTPS://h:80/a/b?c=d", b"/a/b?c=d"),
            (b"http://h?c=d", b"/?c=d"),
            (b"http://h//x", b"//x"),
            (b"http://h/http://i/", b"/http://i/"),
        ],
    )
    def test_one_that_is_a_uri_is_its_path_and_its_host(
        self, net: Net, target: bytes, path: bytes
    ) -> None:
        connection = net.connect()
        response = connection.expect()
        connection.send(b"GET %b HTTP/1.1\r\nHost: other\r\n\r\n" % target)
        assert response.body == b"GET %b 0" % path.partition(b"?")[0]
        (request,) = net.resource.requests
        assert request.uri == path
        (host,) = request.requestHeaders.getRawHeaders(b"host")
        assert host == target.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]

    @pytest.mark.parametrize("lines", [b"", b"Host: a\r\nHost: b\r\n"])
    def test_that_is_no_reason_to_have_no_host_or_two(self, net: Net, lines: bytes) -> None:
        connection = net.connect()
        connection.expect()
        connection.send(b"GET http://h/ HTTP/1.1\r\n%b\r\n" % lines)
        (request,) = net.resource.requests
        assert b"h" not in request.requestHeaders.getRawHeaders(b"host", [])

    @pytest.mark.parametrize("target", [b"*", b"http://h"])
    def test_all_there_is_is_asked_for_its_options(self, net: Net, target: bytes) -> None:
        connection = net.connect()
        response = connection.expect("OPTIONS")
        connection.send(b"OPTIONS %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
        assert response.body == b"OPTIONS * 0"


class TestMalformedRequests:
    @pytest.mark.parametrize("what", MALFORMED)
    def test_are_refused_in_our_form(self, net: Net, what: str) -> None:
        connection = net.connect()
        response = connection.expect()
        connection.send(MALFORMED[what])
        refusal(response, 400)
        assert connection.surplus == b""
        assert net.resource.bodies == []
        connection.close()
        assert connection.closed

    @pytest.mark.parametrize("size", [1, 7, 4096])
    def test_however_the_bytes_come(self, net: Net, size: int) -> None:
        connection = net.connect()
        response = connection.expect()
        data = MALFORMED["a header without colon"]
        for begin in range(0, len(data), size):
            connection.send(data[begin : begin + size])
        refusal(response, 400)
        assert connection.surplus == b""

    @pytest.mark.parametrize("in_pieces", [False, True])
    @pytest.mark.parametrize("where", ["path", "header"])
    def test_a_line_that_is_too_long(self, net: Net, where: str, in_pieces: bool) -> None:
        connection = net.connect()
        response = connection.expect()
        long = b"x" * 20 * KIB
        head = b"GET /%s HTTP/1.1\r\n" % long
        if where == "header":
            head = b"GET / HTTP/1.1\r\nX-Long: %s\r\n" % long
        pieces = [head[at : at + KIB] for at in range(0, len(head), KIB)] if in_pieces else [head]
        for piece in pieces:
            connection.send(piece)
        connection.send(b"\r\n")
        assert "16 KiB" in refusal(response, 431)["detail"]

    def test_a_head_of_many_lines_that_is_too_long_altogether(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect()
        lines = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 900) for number in range(30))
        connection.send(b"GET / HTTP/1.1\r\nHost: h\r\n%s\r\n" % lines)
        assert "16 KiB" in refusal(response, 431)["detail"]

    @pytest.mark.parametrize("size", [700, 100_000])
    @pytest.mark.parametrize(
        "lines",
        [
            b"Cookie: %s\r\nAccept: x\r\n",
            b"Cookie: %s\r\n",
            b"cookie: x=1\r\nCookie:%s\r\nX-More: " + b"y" * 9000 + b"\r\n",
        ],
    )
    def test_cookies_that_are_too_large_are_named(self, net: Net, lines: bytes, size: int) -> None:
        connection = net.connect()
        response = connection.expect()
        cookies = b"a=1; " + b"; ".join(b"c%d=" % n + b"v" * 1000 * n for n in range(1, 9))
        cookies = cookies[: 15 * KIB] if b"X-More" in lines else cookies
        head = b"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n" + lines % cookies + b"\r\n"
        for at in range(0, len(head), size):
            connection.send(head[at : at + size])
        detail = refusal(response, 431)["detail"]
        assert "16 KiB" in detail
        assert re.search(r"c\d, c\d, c\d.* Delete those", detail), detail
        assert "v" * 10 not in detail

    def test_what_else_a_cookie_is_called_is_not_repeated(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect()
        cookies = b"<b>x</b>=1; =2; " + b"n" * 65 + b"=3; good=4; \xff=5; "
        connection.send(
            b"GET / HTTP/1.1\r\nHost: h\r\nCookie: " + cookies + b"x" * 17 * KIB + b"\r\n\r\n"
        )
        detail = refusal(response, 431)["detail"]
        assert "Cookies are in it: good. Delete" in detail

    def test_too_many_headers(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect()
        connection.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 600 + b"\r\n")
        assert "500" in refusal(response, 431)["detail"]

    def test_somebody_who_reads_html_gets_html(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect("POST")
        connection.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nAccept: text/html,*/*\r\n"
            b"Content-Length: 1000000\r\n\r\n"
        )
        assert (response.status, response.header("content-type")) == (413, "text/html")


class TestVersions:
    @pytest.mark.parametrize("version", [b"1.1", b"1.2", b"1.9"])
    def test_a_later_minor_one_is_answered_as_ours(self, net: Net, version: bytes) -> None:
        connection = net.connect()
        for _ in range(2):
            response = connection.expect()
            connection.send(b"GET /a HTTP/%s\r\nHost: h\r\n\r\n" % version)
            assert (response.version, response.text) == ("HTTP/1.1", "GET /a 0")
        assert not connection.closed

    @pytest.mark.parametrize("version", [b"2.0", b"0.9", b"1.10", b"1.", b"3"])
    def test_others_are_none(self, net: Net, version: bytes) -> None:
        connection = net.connect()
        response = connection.expect()
        connection.send(b"GET /a HTTP/%s\r\nHost: h\r\n\r\n" % version)
        refusal(response, 400)

    def test_one_before_is_answered_and_closed(self, net: Net) -> None:
        connection = net.connect()
        response = connection.expect()
        connection.send(b"GET /a HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n")
        assert response.text == "GET /a 0"
        assert connection.closed


class TestConnections:
    @pytest.mark.parametrize(
        "lines",
        [
            b"Connection: close\r\n",
            b"Connection: close, TE\r\n",
            b"Connection: TE ,Close\r\n",
            b"Connection: keep-alive\r\nConnection: close\r\n",
            b"Connection: \r\nConnection: ,close\r\n",
        ],
    )
    def test_one_that_is_to_be_closed_is(self, net: Net, lines: bytes) -> None:
        connection = net.connect()
        response = connection.expect()
        connection.send(b"GET /a HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n")
        assert response.text == "GET /a 0"
        assert response.header("connection") == "close"
        assert connection.closed

    @pytest.mark.parametrize("lines", [b"", b"Connection: TE, closed\r\n", b"Connection: x\r\n"])
    def test_one_that_is_not_is_not(self, net: Net, lines: bytes) -> None:
        connection = net.connect()
        for _ in range(2):
            response = connection.expect()
            connection.send(b"GET /a HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n")
            assert response.text == "GET /a 0"
            assert response.header("connection") is None
        assert not connection.closed

    def test_several_requests_come_in_order_on_one(self, net: Net) -> None:
        connection = net.connect()
        for path in ("/a", "/b", "/c"):
            assert connection.request("GET", path).text == f"GET {path} 0"

    def test_pipelined_requests_are_answered_in_their_order(self, net: Net) -> None:
        connection = net.connect()
        responses = [connection.expect() for _ in range(3)]
        connection.send(
            b"".join(
                b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n" % path for path in (b"held", b"b", b"c")
            )
        )
        assert [each.status for each in responses] == [0, 0, 0]
        net.resource.held[0].write(b"first")
        net.resource.held[0].finish()
        net.turn()
        assert [each.text for each in responses] == ["first", "GET /b 0", "GET /c 0"]

    def test_a_bad_one_behind_a_held_one_is_refused_in_its_turn(self, net: Net) -> None:
        connection = net.connect()
        first, second = connection.expect(), connection.expect()
        connection.send(b"GET /held HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\n")
        assert (first.status, second.status) == (0, 0)
        net.resource.held[0].finish()
        net.turn()
        assert first.status == 200
        refusal(second, 400)

    def test_http_1_0_has_no_chunks_and_ends_with_the_connection(self, net: Net) -> None:
        connection = net.connect()
        response = connection.request("GET", "/held", version="HTTP/1.0")
        net.resource.held[0].write(b"one")
        net.turn()
        assert response.header("transfer-encoding") is None
        assert (response.text, response.complete) == ("one", False)
        net.resource.held[0].finish()
        net.turn()
        assert response.complete
        assert connection.closed

    def test_an_idle_one_is_closed_and_its_address_is_not_in_the_log(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/")
        net.advance(59)
        assert connection.socket.server_done is False
        net.advance(2)
        assert connection.closed
        loud = [event for event in net.logged if event["log_level"] > LogLevel.debug]
        assert "192.0.2.7" not in str(loud)

    def test_one_whose_peer_takes_no_answer_is_cut(self, net: Net) -> None:
        connection = net.connect(window=0)
        connection.request("GET", "/")
        net.advance(59)
        assert not connection.closed
        net.advance(2)
        assert connection.socket.reset
        loud = [event for event in net.logged if event["log_level"] > LogLevel.debug]
        assert "192.0.2.7" not in str(loud)

    def test_a_peer_that_closes_its_half_is_gone(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/held")
        connection.close()
        assert connection.closed
        assert net.resource.lost == 1

    def test_a_peer_that_resets_is_gone(self, net: Net) -> None:
        connection = net.connect()
        connection.request("GET", "/held")
        connection.reset()
        assert connection.closed
        assert net.resource.lost == 1


class TestTheAccessLog:
    def test_has_no_query_and_only_at_debug_level(self, net: Net) -> None:
        net.connect().request("GET", "/a?token=secret", headers={"Authorization": "Bearer secret"})
        (line,) = [each for each in net.logged if "status" in each]
        assert line["log_level"] is LogLevel.debug
        assert (line["method"], line["path"], line["status"]) == ("GET", "/a", 200)
        assert line["milliseconds"] == 0, "the clock stands"
        assert not [event for event in net.logged if "secret" in str(event)]


def test_the_private_names_are_there() -> None:
    """What `LimitedChannel` overrides or reads; a Twisted that renames one fails here."""
    for name in (
        "allHeadersReceived",
        "_respondToBadRequestAndDisconnect",
        "lineLengthExceeded",
        "rawDataReceived",
        "allContentReceived",
        "requestDone",
        "timeoutConnection",
        "forceAbortClient",
        "maxHeaders",
        "totalHeadersSize",
        "_receivedHeaderCount",
        "_receivedHeaderSize",
        "_abortingCall",
        "length",
        "persistent",
        "_maybeChooseTransferDecoder",
        "_failChooseTransferDecoder",
    ):
        assert hasattr(HTTPChannel, name), name
    assert hasattr(Request, "_handleStar")
    channel = LimitedChannel()
    assert (channel.requests, channel._dataBuffer, channel._handlingRequest) == ([], [], False)
