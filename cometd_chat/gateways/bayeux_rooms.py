"""The chat's rooms as Bayeux channels: ``/chat/ROOM`` for what is said there.

What it is: a `ChannelSource` that opens and closes what clients read, and a follower of the engine,
which hears what is said in all rooms and tells the subscriptions of those who read them.

What it may know: the chat, Bayeux clients. Not transports, not HTTP.

Invariant: a client is fed every kept event of its rooms after its position once; so whatever it has
confirmed of a room, it has all before that, too. What is done for one message is as much as there
are clients who read its room, a slice at a time, and nothing is done for each room of a wildcard.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial

from twisted.logger import Logger

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.faults import session_unknown
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.queue import EventMessage, Kept
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.resume import ResumePoint, resume_after
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.subscription import Subscription
from cometd_chat.comet import Delivery
from cometd_chat.comet.slices import CallSoon, Slices
from cometd_chat.errors import InvalidRequest
from cometd_chat.events import kinds
from cometd_chat.events.event import Batch, Event
from cometd_chat.gateways.bayeux_channels import ALL, CHAT, name_of, room_of, segment_of
from cometd_chat.gateways.bayeux_policy import visitor_of
from cometd_chat.gateways.bayeux_sink import ChannelSubscription, QueueFeed, QueueSink, RoomReader
from cometd_chat.gateways.bayeux_start import wanted_position

#: So many of the newest events are kept as messages, which are the same for all.
_MOST_MADE = 2048
_MOST_MADE_BYTES = 8 * 1024 * 1024

_NOT_TOLD = "a Bayeux client could not be told what was said"


class RoomSource:
    """What is said in rooms.

    :param call_soon: calls something after the reactor's current turn.
    :param tell_members: tells what is not kept, who comes and goes, to one after the other.
    """

    _log = Logger()

    tree = "/chat/*"

    def __init__(
        self,
        chat: Chat,
        call_soon: CallSoon,
        tell_members: Callable[[str, Event], Iterator[object]],
    ) -> None:
        self._tell_members = tell_members
        self._chat = chat
        self._feed = chat.feed
        self._slices = Slices(chat.feed.engine.reaper.seconds, call_soon)
        self._readers: dict[BayeuxClient, RoomReader] = {}
        self._by_path: dict[str, dict[RoomReader, ChannelSubscription]] = {}
        self._made: OrderedDict[int, EventMessage | None] = OrderedDict()
        self._made_bytes = 0
        self._queue_feed = QueueFeed(
            self,
            chat.readers.shared,
            self._made,
            self._make,
            self._join,
            chat.rights,
            chat.ignored.lists,
            self._is_hidden,
        )
        # What was said and is on its way, whether somebody is being told, and who has become live
        # meanwhile.
        self._said: list[Delivery] = []
        self._telling = False
        self._joining: dict[RoomReader, None] = {}
        chat.feed.engine.follow(self._delivered)

    # -- ChannelSource

    async def open(
        self, client: BayeuxClient, pattern: str, ext: Mapping[str, object]
    ) -> Callable[[], None]:
        """See `ChannelSource.open`. What it says of where to begin is for `wanted_position`."""
        now = self._feed.last_id
        visitor = visitor_of(client)
        room = None if pattern.endswith("*") else await room_of(self._chat, pattern, visitor.person)
        self._chat.rights.require(visitor.person, Act.FOLLOW, [] if room is None else [room])
        wanted = await wanted_position(self._feed, pattern, ext)
        _refuse_ended(client)
        reader = self._readers.get(client)
        if reader is None:
            reader = RoomReader(self._queue_feed, client, visitor)
            self._readers[client] = reader
        channel = reader.channels.get(ALL if room is None else room.context.path)
        if channel is None:
            channel = await self._open(reader, room, now, wanted)
        if pattern not in channel.patterns:
            channel.patterns += (pattern,)
        return partial(self._begin, channel)

    async def _open(
        self, reader: RoomReader, room: Room | None, now: int, wanted: int | None
    ) -> ChannelSubscription:
        """Let somebody read a room, or all of them.

        :param now: where one begins of whom nothing is known.
        :param wanted: where the client wants to begin, if it says so.
        """
        key, name = (ALL, ALL) if room is None else (room.context.path, room.name)
        person = reader.visitor.person
        by_wildcard = reader.channels.get(ALL) if wanted is None else None
        if by_wildcard is not None:
            # The room is read already: what of it is confirmed is what is confirmed of all.
            wanted = by_wildcard.marker.position
        marker = await self._chat.positions.open(person.id, name, now=now, wanted=wanted)
        try:
            if by_wildcard is None:
                paths = None if room is None else [key]
                # In a log that was put back there may be less than what was confirmed of it.
                known = min(marker.position, self._feed.last_id)
                point = await resume_after(self._feed, paths, known)
            _refuse_ended(reader.client)
            # What they might do may have changed meanwhile.
            self._chat.rights.require(person, Act.FOLLOW, [] if room is None else [room])
        except Exception:
            self._chat.positions.leave(marker, returns=True)
            raise
        if by_wildcard is not None:
            # And as much of it was fed.
            point = ResumePoint(by_wildcard.sink.subscription.position)
        channel = reader.add(key, marker, point)
        self._by_path.setdefault(key, {})[reader] = channel
        if room is not None:
            self._chat.presence.hold(name, person, self._chat.shown(reader.visitor.address))
        return channel

    def _begin(self, channel: ChannelSubscription) -> None:
        """The client knows that it has subscribed. Its channel may be brought by a subscription
        that has long begun."""
        channel.sink.subscription.begin()

    def close(self, client: BayeuxClient, pattern: str) -> None:
        """See `ChannelSource.close`. What ends with its client is kept for the next one, see
        `ended`."""
        reader = self._readers.get(client)
        if reader is None or client.ended:
            return
        for key, channel in list(reader.channels.items()):
            channel.patterns = tuple(each for each in channel.patterns if each != pattern)
            if not channel.patterns:
                reader.remove(key)
                self._forget(reader, key)
                self._chat.positions.forget(channel.marker)

    async def publish(self, client: BayeuxClient, message: Message, resend_key: str | None) -> None:
        """See `ChannelSource.publish`: somebody says something."""
        data = message["data"]
        if not isinstance(data, dict):
            raise InvalidRequest('Publish {"text": "..."} to a room.')
        visitor = visitor_of(client)
        room = await room_of(self._chat, message["channel"], visitor.person)
        client_id = data.get("client_id", resend_key)
        await self._chat.messages.say(
            visitor.person, room, data.get("text"), client_id, address=visitor.address
        )

    def confirmed(self, client: BayeuxClient, channel: str, position: int) -> None:
        """See `ChannelSource.confirmed`."""
        reader = self._readers.get(client)
        if reader is not None:
            found = reader.channel(_path_of(channel))
            if found is not None:
                self._chat.positions.confirm(found.marker, position)

    def resume(self, client: BayeuxClient) -> None:
        """See `ChannelSource.resume`."""
        reader = self._readers.get(client)
        if reader is not None:
            reader.on_ready()

    def ended(self, client: BayeuxClient, returns: bool) -> None:
        """A client has ended.

        :param returns: without a word: it may come back.
        """
        reader = self._readers.pop(client, None)
        if reader is None:
            return
        reader.end()
        self._joining.pop(reader, None)
        for key, channel in reader.channels.items():
            self._forget(reader, key)
            self._chat.positions.leave(channel.marker, returns=returns)

    def _forget(self, reader: RoomReader, key: str) -> None:
        """Somebody reads something no longer."""
        readers = self._by_path[key]
        del readers[reader]
        if not readers:
            del self._by_path[key]
        if key != ALL:
            self._chat.presence.release(kinds.room_of(key), reader.visitor.person)

    def readers_of(self, name: str) -> list[BayeuxClient]:
        """Which clients read a room by its name."""
        return [each.client for each in self._by_path.get(kinds.path_of(name), ())]

    def end_what_is_not_allowed(self, client: BayeuxClient) -> dict[str | None, str]:
        """Somebody's rights have changed: whoever may not read a room any longer has not subscribed
        to it, and who may not read on at all, to none. What else they read by a wildcard is looked
        at when they are told.

        :returns: why, by room; None for all that they read by a wildcard.
        """
        lost: dict[str | None, str] = {}
        reader = self._readers.get(client)
        if reader is None:
            return lost
        visitor = reader.visitor
        for key, channel in list(reader.channels.items()):
            name = None if key == ALL else kinds.room_of(key)
            why = self._chat.readers.why_not_follow(visitor.person, name, visitor.address)
            if why is not None:
                lost[name] = why
                for pattern in channel.patterns:
                    client.unsubscribe(pattern)
        return lost

    def _is_hidden(self, reader: RoomReader, name: str) -> bool:
        """Whether somebody may not read a room."""
        visitor = reader.visitor
        return self._chat.readers.may_not_follow(visitor.person, name, visitor.address)

    # -- what is said now

    def _delivered(self, told: Sequence[Delivery]) -> None:
        """Something was said, or somebody came or went: tell all who read it, a slice at a time."""
        for each in told:
            # What was made of something else is made anew for whoever is told of it from now on.
            refers = each.attachment.refers
            if refers is not None:
                self._unmake(refers)
        self._said.extend(told)
        if not self._telling:
            self._telling = True
            self._slices.walk(self._tell_all(), self._all_told)

    def _all_told(self) -> None:
        self._telling = False
        joining, self._joining = self._joining, {}
        for reader in joining:
            reader.join()

    def _join(self, reader: RoomReader) -> None:
        """A subscription of somebody is live: the others that are wait for no other, unless
        something is on its way to one of them."""
        if self._telling:
            self._joining[reader] = None
        else:
            reader.join()

    def _tell_all(self) -> Iterator[object]:
        while self._said:
            told, self._said = self._said, []
            kept: dict[str, list[Event]] = {}
            for each in told:
                if each.attachment.id is not None:
                    kept.setdefault(each.path, []).append(each.attachment)
                elif kinds.kind_of(each.attachment.type).people:
                    yield from self._tell_members(each.path, each.attachment)
                else:
                    yield from self._tell_of_room(each.path, each.attachment)
            if not self._by_path:
                continue
            if len(kept) == 1:
                ((path, events),) = kept.items()
                yield from self._tell_room(path, Batch(events))
            elif kept:
                yield from self._tell_rooms(kept)

    def _tell_of_room(self, path: str, event: Event) -> Iterator[object]:
        """Tell what is not kept and nobody said, such as that a room is locked: once to each who
        reads it, however they do."""
        data = kinds.kind_of(event.type).in_bayeux(event)
        if data is None:
            return
        name, message = kinds.room_of(path), None
        for reader in self._readers_of((path,)):
            # The same for all of them.
            message = message or reader.client.event(CHAT + segment_of(name), data)
            if message is None:
                return
            if not (self._chat.rights.differ_by_room and self._is_hidden(reader, name)):
                reader.client.put(message)
            yield None

    def _tell_room(self, path: str, batch: Batch) -> Iterator[object]:
        """Tell what was said in one room, as it mostly is. Over copies of those who read it: who
        comes in between has it from the tail, and who goes is told no more."""
        # A step for each event, for slices are counted in steps.
        further = batch.events[1:]
        for channel in list(self._by_path.get(path, {}).values()):
            if channel.patterns:
                # `_take`, spelt out.
                try:
                    channel.sink.subscription.take(batch)
                except Exception:
                    self._log.failure(_NOT_TOLD)
            yield None
            if further:
                yield from further
        for reader, channel in list(self._by_path.get(ALL, {}).items()):
            # By name it is brought by another one, perhaps.
            if channel.patterns and path not in reader.channels:
                self._take(channel.sink.subscription, batch)
            yield None
            if further:
                yield from further

    def _tell_rooms(self, said: Mapping[str, Sequence[Event]]) -> Iterator[object]:
        """Tell what was said in several rooms at once, all of it to one after the other: a poll is
        answered once, however many waited."""
        batches: dict[tuple[str, ...], Batch] = {}
        paths = tuple(said)
        for reader in self._readers_of(paths):
            for sink, brought in _shares(reader, paths).items():
                batch = batches.get(brought)
                if batch is None:
                    batch = batches[brought] = _in_order(said, brought)
                self._take(sink.subscription, batch)
                yield from batch.events

    def _take(self, subscription: Subscription, batch: Batch) -> None:
        try:
            subscription.take(batch)
        except Exception:
            self._log.failure(_NOT_TOLD)

    def _readers_of(self, paths: Collection[str]) -> list[RoomReader]:
        """Who reads any of some rooms, each once."""
        found = {reader: None for path in paths for reader in self._by_path.get(path, ())}
        return [*found, *(each for each in self._by_path.get(ALL, ()) if each not in found)]

    def _make(self, client: BayeuxClient, event: Event) -> EventMessage | None:
        """Make an event what is delivered, the same for all; None for a kind that such clients are
        not told of, and when an extension drops it."""
        id = event.id or 0
        data = kinds.kind_of(event.type).in_bayeux(event)
        channel = CHAT + segment_of(event.fields["room"])
        made = None
        if data is not None:
            kept = Kept(id, event.fields["at"])
            made = client.event(channel, data, kept, ext={"cursor": event.cursor})
        self._made[id] = made
        self._made_bytes += _weight(made)
        while len(self._made) > _MOST_MADE or self._made_bytes > _MOST_MADE_BYTES:
            _, oldest = self._made.popitem(last=False)
            self._made_bytes -= _weight(oldest)
        return made

    def _unmake(self, id: int) -> None:
        self._made_bytes -= _weight(self._made.pop(id, None))


@lru_cache(maxsize=1024)
def _path_of(channel: str) -> str:
    """The path of the room that has a channel. Asked for each connect."""
    return kinds.path_of(name_of(channel))


def _shares(reader: RoomReader, paths: Collection[str]) -> Mapping[QueueSink, tuple[str, ...]]:
    """By which of somebody's subscriptions some rooms are brought."""
    shares: dict[QueueSink, tuple[str, ...]] = {}
    for path in paths:
        channel = reader.channel(path)
        if channel is not None:
            shares[channel.sink] = (*shares.get(channel.sink, ()), path)
    return shares


def _in_order(said: Mapping[str, Sequence[Event]], paths: tuple[str, ...]) -> Batch:
    """What was said in some rooms, in the order of all."""
    found = [event for path in paths for event in said[path]]
    return Batch(sorted(found, key=lambda event: event.id or 0))


def _refuse_ended(client: BayeuxClient) -> None:
    if client.ended:
        # While its place was looked for. It is told what it is told of all else from now on.
        raise session_unknown()


def _weight(message: EventMessage | None) -> int:
    return 0 if message is None else message.weight
