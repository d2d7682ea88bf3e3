"""A poll that stands: held, answered, and asked anew with the cursor of its answer.

What it is: `StandingPoll`, which takes the place of a `HeldPoll` where a client polls again and
again on one connection. Its next request is known beforehand, byte for byte; its answers are those
of all who are told the same.

What it may know: its place, a framing, the sweep. Not the log, not rooms, not who is reading.

Invariant: what a client sees of it is what it would see of polls that are held one after the other.
At rest it is nobody's reader and counts nowhere, and after `KEPT` seconds of that it is gone.
"""

from __future__ import annotations

from typing import Protocol

from cometd_chat.events.event import Batch
from cometd_chat.transports.framings import Framing
from cometd_chat.transports.held import HeldListener, HoldPolicy
from cometd_chat.transports.standing import Repeatable

#: Seconds for which one that was answered waits to be asked anew. Who comes later is no worse off
#: than any other client; meanwhile its memory is that of a held poll.
KEPT = 10.0


class StandingListener(HeldListener, Protocol):
    """Who hears what becomes of a poll that stands."""

    def again(self) -> bool:
        """Its client asks for what comes after the last answer.

        :returns: False when that is to be looked at as any other request is; nothing has been done
            then.
        """

    def let_go(self) -> None:
        """It was at rest, and nobody will ask it anew."""


class StandingPoll:
    """A poll that stands on its connection. A `StandingRequest` there, and a sink of the chat.

    :param wait: seconds after which it is answered whatever happens.
    :param cursor: the one in the target of the first request.
    """

    code = 200

    __slots__ = (
        "_after",
        "_before",
        "_block",
        "_counts",
        "_framing",
        "_given",
        "_head",
        "_hold_policy",
        "_listener",
        "_over",
        "_place",
        "_rested_at",
        "_wait",
        "_waiting",
        "began",
        "due_bucket",
        "method",
        "path",
        "sentLength",
    )

    _listener: StandingListener

    def __init__(
        self,
        request: Repeatable,
        cursor: str,
        framing: Framing,
        hold_policy: HoldPolicy,
        *,
        wait: float,
    ) -> None:
        self.method, self.path = request.method, request.path
        before, name, rest = request.target.partition(b"cursor=")
        #: The request line before and after its cursor, and the other lines of the head.
        self._before = b"%b %b%b" % (request.method, before, name)
        self._after = b"%b HTTP/1.1\r\n" % rest.removeprefix(cursor.encode("ascii"))
        self._block = request.block
        self._place = request.place
        self._head = request.head
        self._framing = framing
        self._hold_policy = hold_policy
        self._counts = hold_policy.stats.transport(hold_policy.transport)
        self._wait = wait
        #: The cursor of the last answer.
        self._given = b""
        self._waiting = self._over = False
        #: When the request came that is under way, or was answered last; and when it was answered.
        self.began = self._rested_at = 0.0
        self.sentLength = 0
        self.due_bucket = 0

    # -- for its connection; see `StandingRequest`

    def again(self, data: bytes) -> bool:
        """See `StandingRequest.again`. The hot path of polls."""
        line = self._before + self._given + self._after
        size = len(line)
        if (
            data.startswith(line)
            and data.startswith(self._block, size)
            and len(data) == size + len(self._block) + 2
            and data.endswith(b"\r\n")
        ):
            self.began = self._hold_policy.reaper.coarse_now()
            self._waiting = True
            self._counts.held += 1
            if self._listener.again():
                return True
            self._waiting = False
            self._counts.held -= 1
        self.lost()
        return False

    def lost(self) -> None:
        """See `StandingRequest.lost`."""
        if self._waiting:
            self._end()
            self._listener.on_lost()
        else:
            self._listener.let_go()

    # -- for what reads; see `HeldSink`

    @property
    def transport(self) -> str:
        return self._hold_policy.transport

    @property
    def one_shot(self) -> bool:
        return True

    @property
    def congested(self) -> bool:
        return False

    def ready(self) -> bool:
        """Always: it is answered by its first events."""
        return True

    def look(self) -> None:
        """A request is progress of its client's, and nothing is noted of it but when it came."""
        self._listener.on_progress(self.began)

    def stand(self, listener: StandingListener) -> None:
        """From here on this one is told what becomes of it."""
        self._listener = listener

    def hold(self, listener: HeldListener, hello: Batch) -> None:
        """Wait. (A poll's answer says where it stands by itself: it has no use for `hello`.)"""
        self.began = self._hold_policy.reaper.coarse_now()
        self._waiting = True
        self._counts.held += 1
        self._place.stand(self)
        self._hold_policy.reaper.schedule(self, min(self._wait, KEPT))

    def offer(self, batch: Batch) -> int:
        """Answer with events, for the last time."""
        self.end(batch)
        return 0

    replay = offer

    @property
    def together(self) -> None:
        """It is offered alone."""

    def rest(self, batch: Batch, cursor: bytes, at: float) -> None:
        """Answer with events, and wait to be asked for what comes after a cursor.

        :param at: the moment; see `AnswerHead.answer`.
        """
        self._waiting = False
        self._given = cursor
        self._rested_at = at
        # `Batch.framed` and `_answer`, spelt out: this is the hot path of polls.
        made = batch.made.get(self._framing) or batch.make(self._framing)
        body, _, size = made
        counts = self._counts
        counts.held -= 1
        counts.bytes_sent += size
        counts.delivered += batch.kept
        self.sentLength = size
        self._place.answer(self, self._head.answer(body, at), at)

    def end(self, batch: Batch | None) -> None:
        """Answer with events, if it was asked for any, for the last time."""
        if not self._waiting:
            return
        self._end()
        at = self._hold_policy.reaper.coarse_now()
        if batch is None:
            self._answer(b"", 0, at)
        else:
            self._answer(batch.framed(self._framing), batch.kept, at)

    def cut(self) -> None:
        if self._waiting:
            self._end()
            self._listener.on_lost()
            self._place.cut()

    def forget(self) -> None:
        """It is asked for nothing more."""
        self._over = True
        self._hold_policy.reaper.cancel(self)
        self._place.forget(self)

    def _answer(self, body: bytes, kept: int, at: float) -> None:
        counts = self._counts
        counts.bytes_sent += len(body)
        counts.delivered += kept
        self.sentLength = len(body)
        self._place.answer(self, self._head.answer(body, at), at)

    def _end(self) -> None:
        self._waiting = False
        self._counts.held -= 1
        self.forget()

    def on_due(self, now: float) -> float | None:
        """The sweep's look; see `Reaper.schedule`. It comes often enough to find it at rest for too
        long, and once at least in the time that it is held, so that nothing need be scheduled when
        it is answered or asked."""
        often = min(self._wait or KEPT, KEPT)
        if self._waiting:
            left = self.began + self._wait - now
            if left > 0:
                return min(left, often)
            self._listener.on_timeout()
            return None if self._over else often
        left = self._rested_at + KEPT - now
        if left > 0:
            return min(left, often)
        self._listener.let_go()
        return None
