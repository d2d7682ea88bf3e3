"""What one Bayeux client reads of rooms, on its way into the client's queue.

What it is: a `QueueSink` is where the events of a subscription go; a `RoomReader` is all that one
client reads: mostly one subscription, however many rooms. A room that is subscribed to has a
subscription of its own until that is live, and is brought by the client's first one then.

What it may know: subscriptions, Bayeux clients and their queues. Not how channels are opened.

Invariant: an event goes by the one subscription that brings its room, so a client is fed it once,
however many of its patterns match. What is live is one subscription, so that what a full queue has
refused comes again in the order of all rooms.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import attrs

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.queue import EventMessage
from cometd_chat.chat.positions import ReadMarker
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.shared_state import SharedState
from cometd_chat.chat.subscription import State, Subscription
from cometd_chat.events.event import Batch, Event
from cometd_chat.events.kinds import path_of
from cometd_chat.gateways.bayeux_channels import ALL
from cometd_chat.gateways.bayeux_policy import Visitor


@attrs.frozen(eq=False)
class QueueFeed:
    """What the sinks of all clients have in common.

    :param source: of what is fed, see `BayeuxClient.feed`.
    :param shared: what their subscriptions have in common.
    :param made: messages as they are delivered, the same for all, by id; None for what isn't.
    :param make: makes one, and puts it there.
    :param on_live: told when a subscription of a client has everything.
    :param ignored: whom somebody ignores, by identity.
    :param is_hidden: whether somebody may not read a room; asked only where `rights` hide any.
    """

    source: object
    shared: SharedState
    made: Mapping[int, EventMessage | None]
    make: Callable[[BayeuxClient, Event], EventMessage | None]
    on_live: Callable[[RoomReader], None]
    rights: Rights
    ignored: Mapping[str, Collection[str]]
    is_hidden: Callable[[RoomReader, str], bool]


@attrs.define(eq=False, weakref_slot=False)
class ChannelSubscription:
    """That a client reads a room, or all that it reads by a wildcard.

    :param marker: what the client has confirmed.
    :param sink: which brings it.
    :param patterns: why.
    """

    marker: ReadMarker
    sink: QueueSink
    patterns: tuple[str, ...] = ()


@attrs.define(eq=False, weakref_slot=False)
class RoomReader:
    """What one Bayeux client reads.

    :param channels: by path of the room, or `ALL`.
    :param sinks: those that bring them, the oldest first.
    """

    feed: QueueFeed
    client: BayeuxClient
    visitor: Visitor
    channels: dict[str, ChannelSubscription] = attrs.field(factory=dict)
    sinks: tuple[QueueSink, ...] = ()

    def channel(self, path: str) -> ChannelSubscription | None:
        """By which of them a room is read."""
        return self.channels.get(path) or self.channels.get(ALL)

    def add(self, key: str, marker: ReadMarker, point: ResumePoint) -> ChannelSubscription:
        """Read something from a point on; its sink's subscription is yet to begin.

        :param key: the path of a room, or `ALL`.
        """
        sink = QueueSink(self, key, point)
        self.sinks += (sink,)
        channel = self.channels[key] = ChannelSubscription(marker, sink)
        return channel

    def remove(self, key: str) -> None:
        """Read something no longer."""
        sink = self.channels.pop(key).sink
        if not any(each.sink is sink for each in self.channels.values()):
            self._drop(sink)

    def on_ready(self) -> None:
        """There is room in the client's queue."""
        for sink in self.sinks:
            sink.subscription.on_ready()

    def join(self) -> None:
        """Let the first one that is live bring what the others bring that are. All of them have
        everything: nothing is on its way to any."""
        live = [
            each
            for each in self.sinks
            if each.subscription.state is State.LIVE and each.missing is None
        ]
        for joining in live[1:]:
            for key in [joining.only] if joining.only is not None else list(self.channels):
                if self.channels[key].sink is joining:
                    self.channels[key].sink = live[0]
            live[0].only = None
            live[0].subscription.position = self.feed.shared.feed.last_id
            self._drop(joining)

    def end(self) -> None:
        """The client has gone."""
        for sink in self.sinks:
            sink.subscription.end()

    def _drop(self, sink: QueueSink) -> None:
        sink.subscription.end()
        self.sinks = tuple(each for each in self.sinks if each is not sink)


class QueueSink:
    """The sink of one subscription: the queue of its client.

    :param only: the one channel that it brings; None when it may bring several.
    """

    __slots__ = ("_reader", "missing", "only", "subscription")

    #: Comings and goings don't come this way.
    congested = False

    def __init__(self, reader: RoomReader, only: str, point: ResumePoint) -> None:
        self._reader = reader
        self.only: str | None = only
        #: The gap that is told with the next message.
        self.missing: Event | None = None
        self.subscription = RoomSubscription(reader.feed.shared, self, self, point)

    @property
    def paths(self) -> tuple[str, ...] | None:
        """What it brings; see `Readable`."""
        if self.only is not None:
            return None if self.only == ALL else (self.only,)
        channels = self._reader.channels
        if ALL in channels and channels[ALL].sink is self:
            return None
        return tuple(key for key, each in channels.items() if each.sink is self)

    def offer(self, batch: Batch) -> int:
        """See `Sink.offer`."""
        reader = self._reader
        feed, client = reader.feed, reader.client
        hides = feed.rights.differ_by_room
        lists = feed.ignored
        ignored = lists.get(reader.visitor.person.identity, ()) if lists else ()
        for event in batch.events:
            id = event.id
            if id is None:
                self.missing = event
                continue
            if hides and feed.is_hidden(reader, event.fields["room"]):
                continue
            if ignored and event.sender in ignored:
                continue
            # Spelt out, for this is run for each client of each message.
            message = feed.made[id] if id in feed.made else feed.make(client, event)
            if message is None:
                continue
            missing = self.missing
            if missing is not None:
                message = _after_gap(message, missing)
            if not client.feed(message, feed.source, id):
                return id
            if missing is not None:
                self.missing = None
        return 0

    def replay(self, page: Batch) -> int:
        """See `Sink.replay`. What it brings may have changed since the page was asked for, and
        where it brings all rooms, some may yet be brought by others."""
        wanted = [event for event in page.events if event.id is None or self._brings(event)]
        return self.offer(page if len(wanted) == len(page.events) else Batch(wanted))

    def _brings(self, event: Event) -> bool:
        channel = self._reader.channel(path_of(event.fields["room"]))
        return channel is not None and channel.sink is self

    def ready(self) -> bool:
        """Always: it refuses what there is no room for."""
        return True

    def on_live(self) -> None:
        """It has everything."""
        self._reader.feed.on_live(self._reader)


class RoomSubscription(Subscription):
    """The subscription of a `QueueSink`, which hears when it is live."""

    __slots__ = ()

    _sink: QueueSink

    @staticmethod
    def _size_of(event: Event) -> int:
        """Nothing: the queue refuses what is too much, and an event is not made JSON to measure it,
        of which it sends another one."""
        return 0

    def _go_live(self, rest: Batch | None) -> None:
        super()._go_live(rest)
        if self.state is State.LIVE:
            self._sink.on_live()


def _after_gap(message: EventMessage, gap: Event) -> EventMessage:
    """A message that says how many are missing before it."""
    missing = {name: gap.fields[name] for name in ("missing", "at_least") if name in gap.fields}
    ext = {**message.fields["ext"], **missing}
    return EventMessage(message.channel, {**message.fields, "ext": ext}, message.kept)
