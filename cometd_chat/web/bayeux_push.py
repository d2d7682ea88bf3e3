"""Bayeux by WebSocket and by EventSource: connections on which messages are pushed.

What it is: push connections of the Bayeux core on the held streams that all transports have, with
the same bound, heartbeat and end.

What it may know: the core, held streams, the engine, wsproto's half. Not what a message means.

Invariant: what a peer has not taken is bounded, and the core hears once of each that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import ClassVar, Protocol

import attrs
from twisted.internet.defer import Deferred

from cometd_chat.bayeux import faults
from cometd_chat.bayeux.exchange import Exchange, Peer, PushConnection
from cometd_chat.bayeux.messages import Message, array, encode, weight
from cometd_chat.comet import CometContext, CometEvent, Reaper
from cometd_chat.errors import BodyTooLarge, InvalidRequest
from cometd_chat.events.event import Batch, Event, chunk
from cometd_chat.transports.held import HoldPolicy
from cometd_chat.transports.held_stream import HeldStream
from cometd_chat.transports.request import HoldableRequest
from cometd_chat.transports.websocket import COME_BACK, WebSocket, close_frame, frame
from cometd_chat.web.bayeux_delivery import SocketDelivery
from cometd_chat.web.bayeux_forwarding import Forwarding

#: Opcodes (RFC 6455, section 5.2).
_TEXT, _PING = 0x1, 0x9

#: Close codes (RFC 6455, section 7.4.1).
NORMAL, NOT_JSON, TOO_BIG = 1000, 1007, 1009

#: When so many frames of a peer are being handled, it is read no further.
MOST_PENDING = 16

#: Or so many bytes of messages, as Python holds them. One frame, however large, always fits.
MOST_HELD = 256 * 1024

#: Seconds after which a socket's peer is asked whether it has the replies to what it sent.
ASK_AFTER = 1.0

#: So many messages may be on their way by an event stream before its TCP is asked.
ASK_AT = 512

#: Milliseconds after which a browser opens a broken event stream again.
RETRY = 2000

#: To an EventSource whose session is gone, as after a restart. Its client would hear of that by its
#: next connect only, which comes after as long as a connect is held.
SESSION_UNKNOWN = b"data: %b\n\n" % array(
    [
        encode(
            {
                "channel": "/meta/connect",
                "successful": False,
                "error": faults.session_unknown().error,
                "advice": {"reconnect": "handshake", "interval": 0},
            }
        )
    ]
)


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

SOCKET = PushFraming("application/json")
EVENT_SOURCE = PushFraming("text/event-stream")

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


@attrs.frozen
class _Asked:
    """A question whether something has arrived, which waits for its answer.

    :param pushed: number of the newest message that was pushed before.
    :param frames: how many frames were sent before.
    """

    payload: bytes
    pushed: int
    frames: int


class SocketPush(HeldPush):
    """A WebSocket. An item of the reaper while the peer is to be asked what it has.

    :param forwarding: to other nodes; None where there are none.
    """

    def __init__(
        self,
        server: PushServer,
        request: HoldableRequest,
        hold_policy: HoldPolicy,
        context: CometContext,
        when_over: Callable[[HeldPush], None],
        *,
        peer: Peer,
        reaper: Reaper,
        forwarding: Forwarding | None = None,
    ) -> None:
        super().__init__(server, request, SOCKET, hold_policy, context, when_over, peer=peer)
        self._reaper = reaper
        self._forwarding = forwarding
        self._asked: _Asked | None = None
        self._questions = 0
        self._socket: WebSocket | None = None
        self._pending = 0
        #: Bytes of the messages that are being handled, as Python holds them.
        self.held = 0
        self.due_bucket = 0

    def listen(self, socket: WebSocket) -> None:
        """Take what the peer says."""
        self._socket = socket
        socket.when_answered = self._answered
        socket.when_close_answered = self._close_answered
        socket.listen(self, self, self._reaper, self.closing)

    # -- out

    @property
    def writable(self) -> bool:
        """See `PushConnection.writable`."""
        return self._state is PushState.OPEN and super().writable

    def send(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """See `PushConnection.send`: one frame, and a ping behind it unless one is on its way."""
        self._pushed = messages[-1][0]
        data = frame(_TEXT, array([json for _, json in messages]))
        self.frames += 1
        if self._asked is None:
            data += self._question()
        self._write(data, len(messages))

    def reply(self, messages: Sequence[bytes]) -> None:
        """Send replies, and what goes with them."""
        if self._state is not PushState.OPEN:
            return
        self.frames += 1
        self._write(frame(_TEXT, array(messages)))
        if self._asked is None and not self.due_bucket and not self.over:
            self._reaper.schedule(self, ASK_AFTER)

    def make_heartbeat(self) -> Batch:
        """A ping, which also asks how far the peer has come."""
        return self._framing.batch(self._question())

    def on_due(self, now: float) -> float | None:
        """Ask what has arrived; see `Reaper.schedule`."""
        if self._asked is None and self.frames > self.frames_read:
            self._ask()
        return None

    def _question(self) -> bytes:
        """A ping: its answer says that all before it was read."""
        self._questions += 1
        self._asked = _Asked(b"%d" % self._questions, self._pushed, self.frames)
        return frame(_PING, self._asked.payload)

    def _ask(self) -> None:
        if self._state is PushState.OPEN:
            self._write(self._question())

    def _answered(self, payload: bytes) -> None:
        asked = self._asked
        if asked is None or payload != asked.payload:
            return
        self._asked = None
        self.frames_read = asked.frames
        self._confirm(asked.pushed)
        self._tell_read()
        if self._pushed > self._arrived:
            self._ask()
        elif self.frames > self.frames_read and not self.due_bucket and not self.over:
            self._reaper.schedule(self, ASK_AFTER)

    # -- the end

    def close(self, *, come_back: bool) -> None:
        """See `HeldPush.close`."""
        if self._state is PushState.OPEN:
            self._finish(close_frame(COME_BACK if come_back else NORMAL))

    def begin_anew(self) -> None:
        """See `HeldPush.begin_anew`."""
        super().begin_anew()
        # What is asked is about the other's.
        self._asked = None

    def _tell_read(self) -> None:
        if self._forwarding is not None:
            self._forwarding.frames_read(self)

    def finish(self) -> None:
        """The peer has closed."""
        self.closed = True
        self._finish(b"")

    def _finish(self, last: bytes) -> None:
        """Say the last thing, and wait for the peer's: see `closing`."""
        if self._go_to(PushState.ENDING):
            self._held.end(self._framing.batch(last) if last else None)

    def closing(self) -> Deferred[None]:
        """Fires once the peer has answered our close frame, has had the time to, or is gone."""
        assert self._socket is not None
        return self._socket.closed().addBoth(self._gone)

    def _close_answered(self) -> None:
        """The peer has read everything before our close frame."""
        self.closed = True
        self.frames_read = self.frames
        self._confirm(self._pushed)
        self._tell_read()

    def _gone(self, result: object) -> object:
        self._set_over()
        return result

    def _set_over(self) -> bool:
        self._reaper.cancel(self)
        return super()._set_over()

    # -- in: SocketReader and WebSocketListener

    def message_received(self, text: str) -> None:
        """A payload."""
        if self._state is not PushState.OPEN:
            return
        try:
            messages = self._server.decode(text)
        except InvalidRequest as error:
            self._finish(close_frame(NOT_JSON, error.detail))
            return
        except BodyTooLarge as error:
            self._finish(close_frame(TOO_BIG, error.detail))
            return
        size = weight(text)
        self._pending += 1
        self.held += size
        if self._is_full() and self._socket is not None:
            self._socket.pause()
        self._process(messages, text).addCallback(self._handled, size)

    def _process(self, messages: list[Message], text: str) -> Deferred[None]:
        exchange, node = _SocketExchange(self), None
        if self._forwarding is not None:
            node = self._forwarding.node_of_socket(self, messages)
        if node is None:
            return self._server.process(messages, exchange)
        return node.process([text], exchange, counts=True)

    def _handled(self, result: None, size: int) -> None:
        was_full = self._is_full()
        self._pending -= 1
        self.held -= size
        if was_full and not self._is_full() and not self.over and self._socket is not None:
            self._socket.resume()

    def _is_full(self) -> bool:
        return self._pending >= MOST_PENDING or self.held > MOST_HELD


class _SocketExchange:
    """One frame, and the replies that go back by its socket."""

    def __init__(self, push: SocketPush) -> None:
        self.push = push
        self.delivery = SocketDelivery(push)

    @property
    def peer(self) -> Peer:
        return self.push.peer

    def hold(self, seconds: float) -> None:
        """The socket is watched anyway."""

    def reply(self, messages: Sequence[bytes]) -> None:
        self.push.reply(messages)
        self.delivery.frame = self.push.frames


class EventSourcePush(HeldPush):
    """An event stream; what its client says comes by requests of their own."""

    def __init__(
        self,
        server: PushServer,
        request: HoldableRequest,
        hold_policy: HoldPolicy,
        context: CometContext,
        when_over: Callable[[HeldPush], None],
        *,
        peer: Peer,
    ) -> None:
        super().__init__(server, request, EVENT_SOURCE, hold_policy, context, when_over, peer=peer)
        # It belongs to the first event: of a block of its own some libraries make an empty message.
        self._first = b"retry: %d\n" % RETRY

    def send(self, messages: Sequence[tuple[int, bytes]]) -> None:
        """See `PushConnection.send`: an event each, whose id comes back as ``Last-Event-ID``."""
        if self._pushed - self._arrived >= ASK_AT and not self._held.measure():
            # Its TCP has all of that. For fewer, the next connect says so more surely.
            self._confirm(self._pushed)
        self._pushed = messages[-1][0]
        events = [b"id: %d\ndata: %b\n\n" % (number, array([json])) for number, json in messages]
        first, self._first = self._first, b""
        self._write(b"".join([first, *events]), len(events))

    def make_heartbeat(self) -> Batch:
        """A comment. (HTML, section 9.2.7)"""
        return self._framing.batch(b":\n\n")

    def no_session(self) -> None:
        """See `HeldPush.no_session`."""
        self._finish(SESSION_UNKNOWN)
