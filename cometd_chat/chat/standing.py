"""The subscription of a poll that stands.

What it is: `StandingSubscription`, which rests where a `PollSubscription` ends, and begins again
where it was.

What it may know: what any subscription of a held request may.

Invariant: at rest it is only in the contexts of its rooms, and hears nothing there: all else, which
others could see or which counts somewhere, is let go of with each answer, and is taken anew, as of
any other poll, when it is asked anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cometd_chat.chat.held_subscription import PollAnswer, SharedResponses
from cometd_chat.chat.poll_subscription import PollSubscription
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.shared_state import RoomSet
from cometd_chat.chat.sink import StandingSink
from cometd_chat.chat.subscription import State
from cometd_chat.comet import CometEvent
from cometd_chat.events.event import Batch

if TYPE_CHECKING:
    from cometd_chat.chat.rights import Grant
    from cometd_chat.chat.rooms import Room

# See there.
_LIVE = State.LIVE
_RESTING = State.RESTING


class StandingSubscription(PollSubscription):
    """The subscription of a poll that may be asked anew.

    :param grant: what its client was found to may.
    :param at_once: it is answered even when there is nothing to say.
    """

    __slots__ = ("_at_once", "_grant")

    _sink: StandingSink

    def __init__(
        self,
        grant: Grant[Room],
        shared: SharedResponses,
        rooms: RoomSet,
        sink: StandingSink,
        point: ResumePoint,
        *,
        at_once: bool,
        **options: Any,
    ) -> None:
        super().__init__(shared, rooms, sink, point, **options)
        self._grant = grant
        self._at_once = at_once
        sink.stand(self)

    @property
    def resting(self) -> bool:
        """Whether it hears nothing now."""
        return self.state is _RESTING

    # -- asked anew

    def again(self) -> bool:
        """See `StandingListener.again`."""
        shared = self._shared
        feed = shared.feed
        last_id = feed.tail.last_id
        behind = last_id - self.position
        page: tuple[Batch | None, bool] | None = (None, True)
        if behind:
            if behind > feed.max_behind:
                return False
            page = shared.page(self.position, self._rooms)
        if page is None or not shared.begins_again(self, self._grant):
            return False
        said, is_all = page
        position = self.position if said is None else said.last_id
        if said is not None and self.chorus is shared.choosy:
            said = self._chosen(said)
        self.state = _LIVE if is_all else State.BEHIND
        if said is not None:
            self.position = position
            self._finish(said)
        else:
            self.position = last_id if is_all else position
            if self._at_once:
                self._finish(None)
        return True

    # -- answered

    def on_batch(self, told: Sequence[CometEvent]) -> None:
        """See `PollSubscription.on_batch`: the same, but that whoever is level is given what the
        one before was given."""
        if self.state is not _LIVE:
            return
        shared = self._shared
        if told is not shared.standing_told:
            shared.answer_standing(told)
        answer = shared.standing_answer
        if answer is None or answer.first_id <= self.position:
            super().on_batch(told)
            return
        self.position = answer.position
        self._rest(answer)

    def _finish(self, batch: Batch | None) -> None:
        if self.state is State.CATCHING_UP:
            # It reads what is older, at its first time: this is an end like any other poll's.
            super()._finish(batch)
        elif self.state is not _RESTING:
            self._rest(self._shared.poll_answer(batch, self.current))

    def _rest(self, answer: PollAnswer) -> None:
        self.state = _RESTING
        self._shared.ended(self)
        self._terms.on_end(self, False)
        self._sink.rest(answer.batch, answer.cursor, answer.at)

    # -- the end

    def leave(self, room: str) -> bool:
        """See `HeldSubscription.leave`. At rest it holds nothing in any room that could be let go
        of: all of it ends, and it is asked anew like any other."""
        return self.state is not _RESTING and super().leave(room)

    def let_go(self) -> None:
        """See `StandingListener.let_go`."""
        self._end(expired=False)

    def _end(self, *, expired: bool) -> bool:
        if self.state is not _RESTING:
            return super()._end(expired=expired)
        # All that counts was let go of when it was answered.
        self.end()
        for context in self._rooms.contexts:
            context.remove_handler(self)
        self._sink.forget()
        return False
