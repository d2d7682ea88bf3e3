"""Requests that are held: the only code that writes to an unfinished request.

What it is: `HeldStream` goes on writing until somebody ends it, `HeldPoll` waits for its one
answer.

What it may know: the request, a framing, the sweep. Not the log, not rooms, not who is reading.

Invariant: a response is finished by whoever brought the request (`HoldableRequest.release`), and a
peer that goes is told by `lost`. What is held for one reader stays within its budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from cometd_chat.comet.reaper import Reaper
from cometd_chat.events.event import Batch
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.framings import Framing
from cometd_chat.transports.request import HoldableRequest
from cometd_chat.transports.stats import TransportStats

#: Seconds that a reader may be over its budget without its TCP acknowledging anything.
STALLED_AFTER = 2.0

#: Seconds between looks whether the reader of a backlog has taken what was sent.
PACE = 0.05

#: A reader this many times over its budget is cut at once.
HARD_LIMIT_FACTOR = 4


class HeldListener(Protocol):
    """Who hears what becomes of a held request."""

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
        """The peer is gone, or was cut; nothing more can be written."""


class HeldRequest(Protocol):
    """An unfinished request that we go on writing to."""

    @property
    def transport(self) -> str:
        """The name of its transport."""

    @property
    def one_shot(self) -> bool:
        """Whether the first events end it."""

    def hold(self, listener: HeldListener, hello: Batch) -> None:
        """Begin: a stream's head and ``hello`` go out at once."""

    def send(self, batch: Batch) -> None:
        """Write events."""

    def replay(self, page: Batch) -> None:
        """Write a page of a backlog: it does not count against the reader's budget, and the next
        one waits for `drained`."""

    def end(self, batch: Batch | None) -> None:
        """Write the last events, if there are any, and finish the response."""

    def cut(self) -> None:
        """Drop the connection without a word: its peer is not listening."""

    def look(self) -> None:
        """Find out whether the peer has taken anything since the last look."""

    def drained(self) -> Deferred[None]:
        """Fires when the peer has taken what was written, or is gone."""

    @property
    def congested(self) -> bool:
        """Whether the peer is so far behind that only what is kept should be sent."""


@attrs.frozen
class RotationLimits:
    """How long one response should grow, for clients whose memory grows with it.

    :param events: so many events,
    :param bytes: or so many bytes, whichever comes first; or so long as each stream is told.
    """

    events: int
    bytes: int


@attrs.frozen
class HoldPolicy:
    """How requests are held at a transport; one object for all of them.

    :param transport: its name, see `table.Transport`.
    :param heartbeat: seconds of silence after which a heartbeat is written.
    :param budget: bytes that a reader may be behind, see the option ``--reader-budget``.
    :param wear: how long one may grow; None for as long as it lives.
    """

    transport: str
    reaper: Reaper
    stats: TransportStats
    heartbeat: float
    budget: int
    wear: RotationLimits | None = None
    #: The bound over all that is held.
    memory: MemoryBudget = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Frozen is for everybody else; it stands here since it is asked for at each write.
        object.__setattr__(self, "memory", self.stats.memory)


class _Held(ABC):
    """What streams and polls have in common: they begin, end once, and are told of a lost peer."""

    __slots__ = ("_counts", "_framing", "_hold_policy", "_listener", "_request", "due_bucket")

    def __init__(self, request: HoldableRequest, framing: Framing, hold_policy: HoldPolicy) -> None:
        self._request = request
        self._framing = framing
        self._hold_policy = hold_policy
        self._counts = hold_policy.stats.transport(hold_policy.transport)
        # There is one from the beginning to the end.
        self._listener: HeldListener | None = None
        self.due_bucket = 0

    @property
    def transport(self) -> str:
        return self._hold_policy.transport

    @property
    def one_shot(self) -> bool:
        return self._framing.one_shot

    def _begin(self, listener: HeldListener) -> None:
        self._listener = listener
        self._counts.held += 1
        self._request.hold(self)

    def lost(self) -> None:
        self._detach(told=True)

    def _detach(self, *, told: bool) -> bool:
        """Stop once and for all; False when that has happened before."""
        listener, self._listener = self._listener, None
        if listener is None:
            return False
        self._hold_policy.reaper.cancel(self)
        self._counts.held -= 1
        if told:
            listener.on_lost()
        return True

    def cut(self) -> None:
        if self._detach(told=True):
            self._request.cut()

    @abstractmethod
    def on_due(self, now: float) -> float | None:
        """The sweep's look at it; see `Reaper.schedule`."""


class HeldPoll(_Held):
    """A long poll: held until there is something to say, then answered and done.

    :param wait: seconds after which it is answered all the same.
    """

    __slots__ = ("_wait",)

    def __init__(
        self, request: HoldableRequest, framing: Framing, hold_policy: HoldPolicy, *, wait: float
    ) -> None:
        super().__init__(request, framing, hold_policy)
        self._wait = wait

    def hold(self, listener: HeldListener, hello: Batch) -> None:
        """Wait. (A poll's answer says where it stands by itself: it has no use for `hello`.)"""
        self._begin(listener)
        self._hold_policy.reaper.schedule(self, self._wait)

    def send(self, batch: Batch) -> None:
        self.end(batch)

    def end(self, batch: Batch | None) -> None:
        if not self._detach(told=False):
            return
        body = b"" if batch is None else batch.framed(self._framing)
        counts = self._counts
        counts.bytes_sent += len(body)
        counts.delivered += 0 if batch is None else batch.kept
        self._request.setHeader(b"content-length", b"%d" % len(body))
        self._request.write(body)
        self._request.release()

    def replay(self, page: Batch) -> None:
        self.end(page)

    def look(self) -> None:
        """It is answered long before it could expire."""

    def drained(self) -> Deferred[None]:
        # It is over with its first events: nothing is under way that could be waited for.
        return succeed(None)

    @property
    def congested(self) -> bool:
        return False

    def on_due(self, now: float) -> float | None:
        if self._listener is not None:
            self._listener.on_timeout()
        return None


@implementer(IPushProducer)
class HeldStream(_Held):
    """A response without an end, with a heartbeat and a bound on how far its reader is behind.

    There are thousands: what is the same for all is in their `HoldPolicy`.
    """

    __slots__ = (
        "_acknowledged",
        "_acknowledged_at",
        "_batch",
        "_chunked",
        "_direct",
        "_replayed",
        "_unmeasured",
        "_waiting",
        "_written_at",
    )

    def __init__(self, request: HoldableRequest, framing: Framing, hold_policy: HoldPolicy) -> None:
        super().__init__(request, framing, hold_policy)
        self._direct: Any = None
        self._chunked: Literal[0, 1] = 0
        self._waiting: tuple[Deferred[None], ...] = ()
        # Bytes of body: taken by the peer when last measured, and not known to be taken since;
        # written with the backlog, and in the last batch.
        self._acknowledged = 0
        self._unmeasured = 0
        self._replayed = 0
        self._batch = 0
        self._written_at = self._acknowledged_at = hold_policy.reaper.coarse_now()

    @property
    def _written(self) -> int:
        """Bytes of body written in all."""
        return self._acknowledged + self._unmeasured

    # -- the life of the stream

    def hold(self, listener: HeldListener, hello: Batch) -> None:
        self._begin(listener)
        hold_policy, request = self._hold_policy, self._request
        hold_policy.memory.add(self)
        # Lines for people say no hello; their head goes out at once all the same.
        first = self._framing.begin() + hello.framed(self._framing)
        self._account(len(first), hold_policy.reaper.coarse_now())
        request.write(first)
        # Which of a batch's two forms is written, see `Batch.make`.
        self._direct, self._chunked = request.direct, 1 if request.chunked else 0
        hold_policy.reaper.schedule(self, hold_policy.heartbeat)

    def send(self, batch: Batch) -> None:
        """Write events.

        The hot path, run for each reader of each message: `_put` and what it calls, spelt out,
        since each call costs as much as what it does.
        """
        if self._listener is None:
            return
        made = batch.made.get(self._framing) or batch.make(self._framing)
        size = made[2]
        hold_policy, counts, direct = self._hold_policy, self._counts, self._direct
        now = batch.written_at
        if not now:
            now = batch.written_at = hold_policy.reaper.seconds()
        self._written_at = now
        if not self._unmeasured:
            self._acknowledged_at = now
        self._batch = size
        self._unmeasured += size
        counts.bytes_sent += size
        counts.delivered += batch.kept
        hold_policy.memory.held += size
        if direct is None:
            self._request.write(made[0])
        else:
            twisted_internals.send(direct, made[self._chunked])
        if self._unmeasured > hold_policy.budget:
            self._judge()
        if hold_policy.memory.held > hold_policy.memory.trigger:
            hold_policy.memory.relieve()
        if hold_policy.wear is not None:
            self._grow(hold_policy.wear, len(batch.events), now)

    def replay(self, page: Batch) -> None:
        if self._listener is None:
            return
        now = self._hold_policy.reaper.seconds()
        self._put(page, now)
        self._replayed = self._written
        if self._hold_policy.wear is not None:
            self._grow(self._hold_policy.wear, len(page.events), now)

    def _put(self, batch: Batch, now: float) -> int:
        """Write a batch, and say how many bytes of body it was."""
        made = batch.make(self._framing)
        size = len(made[0])
        self._counts.delivered += batch.kept
        if not size:
            return 0
        self._account(size, now)
        if self._direct is None:
            self._request.write(made[0])
        else:
            twisted_internals.send(self._direct, made[self._chunked])
        return size

    def _account(self, size: int, now: float) -> None:
        """So many bytes are written."""
        self._written_at = now
        if not self._unmeasured:
            # Until now there was nothing to acknowledge: the time to do it begins here.
            self._acknowledged_at = now
        self._unmeasured += size
        self._counts.bytes_sent += size
        self._hold_policy.memory.account(size)

    def _grow(self, wear: RotationLimits, events: int, now: float) -> None:
        """So many events more were written. This one doesn't wear; see `RotatingStream`."""

    def end(self, batch: Batch | None) -> None:
        if not self._detach(told=False):
            return
        last = b"" if batch is None else batch.framed(self._framing)
        last += self._framing.end()
        counts = self._counts
        counts.bytes_sent += len(last)
        counts.delivered += 0 if batch is None else batch.kept
        if self._direct is not None:
            # For the access log; the request has not seen what went past it.
            self._request.sentLength = self._written
        if last:
            self._request.write(last)
        self._release()
        self._request.release()

    def _detach(self, *, told: bool) -> bool:
        first = super()._detach(told=told)
        if first:
            self._hold_policy.memory.remove(self, self._unmeasured)
            self._unmeasured = 0
            if told:
                self._release()
        return first

    @property
    def over(self) -> bool:
        """See `budget.Holder`."""
        return self._listener is None

    @property
    def congested(self) -> bool:
        half = self._hold_policy.budget // 2
        return self._unmeasured > half and self.measure() > half

    # -- the pace of a backlog (IPushProducer while there is one, called by the transport's buffer)

    def pauseProducing(self) -> None:
        """The buffer is full; the next page waits for `drained` anyway."""

    def resumeProducing(self) -> None:
        """The buffer is empty."""
        self._release_drained()

    def stopProducing(self) -> None:
        """The connection is lost, which `lost` tells."""

    def drained(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        if not self._waiting:
            self._request.tell_drained(self)
        self._waiting += (waiting,)
        self._release_drained()
        return waiting

    def _release_drained(self) -> None:
        """Let the backlog go on when half of the budget is free.

        The transport tells when its own buffer is empty; what the kernel still holds is only
        known by asking, so the sweep asks again.
        """
        if not self._waiting:
            return
        if self._listener is None or self.measure() <= self._hold_policy.budget // 2:
            self._release()
        else:
            self._hold_policy.reaper.schedule(self, PACE)

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, ()
        if waiting:
            self._request.tell_no_more()
        for each in waiting:
            each.callback(None)

    # -- the sweep: progress, slow readers, heartbeats

    def on_due(self, now: float) -> float | None:
        """Seconds until the next look; see `Reaper.schedule`."""
        hold_policy = self._hold_policy
        if self._request.notice_end():
            # It is told by `lost`; or it has expired, when it can't be.
            return hold_policy.heartbeat if self._listener is not None else None
        if self._waiting:
            # A backlog is on its way, as fast as its reader takes it: no budget, no heartbeat.
            self._release_drained()
            if self._listener is None:
                return None
            return PACE if self._waiting else hold_policy.heartbeat
        behind = self.measure()
        if behind > hold_policy.budget:
            stalled = now - self._acknowledged_at >= STALLED_AFTER
            if stalled and self._is_over(self._counted(behind)):
                self.shed(behind)
                return None
            return STALLED_AFTER
        silence = now - self._written_at
        if silence < hold_policy.heartbeat:
            return hold_policy.heartbeat - silence
        if self._listener is not None:
            self._put(self._listener.make_heartbeat(), now)
        if hold_policy.wear is not None:
            self._grow(hold_policy.wear, 0, now)
        return hold_policy.heartbeat if self._listener is not None else None

    def look(self) -> None:
        self.measure()

    def measure(self) -> int:
        """How far the reader is behind, in bytes; tells the listener of its progress."""
        transport = self._request.transport
        behind = twisted_internals.behind(transport)
        taken = self._unmeasured - behind
        if taken > 0 and twisted_internals.is_broken(transport):
            # What waits for a peer that is gone is counted no longer; that is no progress.
            return self._unmeasured
        # It can be more behind than was written: what frames the body is measured as well.
        self._acknowledged += taken
        self._unmeasured = behind
        self._hold_policy.memory.account(-taken)
        if taken > 0:
            reaper = self._hold_policy.reaper
            self._acknowledged_at = reaper.coarse_now()
            if self._listener is not None:
                ago = twisted_internals.acknowledged_ago(transport)
                self._listener.on_progress(reaper.past_moment(ago))
        return behind

    def _judge(self) -> None:
        """Look whether a reader that may be over its budget is.

        Asking the kernel costs a system call, so it is asked only when what was written since the
        last look could have passed the budget.
        """
        behind = self.measure()
        counted = self._counted(behind)
        stalled = self._hold_policy.reaper.seconds() - self._acknowledged_at >= STALLED_AFTER
        if self._is_over(counted) and (
            stalled or counted > HARD_LIMIT_FACTOR * self._hold_policy.budget
        ):
            self.shed(behind)
        elif behind > self._hold_policy.budget:
            self._hold_policy.reaper.schedule(self, STALLED_AFTER)

    def _counted(self, behind: int) -> int:
        """How much of that counts: what was written after the backlog."""
        return min(behind, self._written - self._replayed)

    def _is_over(self, counted: int) -> bool:
        """Whether that is over the budget; one batch alone, however large, never is."""
        return counted - self._batch > self._hold_policy.budget

    def shed(self, size: int) -> None:
        """Drop a reader that is so many bytes behind; see `budget.Holder`, too."""
        self._hold_policy.stats.cut_slow(self._hold_policy.transport, size)
        self.cut()


class RotatingStream(HeldStream):
    """A stream that is ended when it has grown as long as its hold_policy's `RotationLimits` says.

    :param rotate_at: when it is worn in any case, in the sweep's seconds.
    """

    __slots__ = ("_events", "_rotate_at")

    def __init__(
        self,
        request: HoldableRequest,
        framing: Framing,
        hold_policy: HoldPolicy,
        *,
        rotate_at: float,
    ) -> None:
        super().__init__(request, framing, hold_policy)
        self._rotate_at = rotate_at
        self._events = 0

    def _grow(self, wear: RotationLimits, events: int, now: float) -> None:
        self._events += events
        worn = self._events >= wear.events or self._written >= wear.bytes or now >= self._rotate_at
        if worn and not self._waiting and self._listener is not None:
            self._listener.on_rotate()
