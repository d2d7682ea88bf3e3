"""The rooms of several nodes.

What it is: `ClusterRooms`, which has every room that the log tells of, and none that it tells to be
gone. The directory decides whose a name is; what looks alike is decided by the order of the log.

What it may know: what is kept of rooms (a `Directory`, which tells the log), the log, the bus.

Invariant: rooms are here as the log says, in its order; so a room is there before anything is told
that was said in it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.feed import Feed
from cometd_chat.chat.local_rooms import LocalRooms, by_room, words_of
from cometd_chat.chat.refusals import no_such_room
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import LOOK_EVERY, Room
from cometd_chat.comet import CometEngine
from cometd_chat.errors import RoomExists, ShuttingDown
from cometd_chat.events.kinds import path_of, room_of
from cometd_chat.events.record import Record
from cometd_chat.log.bus import Bus
from cometd_chat.log.control import Control, RoomChanged, RoomMade, RoomMember, RoomRemoved
from cometd_chat.log.directory import Directory, RoomRow

#: By which a node tells that somebody reads a room in which nobody has spoken yet.
TOPIC = "room-used"

#: Seconds in which something may come yet that was said in a room when it went, and how many rooms
#: are waited for.
LATE = 60.0
MOST_LATE = 1000

#: Seconds after which rooms are read again that could not be.
READ_AGAIN_AFTER = 5.0


_NOBODY: Mapping[str, Role] = {}


@attrs.define(eq=False)
class _Again:
    """Rooms that are to be read again. An item of the reaper."""

    rooms: ClusterRooms
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        self.rooms.put_back()
        return None


class ClusterRooms(LocalRooms):
    """The `Rooms` of one of several nodes.

    :param directory: where they are kept; it appends `RoomMade` and `RoomRemoved` to the log.
    :param engine: where each has its context.
    :param feed: tells of rooms, and of what is said in one that is gone.
    :param bus: by which nodes tell what they have readers in.
    :param expiration_delay: seconds without progress after which a reader is let go.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Directory,
        engine: CometEngine,
        rights: Rights,
        feed: Feed,
        bus: Bus,
        *,
        wall_clock: Callable[[], float],
        expiration_delay: float,
    ) -> None:
        super().__init__(
            directory,
            engine,
            rights,
            wall_clock=wall_clock,
            expiration_delay=expiration_delay,
        )
        self._feed = feed
        self._bus = bus
        self._seconds = engine.reaper.seconds
        # What is being made here, and the room that came before it and looks like it; and what is
        # being let go of here, which nobody finds any more.
        self._making: dict[RoomRow, str | None] = {}
        self._leaving: dict[str, Room] = {}
        # When other nodes said last that they have readers in a room.
        self._used: dict[str, float] = {}
        # Rooms that are gone, and when they went.
        self._past: OrderedDict[str, tuple[RoomRow, float]] = OrderedDict()
        # What the log has told of while all were read again; None while they are not.
        self._told_since: set[str] | None = None
        self._reaper = engine.reaper
        bus.subscribe(TOPIC, self._used_elsewhere)

    def start(self) -> None:
        """See `Rooms.start`."""
        super().start()
        self._feed.log.follow(self._said)

    async def make(self, row: RoomRow, members: Mapping[str, Role] = _NOBODY) -> Room:
        """See `Rooms.make`."""
        self._making[row] = None
        try:
            await self._directory.add_room(row, words_of(members))
            # It is here once the log has told it, and so is whatever came before it.
            await self._feed.catch_up()
        finally:
            like = self._making.pop(row, None)
        if like is not None:
            return await self._withdraw(row.name, like)
        room = self._rooms.get(row.name)
        if room is None:
            raise no_such_room()
        return room

    async def _withdraw(self, name: str, like: str) -> Room:
        """Let go of a room that looks like one that another node made at the same time.

        :raises RoomExists: always, but where somebody has spoken in it already.
        """
        room = self._rooms.get(name)
        if room is not None and not await self.remove_silent(room) and name in self._rooms:
            return self._rooms[name]
        if like in self._rooms:
            raise self.taken(name, like, None)
        raise RoomExists(f"The name {name} can't be had: choose another one.")

    async def remove_silent(self, room: Room) -> bool:
        """See `Rooms.remove_silent`."""
        self._leaving[room.name] = room
        self._close(room)
        gone = False
        try:
            gone = await self._directory.remove_silent_room(room.name, room.context.path)
            if not gone:
                # Another node may have done so: then the log says it.
                await self._feed.catch_up()
        finally:
            # What the log told to be gone is not among them any more.
            if not gone and self._leaving.get(room.name) is room:
                del self._leaving[room.name]
                self._open_again(room)
        return gone

    def in_use(self, room: Room) -> bool:
        """See `Rooms.in_use`. Others learn of it that don't have its readers."""
        if super().in_use(room):
            self._bus.publish(TOPIC, room.name.encode())
            return True
        used_at = self._used.get(room.name)
        if used_at is None:
            return False
        if self._seconds() - used_at < 2 * LOOK_EVERY:
            return True
        del self._used[room.name]
        return False

    def _used_elsewhere(self, node: int, message: bytes) -> None:
        name = message.decode()
        if name in self._rooms:
            self._used[name] = self._seconds()

    # -- what was put back

    def put_back(self) -> None:
        """See `Rooms.put_back`."""
        self._past.clear()
        self._told_since = set()
        reading = Deferred.fromCoroutine(self._read_again())
        reading.addCallbacks(self._have, self._not_read)

    async def _read_again(self) -> tuple[Sequence[RoomRow], Mapping[str, Mapping[str, Role]]]:
        members = by_room(await self._directory.room_members_again())
        return await self._directory.rooms_again(), members

    def _have(self, read: tuple[Sequence[RoomRow], Mapping[str, Mapping[str, Role]]]) -> None:
        """Have these rooms, but for what the log has told while they were read."""
        rows, members = read
        told, self._told_since = self._told_since, None
        kept = {row.name: row for row in rows}
        for room in list(self._rooms.values()):
            is_other = kept.get(room.name) != room.row or members.get(room.name, {}) != room.members
            if room.name not in (told or ()) and is_other:
                self._close(room)
                self.removed.tell(room)
        for row in rows:
            if row.name not in self._rooms and row.name not in (told or ()):
                self.made.tell(self._open(row, members.get(row.name)))

    def _not_read(self, failure: Failure) -> None:
        if failure.check(ShuttingDown):
            return
        self._log.warn("rooms can't be read again yet: {reason}", reason=failure.value)
        self._reaper.schedule(_Again(self), READ_AGAIN_AFTER)

    # -- what the log tells

    def told(self, control: Control) -> None:
        """See `Rooms.told`."""
        if self._told_since is not None:
            if isinstance(control, RoomMade | RoomRemoved | RoomChanged):
                self._told_since.add(control.name)
            elif isinstance(control, RoomMember):
                self._told_since.add(control.room)
        if isinstance(control, RoomMade):
            row = RoomRow(control.name, control.topic, control.by, control.at, control.kind)
            members = {
                identity: Role.of(role) or Role.MEMBER for identity, role in control.members.items()
            }
            self._told_made(row, members)
        elif isinstance(control, RoomRemoved):
            self._told_removed(control.name, for_good=control.for_good)
        else:
            super().told(control)

    def _told_made(self, row: RoomRow, members: Mapping[str, Role]) -> None:
        self._past.pop(row.name, None)
        like = self.alike(row.name)
        if like == row.name:
            # It was there when this node read all of them.
            return
        if row in self._making:
            self._making[row] = like
        self.made.tell(self._open(row, members))

    def _told_removed(self, name: str, *, for_good: bool) -> None:
        room = self._leaving.pop(name, None) or self._rooms.get(name)
        if room is None:
            return
        if not room.gone:
            if for_good:
                self.removing.tell(room)
            self._close(room, for_good=for_good)
        self._used.pop(name, None)
        if not for_good:
            self._expect_late(room.row)
        self.removed.tell(room)

    # -- what was said in a room when it went

    def _expect_late(self, row: RoomRow) -> None:
        """Whoever spoke on another node at that moment was told that it is kept: then the room is,
        too."""
        self._past[row.name] = (row, self._seconds())
        if len(self._past) > MOST_LATE:
            self._past.popitem(last=False)

    def _said(self, records: Sequence[Record]) -> None:
        # For each batch: mostly nothing has gone lately.
        if not self._past:
            return
        now = self._seconds()
        while self._past and now - next(iter(self._past.values()))[1] > LATE:
            self._past.popitem(last=False)
        for record in records:
            row, _ = self._past.pop(room_of(record.context), (None, 0.0))
            if row is not None and record.context == path_of(row.name):
                self._make_again(row)

    def _make_again(self, row: RoomRow) -> None:
        # Each node that hears it tries; one of them does it.
        making = self._directory.add_room(row)
        making.addErrback(self._not_made_again, row.name)

    def _not_made_again(self, failure: Failure, name: str) -> None:
        if not failure.check(RoomExists):
            self._log.warn(
                "the room {room} is gone, though somebody spoke in it: {reason}",
                room=name,
                reason=failure.getErrorMessage(),
            )
