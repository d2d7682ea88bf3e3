"""How long nodes are silent, as one of them sees it.

What it is: `LeaseWatch`, which is shown all leases each time that this node looks at them, and says
whose are over.

What it may know: numbers, stamps, seconds. No table, no clock.

Invariant: time in which this node could see no leases, or in which the clock of the table went, is
nobody's silence. A node that says something each `RENEW_AFTER` seconds, if it can, is never
silent for `LEASE` seconds; one that is dead is, and not for longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

#: Seconds for which a node counts as there once it has said so, and after which it says so again.
LEASE = 15.0
RENEW_AFTER = 5.0

#: Who has not looked for so many seconds could not, and so could the others not say anything.
_MISSED = RENEW_AFTER + 2.0

#: Of a lease that is seen for the first time, or after a while, the age that is believed: for what
#: is left of it, its node has the time to say something.
_MOST_AT_ONCE = LEASE - RENEW_AFTER - 1.0


@attrs.frozen
class NodeRow:
    """A node.

    :param number: its own for ever.
    :param name: what operators call it; not unique.
    :param peer: HOST:PORT where other nodes reach it, or empty.
    :param version: of its release.
    """

    number: int
    name: str
    peer: str
    version: str


@attrs.frozen
class Lease:
    """A node's lease, as it was in the table when that was looked at.

    :param row: whose it is.
    :param stamp: another one each time that it is renewed.
    :param age: seconds since it was renewed, by the clock of the table. It is wrong after that was
        set.
    """

    row: NodeRow
    stamp: int
    age: float

    @property
    def node(self) -> int:
        """The number of its node."""
        return self.row.number


@attrs.frozen
class _Silent:
    """A node, for how many seconds it was silent when it was looked at, and when that was."""

    lease: Lease
    seconds: float


class LeaseWatch:
    """What one node sees of the leases of the others."""

    def __init__(self) -> None:
        #: Those that were renewed from the look before to the last one.
        self.renewed: Sequence[Lease] = ()
        self._silent: dict[int, _Silent] = {}
        self._looked_at: float | None = None

    def look(self, leases: Iterable[Lease], now: float) -> Sequence[Lease]:
        """See all leases that there are.

        :param now: seconds by this node's own clock when it began to look.
        :returns: those that are over, by number.
        """
        before, self._looked_at = self._looked_at, now
        elapsed = None if before is None or now - before > _MISSED else now - before
        most = _MOST_AT_ONCE if elapsed is None else min(elapsed, _MOST_AT_ONCE)
        seen: dict[int, _Silent] = {}
        renewed: list[Lease] = []
        for lease in leases:
            known = self._silent.get(lease.node)
            if known is None or known.lease.stamp != lease.stamp:
                seconds = min(max(lease.age, 0.0), most)
                if known is not None:
                    renewed.append(lease)
            else:
                seconds = known.seconds + (elapsed or 0.0)
            seen[lease.node] = _Silent(lease, seconds)
        self._silent, self.renewed = seen, renewed
        return [each.lease for _, each in sorted(seen.items()) if each.seconds >= LEASE]

    def forget(self, node: int) -> None:
        """A node is gone."""
        self._silent.pop(node, None)

    @property
    def nodes(self) -> Sequence[int]:
        """Those that were there, by number."""
        return sorted(self._silent)

    def silent_for(self, node: int, now: float) -> float | None:
        """For how many seconds a node has said nothing, so far as is known; None for no node."""
        known = self._silent.get(node)
        if known is None or self._looked_at is None:
            return None
        return known.seconds + now - self._looked_at

    def first_end(self, now: float) -> float | None:
        """In how many seconds the first lease would be over that is not yet; None without any."""
        silent = [each.seconds for each in self._silent.values() if each.seconds < LEASE]
        if not silent or self._looked_at is None:
            return None
        return LEASE - max(silent) - (now - self._looked_at)
