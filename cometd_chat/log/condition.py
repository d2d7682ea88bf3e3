"""How a log that is kept elsewhere does.

What it is: `Condition`, what a node knows of its way to the database; for operators and for those
who balance over several nodes.

What it may know: numbers.

Invariant: what was not looked at lately counts as bad.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

#: Seconds out of reach, deaf or behind after which a node is of no use to new readers, and how many
#: records behind.
MOST_SECONDS = 5.0
MOST_RECORDS = 1000


@attrs.frozen
class Condition:
    """How it is now.

    :param unreachable_for: seconds since the database last answered anything, if it should have.
    :param lag_records: how many records are known to be there and were not told here.
    :param lag_seconds: for how long there have been any.
    :param deaf_for: seconds since this node last heard its own bell, if it should have.
    :param bells: how many were heard since the start, by what they were good for: ``inline`` had
        the records in them, ``read`` said only that there are some, ``missed`` were found out by
        looking.
    :param commits: how many commits this node made since the start.
    :param commit_seconds: how long they took together.
    :param doubts: how many commits were in doubt: the answer to them was lost.
    :param queue_usage: how much of PostgreSQL's queue of notifications is in use, from 0 to 1.
    :param epoch: the number of the newest epoch.
    """

    unreachable_for: float
    lag_records: int
    lag_seconds: float
    deaf_for: float
    bells: Mapping[str, int]
    commits: int
    commit_seconds: float
    doubts: int
    queue_usage: float
    epoch: int

    @property
    def trouble(self) -> str:
        """Why this node should get no new readers; empty when it may."""
        if self.unreachable_for >= MOST_SECONDS:
            return "the database is out of reach"
        if self.deaf_for >= MOST_SECONDS:
            return "the database's notifications do not arrive"
        if self.lag_records > MOST_RECORDS or self.lag_seconds >= MOST_SECONDS:
            return "this node is behind what others have stored"
        return ""
