"""How long a peer may take: for the head of a request, for its body, for taking the answer.

What it is: where a channel is between two requests, and the one item of the sweep that it has.

What it may know: the sweep's seconds. Not what is sent.

Invariant: whatever trickles in or out, each phase but a route's own ends. A head has a time in all;
bodies and answers have to keep a least rate.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

import attrs

from cometd_chat.comet.reaper import Reaper

#: Bytes a second that a body has to come with, and an answer to go with.
LEAST_RATE = 500


class Phase(Enum):
    """Where a channel is."""

    IDLE = auto()  #: Between two requests.
    HEAD = auto()  #: A head has begun.
    BODY = auto()
    ROUTE = auto()  #: A route has it: what that may take is its own affair.
    ANSWER = auto()  #: Before what was written has left, nothing more is read.
    LINGER = auto()  #: Refused; what the peer still sends is dropped.
    FOREIGN = auto()  #: The same, of what was no HTTP.
    END = auto()  #: To be closed once all that was written has left.


@attrs.frozen
class _Limit:
    """How long a phase may last.

    :param seconds: so long in any case.
    :param rated: and then for as long as the least rate is kept.
    """

    seconds: float
    rated: bool = False


#: Seconds for a head; for a body or an answer before the least rate counts. Of the second one as
#: long as a stream may make no progress by default.
HEAD, BODY, ANSWER = 20.0, 20.0, 60.0

#: After a refusal a peer may go on sending for so many seconds. Closing at once would reset the
#: connection, and the reset would destroy the answer before it is read.
LINGER = 2.0

#: The same for what is no HTTP, which has nothing more to say.
FOREIGN = 0.5

#: Seconds after which a connection that is to be closed is cut.
END = 15.0

_LIMITS = {
    Phase.HEAD: _Limit(HEAD),
    Phase.BODY: _Limit(BODY, rated=True),
    Phase.ANSWER: _Limit(ANSWER, rated=True),
    Phase.LINGER: _Limit(LINGER),
    Phase.FOREIGN: _Limit(FOREIGN),
    Phase.END: _Limit(END),
}

#: Those that are over sooner than what may be scheduled already.
_SHORT = frozenset({Phase.HEAD, Phase.BODY, Phase.LINGER, Phase.FOREIGN, Phase.END})


class Timed(Protocol):
    """What has these timeouts."""

    @property
    def unsent(self) -> int:
        """Bytes that were written and have not left this process."""

    def too_slow(self, phase: Phase) -> None:
        """A phase has lasted too long."""


class _Nobody:
    """Whose timeouts they are when they are no channel's any more."""

    unsent = 0

    def too_slow(self, phase: Phase) -> None: ...


_NOBODY = _Nobody()


class PhaseTimeouts:
    """The timeouts of one channel.

    :param idle: seconds that a channel may be idle.
    """

    __slots__ = ("_done", "_idle", "_left", "_reaper", "_since", "_timed", "due_bucket", "phase")

    def __init__(self, timed: Timed, reaper: Reaper, idle: float) -> None:
        self._timed = timed
        self._reaper = reaper
        self._idle = _Limit(idle)
        self.due_bucket = 0
        self.phase = Phase.IDLE
        self._since = reaper.coarse_now()
        # Bytes that have come in this phase, and those that were to leave at its beginning.
        self._done = self._left = 0

    def enter(self, phase: Phase) -> None:
        """A phase begins now."""
        self.phase = phase
        self._since = self._reaper.coarse_now()
        self._done = 0
        self._left = self._timed.unsent if phase in (Phase.ANSWER, Phase.END) else 0

    def came(self, size: int) -> None:
        """So many bytes have come."""
        self._done += size

    @property
    def came_so_far(self) -> int:
        """Bytes that have come in this phase."""
        return self._done

    def watch(self) -> None:
        """Nothing more happens in this turn: see to it that the phase's end is looked at."""
        if self.phase is not Phase.ROUTE and (not self.due_bucket or self.phase in _SHORT):
            self._reaper.schedule(self, self._remaining(self._reaper.seconds()))

    def stop(self) -> None:
        """It is no channel's any more.

        The channel is let go as well: they name each other, and what is taken from the sweep may
        lie in it until its time comes. Of all who came in the last minute by the slow way there
        would be a channel each, 3 kB, that nobody uses.
        """
        self._reaper.cancel(self)
        self._timed = _NOBODY

    def _remaining(self, now: float) -> float:
        limit = self._idle if self.phase is Phase.IDLE else _LIMITS[self.phase]
        if self._left:
            # Whether the connection is to be closed or not, its peer is to have the answer.
            limit = _LIMITS[Phase.ANSWER]
            self._done = self._left - self._timed.unsent
        rated = self._done / LEAST_RATE if limit.rated else 0
        return self._since + limit.seconds + rated - now

    def on_due(self, now: float) -> float | None:
        """The sweep's look; see `Reaper.schedule`."""
        if self.phase is Phase.ROUTE:
            return None
        remaining = self._remaining(now)
        if remaining > 0:
            return remaining
        self._timed.too_slow(self.phase)
        return None
