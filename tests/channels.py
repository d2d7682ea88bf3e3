"""A site of our HTTP channels in memory, with a resource that tells what arrived.

What it is: `Net`, whose connections begin in a fast lane without routes, or as channels; `Echo`,
which answers.

What it may know: channels. Not the chat.

Invariant: every refusal that is looked at by `refusal` has the one form of refusals.
"""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError
from cometd_chat.fastlane.connection import Lane
from cometd_chat.transports.budget import LIMIT, MemoryBudget
from cometd_chat.transports.refusals import Form
from cometd_chat.web.site import ChatSite
from tests.net import MemoryNet
from tests.wire import Response


class Echo(Resource):
    """Tells what arrived; a GET of ``/held`` is answered when the test says so, one of ``/large/N``
    has N bytes."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Any] = []
        self.lost = 0
        self.bodies: list[bytes] = []
        self.requests: list[Any] = []

    def render(self, request: Any) -> Any:
        self.requests.append(request)
        self.bodies.append(request.content.read())
        if request.path == b"/held":
            self.held.append(request)
            request.notifyFinish().addErrback(self._lose)
            return NOT_DONE_YET
        if request.path.startswith(b"/large/"):
            return b"x" * int(request.path[7:])
        return b"%s %s %d" % (request.method, request.path, len(self.bodies[-1]))

    def _lose(self, failure: object) -> None:
        self.lost += 1


def render_refusal(error: ChatError, wants_html: bool) -> Form:
    told = {"type": error.slug, "status": error.status, "detail": error.detail}
    body = json.dumps(told).encode()
    return Form(b"text/html", body) if wants_html else Form(b"application/problem+json", body)


class Net(MemoryNet):
    """A site of our channels.

    :param lane: whether connections begin in a fast lane, to which they come back. It has no
        routes here, so that the channels answer all the same.
    :param limit: of the budget, in bytes.
    """

    def __init__(self, *, lane: bool, limit: int = LIMIT) -> None:
        super().__init__()
        self.resource = Echo()
        guard: Any = None
        reaper = Reaper(self.clock)
        self.memory = MemoryBudget(limit)
        self.factory = ChatSite(
            self.resource,
            render_refusal,
            self.clock,
            reaper,
            memory=self.memory,
            lane=Lane(
                (), guard, reaper, self.memory, direct_write=True, wall_clock=time, timeout=60
            )
            if lane
            else None,
            access_log=True,
        )


def refusal(response: Response, status: int) -> dict[str, Any]:
    """The problem in a refusal, which has its one form."""
    assert response.status == status
    assert response.complete
    assert response.header("content-type") == "application/problem+json"
    assert response.header("connection") == "close"
    # A sender of an answer that has a clock dates it, whatever it says (RFC 9110, section 6.6.1).
    assert parsedate_to_datetime(response.header("date") or "")
    assert response.header("cache-control") == "no-store"
    assert response.header("x-content-type-options") == "nosniff"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    return problem
