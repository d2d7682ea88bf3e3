"""The read positions of one process.

What it is: a mark for each reader and room, which moves as her client confirms, and what of that is
written down: at most once a second, and at the end.

What it may know: ids of sessions and of the log, names of rooms, a `Directory`. Not how anybody
reads.

Invariant: a look costs what has changed, not how many sessions there are.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence

import attrs
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.positions import ReadMarker
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ShuttingDown
from cometd_chat.log.directory import Directory, PositionRow

#: Seconds that a change waits for others to be written with.
WRITE_AFTER = 1.0

#: Seconds until what could not be written is tried again.
RETRY_AFTER = 5.0

#: So many rows are written at once.
MOST_ROWS = 500

#: A reader who went without a word may come back within so many seconds: so long her place counts
#: beside those of the session's other readers.
MAY_RETURN = 600.0

#: Seconds between looks for what nobody needs any more.
LOOK_EVERY = 60.0

#: So many parts of so many rows are written, and so many readers who are over forgotten, before
#: others have their turn.
PARTS_AT_ONCE = 2
MOST_FORGOTTEN = 1000


@attrs.define(eq=False)
class SessionMarkers:
    """What is known of one session.

    :param kept: by room, as it was read or written last.
    :param unwritten: of so many rooms something has to be written.
    """

    kept: dict[str, int] = attrs.field(factory=dict)
    marks: dict[str, list[ReadMarker]] = attrs.field(factory=dict)
    loaded: bool = False
    unwritten: int = 0


class LocalPositions:
    """The `Positions` of one process.

    :param directory: where they are kept.
    :param reaper: its sweep has them written.
    """

    _log = Logger()

    def __init__(self, directory: Directory, reaper: Reaper) -> None:
        self._directory = directory
        self._reaper = reaper
        self._books: dict[str, SessionMarkers] = {}
        # What has to be looked at when the next rows are written.
        self._changed: OrderedDict[tuple[str, str], None] = OrderedDict()
        # Marks of who has left, in that order; those of them that are over already; and sessions
        # that may have no marks any more. So the sweep looks at what has changed, and at no others.
        self._left: OrderedDict[ReadMarker, None] = OrderedDict()
        self._over: deque[ReadMarker] = deque()
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._failing = False
        self.due_bucket = 0

    async def open(
        self, session: str, room: str, *, now: int, wanted: int | None = None
    ) -> ReadMarker:
        """See `Positions.open`."""
        book = self._books.setdefault(session, SessionMarkers())
        self._idle[session] = None
        if not book.loaded:
            found = await self._directory.positions(session)
            book = self._books.setdefault(session, book)
            book.loaded = True
            for name, position in found.items():
                book.kept.setdefault(name, position)
        before = min(self._counting(book, room), key=lambda mark: mark.position, default=None)
        stood = book.kept.get(room) if before is None else before.position
        if before is not None:
            # The new one may well be the same client, who came back before we knew she had gone.
            before.counts = False
            if before.left_at is not None:
                self._over.append(before)
        mark = ReadMarker(session, room, now if stood is None else min(stood, now))
        if wanted is not None:
            mark.position = wanted
        # It is there from now on: another reader of hers, or the sweep, may look while it is kept.
        book.marks.setdefault(room, []).append(mark)
        if stood is None:
            # She is told that she reads from here: a kill before the next writing must not have her
            # begin anew, after what was said in between.
            try:
                await self._directory.put_positions([PositionRow(session, room, mark.position)])
            except Exception:
                self._remove(mark)
                raise
        self._change(mark)
        return mark

    def confirm(self, mark: ReadMarker, position: int) -> None:
        """See `Positions.confirm`."""
        if position > mark.position and mark.left_at is None:
            mark.position = position
            mark.counts = True
            self._change(mark)

    def leave(self, mark: ReadMarker, *, returns: bool) -> None:
        """See `Positions.leave`."""
        mark.left_at = self._reaper.seconds()
        self._change(mark)
        if not returns:
            # Once the row is settled by it, in case that she was the last.
            self._settle(mark)
            self._remove(mark)
        elif mark.counts:
            self._left[mark] = None
        else:
            self._over.append(mark)

    def forget(self, mark: ReadMarker) -> None:
        """See `Positions.forget`."""
        self._remove(mark)
        self._change(mark)
        book = self._books[mark.session]
        if mark.room not in book.marks:
            book.kept.pop(mark.room, None)

    def stop(self) -> None:
        """See `Positions.stop`."""
        for _ in range(0, len(self._changed), MOST_ROWS):
            self._write()

    # -- for the sweep

    def on_due(self, now: float) -> float | None:
        """Write, and forget what nobody needs, so much at a time; see `Reaper.schedule`."""
        for _ in range(PARTS_AT_ONCE):
            self._write()
        forgotten = 0
        while forgotten < MOST_FORGOTTEN and (mark := self._next_over()) is not None:
            self._remove(mark)
            forgotten += 1
        self._forget_books()
        if self._changed and self._failing:
            return RETRY_AFTER
        if self._changed or forgotten == MOST_FORGOTTEN or self._idle:
            return 0.0
        return LOOK_EVERY if self._books else None

    def _next_over(self) -> ReadMarker | None:
        """A mark that nobody needs any more, if there is one."""
        if self._over:
            return self._over.popleft()
        mark = next(iter(self._left), None)
        return mark if mark is not None and self._is_over(mark) else None

    def _forget_books(self) -> None:
        for _ in range(min(MOST_FORGOTTEN, len(self._idle))):
            session, _ = self._idle.popitem(last=False)
            book = self._books.get(session)
            # What has to be written yet comes back to it.
            if book is not None and not book.marks and not book.unwritten:
                del self._books[session]

    # -- inside

    def _counting(self, book: SessionMarkers, room: str) -> Iterator[ReadMarker]:
        marks = book.marks.get(room, ())
        return (mark for mark in marks if mark.counts and not self._is_over(mark))

    def _is_over(self, mark: ReadMarker) -> bool:
        if mark.left_at is None:
            return False
        return not mark.counts or self._reaper.seconds() - mark.left_at > MAY_RETURN

    def _remove(self, mark: ReadMarker) -> None:
        self._left.pop(mark, None)
        marks = self._books[mark.session].marks
        there = marks.get(mark.room, [])
        if mark in there:
            there.remove(mark)
        if not there:
            marks.pop(mark.room, None)
        if not marks:
            self._idle[mark.session] = None

    def _change(self, mark: ReadMarker) -> None:
        if not self._changed:
            self._reaper.schedule(self, RETRY_AFTER if self._failing else WRITE_AFTER)
        if (mark.session, mark.room) not in self._changed:
            self._changed[mark.session, mark.room] = None
            self._books[mark.session].unwritten += 1

    def _settle(self, mark: ReadMarker) -> int | None:
        """What is to be kept of a room, noted in the book."""
        book = self._books[mark.session]
        positions = [each.position for each in self._counting(book, mark.room)]
        if positions:
            book.kept[mark.room] = min(positions)
        return book.kept.get(mark.room)

    def _write(self) -> None:
        """Write what has changed, as much as is written at once."""
        rows: list[PositionRow] = []
        for _ in range(min(MOST_ROWS, len(self._changed))):
            (session, room), _ = self._changed.popitem(last=False)
            rows += self._rows(session, room)
            book = self._books[session]
            book.unwritten -= 1
            if not book.marks:
                self._idle[session] = None
        if rows:
            writing = self._directory.put_positions(rows)
            writing.addCallbacks(self._written, self._not_written, errbackArgs=(rows,))

    def _rows(self, session: str, room: str) -> Sequence[PositionRow]:
        """What has to be written of a room."""
        return [PositionRow(session, room, self._settle(ReadMarker(session, room, 0)))]

    def _written(self, result: None) -> None:
        self._failing = False

    def _not_written(self, failure: Failure, rows: list[PositionRow]) -> None:
        if failure.check(ShuttingDown):
            return
        if not self._failing:
            self._log.warn("positions can't be written: {reason}", reason=failure.value)
        self._failing = True
        for row in rows:
            book = self._books.setdefault(row.session, SessionMarkers())
            if row.position is not None:
                # It may have been forgotten since: then it is to be written as it was.
                book.kept.setdefault(row.room, row.position)
            self._change(ReadMarker(row.session, row.room, 0))
