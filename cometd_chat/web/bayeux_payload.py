"""What a request on ``/cometd`` brings: its messages, as JSON, and what its header fields say.

What it is: from the body of a request to JSON, however old clients send it.

What it may know: requests. Not what is in a message.

Invariant: what any page could have sent is told apart from what only its own visitor's could.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from cometd_chat.errors import InvalidRequest, NotJson
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import parameters
from cometd_chat.web.auth import is_foreign

#: Encodings in which old clients may send JSON; all else is UTF-8 (RFC 8259, section 8.1).
_CHARSET = re.compile(r"utf-?8|us-ascii|iso-8859-\d{1,2}|windows-125\d|utf-?16(le|be)?", re.I)

#: The parameter in which messages come (Bayeux 1.0, sections 6.1 and 6.2), each one or an array.
MESSAGE = "message"

_IN_FORM = b"message="

#: What no form begins with.
_JSON_BEGINS = re.compile(rb"(?:\xef\xbb\xbf)?\s*[\[{]")

_FORMS = ("application/x-www-form-urlencoded", "text/plain", "")
_JSON = ("application/json", "text/json", "text/plain", "")


@attrs.frozen
class HeaderFacts:
    """What the header fields of a POST say.

    :param kind: the media type of its body.
    :param foreign: whether a page of another site sent it.
    :param cookies: whether its cookies count.
    """

    kind: str
    charset: str
    foreign: bool
    cookies: bool


def header_facts(request: HttpRequest) -> HeaderFacts:
    """What its header fields say."""
    kind, foreign = parameters.content_type(request), is_foreign(request)
    # Any page can send a form to us; where the browser does not say from which one, only what no
    # form can send is taken for its visitor's.
    told = request.getHeader("sec-fetch-site") or request.getHeader("origin")
    meant = bool(told) or kind == "application/json"
    match = re.search(r"charset=\"?([\w-]+)", request.getHeader("content-type") or "")
    charset = "utf-8" if match is None else match[1].lower()
    return HeaderFacts(kind, charset, foreign, cookies=meant and not foreign)


def payload(request: HttpRequest, facts: HeaderFacts) -> tuple[Sequence[bytes | str], bool]:
    """The JSON of a request's body, and whether it came as a form, perhaps in several fields.

    :raises NotJson: it is of a kind that can't be one.
    """
    body = parameters.body(request)
    if facts.kind in _FORMS and _IN_FORM in body and not _JSON_BEGINS.match(body):
        messages = parameters.parse_form(body, strict=False).all(MESSAGE)
        if messages:
            return messages, True
    if facts.kind not in _JSON:
        raise NotJson("Send an array of messages as application/json.")
    return [_decoded(body, facts.charset)], False


def _decoded(body: bytes, charset: str) -> bytes | str:
    if charset in ("utf-8", "utf8"):
        return body
    if _CHARSET.fullmatch(charset) is None:
        raise NotJson(f"The encoding {charset} is not known here: send UTF-8.")
    try:
        return body.decode(charset)
    except (UnicodeError, LookupError):
        raise InvalidRequest(f"The body is not {charset}.") from None
