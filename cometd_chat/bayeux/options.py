"""How long, how many, how much: every number of the Bayeux server in one value.

What it is: `BayeuxOptions`, with the counterpart of each CometD option that makes sense here.

What it may know: numbers.

Invariant: nothing is without a bound, and what a client asks for is cut down to it.
"""

from __future__ import annotations

import attrs

#: Best first, though clients go by an order of their own.
CONNECTION_TYPES = (
    "websocket",
    "eventsource",
    "long-polling",
    "cross-origin-long-polling",
    "callback-polling",
)


@attrs.frozen
class BayeuxOptions:
    """The numbers. Times are in seconds.

    :param timeout: how long a connect is held; a client may ask for less.
    :param interval: between a connect's reply and the next connect.
    :param max_interval: a client without a connect lives on for so much longer than that. Browsers
        wake the timers of a hidden page once a minute only.
    :param max_client_interval: the most that a client's own ``advice.interval`` adds to its life.
    :param max_sessions_per_browser: connects that the long polls of one browser may hold at a time:
        it opens six connections to a host, and each client uses up to two.
    :param multi_session_interval: what tabs beyond that are advised to wait; 0 sends them away.
    :param max_lazy_timeout: how long a lazy message waits for another to go with.
    :param max_sessions: in this process.
    :param max_queue_messages: waiting for one client and unconfirmed, together.
    :param max_queue_bytes: the same in bytes.
    :param max_reply_messages: event messages in one reply or push; the rest goes with the next.
    :param max_reply_bytes: the same in bytes.
    :param max_subscriptions: patterns of one client.
    :param max_waiting_requests: of one client, behind one that is being handled.
    :param resend_window: a publish that comes again within so many seconds, since the reply to it
        was lost, is not published again.
    :param max_resends: so many publishes of a client are remembered for that.
    :param broadcast_to_publisher: whether who publishes hears it too.
    :param relayed_ext: fields of a message's ``ext`` that go to all who hear it, on free channels;
        others stay here, where applications put secrets. CometD's binary extension needs its own.
    """

    timeout: float = 25.0
    interval: float = 0.0
    max_interval: float = 60.0
    max_client_interval: float = 60.0
    max_sessions_per_browser: int = 4
    multi_session_interval: float = 2.0
    max_lazy_timeout: float = 5.0
    max_sessions: int = 20_000
    max_queue_messages: int = 4096
    max_queue_bytes: int = 1024 * 1024
    max_reply_messages: int = 1000
    max_reply_bytes: int = 256 * 1024
    max_subscriptions: int = 2000
    max_waiting_requests: int = 256
    resend_window: float = 90.0
    max_resends: int = 128
    broadcast_to_publisher: bool = True
    relayed_ext: tuple[str, ...] = ("binary",)
    connection_types: tuple[str, ...] = CONNECTION_TYPES
