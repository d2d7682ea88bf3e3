"""A log that is out of reach for long.

What it is: `Outage`, which sends those away who are held here, so that they look for a process that
hears more.

What it may know: the sweep, for how long the log is out of reach. Not who is held.

Invariant: whoever is held stays so for `LONG`, for most troubles are over by then; and each outage
sends away once.
"""

from __future__ import annotations

from collections.abc import Callable

from cometd_chat.comet.reaper import Reaper

#: Seconds for which the log may be out of reach before those who read are sent away, and within how
#: many they come back, not all at once.
LONG = 60.0
BACK_WITHIN = 10.0

#: Seconds between two looks.
_LOOK_EVERY = 1.0


class Outage:
    """Looks after a log that is elsewhere. An item of the reaper.

    :param unreachable_for: for how many seconds the log has been out of reach.
    :param send_away: lets all come back within so many seconds.
    """

    def __init__(
        self,
        reaper: Reaper,
        unreachable_for: Callable[[], float],
        send_away: Callable[[float], None],
    ) -> None:
        self._unreachable_for = unreachable_for
        self._send_away = send_away
        self._sent_away = False
        self.due_bucket = 0
        reaper.schedule(self, _LOOK_EVERY)

    def on_due(self, now: float) -> float | None:
        """See how long it has been; see `Reaper.schedule`."""
        long = self._unreachable_for() >= LONG
        if long and not self._sent_away:
            self._send_away(BACK_WITHIN)
        self._sent_away = long
        return _LOOK_EVERY
