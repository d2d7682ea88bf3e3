"""What all who read have in common, so that little has to be made and kept for each.

What it is: where they read from, and the last few things that were made for one of them and are
right for the next one too: what a fan-out brings, a page of the tail, a heartbeat, a hello.

What it may know: the feed, events, the engine's events. Not who reads, nor how it is written.

Invariant: what is shared is never changed, and only the newest of each kind is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cometd_chat.chat.feed import Feed
from cometd_chat.comet import CometContext, CometEvent
from cometd_chat.events import kinds
from cometd_chat.events.event import Batch, Event

if TYPE_CHECKING:
    from cometd_chat.chat.reader import Reader

#: A page of a backlog, and the most that a poll is answered with.
PAGE_EVENTS = 200
PAGE_BYTES = 256 * 1024

#: So many pages of the tail are kept, for clients who come back with equal cursors, and so many
#: bytes of events in them. What is made of them for each transport is kept as well, and counted
#: nowhere else: at most two dozen times that.
_PAGES = 64
_PAGES_BYTES = 1024 * 1024


class View:
    """What is read: some rooms, as one object for all who read the same.

    :param contexts: where their readers are held.
    """

    __slots__ = ("contexts", "paths", "rooms")

    def __init__(self, contexts: Sequence[CometContext]) -> None:
        self.contexts = tuple(contexts)
        self.paths = tuple(context.path for context in contexts)
        #: The rooms' names.
        self.rooms = tuple(kinds.room_of(path) for path in self.paths)


class SharedReaderState:
    """What all readers have in common.

    :param heartbeat: seconds of silence after which a stream gets a heartbeat.
    :param server: what this daemon calls itself.
    :param delay: makes the seconds after which one of them should come back when the daemon stops.
    """

    def __init__(
        self, feed: Feed, *, heartbeat: float, server: str, delay: Callable[[], float]
    ) -> None:
        self.feed = feed
        self.delay = delay
        #: Told of each who reads no longer.
        self.ended: Callable[[Reader], None] = lambda reader: None
        self._heartbeat_seconds = heartbeat
        self._server = server
        #: What was told last, and as what it is written.
        self.told: Sequence[CometEvent] = ()
        self.last_batch = Batch([])
        self._heartbeat: tuple[str, Batch | None] = ("", None)
        self._hello: tuple[str, Batch | None] = ("", None)
        self._last_words: tuple[Batch | None, str, Batch | None] = (None, "", None)
        self._pages: dict[tuple[int, tuple[str, ...]], tuple[Batch | None, bool]] = {}
        self._pages_until = 0
        self._pages_bytes = 0

    def batch(self, told: Sequence[CometEvent]) -> Batch:
        """What the engine tells, as it is written. In a fan-out all are told the same object."""
        if told is not self.told:
            self.told, self.last_batch = told, Batch([event.attachment for event in told])
        return self.last_batch

    def heartbeat(self, cursor: str) -> Batch:
        """A stream is complete up to a cursor; most are at the same one."""
        shown, batch = self._heartbeat
        if batch is None or shown != cursor:
            batch = Batch([kinds.heartbeat(cursor)])
            self._heartbeat = (cursor, batch)
        return batch

    def hello(self, cursor: str) -> Batch:
        """The first event of a stream that begins after a cursor."""
        shown, batch = self._hello
        if batch is None or shown != cursor:
            batch = Batch([kinds.hello(cursor, self._heartbeat_seconds, self._server)])
            self._hello = (cursor, batch)
        return batch

    def poll_response(self, said: Batch | None, cursor: str) -> Batch:
        """What a poll is answered with: something or nothing, and where to go on."""
        last, shown, batch = self._last_words
        if batch is None or last is not said or shown != cursor:
            found = said.events if said is not None else ()
            batch = Batch([*found, kinds.heartbeat(cursor)])
            self._last_words = (said, cursor, batch)
        return batch

    def page(self, position: int, view: View) -> tuple[Batch | None, bool] | None:
        """The next page of the tail after a position.

        :returns: what is in it, if anything is, and whether that is all there is up to the live
            end; None when the tail doesn't reach back so far.
        """
        if position >= self.feed.last_id:
            return None, True
        if (
            self._pages_until != self.feed.last_id
            or len(self._pages) >= _PAGES
            or self._pages_bytes >= _PAGES_BYTES
        ):
            self._pages.clear()
            self._pages_until = self.feed.last_id
            self._pages_bytes = 0
        key = (position, view.paths)
        page = self._pages.get(key)
        if page is None:
            found = self.feed.after(position, view.paths, PAGE_EVENTS + 1)
            if found is None:
                return None
            shown = cut(found)
            page = (Batch(shown) if shown else None, len(shown) == len(found))
            self._pages[key] = page
            self._pages_bytes += sum(map(size_of, shown))
        return page


def size_of(event: Event) -> int:
    """Bytes of an event, wherever it is shown as JSON."""
    return len(event.json)


def cut(
    found: Sequence[Event], most: int = PAGE_EVENTS, size_of: Callable[[Event], int] = size_of
) -> Sequence[Event]:
    """As many events as make a page, at least one if there is one.

    :param most: at most so many.
    :param size_of: how many bytes of the page an event takes.
    """
    size = 0
    for index, event in enumerate(found[:most]):
        size += size_of(event)
        if size > PAGE_BYTES and index:
            return found[:index]
    return found[:most]
