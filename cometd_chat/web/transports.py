"""The transports: requests that are held.

What it is: from a request for a transport to a held request, and the refusals that clients which
can't see a status need.

What it may know: requests, rows of the table, the chat. Not how bytes are written.

Invariant: a transport is checked wholly before anything is held.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.resume import resume_at
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.sink import HeldSink
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError, InvalidCursor, MethodNotAllowed, NotFound
from cometd_chat.events import kinds
from cometd_chat.transports.framings import Classic, Framing
from cometd_chat.transports.request import HttpRequest
from cometd_chat.transports.stats import TransportStats
from cometd_chat.transports.table import (
    CLASSIC,
    TABLE,
    FramingRequest,
    Framings,
    Refusal,
    Transport,
)
from cometd_chat.web.auth import Auth
from cometd_chat.web.cached_polls import CachedPolls
from cometd_chat.web.holding import HoldSettings, RequestHolder, set_headers
from cometd_chat.web.known_openings import KnownOpenings
from cometd_chat.web.opening import Opening, ReadRequest, cursor_of, room_names
from cometd_chat.web.parameters import Parameters, query
from cometd_chat.web.peers import Peers
from cometd_chat.web.problems import Problems

#: Milliseconds after which a browser opens a broken event stream again, at least.
SSE_RETRY = 1500

#: Refusals after which an event stream does not come back: until its user acts, it would be refused
#: again.
_FOR_GOOD = frozenset({401, 403, 404})

#: Seconds after which one comes back whose address has a mistake in it: a page, or a script that
#: stands in for EventSource, may be mended meanwhile.
_AFTER_MISTAKE = 60.0

#: A query that asks for nothing.
_NOTHING = Parameters([])


class Transports:
    """All transports.

    :param nonce: see `Framings`, as for the boundary and the origins.
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
        settings: HoldSettings,
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
        self._random = random
        self._opening = Opening(chat, auth, peers, settings.poll_timeout)
        self._holder = RequestHolder(
            chat, stats, reaper, settings, refused=problems.count, random=random
        )
        self._polls = CachedPolls(chat)
        self._openings = KnownOpenings(chat, auth, peers)
        self._framings = Framings(
            nonce=nonce, boundary=boundary, origins=origins, retry=self._retry
        )
        self._rows = {row.name: row for row in TABLE}
        self._rows_by_room = {
            method.encode("ascii"): row for row in TABLE if row.by_room for method in row.methods
        }

    # -- opening

    async def open(self, request: HttpRequest, transport: str) -> bytes | HeldSink:
        """Hold a request for a transport, until it ends.

        :param transport: its name.
        :returns: the body when it isn't held; else what is held, which goes on by itself.
        """
        found = self._polls.find(request)
        if found is not None:
            cached, point = found
            return self._holder.hold(
                request,
                cached.row,
                cached.framing,
                cached.asked,
                point,
                at_once=False,
                comes_again=True,
            )
        return await self._open(request, self._rows[transport])

    def missing(self, transport: str) -> ChatError:
        """The error for a transport that isn't there, or that no GET asks for.

        :param transport: its name.
        """
        row = self._rows.get(transport)
        if row is None:
            names = ", ".join(self._rows)
            return NotFound(f"There is no transport {transport}. There are {names}.")
        methods = list(row.methods)
        return MethodNotAllowed(f"Use {' or '.join(methods)} here.", allow=methods)

    async def open_by_room(self, request: HttpRequest, room: str) -> bytes | HeldSink:
        """Hold a request for a room, by the transport that goes by its method.

        :param room: its name, as somebody typed it.
        """
        row = self._rows_by_room[b"GET" if request.method == b"HEAD" else request.method]
        if not row.speaks:
            # To a browser it is a page like any other: a cookie that is no good is cleared.
            fields = query(request, strict=False)
            await self._auth.visitor(request, query_token=fields.optional("token"))
        return await self._open(request, row, room)

    async def open_classic(
        self,
        request: HttpRequest,
        session: Session,
        room: Room,
        framing: Classic,
        fields: Parameters,
    ) -> bytes | HeldSink:
        """Hold a request for the endless page of the classic servlet.

        :param fields: of its query, or of its form.
        """
        asked = self._opening.read(request, CLASSIC, fields, [room], session)
        return await self._hold(request, CLASSIC, framing, asked, fields)

    async def _open(
        self, request: HttpRequest, row: Transport, room: str | None = None
    ) -> bytes | HeldSink:
        """Hold a request for a transport.

        :param room: the one of the path, or None where the query says which.
        """
        framing = row.plain
        try:
            found = self._openings.find(request, row)
            if found is not None:
                framing, asked, point, goes_on = found
                return self._holder.hold(request, row, framing, asked, point, at_once=not goes_on)
            # What a transport doesn't know, scripts add, and add again: it ends no stream.
            fields = query(request, strict=False)
            # First of all: what is refused after it is told as the client can hear it.
            framing = self._framing(row, FramingRequest(fields, request.getHeader))
            self._opening.check_sender(request, row, fields.optional("token"))
            names = room_names(fields) if room is None else [room]
            return await self._open_for_reader(request, row, framing, fields, names)
        except ChatError as error:
            return self._refuse(request, row, framing, error)
        except CancelledError:
            raise
        except Exception:
            if request.sentLength:
                # It has begun: there is no other way to say it any more.
                raise
            return self._refuse(request, row, framing, self._problems.defect(Failure()))

    async def _open_for_reader(
        self,
        request: HttpRequest,
        row: Transport,
        framing: Framing,
        fields: Parameters,
        names: Sequence[str],
    ) -> bytes | HeldSink:
        """Hold a request of somebody who may read.

        :param names: of the rooms; whoever may not read is not told whether they are there.
        """
        self._chat.rights.require(None, Act.ENTER)
        name = fields.optional("name") if row.by_name else None
        is_nobody = name is not None or not (
            fields.optional("token") or self._auth.request_token(request)
        )
        if is_nobody and self._auth.may_read(None):
            # What isn't there for them needs nobody to log in. A room to which a new guest does not
            # belong is none, nor is it looked for in another way.
            await self._opening.rooms(names, None)
        if name is None:
            session = await self._opening.who(request, row, fields.optional("token"))
            return await self._open_as(request, row, framing, fields, names, session)
        self._auth.check_csrf(request)
        if request.method == b"HEAD":
            return _head(request, framing)
        session, _ = await self._chat.log_in(name, self._peers.address(request), ephemeral=True)
        try:
            return await self._open_as(request, row, framing, fields, names, session)
        except Exception:
            # Refused, or gone while the log was read: nothing is held that would end her session.
            await self._chat.log_out(session)
            raise

    async def _open_as(
        self,
        request: HttpRequest,
        row: Transport,
        framing: Framing,
        fields: Parameters,
        names: Sequence[str],
        session: Session | None,
    ) -> bytes | HeldSink:
        rooms = await self._opening.rooms(names, session)
        if len(rooms) > 1:
            framing = self._framing(row, FramingRequest(fields, request.getHeader, several=True))
        asked = self._opening.read(request, row, fields, rooms, session)
        self._polls.remember(request, row, framing, asked)
        self._openings.remember(request, row, framing, asked, fields)
        return await self._hold(request, row, framing, asked, fields)

    async def _hold(
        self,
        request: HttpRequest,
        row: Transport,
        framing: Framing,
        asked: ReadRequest,
        fields: Parameters,
    ) -> bytes | HeldSink:
        cursor = cursor_of(request, row, fields)
        paths = [room.context.path for room in asked.grant.rooms]
        point = await resume_at(self._chat.feed, paths, cursor, asked.backlog)
        if request.method == b"HEAD":
            return _head(request, framing)
        return self._holder.hold(request, row, framing, asked, point, at_once=cursor is None)

    # -- framings and refusals

    def _framing(self, row: Transport, asked: FramingRequest) -> Framing:
        assert row.framing is not None
        return row.framing(self._framings, asked)

    def _retry(self) -> int:
        return round(SSE_RETRY * (1 + self._random()))

    def _refuse(
        self, request: HttpRequest, row: Transport, framing: Framing | None, error: ChatError
    ) -> bytes:
        """The body of a refusal for a client that can't see the status; others get the error.

        :param framing: None when it wasn't known yet.
        :raises ChatError: the error itself, to be answered as everywhere.
        """
        least = 0.0
        if row.refusal is Refusal.COMES_BACK:
            if error.status in _FOR_GOOD or isinstance(error, InvalidCursor):
                raise error
            # A browser that gets another status for an event stream never comes back by itself.
            least = _AFTER_MISTAKE if error.status < 429 else error.retry_after or 0
        elif row.refusal is Refusal.STATUS:
            raise error
        if framing is None or least:
            framing = self._framing(row, FramingRequest(_NOTHING, request.getHeader, least=least))
        self._problems.begin(request, error)
        set_headers(request, framing)
        if row.refusal is not Refusal.IN_BODY:
            request.setResponseCode(200)
        told = kinds.error(error.status, error.detail)
        return framing.begin() + framing.frame([told]) + framing.end()


def _head(request: HttpRequest, framing: Framing) -> bytes:
    set_headers(request, framing)
    return b""
