"""Requests as bytes: those that the fast lane takes, and those that parsers read in several ways.

What it is: tables of requests by what is remarkable about them, for `tests.web.test_lanes`.

What it may know: HTTP/1.1, the hot routes.

Invariant: ``TOKEN`` in one stands for the token of somebody's session.
"""

from __future__ import annotations

from collections.abc import Mapping

POLL = b"/api/v1/events/poll?wait=0"
POST = b"/api/v1/rooms/lobby/messages"


def get(target: bytes = POLL, lines: bytes = b"Host: localhost\r\n") -> bytes:
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target, lines)


def post(
    lines: bytes = b"Content-Length: 13\r\n",
    body: bytes = b'{"text":"hi"}',
    target: bytes = POST,
    more: bytes = b"Content-Type: application/json\r\nAuthorization: Bearer TOKEN\r\n",
) -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b%b\r\n%b" % (target, more, lines, body)


JSONP = b"/api/v1/events/jsonp?wait=0&callback=f"
OUR_SCRIPT = b"Host: localhost\r\nReferer: http://localhost/\r\n"
COOKIE = b"Cookie: comet_session_memory=TOKEN\r\n"
JSON = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n"


def json_post(body: bytes, more: bytes | None = None, target: bytes = POST) -> bytes:
    if more is None:
        return post(LENGTH % len(body), body, target)
    return post(LENGTH % len(body), body, target, more)


HANDSHAKE = (
    b'[{"channel":"/meta/handshake","version":"1.0","id":"1",'
    b'"supportedConnectionTypes":["long-polling"]}]'
)


def bayeux(
    body: bytes, lines: bytes = b"", kind: bytes = JSON, target: bytes = b"/cometd"
) -> bytes:
    return post(LENGTH % len(body), body, target, kind + lines)


#: Requests that the lane answers: what there is to say, and every refusal.
HOT: Mapping[str, bytes] = {
    "a poll": get(),
    "a poll from an earlier cursor": get(POLL + b"&cursor=0.zzzzzz"),
    "a poll from a long cursor": get(POLL + b"&cursor=%b" % (b"a.B_~-9" * 74)[:512]),
    "a poll that is no cursor": get(POLL + b"&cursor=non+sense"),
    "a poll with a parameter twice": get(POLL + b"&wait=0"),
    "a poll with a number that is none": get(POLL + b"&backlog=x"),
    "a poll of several rooms": get(POLL + b"&rooms=lobby,dev&backlog=5"),
    "a poll of a room in Cyrillic": get(POLL + "&rooms=кухня".encode().replace(b"&rooms=", b"")),
    "a poll of a room in Cyrillic, written as URLs are": get(
        POLL + b"&rooms=%D0%BA%D1%83%D1%85%D0%BD%D1%8F"
    ),
    "a poll of no such room": get(POLL + b"&rooms=nowhere"),
    "a poll by somebody": get(POLL, b"Host: localhost\r\nAuthorization: Bearer TOKEN\r\n"),
    "a poll by a cookie": get(POLL, b"Host: localhost\r\n" + COOKIE),
    "a poll by a token in its query": get(POLL + b"&token=TOKEN"),
    "a poll by a wrong token": get(POLL, b"Host: localhost\r\nAuthorization: Bearer no\r\n"),
    "a poll by a wrong cookie": get(
        POLL, b"Host: localhost\r\nCookie: comet_session_memory=no\r\n"
    ),
    "a poll that wants HTML": get(POLL, b"Host: localhost\r\nAccept: text/html\r\n"),
    "a poll of a host that is not ours": get(POLL, b"Host: evil.example\r\n"),
    "a poll of a host that is none": get(POLL, b"Host: a b\r\n"),
    "a poll of our host by its name": get(POLL, b"Host: Chat.Example.Org:80\r\n"),
    "a poll of an allowed origin": get(
        POLL, b"Host: localhost\r\nOrigin: https://ours.example\r\n"
    ),
    "a poll of another origin": get(POLL, b"Host: localhost\r\nOrigin: https://x.example\r\n"),
    "jsonp": get(JSONP, OUR_SCRIPT),
    "jsonp without a name": get(b"/api/v1/events/jsonp?wait=0", OUR_SCRIPT),
    "jsonp refused": get(JSONP + b"&rooms=nowhere", OUR_SCRIPT),
    "jsonp by a page of another site": get(JSONP, OUR_SCRIPT + b"Sec-Fetch-Site: cross-site\r\n"),
    "jsonp by nobody knows whom": get(JSONP),
    "a stream": get(b"/api/v1/events/stream?backlog=5"),
    "sse": get(b"/api/v1/events/sse?backlog=5"),
    "sse from the browser's cursor": get(
        b"/api/v1/events/sse", b"Host: localhost\r\nLast-Event-ID: non sense\r\n"
    ),
    "a frame": get(b"/api/v1/events/frame?backlog=5"),
    "a frame refused": get(b"/api/v1/events/frame?rooms=nowhere"),
    "a frame for a foreign page": get(b"/api/v1/events/frame?target=https://ours.example"),
    "parts": get(b"/api/v1/events/multipart"),
    "text": get(b"/api/v1/events/text?backlog=5"),
    "the text of a room": get(b"/rooms/lobby.txt?backlog=5&cursors=1"),
    "the text of a room in Cyrillic": get(b"/rooms/%D0%BA%D1%83%D1%85%D0%BD%D1%8F.txt"),
    "the text of no such room": get(b"/rooms/nowhere.txt"),
    "the text of a room with a slash": get(b"/rooms/a%2Fb.txt"),
    "the text of a room, as HTML": get(
        b"/rooms/nowhere.txt", b"Host: localhost\r\nAccept: text/html\r\n"
    ),
    "the text by a wrong cookie": get(
        b"/rooms/lobby.txt", b"Host: localhost\r\nCookie: comet_session_memory=no\r\n"
    ),
    "a post": post(),
    "a post again": json_post(b'{"text":"hi","client_id":"1"}'),
    "a post that changed": json_post(b'{"text":"ho","client_id":"1"}'),
    "a post by a cookie": json_post(b'{"text":"hi"}', JSON + COOKIE),
    "a post by a cookie that is no JSON": json_post(b"hi", COOKIE),
    "a post by nobody": json_post(b'{"text":"hi"}', JSON),
    "a post that is no JSON": json_post(b"hi"),
    "a post that is no object": json_post(b"[]"),
    "a post of another type": json_post(b"hi", b"Authorization: Bearer TOKEN\r\n"),
    "a post of nothing": json_post(b""),
    "a post of a wrong text": json_post(b'{"text":""}'),
    "a post to a room in Cyrillic": json_post(
        b'{"text":"hi"}', target=b"/api/v1/rooms/%D0%BA%D1%83%D1%85%D0%BD%D1%8F/messages"
    ),
    "a post to no such room": json_post(b'{"text":"hi"}', target=b"/api/v1/rooms/no/messages"),
    "a post of another site": json_post(
        b'{"text":"hi"}', COOKIE + b"Sec-Fetch-Site: cross-site\r\n"
    ),
    "a post of another origin": json_post(b'{"text":"hi"}', COOKIE + b"Origin: http://x\r\n"),
    "a post of an allowed origin": json_post(
        b'{"text":"hi"}',
        b"Content-Type: application/json\r\nAuthorization: Bearer TOKEN\r\n"
        b"Origin: https://ours.example\r\n",
    ),
    "a handshake": bayeux(HANDSHAKE),
    "a handshake as somebody": bayeux(HANDSHAKE, b"Authorization: Bearer TOKEN\r\n"),
    "a handshake by a cookie": bayeux(HANDSHAKE, COOKIE),
    "a handshake of a browser": bayeux(HANDSHAKE, b"Cookie: BAYEUX_BROWSER=0123456789\r\n"),
    "a handshake of another site": bayeux(HANDSHAKE, b"Sec-Fetch-Site: cross-site\r\n"),
    "a handshake of another origin": bayeux(HANDSHAKE, b"Origin: https://x.example\r\n"),
    "a handshake of an allowed origin": bayeux(HANDSHAKE, b"Origin: https://ours.example\r\n"),
    "a handshake with an old version": bayeux(
        b'{"channel":"/meta/handshake","version":"0.9","id":"1"}'
    ),
    "a connect of nobody": bayeux(b'[{"channel":"/meta/connect","clientId":"no","id":1}]'),
    "a connect by its own path": bayeux(
        b'[{"channel":"/meta/connect","clientId":"no"}]', target=b"/cometd/connect"
    ),
    "no messages": bayeux(b"[]"),
    "messages that are no JSON": bayeux(b"["),
    "messages that are none": bayeux(b"[1]"),
    "messages in UTF-16": bayeux(
        "[]".encode("utf-16"), b"", b"Content-Type: application/json; charset=utf-16\r\n"
    ),
    "messages in no known encoding": bayeux(
        b"[]", b"", b"Content-Type: application/json; charset=x-y\r\n"
    ),
    "messages of another type": bayeux(b"[]", b"", b"Content-Type: image/png\r\n"),
    "messages in a form": bayeux(
        b"message=%5B%5D", b"", b"Content-Type: application/x-www-form-urlencoded\r\n"
    ),
    "messages as text of another site": bayeux(
        b"message=%5B%5D", b"Origin: https://ours.example\r\n", b"Content-Type: text/plain\r\n"
    ),
}

#: What parsers of HTTP read in different ways, around a request of a hot route.
DIFFERENT: Mapping[str, bytes] = {
    "two blanks": b"GET  %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % POLL,
    "HTTP/0.9": b"GET %b\r\n\r\n" % POLL,
    "HTTP/1.0": b"GET %b HTTP/1.0\r\nHost: localhost\r\n\r\n" % POLL,
    "HTTP/1.0 kept": b"GET %b HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n" % POLL,
    "HTTP/1.2": b"GET %b HTTP/1.2\r\nHost: localhost\r\n\r\n" % POLL,
    "HTTP/2.0": b"GET %b HTTP/2.0\r\nHost: localhost\r\n\r\n" % POLL,
    "RTSP": b"GET %b RTSP/1.0\r\nHost: localhost\r\n\r\n" % POLL,
    "http": b"GET %b http/1.1\r\nHost: localhost\r\n\r\n" % POLL,
    "a tab": b"GET\t%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % POLL,
    "a blank at the end": b"GET %b HTTP/1.1 \r\nHost: localhost\r\n\r\n" % POLL,
    "a leading CRLF": b"\r\n" + get(),
    "two leading CRLF": b"\r\n\r\n" + get(),
    "a leading LF": b"\n" + get(),
    "a method in lower case": get().replace(b"GET", b"get"),
    "an unknown method": get().replace(b"GET", b"FROB"),
    "PURGE": get().replace(b"GET", b"PURGE"),
    "M-SEARCH": get().replace(b"GET", b"M-SEARCH"),
    "HEAD": get().replace(b"GET", b"HEAD"),
    "OPTIONS": get().replace(b"GET", b"OPTIONS"),
    "PUT": post().replace(b"POST", b"PUT"),
    "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a target without a slash": get(b"x"),
    "an absolute target": get(b"http://localhost" + POLL),
    "a star": get(b"*"),
    "a fragment": get(POLL + b"#there"),
    "a fragment in the path": get(b"/api/v1/events/poll#there"),
    "DEL in the target": get(POLL + b"&x=\x7f"),
    "obs-text in the target": get(POLL + b"&x=\xa0"),
    "more of it": get(POLL + b"&x=\xe9"),
    "a path with a slash at its end": get(b"/api/v1/events/poll/?wait=0"),
    "a path with two slashes": get(b"/api/v1//events/poll?wait=0"),
    "a path with a dot": get(b"/api/v1/./events/poll?wait=0"),
    "a path in another way": get(b"/api/v1/events/p%6Fll?wait=0"),
    "a path in another case": get(b"/API/v1/events/poll?wait=0"),
    "a path with a semicolon": get(b"/api/v1/events/poll;x?wait=0"),
    "a path with a NUL": get(b"/rooms/a%00b.txt"),
    "a path with a newline": get(b"/rooms/a%0Ab.txt"),
    "a path that is no UTF-8": get(b"/rooms/%FF.txt"),
    "a path with a broken escape": get(b"/rooms/%F.txt"),
    "a path with a dot in its escape": get(b"/rooms/lobby%2Etxt"),
    "a room with a question mark": get(b"/rooms/a%3Fb.txt"),
    "a query of no UTF-8": get(POLL + b"&x=%FF"),
    "many parameters": get(POLL + b"&".join(b"a%d=" % n for n in range(200))),
    "a name": get(b"/rooms/lobby.txt?name=" + b"x" * 40),
    "a name written in another way": get(b"/rooms/lobby.txt?n%61me=" + b"x" * 40),
    "control characters": get(lines=b"Host: localhost\r\nX: a\x01\x0b\x0cb\r\n"),
    "a tab in a value": get(lines=b"Host: localhost\r\nX: a\tb\r\n"),
    "tabs around a value": get(lines=b"Host:\tlocalhost\t\r\n"),
    "DEL in a value": get(lines=b"Host: localhost\r\nX: \x7f\r\n"),
    "obs-text in a value": get(lines=b"Host: localhost\r\nX: \xe9\r\n"),
    "NUL in a value": get(lines=b"Host: localhost\r\nX: \0\r\n"),
    "a bare CR": get(lines=b"Host: localhost\r\nX: a\rb\r\n"),
    "a bare LF": get(lines=b"Host: localhost\nX: a\r\n"),
    "CR CR LF": get(lines=b"Host: localhost\r\r\n"),
    "bare LF everywhere": get().replace(b"\r\n", b"\n"),
    "a bare LF at the end": get()[:-2] + b"\n",
    "obs-fold": get(lines=b"Host: localhost\r\nX: a\r\n b\r\n"),
    "obs-fold of the host": get(lines=b"Host:\r\n localhost\r\n"),
    "obs-fold first": get(lines=b" X: a\r\nHost: localhost\r\n"),
    "a blank before the colon": get(lines=b"Host : localhost\r\n"),
    "an empty name of a header": get(lines=b"Host: localhost\r\n: a\r\n"),
    "no colon": get(lines=b"Host: localhost\r\nX\r\n"),
    "a name that is no token": get(lines=b"Host: localhost\r\nX(Y): a\r\n"),
    "an underscore": get(lines=b"Host: localhost\r\nX_Y: a\r\n"),
    "no host": get(lines=b"X: a\r\n"),
    "no header": get(lines=b""),
    "two hosts": get(lines=b"Host: localhost\r\n" * 2),
    "an empty host": get(lines=b"Host:\r\n"),
    "close": get(lines=b"Host: localhost\r\nConnection: close\r\n"),
    "Close": get(lines=b"Host: localhost\r\nConnection: Close\r\n"),
    "close, x": get(lines=b"Host: localhost\r\nConnection: close, x\r\n"),
    "x,close": get(lines=b"Host: localhost\r\nConnection: x,close\r\n"),
    "keep-alive, twice": get(lines=b"Host: localhost\r\n" + b"Connection: keep-alive\r\n" * 2),
    "keep-alive and close": get(
        lines=b"Host: localhost\r\nConnection: keep-alive\r\nConnection: close\r\n"
    ),
    "bytes after a close": get(lines=b"Host: localhost\r\nConnection: close\r\n") + get(),
    "an upgrade": get(lines=b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
    "an upgrade to h2c": get(lines=b"Host: localhost\r\nUpgrade: h2c\r\n"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an expectation": post(b"Expect: 100-continue\r\nContent-Length: 13\r\n"),
    "an expectation before the body": post(b"Expect: 100-continue\r\nContent-Length: 13\r\n", b""),
    "another expectation": post(b"Expect: x\r\nContent-Length: 13\r\n"),
    "trailers": post(
        b"Trailer: X\r\nTransfer-Encoding: chunked\r\n", b'd\r\n{"text":"hi"}\r\n0\r\nX: y\r\n\r\n'
    ),
    "a length with zeros": post(b"Content-Length: 0013\r\n"),
    "a length with many zeros": post(b"Content-Length: 0000000013\r\n"),
    "a length with a sign": post(b"Content-Length: +13\r\n"),
    "a length below zero": post(b"Content-Length: -1\r\n"),
    "a length in hex": post(b"Content-Length: 0xd\r\n"),
    "a list of lengths": post(b"Content-Length: 13, 13\r\n"),
    "a length and a blank": post(b"Content-Length: 1 3\r\n"),
    "no digits": post(b"Content-Length:\r\n"),
    "a length twice": post(b"Content-Length: 13\r\n" * 2),
    "two lengths": post(b"Content-Length: 13\r\nContent-Length: 0\r\n"),
    "a length on two lines": post(b"Content-Length:\r\n 13\r\n"),
    "a huge length": post(b"Content-Length: 99999999999999999999\r\n"),
    "a length over the limit": post(b"Content-Length: 262145\r\n"),
    "no length": post(b"", b""),
    "no length and a body": post(b""),
    "a GET with a length of nothing": get(lines=b"Host: localhost\r\nContent-Length: 0\r\n"),
    "a GET with a body": get(lines=b"Host: localhost\r\nContent-Length: 2\r\n") + b"hi",
    "a GET with a body and no length": get() + b"hi",
    "500 headers": get(lines=b"Host: localhost\r\n" + b"A: b\r\n" * 499),
    "600 headers": get(lines=b"Host: localhost\r\n" + b"A: b\r\n" * 600),
    "a head of 15 KB": get(lines=b"Host: localhost\r\nA: %b\r\n" % (b"x" * 15_000)),
    "a head of 17 KB": get(lines=b"Host: localhost\r\nA: %b\r\n" % (b"x" * 17_000)),
    "a target of 17 KB": get(POLL + b"&x=" + b"x" * 17_000),
    "a body of 40 KB": json_post(b'{"text":"hi"}' + b" " * 40_000),
    "chunks": post(b"Transfer-Encoding: chunked\r\n", b'd\r\n{"text":"hi"}\r\n0\r\n\r\n'),
    "chunks of a GET": get(lines=b"Host: localhost\r\nTransfer-Encoding: chunked\r\n")
    + b"0\r\n\r\n",
}

#: A second request, hidden in the first one for whoever reads that in another way.
SMUGGLED = get(b"/api/v1/rooms/SMUGGLED/people")
_HIDDEN = LENGTH % len(SMUGGLED)


def chunked(size: bytes, rest: bytes = SMUGGLED) -> bytes:
    return post(
        b"Transfer-Encoding: chunked\r\n", b'%b\r\n{"text":"hi"}\r\n0\r\n\r\n' % size + rest
    )


SMUGGLING: Mapping[str, bytes] = {
    "CL.TE": post(_HIDDEN + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    "TE.CL": post(
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
    ),
    **{
        f"TE.TE by {line!r}": post(_HIDDEN + line + b"\r\n", b"0\r\n\r\n" + SMUGGLED)
        for line in (
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: identity, chunked",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding:\tchunked",
            b"Transfer-Encoding:\x0bchunked",
            b"Transfer-Encoding:\r\n chunked",
            b"Transfer-Encoding: chunked\x00",
            b"Transfer-Encoding: \xffchunked",
            b'Transfer-Encoding: "chunked"',
            b" Transfer-Encoding: chunked",
            b"X: a\nTransfer-Encoding: chunked",
            b"X: a\rTransfer-Encoding: chunked",
            b"transfer-encoding: CHUNKED",
            b"Transfer_Encoding: chunked",
            b"Transfer-Encoding;: chunked",
            b"Foo: bar\r\n\rTransfer-Encoding: chunked",
        )
    },
    "two lengths, the first is less": post(b"Content-Length: 0\r\n" + _HIDDEN, SMUGGLED),
    "two lengths, the last is less": post(_HIDDEN + b"Content-Length: 0\r\n", SMUGGLED),
    "the same length twice": post(_HIDDEN * 2, SMUGGLED),
    "a length that is folded": post(b"Content-Length: 0\r\n %d\r\n" % len(SMUGGLED), SMUGGLED),
    "a length after a bare LF": post(b"X: a\nContent-Length: 0\r\n" + _HIDDEN, SMUGGLED),
    "a length with an underscore": post(b"Content_Length: 0\r\n" + _HIDDEN, SMUGGLED),
    "a length in another case": post(_HIDDEN.lower(), SMUGGLED),
    "a GET with a length": get(lines=b"Host: localhost\r\n" + _HIDDEN) + SMUGGLED,
    "a GET with chunks": get(lines=b"Host: localhost\r\nTransfer-Encoding: chunked\r\n")
    + b"0\r\n\r\n"
    + SMUGGLED,
    "no length": post(b"", SMUGGLED),
    "a length that is too short": post(b"Content-Length: 5\r\n", b"hello" + SMUGGLED),
    "a length that is too long": post(b"Content-Length: 99\r\n", SMUGGLED),
    "a chunk with a blank": chunked(b"d "),
    "a chunk with a sign": chunked(b"+d"),
    "a chunk in hex": chunked(b"0xd"),
    "a chunk with zeros": chunked(b"000d"),
    "a chunk with an extension": chunked(b"d;a=b"),
    "a chunk with an LF in its extension": chunked(b"d;a\nb"),
    "a chunk with a CR in its extension": chunked(b"d;a\rb"),
    "a chunk of a huge size": chunked(b"f" * 17 + b"d"),
    "a chunk with a size below zero": chunked(b"-1"),
    "a chunk that ends by LF": chunked(b"d").replace(b"d\r\n{", b"d\n{"),
    "a chunk that is too long": chunked(b"e"),
    "a chunk that is too short": chunked(b"c"),
    "chunks that end by LF": chunked(b"d").replace(b"0\r\n\r\n", b"0\n\n", 1),
    "chunks with a wrong trailer": post(
        b"Transfer-Encoding: chunked\r\n", b"0\r\nnonsense\r\n\r\n" + SMUGGLED
    ),
    "an expectation": post(b"Expect: 100-continue\r\n" + _HIDDEN, SMUGGLED),
    "an upgrade": get(lines=b"Host: localhost\r\nUpgrade: websocket\r\n") + SMUGGLED,
    "a close": get(lines=b"Host: localhost\r\nConnection: close\r\n") + SMUGGLED,
    "an empty line between": get() + b"\r\n" + SMUGGLED,
    "two empty lines between": get() + b"\r\n\r\n" + SMUGGLED,
    "a line end in the target": get(POLL + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED),
    "CR LF in the path, escaped": get(b"/rooms/a%0d%0aX: y.txt") + SMUGGLED,
    **{f"behind {what}": data + SMUGGLED for what, data in HOT.items() if "stream" not in what},
}
