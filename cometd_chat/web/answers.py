"""Answers that are complete at once.

What it is: JSON, pages and redirects, each with the headers that belong to it.

What it may know: requests. Not what the answers say.

Invariant: each has its length, so that connections stay open, and nothing personal is cached.
Pages and files are compressed for who takes that, answers to programs are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Sequence
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.errors import ChatError
from cometd_chat.events.event import Event, events_json
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import compression
from cometd_chat.web.pages.page import content_security_policy
from cometd_chat.web.static_files import StaticFile

_log = Logger()

#: Entity tags in a list of them, without what makes them weak (RFC 9110, section 8.8.3).
_TAGS = re.compile('"[^"]*"')

#: Seconds that a file is good for at an address that always means the same: a year.
_FOR_EVER = 31_536_000

P = ParamSpec("P")
Site = TypeVar("Site")
Body = TypeVar("Body")


def json(request: HttpRequest, value: object, status: int = 200) -> bytes:
    """A JSON object."""
    return _complete(request, "application/json", msgspec.json.encode(value), status)


def created(request: HttpRequest, value: object, path: str) -> bytes:
    """A JSON object that was made, and is at a path from now on (RFC 9110, section 15.3.2)."""
    request.setHeader("location", path)
    return json(request, value, 201)


def event(request: HttpRequest, event: Event, created: str | None = None) -> bytes:
    """An event, whose JSON is made once, whoever asks for it.

    :param created: the path at which it is from now on, if it was made by this request.
    """
    if created is not None:
        request.setHeader("location", created)
    return _complete(request, "application/json", event.json, 200 if created is None else 201)


def history(request: HttpRequest, events: Sequence[Event], *, more: bool) -> bytes:
    """Some events, and whether there are more of them."""
    body = b'{"messages":[%s],"more":%s}' % (events_json(events), b"true" if more else b"false")
    return _complete(request, "application/json", body, 200)


def html(request: HttpRequest, page: str, nonce: str, status: int = 200) -> bytes:
    """A page, with the policy that its nonce is for."""
    policy = content_security_policy(nonce, request.getHeader("host") or "")
    request.setHeader("content-security-policy", policy)
    body = compression.pack(request, page.encode())
    return _complete(request, "text/html; charset=utf-8", body, status)


def file(request: HttpRequest, file: StaticFile, *, lasting: bool) -> bytes:
    """A file of ours, or that the browser has it already.

    :param lasting: what is at this address never changes, so that it need not ask again.
    """
    body = file.body
    if file.packed is not None and compression.may_pack(request):
        body = file.packed
        request.setHeader("content-encoding", "gzip")
    age = f"public, max-age={_FOR_EVER}, immutable" if lasting else "no-cache"
    request.setHeader("cache-control", age)
    request.setHeader("etag", body.etag)
    if _has_already(request, body.etag):
        # Without what is about a body (RFC 9110, section 15.4.5).
        request.responseHeaders.removeHeader("content-encoding")
        request.setResponseCode(304)
        return b""
    request.setHeader("content-type", file.kind)
    request.setHeader("content-length", str(len(body.data)))
    return body.data


def _has_already(request: HttpRequest, etag: bytes) -> bool:
    """Whether a client says that it has what has this tag. Weak or strong makes no difference, as
    caches make weak what they compress (RFC 9110, section 13.1.2)."""
    said = ",".join(request.requestHeaders.getRawHeaders("if-none-match", []))
    return said.strip() == "*" or etag.decode("ascii") in _TAGS.findall(said)


def text(request: HttpRequest, text: str, kind: str = "text/plain; charset=utf-8") -> bytes:
    """Plain text."""
    return _complete(request, kind, text.encode(), 200)


def nothing(request: HttpRequest) -> bytes:
    """No content."""
    request.setResponseCode(204)
    return b""


def see_other(request: HttpRequest, path: str) -> bytes:
    """Go on with a GET of another path of ours (RFC 9110, section 15.4.4)."""
    request.setHeader("location", path)
    return _complete(request, "text/plain; charset=utf-8", b"", 303)


def moved(request: HttpRequest, path: bytes) -> bytes:
    """It is at another path of ours (RFC 9110, section 15.4.9)."""
    request.setHeader("location", path)
    return _complete(request, "text/plain; charset=utf-8", b"", 308)


def api_path(room: str, message: int | None = None) -> str:
    """The path of a room in the API, or of a message in it."""
    path = f"/api/v1/rooms/{quote(room, safe='')}"
    return path if message is None else f"{path}/messages/{message}"


def room_path(room: str) -> str:
    """The path of a room's page."""
    return f"/rooms/{quote(room, safe='')}"


def _complete(request: HttpRequest, kind: str, body: bytes, status: int) -> bytes:
    request.setResponseCode(status)
    request.setHeader("content-type", kind)
    request.setHeader("content-length", str(len(body)))
    # Both: ELinks knows only the first, and would show the log-in form again after a log-in.
    request.setHeader("cache-control", "no-cache, no-store")
    return body


def shielded(
    route: Callable[Concatenate[Site, HttpRequest, P], Coroutine[Deferred[Any], Any, Body]],
) -> Callable[Concatenate[Site, HttpRequest, P], Deferred[Body]]:
    """Let a route that writes go on when its client leaves in the middle.

    Klein cancels what a route returned when the connection is lost. A message that is being saved
    then would be saved and never answered for; so what Klein gets is not the work itself.
    """

    def shield(
        self: Site, request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[Body]:
        shown: Deferred[Body] = Deferred()
        work = Deferred.fromCoroutine(route(self, request, *args, **kwargs))
        work.addCallbacks(_show, _fail, callbackArgs=(shown,), errbackArgs=(shown,))
        return shown

    # Not `wraps`, whose type would promise a coroutine; Klein names its endpoints by `__name__`.
    update_wrapper(shield, route)
    return shield


def _show(body: Body, shown: Deferred[Body]) -> None:
    if not shown.called:
        shown.callback(body)


def _fail(failure: Failure, shown: Deferred[Any]) -> None:
    if not shown.called:
        shown.errback(failure)
    elif not failure.check(ChatError, CancelledError):
        _log.failure("a request failed after its client had left", failure)
