"""Slow mode: so many seconds between what one person says and what they say next, in one room.

What it is: `SlowMode`, when each of those who spoke in a slow room did so last.

What it may know: a clock's seconds, ids, paths of contexts, what the log tells. Not why a room is
slow, nor who is exempt.

Invariant: what is said counts once, on whichever node it is said: each sees it in the log. What was
refused, or did not get there, counts not at all. Nothing is kept of rooms that are not slow, and of
the others only who spoke within the longest time that has to be waited.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import SlowModeOn
from cometd_chat.events.kinds import kind_of
from cometd_chat.events.record import Record

#: Seconds between looks for who may speak again.
FORGET_EVERY = 60.0

#: So many of them are forgotten before others have their turn.
_FORGET_AT_ONCE = 1000


class SlowMode:
    """When people spoke last in rooms that are slow. An item of the reaper while there are any.

    :param reaper: whose seconds count.
    :param seconds_of: how slow the room of a context is, by its path; 0 where it is not.
    """

    def __init__(self, reaper: Reaper, seconds_of: Callable[[str], float]) -> None:
        self._reaper = reaper
        self._seconds_of = seconds_of
        # By path and identity, the one who spoke last comes last.
        self._spoke: OrderedDict[tuple[str, str], float] = OrderedDict()
        # The most that was asked for while any of these were noted.
        self._longest = 0.0
        self.due_bucket = 0

    def __len__(self) -> int:
        return len(self._spoke)

    def take(self, path: str, identity: str) -> Callable[[], None]:
        """Somebody says something now.

        :returns: to be called when it was not said: then it counts not.
        :raises SlowModeOn: they said something so short a time ago.
        """
        seconds = self._seconds_of(path)
        if not seconds:
            return _nothing
        now, key = self._reaper.seconds(), (path, identity)
        before = self._spoke.get(key)
        if before is not None and now - before < seconds:
            wait = seconds - (now - before)
            raise SlowModeOn(
                f"This room is in slow mode, a message every {_counted(seconds)}: "
                f"yours can be sent in {_counted(math.ceil(wait))}.",
                retry_after=wait,
            )
        self._note(key, now, seconds)

        def not_said() -> None:
            if self._spoke.get(key) == now:
                if before is None:
                    del self._spoke[key]
                else:
                    self._spoke[key] = before

        return not_said

    def told(self, records: Sequence[Record]) -> None:
        """Something was said, on any node; see `EventLog.follow`."""
        # Few rooms are slow, and a node is told of forty records of one room at once.
        slow = {
            path: seconds
            for path in {record.context for record in records}
            if (seconds := self._seconds_of(path))
        }
        for record in records if slow else ():
            seconds = slow.get(record.context, 0.0)
            if seconds and kind_of(record.type).counted:
                key, now = (record.context, record.sender), self._reaper.seconds()
                # Here it was noted when it came, which is what its sender goes by.
                if now - self._spoke.get(key, -math.inf) >= seconds:
                    self._note(key, now, seconds)

    def _note(self, key: tuple[str, str], now: float, seconds: float) -> None:
        self._spoke[key] = now
        self._spoke.move_to_end(key)
        self._longest = max(self._longest, seconds)
        if not self.due_bucket:
            self._reaper.schedule(self, FORGET_EVERY)

    def on_due(self, now: float) -> float | None:
        """Forget who may speak again; see `Reaper.schedule`."""
        for _ in range(_FORGET_AT_ONCE):
            if not self._spoke:
                self._longest = 0.0
                return None
            if now - next(iter(self._spoke.values())) < self._longest:
                return FORGET_EVERY
            self._spoke.popitem(last=False)
        return 0.0


def _counted(seconds: float) -> str:
    """A time in words."""
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < 120 else f"{math.ceil(whole / 60)} min"


def _nothing() -> None: ...
