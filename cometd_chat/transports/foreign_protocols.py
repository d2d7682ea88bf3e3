"""What comes to a port and is no HTTP/1.1: what it is instead, and a line in the log.

What it is: a table of first bytes, and `ForeignProtocols`, which counts what came.

What it may know: bytes. Not connections, and nobody's address.

Invariant: what may become a head of HTTP/1.1 is never taken for something else, however few bytes
of it have come; and however many come, there is one line a minute.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs
from twisted.logger import Logger

#: Seconds between two lines.
EVERY = 60.0


@attrs.frozen
class ForeignProtocol:
    """Something that is no HTTP/1.1.

    :param what: for the log.
    :param remedy: what it is told, in case that somebody reads it.
    """

    what: str
    remedy: str


_PROXY = ForeignProtocol(
    "the PROXY protocol",
    "The PROXY protocol is spoken here where --listen says so: haproxy:tcp:8080.",
)

#: By their first bytes.
_BY_PREFIX = (
    (
        b"\x16",
        ForeignProtocol(
            "TLS", "This port speaks plain HTTP, not TLS: use http://, or --listen ssl:."
        ),
    ),
    (b"SSH-", ForeignProtocol("SSH", "This port speaks HTTP, not SSH.")),
    (
        b"PRI * HTTP/2",
        ForeignProtocol("HTTP/2", "HTTP/2 is for a proxy in front: here HTTP/1.1 is spoken."),
    ),
    (b"PROXY TCP", _PROXY),
    (b"PROXY UNKNOWN", _PROXY),
    (b"\r\n\r\n\x00\r\nQUIT\n", _PROXY),
)

_BINARY = ForeignProtocol("bytes that are no text", "This port speaks HTTP.")

_BARE = ForeignProtocol(
    "lines that end with a bare LF", "Lines of a request end with CR LF (RFC 9112, section 2.2)."
)

#: A method, and before it empty lines (RFC 9112, sections 2.2 and 3.1), as far as they have come.
_MAY_BEGIN = re.compile(rb"(?:\r?\n)*(?:\r?\Z|[!#$%&'*+.^_`|~0-9A-Za-z-])")


def foreign_protocol_at(head: bytes) -> ForeignProtocol | None:
    """What the beginning of a head shows itself to be; None while it may be a request."""
    for prefix, foreign in _BY_PREFIX:
        if head.startswith(prefix):
            return foreign
    if _MAY_BEGIN.match(head) or any(prefix.startswith(head) for prefix, _ in _BY_PREFIX):
        return None
    return _BINARY


def bare_lf_in(rest: bytes) -> ForeignProtocol | None:
    """Whether lines of a head end with LF alone.

    :param rest: what has come of a head and is no whole line.
    """
    return _BARE if b"\n" in rest and b"\r\n" not in rest else None


class ForeignProtocols:
    """All that came.

    :param seconds: the time.
    """

    _log = Logger()

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._next = -EVERY
        self._unsaid = 0

    def note(self, foreign: ForeignProtocol) -> None:
        """One has come, and was sent away."""
        now = self._seconds()
        if now < self._next:
            self._unsaid += 1
            return
        self._next = now + EVERY
        more, self._unsaid = self._unsaid, 0
        self._log.info(
            "closed a connection that brought {what} to a port of HTTP/1.1 (and {more} others "
            "since the last such line)",
            what=foreign.what,
            more=more,
        )
