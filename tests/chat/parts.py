"""The parts of the chat, joined without a web, and somebody who listens.

What it is: `House` joins the real parts over a log and a directory in memory; `Ear` is a handler
that keeps what it hears.

What it may know: the chat and what is below it.

Invariant: time is moved by hand, both the clock's and that of the calendar.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from math import ceil
from typing import Any, TypeVar

from sqlalchemy import Connection, update
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.claims import LocalNames
from cometd_chat.chat.deletions import Deletions
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.lasting import LastingClock
from cometd_chat.chat.local_limits import LocalLimits
from cometd_chat.chat.local_positions import LocalPositions
from cometd_chat.chat.local_presence import LocalPresence
from cometd_chat.chat.local_rooms import LocalRooms
from cometd_chat.chat.local_sessions import LocalSessions
from cometd_chat.chat.moderation import Moderation
from cometd_chat.chat.openings import NoOpenings, Openings
from cometd_chat.chat.parts import Parts
from cometd_chat.chat.policies import Policies
from cometd_chat.chat.positions import Positions
from cometd_chat.chat.presence import Presence
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room, Rooms
from cometd_chat.chat.sessions import Session, Sessions
from cometd_chat.chat.waiting import WaitingList
from cometd_chat.comet import CometEngine, CometEvent
from cometd_chat.events.event import Event
from cometd_chat.events.kinds import path_of
from cometd_chat.log.changes import Changes, LocalChanges
from cometd_chat.log.directory import Directory, RoomRow
from cometd_chat.log.gathering import Gathering
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.memory_directory import MemoryDirectory
from cometd_chat.log.nodes import Nodes
from cometd_chat.log.tables import members, sessions
from cometd_chat.log.tail import Tail
from cometd_chat.transports.budget import MemoryBudget

Result = TypeVar("Result")

#: When the calendar starts: 2026-11-21T19:23:00Z.
START = 1_795_288_980.0


def begun(work: Coroutine[Any, Any, Result]) -> Deferred[Result]:
    """Begin some work that may have to wait."""
    return Deferred.fromCoroutine(work)


def now(work: Coroutine[Any, Any, Result] | Deferred[Result]) -> Result:
    """The result of work that has not to wait for anything, or its exception."""
    outcome: list[Any] = []
    waiting = work if isinstance(work, Deferred) else begun(work)
    waiting.addBoth(outcome.append)
    assert outcome, "it waits for something"
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    result: Result = outcome[0]
    return result


def steps(seconds: float, *clocks: Clock, every: float = 1.0) -> Iterator[float]:
    """How far clocks are moved at a time, in seconds: as many steps at once as nothing is due in.

    :param every: one step.
    """
    left = round(seconds / every, 6)
    while left > 0:
        due = [call.getTime() - clock.seconds() for clock in clocks for call in clock.calls]
        step = min(left, max(1, ceil(min(due, default=seconds) / every - 1e-6)))
        yield step * every
        left -= step


def appoint(changes: Changes, session: Session, role: Role) -> None:
    """Let somebody be more, with or without an account: here, and by what is kept."""

    def put(connection: Connection) -> None:
        for table, its in ((sessions, sessions.c.id), (members, members.c.identity)):
            change = update(table).where(its == session.identity).values(role=role.word)
            connection.execute(change)

    now(changes.make(put, lambda _: ()))
    session.role = role


class Ear:
    """A handler that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_initialize(self, event: CometEvent) -> None: ...

    def on_event(self, event: CometEvent) -> None:
        self.events.append(event.attachment)

    def on_interrupt(self, event: CometEvent) -> None: ...

    def on_terminate(self, event: CometEvent) -> None: ...

    def take(self) -> list[str]:
        """What came since the last time, such as ``join alice`` and ``people 51``."""
        heard, self.events = self.events, []
        return [
            f"{each.type} {each.fields.get('from', each.fields.get('count'))}" for each in heard
        ]


class House:
    """The chat's parts, joined as the service does.

    :param directory: by default one with the rooms ``lobby`` and ``dev``.
    :param limits: whether the rate limits are on.
    """

    def __init__(
        self,
        *,
        directory: Directory | None = None,
        log: MemoryEventLog | None = None,
        clock: Clock | None = None,
        limits: bool = False,
        shown: Callable[[str], str | None] = lambda address: None,
    ) -> None:
        self.clock = Clock() if clock is None else clock
        #: By how many seconds the calendar was set.
        self.set_by = 0.0
        self.log = MemoryEventLog(wall_clock=self.calendar) if log is None else log
        self.directory: Any = directory
        if directory is None:
            rows = [RoomRow("lobby", "", "", 0), RoomRow("dev", "", "", 1)]
            self.directory = MemoryDirectory(rows, self.log)
        self.engine = CometEngine(self.clock)
        self.reaper = self.engine.reaper
        self._bytes_given = 0
        self.feed = Feed(self.log, self.engine, Tail(10_000, 2**24))
        self.changes = self.make_changes()
        self.sessions: Sessions = self.make_sessions()
        self.presence: Presence = self.make_presence()
        self.limits = self.make_limits(on=limits)
        self.rights = Rights()
        self.rooms: Rooms = self.make_rooms()
        self.moderation = Moderation(
            self.changes,
            self.rights,
            self.reaper,
            now=lambda: self.calendar() * 1000,
            random_bytes=self._random_bytes,
            room_named=self.rooms.named,
        )
        self.chat = Chat(
            Parts(
                moderation=self.moderation,
                feed=self.feed,
                rights=self.rights,
                sessions=self.sessions,
                rooms=self.rooms,
                presence=self.presence,
                positions=self.make_positions(),
                limits=self.limits,
                openings=self.make_openings(),
                changes=self.changes,
                deletions=Deletions(
                    self.feed,
                    self.rights,
                    self.changes,
                    now=lambda: self.calendar() * 1000,
                    random_bytes=self._random_bytes,
                    nodes=self.make_nodes(),
                ),
                policies=Policies(self.changes, self.rights, {}, self.milliseconds),
                waiting=WaitingList(self.changes, self.rights, self.sessions, self.milliseconds),
                gathering=Gathering(self.log, lambda hand_over: hand_over(), MemoryBudget()),
                heartbeat=15,
                server="test",
                shown=shown,
                random=lambda: 0.5,
            )
        )
        self.join()
        self.chat.start([])

    def make_nodes(self) -> Nodes | None:
        """This node and the others; None for a process that is alone."""
        return None

    def join(self) -> None:
        """What is done between making the parts and starting them."""
        self.feed.control.add(self.sessions.told)

    def make_limits(self, *, on: bool) -> LocalLimits:
        """What nobody has used of yet."""
        return LocalLimits(self.reaper, on=on)

    def make_changes(self) -> Changes:
        """Changes of what is kept beside the directory, or in it."""
        return LocalChanges(self.directory.store, self.feed.control.tell)

    def make_openings(self) -> Openings:
        """What makes way elsewhere."""
        return NoOpenings()

    def make_positions(self) -> Positions:
        """Positions over the directory."""
        return LocalPositions(self.directory, self.reaper)

    def make_rooms(self) -> Rooms:
        """The rooms of the directory."""
        return LocalRooms(
            self.directory,
            self.engine,
            self.rights,
            wall_clock=self.calendar,
            expiration_delay=1e6,
        )

    def make_sessions(self) -> Sessions:
        """Sessions over the directory, as after a restart."""
        return LocalSessions(
            self.directory,
            LocalNames(),
            self.changes,
            self.reaper,
            wall_clock=self.calendar,
            lasting=LastingClock(self.calendar, self.clock.seconds),
            random_bytes=self._random_bytes,
            guest_timeout=900,
        )

    def make_presence(self) -> Presence:
        """Who is there; nobody yet."""
        return LocalPresence(self.engine, wall_clock=self.calendar)

    def _random_bytes(self, count: int) -> bytes:
        self._bytes_given += 1
        return self._bytes_given.to_bytes(count, "big")

    def calendar(self) -> float:
        """Seconds since 1970; they go with the clock, unless they are set."""
        return START + self.set_by + float(self.clock.seconds())

    def milliseconds(self) -> int:
        """The same, as they are kept."""
        return int(self.calendar() * 1000)

    def advance(self, seconds: float) -> None:
        """Let time go by, so that the sweep comes round each second."""
        for step in steps(seconds, self.clock):
            self.clock.advance(step)

    def log_in(self, name: str) -> Session:
        """A new session."""
        return now(self.chat.log_in(name, "192.0.2.7"))[0]

    def lose_name(self, name: str) -> Session:
        """Somebody who comes again after another has taken their name."""
        session, token = now(self.chat.log_in(name, ""))
        self.sessions.free_name(session)
        self.log_in(name)
        return now(self.sessions.by_token(token))

    def room(self, name: str = "lobby") -> Room:
        """A room."""
        return self.rooms.find(name, None)

    def listen(self, room: str = "lobby") -> Ear:
        """Somebody who hears a room and is not in it."""
        ear = Ear()
        context = self.engine.context(path_of(room))
        assert context is not None
        context.add_handler(ear)
        return ear
