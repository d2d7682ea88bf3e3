"""Several nodes over one log, one directory and one bus, all in memory.

What it is: `Cluster`, so many `Node`s, each a `House` of its own with the back ends of many nodes;
one of them can be slow, cut off or dead.

What it may know: the chat and what is below it.

Invariant: time goes by for all nodes at once, second by second, but not for one that is dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from cometd_chat.chat.cluster_limits import ClusterLimits
from cometd_chat.chat.cluster_names import ClusterNames
from cometd_chat.chat.cluster_openings import ClusterOpenings
from cometd_chat.chat.cluster_positions import ClusterPositions
from cometd_chat.chat.cluster_presence import ClusterPresence
from cometd_chat.chat.cluster_rooms import ClusterRooms
from cometd_chat.chat.cluster_sessions import ClusterSessions
from cometd_chat.chat.lasting import LastingClock
from cometd_chat.errors import StorageUnavailable
from cometd_chat.log.bus import MemoryBus
from cometd_chat.log.changes import SharedChanges
from cometd_chat.log.directory import RoomRow
from cometd_chat.log.leases import Lease
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.memory_directory import MemorySharedDirectory
from cometd_chat.log.nodes import LeasedNodes, MemoryNodeTable
from tests.chat.parts import START, House, steps

#: More than a node makes of tokens and ids in a test.
_MANY = 100_000


class _Table(MemoryNodeTable):
    """The table of nodes, as one of them reaches it."""

    def __init__(self, table: MemoryNodeTable, log: MemoryEventLog) -> None:
        vars(self).update(vars(table))
        self._table = table
        self._node_log = log

    def add_now(self, name: str, peer: str, version: str) -> int:
        return self._table.add_now(name, peer, version)

    def renew(self, number: int) -> Deferred[Sequence[Lease]]:
        cut = self._node_log.cut
        return self._table.renew(number) if cut is None else fail(cut)

    def forget(self, leases: Sequence[Lease]) -> Deferred[None]:
        cut = self._node_log.cut
        return self._table.forget(leases) if cut is None else fail(cut)

    def remove(self, number: int) -> Deferred[None]:
        cut = self._node_log.cut
        return self._table.remove(number) if cut is None else fail(cut)


class Node(House):
    """One of several nodes.

    :param beside: another one.
    """

    sessions: ClusterSessions
    presence: ClusterPresence

    def __init__(self, cluster: Cluster, beside: Node | None) -> None:
        self.cluster = cluster
        self.place = len(cluster.nodes) + 1
        log = MemoryEventLog(wall_clock=cluster.calendar, beside=cluster.log)
        self.bus: MemoryBus = MemoryBus(
            lambda: self.nodes.number, None if beside is None else beside.bus
        )
        #: Whether it does what it is told.
        self.alive = True
        clock = Clock()
        clock.rightNow = cluster.clock.rightNow
        super().__init__(
            directory=cluster.make_directory(log, cluster.directory),
            log=log,
            clock=clock,
            limits=cluster.limits,
        )
        self._bytes_given = self.place * _MANY

    @cached_property
    def nodes(self) -> LeasedNodes:
        """This node, and what it knows of the others."""
        table = _Table(self.cluster.table, self.log)
        name = f"node-{self.place}"
        return LeasedNodes(table, self.reaper, name=name, peer="", version="1")

    def make_sessions(self) -> ClusterSessions:
        """See `House.make_sessions`."""
        return ClusterSessions(
            self.directory,
            ClusterNames(self.directory, self.nodes, self.reaper),
            self.changes,
            self.nodes,
            self.reaper,
            catch_up=self.log.catch_up,
            is_current=lambda: self.log.cut is None,
            wall_clock=self.calendar,
            lasting=LastingClock(self.calendar, self.clock.seconds),
            random_bytes=self._random_bytes,
            guest_timeout=900,
        )

    def make_presence(self) -> ClusterPresence:
        """See `House.make_presence`."""
        return ClusterPresence(
            self.engine,
            self.bus,
            self.nodes,
            lambda: self.feed.last_id,
            partial(self.clock.callLater, 0),
            wall_clock=self.calendar,
        )

    def make_limits(self, *, on: bool) -> ClusterLimits:
        """See `House.make_limits`."""
        return ClusterLimits(self.reaper, self.log, on=on)

    def make_changes(self) -> SharedChanges:
        """See `House.make_changes`."""
        return SharedChanges(self.directory.store, self.feed.catch_up)

    def make_openings(self) -> ClusterOpenings:
        """See `House.make_openings`."""
        return ClusterOpenings(self.bus, self.reaper, self.presence.is_elsewhere)

    def make_positions(self) -> ClusterPositions:
        """See `House.make_positions`."""
        return ClusterPositions(self.directory, self.reaper, self.bus, self.nodes)

    def make_rooms(self) -> ClusterRooms:
        """See `House.make_rooms`."""
        return ClusterRooms(
            self.directory,
            self.engine,
            self.rights,
            self.feed,
            self.bus,
            wall_clock=self.calendar,
            expiration_delay=1e6,
        )

    def make_nodes(self) -> LeasedNodes:
        """See `House.make_nodes`."""
        return self.nodes

    def join(self) -> None:
        """See `House.join`."""
        self.nodes.start()
        for part in (self.nodes, self.sessions, self.presence):
            self.feed.control.add(part.told)

    def advance(self, seconds: float) -> None:
        """Let time go by, for all nodes."""
        self.cluster.advance(seconds)

    # -- what can become of it

    def slow_down(self) -> None:
        """Be told nothing, neither by the log nor by the bus, until `hurry`."""
        self.log.delay()
        self.bus.hold()

    def hurry(self) -> None:
        """Be told what was said meanwhile."""
        self.log.hurry()
        self.bus.release()

    def cut_off(self) -> None:
        """Reach neither the database nor the bus, until `mend`."""
        self.log.cut = StorageUnavailable("The database is out of reach.", retry_after=1)
        self.bus.cut = True

    def mend(self) -> None:
        """Reach them again."""
        self.bus.cut = False
        self.log.mend()

    def die(self) -> None:
        """Do nothing any more, as after a ``kill -9``."""
        self.alive = False
        self.feed.stop()
        self.log.close()
        self.bus.close()


class Cluster:
    """So many nodes.

    :param count: how many there are from the start.
    :param limits: whether the rate limits are on.
    """

    def __init__(self, count: int = 3, *, limits: bool = False) -> None:
        self.limits = limits
        self.clock = Clock()
        #: The database's own sides of it, which are never cut off.
        self.log = MemoryEventLog(wall_clock=self.calendar)
        rows = [RoomRow("lobby", "", "", 0), RoomRow("dev", "", "", 1)]
        self.directory = MemorySharedDirectory(rows, self.log, self.calendar)
        self.table = MemoryNodeTable(self.clock.seconds, self.log)
        self.table.removed.add(self.directory.forget_node)
        self.nodes: list[Node] = []
        for _ in range(count):
            self.add()

    def add(self) -> Node:
        """Another node."""
        node = Node(self, self.nodes[0] if self.nodes else None)
        self.nodes.append(node)
        return node

    def make_directory(
        self, log: MemoryEventLog, beside: MemorySharedDirectory
    ) -> MemorySharedDirectory:
        """The directory as a node reaches it."""
        return MemorySharedDirectory([], log, self.calendar, beside)

    def calendar(self) -> float:
        """Seconds since 1970, by the database's clock."""
        return START + float(self.clock.seconds())

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        clocks = [self.clock, *(node.clock for node in self.nodes if node.alive)]
        for step in steps(round(seconds), *clocks):
            self.clock.advance(step)
            for node in self.nodes:
                if node.alive:
                    node.clock.advance(step)
