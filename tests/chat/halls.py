"""Several nodes that know who is there, over one log and one bus in memory, and nothing else.

What it is: `Halls`, so many `Hall`s, each with a presence of its own and an ear in each room that
checks what it hears.

What it may know: presence and what it stands on. Not sessions' names, rooms, nor requests.

Invariant: an ear fails at once where somebody comes who was there, or goes who was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock

from cometd_chat.chat.cluster_presence import ClusterPresence
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.comet import CometEngine, CometEvent
from cometd_chat.comet.reaper import Reaper
from cometd_chat.events.event import Event
from cometd_chat.events.kinds import path_of
from cometd_chat.events.record import Record
from cometd_chat.log.bus import MemoryBus
from cometd_chat.log.control import SessionRenamed, control_draft, read_control
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.nodes import LeasedNodes, MemoryNodeTable

ROOMS = ("lobby", "dev")


class Strict:
    """Hears a room, and keeps the names of who is there as one who was told."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.heard: list[str] = []

    def on_initialize(self, event: CometEvent) -> None: ...

    def on_event(self, event: CometEvent) -> None:
        told: Event = event.attachment
        self.heard.append(f"{told.type} {told.fields.get('from', told.fields.get('count'))}")
        name: Any = told.fields.get("from")
        if told.type == "join":
            assert name not in self.there, f"{name} came twice"
            self.there.add(name)
        elif told.type == "leave":
            assert name in self.there, f"{name} went twice"
            self.there.remove(name)

    def on_interrupt(self, event: CometEvent) -> None: ...

    def on_terminate(self, event: CometEvent) -> None: ...

    def take(self) -> list[str]:
        """What came since the last time."""
        heard, self.heard = self.heard, []
        return heard


class Hall:
    """One node."""

    def __init__(self, halls: Halls, beside: Hall | None) -> None:
        self.log = halls.log
        self.position = 0
        engine = CometEngine(halls.clock, Reaper(halls.clock, 0.1))
        self.ears = {}
        for room in ROOMS:
            self.ears[room] = Strict()
            engine.register(path_of(room)).add_handler(self.ears[room])
        self.nodes = LeasedNodes(halls.table, engine.reaper, name="hall", peer="", version="1")
        self.bus: MemoryBus = MemoryBus(
            lambda: self.nodes.number, None if beside is None else beside.bus
        )
        self.sent = 0
        publish = self.bus.publish

        def count(topic: str, message: bytes) -> None:
            self.sent += 1
            publish(topic, message)

        self.bus.publish = count  # type: ignore[method-assign]
        #: By id; another object on each node.
        self.sessions: dict[str, Session] = {}
        self.presence = ClusterPresence(
            engine,
            self.bus,
            self.nodes,
            lambda: self.position,
            lambda work: halls.clock.callLater(0, work),
            wall_clock=halls.clock.seconds,
        )
        self.nodes.start()
        self.position = halls.log.last_id
        self.stop_following = halls.log.follow(self._told)
        self.presence.start()

    def _told(self, records: Sequence[Record]) -> None:
        for record in records:
            control = read_control(record)
            assert control is not None
            if isinstance(control, SessionRenamed) and control.session in self.sessions:
                self.sessions[control.session].name = control.name
            self.nodes.told(control)
            self.presence.told(control)
        self.position = records[-1].id

    def session(self, name: str) -> Session:
        """Somebody, as this node knows them."""
        key = name.encode()
        if key.hex() not in self.sessions:
            self.sessions[key.hex()] = Session(
                key, b"", name, name, name, Role.GUEST, 0, 0, home=None
            )
        return self.sessions[key.hex()]

    def view(self) -> dict[str, list[str]]:
        """Who is in each room."""
        return {
            room: [person.name for person in self.presence.people(room)]
            for room in sorted(self.presence.rooms)
        }

    def die(self) -> None:
        """Say nothing more and hear nothing more."""
        self.bus.close()
        self.stop_following()
        self.nodes._stopped = True
        # One that is dead does nothing more.
        self.presence._mine.on_due = lambda now: None  # type: ignore[method-assign]


class Halls:
    """So many nodes."""

    def __init__(self, count: int) -> None:
        self.clock = Clock()
        self.log = MemoryEventLog(wall_clock=self.clock.seconds)
        self.table = MemoryNodeTable(self.clock.seconds, self.log)
        self.all: list[Hall] = []
        for _ in range(count):
            self.add()

    def add(self) -> Hall:
        """Another one."""
        hall = Hall(self, self.all[0] if self.all else None)
        self.all.append(hall)
        return hall

    def kill(self, hall: Hall) -> None:
        """One of them dies."""
        self.all.remove(hall)
        hall.die()

    def rename(self, old: str, name: str) -> None:
        """Somebody is called otherwise, as the log tells."""
        self.log.append(control_draft(SessionRenamed(old.encode().hex(), name, name, name)))

    def pass_time(self, seconds: float) -> None:
        """Let it go by, a tenth of a second at a time."""
        self.clock.pump([0.1] * round(seconds * 10))
