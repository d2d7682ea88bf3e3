"""What a client published lately, so that what it sends again is not published again.

What it is: a bounded memory of publishes and of their outcome. Faye sends a message again, with
its id, when the reply did not come in time or its connection was lost.

What it may know: keys, outcomes, and what became of replies. Not messages, not clients.

Invariant: what is sent again because its reply was lost has one effect and one outcome; a failure
can be tried again. What has been answered, and the answer has arrived, is never taken for the same
as what comes after: clients begin their ids anew, or give the same to all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from hashlib import sha256

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from cometd_chat.bayeux.exchange import Arrival, Delivery, Exchange, PushConnection
from cometd_chat.bayeux.messages import Message, encode

#: Nobody sends again what was sent less than so many seconds ago, unless the connection is lost:
#: Faye waits for 5 s after an error, and for 1.2 times the advised timeout where there is none.
PATIENCE = 4.0

#: Publishes something, with a key that is its own: 32 hexadecimal digits, or None.
Publish = Callable[[str | None], Coroutine[Deferred[object], object, None]]


def publish_key(client_id: str, message: Message) -> str | None:
    """What is the same for a publish and for the same sent again: client, id, channel and data.

    :returns: None when the message has no id.
    """
    if message.get("id") is None:
        return None
    parts = [client_id, message["id"], message["channel"], message["data"]]
    return sha256(encode(parts)).hexdigest()


@attrs.define(eq=False)
class _Publishing:
    """One publish.

    :param own_key: the same each time that it is sent.
    :param at: when it came, for the first time.
    :param delivery: tells of its reply.
    :param push: that it came by.
    :param forwarded: whether a proxy has brought it.
    """

    own_key: str
    at: float
    delivery: Delivery
    push: PushConnection | None
    forwarded: bool
    done: bool = False
    failure: Failure | None = None
    waiting: list[Deferred[None]] = attrs.field(factory=list)

    def outcome(self) -> Deferred[None]:
        """Fires when it is done, with its failure if it failed."""
        if self.failure is not None:
            return fail(self.failure)
        if self.done:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self.waiting.append(waiting)
        return waiting

    def finish(self, failure: Failure | None) -> None:
        self.done, self.failure = True, failure
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each.callback(None) if failure is None else each.errback(failure)


class PublishDeduplicator:
    """The memory of one client.

    :param limit: so many publishes at most.
    :param window: seconds after which one is forgotten.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._by_key: OrderedDict[str, _Publishing] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def once(
        self, key: str | None, publish: Publish, now: float, exchange: Exchange, *, counts: bool
    ) -> Deferred[None]:
        """Publish, unless it is what was sent already and had no reply.

        :param key: of `publish_key`; None publishes in any case.
        :param exchange: that brings it.
        :param counts: whether the client is known to give each message an id of its own.
        """
        if key is None:
            return Deferred.fromCoroutine(publish(None))
        self._forget(now)
        publishing = self._by_key.get(key)
        if publishing is None or not _is_sent_again(publishing, now, exchange, counts):
            publishing = self._begin(key, now, exchange)
        else:
            publishing.delivery, publishing.push = exchange.delivery, exchange.push
            if publishing.failure is None:
                return publishing.outcome()
            publishing.done, publishing.failure = False, None
        running = Deferred.fromCoroutine(publish(publishing.own_key))
        running.addCallbacks(lambda _: publishing.finish(None), publishing.finish)
        return publishing.outcome()

    def _begin(self, key: str, now: float, exchange: Exchange) -> _Publishing:
        self._count += 1
        own_key = sha256(encode([key, self._count])).hexdigest()[:32]
        push, forwarded = exchange.push, exchange.peer.forwarded
        publishing = _Publishing(own_key, now, exchange.delivery, push, forwarded)
        self._by_key.pop(key, None)
        self._by_key[key] = publishing
        return publishing

    def begin_anew(self) -> None:
        """Its client begins anew, perhaps with ids that it has used: what it has had answered, as
        far as anybody knows, it does not send again."""
        answered = (Arrival.UNKNOWN, Arrival.CLOSED, Arrival.READ)
        for key, publishing in list(self._by_key.items()):
            if publishing.delivery.arrival() in answered:
                del self._by_key[key]

    def _forget(self, now: float) -> None:
        while self._by_key:
            oldest = next(iter(self._by_key.values()))
            if len(self._by_key) < self._limit and now - oldest.at <= self._window:
                return
            self._by_key.popitem(last=False)


def _is_sent_again(publishing: _Publishing, now: float, exchange: Exchange, counts: bool) -> bool:
    """Whether the same id, channel and data is the same message, sent again since its reply did not
    come."""
    arrival = publishing.delivery.arrival()
    # What failed had no effect, or has the same as before.
    if publishing.failure is not None or arrival in (Arrival.LOST, Arrival.UNDER_WAY):
        return True
    if arrival in (Arrival.CLOSED, Arrival.READ):
        return False
    if publishing.push is not None and exchange.push is not publishing.push:
        # Its client has left the socket by which the reply would have come.
        return True
    waited = now - publishing.at >= PATIENCE
    if arrival is Arrival.WAITING:
        return waited
    # A proxy took the reply: whether the client has it only the client's ids can tell.
    return waited and counts and publishing.forwarded
