"""Who is in a room.

What it is: the count of what each session holds on each room, the time after which somebody who
holds nothing is gone, and the comings and goings that others are told of.

What it may know: contexts, sessions, events, the sweep. Not requests.

Invariant: somebody is present once, however many windows she has; a reload is no leave.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import cast

import attrs

from cometd_chat.chat.sessions import Session
from cometd_chat.comet import CometEngine, CometHandler, Delivery
from cometd_chat.comet.reaper import Reaper
from cometd_chat.events import kinds
from cometd_chat.events.event import Event

#: Seconds that somebody is present after she asked anything about a room, or let go of it.
GRACE = 10.0

#: The same for pages and plain polling, which come back more slowly.
SLOW_GRACE = 60.0

#: The same after she said that she leaves: a page that is reloaded says so too.
LEAVING_GRACE = 2.0

_NUMBER = re.compile("([0-9]+)")

#: Up to so many people each coming and going is told.
SMALL_ROOM = 50

#: Above that only the count is, at most every so many seconds.
COUNT_EVERY = 5.0

#: So many people are told that somebody is writing.
TYPING_TOLD = 50

#: So many people are named to who asks; of more there is only the count.
MOST_NAMED = 500


@attrs.define(eq=False, weakref_slot=False)
class _Leaving:
    """Somebody who may be gone soon: she holds nothing in a room, or has said that she leaves.

    :param until: she is present until then, in the clock's seconds, even if she holds nothing.
    :param leaving_until: she has just said that she leaves; what she lets go of until then is part
        of that.
    """

    presence: Presence
    room: str
    session: Session
    until: float
    leaving_until: float = 0.0
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        if now < self.until:
            return self.until - now
        self.presence.expired(self)
        return None


@attrs.define(eq=False)
class _RoomPresence:
    """Who is in a room.

    :param alone: what the rooms of a session are that is in this one only, as most are.
    :param holds: how many requests each session holds there. Who holds some has nothing but this
        number; there are thousands of them.
    """

    alone: tuple[str, ...]
    holds: dict[Session, int] = attrs.field(factory=dict)
    fading: dict[Session, _Leaving] = attrs.field(factory=dict)


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
        # Those in which somebody is.
        self._rooms: dict[str, _RoomPresence] = {}
        self._counts: dict[str, _Count] = {}

    @property
    def rooms(self) -> list[str]:
        """Those in which somebody is."""
        return list(self._rooms)

    def people(self, room: str) -> list[Session]:
        """Who is in a room, by name; of very many those who have been there for the longest."""
        crowd = self._rooms.get(room)
        there = crowd.holds if crowd is not None else ()
        return sorted(islice(there, MOST_NAMED), key=lambda session: _numbered(session.name))

    def count(self, room: str) -> int:
        """How many are in a room."""
        crowd = self._rooms.get(room)
        return len(crowd.holds) if crowd is not None else 0

    def hold(self, room: str, session: Session, address: str | None = None) -> None:
        """A session holds a request on a room.

        :param address: what others may see of where it comes from.
        """
        # If it fades it goes on to: who polls lets go and comes back all the time, and the sweep
        # finds once in a while that it holds something.
        self._enter(room, session, address, 1)

    def release(self, room: str, session: Session, grace: float = GRACE) -> None:
        """A session lets go of a request on a room; it is present for ``grace`` seconds yet."""
        crowd = self._rooms.get(room)
        if crowd is None or session not in crowd.holds:
            return
        crowd.holds[session] -= 1
        now = self._reaper.seconds()
        fading = self._fade(crowd, room, session, now)
        if now < fading.leaving_until:
            # A page says that it leaves and drops its stream; which one comes first is chance.
            grace = min(grace, LEAVING_GRACE)
            self._reaper.cancel(fading)  # It may be for later.
        self._stay(fading, now, grace)

    def seen(
        self, room: str, session: Session, grace: float = GRACE, address: str | None = None
    ) -> None:
        """A session asked something about a room."""
        crowd = self._enter(room, session, address, 0)
        now = self._reaper.seconds()
        self._stay(self._fade(crowd, room, session, now), now, grace)

    def _fade(self, crowd: _RoomPresence, room: str, session: Session, now: float) -> _Leaving:
        fading = crowd.fading.get(session)
        if fading is None:
            fading = crowd.fading[session] = _Leaving(self, room, session, now)
        return fading

    def _stay(self, fading: _Leaving, now: float, grace: float) -> None:
        """Let the sweep look at somebody at the latest when she is gone; what makes it later costs
        nothing."""
        fading.until = max(fading.until, now + grace)
        if not fading.due_bucket:
            self._reaper.schedule(fading, fading.until - now)

    def leave(self, room: str, session: Session) -> None:
        """A session says that it leaves a room; what it still holds there keeps it."""
        crowd = self._rooms.get(room)
        if crowd is not None and session in crowd.holds:
            now = self._reaper.seconds()
            fading = self._fade(crowd, room, session, now)
            fading.until = fading.leaving_until = now + LEAVING_GRACE
            self._reaper.schedule(fading, LEAVING_GRACE)

    def ended(self, session: Session) -> None:
        """A session is over: it is gone from everywhere."""
        for room in session.present:
            self._gone(room, session)

    def gone_for_long(self, session: Session) -> None:
        """Others may take a session's name: it is gone from where it holds nothing."""
        for room in session.present:
            if not self._rooms[room].holds[session]:
                self._gone(room, session)

    def renamed(self, session: Session, old: str) -> None:
        """A session has another name than ``old`` now: for others one goes and one comes, and each
        says who the other is."""
        now = self._now()
        for room in session.present:
            self._tell(room, kinds.leave(room, old, now, now=session.name))
            self._tell(room, kinds.join(room, session.name, now, was=old))

    def typing(self, room: str, session: Session) -> None:
        """A session is writing. The people are told who have been there for the longest, and where
        they are few, those who only read; for each sign of it costs as much as a message."""
        context = self._engine.context(kinds.path_of(room))
        crowd = self._rooms.get(room)
        if context is None or crowd is None:
            return
        event = kinds.typing(room, session.name, self._now())
        told = list(islice(crowd.holds, TYPING_TOLD))
        # What they hold in other rooms, or is no handler, hears nothing by it.
        theirs = {id(each): cast(CometHandler, each) for person in told for each in person.readers}
        others = (each for each in context if id(each) not in theirs)
        few = list(islice(others, TYPING_TOLD - len(told)))
        for handler in [*theirs.values(), *few]:
            context.notify(event, handler=handler)

    # -- for the sweep

    def expired(self, fading: _Leaving) -> None:
        """Somebody's time is up; she is gone unless she holds something."""
        crowd = self._rooms[fading.room]
        if crowd.holds[fading.session]:
            del crowd.fading[fading.session]
        else:
            self._gone(fading.room, fading.session)

    def tell_count(self, count: _Count) -> bool:
        """Tell a full room how many are in it, if that has changed; False when it is quiet."""
        now = self.count(count.room)
        if now == count.told:
            del self._counts[count.room]
            return False
        count.told = now
        self._notify(count.room, kinds.people(count.room, now))
        return True

    # -- inside

    def _enter(self, room: str, session: Session, address: str | None, held: int) -> _RoomPresence:
        """Somebody is in a room and holds so many requests more there."""
        crowd = self._rooms.get(room)
        if crowd is None:
            crowd = self._rooms[room] = _RoomPresence((room,))
        if session in crowd.holds:
            crowd.holds[session] += held
        else:
            crowd.holds[session] = held
            session.present = (*session.present, room) if session.present else crowd.alone
            self._tell(room, kinds.join(room, session.name, self._now(), address))
        return crowd

    def _gone(self, room: str, session: Session) -> None:
        crowd = self._rooms[room]
        del crowd.holds[session]
        session.present = tuple(each for each in session.present if each != room)
        fading = crowd.fading.pop(session, None)
        if fading is not None:
            self._reaper.cancel(fading)
        if not crowd.holds:
            del self._rooms[room]
        self._tell(room, kinds.leave(room, session.name, self._now()))

    def _tell(self, room: str, event: Event) -> None:
        """Tell of a coming or going, or in a full room that the count changes."""
        if self.count(room) <= SMALL_ROOM:
            self._notify(room, event)
        elif room not in self._counts:
            count = self._counts[room] = _Count(self, room)
            self._reaper.schedule(count, COUNT_EVERY)
            self.tell_count(count)

    def _notify(self, room: str, event: Event) -> None:
        # As what is committed goes, a slice at a time: a room of few people may have thousands who
        # only read.
        self._engine.deliver([Delivery(kinds.path_of(room), event)])

    def _now(self) -> int:
        return int(self._wall_clock() * 1000)


def _numbered(name: str) -> list[str | int]:
    """What names are sorted by: person-2 comes before person-10."""
    parts = _NUMBER.split(name.casefold())
    return [int(part) if at % 2 else part for at, part in enumerate(parts)]
