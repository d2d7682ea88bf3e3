"""Bayeux by WebSocket.

What it is: `SocketPush`, a push connection whose client also speaks by it.

What it may know: what all push connections have, the other nodes, wsproto's half. Not what a
message means.

Invariant: what is being handled of a peer is bounded: past that it is read no further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred

from cometd_chat.bayeux.exchange import Peer
from cometd_chat.bayeux.messages import Message, array, weight
from cometd_chat.comet import CometContext, Reaper
from cometd_chat.errors import BodyTooLarge, InvalidRequest
from cometd_chat.events.event import Batch
from cometd_chat.transports.held import HoldPolicy
from cometd_chat.transports.request import HoldableRequest
from cometd_chat.transports.websocket import COME_BACK, WebSocket, close_frame, frame
from cometd_chat.web.bayeux_delivery import SocketDelivery
from cometd_chat.web.bayeux_forwarding import Forwarding
from cometd_chat.web.bayeux_push import HeldPush, PushFraming, PushServer, PushState

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

SOCKET = PushFraming("application/json")


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
