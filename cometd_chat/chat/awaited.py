"""Cursors that are ahead of this process.

What it is: `AwaitedIds`, those who came with a cursor that was given out elsewhere, where the log
was told a moment earlier, and wait until it is told here as well.

What it may know: ids, the sweep. Not who waits.

Invariant: nobody waits for longer than `PATIENCE`, and no more than `MOST` at once.
"""

from __future__ import annotations

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError, StorageUnavailable

#: Seconds after which an id that did not come was never given out. Less than any client of ours
#: waits for the first sign of life from a transport.
PATIENCE = 2.0

#: So many wait at once, a hundred bytes each and the request that they hold.
MOST = 1000

#: Seconds after which one comes again who found no place to wait.
RETRY = 1.0


@attrs.define(eq=False)
class _Waiting:
    """One who waits; an item of the reaper."""

    awaited: AwaitedIds
    id: int
    answer: Deferred[bool] = attrs.field(init=False)
    due_bucket: int = 0

    def __attrs_post_init__(self) -> None:
        self.answer = Deferred(lambda _: self.awaited.drop(self))

    def on_due(self, now: float) -> float | None:
        self.awaited.drop(self)
        self.answer.callback(False)
        return None


class AwaitedIds:
    """Who waits for the log to come somewhere.

    :param reaper: its sweep ends what takes too long.
    """

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._waiting: dict[_Waiting, None] = {}
        self._stopped: ChatError | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def wait_for(self, id: int, last_id: int) -> Deferred[bool]:
        """Wait until the log has come to an id; False when it does not in time.

        :param last_id: where it stands.
        :raises StorageUnavailable: too many wait already.
        :raises ChatError: what `stop` was given.
        """
        if id <= last_id:
            return succeed(True)
        if self._stopped is not None:
            return fail(self._stopped)
        if len(self._waiting) >= MOST:
            return fail(
                StorageUnavailable(
                    "What you have read is not known here yet. Try again in a moment.",
                    retry_after=RETRY,
                )
            )
        waiting = _Waiting(self, id)
        self._waiting[waiting] = None
        self._reaper.schedule(waiting, PATIENCE)
        return waiting.answer

    def told(self, last_id: int) -> None:
        """The log has come this far."""
        # Mostly there is nobody: this is called for each batch.
        if self._waiting:
            for each in [each for each in self._waiting if each.id <= last_id]:
                self.drop(each)
                each.answer.callback(True)

    def stop(self, error: ChatError) -> None:
        """Refuse all who wait, and who comes from now on."""
        self._stopped = error
        for each in list(self._waiting):
            self.drop(each)
            each.answer.errback(error)

    def drop(self, waiting: _Waiting) -> None:
        """Somebody waits no longer."""
        self._waiting.pop(waiting, None)
        self._reaper.cancel(waiting)
