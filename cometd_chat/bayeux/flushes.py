"""Who is to be looked at because something was queued, and when.

What it is: the clients whose queues have changed, looked at after the reactor's turn in which they
did, and those with lazy messages, which may wait for others.

What it may know: clients, the reaper. Not how anything goes out.

Invariant: what is queued in one turn goes out together; thousands of clients do not hold the
reactor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
from twisted.logger import Logger

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.comet.reaper import Reaper
from cometd_chat.comet.slices import CLOCK_EVERY, CallSoon, Slices


@attrs.define(eq=False)
class _LazyWait:
    """A client's lazy messages are waiting. An item of the reaper."""

    flushes: Flushes
    client: BayeuxClient
    until: float
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        self.flushes.lazy_over(self.client)
        return None


class Flushes:
    """Who is to be looked at.

    :param call_soon: calls something after the reactor's current turn.
    :param flush: looks at a client.
    """

    _log = Logger()

    def __init__(
        self, reaper: Reaper, call_soon: CallSoon, flush: Callable[[BayeuxClient], None]
    ) -> None:
        self._reaper = reaper
        self._call_soon = call_soon
        self._flush = flush
        self._slices = Slices(reaper.seconds, call_soon)
        self._scheduled: dict[BayeuxClient, None] = {}
        # Whether a walk is under way, or the call that begins one.
        self._walking = False
        self._lazy: dict[BayeuxClient, _LazyWait] = {}

    def schedule(self, client: BayeuxClient) -> None:
        """Look at a client after this turn."""
        self._scheduled[client] = None
        # Spelt out: this is called for everybody who is to hear a message.
        if not self._walking:
            self._begin_soon()

    def wait_lazily(self, client: BayeuxClient, seconds: float) -> None:
        """Look at a client in so many seconds; an earlier time that was set counts."""
        until = self._reaper.seconds() + seconds
        wait = self._lazy.get(client)
        if wait is None:
            wait = self._lazy[client] = _LazyWait(self, client, until)
        elif wait.until <= until:
            return
        wait.until = until
        self._reaper.schedule(wait, seconds)

    def lazy_over(self, client: BayeuxClient) -> None:
        """What is lazy has waited long enough."""
        self._lazy.pop(client, None)
        client.queue.promote_lazy()
        self.schedule(client)

    def forget(self, client: BayeuxClient) -> None:
        """A client has ended."""
        wait = self._lazy.pop(client, None)
        if wait is not None:
            self._reaper.cancel(wait)
        self._scheduled.pop(client, None)

    def _begin_soon(self) -> None:
        self._walking = True
        self._call_soon(self._begin)

    def _begin(self) -> None:
        scheduled, self._scheduled = self._scheduled, {}
        self._slices.walk(self._steps(scheduled), self._done, every=1)

    def _steps(self, clients: dict[BayeuxClient, None]) -> Iterator[None]:
        """Look at clients, `CLOCK_EVERY` a step: a step each would cost as much as a look."""
        for count, client in enumerate(clients, 1):
            try:
                self._flush(client)
            except Exception:
                self._log.failure("a client could not be looked at")
            if count % CLOCK_EVERY == 0:
                yield

    def _done(self) -> None:
        self._walking = False
        if self._scheduled:
            self._begin_soon()
