"""Bayeux on connections on which messages are pushed; by WebSocket see `bayeux_socket.py`, by
EventSource `bayeux_event_source.py`.

What it is: push connections of the Bayeux core on the held streams that all transports have, with
the same bound, heartbeat and end.

What it may know: the core, held streams, the engine. Not what a message means.

Invariant: what a peer has not taken is bounded, and the core hears once of each that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import ClassVar, Protocol

import attrs
from twisted.internet.defer import Deferred

from cometd_chat.bayeux.exchange import Exchange, Peer, PushConnection
from cometd_chat.bayeux.messages import Message
from cometd_chat.comet import CometContext, CometEvent
from cometd_chat.events.event import Batch, Event, chunk
from cometd_chat.transports.held import HoldPolicy
from cometd_chat.transports.held_stream import HeldStream
from cometd_chat.transports.request import HoldableRequest


@attrs.frozen(eq=False)
class PushFraming:
    """What `HeldStream` has to know of a push connection, whose bytes are made here."""

    content_type: str
    one_shot: ClassVar[bool] = False
    personal: ClassVar[bool] = False

    def begin(self) -> bytes:
        return b""

    def end(self) -> bytes:
        return b""

    def frame(self, events: Sequence[Event]) -> bytes:
        """Nothing: the batches are made by `batch`."""
        return b""

    def batch(self, data: bytes, messages: int = 0) -> Batch:
        """Some bytes as a batch.

        :param messages: how many are in them, for the metrics.
        """
        made = Batch([])
        made.kept = messages
        made.made[self] = (data, chunk(data), len(data))
        return made


class PushServer(Protocol):
    """What a push connection needs of the core: `BayeuxServer`, or `Forwarding` where its client
    may be another node's. See the former."""

    @property
    def stopping(self) -> bool: ...

    def seconds(self) -> float: ...

    def decode(self, *bodies: bytes | str) -> list[Message]: ...

    def process(self, messages: list[Message], exchange: Exchange) -> Deferred[None]: ...

    def push_lost(self, push: PushConnection) -> None: ...

    def push_writable(self, push: PushConnection) -> None: ...

    def push_confirmed(self, push: PushConnection, number: int) -> None: ...


class PushState(Enum):
    """How far a push connection has come."""

    #: Both sides may speak.
    OPEN = "open"
    #: We have said the last thing, and wait for the peer's: nothing more is said, nor heard.
    ENDING = "ending"
    #: It is gone, and the core knows.
    OVER = "over"


#: What follows from each state. An end that comes twice, or after a loss, changes nothing.
FOLLOWS = {
    PushState.OPEN: (PushState.ENDING, PushState.OVER),
    PushState.ENDING: (PushState.OVER,),
    PushState.OVER: (),
}


_NOTHING = Batch([])


class HeldPush:
    """What both kinds have in common; a listener of its held stream, and a handler that expires.

    :param context: where it is held, which says after how long it expires.
    :param when_over: called once, when it is over, however that came.
    :param peer: who opened it.
    """

    def __init__(
        self,
        server: PushServer,
        request: HoldableRequest,
        framing: PushFraming,
        hold_policy: HoldPolicy,
        context: CometContext,
        when_over: Callable[[HeldPush], None],
        *,
        peer: Peer,
    ) -> None:
        self.peer = peer
        #: How many frames were sent, how many of those are known to have been read.
        self.frames = self.frames_read = 0
        #: Whether it ended in order, by close frames.
        self.closed = False
        self._server = server
        self._framing = framing
        self._hold_policy = hold_policy
        self._context = context
        self._when_over = when_over
        self._held = HeldStream(request, framing, hold_policy)
        self._state = PushState.OPEN
        self._waiting = False
        #: Numbers of the newest message that was pushed, and of the newest that has arrived.
        self._pushed = self._arrived = 0
        self._opened_at = server.seconds()

    def begin(self) -> None:
        """Send the head."""
        self._context.add_handler(self)
        self._held.hold(self, _NOTHING)

    # -- PushConnection

    @property
    def opened_at(self) -> float:
        """See `PushConnection.opened_at`."""
        return self._opened_at

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._state is PushState.OVER

    @property
    def writable(self) -> bool:
        """See `PushConnection.writable`."""
        return not self.over and not self._waiting

    def _write(self, data: bytes, messages: int = 0) -> None:
        if self.over:
            return
        self._held.offer(self._framing.batch(data, messages))
        if not self.over and not self._waiting and self._held.congested:
            self._waiting = not self._held.ready()

    def send(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """See `PushConnection.send`."""
        raise NotImplementedError

    def end(self) -> None:
        """See `PushConnection.end`; who is sent away since the daemon stops comes back."""
        self.close(come_back=self._server.stopping)

    def close(self, *, come_back: bool) -> None:
        """End it.

        :param come_back: whether its peer is to open another.
        """
        self._finish(b"")

    @property
    def arrived(self) -> int:
        """Number of the newest message that is known to have arrived."""
        return self._arrived

    def begin_anew(self) -> None:
        """Another client's messages go by it from now, with numbers of their own."""
        self._pushed = self._arrived = 0

    def no_session(self) -> None:
        """There is no such client as it was opened for."""
        self.end()

    def reply(self, messages: Sequence[bytes]) -> None:
        """Send replies, and what goes with them."""
        raise NotImplementedError

    def _finish(self, last: bytes) -> None:
        if self._set_over():
            self._held.end(self._framing.batch(last) if last else None)

    def _confirm(self, number: int) -> None:
        if number > self._arrived:
            self._arrived = number
            self._server.push_confirmed(self, number)

    def _go_to(self, state: PushState) -> bool:
        """Whether that state follows from the one that it is in."""
        follows = state in FOLLOWS[self._state]
        if follows:
            self._state = state
        return follows

    def _set_over(self) -> bool:
        first = self._go_to(PushState.OVER)
        if first:
            self._context.remove_handler(self)
            self._server.push_lost(self)
            self._when_over(self)
        return first

    # -- HeldListener

    def on_progress(self, at: float | None = None) -> None:
        """Something came from the peer, or it took something."""
        self._context.touch(self, at)

    def make_heartbeat(self) -> Batch:
        """See `HeldListener.make_heartbeat`."""
        raise NotImplementedError

    def on_ready(self) -> None:
        """The peer has taken what it was behind with."""
        self._waiting = False
        self._server.push_writable(self)

    def on_rotate(self) -> None:
        """None is ever rotated."""

    def on_timeout(self) -> None:
        """Only polls are."""

    def on_lost(self) -> None:
        """The peer is gone."""
        self._set_over()

    def reads(self) -> tuple[str, Sequence[str]]:
        """It may be for several clients, of which each has channels of its own."""
        return "", ()

    # -- CometHandler, which nothing is said to

    def on_initialize(self, event: CometEvent) -> None:
        """Held in its context."""

    def on_event(self, event: CometEvent) -> None:
        """Nothing is."""

    def on_expiring(self, event: CometEvent) -> None:
        """See `LookingHandler.on_expiring`."""
        self._held.look()

    def on_interrupt(self, event: CometEvent) -> None:
        """The peer has taken and said nothing for too long."""
        if self._set_over():
            self._hold_policy.stats.expire(self._hold_policy.transport)
            self._held.cut()

    def on_terminate(self, event: CometEvent) -> None:
        """The daemon stops."""
        self.end()
