"""Requests that are held: the only code that writes to an unfinished request.

What it is: `HeldStream` goes on writing until somebody ends it, `HeldPoll` waits for its one
answer.

What it may know: the request, a framing, the sweep. Not the log, not rooms, not who is reading.

Invariant: a response is finished by whoever brought the request (`HoldableRequest.release`), and a
peer that goes is told by `lost`. What is held for one reader stays within its budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from cometd_chat.comet.reaper import Reaper
from cometd_chat.transports import below
from cometd_chat.transports.event import Event
from cometd_chat.transports.framings import Framing
from cometd_chat.transports.ledger import Ledger

#: Seconds that a reader may be over its budget without its TCP acknowledging anything.
STALLED_AFTER = 2.0

#: Seconds between looks whether the reader of a backlog has taken what was sent.
PACE = 0.05

#: A reader this many times over its budget is cut at once.
HOPELESS = 4


def user_timeout(expiration_delay: float, heartbeat: float) -> float:
    """Seconds that a peer has to acknowledge what was sent, for one that vanished to be found
    within the expiration delay.

    A heartbeat may pass before anything is sent to it; then the kernel's clock runs, from the
    first time that it sends the same again, which is a fraction of a second later.

    :param expiration_delay: in seconds.
    :param heartbeat: in seconds, at most half of that.
    """
    return max(expiration_delay - heartbeat - 1, expiration_delay / 4)


class HeldListener(Protocol):
    """Who hears what becomes of a held request."""

    def on_progress(self) -> None:
        """The peer has taken bytes of ours."""

    def on_silence(self) -> Event:
        """Nothing was written for a heartbeat: the heartbeat that says how far the stream is."""

    def on_worn(self) -> None:
        """The stream has grown as long as one response should: end it, and let another begin."""

    def on_overdue(self) -> None:
        """A poll has been held for as long as it asked for: answer it."""

    def on_lost(self) -> None:
        """The peer is gone, or was cut; nothing more can be written."""


class PeerListener(Protocol):
    """Who is told that a peer has gone."""

    def lost(self) -> None:
        """It has."""


class HoldableRequest(Protocol):
    """A request that can be held, whoever brought it: Klein, or the fast lane."""

    @property
    def transport(self) -> Any:
        """Where its peer is."""

    def hold(self, held: PeerListener) -> None:
        """From here on ``held.lost`` is called when the peer goes."""

    def write(self, data: bytes) -> None:
        """Write a piece of the body; with the first one the head goes out."""

    def setHeader(self, name: Any, value: Any) -> None:
        """Set a header of the response, before anything is written."""

    def tell_drained(self, producer: object) -> None:
        """Call ``producer.resumeProducing`` when nothing more waits in this process, each time,
        until `tell_no_more` is called."""

    def tell_no_more(self) -> None:
        """It need not be told of that any longer."""

    def release(self) -> None:
        """The response is complete: the connection may go on with the next request."""

    def cut(self) -> None:
        """Drop the connection: the response gets no proper end."""


class HeldRequest(Protocol):
    """An unfinished request that we go on writing to."""

    @property
    def one_shot(self) -> bool:
        """Whether the first events end it."""

    def hold(self, listener: HeldListener, hello: Event) -> None:
        """Begin: a stream's head and ``hello`` go out at once."""

    def send(self, events: Sequence[Event]) -> None:
        """Write events, oldest first."""

    def replay(self, events: Sequence[Event]) -> None:
        """Write a page of a backlog: it does not count against the reader's budget, and the next
        one waits for `drained`."""

    def end(self, events: Sequence[Event]) -> None:
        """Write the last events and finish the response."""

    def cut(self) -> None:
        """Drop the connection without a word: its peer is not listening."""

    def drained(self) -> Deferred[None]:
        """Fires when the peer has taken what was written, or is gone."""

    @property
    def strained(self) -> bool:
        """Whether the peer is so far behind that only what is kept should be sent."""


@attrs.frozen
class Wear:
    """How long one response should grow, for clients whose memory grows with it.

    :param events: so many events,
    :param bytes: so many bytes,
    :param seconds: or so many seconds, whichever comes first.
    """

    events: int
    bytes: int
    seconds: float


class _Held(ABC):
    """What streams and polls have in common: they begin, end once, and are told of a lost peer."""

    __slots__ = (
        "_counts",
        "_ended",
        "_framing",
        "_listener",
        "_reaper",
        "_request",
        "due_bucket",
    )

    def __init__(
        self, request: HoldableRequest, framing: Framing, *, reaper: Reaper, ledger: Ledger
    ) -> None:
        self._request = request
        self._framing = framing
        self._reaper = reaper
        self._counts = ledger.door(framing.door)
        self._listener: HeldListener | None = None
        self._ended = False
        self.due_bucket = 0

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
        if self._ended:
            return False
        self._ended = True
        self._reaper.cancel(self)
        listener, self._listener = self._listener, None
        if listener is not None:
            self._counts.held -= 1
            if told:
                listener.on_lost()
        return True

    def _write(self, data: bytes) -> None:
        self._counts.bytes_sent += len(data)
        self._request.write(data)

    def _count(self, events: Sequence[Event]) -> None:
        self._counts.delivered += sum(event.id is not None for event in events)

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
        self,
        request: HoldableRequest,
        framing: Framing,
        *,
        reaper: Reaper,
        ledger: Ledger,
        wait: float,
    ) -> None:
        super().__init__(request, framing, reaper=reaper, ledger=ledger)
        self._wait = wait

    def hold(self, listener: HeldListener, hello: Event) -> None:
        """Wait. (A poll's answer says where it stands by itself: it has no use for `hello`.)"""
        self._begin(listener)
        self._reaper.schedule(self, self._wait)

    def send(self, events: Sequence[Event]) -> None:
        self.end(events)

    def end(self, events: Sequence[Event]) -> None:
        if not self._detach(told=False):
            return
        self._count(events)
        body = self._framing.frame(events)
        self._request.setHeader(b"content-length", b"%d" % len(body))
        self._write(body)
        self._request.release()

    def replay(self, events: Sequence[Event]) -> None:
        self.end(events)

    def drained(self) -> Deferred[None]:
        # It is over with its first events: nothing is under way that could be waited for.
        return succeed(None)

    @property
    def strained(self) -> bool:
        return False

    def on_due(self, now: float) -> float | None:
        if self._listener is not None:
            self._listener.on_overdue()
        return None


@implementer(IPushProducer)
class HeldStream(_Held):
    """A response without an end, with a heartbeat and a bound on how far its reader is behind.

    :param heartbeat: seconds of silence after which a heartbeat is written.
    :param budget: bytes that its reader may be behind, see the option ``--reader-budget``.
    :param user_timeout: seconds after which the kernel ends it when its peer acknowledges nothing;
        0 for the system's own time. See `user_timeout`.
    :param wear: how long it may grow; None for as long as it lives.
    """

    __slots__ = (
        "_acknowledged",
        "_acknowledged_at",
        "_batch",
        "_began_at",
        "_budget",
        "_events",
        "_heartbeat",
        "_ledger",
        "_replayed",
        "_unmeasured",
        "_user_timeout",
        "_waiting",
        "_wear",
        "_written",
        "_written_at",
    )

    _log = Logger()

    def __init__(
        self,
        request: HoldableRequest,
        framing: Framing,
        *,
        reaper: Reaper,
        ledger: Ledger,
        heartbeat: float,
        budget: int,
        user_timeout: float = 0,
        wear: Wear | None = None,
    ) -> None:
        super().__init__(request, framing, reaper=reaper, ledger=ledger)
        self._wear = wear
        self._events = 0
        self._began_at = reaper.seconds()
        self._ledger = ledger
        self._heartbeat = heartbeat
        self._budget = budget
        self._user_timeout = user_timeout
        self._waiting: list[Deferred[None]] = []
        # Bytes of body: written in all, of these with the backlog and in the last batch, taken by
        # the peer when last measured, and written since it was last known that the reader is
        # within its budget.
        self._written = 0
        self._replayed = 0
        self._batch = 0
        self._acknowledged = 0
        self._unmeasured = 0
        self._written_at = self._acknowledged_at = reaper.seconds()

    # -- the life of the stream

    def hold(self, listener: HeldListener, hello: Event) -> None:
        self._begin(listener)
        self._ledger.ceiling.add(self)
        below.set_user_timeout(self._request.transport, self._user_timeout)
        first = self._framing.begin() + self._framing.frame([hello])
        self._put(first)
        if not first:
            # Lines for people say no hello; their head goes out at once all the same.
            self._write(b"")
        self._reaper.schedule(self, self._heartbeat)

    def send(self, events: Sequence[Event]) -> None:
        if self._ended:
            return
        self._batch = self._write_batch(events)
        if self._unmeasured > self._budget:
            self._judge()
        if self._wear is not None:
            self._retire_when_worn(self._wear)

    def replay(self, events: Sequence[Event]) -> None:
        if self._ended:
            return
        self._write_batch(events)
        self._replayed = self._written
        if self._wear is not None:
            self._retire_when_worn(self._wear)

    def _write_batch(self, events: Sequence[Event]) -> int:
        """Write a batch, and say how many bytes it was."""
        self._count(events)
        self._events += len(events)
        data = self._framing.frame(events)
        self._put(data)
        return len(data)

    def _retire_when_worn(self, wear: Wear) -> None:
        age = self._reaper.seconds() - self._began_at
        worn = self._events >= wear.events or self._written >= wear.bytes or age >= wear.seconds
        if worn and not self._waiting and self._listener is not None:
            self._listener.on_worn()

    def end(self, events: Sequence[Event]) -> None:
        if not self._detach(told=False):
            return
        self._write(self._framing.frame(events) + self._framing.end())
        self._release()
        # The connection may go on with another request, which may be slower.
        below.set_user_timeout(self._request.transport, 0)
        self._request.release()

    def _detach(self, *, told: bool) -> bool:
        first = super()._detach(told=told)
        if first:
            self._ledger.ceiling.remove(self, self._unmeasured)
            self._unmeasured = 0
            if told:
                self._release()
        return first

    def _put(self, data: bytes) -> None:
        if not data:
            return
        self._written_at = self._reaper.seconds()
        if not self._unmeasured:
            # Until now there was nothing to acknowledge: the time to do it begins here.
            self._acknowledged_at = self._written_at
        self._written += len(data)
        self._unmeasured += len(data)
        self._write(data)
        self._ledger.ceiling.account(len(data))

    @property
    def strained(self) -> bool:
        return self._unmeasured > self._budget // 2 and (self.measure() > self._budget // 2)

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
        self._waiting.append(waiting)
        self._release_drained()
        return waiting

    def _release_drained(self) -> None:
        """Let the backlog go on when half of the budget is free.

        The transport tells when its own buffer is empty; what the kernel still holds is only
        known by asking, so the sweep asks again.
        """
        if not self._waiting:
            return
        if self._ended or self.measure() <= self._budget // 2:
            self._release()
        else:
            self._reaper.schedule(self, PACE)

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._request.tell_no_more()
        for each in waiting:
            each.callback(None)

    # -- the sweep: progress, slow readers, heartbeats

    def on_due(self, now: float) -> float | None:
        """Seconds until the next look; see `Reaper.schedule`."""
        if self._waiting:
            # A backlog is on its way, as fast as its reader takes it: no budget, no heartbeat.
            self._release_drained()
            if self._ended:
                return None
            return PACE if self._waiting else self._heartbeat
        behind = self.measure()
        if behind > self._budget:
            stalled = now - self._acknowledged_at >= STALLED_AFTER
            if stalled and self._is_over(self._counted(behind)):
                self.cut_slow(behind)
                return None
            return STALLED_AFTER
        silence = now - self._written_at
        if silence < self._heartbeat:
            return self._heartbeat - silence
        if self._listener is not None:
            self._put(self._framing.frame([self._listener.on_silence()]))
        if self._wear is not None:
            self._retire_when_worn(self._wear)
        return self._heartbeat if not self._ended else None

    def measure(self) -> int:
        """How far the reader is behind, in bytes; tells the listener of its progress."""
        now = self._reaper.seconds()
        behind = below.behind(self._request.transport)
        acknowledged = self._written - behind
        if acknowledged > self._acknowledged:
            self._acknowledged = acknowledged
            self._acknowledged_at = now
            if self._listener is not None:
                self._listener.on_progress()
        change, self._unmeasured = behind - self._unmeasured, behind
        self._ledger.ceiling.account(change)
        return behind

    def _judge(self) -> None:
        """Look whether a reader that may be over its budget is.

        Asking the kernel costs a system call, so it is asked only when what was written since the
        last look could have passed the budget.
        """
        now = self._reaper.seconds()
        behind = self.measure()
        counted = self._counted(behind)
        stalled = now - self._acknowledged_at >= STALLED_AFTER
        if self._is_over(counted) and (stalled or counted > HOPELESS * self._budget):
            self.cut_slow(behind)
        elif behind > self._budget:
            self._look_again()

    def _counted(self, behind: int) -> int:
        """How much of that counts: what was written after the backlog."""
        return min(behind, self._written - self._replayed)

    def _is_over(self, counted: int) -> bool:
        """Whether that is over the budget; one batch alone, however large, never is."""
        return counted - self._batch > self._budget

    def _look_again(self) -> None:
        self._reaper.schedule(self, STALLED_AFTER)

    def cut_slow(self, behind: int) -> None:
        """Drop a reader that is so many bytes behind."""
        self._ledger.slow_readers_cut += 1
        self._log.info(
            "cut a slow reader: {door}, {behind} bytes behind",
            door=self._framing.door,
            behind=behind,
        )
        self.cut()
