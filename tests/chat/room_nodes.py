"""Nodes that have one log, one bus and one directory of rooms in memory.

What it is: `Telling`, a directory that tells the log what becomes of rooms, and `Node`, the chat's
parts over it.

What it may know: the chat and what is below it.

Invariant: see `tests.chat.parts`.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from cometd_chat.chat.cluster_presence import ClusterPresence
from cometd_chat.chat.cluster_rooms import ClusterRooms
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.log.bus import MemoryBus
from cometd_chat.log.control import RoomMade, RoomRemoved, control_draft
from cometd_chat.log.directory import RoomRow
from cometd_chat.log.memory import MemoryDirectory, MemoryEventLog
from cometd_chat.log.nodes import LeasedNodes, MemoryNodeTable
from tests.chat.parts import House, now


class Telling(MemoryDirectory):
    """A directory that tells the log what becomes of rooms."""

    def __init__(self, log: MemoryEventLog) -> None:
        super().__init__([RoomRow("lobby", "", "", 0), RoomRow("dev", "", "", 1)], log)
        self.tells = log

    def add_room(self, row: RoomRow) -> Deferred[None]:
        adding = super().add_room(row)
        if not hasattr(adding, "result") or adding.result is None:
            made = RoomMade(row.name, row.topic, row.created_by, row.created_at)
            self.tells.append(control_draft(made))
        return adding

    def remove_silent_room(self, name: str, context: str) -> Deferred[bool]:
        removing = super().remove_silent_room(name, context)
        if removing.result is True:
            self.tells.append(control_draft(RoomRemoved(name)))
        return removing


class Node(House):
    """One of several nodes."""

    log: MemoryEventLog
    nodes: LeasedNodes
    rooms: ClusterRooms

    def __init__(self, clock: Clock, beside: Node | None) -> None:
        log = MemoryEventLog(
            wall_clock=clock.seconds, beside=None if beside is None else beside.log
        )
        self.table: MemoryNodeTable = (
            MemoryNodeTable(clock.seconds, log) if beside is None else beside.table
        )
        self.bus: MemoryBus = MemoryBus(
            lambda: self.nodes.number, None if beside is None else beside.bus
        )
        directory = Telling(log) if beside is None else beside.directory
        super().__init__(directory=directory, log=log, clock=clock)

    def make_rooms(self) -> ClusterRooms:
        return ClusterRooms(
            self.directory,
            self.engine,
            self.rights,
            self.feed,
            self.bus,
            wall_clock=self.calendar,
            expiration_delay=1e6,
        )

    def make_presence(self) -> ClusterPresence:
        self.nodes = LeasedNodes(self.table, self.reaper, name="a", peer="", version="1")
        return ClusterPresence(
            self.engine,
            self.bus,
            self.nodes,
            lambda: self.feed.last_id,
            lambda work: self.clock.callLater(0, work),
            wall_clock=self.calendar,
        )

    def make(self, who: Session, name: str) -> Room:
        return now(self.chat.make_room(who, name, "", "192.0.2.7"))

    def names(self) -> list[str]:
        return [room.name for room in self.rooms.all()]
