"""The table of transports: a transport is a row.

What it is: `TABLE`, a row for each transport that a client can ask for by its name; `CLASSIC` and
`BAYEUX`, rows of those whose requests come by routes of their own; and `Framings`, which makes the
framing of a row from what a request asks for.

What it may know: framings. A row says what is to be checked and how it is held; not who does that.

Invariant: nothing else branches on a transport's name. Routes, the fast lane, metrics, tests and
documents go by the rows, so that a new one fails the tests until it is tested and told of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import Enum
from itertools import product
from typing import Protocol

import attrs

from cometd_chat.errors import FieldError, InvalidRequest
from cometd_chat.transports.framings import (
    Frame,
    Framing,
    JsonLines,
    Jsonp,
    Multipart,
    Poll,
    ServerSentEvents,
    Text,
)
from cometd_chat.transports.websocket import WebSocketFrames


class Hold(Enum):
    """For how long a response goes on."""

    STREAM = "until somebody ends it"
    ROTATING = "until it has grown too long, then another one begins"
    POLL = "until its first events"


class Refusal(Enum):
    """How a client is told that it is refused."""

    STATUS = "by the status, as everywhere"
    IN_BODY = "by the status, and by an event in the body"
    AS_EVENT = "by an event alone, for it sees no status"
    COMES_BACK = "by an event alone where it should come back, which a status keeps it from"


class Origin(Enum):
    """Pages of which sites may ask, without a token."""

    ANY = "any: a browser lets only ours read the response"
    OURS = "ours: a browser lets any page read it"
    OURS_BY_SCRIPT = "ours: what is loaded as a script shows no Origin"
    OURS_TO_WRITE = "ours: it changes something"


class Query(Protocol):
    """The fields of a query."""

    def text(self, name: str, default: str = "") -> str:
        """A field, or the default when it is missing."""

    def optional(self, name: str) -> str | None:
        """A field, or None when it is missing."""


@attrs.frozen
class FramingRequest:
    """What somebody asks for, as far as a framing depends on it.

    :param header: of a name its value in the request, None when it is missing.
    :param several: whether several rooms are read.
    :param least: seconds after which whoever is refused may come back, at least.
    """

    query: Query
    header: Callable[[str], str | None]
    several: bool = False
    least: float = 0.0


#: Of two transports: a batch is framed once for both.
_LINES = JsonLines()


class Framings:
    """Makes framings that depend on the daemon, or on what is asked for; those that are the same
    for many are made once.

    :param nonce: the frames' one nonce, another one each start. They hold nothing but our own
        scripts, so that one can be shared: what is framed once is right for all.
    :param boundary: the parts' one boundary, likewise.
    :param origins: foreign pages that may embed a frame.
    :param retry: see `ServerSentEvents`.
    """

    def __init__(
        self, *, nonce: str, boundary: str, origins: Collection[str], retry: Callable[[], int]
    ) -> None:
        self._retry = retry
        self._frame = Frame(nonce)
        self._foreign_frames = {origin: Frame(nonce, origin) for origin in origins}
        self._sse = ServerSentEvents(retry)
        self._multipart = Multipart(boundary)
        self._texts = {
            (rooms, cursors, shown): Text(rooms=rooms, cursors=cursors, shown=shown)
            for rooms, cursors, shown in product((False, True), repeat=3)
        }

    def frame(self, asked: FramingRequest) -> Framing:
        """For our page, or the one that ``target=`` names."""
        target = asked.query.optional("target")
        if target is None:
            return self._frame
        foreign = self._foreign_frames.get(target)
        if foreign is None:
            raise _refused("target", f"not an origin that --allow-origin names: {target}")
        return foreign

    def sse(self, asked: FramingRequest) -> Framing:
        """An event stream."""
        least = round(asked.least * 1000)
        return ServerSentEvents(lambda: max(self._retry(), least)) if least else self._sse

    def jsonp(self, asked: FramingRequest) -> Framing:
        """A call of the function that ``callback=`` names."""
        callback = asked.query.text("callback")
        if Jsonp.CALLBACK.fullmatch(callback) is None:
            raise _refused("callback", "the name of a function is needed, 64 characters at most")
        return Jsonp(callback)

    def multipart(self, asked: FramingRequest) -> Framing:
        """A part an event."""
        return self._multipart

    def text(self, asked: FramingRequest) -> Framing:
        """Lines for people."""
        cursors = asked.query.text("cursors") == "1"
        return self._texts[asked.several, cursors, _is_shown(asked.header)]

    def duplex(self, asked: FramingRequest) -> Framing:
        """Lines for people, or of JSON where the client says that it takes them."""
        if "application/x-ndjson" in (asked.header("accept") or ""):
            return _LINES
        return self.text(asked)


def always(framing: Framing) -> Callable[[Framings, FramingRequest], Framing]:
    """The same framing for all, whatever they ask for."""
    return lambda framings, asked: framing


@attrs.frozen(kw_only=True)
class Transport:
    """A row.

    :param name: as in its path and in the metrics.
    :param framing: how it is framed, from what is asked for; None where its route says that.
    :param plain: how a refusal is framed while what is asked for is not understood.
    :param methods: of its requests; a GET has a HEAD as well. None where it has no route here.
    :param hold: how long it lasts.
    :param refusal: how a client is told of a refusal.
    :param origin: pages of which sites may ask.
    :param speaks: it needs a session, for what comes up by it is said under a name.
    :param by_cookie: whether the cookie shows whose it is.
    :param by_name: somebody may log in for as long as it lasts, with ``name=``.
    :param by_room: it has a path of the room, too: ``/rooms/ROOM.txt``.
    :param upgrade: it begins with the handshake of a WebSocket.
    :param reads_early: it begins before its request's body has come, which is read meanwhile.
    :param by_header: ``Last-Event-ID`` says where it goes on, before ``cursor=``.
    :param repeats: the next request of a client is mostly equal to the one before, but for its
        cursor, and is held without its checks.
    :param library: what `comet.js` calls it, for each way in which it opens it.
    """

    name: str
    framing: Callable[[Framings, FramingRequest], Framing] | None = None
    plain: Framing | None = None
    methods: Sequence[str] = ("GET",)
    hold: Hold = Hold.STREAM
    refusal: Refusal = Refusal.STATUS
    origin: Origin = Origin.ANY
    speaks: bool = False
    by_cookie: bool = True
    by_name: bool = False
    by_room: bool = False
    upgrade: bool = False
    reads_early: bool = False
    by_header: bool = False
    repeats: bool = False
    library: Sequence[str] = ()

    @property
    def one_shot(self) -> bool:
        """Whether the first events end it."""
        return self.hold is Hold.POLL

    @property
    def path(self) -> str:
        """Where it is asked for."""
        return f"/api/v1/events/{self.name}"


#: What a client can ask for by its name, in the order in which people are told of it.
TABLE = (
    Transport(
        name="frame",
        framing=Framings.frame,
        hold=Hold.ROTATING,
        refusal=Refusal.IN_BODY,
        library=("frame",),
    ),
    Transport(
        name="poll",
        framing=always(Poll()),
        hold=Hold.POLL,
        repeats=True,
        library=("poll", "plain"),
    ),
    Transport(name="stream", framing=always(_LINES), library=("stream",)),
    Transport(
        name="sse",
        framing=Framings.sse,
        refusal=Refusal.COMES_BACK,
        by_header=True,
        library=("sse",),
    ),
    Transport(
        name="jsonp",
        framing=Framings.jsonp,
        plain=Jsonp("callback"),
        hold=Hold.POLL,
        refusal=Refusal.AS_EVENT,
        origin=Origin.OURS_BY_SCRIPT,
        # Any page can load a script, with its reader's cookie: that must not count here.
        by_cookie=False,
        library=("jsonp",),
    ),
    Transport(name="multipart", framing=Framings.multipart),
    Transport(name="text", framing=Framings.text, by_name=True, by_room=True),
    Transport(
        name="ws",
        framing=always(WebSocketFrames()),
        origin=Origin.OURS,
        upgrade=True,
        library=("ws",),
    ),
    Transport(
        name="duplex",
        framing=Framings.duplex,
        methods=("POST", "PUT"),
        origin=Origin.OURS_TO_WRITE,
        speaks=True,
        by_name=True,
        by_room=True,
        reads_early=True,
    ),
)

#: The endless page of the classic servlet, whose route is ``/chat``.
CLASSIC = Transport(name="openchat", methods=())

#: What Bayeux clients are held by, by the type that they give their connection. Theirs is
#: ``/cometd``.
BAYEUX = {
    kind: Transport(name=f"bayeux-{kind}", methods=(), hold=hold)
    for kind, hold in (
        ("long-polling", Hold.POLL),
        ("cross-origin-long-polling", Hold.POLL),
        ("callback-polling", Hold.POLL),
        ("websocket", Hold.STREAM),
        ("eventsource", Hold.STREAM),
    )
}


def _is_shown(header: Callable[[str], str | None]) -> bool:
    """Whether a browser shows what it is answered, one of those that wait for `FIRST_BYTES`.

    All that WebKit is part of say so; what their scripts ask for is not HTML first of all.
    """
    accepted = header("accept") or ""
    return "text/html" in accepted and "AppleWebKit/" in (header("user-agent") or "")


def _refused(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {detail}.", fields=[FieldError(field, detail)])
