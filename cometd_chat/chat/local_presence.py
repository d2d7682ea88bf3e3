"""Who is in a room, for one process.

What it is: the count of what each person holds on each room, by whichever of their sessions, the
time after which somebody who holds nothing is gone, and the comings and goings that others are told
of.

What it may know: contexts, sessions, events, the sweep. Not requests.

Invariant: somebody is present once, however many windows she has; a reload is no leave.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import cast

import attrs

from cometd_chat.chat.presence import GRACE, LEAVING_GRACE, MOST_NAMED, SMALL_ROOM, Person
from cometd_chat.chat.sessions import Member, Session
from cometd_chat.comet import CometEngine, CometHandler, Delivery
from cometd_chat.comet.reaper import Reaper
from cometd_chat.events import kinds
from cometd_chat.events.event import Event

_NUMBER = re.compile("([0-9]+)")

#: Above that only the count is, at most every so many seconds.
COUNT_EVERY = 5.0

#: So many people are told that somebody is writing.
TYPING_TOLD = 50


@attrs.define(eq=False, weakref_slot=False)
class _Leaving:
    """Somebody who may be gone soon: she holds nothing in a room, or has said that she leaves.

    :param until: she is present until then, in the clock's seconds, even if she holds nothing.
    :param leaving_until: she has just said that she leaves; what she lets go of until then is part
        of that.
    """

    presence: LocalPresence
    room: str
    person: Session | Member
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

    :param alone: what the rooms of somebody are who is in this one only, as most are.
    :param holds: how many requests each person holds there. Who holds some has nothing but this
        number; there are thousands of them.
    """

    alone: tuple[str, ...]
    holds: dict[Session | Member, int] = attrs.field(factory=dict)
    leaving: dict[Session | Member, _Leaving] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Count:
    """A room that is too full for names; it is told its count when that has changed."""

    presence: LocalPresence
    room: str
    told: int = 0
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        return COUNT_EVERY if self.presence.tell_count(self) else None


class LocalPresence:
    """The `Presence` of one process.

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
        # Who is in use no longer and still holds something, by their identities: they are let go in
        # a moment, and if they come again before that, it is as another object.
        self._forgotten: dict[str, Session | Member] = {}

    def start(self) -> None:
        """See `Presence.start`: there are no others."""

    @property
    def rooms(self) -> Sequence[str]:
        """See `Presence.rooms`."""
        return list(self._rooms)

    def people(self, room: str) -> Sequence[Person]:
        """See `Presence.people`."""
        in_room = self._rooms.get(room)
        return first_named(in_room.holds if in_room is not None else ())

    def count(self, room: str) -> int:
        """See `Presence.count`."""
        in_room = self._rooms.get(room)
        return len(in_room.holds) if in_room is not None else 0

    def hold(self, room: str, session: Session, address: str | None = None) -> None:
        """See `Presence.hold`."""
        # If it was about to be gone it is looked at all the same: who polls lets go and comes back
        # all the time, and the sweep finds once in a while that it holds something.
        in_room = self._rooms.get(room)
        # Spelt out, as below: `Session.person` is a call, and both are on the hot path of polls.
        person = session.member or session
        if in_room is not None and person in in_room.holds:
            in_room.holds[person] += 1
        elif not session.forgotten:
            self._enter(room, person, address, 1)

    def release(self, room: str, session: Session, grace: float = GRACE) -> None:
        """See `Presence.release`."""
        in_room = self._rooms.get(room)
        person = session.member or session
        if in_room is None or person not in in_room.holds:
            return
        in_room.holds[person] -= 1
        now = self._reaper.coarse_now()
        leaving = in_room.leaving.get(person)
        if leaving is None:
            leaving = self._leaving_of(in_room, room, person, now)
        elif leaving.due_bucket and now >= leaving.leaving_until:
            # Who polls comes by here with each answer: nothing but when she would be gone changes.
            leaving.until = max(leaving.until, now + grace)
            return
        if now < leaving.leaving_until:
            # A page says that it leaves and drops its stream; which one comes first is chance.
            grace = min(grace, LEAVING_GRACE)
            self._reaper.cancel(leaving)  # It may be for later.
        self._stay(leaving, now, grace)

    def seen(
        self, room: str, session: Session, grace: float = GRACE, address: str | None = None
    ) -> None:
        """See `Presence.seen`."""
        if session.forgotten:
            # Where they have come again, that is another object, and they would be here as two.
            return
        person = session.member or session
        in_room = self._enter(room, person, address, 0)
        now = self._reaper.seconds()
        self._stay(self._leaving_of(in_room, room, person, now), now, grace)

    def _leaving_of(
        self, in_room: _RoomPresence, room: str, person: Session | Member, now: float
    ) -> _Leaving:
        leaving = in_room.leaving.get(person)
        if leaving is None:
            leaving = in_room.leaving[person] = _Leaving(self, room, person, now)
        return leaving

    def _stay(self, leaving: _Leaving, now: float, grace: float) -> None:
        """Let the sweep look at somebody at the latest when she is gone; what makes it later costs
        nothing."""
        leaving.until = max(leaving.until, now + grace)
        if not leaving.due_bucket:
            self._reaper.schedule(leaving, leaving.until - now)

    def leave(self, room: str, session: Session) -> None:
        """See `Presence.leave`."""
        self.leaves(room, session.person)

    def leaves(self, room: str, person: Session | Member) -> None:
        """Somebody says that they leave a room."""
        in_room = self._rooms.get(room)
        if in_room is not None and person in in_room.holds:
            now = self._reaper.seconds()
            leaving = self._leaving_of(in_room, room, person, now)
            leaving.until = leaving.leaving_until = now + LEAVING_GRACE
            self._reaper.schedule(leaving, LEAVING_GRACE)

    def ended(self, session: Session) -> None:
        """See `Presence.ended`."""
        person = session.person
        if not _has_others(session):
            for room in person.present:
                self._gone(room, person)

    def gone_for_long(self, session: Session) -> None:
        """See `Presence.gone_for_long`."""
        person = session.person
        if not _has_others(session):
            for room in person.present:
                if self._rooms[room].holds[person]:
                    self._forgotten[person.identity] = person
                else:
                    self._gone(room, person)

    def became_member(self, session: Session) -> None:
        """See `Presence.became_member`."""
        person = session.person
        person.present, session.present = session.present, ()
        for room in person.present:
            in_room = self._rooms[room]
            in_room.holds[person] = in_room.holds.pop(session)
            leaving = in_room.leaving.pop(session, None)
            if leaving is not None:
                leaving.person = person
                in_room.leaving[person] = leaving

    def role_changed(self, member: Member) -> None:
        """See `Presence.role_changed`: who asks is told."""

    def renamed(self, session: Session, old: str) -> None:
        """See `Presence.renamed`."""
        for room in session.person.present:
            self.tell_renamed(room, old, session.name, session.identity)

    def typing(self, room: str, session: Session) -> None:
        """See `Presence.typing`."""
        if room in self._rooms:
            self.tell_typing(room, session.name, session.identity)

    # -- telling those who are held here

    def came(self, room: str, person: Session | Member, address: str | None) -> None:
        """Somebody has come to a room of this process."""
        self.tell_join(room, person.name, address, person.identity)

    def went(self, room: str, person: Session | Member) -> None:
        """Somebody has gone from a room of this process."""
        self.tell_leave(room, person.name, person.identity)

    def tell_join(self, room: str, name: str, address: str | None, identity: str) -> None:
        """Somebody has come."""
        self._tell(room, kinds.join(room, name, self._now(), address, sender=identity))

    def tell_leave(self, room: str, name: str, identity: str) -> None:
        """Somebody has gone."""
        self._tell(room, kinds.leave(room, name, self._now(), sender=identity))

    def tell_renamed(self, room: str, old: str, name: str, identity: str) -> None:
        """Somebody is called otherwise from now."""
        now = self._now()
        self._tell(room, kinds.leave(room, old, now, now=name, sender=identity))
        self._tell(room, kinds.join(room, name, now, was=old, sender=identity))

    def tell_typing(self, room: str, name: str, identity: str) -> None:
        """Somebody is writing."""
        context = self._engine.context(kinds.path_of(room))
        if context is None:
            return
        event = kinds.typing(room, name, self._now(), identity)
        in_room = self._rooms.get(room)
        told = [] if in_room is None else list(islice(in_room.holds, TYPING_TOLD))
        # What they hold in other rooms, or is no handler, hears nothing by it.
        theirs = {id(each): cast(CometHandler, each) for person in told for each in person.readers}
        # Polls that stand and are at rest hear nothing, and take nobody's place.
        others = (
            each
            for each in context
            if id(each) not in theirs and not getattr(each, "resting", False)
        )
        few = list(islice(others, TYPING_TOLD - len(told)))
        for handler in [*theirs.values(), *few]:
            context.notify(event, handler=handler)

    # -- for the sweep

    def expired(self, leaving: _Leaving) -> None:
        """Somebody's time is up; she is gone unless she holds something."""
        in_room = self._rooms[leaving.room]
        if in_room.holds[leaving.person]:
            del in_room.leaving[leaving.person]
        else:
            self._gone(leaving.room, leaving.person)

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

    def _enter(
        self, room: str, person: Session | Member, address: str | None, held: int
    ) -> _RoomPresence:
        """Somebody is in a room and holds so many requests more there."""
        if self._forgotten:
            self._replace(person)
        in_room = self._rooms.get(room)
        if in_room is None:
            in_room = self._rooms[room] = _RoomPresence((room,))
        if person in in_room.holds:
            in_room.holds[person] += held
        else:
            in_room.holds[person] = held
            person.present = (*person.present, room) if person.present else in_room.alone
            self.came(room, person, address)
        return in_room

    def _replace(self, person: Session | Member) -> None:
        """One person is not here as two: who was forgotten goes before they come again."""
        before = self._forgotten.get(person.identity)
        if before is not None and before is not person:
            for room in before.present:
                self._gone(room, before)

    def _gone(self, room: str, person: Session | Member) -> None:
        if self._forgotten.get(person.identity) is person and len(person.present) == 1:
            del self._forgotten[person.identity]
        in_room = self._rooms[room]
        del in_room.holds[person]
        person.present = tuple(each for each in person.present if each != room)
        leaving = in_room.leaving.pop(person, None)
        if leaving is not None:
            self._reaper.cancel(leaving)
        if not in_room.holds:
            del self._rooms[room]
        self.went(room, person)

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


def _has_others(session: Session) -> bool:
    """Whether somebody is here by another session of theirs."""
    member = session.member
    return member is not None and any(each is not session for each in member.sessions)


def first_named(people: Iterable[Person]) -> Sequence[Person]:
    """As many people as are named, by name.

    :param people: those who have been there for the longest first.
    """
    return sorted(islice(people, MOST_NAMED), key=lambda person: _numbered(person.name))


def _numbered(name: str) -> list[str | int]:
    """What names are sorted by: person-2 comes before person-10."""
    parts = _NUMBER.split(name.casefold())
    return [int(part) if at % 2 else part for at, part in enumerate(parts)]
