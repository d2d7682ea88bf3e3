"""The rooms there are.

What it is: from a name to a room, and the making of new ones.

What it may know: what is kept of rooms (a `Directory`), the engine's contexts. Not who is in.

Invariant: each room is a context of the engine, for as long as it is there.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from cometd_chat.chat import names
from cometd_chat.chat.events import path_of
from cometd_chat.chat.readership import View
from cometd_chat.comet import CometContext, CometEngine
from cometd_chat.errors import FieldError, InvalidRequest, RoomExists, RoomNotFound, TooMany
from cometd_chat.log.directory import Directory, RoomRow

MAX_TOPIC = 200

#: Rooms that there can be: each takes memory for as long as the daemon runs.
MOST_ROOMS = 10_000

#: Seconds after which somebody who found no place for a room may look again.
FULL_RETRY = 3600.0


@attrs.define(eq=False)
class Room:
    """A room.

    :param context: where its readers are held.
    """

    name: str
    topic: str
    context: CometContext
    #: What they see who read this room alone.
    view: View = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.view = View([self.context])


class Rooms:
    """All rooms.

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

    def start(self) -> None:
        """Take up the rooms that are kept."""
        for row in self._directory.rooms():
            self._open(row)

    def all(self) -> list[Room]:
        """All rooms, the lobby first, then by name."""
        return sorted(self._rooms.values(), key=lambda room: (room.name != "lobby", room.name))

    def find(self, name: str) -> Room:
        """The room of a name, as somebody typed it.

        :raises RoomNotFound: there is none.
        """
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
        """What a new room would be.

        :param created_by: permanent id of the session that makes it.
        :raises InvalidRequest: that can't be its name or topic.
        :raises RoomExists: there is one of that name.
        :raises TooMany: there are as many as there can be.
        """
        name = _room_name(name)
        topic = " ".join(topic.split())
        if len(topic) > MAX_TOPIC or not topic.isprintable():
            detail = f"at most {MAX_TOPIC} characters, none of them a control character"
            raise InvalidRequest(
                f"That can't be the topic: {detail}.", fields=[FieldError("topic", detail)]
            )
        if name in self._rooms:
            raise RoomExists(f"There is a room {name} already.")
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
        """Make a room that was planned.

        :raises RoomExists: another one of that name was made meanwhile.
        """
        await self._directory.add_room(row)
        return self._open(row)

    def _open(self, row: RoomRow) -> Room:
        context = self._engine.register(path_of(row.name), self._expiration_delay)
        room = self._rooms[row.name] = Room(row.name, row.topic, context)
        return room


def _room_name(typed: str) -> str:
    """The name of a new room.

    :raises InvalidRequest: it can't be one, perhaps with one that could.
    """
    try:
        return names.room_name(typed)
    except InvalidRequest as error:
        instead = names.room_instead(typed)
        fields = [attrs.evolve(each, instead=instead) for each in error.fields]
        raise InvalidRequest(error.detail, fields=fields) from None
