"""What a channel answers before there is a route.

What it is: the bytes of a refusal, and the words for a head that is too large.

What it may know: errors. Not connections.

Invariant: of what a client sent, a refusal repeats names of cookies and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus

import attrs
from twisted.web.http import datetimeToString

from cometd_chat.errors import ChatError, HeadTooLarge
from cometd_chat.transports.response_head import response_head

#: So many cookies are named, the largest first.
_MOST_NAMED = 5

#: The name of a cookie (RFC 6265, section 4.1.1), as long as it can be read.
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")


@attrs.frozen
class Form:
    """What an error looks like to whoever is refused.

    :param kind: the body's content type.
    :param policy: the Content-Security-Policy of a page; None for what is none.
    """

    kind: bytes
    body: bytes
    policy: bytes | None = None


def answer(error: ChatError, form: Form) -> bytes:
    """A whole answer, after which the connection is closed."""
    policy = b"" if form.policy is None else b"Content-Security-Policy: %b\r\n" % form.policy
    retry = b"Retry-After: %d\r\n" % error.retry_after if error.retry_after else b""
    head = response_head(
        error.status,
        HTTPStatus(error.status).phrase.encode(),
        [
            b"Date: %b\r\n" % datetimeToString(),
            b"Content-Type: %b\r\nContent-Length: %d\r\n" % (form.kind, len(form.body)),
            b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            retry,
            policy,
            b"Connection: close\r\n",
        ],
    )
    return head + form.body


def values(name: bytes, line: bytes) -> Sequence[bytes]:
    """The value in a line of a head that may have come in part; none when it is another header's.

    :param name: in lower case.
    """
    field, colon, value = line.partition(b":")
    return (value,) if colon and field.lower() == name else ()


def too_large(limit: int, cookies: Iterable[bytes]) -> HeadTooLarge:
    """The error for a head of too many bytes. Mostly it is cookies, of all that a host serves.

    :param limit: in bytes.
    :param cookies: the values of its Cookie headers, the last one perhaps in part.
    """
    names = _names(cookies)
    most = f"The head of a request can have {limit // 1024} KiB at most."
    if not names:
        return HeadTooLarge(f"{most} Send a shorter address or fewer headers.")
    shown = ", ".join(names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return HeadTooLarge(
        f"{most} Cookies are in it: {shown}{more}. Delete those of this site in your browser, then "
        "load the page again."
    )


def _names(cookies: Iterable[bytes]) -> list[str]:
    """Names of cookies, the largest first."""
    sizes: dict[bytes, int] = {}
    for value in cookies:
        for pair in value.split(b";"):
            name = pair.partition(b"=")[0].strip()
            if _NAME.fullmatch(name):
                sizes[name] = max(len(pair), sizes.get(name, 0))
    largest = sorted(sizes, key=lambda name: -sizes[name])
    return [name.decode("ascii") for name in largest]
