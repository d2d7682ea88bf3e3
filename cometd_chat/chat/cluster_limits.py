"""The limits of one of several nodes.

What it is: `ClusterLimits`. Each node counts by itself, as a single process does; but what a
session says, all of them see in the log, so each takes it from the session's buckets.

What it may know: what the log tells, which of it was said here. Not who is behind a session's id.

Invariant: what a session says counts once on each node, wherever it was said; so nodes together let
pass as much of it as one does, and what fits into the time that news takes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from cometd_chat.chat.limits import MESSAGES, TEXT
from cometd_chat.chat.local_limits import FORGET_EVERY, LocalLimits
from cometd_chat.comet.reaper import Reaper
from cometd_chat.events.record import Record
from cometd_chat.log.control import CONTROL
from cometd_chat.log.log import EventLog


class ClusterLimits(LocalLimits):
    """The `Limits` of one of several nodes.

    :param log: what is said, on any node.
    """

    deepest = 2.0

    def __init__(self, reaper: Reaper, log: EventLog, *, on: bool = True) -> None:
        super().__init__(reaper, on=on)
        # How much of each session is on its way to the log from here, and was counted.
        self._on_its_way: dict[str, int] = {}
        if on:
            log.follow(self._said)

    def posting(self, session: str) -> Callable[[bool], None]:
        """See `Limits.posting`."""
        if not self.on:
            return super().posting(session)
        self._on_its_way[session] = self._on_its_way.get(session, 0) + 1

        def posted(told: bool) -> None:
            if not told:
                self._arrived(session)

        return posted

    def _arrived(self, session: str) -> bool:
        """Something that was on its way has come, or will not; whether there was anything."""
        left = self._on_its_way.get(session, 0) - 1
        if left > 0:
            self._on_its_way[session] = left
        else:
            self._on_its_way.pop(session, None)
        return left >= 0

    def _said(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.context != CONTROL and not self._arrived(record.sender):
                self._take_of(record.sender, record.size)

    def _take_of(self, session: str, size: int) -> None:
        """What was said on another node is taken here, though there is not so much left: it has
        passed."""
        now = self._seconds()
        for limit, amount in ((MESSAGES, 1), (TEXT, size)):
            rate = limit.session
            if rate is not None:
                # No deeper than it is high: that is what forgetting reckons with.
                left = self._left(rate, session, now) - amount
                buckets = self._buckets.setdefault(rate, OrderedDict())
                buckets[session] = (max(left, -rate.burst), now)
                buckets.move_to_end(session)
        if not self.due_bucket:
            self._reaper.schedule(self, FORGET_EVERY)
