"""From a cursor to the live end, and on with it: what everybody who reads has in common.

What it is: one algorithm, the `Subscription`: pages of what was said before, at the pace at which
they are taken, and then what is said now, into one `Sink`.

What it may know: the feed, a sink. Not who reads, nor what kind of thing the sink is.

Invariant: the sink gets every kept event of the rooms after the position once, in order, whatever
it refused meanwhile. Reading the rest of the tail and going live happen in one step, so there is no
gap between old and new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.shared_state import (
    PAGE_BYTES,
    PAGE_EVENTS,
    Readable,
    SharedState,
    cut,
    size_of,
)
from cometd_chat.chat.sink import Sink
from cometd_chat.errors import StorageUnavailable
from cometd_chat.events.event import Batch, Event

#: Seconds after which somebody who could not be served from the log is served again, at least.
STORAGE_DELAY = 1.0


class State(Enum):
    """Where a subscription is."""

    # By what it is, as any object: Enum's own is written in Python, and asked for thrice a poll.
    __hash__ = object.__hash__

    #: It has not begun.
    NEW = auto()
    #: Not at the live end, and nothing is under way: its sink said *not now*, or the log can't be
    #: read.
    BEHIND = auto()
    #: It is brought up; whatever is said meanwhile is read from the tail.
    CATCHING_UP = auto()
    #: It has everything, and whatever is said goes to its sink at once.
    LIVE = auto()
    #: It was answered, reads no longer, and may begin again where it was.
    RESTING = auto()
    #: It reads no longer.
    ENDED = auto()


#: What may follow on what. `Subscription._become` keeps to it.
TRANSITIONS: Mapping[State, tuple[State, ...]] = {
    # It begins; it was closed.
    State.NEW: (State.CATCHING_UP, State.ENDED),
    # The sink is ready, or the log is tried again; its answer is out; it was closed.
    State.BEHIND: (State.CATCHING_UP, State.RESTING, State.ENDED),
    # The sink said *not now*, or the log could not be read; all was read; it was closed.
    State.CATCHING_UP: (State.BEHIND, State.LIVE, State.ENDED),
    # The sink said *not now*; its answer is out; it was closed.
    State.LIVE: (State.BEHIND, State.RESTING, State.ENDED),
    # It is asked anew, with all there is or with less; nobody asks it any more.
    State.RESTING: (State.LIVE, State.BEHIND, State.ENDED),
    State.ENDED: (),
}

# The hot paths look these up once less.
_LIVE = State.LIVE
_CATCHING_UP = State.CATCHING_UP
_ENDED = State.ENDED

#: What stands where there is nothing to say but what `Subscription._untold` says.
_NOTHING = Batch(())


class Subscription:
    """One who reads. There are thousands: what all have in common is in `SharedState`. An item of
    the reaper while the log can't be read.

    :param rooms: what is read.
    :param sink: where it goes; it has to call `on_ready` after it has said *not now*.
    :param point: where it begins.
    """

    __slots__ = ("_rooms", "_shared", "_sink", "_untold", "position", "state")

    _log = Logger()

    def __init__(
        self, shared: SharedState, rooms: Readable, sink: Sink, point: ResumePoint
    ) -> None:
        self._shared = shared
        self._rooms = rooms
        self._sink = sink
        #: The sink has everything up to this id; live it may be further, see `_current`.
        self.position = point.position
        # Where it began, until what is to be said of that has been.
        self._untold = point if point.preface else None
        self.state = State.NEW

    def _become(self, state: State) -> None:
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"a subscription that is {self.state} can't be {state}")
        self.state = state

    @property
    def current(self) -> int:
        """Up to which id it is complete: live it is as far as the log, even where its last events
        were for other rooms; unless a fan-out is on its way that may not have come to it yet."""
        feed = self._shared.feed
        if self.state is _LIVE and not feed.engine.delivering:
            self.position = max(self.position, feed.last_id)
        return self.position

    @staticmethod
    def _size_of(event: Event) -> int:
        """How many bytes of a page an event takes."""
        return size_of(event)

    # -- from the cursor to the live end

    def begin(self) -> None:
        """Bring it to the live end, as far as its sink takes it; nothing where it has begun."""
        if self.state is State.NEW:
            self._catch_up()

    def on_ready(self) -> None:
        """The sink takes more; nothing where it has not said *not now*."""
        if self.state is State.BEHIND:
            self._catch_up()

    def _catch_up(self) -> None:
        # `_become` spelt out where a poll comes by, here, where it goes live and where it ends: it
        # is 4 % of an empty one.
        self.state = _CATCHING_UP
        # One page is mostly enough, and needs no coroutine.
        page = self._shared.page(self.position, self._rooms, self._size_of)
        if page is not None and page[1]:
            self._go_live(page[0])
        else:
            Deferred.fromCoroutine(self._read_pages()).addErrback(self._failed)

    async def _read_pages(self) -> None:
        while self._is_catching_up():
            found = self._shared.page(self.position, self._rooms, self._size_of)
            page, is_all = await self._older_page() if found is None else found
            if not self._is_catching_up():
                return
            if is_all:
                # Nothing waited since the tail was read: this is all there is, and whatever comes
                # next comes by `take`.
                self._go_live(page)
                return
            if page is not None:
                self._put(page, self._replay)
                if self._is_catching_up() and not self._sink.ready():
                    self._become(State.BEHIND)

    def _is_catching_up(self) -> bool:
        return self.state is State.CATCHING_UP

    async def _older_page(self) -> tuple[Batch | None, bool]:
        """The next page of what is no longer in the tail, which is never all."""
        feed = self._shared.feed
        floor = feed.tail.floor
        # What is newer than what was told comes when it is told.
        records = await feed.log.read(
            self._rooms.paths,
            after=self.position,
            before=feed.last_id + 1,
            limit=PAGE_EVENTS,
            max_bytes=PAGE_BYTES,
        )
        if not records:
            # Nothing for it up to where the tail began when the log was asked.
            self.position = max(self.position, floor)
            return None, False
        found = [feed.made(record) for record in records]
        return Batch(cut(found, size_of=self._size_of)), False

    def _go_live(self, rest: Batch | None) -> None:
        self.state = _LIVE
        if rest is not None or self._untold is not None:
            self._put(rest, self._replay)
        if self.state is _LIVE:
            self.position = max(self.position, self._shared.feed.last_id)

    def _put(self, batch: Batch | None, write: Callable[[Batch], int]) -> None:
        """Hand something to the sink, with what is to be said before it."""
        untold, self._untold = self._untold, None
        if untold is not None and untold.preface:
            batch = Batch([*untold.preface, *(batch.events if batch is not None else ())])
        if batch is None:
            if untold is None:
                return
            batch = _NOTHING
        # Before it is written: the sink may ask meanwhile how far the subscription is.
        if batch.kept:
            self.position = batch.last_id
        refused = write(batch)
        if refused:
            self._not_now(refused)
            if refused == batch.first_id:
                self._untold = untold

    def _replay(self, page: Batch) -> int:
        return self._sink.replay(page)

    def _offer(self, batch: Batch) -> int:
        return self._sink.offer(batch)

    def _not_now(self, refused: int) -> None:
        """The sink takes nothing from an id on, until it is ready."""
        self.position = refused - 1
        self._become(State.BEHIND)

    def _failed(self, failure: Failure) -> None:
        """It could not be brought up: later, then."""
        if self.state is State.ENDED:
            return
        if failure.check(StorageUnavailable):
            self._log.warn("a subscription waits for the log: {reason}", reason=failure.value)
        else:
            self._log.failure("a subscription could not be brought up to date", failure)
        if self.state is not State.BEHIND:
            self._become(State.BEHIND)
        self._shared.feed.engine.reaper.schedule(_Retry(self), STORAGE_DELAY)

    # -- the live end

    def take(self, batch: Batch) -> None:
        """Something was said. Only what is new goes to the sink, and nothing before it is live."""
        if self.state is not _LIVE:
            return
        # A batch of which nothing is kept has 0 for its first id.
        if batch.first_id <= self.position:
            self._take_part(batch)
            return
        # Nothing is untold where it is live: `_put` spelt out, for this is a hot path.
        self.position = batch.last_id
        refused = self._sink.offer(batch)
        if refused:
            self._not_now(refused)

    def _take_part(self, batch: Batch) -> None:
        """What it has already is left out, and what is not kept where the sink is far behind."""
        rest = batch.after(self.position)
        if rest is not None and (rest.kept or not self._sink.congested):
            self._put(rest, self._offer)

    def end(self) -> bool:
        """Read no longer; False when that has happened before."""
        if self.state is _ENDED:
            return False
        self.state = _ENDED
        return True


@attrs.define(eq=False)
class _Retry:
    """The next time that a subscription tries to read the log, which it could not."""

    subscription: Subscription
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        """The log may be read by now; see `Reaper.schedule`."""
        self.subscription.on_ready()
        return None
