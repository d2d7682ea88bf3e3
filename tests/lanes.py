"""A site with a fast lane, whose routes are made for its tests.

What it is: `Desk` answers the hot routes in every way that there is, `General` the others, and
`Net` joins the two in memory.

What it may know: the lane, and what it asks of the web layer. Nothing of the chat.

Invariant: which of the two has answered can be told from the answer.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import NotFound
from cometd_chat.fastlane.connection import Lane, LaneConnection
from cometd_chat.fastlane.routes import HotRoute
from cometd_chat.fastlane.stream import LaneStream
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.refusals import Form
from cometd_chat.web.site import ChatSite
from tests.net import MemoryNet
from tests.wire import Connection

IDLE = 60

HELD = b"GET /hot/held HTTP/1.1\r\nHost: h\r\n\r\n"


class Desk:
    """Some routes of the lane, and what stands before them."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.lost: list[Any] = []
        self.waiting: list[Deferred[bytes]] = []
        self.failures: list[BaseException] = []
        self.told: list[str] = []

    def admit(self, request: Any) -> bytes | None:
        request.setHeader("server", "test")
        if request.getHeader("x-refuse"):
            request.setResponseCode(421)
            return b"refused"
        return None

    def fail(self, request: Any, failure: Any) -> bytes:
        self.failures.append(failure.value)
        request.setResponseCode(getattr(failure.value, "status", 500))
        return b"failed"

    async def answer(self, request: Any, name: str) -> object:
        if name == "held":
            self.held.append(request)
            request.hold(Held(self, request))
            return request
        if name == "stream":
            self.held.append(request)
            request.hold(Held(self, request))
            request.write(b"hello")
            return request
        if name == "waits":
            self.waiting.append(Deferred())
            return await self._told(name)
        if name == "raises":
            raise NotFound("Not here.")
        if name == "broken":
            raise RuntimeError("a defect")
        if name == "large":
            request.setHeader(b"content-length", b"100000")
            return b"x" * 100_000
        if name == "nothing":
            request.setResponseCode(204)
            return b""
        request.setHeader("content-type", "text/plain")
        request.setHeader(b"content-length", b"%d" % len(name.encode()))
        return name.encode()

    async def post(self, request: Any, name: str) -> object:
        if name == "waits":
            self.waiting.append(Deferred())
            return await self._told(name)
        return request.content.read()

    async def _told(self, name: str) -> bytes:
        """Waits, and tells what came of it."""
        try:
            body = await self.waiting[-1]
        except BaseException as error:
            self.told.append(type(error).__name__)
            raise
        self.told.append("went on")
        return body


class Held:
    def __init__(self, desk: Desk, request: Any) -> None:
        self._desk = desk
        self._request = request

    def lost(self) -> None:
        self._desk.lost.append(self._request)


class General(Resource):
    """What takes the rest: tells what it was asked for."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Any] = []

    def render(self, request: Any) -> Any:
        if request.path == b"/held":
            self.held.append(request)
            return NOT_DONE_YET
        return b"general %s" % request.path


class Net(MemoryNet):
    """A site with a lane."""

    def __init__(self) -> None:
        super().__init__()
        self.transport_class = twisted_internals.SlottedServer
        self.reaper = Reaper(self.clock, 0.5)
        self.memory = MemoryBudget()
        self.desk = Desk()
        self.slow_path = General()
        self.now = 1000.0
        self.lane = Lane(
            [
                HotRoute(b"GET", rb"/hot/((?:[a-z]|%[0-9A-F]{2})+)", self.desk.answer),
                HotRoute(b"POST", rb"/hot/([a-z]+)", self.desk.post, writes=True),
            ],
            self.desk,
            self.reaper,
            self.memory,
            direct_write=True,
            wall_clock=lambda: self.now,
            timeout=IDLE,
        )
        self.factory = ChatSite(
            self.slow_path,
            lambda error, html: Form(b"text/plain", b"refused"),
            self.clock,
            self.reaper,
            memory=self.memory,
            timeout=IDLE,
            lane=self.lane,
            access_log=True,
        )


def in_lane(connection: Connection) -> bool:
    return type(connection.channel) in (LaneConnection, LaneStream)
