"""Where what somebody reads goes.

What it is: the seam between a subscription and whatever takes its events: `Sink`, which a held
stream, a poll and the queue of a Bayeux session keep, and `HeldSink`, which has an end as well.

What it may know: batches of events. Not rooms, not the log, not how anything is written.

Invariant: a sink takes events in order. What it has no room for it refuses from one event on; it
is offered that one again, and says when. So a bounded sink loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from cometd_chat.events.event import Batch


class SinkListener(Protocol):
    """Who hears when there is room again."""

    def on_ready(self) -> None:
        """The sink takes more: go on where it said *not now*."""


class Sink(Protocol):
    """What takes the events of a subscription."""

    @property
    def congested(self) -> bool:
        """Whether it is so far behind that only what is kept should be offered."""

    def offer(self, batch: Batch) -> int:
        """Take what has just been said.

        :returns: 0 when all of it was taken; else *not now*: the id of the first kept event that
            was not. Nothing after that is taken either until `SinkListener.on_ready`.
        """

    def replay(self, page: Batch) -> int:
        """Take a page of a backlog.

        :returns: as `offer`.
        """

    def ready(self) -> bool:
        """Whether the next page of a backlog may be replayed; if not,
        `SinkListener.on_ready` is called once it may."""


class HeldListener(SinkListener, Protocol):
    """Who hears what becomes of a request that is held."""

    def on_progress(self, at: float) -> None:
        """The peer has taken bytes of ours.

        :param at: when it last did, in the reaper's seconds.
        """

    def make_heartbeat(self) -> Batch:
        """Nothing was written for a heartbeat: the heartbeat that says how far the stream is."""

    def on_rotate(self) -> None:
        """The stream has grown as long as one response should: end it, and let another begin."""

    def on_timeout(self) -> None:
        """A poll has been held for as long as it asked for: answer it."""

    def on_lost(self) -> None:
        """The peer is gone, or was cut; nothing more can be taken."""

    def reads(self) -> tuple[str, Sequence[str]]:
        """Who reads, and which rooms, for who runs the daemon; empty where that is not known."""


class SinkGroup(Protocol):
    """Sinks that are alike, to which the same is written."""

    # Its sinks are all of one class, which this one knows; so are their listeners.
    def offer(
        self, sinks: Sequence[Any], batch: Batch, failed: Callable[[Any, Exception], None]
    ) -> None:
        """Offer to many sinks of the group what has just been said; none of them refuses it.

        No listener is called before all have been written to.

        :param sinks: none of them has ended.
        :param failed: told of the listener of one that could not be written to.
        """


class HeldSink(Sink, Protocol):
    """A sink that begins and ends: an unfinished request that we go on writing to."""

    @property
    def transport(self) -> str:
        """The name of its transport."""

    @property
    def one_shot(self) -> bool:
        """Whether the first events end it."""

    @property
    def together(self) -> SinkGroup | None:
        """The group of sinks that are alike, once it is held; None when it is offered alone."""

    def hold(self, listener: HeldListener, hello: Batch) -> None:
        """Begin: a stream's head and ``hello`` go out at once."""

    def end(self, batch: Batch | None) -> None:
        """Write the last events, if there are any, and finish the response."""

    def cut(self) -> None:
        """Drop the connection without a word: its peer is not listening."""

    def look(self) -> None:
        """Find out whether the peer has taken anything since the last look."""


class StandingListener(Protocol):
    """Who hears that a poll begins again."""

    def again(self) -> bool:
        """Its client asks for what comes after the last answer.

        :returns: False when that is to be looked at as any other request is; nothing has been done
            then.
        """

    def let_go(self) -> None:
        """It was at rest, and nobody will ask it anew."""


class StandingSink(HeldSink, Protocol):
    """A sink that is ended by its first events, and may begin again as it was."""

    def stand(self, listener: StandingListener) -> None:
        """Tell this one of that; called before it is held."""

    def rest(self, batch: Batch, cursor: bytes, at: float) -> None:
        """Write the last events and finish the response; the next request may be for what comes
        after a cursor.

        :param at: the moment, as `Reaper.coarse_now` gives it.
        """

    def forget(self) -> None:
        """It begins no more."""
