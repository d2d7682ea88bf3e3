"""The transports: requests that are held.

What it is: from a request for a transport to a reader on a held request, and the refusals that
clients which can't see a status need.

What it may know: requests, framings, the chat. Not how bytes are written.

Invariant: a transport is checked wholly before anything is held, and what it holds is counted for
as long as it is held."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import product

import attrs
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.presence import GRACE, SLOW_GRACE
from cometd_chat.chat.reader import AFTER_GAP, Reader, Start, start_at, start_now
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session, require_current_token
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError, InvalidCursor, MethodNotAllowed, NotFound
from cometd_chat.events import kinds
from cometd_chat.gateways.posting import InboundPoster
from cometd_chat.transports.framings import (
    Classic,
    Frame,
    Framing,
    JsonLines,
    Jsonp,
    Multipart,
    Poll,
    ServerSentEvents,
    Text,
)
from cometd_chat.transports.held import (
    HeldPoll,
    HeldRequest,
    HeldStream,
    HoldPolicy,
    RotatingStream,
    RotationLimits,
)
from cometd_chat.transports.request import HoldableRequest, HttpRequest
from cometd_chat.transports.stats import TransportStats
from cometd_chat.transports.websocket import WebSocket, WebSocketFrames, require_upgrade
from cometd_chat.web.auth import Auth
from cometd_chat.web.parameters import Parameters, last_event_id, query, refused
from cometd_chat.web.peers import Peers
from cometd_chat.web.problems import Problems

MAX_ROOMS = 50
MAX_CLIENT = 64

#: Milliseconds after which a browser opens a broken event stream again, at least.
SSE_RETRY = 1500

#: Refusals after which an event stream does not come back: until its user acts, it would be refused
#: again.
_FOR_GOOD = frozenset({401, 403, 404})

#: Seconds after which one comes back whose address has a mistake in it: a page, or a script that
#: stands in for EventSource, may be mended meanwhile.
_AFTER_MISTAKE = 60.0

#: Requests that a session may hold: a browser opens six connections to a host and needs some for
#: other things; a program has no such bound.
MOST_BY_COOKIE = 4
MOST_BY_TOKEN = 32

#: A frame keeps everything that it was ever sent, so that it has to begin anew now and then; not
#: all in the same minute.
FRAME_EVENTS = 1000
FRAME_BYTES = 512 * 1024
FRAME_SECONDS = (8 * 60.0, 10 * 60.0)


@attrs.frozen(kw_only=True)
class Holding:
    """How requests are held; see the options of the same names.

    :param heartbeat: in seconds.
    :param poll_timeout: in seconds.
    :param reader_budget: in bytes.
    """

    heartbeat: float
    poll_timeout: float
    reader_budget: int


@attrs.frozen(kw_only=True)
class Asked:
    """What somebody asked a transport for, but from where on.

    :param session: who asks; None for somebody who only reads.
    :param token: what her token was known by when it was looked at, see `require_current_token`.
    :param address: where from; empty where that isn't known.
    :param wait: seconds that a poll is held.
    :param client: which of her windows asks, if it says so.
    :param most: how many requests of this kind she may hold; None for any number.
    """

    rooms: Sequence[Room]
    session: Session | None
    token: bytes
    address: str
    backlog: int
    wait: float
    client: str | None
    most: int | None


@attrs.frozen
class Known:
    """A poll that passed all checks: the next one on its connection is mostly equal to it, but for
    its cursor.

    :param around: what stands before and after the cursor in its target.
    """

    around: tuple[bytes, bytes]
    framing: Framing
    asked: Asked


class Transports:
    """All transports.

    :param nonce: the frames' one nonce, another one each start. They hold nothing but our own
        scripts, so that one can be shared: what is framed once is right for all.
    :param boundary: the parts' one boundary, likewise.
    :param origins: foreign pages that may embed a frame.
    :param random: a number between 0 and 1, another one each time.
    """

    def __init__(
        self,
        chat: Chat,
        auth: Auth,
        peers: Peers,
        problems: Problems,
        stats: TransportStats,
        reaper: Reaper,
        holding: Holding,
        *,
        nonce: str,
        boundary: str,
        origins: Collection[str],
        random: Callable[[], float],
    ) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers
        self._problems = problems
        self._stats = stats
        self._reaper = reaper
        self._holding = holding
        self._random = random
        self._hold_policy = HoldPolicy(
            reaper=reaper,
            stats=stats,
            heartbeat=holding.heartbeat,
            budget=holding.reader_budget,
        )
        self._frame_hold_policy = attrs.evolve(
            self._hold_policy, wear=RotationLimits(FRAME_EVENTS, FRAME_BYTES)
        )
        self._on_end = self._count_out  # One bound method for all of them.
        self._texts = {
            (transport, rooms, cursors, shown): Text(
                rooms=rooms, cursors=cursors, shown=shown, transport=transport
            )
            for transport in ("text", "duplex")
            for rooms, cursors, shown in product((False, True), repeat=3)
        }
        self._duplex_lines = JsonLines("duplex")
        self._foreign_frames = {origin: Frame(nonce, origin) for origin in origins}
        self._jsonp = Jsonp("callback")
        framings: Sequence[Framing] = (
            Frame(nonce),
            Poll(),
            JsonLines(),
            ServerSentEvents(self._retry),
            self._jsonp,
            Multipart(boundary),
            self._texts["text", False, False, False],
            WebSocketFrames(),
        )
        self._framings = {framing.transport: framing for framing in framings}

    # -- opening

    async def open(self, request: HttpRequest, transport: str) -> bytes | HeldRequest:
        """Hold a request for a transport, until it ends.

        :returns: the body when it isn't held; else what is held, which goes on by itself.
        """
        again = self._again(request)
        if again is not None:
            return again
        framing = self._framings.get(transport)
        if transport == "duplex":
            raise MethodNotAllowed("Use POST or PUT here.", allow=["POST", "PUT"])
        if framing is None:
            raise NotFound(f"There is no transport {transport}: those there are are {self.names}.")
        try:
            # What a transport doesn't know, scripts add, and add again: it ends no stream.
            fields = query(request, strict=False)
            if transport == "ws":
                require_upgrade(request)
                self._auth.check_origin(request, fields.optional("token"))
            # First of all: what is refused after it is told as the client can hear it.
            framing = self._chosen(framing, fields)
            return await self._open(request, framing, fields, _room_names(fields))
        except ChatError as error:
            return self._refuse(request, framing, error)
        except CancelledError:
            raise
        except Exception:
            if request.sentLength:
                # It has begun: there is no other way to say it any more.
                raise
            return self._refuse(request, framing, self._problems.defect(Failure()))

    @property
    def names(self) -> str:
        """The transports there are, for people."""
        return ", ".join([*self._framings, "duplex"])

    async def open_text(self, request: HttpRequest, room: str) -> bytes | HeldRequest:
        """Hold a request for the text of one room.

        :param room: its name, as somebody typed it.
        """
        fields = query(request, strict=False)
        framing = self._texts["text", False, False, False]
        # To a browser it is a page like any other: a cookie that is no good is cleared.
        await self._auth.visitor(request, query_token=fields.optional("token"))
        return await self._open(request, framing, fields, [room])

    async def open_duplex(
        self, request: HttpRequest, room: str | None = None
    ) -> bytes | HeldRequest:
        """Hold a request whose body is read meanwhile: each of its lines is said in a room.

        :param room: the one of the path, or None to read and write where the query says.
        """
        fields = query(request, strict=False)
        rooms = _room_names(fields) if room is None else [room]
        framing: Framing = self._duplex_lines
        if "application/x-ndjson" not in (request.getHeader("accept") or ""):
            framing = self._texts["duplex", False, False, False]
        if fields.optional("token") is None:
            self._auth.check_csrf(request)
        else:
            self._auth.check_origin(request, fields.optional("token"))
        return await self._open(request, framing, fields, rooms)

    async def open_classic(
        self,
        request: HttpRequest,
        session: Session,
        room: Room,
        framing: Classic,
        fields: Parameters,
    ) -> bytes | HeldRequest:
        """Hold a request for the endless page of the classic servlet.

        :param fields: of its query, or of its form.
        """
        asked = self._asked(request, framing, fields, [room], session)
        return await self._hold(request, framing, asked, _cursor(request, framing, fields))

    async def _open(
        self, request: HttpRequest, framing: Framing, fields: Parameters, names: Sequence[str]
    ) -> bytes | HeldRequest:
        """Hold a request of somebody who may read.

        :param names: of the rooms; whoever may not read is not told whether they are there.
        """
        self._chat.admit()
        if framing.transport == "jsonp":
            self._auth.check_script(request, fields.optional("token"))
        if self._auth.may_read(None):
            self._find(names)
        name = fields.optional("name") if framing.transport in ("text", "duplex") else None
        if name is None:
            session = await self._who(request, framing, fields.optional("token"))
            return await self._open_as(request, framing, fields, names, session)
        self._auth.check_csrf(request)
        if request.method == b"HEAD":
            return self._head(request, framing)
        session, _ = await self._chat.log_in(name, self._peers.address(request), ephemeral=True)
        try:
            return await self._open_as(request, framing, fields, names, session)
        except Exception:
            # Refused, or gone while the log was read: nothing is held that would end her session.
            await self._chat.log_out(session)
            raise

    async def _open_as(
        self,
        request: HttpRequest,
        framing: Framing,
        fields: Parameters,
        names: Sequence[str],
        session: Session | None,
    ) -> bytes | HeldRequest:
        rooms = self._find(names)
        if isinstance(framing, Text):
            cursors = fields.text("cursors") == "1"
            framing = self._texts[framing.transport, len(rooms) > 1, cursors, _is_shown(request)]
        asked = self._asked(request, framing, fields, rooms, session)
        self._remember(request, framing, asked)
        return await self._hold(request, framing, asked, _cursor(request, framing, fields))

    async def _who(
        self, request: HttpRequest, framing: Framing, token: str | None
    ) -> Session | None:
        if framing.transport == "duplex":
            return await self._auth.speaker(request, query_token=token)
        # Any page can load a script, with its reader's cookie: that must not count here.
        return await self._auth.reader(
            request, query_token=token, cookie=framing.transport != "jsonp"
        )

    # -- what is asked for

    def _find(self, names: Sequence[str]) -> list[Room]:
        return list(dict.fromkeys(map(self._chat.rooms.find, names)))

    def _chosen(self, framing: Framing, fields: Parameters) -> Framing:
        """The framing as the query wants it."""
        if framing.transport == "jsonp":
            callback = fields.text("callback")
            if Jsonp.CALLBACK.fullmatch(callback) is None:
                raise refused("callback", "the name of a function is needed, 64 characters at most")
            return Jsonp(callback)
        target = fields.optional("target") if framing.transport == "frame" else None
        if target is None:
            return framing
        foreign = self._foreign_frames.get(target)
        if foreign is None:
            raise refused("target", f"not an origin that --allow-origin names: {target}")
        return foreign

    def _asked(
        self,
        request: HttpRequest,
        framing: Framing,
        fields: Parameters,
        rooms: Sequence[Room],
        session: Session | None,
    ) -> Asked:
        by_cookie = fields.optional("token") is None and self._auth.came_by_cookie(request)
        most = MOST_BY_COOKIE if by_cookie else MOST_BY_TOKEN
        wait = fields.seconds("wait", self._holding.poll_timeout, self._holding.poll_timeout)
        client = fields.optional("client")
        if client is not None and not 1 <= len(client) <= MAX_CLIENT:
            raise refused("client", f"1 to {MAX_CLIENT} characters are needed")
        return Asked(
            rooms=rooms,
            session=session,
            token=b"" if session is None else session.known_by,
            address=self._peers.address(request),
            backlog=fields.number("backlog", 0, 0, AFTER_GAP) or 0,
            wait=wait,
            client=client,
            # What is answered at once is not held, even when the log takes a moment to be read: it
            # must not send a stream away.
            most=None if framing.one_shot and wait == 0 else most,
        )

    # -- holding

    async def _hold(
        self, request: HttpRequest, framing: Framing, asked: Asked, cursor: str | None
    ) -> bytes | HeldRequest:
        paths = [room.context.path for room in asked.rooms]
        start = await start_at(self._chat.feed, paths, cursor, asked.backlog)
        if request.method == b"HEAD":
            return self._head(request, framing)
        return self._hold_from(request, framing, asked, start, at_once=cursor is None)

    def _hold_from(
        self, request: HttpRequest, framing: Framing, asked: Asked, start: Start, *, at_once: bool
    ) -> HeldRequest:
        # From here on nothing can refuse it: a handshake that is answered takes no error any more.
        self._chat.admit(asked.session, asked.rooms)
        if asked.session is not None:
            require_current_token(asked.session, asked.token)
        self._chat.limits.hold(asked.address)
        socket = WebSocket.accept(request) if framing.transport == "ws" else None
        if socket is None:
            self._set_headers(request, framing)
        held = self._held(request, framing, asked.wait)
        reader = self._chat.read(
            asked.session,
            asked.rooms,
            held,
            start,
            on_end=self._on_end,
            address=asked.address,
            grace=SLOW_GRACE if framing.one_shot and asked.wait == 0 else GRACE,
            at_once=at_once or asked.wait == 0,
            client=asked.client,
            most=asked.most,
        )
        self._listen(request, reader, asked, socket)
        return held

    # -- a poll like the one before

    def _remember(self, request: HttpRequest, framing: Framing, asked: Asked) -> None:
        """Keep what a poll was found to ask for, for the next one on its connection."""
        if framing.transport != "poll" or asked.session is None:
            return
        parts = _around_cursor(request.uri)
        if parts is not None:
            request.memory[self] = Known(parts[0], framing, asked)

    def _again(self, request: HttpRequest) -> HeldRequest | None:
        """Hold a poll that is like the one before it in all but its cursor; None for any other.

        Its checks would all end as they did then, since they look at the same bytes; but for the
        session, which is looked at anew. This is what makes a poll cheap: they were half of it.
        """
        known = request.memory.get(self)
        if not isinstance(known, Known):
            return None
        parts = _around_cursor(request.uri)
        session = known.asked.session
        if parts is None or parts[0] != known.around or session is None or self._chat.stopping:
            return None
        if session.known_by != known.asked.token or not self._chat.sessions.use_again(session):
            return None
        try:
            start = start_now(self._chat.feed, parts[1])
        except InvalidCursor:
            return None
        if start is None:
            return None
        return self._hold_from(request, known.framing, known.asked, start, at_once=False)

    def _listen(
        self, request: HttpRequest, reader: Reader, asked: Asked, socket: WebSocket | None
    ) -> None:
        """Take what the peer says, where the transport lets it."""
        source = request.body if socket is None else socket
        if source is None:
            return
        talk = InboundPoster(
            self._chat, asked.session, asked.rooms, reader, source, self._problems.count
        )
        if socket is not None:
            socket.listen(reader, talk, self._reaper)
        elif request.body is not None:
            request.body.listen(talk)

    def _held(self, request: HoldableRequest, framing: Framing, wait: float) -> HeldRequest:
        if framing.one_shot:
            return HeldPoll(request, framing, self._hold_policy, wait=wait)
        if framing.transport != "frame":
            return HeldStream(request, framing, self._hold_policy)
        least, most = FRAME_SECONDS
        lasts = least + (most - least) * self._random()
        rotate_at = self._reaper.seconds() + lasts
        return RotatingStream(request, framing, self._frame_hold_policy, rotate_at=rotate_at)

    def _count_out(self, reader: Reader, expired: bool) -> None:
        """Count it no longer."""
        self._chat.limits.let_go(reader.address)
        if expired:
            self._stats.expire(reader.transport)

    # -- heads and refusals

    def _retry(self) -> int:
        return round(SSE_RETRY * (1 + self._random()))

    def _head(self, request: HttpRequest, framing: Framing) -> bytes:
        self._set_headers(request, framing)
        return b""

    def _set_headers(self, request: HttpRequest, framing: Framing) -> None:
        request.setHeader("content-type", framing.content_type)
        request.setHeader("cache-control", "no-store, no-transform")
        request.setHeader("x-accel-buffering", "no")
        if isinstance(framing, Frame):
            request.setHeader("content-security-policy", framing.content_security_policy)

    def _refuse(self, request: HttpRequest, framing: Framing, error: ChatError) -> bytes:
        """The body of a refusal for a client that can't see the status; others get the error.

        :raises ChatError: the error itself, to be answered as everywhere.
        """
        told = kinds.error(error.status, error.detail)
        for_good = error.status in _FOR_GOOD or isinstance(error, InvalidCursor)
        if isinstance(framing, ServerSentEvents) and not for_good:
            # A browser that gets another status for an event stream never comes back by itself.
            after = _AFTER_MISTAKE if error.status < 429 else error.retry_after or 0
            begin = framing.begin(after)
        elif framing.transport in ("frame", "jsonp"):
            begin = framing.begin()
        else:
            raise error
        self._problems.begin(request, error)
        self._set_headers(request, framing)
        if framing.transport != "frame":
            request.setResponseCode(200)
        return begin + framing.frame([told]) + framing.end()


def _room_names(fields: Parameters) -> list[str]:
    names = [name for name in fields.text("rooms", "lobby").split(",") if name]
    if not 1 <= len(names) <= MAX_ROOMS:
        raise refused("rooms", f"1 to {MAX_ROOMS} names are needed, with commas between")
    return names


def _is_shown(request: HttpRequest) -> bool:
    """Whether a browser shows what it is answered, one of those that wait for `FIRST_BYTES`.

    All that WebKit is part of say so; what their scripts ask for is not HTML first of all.
    """
    accepted = request.getHeader("accept") or ""
    return "text/html" in accepted and "AppleWebKit/" in (request.getHeader("user-agent") or "")


def _cursor(request: HttpRequest, framing: Framing, fields: Parameters) -> str | None:
    """Where somebody who asks a transport wants to go on."""
    cursor = fields.optional("cursor")
    if framing.transport == "sse":
        # What a browser sends by itself when it comes back; its URL is as old as the page.
        return last_event_id(request, fields) or cursor
    return cursor


def _around_cursor(target: bytes) -> tuple[tuple[bytes, bytes], str] | None:
    """What stands before and after the one plain cursor in a target, and the cursor."""
    before, _, rest = target.partition(b"cursor=")
    cursor, _, after = rest.partition(b"&")
    plain = cursor.isascii() and cursor.replace(b".", b"").isalnum()
    if not plain or b"cursor=" in after or not before.endswith((b"?", b"&")):
        return None
    return (before, after), cursor.decode("ascii")
