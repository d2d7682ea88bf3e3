"""What is simple enough for the fast lane: little, and always what it seems to be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometd_chat.fastlane import heads
from cometd_chat.fastlane.heads import (
    MOST_KNOWN,
    Head,
    KnownHeads,
    SimpleRequest,
    read_head,
    read_line,
    read_request,
)

HOST = b"Host: chat.example.org\r\n"


def read(data: bytes, known: Head | None = None) -> SimpleRequest | None:
    line = read_line(data)
    return None if line is None else read_request(data, line, known, read_head)


def get(lines: bytes = HOST, target: bytes = b"/x") -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, lines)


def post(lines: bytes, body: bytes) -> bytes:
    return b"POST /x HTTP/1.1\r\n%b%b\r\n%b" % (HOST, lines, body)


def test_a_simple_get() -> None:
    request = read(get(b"HOST: h:8080\r\nAccept:*/*\r\nX-Many: a\r\nx-many:  b c  \r\n", b"/x?a=b"))
    assert request is not None
    assert (request.method, request.target, request.body) == (b"GET", b"/x?a=b", b"")
    assert request.head.fields == {
        "host": ("h:8080",),
        "accept": ("*/*",),
        "x-many": ("a", "b c"),
    }
    assert request.head.length is None


def test_a_simple_post() -> None:
    request = read(post(b"Content-Length: 5\r\n", b"hi\r\n\r"))
    assert request is not None
    assert (request.body, request.head.length) == (b"hi\r\n\r", 5)
    assert read(post(b"Content-Length: 0\r\n", b"")) is not None


def test_cookies_are_those_that_twisted_would_find() -> None:
    request = read(get(HOST + b"Cookie: a=1; b=x=y;c; a=2\r\nCookie: d=\r\n"))
    assert request is not None
    assert request.head.cookies == {b"a": b"2", b"b": b"x=y", b"d": b""}


@pytest.mark.parametrize("value", ["keep-alive", "Keep-Alive"])
def test_a_connection_that_is_to_be_kept(value: str) -> None:
    assert read(get(HOST + f"Connection: {value}\r\n".encode())) is not None


#: Whatever only one of two parsers would take, or would take in another way.
NOT_PLAIN = {
    "two blanks": b"GET  /x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tab for a blank": b"GET\t/x HTTP/1.1\r\n" + HOST + b"\r\n",
    "a blank after the version": b"GET /x HTTP/1.1 \r\n" + HOST + b"\r\n",
    "no version": b"GET /x\r\n" + HOST + b"\r\n",
    "HTTP/1.0": b"GET /x HTTP/1.0\r\n" + HOST + b"\r\n",
    "HTTP/1.2": b"GET /x HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET /x HTTP/2.0\r\n" + HOST + b"\r\n",
    "another protocol": b"GET /x RTSP/1.0\r\n" + HOST + b"\r\n",
    "http in lower case": b"GET /x http/1.1\r\n" + HOST + b"\r\n",
    "a method in lower case": b"get /x HTTP/1.1\r\n" + HOST + b"\r\n",
    "another method": b"PUT /x HTTP/1.1\r\n" + HOST + b"\r\n",
    "HEAD": b"HEAD /x HTTP/1.1\r\n" + HOST + b"\r\n",
    "an absolute target": get(target=b"http://h/x"),
    "a target that is no path": get(target=b"x"),
    "a star": get(target=b"*"),
    "DEL in the target": get(target=b"/x\x7f"),
    "a byte over 127 in the target": get(target=b"/x\xe9"),
    "a leading empty line": b"\r\n" + get(),
    "two of them": b"\r\n\r\n" + get(),
    "a leading LF": b"\n" + get(),
    "bare LF everywhere": get().replace(b"\r\n", b"\n"),
    "a bare LF as end of a line": get(b"A: b\n" + HOST),
    "a bare LF as end of the head": get()[:-2] + b"\n",
    "CR CR LF as end of a line": get(b"A: b\r\r\n" + HOST),
    "a bare CR in a value": get(HOST + b"A: b\rc\r\n"),
    "NUL in a value": get(HOST + b"A: b\0c\r\n"),
    "a control character in a value": get(HOST + b"A: b\x0bc\r\n"),
    "a tab in a value": get(HOST + b"A: b\tc\r\n"),
    "DEL in a value": get(HOST + b"A: b\x7f\r\n"),
    "a byte over 127 in a value": get(HOST + b"A: \xe9\r\n"),
    "a folded line": get(HOST + b"A: b\r\n c\r\n"),
    "a fold by a tab": get(HOST + b"A: b\r\n\tc\r\n"),
    "a fold before the first header": get(b" A: b\r\n" + HOST),
    "a blank before the colon": get(HOST + b"A : b\r\n"),
    "an empty name": get(HOST + b": b\r\n"),
    "no colon": get(HOST + b"A\r\n"),
    "a name that is no token": get(HOST + b"A(b): c\r\n"),
    "no host": get(b"A: b\r\n"),
    "two hosts": get(HOST + HOST),
    "no head at all": b"GET /x HTTP/1.1\r\n\r\n",
    "chunks": post(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "chunks and a length": post(b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", b""),
    "another encoding": post(b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n", b"hi"),
    "an encoding in a GET": get(HOST + b"Transfer-Encoding: chunked\r\n"),
    "trailers announced": get(HOST + b"Trailer: X\r\n"),
    "an expectation": post(b"Expect: 100-continue\r\nContent-Length: 2\r\n", b"hi"),
    "an upgrade": get(HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    "an upgrade alone": get(HOST + b"Upgrade: h2c\r\n"),
    "a connection that closes": get(HOST + b"Connection: close\r\n"),
    "a connection that closes, too": get(HOST + b"Connection: keep-alive, close\r\n"),
    "two Connection headers": get(HOST + b"Connection: keep-alive\r\n" * 2),
    "no length": post(b"", b""),
    "no length but a body": post(b"", b"hi"),
    "an empty length": post(b"Content-Length: \r\n", b""),
    "a length with a sign": post(b"Content-Length: +2\r\n", b"hi"),
    "a length twice": post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"hi"),
    "a list of lengths": post(b"Content-Length: 2, 2\r\n", b"hi"),
    "a length with a blank": post(b"Content-Length: 1 2\r\n", b"hi"),
    "a length in hex": post(b"Content-Length: 0x2\r\n", b"hi"),
    "a huge length": post(b"Content-Length: 99999999999999999999\r\n", b"hi"),
    "a body that is not all there": post(b"Content-Length: 3\r\n", b"hi"),
    "more than the body": post(b"Content-Length: 2\r\n", b"hi!"),
    "a GET with a length": get(HOST + b"Content-Length: 0\r\n"),
    "a GET with a body": get() + b"hi",
    "two requests": get() + get(),
    "half a head": get()[:-2],
    "nearly all of a head": get()[:-1],
    "too many headers": get(HOST + b"A: b\r\n" * heads.MAX_FIELDS),
    "too much altogether": get(HOST + b"A: %b\r\n" % (b"x" * heads.MAX_REQUEST)),
}


@pytest.mark.parametrize("what", NOT_PLAIN)
def test_what_is_not_simple(what: str) -> None:
    assert read(NOT_PLAIN[what]) is None


def test_no_part_of_a_request_is_simple() -> None:
    for data in (get(), post(b"Content-Length: 2\r\n", b"hi")):
        assert [end for end in range(len(data)) if read(data[:end]) is not None] == []


def test_a_head_that_is_known_is_not_read_again() -> None:
    first = read(get())
    assert first is not None
    again = read(get(target=b"/y"), first.head)
    assert again is not None
    assert again.head is first.head
    other = read(get(HOST + b"A: b\r\n"), first.head)
    assert other is not None
    assert other.head.fields["a"] == ("b",)


def test_a_known_head_changes_nothing_about_the_body() -> None:
    first = read(post(b"Content-Length: 2\r\n", b"hi"))
    assert first is not None
    assert read(post(b"Content-Length: 2\r\n", b"hi!"), first.head) is None
    assert read(post(b"Content-Length: 2\r\n", b"h"), first.head) is None
    # The same lines in front of a GET, which has no length.
    assert read(get(first.head.block), first.head) is None
    assert read(get(first.head.block) + b"hi", first.head) is None


@given(st.binary(max_size=200), st.integers(0, 60))
def test_bytes_that_are_put_in_never_get_through(junk: bytes, at: int) -> None:
    data = get()[:at] + junk + get()[at:]
    request = read(data)
    if request is not None:
        again = b"GET %b HTTP/1.1\r\n%b\r\n" % (request.target, request.head.block)
        assert data == again
        assert set(request.head.block) <= {*range(0x20, 0x7F), 0x0D, 0x0A}
        assert len(request.head.fields["host"]) == 1


# -- heads that are known beyond their connection

KIND = HOST + b"Accept: text/event-stream\r\nUser-Agent: any (of: many)\r\n"


def same(one: Head | None, other: Head | None) -> bool:
    if one is None or other is None:
        return one is other
    whole = (one.block, dict(one.fields), dict(one.cookies), one.length)
    return whole == (other.block, dict(other.fields), dict(other.cookies), other.length)


def test_what_is_a_clients_own_is_its_own() -> None:
    known = KnownHeads()
    blocks = [
        KIND,
        KIND + b"Cookie: a=1; b=2\r\n",
        KIND + b"Cookie: a=2\r\nLast-Event-ID: 5.x\r\n",
        HOST + b"Cookie: a=3\r\n" + KIND.removeprefix(HOST),
        KIND + b"Authorization: Bearer x\r\nX-Forwarded-For: 1.2.3.4\r\n",
    ]
    heads = [known.read(block) for block in blocks]
    for head, block in zip(heads, blocks, strict=True):
        assert head is not None
        assert same(head, read_head(block))
        assert head.common is heads[0].common  # type: ignore[union-attr]
        assert sum(each is not None and each.memory is head.memory for each in heads) == 1
    assert known.read(KIND + b"Accept-Language: de\r\n").common is not heads[0].common  # type: ignore[union-attr]


def test_what_shows_who_somebody_is_is_not_kept() -> None:
    known = KnownHeads()
    for lines in (b"Cookie: a=secret\r\n", b"Authorization: Bearer secret\r\n"):
        # As a browser writes it, as a program does, twice, and in front of all.
        for block in (KIND + lines, KIND + lines.lower(), KIND + lines + lines, lines + KIND):
            for _ in range(2):
                assert same(known.read(block), read_head(block))
            kept = [*known._heads.values(), *known._before.values()]
            assert not any(b"secret" in head.block for head in kept)
            assert "secret" not in repr([head.fields for head in kept])


def test_few_are_kept_and_those_in_use_stay() -> None:
    known = KnownHeads()
    first = known.read(KIND)
    for number in range(5 * MOST_KNOWN):
        known.read(KIND + b"X-Number: %d\r\n" % number)
        again = known.read(KIND)
        assert first is not None
        assert again is not None
        assert again.common is first.common
    assert len(known._heads) + len(known._before) <= 2 * MOST_KNOWN


def test_a_body_is_no_part_of_a_kind() -> None:
    known = KnownHeads()
    known.read(KIND + b"Content-Length: 3\r\n")
    assert not known._heads


LINES = st.sampled_from(
    [
        *(b"Cookie: a=1\r\n", b"cookie: b=2\r\n", b"Cookie:  c=3 \r\n", b"Cookie: \x7f\r\n"),
        *(b"Cookie: a\rb\r\n", b"Cookie: a\nb\r\n", b" folded: x\r\n", b"Last-Event-ID: 7\r\n"),
        *(b"Authorization: Bearer t\r\n", b"AUTHORIZATION: Bearer u\r\n", b"Upgrade: x\r\n"),
        *(b"Content-Length: 0\r\n", b"Accept: */*\r\n", HOST, b"X-Real-IP: 1.2.3.4\r\n"),
        *(b"Connection: close\r\n", b"bad name: x\r\n", b"X: \r\n", b"Cookie: =\r\n"),
    ]
)


@given(st.lists(st.lists(LINES, max_size=6), max_size=6))
def test_it_reads_what_is_read_without_it(blocks: list[list[bytes]]) -> None:
    known = KnownHeads()
    for lines in blocks:
        for block in (HOST + b"".join(lines), b"".join(lines)):
            for _ in range(2):
                assert same(known.read(block), read_head(block))
