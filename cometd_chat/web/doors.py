"""The doors: requests that are held.

What it is: from a request for a door to a reader on a held request, and the refusals that clients
which can't see a status need.

What it may know: requests, framings, the chat. Not how bytes are written.

Invariant: a door is checked wholly before anything is held, and what it holds is counted for as
long as it is held.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import attrs
from twisted.web.iweb import IRequest

from cometd_chat.chat import events
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.limits import HELD_BY_ADDRESS
from cometd_chat.chat.presence import GRACE, SLOW_GRACE
from cometd_chat.chat.reader import AFTER_GAP, start_at
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError, NotFound, TooMany
from cometd_chat.transports.framings import (
    Classic,
    Frame,
    Framing,
    JsonLines,
    Poll,
    ServerSentEvents,
    Text,
)
from cometd_chat.transports.held import HeldPoll, HeldRequest, HeldStream
from cometd_chat.transports.http import address_of
from cometd_chat.transports.ledger import Ledger
from cometd_chat.web import problems
from cometd_chat.web.auth import Auth
from cometd_chat.web.parameters import Parameters, query, refused

MAX_ROOMS = 50
SSE_RETRY = 2000


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


class Doors:
    """All doors.

    :param nonce: the frames' one nonce, another one each start. They hold nothing but our own
        scripts, so that one can be shared: what is framed once is right for all.
    """

    def __init__(
        self, chat: Chat, auth: Auth, ledger: Ledger, reaper: Reaper, holding: Holding, nonce: str
    ) -> None:
        self._chat = chat
        self._auth = auth
        self._ledger = ledger
        self._reaper = reaper
        self._holding = holding
        self._by_address: Counter[str] = Counter()
        self._texts = {
            (rooms, cursors): Text(rooms=rooms, cursors=cursors)
            for rooms in (False, True)
            for cursors in (False, True)
        }
        text = self._texts[False, False]
        framings = (Frame(nonce), Poll(), JsonLines(), ServerSentEvents(SSE_RETRY), text)
        self._framings: dict[str, Framing] = {framing.door: framing for framing in framings}

    async def open(self, request: IRequest, door: str) -> bytes | None:
        """Hold a request for a door, until it ends.

        :returns: the body when it isn't held, else None.
        """
        framing = self._framings.get(door)
        if framing is None:
            doors = ", ".join(self._framings)
            raise NotFound(f"There is no door {door}: those there are are {doors}.")
        try:
            asked = query(request)
            rooms = self._rooms(asked.text("rooms", "lobby"))
            if door == "text":
                framing = self._text(asked, rooms)
            return await self._open(request, framing, asked, rooms)
        except ChatError as error:
            refusal = _refusal(framing, error)
            if refusal is None:
                raise
            self._set_headers(request, framing)
            problems.set_error_headers(request, error)
            if framing.door == "sse":
                request.setResponseCode(200)
            return refusal

    async def open_text(self, request: IRequest, room: Room) -> bytes | None:
        """Hold a request for the text of one room."""
        asked = query(request)
        return await self._open(request, self._text(asked, [room]), asked, [room])

    async def open_classic(
        self, request: IRequest, session: Session, room: Room, framing: Classic
    ) -> bytes | None:
        """Hold a request for the endless page of the classic servlet."""
        return await self._hold(request, framing, query(request), [room], session)

    # -- what is asked for

    def _text(self, asked: Parameters, rooms: Sequence[Room]) -> Text:
        return self._texts[len(rooms) > 1, asked.text("cursors") == "1"]

    def _rooms(self, listed: str) -> list[Room]:
        rooms = [self._chat.rooms.find(name) for name in listed.split(",") if name]
        rooms = list(dict.fromkeys(rooms))
        if not 1 <= len(rooms) <= MAX_ROOMS:
            raise refused("rooms", f"1 to {MAX_ROOMS} names are needed, with commas between")
        return rooms

    async def _open(
        self, request: IRequest, framing: Framing, asked: Parameters, rooms: Sequence[Room]
    ) -> bytes | None:
        self._chat.refuse_unless_serving()
        name = asked.optional("name") if framing.door == "text" else None
        if name is not None:
            self._auth.check_meant(request)
            if request.method == b"HEAD":
                return self._head(request, framing)
            session, _ = await self._chat.log_in(name, address_of(request), brief=True)
            try:
                return await self._hold(request, framing, asked, rooms, session)
            except ChatError:
                await self._chat.log_out(session)
                raise
        reader = await self._auth.reader(request, query_token=asked.optional("token"))
        return await self._hold(request, framing, asked, rooms, reader)

    # -- holding

    async def _hold(
        self,
        request: IRequest,
        framing: Framing,
        asked: Parameters,
        rooms: Sequence[Room],
        session: Session | None,
    ) -> bytes | None:
        backlog = asked.number("backlog", 0, 0, AFTER_GAP) or 0
        wait = asked.seconds("wait", self._holding.poll_timeout, self._holding.poll_timeout)
        cursor = asked.optional("cursor")
        if framing.door == "sse":
            # What a browser sends by itself when it comes back; its URL is as old as the page.
            cursor = request.getHeader("last-event-id") or cursor
        start = await start_at(
            self._chat.feed, [room.context.path for room in rooms], cursor, backlog
        )
        if request.method == b"HEAD":
            return self._head(request, framing)
        on_end = self._count(address_of(request), framing)
        self._set_headers(request, framing)
        held = self._held(request, framing, wait)
        self._chat.read(
            session,
            rooms,
            held,
            start,
            on_end=on_end,
            address=address_of(request),
            grace=SLOW_GRACE if framing.one_shot and wait == 0 else GRACE,
            at_once=cursor is None or wait == 0,
        )
        await held.done
        return None

    def _held(self, request: IRequest, framing: Framing, wait: float) -> HeldRequest:
        if framing.one_shot:
            return HeldPoll(request, framing, reaper=self._reaper, ledger=self._ledger, wait=wait)
        return HeldStream(
            request,
            framing,
            reaper=self._reaper,
            ledger=self._ledger,
            heartbeat=self._holding.heartbeat,
            budget=self._holding.reader_budget,
        )

    def _count(self, address: str, framing: Framing) -> Callable[[bool], None]:
        """Count a request that is to be held.

        :returns: what counts it out again.
        :raises TooMany: its address holds as many as it may.
        """
        if self._chat.limits.on and address and self._by_address[address] >= HELD_BY_ADDRESS:
            raise TooMany(
                f"Your address holds {HELD_BY_ADDRESS} requests: close one first.", retry_after=5
            )
        self._by_address[address] += 1

        def out(expired: bool) -> None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
            if expired:
                self._ledger.door(framing.door).expired += 1

        return out

    def _head(self, request: IRequest, framing: Framing) -> bytes:
        self._set_headers(request, framing)
        return b""

    def _set_headers(self, request: IRequest, framing: Framing) -> None:
        request.setHeader("content-type", framing.content_type)
        request.setHeader("cache-control", "no-store, no-transform")
        request.setHeader("x-accel-buffering", "no")
        if isinstance(framing, Frame):
            request.setHeader("content-security-policy", framing.content_security_policy)


def _refusal(framing: Framing, error: ChatError) -> bytes | None:
    """The body of a refusal for a client that can't see the status; None for those that can."""
    hidden = framing.door == "frame" or (framing.door == "sse" and error.status in (429, 503))
    if not hidden:
        return None
    told = events.error(error.status, error.detail)
    return framing.begin() + framing.frame([told]) + framing.end()
