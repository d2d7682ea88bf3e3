"""What every request passes before there is a route.

What it is: a resource in front of Klein's: headers that every answer has, hosts, paths.

What it may know: requests. Not routes.

Invariant: nothing behind it sees a host that isn't ours, or a path or header that isn't UTF-8,
and no change that another site's page asks for.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource

from cometd_chat.errors import ChatError, InvalidRequest, NotFound
from cometd_chat.transports.limited_request import LimitedRequest
from cometd_chat.transports.request import HttpRequest
from cometd_chat.transports.targets import ALL
from cometd_chat.web.auth import Auth
from cometd_chat.web.hosts import Hosts
from cometd_chat.web.origins import Origins
from cometd_chat.web.problems import Problems

#: Methods that change nothing (RFC 9110, section 9.2.1).
_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class RequestGuard(Resource):
    """The root of the site.

    :param app: Klein's resource.
    :param server: value of the Server header.
    """

    isLeaf = True

    def __init__(
        self,
        app: IResource,
        hosts: Hosts,
        auth: Auth,
        origins: Origins,
        problems: Problems,
        server: str,
    ) -> None:
        super().__init__()
        self._hosts = hosts
        self._origins = origins
        self._app = app
        self._auth = auth
        self._problems = problems
        self._server = server

    def render(self, request: LimitedRequest) -> Any:
        """Answer a request, here or behind."""
        _decode_headers(request)
        refusal = self.admit(request)
        return self._app.render(request) if refusal is None else refusal

    def admit(self, request: HttpRequest) -> bytes | None:
        """Set what every answer has, and look at what comes before any route.

        :returns: the answer's body, when the request goes no further.
        """
        request.setHeader("server", self._server)
        request.setHeader("x-content-type-options", "nosniff")
        request.setHeader("referrer-policy", "same-origin")
        self._origins.add_headers(request)
        # The lane remembers: all that is looked at here is mostly the same, on one connection, or
        # on any as far as nobody changes anything.
        memory = request.common if request.method in _SAFE else request.memory
        what = (request.method, request.path)
        if memory.get(self) == what:
            return None
        refusal = self._refuse(request)
        if refusal is None:
            memory[self] = what
        return refusal

    def _refuse(self, request: HttpRequest) -> bytes | None:
        try:
            self._hosts.check(request)
            _check_method(request)
            _check_path(request)
            if request.path == ALL:
                return _answer_all(request)
            if self._origins.is_preflight(request):
                return self._origins.answer_preflight(request)
            if request.method not in _SAFE and not self._origins.includes(request):
                # Before anything is looked at: whoever may not ask is told nothing else. Pages of
                # `--allow-origin` need a token, and that only the route knows.
                self._auth.check_origin(request)
        except ChatError as error:
            return self._problems.respond(request, error)
        return None

    def fail(self, request: HttpRequest, failure: Failure) -> bytes:
        """The answer to what a route of the fast lane raised; Klein's have their own way here."""
        if isinstance(failure.value, ChatError):
            return self._problems.respond(request, failure.value)
        return self._problems.broken(request, failure)


def _decode_headers(request: LimitedRequest) -> None:
    """Take headers that aren't UTF-8 for ISO 8859-1, as was once the rule (RFC 9110, section 5.5);
    whoever reads them as text could not otherwise."""
    for name, values in list(request.requestHeaders.getAllRawHeaders()):
        try:
            for value in values:
                value.decode("utf-8")
        except UnicodeDecodeError:
            readable = [value.decode("iso-8859-1") for value in values]
            request.requestHeaders.setRawHeaders(name.decode("iso-8859-1"), readable)


def _answer_all(request: HttpRequest) -> bytes:
    """What the server as a whole takes: ``OPTIONS *`` (RFC 9110, section 9.3.7)."""
    request.setResponseCode(204)
    request.setHeader("allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS")
    return b""


def _check_method(request: HttpRequest) -> None:
    # They are case-sensitive (RFC 9110, section 9.1), but not for the router behind.
    if not (request.method.isascii() and request.method.isupper()):
        raise InvalidRequest("A method is in capital letters, such as GET.")


def _check_path(request: HttpRequest) -> None:
    path = request.path
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The path is not UTF-8.") from error
    # What routes would read as another path than the one that was asked for.
    if b"%2f" in path.lower() or b"//" in path:
        raise NotFound("There is nothing at this path.")
