"""Requests that are held: what all of them have in common, and the poll.

What it is: `Held` begins, ends once and is told of a lost peer; `HeldPoll` waits for its one
answer. What goes on writing is a `HeldStream`, see there.

What it may know: the request, a framing, the sweep. Not the log, not rooms, not who is reading.

Invariant: a response is finished by whoever brought the request (`HoldableRequest.release`), and a
peer that goes is told by `lost`. What is held for one reader stays within its budget.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import attrs

from cometd_chat.comet.reaper import Reaper
from cometd_chat.events.event import Batch
from cometd_chat.transports.budget import MemoryBudget
from cometd_chat.transports.framings import Framing
from cometd_chat.transports.request import HoldableRequest
from cometd_chat.transports.stats import TransportCounts, TransportStats


class HeldListener(Protocol):
    """Who hears what becomes of a held request."""

    def on_progress(self, at: float) -> None:
        """The peer has taken bytes of ours.

        :param at: when it last did, in the reaper's seconds.
        """

    def make_heartbeat(self) -> Batch:
        """Nothing was written for a heartbeat: the heartbeat that says how far the stream is."""

    def on_ready(self) -> None:
        """It takes the next page of a backlog, after it was not `HeldStream.ready`."""

    def on_rotate(self) -> None:
        """The stream has grown as long as one response should: end it, and let another begin."""

    def on_timeout(self) -> None:
        """A poll has been held for as long as it asked for: answer it."""

    def on_lost(self) -> None:
        """The peer is gone, or was cut; nothing more can be written."""

    def reads(self) -> tuple[str, Sequence[str]]:
        """Who reads, and which rooms, for who runs the daemon; empty where that is not known."""


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
    :param rotation: how long one may grow; None for as long as it lives.
    """

    transport: str
    reaper: Reaper
    stats: TransportStats
    heartbeat: float
    budget: int
    rotation: RotationLimits | None = None
    #: The bound over all that is held.
    memory: MemoryBudget = attrs.field(init=False)
    _kinds: dict[tuple[Framing, int], HeldKind] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        # Frozen is for everybody else; it stands here since it is asked for at each write.
        object.__setattr__(self, "memory", self.stats.memory)

    def kind(self, framing: Framing, chunked: Literal[0, 1] = 0) -> HeldKind:
        """What requests have in common that are held with one framing."""
        found = self._kinds.get((framing, chunked))
        if found is None:
            found = HeldKind(self, framing, chunked, self.stats.transport(self.transport))
            if framing.personal:
                return found
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds.clear()
            self._kinds[framing, chunked] = found
        return found


#: A transport has one or two framings, or one for each option that a client may ask for.
_MOST_KINDS = 64


@attrs.define(eq=False)
class HeldKind:
    """What is the same for thousands of held requests; one object for all of them.

    :param chunked: which of a batch's two forms is written, see `Batch.make`.
    """

    policy: HoldPolicy
    framing: Framing
    chunked: Literal[0, 1]
    counts: TransportCounts
    #: What writes to those of them that are streams; made by the first.
    group: Any = None


class Held(ABC):
    """What streams and polls have in common: they begin, end once, and are told of a lost peer."""

    __slots__ = ("_kind", "_listener", "_request", "due_bucket")

    def __init__(self, request: HoldableRequest, framing: Framing, hold_policy: HoldPolicy) -> None:
        self._request = request
        self._kind = hold_policy.kind(framing)
        # There is one from the beginning to the end.
        self._listener: HeldListener | None = None
        self.due_bucket = 0

    @property
    def _hold_policy(self) -> HoldPolicy:
        return self._kind.policy

    @property
    def _framing(self) -> Framing:
        return self._kind.framing

    @property
    def _counts(self) -> TransportCounts:
        return self._kind.counts

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


class HeldPoll(Held):
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

    def offer(self, batch: Batch) -> int:
        """Answer with events."""
        self.end(batch)
        return 0

    replay = offer

    @property
    def together(self) -> None:
        """A poll is answered alone: that is its end."""

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

    def ready(self) -> bool:
        """Always: it is over with its first events, and nothing is under way."""
        return True

    def look(self) -> None:
        """It is answered long before it could expire."""

    @property
    def congested(self) -> bool:
        return False

    def on_due(self, now: float) -> float | None:
        if self._listener is not None:
            self._listener.on_timeout()
        return None
