"""What subscriptions have in common, so that little has to be made and kept for each.

What it is: where they read from, and the last few things that were made for one of them and are
right for the next one too: what a fan-out brings, and pages of the tail.

What it may know: the feed, events, the engine's events. Not who reads, nor how it is written.

Invariant: what is shared is never changed, and only the newest of each kind is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from cometd_chat.chat.feed import Feed
from cometd_chat.comet import CometContext, CometEvent
from cometd_chat.events import kinds
from cometd_chat.events.event import Batch, Event

#: A page of a backlog, and the most that a poll is answered with.
PAGE_EVENTS = 200
PAGE_BYTES = 256 * 1024

#: So many pages of the tail are kept, for clients who come back with equal cursors, and so many
#: bytes of events in them. What is made of them for each transport is kept as well, and counted
#: nowhere else: at most two dozen times that.
_PAGES = 64
_PAGES_BYTES = 1024 * 1024


#: Says how many bytes of a page an event takes.
SizeOf = Callable[[Event], int]

#: Position, paths, and by what it is measured.
_PageKey = tuple[int, tuple[str, ...] | None, SizeOf]


def size_of(event: Event) -> int:
    """Bytes of an event, wherever it is shown as JSON."""
    return len(event.json)


class Readable(Protocol):
    """What is read."""

    @property
    def paths(self) -> tuple[str, ...] | None:
        """The paths of its contexts; None for all there are."""


class RoomSet:
    """Some rooms, as one object for all who read the same.

    :param contexts: where their readers are held.
    """

    __slots__ = ("contexts", "names", "paths")

    def __init__(self, contexts: Sequence[CometContext]) -> None:
        self.contexts = tuple(contexts)
        self.paths: tuple[str, ...] | None = tuple(context.path for context in contexts)
        #: The rooms' names.
        self.names = tuple(kinds.room_of(context.path) for context in contexts)


class SharedState:
    """What all subscriptions have in common."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        #: What was told last, and as what it is written.
        self.told: Sequence[CometEvent] = ()
        self.last_batch = Batch([])
        self._pages: dict[_PageKey, tuple[Batch | None, bool]] = {}
        self._pages_until = 0
        self._pages_bytes = 0

    def batch(self, told: Sequence[CometEvent]) -> Batch:
        """What the engine tells, as it is written. In a fan-out all are told the same object."""
        if told is not self.told:
            self.told, self.last_batch = told, Batch([event.attachment for event in told])
        return self.last_batch

    def page(
        self, position: int, rooms: Readable, size_of: SizeOf = size_of
    ) -> tuple[Batch | None, bool] | None:
        """The next page of the tail after a position.

        :param size_of: how many bytes of the page an event takes.
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
        key = (position, rooms.paths, size_of)
        page = self._pages.get(key)
        if page is None:
            found = self.feed.after(position, rooms.paths, PAGE_EVENTS + 1)
            if found is None:
                return None
            shown = cut(found, size_of=size_of)
            page = (Batch(shown) if shown else None, len(shown) == len(found))
            self._pages[key] = page
            self._pages_bytes += sum(map(size_of, shown))
        return page


def cut(
    found: Sequence[Event], most: int = PAGE_EVENTS, size_of: SizeOf = size_of
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
