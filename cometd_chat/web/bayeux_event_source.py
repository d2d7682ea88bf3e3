"""Bayeux by EventSource.

What it is: `EventSourcePush`, a push connection whose client speaks by requests of their own.

What it may know: what all push connections have. Not what a message means.

Invariant: what has not arrived comes again: each event has the number of the last message in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cometd_chat.bayeux import faults
from cometd_chat.bayeux.exchange import Peer
from cometd_chat.bayeux.messages import array, encode
from cometd_chat.comet import CometContext
from cometd_chat.events.event import Batch
from cometd_chat.transports.held import HoldPolicy
from cometd_chat.transports.request import HoldableRequest
from cometd_chat.web.bayeux_push import HeldPush, PushFraming, PushServer

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

EVENT_SOURCE = PushFraming("text/event-stream")


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
