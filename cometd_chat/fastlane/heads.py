"""Heads of requests that are simple enough for the fast lane.

What it is: from bytes to a request line and a `Head`, or None for whatever HTTP/1.1 could also read
in another way than we do.

What it may know: RFC 9112. No routes, no connections.

Invariant: nothing is mended and nothing refused here. What is taken means the same to every parser
of HTTP/1.1; all else goes, byte for byte, to the slow path, which judges it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

#: Whole requests up to so many bytes are simple; the slow path's own bound for a head.
MAX_REQUEST = 16 * 1024

#: As many lines as the slow path takes.
MAX_FIELDS = 500

#: What a connection remembers of its last head, at most.
MAX_REMEMBERED = 4 * 1024

#: Method and target; exactly one blank each, and no byte that is not visible ASCII.
_REQUEST_LINE = re.compile(rb"(GET|POST) (/[!-~]*) HTTP/1\.1\r\n")

_VISIBLE_OR_BLANK = bytes(range(0x20, 0x7F))

#: RFC 9110, section 5.6.2.
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#: Headers that make a request more than a simple one: framing, switching, announcing.
_NOT_SIMPLE = ("transfer-encoding", "expect", "upgrade", "trailer")


@attrs.frozen(eq=False)
class Head:
    """The header lines of a request.

    :param block: the lines as they came, each with its end.
    :param fields: their values by their names in lower case.
    :param cookies: of the Cookie headers.
    :param length: of the body, in bytes; None when the head doesn't say.
    """

    block: bytes
    fields: Mapping[str, tuple[str, ...]]
    cookies: Mapping[bytes, bytes]
    length: int | None
    #: What was found out about requests with these lines, by whoever wants to know it again.
    memory: dict[object, object] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class SimpleRequest:
    """A whole request, and nothing after it."""

    method: bytes
    target: bytes
    head: Head
    body: bytes


def read_line(data: bytes) -> re.Match[bytes] | None:
    """The request line, when it is one that could be simple: method, then target.

    (RFC 9112, section 3.)
    """
    return _REQUEST_LINE.match(data)


def read_request(data: bytes, line: re.Match[bytes], known: Head | None) -> SimpleRequest | None:
    """The request, when it is simple and is all there is.

    :param line: what `read_line` gave for the same bytes.
    :param known: the last head of the same connection. A browser repeats everything after the
        request line in each poll, so that most heads need no reading.
    """
    end = data.find(b"\r\n\r\n") + 2
    if end < 2 or len(data) > MAX_REQUEST:
        return None
    block = data[line.end() : end]
    head = known if known is not None and known.block == block else read_head(block)
    if head is None:
        return None
    method, target = line.groups()
    body = data[end + 2 :]
    # A GET has no length at all; a POST has one, and all of it is here.
    if head.length != (len(body) if method == b"POST" else None) or (body and method == b"GET"):
        return None
    return SimpleRequest(method, target, head, body)


def read_head(block: bytes) -> Head | None:
    """The header lines, when they are simple.

    :param block: the lines, each with its CR LF.
    """
    count = block.count(b"\r\n")
    # All that is neither visible nor blank has to be CR LF: no other control character, no CR or
    # LF alone, nothing from 0x7f up.
    if block.translate(None, _VISIBLE_OR_BLANK) != b"\r\n" * count or count > MAX_FIELDS:
        return None
    fields: dict[str, tuple[str, ...]] = {}
    for line in block.split(b"\r\n")[:-1]:
        raw_name, colon, value = line.partition(b":")
        # A line that begins with a blank, as a folded one does, has no token before its colon.
        if not colon or not raw_name or raw_name.translate(None, _TOKEN):
            return None
        name = raw_name.decode("ascii").lower()
        fields[name] = (*fields.get(name, ()), value.strip(b" ").decode("ascii"))
    if not _is_simple(fields):
        return None
    lengths = fields.get("content-length")
    return Head(block, fields, _cookies(fields), None if lengths is None else int(lengths[0]))


def _is_simple(fields: Mapping[str, tuple[str, ...]]) -> bool:
    if len(fields.get("host", ())) != 1 or any(name in fields for name in _NOT_SIMPLE):
        return False
    connection = fields.get("connection", ("keep-alive",))
    if len(connection) != 1 or connection[0].lower() != "keep-alive":
        return False
    # More digits than any body that comes in one piece has are for the slow path, too.
    lengths = fields.get("content-length", ("0",))
    return len(lengths) == 1 and lengths[0].isdigit() and len(lengths[0]) <= 5


def _cookies(fields: Mapping[str, tuple[str, ...]]) -> dict[bytes, bytes]:
    """Names and values of cookies, the last of each name (RFC 6265, section 5.4)."""
    cookies: dict[bytes, bytes] = {}
    for header in fields.get("cookie", ()):
        for pair in header.encode("ascii").split(b";"):
            name, equals, value = pair.lstrip().partition(b"=")
            if equals:
                cookies[name] = value
    return cookies
