"""Where somebody begins to read.

What it is: from a cursor, a position or the number of a backlog to a `ResumePoint`.

What it may know: the feed and its log. Not who reads, nor where it goes.

Invariant: after a resume point comes everything, or what is left out is said first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from cometd_chat.chat.feed import Feed
from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.log.log import Count

#: Who is too far behind gets so many of the newest.
AFTER_GAP = 200

#: What is left out is counted up to so many times `Feed.max_behind`.
COUNTED = 2


@attrs.frozen
class ResumePoint:
    """Where a subscription begins.

    :param position: its client has everything up to this id.
    :param cursor: what the client was given for that; empty for the cursor of the position.
    :param preface: what it is told before anything else: a reset, gaps.
    """

    position: int
    cursor: str = ""
    preface: tuple[Event, ...] = ()


def resume_now(feed: Feed, cursor: str) -> ResumePoint | None:
    """Where somebody begins who hands in a cursor; None when the log has to be asked: what
    lies in between, or whether it gave that cursor out.

    :raises InvalidCursor: it can't be a cursor.
    """
    position = feed.log.position(cursor)
    if position is not None and 0 <= feed.last_id - position <= feed.max_behind:
        return ResumePoint(position, cursor)
    return None


def _anew(feed: Feed, cursor: str) -> ResumePoint:
    """Where somebody begins whose cursor is not of this log."""
    now = feed.log.cursor(feed.last_id)
    # Until the client has been told, it stands where it was: a connection that is lost in between
    # must not lose the reset.
    return ResumePoint(feed.last_id, cursor, (kinds.reset(now),))


async def resume_at(
    feed: Feed, paths: Sequence[str], cursor: str | None, backlog: int = 0
) -> ResumePoint:
    """Where somebody begins who hands in a cursor, or asks for a backlog.

    :param cursor: what the client was last given, or None to begin now.
    :param backlog: without a cursor, so many older events first.
    :raises InvalidCursor: it can't be a cursor.
    :raises StorageUnavailable: the log is needed for that, and can't be read, or was not told here
        yet; what can't be known now is not taken for foreign.
    :raises ShuttingDown: the daemon stopped while somebody waited for that.
    """
    if cursor is None:
        position = await _before_newest(feed, paths, backlog) if backlog else feed.last_id
        return ResumePoint(position)
    point = resume_now(feed, cursor)
    if point is None:
        known = await feed.position(cursor)
        if known is None:
            return _anew(feed, cursor)
        point = await resume_after(feed, paths, known, cursor)
    return point


async def resume_after(
    feed: Feed, paths: Collection[str] | None, position: int, cursor: str = ""
) -> ResumePoint:
    """Where somebody begins who has everything up to an id: there, or among the newest when that
    is too far behind to be told everything.

    :param paths: what is read; None for all there is.
    :raises StorageUnavailable: the log is needed for that, and can't be read.
    """
    end = feed.last_id + 1
    if end - 1 - position <= feed.max_behind:
        return ResumePoint(position, cursor)
    # Many ids behind; whether that is many events of these rooms only the log can tell.
    newest = await feed.log.read(paths, after=position, before=end, limit=AFTER_GAP, newest=True)
    if len(newest) < AFTER_GAP:
        return ResumePoint(position, cursor)
    before = newest[0].id
    most = COUNTED * feed.max_behind
    kept = await feed.log.count(paths, after=position, before=before, most=most)
    if len(newest) + sum(count.number for count in kept.values()) <= feed.max_behind:
        return ResumePoint(position, cursor)
    # Whoever is told of a gap looks at the room anew, even where nothing that counts is missing.
    types = kinds.counted_types()
    said = await feed.log.count(paths, after=position, before=before, most=most, types=types)
    counts = {kinds.room_of(path): said.get(path, Count(0)) for path in kept}
    gaps = [
        kinds.gap(room, count.number, before, at_least=count.at_least)
        for room, count in counts.items()
    ]
    return ResumePoint(before - 1, cursor, tuple(gaps))


async def _before_newest(feed: Feed, paths: Sequence[str], count: int) -> int:
    """The position before the newest ``count`` events of some contexts that count as said."""
    # What is said while the log is read comes after the start; in an empty room too.
    last = feed.last_id
    recent = feed.tail.newest(paths, count, lambda event: kinds.kind_of(event.type).counted)
    if len(recent) == count:
        first = recent[0].id
    else:
        types = kinds.counted_types()
        records = await feed.log.read(paths, before=last + 1, limit=count, newest=True, types=types)
        first = records[0].id if records else None
    return last if first is None else first - 1
