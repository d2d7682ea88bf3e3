"""What waits for one client, and what was sent and is not confirmed yet.

What it is: the only place from which messages reach a client, whatever the transport: a view on
it takes from the front, and what has not arrived is put back there.

What it may know: encoded event messages and where they came from. Not transports, not time.

Invariant: a message leaves when the client is known to have it. Its number never changes, and
numbers go out in order. Count and bytes are bounded: what is over the bound is refused when its
source can give it again, else the oldest messages that nobody can give again are dropped.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence

import attrs

from cometd_chat.bayeux.messages import Message, encode, weight

#: So many replies to connects can be unconfirmed: more than a client ever has.
_MAX_BATCHES = 64

#: What keeping a message costs beside its JSON, about, in bytes.
_OVERHEAD = 200


@attrs.frozen
class Kept:
    """Where a message stands in the log that keeps it.

    :param id: grows in its channel.
    :param at: when it was said, as ISO 8601 has it.
    """

    id: int
    at: str


@attrs.define(eq=False)
class EventMessage:
    """A message as it is delivered, shared by all whom it is for.

    :param channel: where it was published.
    :param fields: the whole JSON object; never changed again.
    :param kept: its place, when it is kept.
    """

    channel: str
    fields: Message
    kept: Kept | None = None
    json: bytes = attrs.field(init=False)
    _replayed: EventMessage | None = attrs.field(init=False, default=None)
    #: In how many queues it is, of those that send it as it is.
    holders: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self.json = encode(self.fields)

    @property
    def replayed(self) -> EventMessage:
        """The same for clients that replay, which want its place in its data; made once."""
        if self.kept is None:
            return self
        if self._replayed is None:
            data = self.fields["data"]
            place = {"replayId": self.kept.id, "createdDate": self.kept.at}
            shown = {**(data if isinstance(data, dict) else {"payload": data}), "event": place}
            self._replayed = EventMessage(self.channel, {**self.fields, "data": shown})
        return self._replayed

    @property
    def weight(self) -> int:
        """About as many bytes as it takes while anybody keeps it."""
        return len(self.json) + weight(self.json)


@attrs.define(eq=False)
class Queued:
    """An event message in one client's queue.

    :param number: its place in the client's order; grows, and stays when it is sent again.
    :param json: what is sent: the event's own, or what the client's extensions made of it.
    :param lazy: it may wait for others to go with.
    :param source: the key of who can give it again, which is asked for nothing here; None when
        nobody can.
    :param position: of the event in its channel, by its source.
    """

    number: int
    event: EventMessage
    json: bytes
    lazy: bool
    source: Hashable | None
    position: int

    @property
    def size(self) -> int:
        return len(self.json) + _OVERHEAD


#: For each source and channel, how far the client is known to have come.
Confirmed = dict[tuple[Hashable, str], int]


class ClientQueue:
    """The one queue of one client.

    :param max_messages: waiting and unconfirmed together.
    :param max_bytes: the same, in about as many bytes of memory.
    :param account: told how many bytes more, or fewer, this queue makes the process keep: what is
        in others as well is kept once.
    """

    def __init__(
        self,
        max_messages: int,
        max_bytes: int,
        account: Callable[[int], object] = lambda change: None,
    ) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._account = account
        self._counts = True
        self._sent: deque[Queued] = deque()
        self._waiting: deque[Queued] = deque()
        self._bytes = 0
        self._urgent = 0
        self._last_number = 0
        self._highest_sent = 0
        #: How many messages were dropped because nobody took them.
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._sent) + len(self._waiting)

    @property
    def waiting(self) -> int:
        """How many have not been sent, or are to be sent again."""
        return len(self._waiting)

    def waiting_to(self, number: int) -> int:
        """How many of those are of the messages up to a number."""
        return sum(each.number <= number for each in self._waiting)

    @property
    def unconfirmed(self) -> int:
        """How many were sent and may not have arrived."""
        return len(self._sent)

    @property
    def urgent(self) -> bool:
        """Whether something waits that is not lazy."""
        return self._urgent > 0

    @property
    def last_sent(self) -> int:
        """The number up to which everything was sent."""
        return self._waiting[0].number - 1 if self._waiting else self._last_number

    @property
    def size(self) -> int:
        """Bytes in it, as if nobody else had them."""
        return self._bytes

    @property
    def has_room(self) -> bool:
        """Whether it is at most half full: a source that was refused may go on."""
        return len(self) * 2 <= self._max_messages and self._bytes * 2 <= self._max_bytes

    def append(
        self,
        event: EventMessage,
        json: bytes | None = None,
        *,
        lazy: bool = False,
        source: Hashable | None = None,
        position: int = 0,
    ) -> bool:
        """Add a message at the end.

        :param json: what to send instead of the event's own JSON.
        :returns: False when there is no room for it.
        """
        # `_fits`, `Queued.size` and `_kept` are spelt out: this is run for each client of each
        # message, and half of what that costs were calls.
        number = self._last_number + 1
        own = event.json
        if json is None:
            json = own
        waiting = self._waiting
        queued = Queued(number, event, json, lazy, source, position)
        size = len(json) + _OVERHEAD
        count = len(waiting) + len(self._sent)
        if count and (count >= self._max_messages or self._bytes + size > self._max_bytes):
            if source is not None or not self._make_room(queued):
                return False
            waiting = self._waiting
        self._last_number = number
        waiting.append(queued)
        self._bytes += size
        if not lazy:
            self._urgent += 1
        if self._counts:
            if json is own:
                event.holders += 1
                size = _OVERHEAD if event.holders > 1 else _OVERHEAD + event.weight
            self._account(size)
        return True

    def _fits(self, queued: Queued) -> bool:
        # One message has its place in an empty queue, however large: it could never go out else.
        return not len(self) or (
            len(self) < self._max_messages and self._bytes + queued.size <= self._max_bytes
        )

    def _make_room(self, queued: Queued) -> bool:
        """Drop the oldest messages that nobody can give again, sent ones first, in lumps of a
        quarter: from the middle of a queue they cost its whole length to remove."""
        while not self._fits(queued):
            every = [*self._sent, *self._waiting]
            free = [each.number for each in every if each.source is None]
            if not free:
                return False
            last = free[len(free) // 4]
            dropping = [each for each in every if each.source is None and each.number <= last]
            self.dropped += sum(each.number > self.last_sent for each in dropping)
            self._bytes -= sum(each.size for each in dropping)
            gone = {each.number for each in dropping}
            self._sent = deque(each for each in self._sent if each.number not in gone)
            self._waiting = deque(each for each in self._waiting if each.number not in gone)
            self._urgent = sum(not each.lazy for each in self._waiting)
            self._forget(dropping)
        return True

    def clear(self) -> None:
        """Drop everything."""
        everything = [*self._sent, *self._waiting]
        self.dropped += len(self._waiting)
        self._sent.clear()
        self._waiting.clear()
        self._bytes = self._urgent = 0
        self._forget(everything)

    def retire(self) -> None:
        """Its client has ended: from now it counts for nothing, though it may yet be confirmed."""
        self._forget([*self._sent, *self._waiting])
        self._counts = False

    def _forget(self, gone: Sequence[Queued]) -> None:
        if self._counts and gone:
            self._account(-sum(map(_forgotten, gone)))

    def take(self, max_messages: int, max_bytes: int) -> list[Queued]:
        """The next messages to send, lazy ones too; they stay until they are confirmed.

        :param max_bytes: of JSON; a single message may be larger.
        """
        if self._bytes <= max_bytes and len(self._waiting) <= max_messages:
            # As it mostly is: all of them. What they are counted for is more than their JSON.
            taken = list(self._waiting)
            if taken:
                self._waiting.clear()
                self._urgent = 0
                self._sent.extend(taken)
                self._highest_sent = max(self._highest_sent, taken[-1].number)
            return taken
        taken = []
        size = 0
        while self._waiting and len(taken) < max_messages:
            queued = self._waiting[0]
            size += len(queued.json)
            if taken and size > max_bytes:
                break
            self._waiting.popleft()
            self._urgent -= not queued.lazy
            taken.append(queued)
        if taken:
            self._sent.extend(taken)
            self._highest_sent = max(self._highest_sent, taken[-1].number)
        return taken

    def rewind(self) -> int:
        """Put what is not confirmed back at the front, to be sent again.

        :returns: how many.
        """
        count = len(self._sent)
        for queued in reversed(self._sent):
            queued.lazy = False
            self._waiting.appendleft(queued)
        self._urgent += count
        self._sent.clear()
        return count

    def promote_lazy(self) -> None:
        """Lazy messages have waited long enough."""
        for queued in self._waiting:
            queued.lazy = False
        self._urgent = len(self._waiting)

    def confirm(self, number: int) -> Confirmed:
        """The client has everything that was sent up to a number, even what was put back since.

        :returns: how far it has come in the channels of sources.
        """
        number = min(number, self._highest_sent)
        confirmed: Confirmed = {}
        if not self._waiting and self._counts and number == self._highest_sent:
            # As it mostly is: all that there was.
            kept = 0
            for queued in self._sent:
                source, event = queued.source, queued.event
                if source is not None:
                    confirmed[source, event.channel] = queued.position
                # `_forgotten`, spelt out as in `append`.
                if queued.json is event.json:
                    event.holders -= 1
                    kept += _OVERHEAD if event.holders else _OVERHEAD + event.weight
                else:
                    kept += queued.size
            self._sent.clear()
            self._bytes = 0
            if kept:
                self._account(-kept)
            return confirmed
        put_back = list(_pop_until(self._waiting, number))
        self._urgent -= len(put_back)  # which are never lazy
        gone = [*_pop_until(self._sent, number), *put_back]
        for queued in gone:
            self._bytes -= queued.size
            if queued.source is not None:
                confirmed[queued.source, queued.event.channel] = queued.position
        self._forget(gone)
        return confirmed


class Batches:
    """The numbers by which a peer confirms, each with how far the queue had been sent by then."""

    def __init__(self) -> None:
        self._sent: OrderedDict[int, int] = OrderedDict()
        self._last = 0

    def close(self, last_sent: int) -> int:
        """The number of a batch that ends with a message."""
        self._last += 1
        self._sent[self._last] = last_sent
        if len(self._sent) > _MAX_BATCHES:
            self._sent.popitem(last=False)
        return self._last

    def confirm(self, number: int) -> int:
        """How far the queue has arrived with all batches up to a number; 0 when that says nothing
        new, or was never sent."""
        sent = 0
        if number <= self._last:
            while self._sent and next(iter(self._sent)) <= number:
                _, sent = self._sent.popitem(last=False)
        return sent


def _forgotten(queued: Queued) -> int:
    """Bytes that are kept no longer since it has left."""
    event = queued.event
    if queued.json is not event.json:
        return queued.size
    event.holders -= 1
    return _OVERHEAD if event.holders else _OVERHEAD + event.weight


def _pop_until(items: deque[Queued], number: int) -> Iterator[Queued]:
    while items and items[0].number <= number:
        yield items.popleft()
