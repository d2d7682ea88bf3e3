"""The head of an answer that is written by hand.

What it is: one pure function, for what is answered before Twisted has a request, without it, or in
a way that it has no word for.

What it may know: RFC 9112.

Invariant: a head ends with exactly one empty line, whatever is in it.
"""

from __future__ import annotations

from collections.abc import Iterable


def response_head(code: int, reason: bytes, lines: Iterable[bytes]) -> bytes:
    """The bytes of a head (RFC 9112, section 4).

    :param reason: such as ``Not Found``.
    :param lines: of its fields, each with its end; empty ones are left out.
    """
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (code, reason, b"".join(lines))
