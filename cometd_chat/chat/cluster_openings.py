"""The openings of one of several nodes, by the bus.

What it is: `ClusterOpenings`, which gathers what sessions open here that are on other nodes as
well, and tells those.

What it may know: sessions, the bus, the sweep.

Invariant: it sends one message a tick, of at most `MOST_TOLD` openings; what was over by then is
not told, nor is what is too much.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from cometd_chat.chat.openings import Opening
from cometd_chat.chat.sessions import HeldResource, Session
from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.log.bus import Bus

TOPIC = "opened"

#: Seconds between two messages. Most polls of a busy room are over by then.
TICK = 0.1

#: So many openings are told at a time.
MOST_TOLD = 50

#: Seconds for which what a window opens here is newer than what it is said to have opened
#: elsewhere; and of so many windows that is known.
NEWER_FOR = 1.0
MOST_NEWER = 10_000


class Told(msgspec.Struct, array_like=True, frozen=True):
    """See `Opening`."""

    session: str
    client: str | None
    most: int | None
    count: int


_decode = msgspec.json.Decoder(list[Told]).decode


class ClusterOpenings:
    """The `Openings` of one of several nodes. An item of the reaper while there is something to
    tell.

    :param is_elsewhere: whether a session is on other nodes, too, as far as is known.
    """

    def __init__(self, bus: Bus, reaper: Reaper, is_elsewhere: Callable[[Session], bool]) -> None:
        self.elsewhere: Listeners[[Opening]] = Listeners("openings elsewhere")
        self._bus = bus
        self._reaper = reaper
        self._is_elsewhere = is_elsewhere
        self._waiting: dict[tuple[str, str | None, int | None], tuple[Session, HeldResource]] = {}
        self._opened_at: OrderedDict[tuple[str, str], float] = OrderedDict()
        self.due_bucket = 0
        bus.subscribe(TOPIC, self._heard)

    def opened(self, session: Session, newest: HeldResource) -> None:
        """See `Openings.opened`."""
        if not self._is_elsewhere(session):
            return
        if newest.client is not None:
            window = session.id, newest.client
            self._opened_at[window] = self._reaper.coarse_now()
            self._opened_at.move_to_end(window)
            if len(self._opened_at) > MOST_NEWER:
                self._opened_at.popitem(last=False)
        if len(self._waiting) < MOST_TOLD:
            self._waiting[session.id, newest.client, newest.most] = session, newest
            if not self.due_bucket:
                self._reaper.schedule(self, TICK)

    def on_due(self, now: float) -> float | None:
        """Tell what is held still; see `Reaper.schedule`."""
        waiting, self._waiting = self._waiting, {}
        told = [
            Told(id, client, most, sum(each.most == most for each in session.readers))
            for (id, client, most), (session, held) in waiting.items()
            if held in session.readers
        ]
        if told:
            self._bus.publish(TOPIC, msgspec.json.encode(told))
        return None

    def _heard(self, node: int, message: bytes) -> None:
        for told in _decode(message):
            client = told.client
            if client is not None:
                at = self._opened_at.get((told.session, client))
                if at is not None and self._reaper.coarse_now() - at < NEWER_FOR:
                    client = None
            self.elsewhere.tell(Opening(told.session, client, told.most, told.count))
