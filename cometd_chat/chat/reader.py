"""Somebody who reads rooms from a cursor on.

What it is: the handler that the engine knows and the listener that a held request knows; it brings
its reader from the cursor to the live end, and keeps her there.

What it may know: the feed, the engine's contexts, a held request. Not HTTP, not who she is.

Invariant: she gets every kept event of her rooms after her cursor once, in order. Reading the rest
of the tail and going live happen in one step, so there is no slit between old and new.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.feed import Feed
from cometd_chat.chat.shared_state import PAGE_BYTES, PAGE_EVENTS, SharedReaderState, View, cut
from cometd_chat.comet import CometEvent, Reason
from cometd_chat.errors import StorageUnavailable
from cometd_chat.events import kinds
from cometd_chat.events.event import Batch, Event
from cometd_chat.log.log import Count
from cometd_chat.transports.held import HeldRequest

if TYPE_CHECKING:
    from cometd_chat.chat.sessions import Session

#: Who is too far behind gets so many of the newest.
AFTER_GAP = 200

#: What is left out is counted up to so many times `Feed.max_behind`.
COUNTED = 2

#: Seconds after which who could not be served from the log comes again, at least.
STORAGE_DELAY = 1.0


@attrs.frozen
class Start:
    """Where a reader begins.

    :param position: she has everything up to this id.
    :param shown: the cursor of that, for her first event.
    :param first: what she is told before anything else: a reset, gaps.
    """

    position: int
    shown: str
    first: tuple[Event, ...] = ()


def start_now(feed: Feed, cursor: str) -> Start | None:
    """Where somebody begins who hands in a cursor; None when the log has to be asked, or may come
    to that cursor in a moment.

    :raises InvalidCursor: it can't be a cursor.
    """
    known = feed.log.position(cursor)
    if known is None:
        return _start_anew(feed, cursor)
    return Start(known, cursor) if 0 <= feed.last_id - known <= feed.max_behind else None


def _start_anew(feed: Feed, cursor: str) -> Start:
    """Where somebody begins whose cursor is not of this log."""
    now = feed.log.cursor(feed.last_id)
    # Until she has been told, she stands where she was: a connection that is lost in between must
    # not lose the reset.
    return Start(feed.last_id, cursor, (kinds.reset(now),))


async def start_at(feed: Feed, paths: Sequence[str], cursor: str | None, backlog: int = 0) -> Start:
    """Where somebody begins who hands in a cursor, or asks for a backlog.

    :param cursor: what she was last given, or None to begin now.
    :param backlog: without a cursor, so many older events first.
    :raises InvalidCursor: it can't be a cursor.
    :raises StorageUnavailable: the log is needed for that, and can't be read; or too many wait for
        what it was not told yet.
    :raises ShuttingDown: the daemon stopped while she waited for that.
    """
    if cursor is None:
        position = await _before_newest(feed, paths, backlog) if backlog else feed.last_id
        return Start(position, feed.log.cursor(position))
    start = start_now(feed, cursor)
    if start is None:
        known = feed.log.position(cursor) or 0
        if not await feed.reached(known):
            return _start_anew(feed, cursor)
        start = start_now(feed, cursor) or await _start_behind(feed, paths, known, cursor)
    return start


async def _start_behind(feed: Feed, paths: Sequence[str], known: int, cursor: str) -> Start:
    """Many ids behind; whether that is many events of her rooms only the log can tell."""
    behind = await far_behind(feed, paths, known)
    if behind is None:
        return Start(known, cursor)
    gaps = tuple(
        kinds.gap(kinds.room_of(path), count.number, behind.before, at_least=count.at_least)
        for path, count in behind.missing.items()
    )
    return Start(behind.before - 1, cursor, gaps)


@attrs.frozen
class Behind:
    """Somebody is too far behind to be told everything.

    :param before: she is told everything from this id on.
    :param missing: what she is not told, by path; of all contexts together as `EVERY`.
    """

    before: int
    missing: Mapping[str, Count]


async def far_behind(feed: Feed, paths: Collection[str] | None, known: int) -> Behind | None:
    """How far behind the newest somebody is who has everything up to an id; None when it is near
    enough to be told everything.

    :param paths: what she reads; None for all there is.
    :raises StorageUnavailable: the log can't be read.
    """
    end = feed.last_id + 1
    newest = await feed.log.read(paths, after=known, before=end, limit=AFTER_GAP, newest=True)
    if len(newest) < AFTER_GAP:
        return None
    before = newest[0].id
    most = COUNTED * feed.max_behind
    kept = await feed.log.count(paths, after=known, before=before, most=most)
    if len(newest) + sum(count.number for count in kept.values()) <= feed.max_behind:
        return None
    # Whoever is told of a gap looks at the room anew, even where nothing that counts is missing.
    types = kinds.counted_types()
    said = await feed.log.count(paths, after=known, before=before, most=most, types=types)
    return Behind(before, {path: said.get(path, Count(0)) for path in kept})


async def _before_newest(feed: Feed, paths: Sequence[str], count: int) -> int:
    """The position before the newest ``count`` events of some contexts that count as said."""
    # What is said while the log is read comes after the start; in an empty room too.
    last = feed.last_id
    recent = feed.tail.newest(paths, count, lambda event: kinds.kind_of(event.type).counted)
    if len(recent) == count:
        first = recent[0].id
    else:
        types = kinds.counted_types()
        records = await feed.read(paths, limit=count, newest=True, types=types)
        first = records[0].id if records else None
    return last if first is None else first - 1


class Reader:
    """One who reads. There are thousands: what all have in common is in `SharedReaderState`.

    :param shared_state: of all.
    :param view: what she reads; she is held in all its contexts.
    :param held: where it goes.
    :param start: where she begins.
    :param on_end: told once, when she reads no longer; True when her time had run out.
    :param session: who she is; None for somebody who only reads.
    :param address: where from; empty where that isn't known.
    :param grace: seconds that she is present after it has ended.
    :param at_once: a poll is answered even when there is nothing to say.
    :param client: the window that a poll is for, if it says so.
    :param most: so many requests of its kind may a session hold; None for any number.
    """

    __slots__ = (
        "_at_once",
        "_awaited",
        "_ended",
        "_held",
        "_live",
        "_on_end",
        "_one_shot",
        "_position",
        "_shared",
        "_start",
        "_view",
        "address",
        "client",
        "grace",
        "most",
        "session",
    )

    _log = Logger()

    def __init__(
        self,
        shared_state: SharedReaderState,
        view: View,
        held: HeldRequest,
        start: Start,
        *,
        on_end: Callable[[Reader, bool], None],
        session: Session | None,
        address: str,
        grace: float,
        at_once: bool,
        client: str | None,
        most: int | None,
    ) -> None:
        self._shared = shared_state
        self._view = view
        self._held = held
        self._position = start.position
        # Until something is sent to her, or she is live.
        self._start: Start | None = start
        self.session = session
        self.address = address
        self.grace = grace
        self._one_shot = held.one_shot
        self.client = client if held.one_shot else None
        self.most = most
        self._on_end = on_end
        self._at_once = at_once and held.one_shot
        self._awaited: list[tuple[int, Deferred[None]]] | None = None
        self._live = False
        self._ended = False

    def begin(self) -> None:
        """Go on the contexts, say hello, and catch up."""
        for context in self._view.contexts:
            context.add_handler(self)
        assert self._start is not None
        self._held.hold(self, self._shared.hello(self._start.shown))
        if not self._catch_up_at_once():
            Deferred.fromCoroutine(self._catch_up()).addErrback(self._failed)

    @property
    def transport(self) -> str:
        """By which transport she reads."""
        return self._held.transport

    @property
    def rooms(self) -> Sequence[str]:
        """The names of what she reads."""
        return self._view.rooms

    @property
    def cursor(self) -> str:
        """How far she has come; all kept events of her rooms up to there have been sent."""
        if self._start is not None and self._start.first:
            # A gap that she has not been told of yet: it must be found again from here.
            return self._start.shown
        # Live, she is as far as the log, even where its last events were for other rooms; unless
        # a fan-out is on its way that may not have come to her yet.
        feed = self._shared.feed
        if self._live and not feed.engine.delivering:
            self._position = max(self._position, feed.last_id)
        return feed.log.cursor(self._position)

    # -- from the cursor to the live end

    def _catch_up_at_once(self) -> bool:
        """Go live where one page is enough, as it mostly is; False when there is more."""
        page = self._shared.page(self._position, self._view)
        if page is None or not page[1]:
            return False
        self._go_live(page[0])
        return True

    async def _catch_up(self) -> None:
        while not self._ended:
            found = self._shared.page(self._position, self._view)
            batch, is_all = await self._older_page() if found is None else found
            if is_all and not self._ended:
                # Nothing waited since the tail was read: this is all there is, and whatever
                # comes next comes by `on_batch`.
                self._go_live(batch)
                return
            if batch is not None and not self._ended:
                self._send(batch, self._held.replay)
                if not self._ended:
                    await self._held.drained()

    async def _older_page(self) -> tuple[Batch | None, bool]:
        """The next page of what is no longer in the tail, which is never all."""
        feed = self._shared.feed
        floor = feed.tail.floor
        records = await feed.read(
            self._view.paths, after=self._position, limit=PAGE_EVENTS, max_bytes=PAGE_BYTES
        )
        if not records:
            # Nothing of hers up to where the tail began when the log was asked.
            self._position = max(self._position, floor)
            return None, False
        return Batch(cut([kinds.recorded(record) for record in records])), False

    def _go_live(self, rest: Batch | None) -> None:
        self._live = True
        if self._start is not None and not self._start.first:
            self._start = None
        if rest is not None or self._start is not None or self._at_once:
            self._send(rest, self._held.replay)
        self._position = max(self._position, self._shared.feed.last_id)

    def _send(self, batch: Batch | None, write: Callable[[Batch], None]) -> None:
        if batch is not None and batch.kept:
            self._position = batch.last_id
        if self._start is not None:
            first, self._start = self._start.first, None
            if first:
                batch = Batch([*first, *(batch.events if batch is not None else ())])
        if self._one_shot:
            self._finish(batch)
        elif batch is not None:
            write(batch)
            if self._awaited:
                self._tell_reached()

    def _finish(self, batch: Batch | None) -> None:
        """The last events, with where to go on."""
        if self._end(expired=False):
            self._held.end(self._shared.poll_response(batch, self.cursor))

    # -- CometHandler

    def on_initialize(self, event: CometEvent) -> None:
        """Held in one of her contexts."""

    def on_event(self, event: CometEvent) -> None:
        """Not called: what is said comes by `on_batch`."""

    def on_batch(self, told: Sequence[CometEvent]) -> None:
        """Something was said: it goes out in one write. What she has already is told from its id.

        This is the hot path, run for each reader of each message.
        """
        if not self._live:
            return
        shared = self._shared
        batch = shared.last_batch if told is shared.told else shared.batch(told)
        # A batch of which nothing is kept has 0 for its first id.
        if batch.first_id <= self._position or self._one_shot:
            self._send_part(batch)
            return
        self._position = batch.last_id
        self._held.send(batch)
        if self._awaited:
            self._tell_reached()

    def _send_part(self, batch: Batch) -> None:
        """Send what she may have in part, or what is not kept, or the answer to a poll."""
        rest = batch.after(self._position)
        if rest is None or (not rest.kept and self._held.congested):
            return
        if self._one_shot:
            # What doesn't fit is not lost: the cursor of the answer is that of its last event.
            self._live = False
            fitting = cut(rest.events)
            rest = rest if len(fitting) == len(rest.events) else Batch(fitting)
        self._send(rest, self._held.send)

    def on_expiring(self, event: CometEvent) -> None:
        """Nothing was seen to come from her or to be taken by her for too long."""
        self._held.look()

    def on_interrupt(self, event: CometEvent) -> None:
        """Nothing came from her or was taken by her for too long, or she is gone."""
        expired = event.attachment is Reason.EXPIRED
        if self._end(expired=expired):
            if self._one_shot:
                self._held.end(self._shared.poll_response(None, self.cursor))
            else:
                self._held.cut()

    def on_terminate(self, event: CometEvent) -> None:
        """The daemon stops, a room of hers is gone, or she could not be served."""
        if self._ended:
            return
        cursor = self.cursor
        self._end(expired=False)
        if event.attachment is Reason.SHUTDOWN:
            self._held.end(Batch([kinds.reopen(cursor, self._shared.delay())]))
        elif event.attachment is Reason.UNREGISTERED:
            self._held.end(Batch([kinds.bye("the room is gone")]))
        else:
            self._held.cut()

    # -- HeldListener

    def on_progress(self, at: float | None = None) -> None:
        """Something came from her, or her TCP took something."""
        self._view.contexts[0].touch(self, at)

    def make_heartbeat(self) -> Batch:
        """The heartbeat."""
        return self._shared.heartbeat(self.cursor)

    def on_rotate(self) -> None:
        """Her stream has grown long enough: the next one goes on from here."""
        self.close(kinds.reopen(self.cursor, 0))

    def on_timeout(self) -> None:
        """Her poll was held for as long as it may be."""
        self._finish(None)

    def on_lost(self) -> None:
        """She is gone."""
        self._end(expired=False)

    # -- the end

    def answer_now(self) -> None:
        """Let a poll go with nothing new: another one has taken its place."""
        self._finish(None)

    def come_back(self, after: float) -> None:
        """Send her away to begin anew, by what shows who she is by then."""
        self.close(kinds.reopen(self.cursor, after))

    def finish(self) -> None:
        """End a stream that has done what it was for."""
        if self._end(expired=False):
            self._held.end(None)

    def tell(self, event: Event) -> None:
        """Something for her alone."""
        if not self._ended:
            self._held.send(Batch([event]))

    def replay_event(self, event: Event) -> None:
        """Something that she may have been told before; nothing happens when it is yet to come.

        Its cursor is where she is now: with that of its own she would be told all since then anew.
        """
        cursor = self.cursor
        if event.id is not None and event.id <= self._position:
            self.tell(Event({**event.fields, "cursor": cursor}, event.id))

    def reached(self, id: int) -> Deferred[None]:
        """Fires when all up to an id has been sent to her, or when she reads no longer."""
        waiting: Deferred[None] = Deferred()
        self._awaited = [*(self._awaited or ()), (id, waiting)]
        self._tell_reached()
        return waiting

    def _tell_reached(self) -> None:
        awaited = self._awaited or []
        ready = [each for each in awaited if self._ended or each[0] <= self._position]
        self._awaited = [each for each in awaited if each not in ready]
        for _, waiting in ready:
            waiting.callback(None)

    def close(self, event: Event) -> None:
        """Send her away with a ``bye`` or a ``reopen``."""
        if self._end(expired=False):
            self._held.end(Batch([event]))

    def _end(self, *, expired: bool) -> bool:
        if self._ended:
            return False
        self._ended = True
        for context in self._view.contexts:
            context.remove_handler(self)
        if self._awaited:
            self._tell_reached()
        self._shared.ended(self)
        self._on_end(self, expired)
        return True

    def _failed(self, failure: Failure) -> None:
        cursor = self.cursor
        if failure.check(StorageUnavailable):
            self._log.warn("a reader waits for the log: {reason}", reason=failure.value)
            self.close(kinds.reopen(cursor, STORAGE_DELAY + self._shared.delay()))
        elif self._end(expired=False):
            self._log.failure("a reader could not be brought up to date", failure)
            self._held.cut()
