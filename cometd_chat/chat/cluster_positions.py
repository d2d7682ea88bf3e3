"""The read positions of several nodes.

What it is: `ClusterPositions`. Each node writes down how far the readers have come that it has, as
a single process does of all (`local_positions.py`), each in a row of its own; who begins to read
stands where the last one does over all of them.

What it may know: ids of sessions and of the log, names of rooms, a `Directory`, numbers of nodes,
the bus.

Invariant: as long as anybody reads a room or may come back, there is a row of their node for it,
which is never ahead of them; else there is one of `NOBODYS`, where the last of them stood.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec
from twisted.internet.defer import Deferred

from cometd_chat.chat.local_positions import LocalPositions, SessionMarkers
from cometd_chat.chat.positions import ReadMarker
from cometd_chat.comet.reaper import Reaper
from cometd_chat.log.bus import Bus
from cometd_chat.log.directory import Directory, PositionRow
from cometd_chat.log.nodes import Nodes

#: Number of no node: where somebody stood who is over. So do those of a process that was alone.
NOBODYS = 0

#: By which a node tells others that somebody has begun at it where a reader of theirs stood.
TOPIC = "position-taken"


class Taken(msgspec.Struct, array_like=True, frozen=True):
    """The place of the last reader of a session in a room was taken, on these nodes."""

    session: str
    room: str
    nodes: list[int]


_decode = msgspec.json.Decoder(Taken).decode


class ClusterPositions(LocalPositions):
    """The `Positions` of one of several nodes.

    :param directory: where they are kept.
    :param reaper: its sweep has them written.
    :param bus: by which nodes tell whose place was taken. Where that is lost, what was shown is
        shown again.
    :param nodes: which there are.
    """

    def __init__(self, directory: Directory, reaper: Reaper, bus: Bus, nodes: Nodes) -> None:
        super().__init__(directory, reaper)
        self._bus = bus
        self._nodes = nodes
        # Numbers that this node had: what it wrote by them is written by the new one.
        self._were_mine: list[int] = []
        # Rooms that somebody wants to begin anew in.
        self._forgotten: set[tuple[str, str]] = set()
        bus.subscribe(TOPIC, self._taken_elsewhere)
        nodes.renumbered.add(self._renumbered)

    async def open(
        self, session: str, room: str, *, now: int, wanted: int | None = None
    ) -> ReadMarker:
        """See `Positions.open`. What others have written is read each time."""
        rows = await self._directory.position_rows(session)
        book = self._books.setdefault(session, SessionMarkers())
        self._idle[session] = None
        mine = self._nodes.number
        kept = {row.node: row.position or 0 for row in rows if row.room == room}
        nobodys = book.kept.get(room, kept.pop(NOBODYS, None))
        # What is here is newer than what was written of it.
        for number in (mine, *self._were_mine):
            kept.pop(number, None)
        before = min(self._counting(book, room), key=lambda mark: mark.position, default=None)
        if before is not None:
            kept[mine] = before.position
        last = min(kept, key=lambda node: (kept[node], node != mine), default=NOBODYS)
        stood = kept.get(last, nobodys)
        mark = ReadMarker(session, room, now if stood is None else min(stood, now))
        if wanted is not None:
            mark.position = wanted
        # The new one may well be the client that stood there, and has come from another node.
        others = {row.number for row in self._nodes.others()}
        taken = [node for node in kept if node != mine and (node == last or node not in others)]
        if before is not None and last == mine:
            before.counts = False
        book.marks.setdefault(room, []).append(mark)
        try:
            await self._keep(book, mark, taken)
        except Exception:
            if before is not None:
                before.counts = True
            self._remove(mark)
            raise
        if before is not None and before.left_at is not None and not before.counts:
            self._over.append(before)
        if not others.isdisjoint(taken):
            self._bus.publish(TOPIC, msgspec.json.encode(Taken(session, room, taken)))
        self._change(mark)
        return mark

    def _keep(self, book: SessionMarkers, mark: ReadMarker, taken: Sequence[int]) -> Deferred[None]:
        """Keep where somebody begins, in the place of what others have kept there."""
        session, room = mark.session, mark.room
        least = min(each.position for each in self._counting(book, room))
        gone = [PositionRow(session, room, None, node) for node in (*taken, NOBODYS)]
        mine = PositionRow(session, room, least, self._nodes.number)
        return self._directory.put_positions([mine, *gone])

    def forget(self, mark: ReadMarker) -> None:
        """See `Positions.forget`."""
        super().forget(mark)
        if mark.room not in self._books[mark.session].marks:
            self._forgotten.add((mark.session, mark.room))

    def _taken_elsewhere(self, node: int, message: bytes) -> None:
        taken = _decode(message)
        book = self._books.get(taken.session)
        if book is None or self._nodes.number not in taken.nodes:
            return
        marks = self._counting(book, taken.room)
        before = min(marks, key=lambda mark: mark.position, default=None)
        # Nothing is written of her any more, unless she confirms again.
        book.kept.pop(taken.room, None)
        if before is None:
            return
        before.counts = False
        if before.left_at is not None:
            self._over.append(before)
        self._change(before)

    def _remove(self, mark: ReadMarker) -> None:
        super()._remove(mark)
        # Who was the last leaves her place to nobody in particular.
        self._change(mark)

    def _rows(self, session: str, room: str) -> Sequence[PositionRow]:
        book = self._books[session]
        numbers = (self._nodes.number, *self._were_mine)
        forgotten = (session, room) in self._forgotten
        self._forgotten.discard((session, room))
        if any(True for _ in self._counting(book, room)):
            position = self._settle(ReadMarker(session, room, 0))
            mine, *old = (PositionRow(session, room, None, node) for node in numbers)
            return [attrs.evolve(mine, position=position), *old]
        rows = [PositionRow(session, room, None, node) for node in numbers]
        # Unless another node has readers, the next one begins where the last one here stood. Where
        # her place was taken, that is for who took it to say.
        position = book.kept.pop(room, None)
        if position is not None or forgotten:
            rows.append(PositionRow(session, room, position, NOBODYS))
        return rows

    def _renumbered(self, old: int) -> None:
        self._were_mine.append(old)
        for book in self._books.values():
            for marks in book.marks.values():
                self._change(marks[0])
