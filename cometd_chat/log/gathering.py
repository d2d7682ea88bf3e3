"""What is said in one turn of the reactor, given to the log together.

What it is: `Gathering`, by which drafts go to an `EventLog`.

What it may know: a log, the end of a turn, and a bound on memory. Not what a log does with drafts,
not who says them.

Many post at the same time. Were each draft given to the log as it comes, the first would be
committed alone, and the log's thread would fight with the reactor's, which is still reading the
others, for Python's one lock. So what comes in one turn of the reactor is one batch, shares a
commit and is answered together. Nobody waits for that: the log's thread can't run before the
reactor waits for its next events, and that is when it is given the batch. Where 64 post all the
time, a commit holds 42 posts instead of 11; where 8 do, 6 instead of 4, and three times as many are
answered in a second.

Invariant: drafts are stored in the order in which they came, whoever sent them; each is answered
once, after the followers of the log were told of all of its batch. What waits is bounded, in number
and in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from cometd_chat.errors import StorageUnavailable
from cometd_chat.events.record import Draft, Record
from cometd_chat.log.log import EventLog, Outcome

#: How many drafts may wait to be durable.
MOST_WAITING = 10_000

#: And how many bytes of memory they may take; not more than a quarter of all that may be held. What
#: waits can't be let go, for it may be stored already: it must not have all others cut for it.
MOST_BYTES = 64 * 2**20

#: What each of them takes beside its text, about, in bytes: its request, and all that goes on when
#: that has its answer.
DRAFT_SIZE = 4096

#: And how often its text is there: as it came, as it was read, as it is said.
_COPIES = 4

#: Seconds after which a sender may try again.
_RETRY = 1.0


class Ceiling(Protocol):
    """The bound on all that is held; see `transports.budget.MemoryBudget`."""

    @property
    def limit(self) -> int:
        """In bytes."""

    def require(self, size: int) -> None:
        """See that there is room for so many bytes.

        :raises MemoryShort: there is none.
        """

    def account(self, change: int, kind: Literal["posts"]) -> None:
        """So many bytes more, or fewer, are held."""


@attrs.define(eq=False)
class _Batch:
    """What one turn brings: drafts, the answer to each, and the bytes that they take."""

    drafts: list[Draft] = attrs.field(factory=list)
    answers: list[Deferred[Record]] = attrs.field(factory=list)
    size: int = 0


class Gathering:
    """Gives drafts to a log, those of one turn together.

    :param log: where they are kept.
    :param after_turn: calls something when the reactor has seen to what came in its turn, and
        before it goes on with long work: the disk writes while that goes on, and not after it.
    :param ceiling: where what waits counts.
    :param most_waiting: how many drafts may wait.
    :param most_bytes: how many bytes they may take.
    """

    def __init__(
        self,
        log: EventLog,
        after_turn: Callable[[Callable[[], None]], object],
        ceiling: Ceiling,
        *,
        most_waiting: int = MOST_WAITING,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._log = log
        self._after_turn = after_turn
        self._ceiling = ceiling
        self._most_waiting = most_waiting
        self._most_bytes = min(most_bytes, ceiling.limit // 4)
        # Of this turn.
        self._gathered = _Batch()
        #: Of this turn, and those that the log has and has not answered: how many, and their bytes.
        self.waiting = 0
        self.bytes = 0

    def append(self, draft: Draft, size: int) -> Deferred[Record]:
        """Make a draft durable; see `EventLog.append`. Cancelling the result does not stop that.

        :param size: how much is said in it, see `Record.size`.
        :raises StorageUnavailable: too much waits, or it was not written.
        :raises MemoryShort: there is no room for it in memory.
        """
        held = DRAFT_SIZE + _COPIES * size
        if self.waiting >= self._most_waiting or self.bytes + held > self._most_bytes:
            return fail(
                StorageUnavailable(
                    "More is being said than can be stored. Send it again in a moment.",
                    retry_after=_RETRY,
                )
            )
        try:
            self._ceiling.require(held)
        except Exception:
            return fail()
        self.waiting += 1
        self.bytes += held
        self._ceiling.account(held, "posts")
        answer: Deferred[Record] = Deferred()
        gathered = self._gathered
        gathered.drafts.append(draft)
        gathered.answers.append(answer)
        gathered.size += held
        if len(gathered.drafts) == 1:
            self._after_turn(self.hand_over)
        return answer

    def hand_over(self) -> None:
        """Give the log what this turn has brought so far."""
        batch = self._gathered
        if not batch.drafts:
            return
        self._gathered = _Batch()
        storing = self._log.append_all(batch.drafts)
        told = (batch,)
        storing.addCallbacks(self._answer, self._refuse, callbackArgs=told, errbackArgs=told)

    def _answer(self, outcomes: Sequence[Outcome], batch: _Batch) -> None:
        self._let_go(batch)
        for answer, outcome in zip(batch.answers, outcomes, strict=True):
            if isinstance(outcome, Exception):
                answer.errback(outcome)
            else:
                answer.callback(outcome)

    def _refuse(self, failure: Failure, batch: _Batch) -> None:
        error = failure.value
        assert error is not None
        self._let_go(batch)
        for answer in batch.answers:
            # Where it was raised for one is nothing to the next.
            answer.errback(error.with_traceback(None))

    def _let_go(self, batch: _Batch) -> None:
        self.waiting -= len(batch.drafts)
        self.bytes -= batch.size
        self._ceiling.account(-batch.size, "posts")
