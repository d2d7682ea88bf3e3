"""The rooms of one process.

What it is: from a name to a room, the making of new ones, and the end of those that were for
nothing.

What it may know: what is kept of rooms (a `Directory`), the engine's contexts. Not who is in.

Invariant: each room is a context of the engine, for as long as it is there; and what is asked here
costs what is answered, not the number of rooms.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable

import attrs

from cometd_chat.chat import names
from cometd_chat.chat.rooms import FULL_RETRY, LOBBY, MAX_TOPIC, MOST_ROOMS, Room
from cometd_chat.comet import CometEngine
from cometd_chat.errors import FieldError, InvalidRequest, RoomExists, RoomNotFound, TooMany
from cometd_chat.events.kinds import path_of
from cometd_chat.log.directory import Directory, RoomRow
from cometd_chat.lookalikes.skeletons import skeleton


class LocalRooms:
    """The `Rooms` of one process.

    :param directory: where they are kept.
    :param engine: where each has its context.
    :param expiration_delay: seconds without progress after which a reader is let go.
    """

    def __init__(
        self,
        directory: Directory,
        engine: CometEngine,
        *,
        wall_clock: Callable[[], float],
        expiration_delay: float,
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._wall_clock = wall_clock
        self._expiration_delay = expiration_delay
        self._rooms: dict[str, Room] = {}
        # All but the lobby, by name.
        self._names: list[str] = []
        # One of those that look the same, by what they look like.
        self._looks: dict[str, str] = {}

    def start(self) -> None:
        """See `Rooms.start`."""
        for row in self._directory.rooms():
            self._open(row)

    def __len__(self) -> int:
        return len(self._rooms)

    def all(self) -> list[Room]:
        """See `Rooms.all`."""
        return self.page(None, len(self._rooms) + 1)[0]

    def page(self, after: str | None, limit: int) -> tuple[list[Room], bool]:
        """See `Rooms.page`."""
        names = self._names
        if after is None:
            found = [LOBBY, *names[:limit]] if LOBBY in self._rooms else names[: limit + 1]
        else:
            begin = 0 if after == LOBBY else bisect_right(names, after)
            found = names[begin : begin + limit + 1]
        return [self._rooms[name] for name in found[:limit]], len(found) > limit

    def find(self, name: str) -> Room:
        """See `Rooms.find`."""
        room = self._rooms.get(name)
        if room is None:
            try:
                room = self._rooms.get(names.room_name(name))
            except InvalidRequest:
                room = None
        if room is None:
            raise RoomNotFound(
                "There is no such room. The page of the lobby shows those that there are.",
                hint="GET /api/v1/rooms lists them.",
            )
        return room

    def plan(self, name: str, topic: str, created_by: str) -> RoomRow:
        """See `Rooms.plan`."""
        name = _room_name(name)
        topic = " ".join(topic.split())
        if len(topic) > MAX_TOPIC or not topic.isprintable():
            detail = f"at most {MAX_TOPIC} characters, none of them a control character"
            raise InvalidRequest(
                f"That can't be the topic: {detail}.", fields=[FieldError("topic", detail)]
            )
        if name in self._rooms:
            raise RoomExists(f"There is a room {name} already.")
        like = self._looks.get(skeleton(name), name)
        # Within ASCII people look twice: modem may stand beside modern.
        if like != name and not (like + name).isascii():
            raise RoomExists(f"There is a room {like} already, and {name} looks the same.")
        if len(self._rooms) >= MOST_ROOMS:
            raise TooMany(
                f"There are {MOST_ROOMS} rooms, as many as there can be.", retry_after=FULL_RETRY
            )
        return RoomRow(
            name=name,
            topic=topic,
            created_by=created_by,
            created_at=int(self._wall_clock() * 1000),
        )

    async def make(self, row: RoomRow) -> Room:
        """See `Rooms.make`."""
        await self._directory.add_room(row)
        return self._open(row)

    async def remove_silent(self, room: Room) -> bool:
        """See `Rooms.remove_silent`."""
        # Nobody finds it from now on: who speaks in it at this moment has done so before it is
        # looked at, or is told that there is no such room.
        self._close(room)
        try:
            gone = await self._directory.remove_silent_room(room.name, room.context.path)
        except BaseException:
            self._open_again(room)
            raise
        if not gone:
            self._open_again(room)
        return gone

    def _open(self, row: RoomRow) -> Room:
        context = self._engine.register(path_of(row.name), self._expiration_delay)
        room = self._rooms[row.name] = Room(row.name, row.topic, row, context)
        self._looks.setdefault(skeleton(row.name), row.name)
        if row.name != LOBBY:
            insort(self._names, row.name)
        return room

    def _close(self, room: Room) -> None:
        room.gone = True
        del self._rooms[room.name]
        del self._names[bisect_left(self._names, room.name)]
        looks = skeleton(room.name)
        if self._looks.get(looks) == room.name:
            del self._looks[looks]
        self._engine.unregister(room.context.path)

    def _open_again(self, room: Room) -> None:
        # Unless somebody made one of that name meanwhile.
        if room.name not in self._rooms:
            self._open(room.row).address = room.address


def _room_name(typed: str) -> str:
    """The name of a new room.

    :raises InvalidRequest: it can't be one, perhaps with one that could.
    """
    try:
        name = names.room_name(typed)
        names.refuse_mixed(name)
        return name
    except InvalidRequest as error:
        instead = names.room_instead(typed)
        fields = [attrs.evolve(each, instead=instead) for each in error.fields]
        raise InvalidRequest(error.detail, fields=fields) from None
