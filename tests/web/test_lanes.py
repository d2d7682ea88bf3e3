"""The fast lane and Klein are told the same bytes, and say the same.

Each case is sent to two sites, one with a lane and one without: what comes back and what becomes of
the connection has to be equal. Among the cases are all those that HTTP parsers are known to read in
different ways, and attempts to smuggle one request inside of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

import attrs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cometd_chat.fastlane.connection import LaneConnection
from cometd_chat.fastlane.stream import LaneStream
from tests.examples import examples
from tests.memory import MemorySite
from tests.web.raw import DIFFERENT, HOT, POLL, POST, SMUGGLED, SMUGGLING, get, post
from tests.wire import Connection

#: What differs between any two sites, or moments.
VOLATILE = [
    (rb"Date: [^\r]*", b"Date: then"),
    (rb'"at":"[^"]*"', b'"at":"then"'),
    (rb"\b(\d+)\.[0-9a-z]{6}\b", rb"\1.epoch"),
    (rb"retry: \d+", b"retry: some"),
    (rb"nonce[-=][^ >;]*", b"nonce"),
    (rb"boundary=[^\r]*", b"boundary"),
    (rb"--[0-9a-f]{32}", b"--boundary"),
    # On pages: when something was said, and what forms carry.
    (rb'(datetime|data-at)="[^"]*"', rb'\1="then"'),
    (rb'"[\w-]{22}"|"(?:[0-9a-f]{32}){1,2}"', b'"random"'),
    (rb'(BAYEUX_BROWSER=|"clientId":"|"token":"|Guest |guest-)[\w-]+', rb"\1some"),
    # A chunk's size, where the retry is in it.
    (rb"(?<=\r\n)[0-9a-f]+\r\n(?=retry)", b"size\r\n"),
]


@attrs.frozen
class Outcome:
    """What a client saw, and whether the lane alone had her connection."""

    data: bytes
    closed: bool
    half_closed: bool
    in_lane: bool = attrs.field(eq=False)


class Pair:
    """Two sites that differ in the lane only, with the same people."""

    def __init__(self, lane: MemorySite, klein: MemorySite) -> None:
        self.sites = (lane, klein)
        self.tokens = tuple(site.log_in("alice") for site in self.sites)
        for site in self.sites:
            site.say("earlier")

    def outcomes(self, *pieces: bytes) -> tuple[Outcome, Outcome]:
        """What both say to the same pieces; ``TOKEN`` in them is a token of alice's."""
        lane, klein = (
            self._outcome(site, token.encode(), pieces)
            for site, token in zip(self.sites, self.tokens, strict=True)
        )
        return lane, klein

    def _outcome(self, site: MemorySite, token: bytes, pieces: tuple[bytes, ...]) -> Outcome:
        connection = site.connect()
        before = connection.channel
        for piece in pieces:
            if not connection.closed:
                connection.send(piece.replace(b"TOKEN", token))
        data = connection.surplus
        for pattern, replacement in VOLATILE:
            data = re.sub(pattern, replacement, data)
        closed, half_closed = connection.closed, connection.socket.server_done
        # A stream takes the place of its connection.
        stayed = not closed and (
            connection.channel is before or isinstance(connection.channel, LaneStream)
        )
        outcome = Outcome(data, closed, half_closed, stayed)
        connection.reset()
        return outcome


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        sites = [
            stack.enter_context(
                MemorySite(
                    fast_lane=on,
                    hosts=("chat.example.org",),
                    allow_origin=("https://ours.example",),
                    rooms=("lobby", "dev", "кухня"),
                )
            )
            for on in (True, False)
        ]
        yield Pair(*sites)


class TestHotRequests:
    @pytest.mark.parametrize("what", HOT)
    def test_are_answered_alike_and_by_the_lane(self, pair: Pair, what: str) -> None:
        lane, klein = pair.outcomes(HOT[what])
        assert lane.data
        assert lane == klein

    def test_are_in_the_lane(self, pair: Pair) -> None:
        elsewhere = [what for what, data in HOT.items() if not pair.outcomes(data)[0].in_lane]
        # A target that is not ASCII is for the general way.
        assert elsewhere == ["a poll of a room in Cyrillic"]

    @pytest.mark.parametrize("what", ["a poll", "a stream", "a post", "a handshake"])
    def test_split_at_every_byte(self, pair: Pair, what: str) -> None:
        data = HOT[what]
        for at in range(1, len(data), 3):
            lane, klein = pair.outcomes(data[:at], data[at:])
            # Each post has an id of its own, the same on both.
            assert lane == klein

    @pytest.mark.parametrize("first", ["a poll", "a poll by a wrong token", "a post"])
    @pytest.mark.parametrize("second", ["a poll", "a post", "a poll of no such room"])
    def test_two_in_one_segment_or_one_after_the_other(
        self, pair: Pair, first: str, second: str
    ) -> None:
        for pieces in ((HOT[first] + HOT[second],), (HOT[first], HOT[second])):
            lane, klein = pair.outcomes(*pieces)
            assert lane == klein
            assert lane.data.count(b"HTTP/1.1 ") == 2


class TestDifferencesBetweenParsers:
    @pytest.mark.parametrize("what", DIFFERENT)
    def test_are_settled_alike(self, pair: Pair, what: str) -> None:
        lane, klein = pair.outcomes(DIFFERENT[what])
        assert lane == klein

    @pytest.mark.parametrize("what", DIFFERENT)
    def test_whatever_comes_then(self, pair: Pair, what: str) -> None:
        """What is left of one request may not be taken for a part of the next."""
        lane, klein = pair.outcomes(DIFFERENT[what], get(), b"\r\n" + post())
        assert lane == klein

    def test_hardly_any_gets_into_the_lane(self, pair: Pair) -> None:
        inside = {what for what, data in DIFFERENT.items() if pair.outcomes(data)[0].in_lane}
        assert inside == {
            "a fragment",
            "a path with a NUL",
            "a path with a newline",
            "a room with a question mark",
            "a query of no UTF-8",
            "many parameters",
            "a name written in another way",
            "an underscore",
            "an empty host",
            "a length with zeros",
            "500 headers",
            "a head of 15 KB",
        }


class TestSmuggling:
    @pytest.mark.parametrize("what", SMUGGLING)
    def test_does_not_get_further_by_the_lane(self, pair: Pair, what: str) -> None:
        for pieces in ((SMUGGLING[what],), (SMUGGLING[what], get())):
            lane, klein = pair.outcomes(*pieces)
            assert lane == klein

    def test_the_hidden_request_would_be_seen(self, pair: Pair) -> None:
        lane, _ = pair.outcomes(SMUGGLED)
        assert b"404" in lane.data


#: Header lines as somebody might write them who looks for a difference.
LINE = st.one_of(
    st.sampled_from(
        [
            b"Host: localhost",
            b"Content-Length: 0",
            b"Content-Length: 13",
            b"Transfer-Encoding: chunked",
            b"Connection: keep-alive",
            b"Connection: close",
            b"Expect: 100-continue",
            b"Authorization: Bearer TOKEN",
            b"Content-Type: application/json",
            b"Accept: text/html",
            b" folded",
            b"",
        ]
    ),
    st.binary(max_size=12).map(lambda value: b"X: " + value),
    st.binary(max_size=12),
)

TARGET = st.one_of(
    st.sampled_from([POLL, POST, b"/rooms/lobby.txt", b"/api/v1/events/jsonp?wait=0&callback=f"]),
    st.text("/ab?=&%2fpoll.;", max_size=12).map(lambda text: b"/" + text.encode()),
)


@given(
    method=st.sampled_from([b"GET", b"POST", b"HEAD"]),
    target=TARGET,
    version=st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2"]),
    lines=st.lists(LINE, max_size=5),
    end=st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]),
    body=st.sampled_from([b"", b'{"text":"hi"}', b"0\r\n\r\n"]),
)
@example(b"GET", POLL, b"HTTP/1.1", [b"Host: localhost"], b"\r\n", b"")
@example(b"GET", b"/", b"HTTP/1.1", [b"Authorization: Bearer TOKEN"], b"\r\n", b"")
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_head_is_read_alike(
    pair: Pair,
    method: bytes,
    target: bytes,
    version: bytes,
    lines: list[bytes],
    end: bytes,
    body: bytes,
) -> None:
    head = end.join([b"%b %b %b" % (method, target, version), b"Host: localhost", *lines])
    lane, klein = pair.outcomes(head + end * 2 + body, get())
    assert lane == klein


class TestTime:
    def test_an_idle_connection_ends_at_the_same_time(self, pair: Pair) -> None:
        for first in (b"", HOT["a poll"], HOT["a poll of no such room"]):
            connections = [site.connect() for site in pair.sites]
            for connection in connections:
                if first:
                    connection.send(first)
            for seconds, closed in ((59, False), (2, True)):
                for site in pair.sites:
                    site.advance(seconds)
                assert [each.closed for each in connections] == [closed, closed]


def test_a_page_and_its_polls_share_a_connection(pair: Pair) -> None:
    connection: Connection = pair.sites[0].connect()
    assert connection.request("GET", "/").status == 200
    assert isinstance(connection.channel, LaneConnection)
    before = connection.channel
    for _ in range(3):
        assert connection.request("GET", POLL.decode()).status == 200
    assert connection.channel is before
