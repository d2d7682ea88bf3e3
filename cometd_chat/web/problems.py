"""Errors on their way out.

What it is: from the table of errors to responses: JSON for programs (RFC 9457), pages for people.

What it may know: requests, the table, pages. Not the chat.

Invariant: every refusal that leaves the daemon has one of these two forms, and what was typed into
a form comes back with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from http import HTTPStatus

import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.errors import (
    ChatError,
    FieldError,
    InvalidToken,
    MethodNotAllowed,
    NoSession,
    UpgradeRequired,
    WrongPassword,
)
from cometd_chat.transports.refusals import Form
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import compression, parameters
from cometd_chat.web.pages.page import House, content_security_policy
from cometd_chat.web.pages.problems import ProblemPage

#: Fields of our forms that are worth handing back, as pages call them.
TYPED = ("text", "message", "name", "username", "topic")

#: Seconds between two lines of the log that say the same.
_TELL_EVERY = 60.0

JSON = b"application/problem+json"
HTML = b"text/html; charset=utf-8"


def as_json(error: ChatError) -> bytes:
    """The problem object of an error, for who writes programs."""
    return msgspec.json.encode(as_object(error))


def as_object(error: ChatError) -> dict[str, object]:
    """The same, before it is written (RFC 9457, section 3)."""
    problem: dict[str, object] = {
        "type": f"/problems/{error.slug}",
        "title": error.title,
        "status": error.status,
        "detail": f"{error.detail} {error.hint}".rstrip(),
    }
    if error.fields:
        problem["errors"] = [_field(each) for each in error.fields]
    return problem | error.extra


def _field(error: FieldError) -> dict[str, str]:
    found = {"field": error.field, "detail": error.detail}
    return found | {"instead": error.instead} if error.instead else found


class Problems:
    """How errors are answered.

    :param make_nonce: makes the nonce of a page.
    :param count: told of each error that a client is told of.
    :param seconds: a clock that only goes forward.
    :param house: what pages say of the house.
    """

    _log = Logger()

    def __init__(
        self,
        make_nonce: Callable[[], str],
        count: Callable[[ChatError], None],
        seconds: Callable[[], float],
        house: Callable[[], House] = House,
    ) -> None:
        self._make_nonce = make_nonce
        self.count = count
        self._seconds = seconds
        self._house = house
        #: When a remedy of each kind was last told.
        self._told: dict[str, float] = {}

    def respond(self, request: HttpRequest, error: ChatError) -> bytes:
        """Set status and headers of a response, and give its body."""
        self.begin(request, error)
        wants_html = _wants_html(request)
        if wants_html:
            nonce = self._make_nonce()
            request.setHeader("content-security-policy", content_security_policy(nonce))
            page = _page(error, typed=_typed(request), back_url=_back(request))
            body = compression.pack(request, page.draw(nonce, self._house()).encode())
        else:
            body = as_json(error)
        request.setHeader("content-type", HTML if wants_html else JSON)
        request.setHeader("content-length", str(len(body)))
        return body

    def begin(self, request: HttpRequest, error: ChatError) -> None:
        """Set the status of an error, and its headers; the body is the caller's."""
        self.count(error)
        self._tell(error)
        _set_headers(request, error)

    def broken(self, request: HttpRequest, failure: Failure) -> bytes:
        """Answer a defect of ours: it is in the log, and nothing of it in the body."""
        return self.respond(request, self.defect(failure))

    def defect(self, failure: Failure) -> ChatError:
        """Log a defect of ours; the error to be told in its place."""
        self._log.failure("a request failed", failure)
        return ChatError("It is in the log. Trying again may help.")

    def refusal(self, error: ChatError, wants_html: bool) -> Form:
        """The form of a response to what never reached a route."""
        self.count(error)
        self._tell(error)
        if not wants_html:
            return Form(JSON, as_json(error))
        nonce = self._make_nonce()
        page = _page(error, typed={}, back_url="/").draw(nonce, self._house()).encode()
        return Form(HTML, page, content_security_policy(nonce).encode("ascii"))

    def _tell(self, error: ChatError) -> None:
        """Tell who runs the daemon what to do, at most once a minute: thousands may be refused."""
        now = self._seconds()
        if error.remedy and now - self._told.get(error.slug, -_TELL_EVERY) >= _TELL_EVERY:
            self._told[error.slug] = now
            self._log.info("{remedy}", remedy=error.remedy, slug=error.slug)


def _page(error: ChatError, *, typed: dict[str, str], back_url: str) -> ProblemPage:
    return ProblemPage(
        status=error.status,
        title=error.title,
        detail=error.detail,
        typed=typed,
        back_url=back_url,
    )


def _set_headers(request: HttpRequest, error: ChatError) -> None:
    # By its name; Twisted doesn't know those of 421, 426 and 429.
    request.setResponseCode(error.status, HTTPStatus(error.status).phrase.encode())
    request.setHeader("cache-control", "no-store")
    if error.retry_after is not None or error.status in (429, 503):
        request.setHeader("retry-after", str(max(1, math.ceil(error.retry_after or 1))))
    if isinstance(error, MethodNotAllowed):
        request.setHeader("allow", ", ".join(error.allow))
    if isinstance(error, UpgradeRequired):
        # RFC 9110, section 7.8; RFC 6455, section 4.4.
        request.setHeader("upgrade", "websocket")
        request.responseHeaders.addRawHeader("connection", "Upgrade")
        request.setHeader("sec-websocket-version", "13")
    if isinstance(error, (NoSession, InvalidToken, WrongPassword)):
        request.setHeader("www-authenticate", 'Bearer realm="comet-chat"')


def _wants_html(request: HttpRequest) -> bool:
    path = request.path
    return not path.startswith(b"/api/") and "text/html" in (request.getHeader("accept") or "")


def _typed(request: HttpRequest) -> dict[str, str]:
    if request.method != b"POST":
        return {}
    try:
        fields = parameters.form(request)
    except ChatError:
        return {}
    return {name: fields.text(name) for name in TYPED if fields.text(name)}


def _back(request: HttpRequest) -> str:
    path = request.path
    # Only where a GET shows something; a path that starts with two slashes would be another host.
    return "/chat" if path == b"/chat" else "/"
