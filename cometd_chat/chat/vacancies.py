"""Rooms that were made for nothing.

What it is: looks at rooms now and then, and lets those go in which nobody ever spoke and nobody has
been for an hour.

What it may know: rooms, presence, contexts, what was said last in each. Not who makes rooms.

Invariant: a room in which somebody is, who only reads included, or in which anything was ever said,
stays; so does one that nobody made.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.presence import Presence
from cometd_chat.chat.rooms import LOOK_EVERY, Room, Rooms
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ShuttingDown

#: Seconds after which a room goes that is for nothing.
EMPTY_FOR = 3600.0


@attrs.define(eq=False)
class _Watch:
    """A room that may be for nothing. An item of the reaper.

    :param since: nobody has been seen in it from then on, in the reaper's seconds.
    """

    vacancies: Vacancies
    room: Room
    since: float
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        return self.vacancies.look(self, now)


class Vacancies:
    """Looks after rooms in which nobody has spoken yet.

    :param newest: for each path to which anything was ever said, the id of the newest.
    :param reaper: its sweep has rooms looked at.
    """

    _log = Logger()

    def __init__(
        self,
        rooms: Rooms,
        presence: Presence,
        newest: Mapping[str, int],
        reaper: Reaper,
    ) -> None:
        self._rooms = rooms
        self._presence = presence
        self._newest = newest
        self._reaper = reaper
        rooms.made.add(self.watch)

    def start(self) -> None:
        """Watch the rooms that are kept; an hour from now on is theirs."""
        for room in self._rooms.all():
            self.watch(room)

    def watch(self, room: Room) -> None:
        """Look after a room until somebody speaks in it."""
        if room.row.created_by and room.kind is RoomKind.PUBLIC:
            self._reaper.schedule(_Watch(self, room, self._reaper.seconds()), LOOK_EVERY)

    def look(self, watch: _Watch, now: float) -> float | None:
        """See what has become of a room.

        :returns: seconds until the next look; None when it needs none any more.
        """
        room = watch.room
        if room.gone or room.context.path in self._newest:
            return None
        used = self._rooms.in_use(room)
        if used or self._presence.count(room.name):
            watch.since = now
        left = watch.since + EMPTY_FOR - now
        if left > 0:
            return min(left, LOOK_EVERY)
        removing = Deferred.fromCoroutine(self._rooms.remove_silent(room))
        removing.addErrback(self._failed, room.name)
        return None

    def _failed(self, failure: Failure, name: str) -> None:
        if failure.check(ShuttingDown):
            return
        self._log.warn("an empty room stays: {reason}", reason=failure.value)
        room = self._rooms.named(name)
        if room is not None:
            self.watch(room)
