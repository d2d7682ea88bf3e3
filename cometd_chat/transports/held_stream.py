"""Streams: responses that are written to until somebody ends them.

What it is: `HeldStream` writes, measures how far its peer is behind, and beats; `RotatingStream`
ends when it has grown as long as one response should.

What it may know: the request, a framing, the sweep, the kernel's figures of a connection. Not the
log, not rooms, not who is reading.

Invariant: what is held for one reader stays within its budget: past it the connection is cut, and
a backlog comes no faster than it is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from cometd_chat.events.event import Batch
from cometd_chat.transports import twisted_internals
from cometd_chat.transports.framings import Framing
from cometd_chat.transports.held import Held, HeldKind, HeldListener, HoldPolicy, RotationLimits
from cometd_chat.transports.request import HoldableRequest
from cometd_chat.transports.stats import SlowReader
from cometd_chat.transports.twisted_internals import PeerConnection

#: Seconds that a reader may be over its budget without its TCP acknowledging anything.
STALLED_AFTER = 2.0

#: Seconds between looks whether the reader of a backlog has taken what was sent.
PACE = 0.05

#: A reader this many times over its budget is cut at once.
HARD_LIMIT_FACTOR = 4


@implementer(IPushProducer)
class HeldStream(Held):
    """A response without an end, with a heartbeat and a bound on how far its reader is behind.

    There are thousands: what is the same for all is in their `HoldPolicy`.
    """

    __slots__ = (
        "_acknowledged",
        "_acknowledged_at",
        "_batch",
        "_direct",
        "_paused",
        "_replayed",
        "_unmeasured",
        "_written_at",
    )

    def __init__(self, request: HoldableRequest, framing: Framing, hold_policy: HoldPolicy) -> None:
        super().__init__(request, framing, hold_policy)
        self._direct: PeerConnection | None = None
        # A backlog is on its way, and its reader has to take some of it before there is more.
        self._paused = False
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
        request = self._request = request.settled()
        self._direct = request.direct
        if request.chunked:
            self._kind = hold_policy.kind(self._framing, 1)
        hold_policy.reaper.schedule(self, hold_policy.heartbeat)

    def offer(self, batch: Batch) -> int:
        """Write events. What is said to many goes by their `together` instead.

        :returns: 0: what is said is taken always, for a reader who is too far behind is cut.
        """
        if self._listener is None:
            return 0
        hold_policy = self._hold_policy
        now = batch.written_at
        if not now:
            now = batch.written_at = hold_policy.reaper.seconds()
        self._batch = self._put(batch, now)
        if self._unmeasured > hold_policy.budget:
            self._judge()
        if hold_policy.rotation is not None:
            self._grow(hold_policy.rotation, len(batch.events), now)
        return 0

    @property
    def together(self) -> StreamGroup | None:
        """What writes to this and others like it; None when it has to be offered alone."""
        if self._direct is None or self._framing.personal:
            return None
        group: StreamGroup | None = self._kind.group
        if group is None:
            group = self._kind.group = StreamGroup(self._kind)
        return group

    def replay(self, page: Batch) -> int:
        """Write a page of a backlog: it does not count against the reader's budget, and whoever
        has more of it asks whether the stream is `ready`.

        :returns: 0, as `offer`.
        """
        if self._listener is None:
            return 0
        now = self._hold_policy.reaper.seconds()
        self._put(page, now)
        self._replayed = self._written
        if self._hold_policy.rotation is not None:
            self._grow(self._hold_policy.rotation, len(page.events), now)
        return 0

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
            twisted_internals.send(self._direct, made[self._kind.chunked])
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

    def _grow(self, rotation: RotationLimits, events: int, now: float) -> None:
        """So many events more were written. This one has no bound; see `RotatingStream`."""

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
        """The buffer is full; the next page waits for `ready` anyway."""

    def resumeProducing(self) -> None:
        """The buffer is empty."""
        self._check_ready()

    def stopProducing(self) -> None:
        """The connection is lost, which `lost` tells."""

    def ready(self) -> bool:
        """Whether half of the budget is free, so that a backlog goes on; else
        `HeldListener.on_ready` is called as soon as it is."""
        if self._listener is None or self.measure() <= self._hold_policy.budget // 2:
            return True
        if not self._paused:
            self._paused = True
            # This may tell at once, and by then the peer may have taken what waited a moment ago:
            # then nothing more is told, and whoever asks goes on.
            self._request.tell_drained(self)
            if self._paused:
                self._hold_policy.reaper.schedule(self, PACE)
        return not self._paused

    def _check_ready(self) -> None:
        """Let the backlog go on when there is room.

        The transport tells when its own buffer is empty; what the kernel still holds is only
        known by asking, so the sweep asks again.
        """
        if not self._paused or self._listener is None:
            return
        if self.measure() <= self._hold_policy.budget // 2:
            self._release()
            self._listener.on_ready()
        else:
            self._hold_policy.reaper.schedule(self, PACE)

    def _release(self) -> None:
        """Nothing waits for the peer any longer."""
        if self._paused:
            self._paused = False
            self._request.tell_no_more()

    # -- the sweep: progress, slow readers, heartbeats

    def on_due(self, now: float) -> float | None:
        """Seconds until the next look; see `Reaper.schedule`."""
        hold_policy = self._hold_policy
        if self._request.notice_end():
            # It is told by `lost`; or it has expired, when it can't be.
            return hold_policy.heartbeat if self._listener is not None else None
        if self._paused:
            # A backlog is on its way, as fast as its reader takes it: no budget, no heartbeat.
            self._check_ready()
            if self._listener is None:
                return None
            return PACE if self._paused else hold_policy.heartbeat
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
        if hold_policy.rotation is not None:
            self._grow(hold_policy.rotation, 0, now)
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
        name, rooms = ("", ()) if self._listener is None else self._listener.reads()
        reader = SlowReader(self._hold_policy.transport, size, name, tuple(rooms))
        self._hold_policy.stats.cut_slow(reader)
        self.cut()


class StreamGroup:
    """Streams that are alike, whose bytes are the same."""

    __slots__ = ("_kind",)

    def __init__(self, kind: HeldKind) -> None:
        self._kind = kind

    def offer(
        self,
        streams: Sequence[HeldStream],
        batch: Batch,
        failed: Callable[[HeldListener, Exception], None],
    ) -> None:
        """Write events to all of some streams, as `HeldStream.offer` does for one.

        The hot path, run for each reader of each message: what is the same for all is looked up
        once, and nothing is called for each but its socket. Nobody hears of what becomes of their
        stream before all are written to.

        :param streams: of this group; none of them has ended.
        :param failed: told of one that could not be written to.
        """
        kind = self._kind
        policy = kind.policy
        made = batch.make(kind.framing)
        size, budget = made[2], policy.budget
        now = batch.written_at
        if not now:
            now = batch.written_at = policy.reaper.seconds()
        connections: list[PeerConnection] = []
        behind: list[HeldStream] = []
        if size:
            for stream in streams:
                unmeasured = stream._unmeasured
                if unmeasured:
                    unmeasured += size
                    if unmeasured > budget:
                        behind.append(stream)
                else:
                    # One number for all of them, and one object.
                    unmeasured = size
                    stream._acknowledged_at = now
                stream._unmeasured = unmeasured
                stream._written_at = now
                stream._batch = size
                connections.append(stream._direct)  # type: ignore[arg-type]
        kind.counts.bytes_sent += size * len(connections)
        kind.counts.delivered += batch.kept * len(streams)
        policy.memory.held += size * len(connections)
        failures = twisted_internals.send_to_all(connections, made[kind.chunked])
        for index, error in failures:
            listener = streams[index]._listener
            if listener is not None:
                failed(listener, error)
        for stream in behind:
            if stream._listener is not None:
                stream._judge()
        if policy.memory.held > policy.memory.trigger:
            policy.memory.relieve()
        if policy.rotation is not None:
            for stream in streams:
                stream._grow(policy.rotation, len(batch.events), now)


class RotatingStream(HeldStream):
    """A stream that is ended when it has grown as long as its policy's `RotationLimits` say.

    :param rotate_at: when it is long enough in any case, in the sweep's seconds.
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

    def _grow(self, rotation: RotationLimits, events: int, now: float) -> None:
        self._events += events
        is_long = (
            self._events >= rotation.events
            or self._written >= rotation.bytes
            or now >= self._rotate_at
        )
        if is_long and not self._paused and self._listener is not None:
            self._listener.on_rotate()
