"""The subscription of a poll, which is answered once.

What it is: `PollSubscription`, a `HeldSubscription` whose first events are its end.

What it may know: what that may.

Invariant: its answer says where to go on, which is never more than what was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from cometd_chat.chat.held_subscription import HeldSubscription, SharedResponses
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.shared_state import RoomSet, cut
from cometd_chat.chat.sink import HeldSink
from cometd_chat.chat.subscription import State
from cometd_chat.comet import CometEvent, Reason
from cometd_chat.events.event import Batch, Event

# See there.
_LIVE = State.LIVE


class PollSubscription(HeldSubscription):
    """The subscription of a poll: its first events, or its time, are its end.

    :param client: the window that it is for, if it says so.
    """

    __slots__ = ("client",)

    def __init__(
        self,
        shared: SharedResponses,
        rooms: RoomSet,
        sink: HeldSink,
        point: ResumePoint,
        *,
        client: str | None,
        **options: Any,
    ) -> None:
        super().__init__(shared, rooms, sink, point, **options)
        self.client = client

    #: See `OneShotHandler`.
    one_shot: Literal[True] = True

    def hold(self, point: ResumePoint, *, at_once: bool) -> None:
        """See `HeldSubscription.hold`."""
        if at_once:
            self._untold = point
        super().hold(point, at_once=at_once)

    def _replay(self, page: Batch) -> int:
        if not self.still_reads():
            return 0
        chosen = self._chosen(page) if self.chorus is self._shared.choosy else page
        self._finish(chosen if chosen is not None and chosen.events else None)
        return 0

    def _offer(self, batch: Batch) -> int:
        self._finish(batch)
        return 0

    def _finish(self, batch: Batch | None) -> None:
        """The last events, with where to go on."""
        cursor = self.cursor
        if self._end(expired=False):
            self._sink.end(self._shared.poll_response(batch, cursor))

    def on_batch(self, told: Sequence[CometEvent]) -> None:
        """Something was said. What doesn't fit is not lost: the cursor of the answer is that of
        its last event."""
        self._take(self._shared.batch(told))

    def take_chosen(self, batch: Batch) -> None:
        """See `HeldSubscription.take_chosen`: what is not for it does not answer it."""
        chosen = self._chosen(batch)
        if chosen is not None:
            self._take(chosen)
        elif self.state is _LIVE:
            self.position = max(self.position, batch.last_id)

    def tell(self, event: Event) -> None:
        """See `HeldSubscription.tell`: it is its answer."""
        if self.state is _LIVE and self.still_reads():
            self._finish(Batch([event]))

    def _take(self, batch: Batch) -> None:
        if self.state is not _LIVE:
            return
        rest = batch.after(self.position)
        if rest is None:
            return
        fitting = cut(rest.events)
        self._become(State.BEHIND)
        self._put(rest if len(fitting) == len(rest.events) else Batch(fitting), self._offer)

    def on_interrupt(self, event: CometEvent) -> None:
        """It was held for longer than anybody may be, or its peer is gone."""
        cursor = self.cursor
        if self._end(expired=event.attachment is Reason.EXPIRED):
            self._sink.end(self._shared.poll_response(None, cursor))

    def on_timeout(self) -> None:
        """It was held for as long as it may be."""
        self._finish(None)

    def answer_now(self) -> None:
        """Let it go with nothing new: another one has taken its place."""
        self._finish(None)
