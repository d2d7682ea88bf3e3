"""Heads of requests that are simple enough for the fast lane.

What it is: from bytes to a request line and a `Head`, or None for whatever HTTP/1.1 could also read
in another way than we do.

What it may know: RFC 9112. No routes, no connections.

Invariant: nothing is mended and nothing refused here. What is taken means the same to every parser
of HTTP/1.1; all else goes, byte for byte, to the slow path, which judges it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs

#: Whole requests up to so many bytes are simple; the slow path's own bound for a head.
MAX_REQUEST = 16 * 1024

#: As many lines as the slow path takes.
MAX_FIELDS = 500

#: What a connection remembers of its last head, at most.
MAX_REMEMBERED = 4 * 1024

#: Method and target; exactly one blank each, and no byte that is not visible ASCII.
_REQUEST_LINE = re.compile(rb"(GET|POST) (/[!-~]*) HTTP/1\.1\r\n")

#: Of heads that are known beyond their connection: bytes, without what is a client's own, and how
#: many, twice.
MAX_KNOWN = 1536
MOST_KNOWN = 64

#: Lines that differ from one client of a kind to the next, who and where they are and how far they
#: have come: the name, and the end of the line before with how such a line begins, as browsers and
#: proxies write it.
OWN = (
    ("cookie", b"\r\nCookie: "),
    ("authorization", b"\r\nAuthorization: "),
    ("last-event-id", b"\r\nLast-Event-ID: "),
    ("x-forwarded-for", b"\r\nX-Forwarded-For: "),
    ("x-real-ip", b"\r\nX-Real-IP: "),
)

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
    #: The same, about those of any connection that differ in `OWN` alone.
    common: dict[object, object] = attrs.field(factory=dict)


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


class KnownHeads:
    """Header lines that came on any connection, but for those that are a client's `OWN`.

    All browsers of one kind send the same lines when they open the same thing, and each opens it on
    a connection of its own. To take out what is their own and look the rest up takes 2 us, where
    reading a browser's head takes 7.

    Nothing is kept that shows who somebody is.
    """

    def __init__(self) -> None:
        # Those that were found lately, and those before them: what is in use stays.
        self._heads: dict[bytes, Head] = {}
        self._before: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head | None:
        """See `read_head`."""
        rest, own = block, {}
        for name, begin in OWN:
            at = rest.find(begin)
            if at >= 0:
                end = rest.index(b"\r\n", at + len(begin))
                own[name] = rest[at + len(begin) : end]
                rest = rest[: at + 2] + rest[end + 2 :]
        known = self._heads.get(rest) or self._known_before(rest)
        if known is None:
            return self._remember(read_head(block), rest, own)
        if not own:
            return Head(block, known.fields, {}, None, common=known.common)
        fields = dict(known.fields)
        for name, value in own.items():
            if value.translate(None, _VISIBLE_OR_BLANK):
                return None
            fields[name] = (value.strip(b" ").decode("ascii"),)
        return Head(block, fields, _cookies(fields), None, common=known.common)

    def _known_before(self, rest: bytes) -> Head | None:
        head = self._before.get(rest)
        if head is not None:
            self._keep(head)
        return head

    def _remember(self, head: Head | None, rest: bytes, own: Mapping[str, bytes]) -> Head | None:
        """Know a head from now on, when what is left of it is nobody's own."""
        if head is None or head.length is not None or len(rest) > MAX_KNOWN:
            return head
        fields = {name: values for name, values in head.fields.items() if name not in own}
        once = all(len(head.fields[name]) == 1 for name in own)
        if once and not any(name in fields for name, _ in OWN):
            self._keep(Head(rest, fields, {}, None, common=head.common))
        return head

    def _keep(self, head: Head) -> None:
        if len(self._heads) >= MOST_KNOWN:
            self._before, self._heads = self._heads, {}
        self._heads[head.block] = head


def read_request(
    data: bytes, line: re.Match[bytes], known: Head | None, read: Callable[[bytes], Head | None]
) -> SimpleRequest | None:
    """The request, when it is simple and is all there is.

    :param line: what `read_line` gave for the same bytes.
    :param known: the last head of the same connection. A browser repeats everything after the
        request line in each poll, so that most heads need no reading.
    :param read: what reads others, see `read_head`.
    """
    end = data.find(b"\r\n\r\n") + 2
    if end < 2 or len(data) > MAX_REQUEST:
        return None
    block = data[line.end() : end]
    head = known if known is not None and known.block == block else read(block)
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
