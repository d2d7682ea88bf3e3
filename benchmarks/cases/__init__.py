"""What is measured, a module a case; each gives samples, a flat dictionary each.

What it is: `CASES`, the table of them, in the order in which they run.

What it may know: nothing of the cases but how long they take.

Invariant: a case that isn't here isn't run.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Case:
    """A case.

    :param once: seconds that its start takes about, on a quiet machine of two cores, with all
        clients that there are at scale 1.
    :param a_round: seconds of each round.
    """

    once: float
    a_round: float

    def seconds(self, rounds: int) -> float:
        """How long so many rounds take, about."""
        return self.once + rounds * self.a_round

    def bound(self, rounds: int) -> float:
        """How long they may take, on a machine that has much else to do."""
        return GRACE + SLACK * self.seconds(rounds)


#: Seconds that every case may take, and how many times as long as expected.
GRACE, SLACK = 300.0, 4.0

CASES = {
    "fanout": Case(190, 43),
    "lone": Case(15, 13),
    "accept": Case(12, 5),
    "mixed": Case(25, 8),
    "others": Case(15, 8),
    "flood": Case(40, 26),
    "memory": Case(400, 21),
    "heartbeat": Case(12, 15),
    "poll": Case(150, 44),
    "bayeux": Case(140, 37),
    "posts": Case(8, 14),
    "restart": Case(15, 7),
    "nodes": Case(40, 44),
    "startup": Case(0, 8),
}
