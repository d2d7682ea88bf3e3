"""The daemons that have one log, and how long each of them counts as there.

What it is: `Nodes`, what a node knows of itself and of the others; `LeasedNodes`, which keeps this
node's lease by a `NodeTable`; and `MemoryNodeTable`, the table of nodes in one process.

What it may know: numbers, names, leases. Not what a node holds.

Invariant: a number is one node's from when it was given out until a `NodeGone` with it is in the
log, and never anybody else's. A node that is forgotten is gone, whether it runs or not: it takes a
new number before it goes on. It is forgotten when another one has seen it silent for `LEASE`
seconds, by its own clock (`leases.py`), and that very lease is still in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.log.control import Control, NodeGone, NodeJoined, control_draft
from cometd_chat.log.leases import LEASE, RENEW_AFTER, Lease, LeaseWatch, NodeRow
from cometd_chat.log.log import EventLog

__all__ = ["LEASE", "RENEW_AFTER", "NodeRow"]

#: Seconds that each next node waits longer before it looks whose lease is over, and at most: when
#: it is told by then, it need not.
_IN_TURN, _LAST_TURN = 0.1, 1.0


class Nodes(Protocol):
    """This node and the others, as this node was told of them by the log."""

    @property
    def number(self) -> int:
        """This node's number; 0 before it has started. Another one once `renumbered` was told."""

    @property
    def name(self) -> str:
        """What operators call this node."""

    @property
    def joined(self) -> Listeners[[NodeRow]]:
        """Told of each other node that comes."""

    @property
    def gone(self) -> Listeners[[NodeRow]]:
        """Told of each other node that is gone: by the log, so in order with all that it tells."""

    @property
    def renumbered(self) -> Listeners[[int]]:
        """Told, with the number that it had, when this node has a new one: its lease was over, and
        all the others were told that it was gone. What it has it must claim anew."""

    def others(self) -> Sequence[NodeRow]:
        """The other nodes, by their numbers."""

    def silent_for(self, number: int) -> float | None:
        """For how many seconds another node has said nothing, so far as is known; None of one that
        was not looked at yet."""

    def start(self) -> None:
        """Take a number. Blocks: for the start, once the log is open."""

    def told(self, control: Control) -> None:
        """What the log tells; see `cometd_chat.chat.feed.Feed.control`."""

    def stop(self) -> Deferred[None]:
        """Give the number back, so that nobody waits for the lease to end."""


class NodeTable(Protocol):
    """Who has a lease, by the clock of the table.

    What every table keeps: each change is made in one transaction with the control record that
    tells of it. Whatever answers later may fail with StorageUnavailable.
    """

    def add_now(self, name: str, peer: str, version: str) -> int:
        """Give out a number, with a lease, and tell `NodeJoined`. Blocks: for the start."""

    def rows_now(self) -> Sequence[NodeRow]:
        """All whose lease is not over, by the clock of the table. Blocks: for the start."""

    def add(self, name: str, peer: str, version: str) -> Deferred[int]:
        """See `add_now`."""

    def renew(self, number: int) -> Deferred[Sequence[Lease]]:
        """Let a lease begin anew.

        :returns: all that there are then; without this one's when it was forgotten.
        """

    def forget(self, leases: Sequence[Lease]) -> Deferred[None]:
        """Forget the nodes of leases that are still the same, with a `NodeGone` for each."""

    def remove(self, number: int) -> Deferred[None]:
        """Forget a node that stops, with a `NodeGone` that says so, if it was there."""


class LeasedNodes:
    """The `Nodes` over a table. An item of the reaper, which renews the lease.

    :param name: what operators call this node.
    :param peer: HOST:PORT where other nodes reach it, or empty.
    :param version: of this release.
    """

    _log = Logger()

    def __init__(
        self, table: NodeTable, reaper: Reaper, *, name: str, peer: str, version: str
    ) -> None:
        self._table = table
        self._reaper = reaper
        self._myself = NodeRow(0, name, peer, version)
        self._others: dict[int, NodeRow] = {}
        self._busy = self._failing = self._stopped = False
        self._watch = LeaseWatch()
        self._renewed_at = 0.0
        self.joined: Listeners[[NodeRow]] = Listeners("nodes that come")
        self.gone: Listeners[[NodeRow]] = Listeners("nodes that are gone")
        self.renumbered: Listeners[[int]] = Listeners("this node's new number")
        self.due_bucket = 0

    @property
    def number(self) -> int:
        """See `Nodes.number`."""
        return self._myself.number

    @property
    def name(self) -> str:
        """See `Nodes.name`."""
        return self._myself.name

    def set_peer(self, peer: str) -> None:
        """Say where other nodes reach this one, which was found out after it was made and before it
        starts.

        :param peer: HOST:PORT.
        """
        self._myself = attrs.evolve(self._myself, peer=peer)

    def others(self) -> Sequence[NodeRow]:
        """See `Nodes.others`."""
        return [row for _, row in sorted(self._others.items())]

    def start(self) -> None:
        """See `Nodes.start`."""
        mine = self._myself
        self._myself = attrs.evolve(
            mine, number=self._table.add_now(mine.name, mine.peer, mine.version)
        )
        self._others = {row.number: row for row in self._table.rows_now()}
        self._others.pop(self.number, None)
        self._reaper.schedule(self, 0)

    def silent_for(self, number: int) -> float | None:
        """See `Nodes.silent_for`."""
        return self._watch.silent_for(number, self._reaper.seconds())

    def on_due(self, now: float) -> float | None:
        """Renew the lease, and look at the others'; see `Reaper.schedule`."""
        if self._stopped:
            return None
        # Unless it is planned otherwise by what is found.
        self._reaper.schedule(self, RENEW_AFTER)
        if not self._busy:
            self._busy = True
            renewing = maybeDeferred(self._table.renew, self.number)
            renewing.addCallback(self._renewed, now)
            renewing.addErrback(self._not_renewed)
            renewing.addBoth(self._at_rest)
        return None

    def _renewed(self, leases: Sequence[Lease], asked_at: float) -> Deferred[None] | None:
        self._failing = False
        if self._stopped:
            return None
        others = [each for each in leases if each.node != self.number]
        if len(others) == len(leases):
            return self._take_number()
        self._renewed_at = asked_at
        over = self._watch.look(others, asked_at)
        self._plan()
        for lease in self._watch.renewed:
            # Mostly known: unless its lease seemed to be over when this node began.
            self._comes(lease.row)
        return self._table.forget(over) if over else None

    def _plan(self) -> None:
        """Look again when it is time to renew, or when the first lease of another one is over. All
        know when that is: one after the other looks, until they are told."""
        now = self._reaper.seconds()
        due = self._renewed_at + RENEW_AFTER - now
        first = self._watch.first_end(now)
        if first is not None:
            turn = sum(node < self.number for node in self._watch.nodes)
            due = min(due, first + min(_IN_TURN * turn, _LAST_TURN))
        self._reaper.schedule(self, max(due, 0.0))

    def _take_number(self) -> Deferred[None]:
        old, mine = self.number, self._myself

        def taken(number: int) -> None:
            self._log.warn(
                "the lease of node {old} was over: this node is number {number} from now",
                old=old,
                number=number,
            )
            self._myself = attrs.evolve(mine, number=number)
            self._others.pop(number, None)
            self.renumbered.tell(old)

        return self._table.add(mine.name, mine.peer, mine.version).addCallback(taken)

    def _not_renewed(self, failure: Failure) -> None:
        # It is tried again; if the lease is over by then, that is found out.
        if not self._failing:
            self._failing = True
            self._log.warn("the lease was not renewed: {reason}", reason=failure.getErrorMessage())

    def _at_rest(self, _: object) -> None:
        self._busy = False

    def told(self, control: Control) -> None:
        """See `Nodes.told`."""
        if isinstance(control, NodeJoined):
            self._comes(NodeRow(control.node, control.name, control.peer, control.version))
        elif isinstance(control, NodeGone):
            if control.node == self.number:
                # Somebody found our lease over: not to wait for the next look.
                self._reaper.schedule(self, 0)
            else:
                self._watch.forget(control.node)
                if not self._stopped and not self._busy:
                    self._plan()
                row = self._others.pop(control.node, None)
                if row is not None:
                    self.gone.tell(row)

    def _comes(self, row: NodeRow) -> None:
        # A number of our own is told before it was answered, perhaps.
        mine = attrs.evolve(self._myself, number=row.number)
        if row.number != self.number and row.number not in self._others:
            if self._busy and row == mine:
                return
            self._others[row.number] = row
            self.joined.tell(row)

    def stop(self) -> Deferred[None]:
        """See `Nodes.stop`."""
        self._stopped = True
        self._reaper.cancel(self)
        return self._table.remove(self.number).addErrback(
            lambda failure: self._log.warn(
                "the lease goes on: {reason}", reason=failure.getErrorMessage()
            )
        )


class MemoryNodeTable:
    """A `NodeTable` in memory, which several nodes in one process share.

    :param seconds: the clock of the leases.
    :param log: tells what happens.
    """

    def __init__(self, seconds: Callable[[], float], log: EventLog) -> None:
        self._seconds = seconds
        self._log = log
        self._rows: dict[int, NodeRow] = {}
        self._leases: dict[int, tuple[int, float]] = {}
        self._stamps = 0
        self._given = 0
        #: Told of each node that is forgotten, before the log tells it.
        self.removed: Listeners[[int]] = Listeners("nodes that are forgotten")

    def add_now(self, name: str, peer: str, version: str) -> int:
        """See `NodeTable.add_now`."""
        self._given += 1
        number = self._given
        self._rows[number] = NodeRow(number, name, peer, version)
        self._stamp(number)
        self._log.append(control_draft(NodeJoined(number, name, peer, version)))
        return number

    def rows_now(self) -> Sequence[NodeRow]:
        """See `NodeTable.rows_now`."""
        now = self._seconds()
        return [row for number, row in self._rows.items() if now - self._leases[number][1] < LEASE]

    def add(self, name: str, peer: str, version: str) -> Deferred[int]:
        """See `NodeTable.add`."""
        return succeed(self.add_now(name, peer, version))

    def renew(self, number: int) -> Deferred[Sequence[Lease]]:
        """See `NodeTable.renew`."""
        now = self._seconds()
        if number in self._rows:
            self._stamp(number)
        return succeed(
            [Lease(self._rows[node], stamp, now - at) for node, (stamp, at) in self._leases.items()]
        )

    def forget(self, leases: Sequence[Lease]) -> Deferred[None]:
        """See `NodeTable.forget`."""
        for each in leases:
            if self._leases.get(each.node, (None, 0))[0] == each.stamp:
                self._remove(each.node)
        return succeed(None)

    def _stamp(self, number: int) -> None:
        self._stamps += 1
        self._leases[number] = self._stamps, self._seconds()

    def remove(self, number: int) -> Deferred[None]:
        """See `NodeTable.remove`."""
        if number in self._rows:
            self._remove(number, stopped=True)
        return succeed(None)

    def _remove(self, number: int, *, stopped: bool = False) -> None:
        del self._rows[number], self._leases[number]
        self.removed.tell(number)
        self._log.append(control_draft(NodeGone(number, stopped)))
