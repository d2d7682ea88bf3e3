"""The daemon's numbers on a port of their own.

What it is: the whole site of `--metrics`: one path.

What it may know: hosts, the numbers. Nothing of who may see them: that is for who opens the port.

Invariant: there is nothing else here, however it is asked for.
"""

from __future__ import annotations

from twisted.web.resource import Resource

from cometd_chat.errors import ChatError, MethodNotAllowed, NotFound
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers
from cometd_chat.web.hosts import Hosts
from cometd_chat.web.metrics import CONTENT_TYPE, Metrics
from cometd_chat.web.problems import Problems

PATH = b"/metrics"


class MetricsPort(Resource):
    """The root of the site.

    :param server: value of the Server header.
    """

    isLeaf = True

    def __init__(self, metrics: Metrics, hosts: Hosts, problems: Problems, server: str) -> None:
        super().__init__()
        self._metrics = metrics
        self._hosts = hosts
        self._problems = problems
        self._server = server

    def render(self, request: HttpRequest) -> bytes:
        """Answer a request."""
        request.setHeader("server", self._server)
        request.setHeader("x-content-type-options", "nosniff")
        try:
            self._hosts.check(request)
            if request.path != PATH:
                raise NotFound("There is nothing here but /metrics.")
            if request.method not in (b"GET", b"HEAD"):
                raise MethodNotAllowed("Use GET or HEAD here.", allow=["GET", "HEAD"])
        except ChatError as error:
            return self._problems.respond(request, error)
        return answers.text(request, self._metrics.text().decode(), CONTENT_TYPE)
