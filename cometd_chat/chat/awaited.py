"""Cursors that are ahead of this process, or of an epoch that it does not know.

What it is: `CatchingUp`, those who came with what was given out elsewhere, where the log was told a
moment earlier, and wait until all that is committed was told here as well.

What it may know: the sweep, and how one is told of it. Not who waits.

Invariant: nobody waits for longer than `PATIENCE`, and no more than `MOST` at once. Who has waited
in vain is refused for now, and not told that what she has was never given out.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, fail

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError, StorageUnavailable

#: Seconds after which somebody is refused for now. Less than any client of ours waits for the first
#: sign of life from a transport.
PATIENCE = 2.0

#: So many wait at once, a hundred bytes each and the request that they hold.
MOST = 1000

#: Seconds after which one comes again who found no place to wait, or has waited in vain.
RETRY = 1.0


@attrs.define(eq=False)
class _Waiting:
    """One who waits; an item of the reaper."""

    catching_up: CatchingUp
    answer: Deferred[None] = attrs.field(init=False)
    due_bucket: int = 0

    def __attrs_post_init__(self) -> None:
        self.answer = Deferred(lambda _: self.catching_up.drop(self))

    def on_due(self, now: float) -> float | None:
        self.catching_up.answer(self, behind())
        return None


class CatchingUp:
    """Who waits for the log to be told.

    :param catch_up: see `EventLog.catch_up`.
    :param reaper: its sweep ends what takes too long.
    """

    def __init__(self, catch_up: Callable[[], Deferred[None]], reaper: Reaper) -> None:
        self._catch_up = catch_up
        self._reaper = reaper
        self._waiting: dict[_Waiting, None] = {}
        self._stopped: ChatError | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self) -> Deferred[None]:
        """Wait until whatever is committed now was told here.

        :raises StorageUnavailable: it can't be known for now, or too many wait already.
        :raises ChatError: what `stop` was given.
        """
        if self._stopped is not None:
            return fail(self._stopped)
        if len(self._waiting) >= MOST:
            return fail(behind())
        waiting = _Waiting(self)
        self._waiting[waiting] = None
        self._reaper.schedule(waiting, PATIENCE)
        self._catch_up().addCallbacks(
            lambda _: self.answer(waiting), lambda failure: self.answer(waiting, failure.value)
        )
        return waiting.answer

    def stop(self, error: ChatError) -> None:
        """Refuse all who wait, and who comes from now on."""
        self._stopped = error
        for each in list(self._waiting):
            self.answer(each, error)

    def answer(self, waiting: _Waiting, error: BaseException | None = None) -> None:
        """Let somebody go on who still waits."""
        if waiting in self._waiting:
            self.drop(waiting)
            if error is None:
                waiting.answer.callback(None)
            else:
                waiting.answer.errback(error)

    def drop(self, waiting: _Waiting) -> None:
        """Somebody waits no longer."""
        self._waiting.pop(waiting, None)
        self._reaper.cancel(waiting)


def behind() -> StorageUnavailable:
    """The refusal of what can't be judged before this process knows more."""
    return StorageUnavailable(
        "What you have read is not known here yet. Try again in a moment.", retry_after=RETRY
    )
