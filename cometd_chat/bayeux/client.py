"""A client, as the server sees it: from one handshake until it leaves or is heard of no more.

What it is: everything that belongs to one clientId, and what the server's own code can do with it.

What it may know: its queue, its identity. Not how its messages travel: that is `Connects`'.
Where the program at the other end is meant, it is called the peer.

Invariant: whatever reaches it goes through its queue.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Protocol

from twisted.internet.defer import DeferredLock

from cometd_chat.bayeux.binding import Binding
from cometd_chat.bayeux.identity import Identity
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.options import BayeuxOptions
from cometd_chat.bayeux.published import PublishDeduplicator
from cometd_chat.bayeux.queue import Batches, ClientQueue, EventMessage, Kept

#: What the peer of a client is advised to do that has ended, by whatever: to shake hands anew,
#: which others may answer where this process stops. One that left, or was sent away, stays away.
_COME_BACK: Mapping[str, object] = {"reconnect": "handshake", "interval": 0}
_STAY_AWAY: Mapping[str, object] = {"reconnect": "none", "interval": 0}

#: What a client costs, about, and each pattern of its subscriptions beside its text, in bytes.
CLIENT_SIZE, PATTERN_SIZE = 4096, 500


#: So many times in a row a client has to give its next connect another id than the last to be taken
#: for one that does so always. So many times it may send the same again, or want an answer at once,
#: and be the same still: before that has shown, and since.
_CHANGES, _REPEATS, _MOST_REPEATS = 2, 6, 64

#: So many times in a row an id has to be higher than the last to be taken for a counter, which has
#: so many digits at most, of whatever base.
_RISES, _DIGITS = 3, 10


class Extension(Protocol):
    """Looks at messages, changes them, or stops them by returning None.

    Add one with ``server.extensions.append(...)``, or for one client with
    ``client.extensions.append(...)``.
    """

    def incoming(self, message: Message, client: BayeuxClient | None) -> Message | None:
        """A client sent a message.

        Setting ``message["error"]`` refuses it with that text; None answers 404 message_deleted.

        :param client: whose; None in a handshake.
        """

    def outgoing(
        self, message: Message, client: BayeuxClient | None, request: Message | None
    ) -> Message | None:
        """A message goes out; None drops it.

        :param client: whose; None for an event message that many may get, and a refused handshake.
        :param request: what it is the reply to; None for an event message.
        """


class ClientHost(Protocol):
    """What a client needs of the server.

    :ivar still_hears: see `BayeuxServer.ask_before_telling`.
    """

    still_hears: Callable[[BayeuxClient], bool] | None

    def event(
        self, channel: str, data: object, kept: Kept | None = None, /, **fields: object
    ) -> EventMessage | None:
        """Make an event message; None when an extension drops it."""

    def enqueued(self, client: BayeuxClient, *, lazy: float | None) -> None:
        """Something was queued; ``lazy`` is how many seconds it may wait for something else."""

    def confirm(self, client: BayeuxClient, number: int) -> None:
        """Its peer has everything up to a number."""

    def unsubscribe(self, client: BayeuxClient, pattern: str) -> None:
        """Let a client hear a pattern no longer."""

    def disconnect(self, client: BayeuxClient) -> None:
        """End a client on purpose."""

    def renew(self, client: BayeuxClient) -> None:
        """End a client whose peer is to come back as another one."""

    def expired(self, client: BayeuxClient, now: float) -> float | None:
        """Its time may be over; see `Due.on_due`."""

    def refine(self, client: BayeuxClient, event: EventMessage) -> bytes | None:
        """The JSON of an event as its own extensions want it; None when they drop it."""

    def account(self, change: int) -> None:
        """So many bytes more, or fewer, are kept for clients."""

    def shed(self, client: BayeuxClient) -> None:
        """So much is kept for all that this client has to go."""


class Habits:
    """What a client's connects mean, as far as it has shown: whether it gives each an id of its
    own, so that one with the id of the last is that, sent again; whether these are counted, so that
    a lower one was overtaken; and whether it waits for answers, so that it wants one at once only
    when it has lost the last.
    """

    __slots__ = (
        "_changes",
        "_first",
        "_hurries",
        "_last",
        "_lates",
        "_repeats",
        "_rises",
        "_same",
        "_waits",
        "again",
    )

    def __init__(self) -> None:
        #: Whether the newest may be the last, sent again.
        self.again = False
        self._last: object = None
        self._changes = self._repeats = 0
        # Whether all have one id, or none.
        self._same = False
        self._rises = self._lates = 0
        # The first ids, until enough have risen.
        self._first: tuple[object, ...] = ()
        self._waits = False
        self._hurries = 0

    @property
    def counts(self) -> bool:
        """Whether it gives each an id of its own."""
        return self._changes >= _CHANGES

    @property
    def failed(self) -> bool:
        """Whether the newest wants its answer at once since the last got none."""
        return self._waits and 0 < self._hurries <= _REPEATS

    def is_late(self, id: object) -> bool:
        """Whether a connect that has come was overtaken by the last, which its client sent only
        when it had an answer to this, or had given it up. To be asked before it is noted, if at
        all.

        :param id: of it; None when it has none.
        """
        order, last = _order(id), _order(self._last)
        if order is None or last is None:
            self._rises, self._lates, self._first = 0, 0, ()
        elif order > last:
            self._rises, self._lates = self._rises + 1, 0
            self._first = (*self._first, self._last) if self._rises <= _RISES else ()
        elif order < last:
            # So often in a row, it counts anew.
            self._lates += 1
            overtaken = self._rises >= _RISES or id in self._first
            if overtaken and self._lates <= _REPEATS:
                return True
            self._rises, self._lates, self._first = 0, 0, ()
        return False

    def note(self, id: object, *, hurried: bool) -> None:
        """The next connect has come.

        :param id: of it; None when it has none.
        :param hurried: whether it wants its answer at once.
        """
        self._hurries = self._hurries + 1 if hurried else 0
        self._waits = self._waits or not hurried
        if id == self._last:
            self._repeats += 1
            most = _REPEATS if self._changes < _CHANGES else _MOST_REPEATS
            if id is None or self._repeats > most:
                self._same, self._changes = True, 0
            self.again = not self._same
        else:
            self._changes += self._last is not None
            self._repeats = 0
            self.again = False
            if self._changes >= _CHANGES:
                self._same = False
        self._last = id


def _order(id: object) -> tuple[int, str] | None:
    """By what an id of a counter is compared; None for one that can't be of any."""
    text = str(id)
    return None if id is None or len(text) > _DIGITS else (len(text), text)


class BayeuxClient:
    """One client. An item of the reaper: it is due when it may have expired.

    :param id: the clientId.
    :param identity: who is behind it.
    :param binding: what its requests have to show.
    """

    def __init__(
        self,
        id: str,
        identity: Identity,
        binding: Binding,
        host: ClientHost,
        options: BayeuxOptions,
        now: float,
    ) -> None:
        self.id = id
        self.identity = identity
        self.binding = binding
        self.queue = ClientQueue(options.max_queue_messages, options.max_queue_bytes, host.account)
        #: For the server's own code, such as a service's notes on it.
        self.attributes: dict[str, object] = {}
        self.extensions: list[Extension] = []
        self.subscriptions: dict[str, None] = {}
        self.patterns_size = 0  #: bytes that are kept for these
        self.broadcast_to_publisher = options.broadcast_to_publisher
        #: Whether its peer confirms by number, see `AckExtension`.
        self.acknowledged = False
        #: Whether its peer asks for the place of messages that are kept, see `ReplayExtension`.
        self.replays = False
        self.ended = self.is_shed = False
        #: What its peer is advised to do when it has ended.
        self.farewell = _COME_BACK
        #: When it last asked for something other than a connect, and was last sent something.
        self.active_at = self.delivered_at = now
        #: The transport that its last connect came by; set by `Connects`.
        self.transport = ""
        self.habits = Habits()
        self.paused_sources: dict[Hashable, None] = {}
        # When it was last heard, and how long it may be silent.
        self.due_bucket, self.heard_at = 0, now
        self.idle_limit = options.interval + options.max_interval
        # Its requests, one after the other; what it published, for what comes again.
        self.turn = DeferredLock()
        self.published = PublishDeduplicator(options.max_resends, options.resend_window)
        self._host, self._lazy_timeout = host, options.max_lazy_timeout
        self._batches = Batches()

    def deliver(self, channel: str, data: object, *, lazy: bool = False) -> bool:
        """Send something to it alone, whether it subscribed to the channel or not.

        :returns: False when it was dropped.
        """
        event = self._host.event(channel, data)
        return event is not None and self.put(event, lazy=self._lazy_timeout if lazy else None)

    def event(
        self, channel: str, data: object, kept: Kept | None = None, /, **fields: object
    ) -> EventMessage | None:
        """Make an event message, which is as good for all other clients; see
        `BayeuxServer.event`."""
        return self._host.event(channel, data, kept, **fields)

    def answer(self, request: Message, data: object, *, successful: bool = True) -> bool:
        """Send the result of a remote call: a message on the channel of the request and with its
        id. (CometD reference, remote calls)"""
        event = self._host.event(
            request["channel"], data, id=request.get("id"), successful=successful
        )
        return event is not None and self.put(event)

    def feed(self, event: EventMessage, source: Hashable, position: int) -> bool:
        """Queue an event of a source that can give it again.

        :param position: of the event in its channel; grows.
        :returns: False when there is no room: `ChannelSource.resume` will say when there is.
        """
        # `_is_deaf`, spelt out: this is run for each client of each message.
        asked = self._host.still_hears
        if self.ended or self.is_shed or (asked is not None and not asked(self)):
            return True
        if source in self.paused_sources:
            return False
        if self.replays:
            event = event.replayed
        json = self._host.refine(self, event) if self.extensions else event.json
        if json is None:
            return True
        if not self.queue.append(event, json, source=source, position=position):
            self.paused_sources[source] = None
            return False
        self._host.enqueued(self, lazy=None)
        return True

    def put(self, event: EventMessage, *, lazy: float | None = None) -> bool:
        """Queue an event that nobody can give again.

        :param lazy: seconds that it may wait for others; None for no waiting.
        :returns: False when it was dropped.
        """
        return not self._is_deaf() and self._put(event, lazy)

    def _is_deaf(self) -> bool:
        asked = self._host.still_hears
        return self.ended or self.is_shed or (asked is not None and not asked(self))

    def put_last(self, event: EventMessage) -> None:
        """Queue what it is told at its end, whatever it may hear."""
        if not self.ended and not self.is_shed:
            self._put(event, None)

    def _put(self, event: EventMessage, lazy: float | None) -> bool:
        json = self._host.refine(self, event) if self.extensions else event.json
        if json is None or not self.queue.append(event, json, lazy=lazy is not None):
            return False
        self._host.enqueued(self, lazy=lazy)
        return True

    def unsubscribe(self, pattern: str) -> None:
        """Let it hear a channel, or a pattern of some, no longer. Its peer is not told."""
        self._host.unsubscribe(self, pattern)

    def disconnect(self) -> None:
        """End it: its peer is told not to come back by itself."""
        self._host.disconnect(self)

    def stay_away(self) -> None:
        """Its peer is told not to come back by itself, once it has ended."""
        self.farewell = _STAY_AWAY

    def renew(self, after: float) -> None:
        """End it: its peer is told to shake hands anew, in so many seconds."""
        self.farewell = {"reconnect": "handshake", "interval": round(after * 1000)}
        self._host.renew(self)

    # -- acknowledgement by number

    def close_batch(self) -> int:
        """The number of the batch that ends with what was sent last."""
        return self._batches.close(self.queue.last_sent)

    def confirm_batch(self, number: int) -> None:
        """Its peer has all batches up to a number; one that was never sent counts for nothing."""
        sent = self._batches.confirm(number)
        if sent:
            self._host.confirm(self, sent)

    # -- a holder of the budget; see `budget.Holder`

    @property
    def over(self) -> bool:
        """Whether it has ended, or is about to for want of memory."""
        return self.ended or self.is_shed

    def measure(self) -> int:
        """How many bytes are kept for it, as if for it alone."""
        return CLIENT_SIZE + self.queue.size + self.patterns_size

    def shed(self, size: int) -> None:
        """Forget what waits for it. What was said in rooms it can have again."""
        self.is_shed = True
        self.queue.clear()
        self._host.shed(self)

    # -- Due

    def on_due(self, now: float) -> float | None:
        """It may have expired."""
        return self._host.expired(self, now)
