"""Foreign origins that may use the API (CORS).

What it is: which origins they are, and the headers that let their pages read our answers.

What it may know: requests. Not sessions.

Invariant: no credentials of the browser's ever count for a foreign page: it brings a token.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from cometd_chat.transports.request import HttpRequest

#: Seconds that a browser may remember what is allowed (Fetch, section 3.3.3).
REMEMBERED = 86400

_METHODS = "GET, HEAD, POST, PUT, DELETE"
_HEADERS = (
    *("authorization", "cache-control", "content-type", "last-event-id", "pragma"),
    "x-requested-with",
)

#: The name of a header (RFC 9110, section 5.6.2).
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")

#: Clients of Bayeux send their requests with credentials, and browsers then want to be told that
#: they may, whatever counts of them here.
_WITH_CREDENTIALS = re.compile(rb"/cometd(/.*)?")


class Origins:
    """Origins of `--allow-origin`.

    :param allowed: such as ``https://www.example.org``.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self.allowed = frozenset(allowed)

    def includes(self, request: HttpRequest) -> bool:
        """Whether a request comes from a page of one of them."""
        return request.getHeader("origin") in self.allowed

    def add_headers(self, request: HttpRequest) -> None:
        """Let the page read the answer."""
        if not self.allowed:
            return
        request.setHeader("vary", "Origin")
        if self.includes(request):
            request.setHeader("access-control-allow-origin", request.getHeader("origin") or "")
            request.setHeader("access-control-expose-headers", "location, retry-after")
            if _WITH_CREDENTIALS.fullmatch(request.path):
                request.setHeader("access-control-allow-credentials", "true")

    def is_preflight(self, request: HttpRequest) -> bool:
        """Whether a browser asks what a page may send (Fetch, section 3.3.2)."""
        asks = request.getHeader("access-control-request-method") is not None
        return request.method == b"OPTIONS" and asks and self.includes(request)

    def answer_preflight(self, request: HttpRequest) -> bytes:
        """Say what a page may send: any header, whatever its libraries add."""
        asked = request.getHeader("access-control-request-headers") or ""
        wanted = [name.strip().lower() for name in asked.split(",")]
        names = dict.fromkeys([*_HEADERS, *filter(_NAME.fullmatch, wanted)])
        request.setResponseCode(204)
        request.setHeader("access-control-allow-methods", _METHODS)
        request.setHeader("access-control-allow-headers", ", ".join(names))
        request.setHeader("access-control-max-age", str(REMEMBERED))
        return b""
