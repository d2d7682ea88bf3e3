"""Who is in a room.

What it is: the count of what each session holds on each room, the time after which somebody who
holds nothing is gone, and the comings and goings that others are told of.

What it may know: contexts, sessions, events, the sweep. Not requests.

Invariant: somebody is present once, however many windows she has; a reload is no leave.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from cometd_chat.chat import events
from cometd_chat.chat.sessions import Session
from cometd_chat.comet import CometEngine
from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports.event import Event

#: Seconds that somebody is present after she asked anything about a room, or let go of it.
GRACE = 10.0

#: The same for pages and plain polling, which come back more slowly.
SLOW_GRACE = 60.0

#: The same after she said that she leaves: a page that is reloaded says so too.
LEAVING_GRACE = 2.0

#: Up to so many people each coming and going is told.
SMALL_ROOM = 50

#: Above that only the count is, at most every so many seconds.
COUNT_EVERY = 5.0


@attrs.define(eq=False, weakref_slot=False)
class _Present:
    """One session in one room.

    :param holds: how many requests it holds there.
    :param until: it is present until then, in the clock's seconds, even if it holds none.
    :param leaving_until: it has just said that it leaves; what it lets go of until then is part of
        that.
    """

    presence: Presence
    room: str
    session: Session
    until: float
    leaving_until: float = 0.0
    holds: int = 0
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        if self.holds:
            return None
        if now < self.until:
            return self.until - now
        self.presence.gone(self)
        return None


@attrs.define(eq=False)
class _Count:
    """A room that is too full for names; it is told its count when that has changed."""

    presence: Presence
    room: str
    told: int = 0
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        return COUNT_EVERY if self.presence.tell_count(self) else None


class Presence:
    """Who is in each room.

    :param engine: its contexts are told.
    :param wall_clock: seconds since 1970, to show.
    """

    def __init__(
        self,
        engine: CometEngine,
        *,
        wall_clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._reaper: Reaper = engine.reaper
        self._wall_clock = wall_clock
        self._rooms: dict[str, dict[Session, _Present]] = {}
        self._counts: dict[str, _Count] = {}

    def people(self, room: str) -> list[Session]:
        """Who is in a room, by name."""
        there = self._rooms.get(room, {})
        return sorted(there, key=lambda session: session.name.casefold())

    def count(self, room: str) -> int:
        """How many are in a room."""
        return len(self._rooms.get(room, {}))

    def hold(self, room: str, session: Session, address: str | None = None) -> None:
        """A session holds a request on a room.

        :param address: what others may see of where it comes from.
        """
        # It stays scheduled: who polls lets go and comes back all the time, and the sweep finds
        # once in a while that it holds something.
        self._present(room, session, address).holds += 1

    def release(self, room: str, session: Session, grace: float = GRACE) -> None:
        """A session lets go of a request on a room; it is present for ``grace`` seconds yet."""
        present = self._rooms.get(room, {}).get(session)
        if present is None:
            return
        present.holds -= 1
        now = self._reaper.seconds()
        if now < present.leaving_until:
            # A page says that it leaves and drops its stream; which one comes first is chance.
            grace = min(grace, LEAVING_GRACE)
            self._reaper.cancel(present)  # It may be for later.
        present.until = max(present.until, now + grace)
        self._watch(present, now)

    def seen(
        self, room: str, session: Session, grace: float = GRACE, address: str | None = None
    ) -> None:
        """A session asked something about a room."""
        present = self._present(room, session, address)
        now = self._reaper.seconds()
        present.until = max(present.until, now + grace)
        self._watch(present, now)

    def _watch(self, present: _Present, now: float) -> None:
        """Let the sweep look at somebody who holds nothing, at the latest when she is gone; what
        makes it later costs nothing."""
        if present.holds <= 0 and not present.due_bucket:
            self._reaper.schedule(present, present.until - now)

    def leave(self, room: str, session: Session) -> None:
        """A session says that it leaves a room; what it still holds there keeps it."""
        present = self._rooms.get(room, {}).get(session)
        if present is not None:
            present.until = present.leaving_until = self._reaper.seconds() + LEAVING_GRACE
            if not present.holds:
                self._reaper.schedule(present, LEAVING_GRACE)

    def ended(self, session: Session) -> None:
        """A session is over: it is gone from everywhere."""
        for there in list(self._rooms.values()):
            present = there.get(session)
            if present is not None:
                self._reaper.cancel(present)
                self.gone(present)

    def gone_for_long(self, session: Session) -> None:
        """Others may take a session's name: it is gone from where it holds nothing."""
        for there in list(self._rooms.values()):
            present = there.get(session)
            if present is not None and not present.holds:
                self._reaper.cancel(present)
                self.gone(present)

    def renamed(self, session: Session, old: str) -> None:
        """A session has another name than ``old`` now: for others one goes and one comes."""
        for room, there in list(self._rooms.items()):
            if session in there:
                self._tell(room, events.leave(room, old, self._now()))
                self._tell(room, events.join(room, session.name, self._now()))

    def typing(self, room: str, session: Session) -> None:
        """A session is writing."""
        self._notify(room, events.typing(room, session.name, self._now()))

    # -- for the sweep

    def gone(self, present: _Present) -> None:
        """Somebody's time is up."""
        there = self._rooms.get(present.room, {})
        if there.pop(present.session, None) is None:
            return
        if not there:
            del self._rooms[present.room]
        self._tell(present.room, events.leave(present.room, present.session.name, self._now()))

    def tell_count(self, count: _Count) -> bool:
        """Tell a full room how many are in it, if that has changed; False when it is quiet."""
        now = self.count(count.room)
        if now == count.told:
            del self._counts[count.room]
            return False
        count.told = now
        self._notify(count.room, events.people(count.room, now))
        return True

    # -- inside

    def _present(self, room: str, session: Session, address: str | None) -> _Present:
        there = self._rooms.setdefault(room, {})
        present = there.get(session)
        if present is None:
            present = there[session] = _Present(self, room, session, self._reaper.seconds())
            self._tell(room, events.join(room, session.name, self._now(), address))
        return present

    def _tell(self, room: str, event: Event) -> None:
        """Tell of a coming or going, or in a full room that the count changes."""
        if self.count(room) <= SMALL_ROOM:
            self._notify(room, event)
        elif room not in self._counts:
            count = self._counts[room] = _Count(self, room)
            self._reaper.schedule(count, COUNT_EVERY)
            self.tell_count(count)

    def _notify(self, room: str, event: Event) -> None:
        context = self._engine.context(events.path_of(room))
        if context is not None:
            context.notify(event)

    def _now(self) -> int:
        return int(self._wall_clock() * 1000)
