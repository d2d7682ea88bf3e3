"""Answers that are sent smaller (gzip, RFC 1952).

What it is: whether a client takes gzip, and a body in it. Only what is complete is ever compressed:
a compressor would hold back what a stream says now.

What it may know: requests. Not what they ask for.

Invariant: whoever gets it compressed said that it may be, and caches are told that this decides.
"""

from __future__ import annotations

import gzip

from cometd_chat.transports.request import HttpRequest

#: What is shorter fits into one packet either way.
WORTH_IT = 1000

#: Half of the time of zlib's own level, for a page that is 3 % larger.
_LEVEL = 5


def packed(data: bytes, level: int = 9) -> bytes:
    """The same in gzip."""
    return gzip.compress(data, level, mtime=0)


def may_pack(request: HttpRequest) -> bool:
    """Whether a client takes gzip (RFC 9110, section 12.5.3); says in the answer that it matters.

    :returns: False for one that says nothing: it may not know how to undo it.
    """
    request.responseHeaders.addRawHeader("vary", "Accept-Encoding")
    accepted = request.getHeader("accept-encoding") or ""
    weights = dict(map(_weight, accepted.lower().split(",")))
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def pack(request: HttpRequest, body: bytes) -> bytes:
    """A complete body, compressed when its client takes that and it is worth it."""
    if not may_pack(request) or len(body) < WORTH_IT:
        return body
    request.setHeader("content-encoding", "gzip")
    return packed(body, _LEVEL)


def _weight(item: str) -> tuple[str, float]:
    """One coding and how much it is wanted; what can't be read is not wanted."""
    coding, _, parameter = item.partition(";")
    name, _, value = parameter.strip().partition("=")
    try:
        weight = float(value) if name.strip() == "q" else 1.0
    except ValueError:
        weight = 0.0
    return coding.strip(), weight
