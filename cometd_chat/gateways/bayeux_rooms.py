"""The chat's rooms as Bayeux channels: ``/chat/ROOM`` for what is said there.

What it is: a `ChannelSource` that reads the tail and the log for all Bayeux sessions, and a
follower of the engine, which hears what is said in all rooms and tells those who read them.

What it may know: the chat, Bayeux sessions. Not transports, not HTTP.

Invariant: a session is fed every kept event of its rooms after its position once, in the order of
ids over all of them; what its queue refused is fed again from the tail or the log. So whatever a
client has confirmed, it has all before that, too.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.bayeux.client import BayeuxClient as Session
from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.queue import EventMessage, Kept
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.positions import ReadMarker
from cometd_chat.chat.resume import resume_after
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session as Person
from cometd_chat.chat.shared_state import PAGE_BYTES
from cometd_chat.chat.subscription import STORAGE_DELAY
from cometd_chat.comet import CometEvent
from cometd_chat.comet.slices import CallSoon, Slices
from cometd_chat.errors import ChatError, InvalidRequest, RoomNotFound, StorageUnavailable
from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.gateways.bayeux_policy import Visitor, visitor_of
from cometd_chat.gateways.bayeux_start import wanted_position
from cometd_chat.log.log import Count

CHAT = "/chat/"

#: The room of a mark that stands for all rooms that are read by a wildcard.
ALL = "*"

#: Events of a backlog that are taken at once.
PAGE = 200

#: So many of the newest events are kept as messages, which are the same for all.
_MOST_MADE = 2048
_MOST_MADE_BYTES = 8 * 1024 * 1024

_PLAIN = re.compile(r"[a-z0-9_-]+")


def segment_of(room: str) -> str:
    """A room's name as a channel's segment, which has fewer characters. (Interface, section 7)"""
    return room if _PLAIN.fullmatch(room) else "~" + room.encode().hex()


def room_of(chat: Chat, channel: str, asker: Person | None) -> Room:
    """The room of a channel such as ``/chat/lobby``.

    :param asker: who names it.
    :raises RoomNotFound: there is none, or that isn't how its channel is written.
    """
    room = chat.rooms.find(name_of(channel), asker)
    if segment_of(room.name) != channel.rpartition("/")[2]:
        raise RoomNotFound(f"The channel of that room is written {segment_of(room.name)}.")
    return room


def name_of(channel: str) -> str:
    """The name that a room has, or would have, which has a channel such as ``/chat/lobby``; empty
    for what is nobody's."""
    segment = channel.rpartition("/")[2]
    if not segment.startswith("~"):
        return segment
    try:
        return bytes.fromhex(segment[1:]).decode()
    except ValueError:
        return ""


@attrs.define(eq=False)
class _Place:
    """Where a session is in a room, or in all that it reads by a wildcard.

    :param mark: what its client has confirmed.
    :param position: it was fed everything up to this id.
    :param missing: what was left out before the first one; None when nothing was.
    :param patterns: why it is there.
    :param begun: its client knows that it has subscribed.
    :param live: what is said from now is fed at once.
    """

    mark: ReadMarker
    position: int
    missing: Count | None = None
    patterns: set[str] = attrs.field(factory=set)
    begun: bool = False
    live: bool = False


@attrs.define(eq=False)
class _Reader:
    """What one Bayeux session reads. An item of the reaper while the log can't be read.

    :param places: by path of the room, or `ALL`.
    """

    source: RoomSource
    session: Session
    visitor: Visitor
    places: dict[str, _Place] = attrs.field(factory=dict)
    catching_up: bool = False
    due_bucket: int = 0

    def place(self, path: str) -> _Place | None:
        return self.places.get(path) or self.places.get(ALL)

    def on_due(self, now: float) -> float | None:
        self.source.catch_up(self)
        return None


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
        self._reaper = chat.feed.engine.reaper
        self._slices = Slices(self._reaper.seconds, call_soon)
        self._readers: dict[Session, _Reader] = {}
        self._by_path: dict[str, dict[_Reader, None]] = {}
        self._made: OrderedDict[int, EventMessage | None] = OrderedDict()
        self._made_bytes = 0
        # What was said and is on its way, and whether somebody is being told.
        self._said: list[CometEvent] = []
        self._telling = False
        chat.feed.engine.follow(self._delivered)
        chat.rights.changed.add(self._end_what_is_not_allowed)

    # -- ChannelSource

    async def open(
        self, session: Session, pattern: str, ext: Mapping[str, object]
    ) -> Callable[[], None]:
        """See `ChannelSource.open`. What it says of where to begin is for `wanted_position`."""
        now = self._feed.last_id
        visitor = visitor_of(session)
        room = None if pattern.endswith("*") else room_of(self._chat, pattern, visitor.person)
        self._chat.rights.require(visitor.person, Act.FOLLOW, [] if room is None else [room])
        wanted = await wanted_position(self._feed, pattern, ext)
        _refuse_ended(session)
        reader = self._readers.get(session)
        if reader is None:
            reader = self._readers[session] = _Reader(self, session, visitor)
        key = ALL if room is None else room.context.path
        place = reader.places.get(key)
        if place is None:
            if wanted is None and ALL in reader.places:
                # She is read this room already, and up to there.
                wanted = reader.places[ALL].position
            name = ALL if room is None else room.name
            mark = await self._chat.positions.open(visitor.person.id, name, now=now, wanted=wanted)
            place = await self._placed(mark, key)
            try:
                _refuse_ended(session)
                # What she might do may have changed meanwhile.
                self._chat.rights.require(
                    visitor.person, Act.FOLLOW, () if room is None else [room]
                )
            except ChatError:
                self._chat.positions.leave(mark, returns=True)
                raise
            self._add(reader, key, place)
            if room is not None:
                shown = self._chat.shown(visitor.address)
                self._chat.presence.hold(room.name, visitor.person, shown)
        place.patterns.add(pattern)
        return partial(self._begin, reader, place)

    def close(self, session: Session, pattern: str) -> None:
        """See `ChannelSource.close`. What ends with its session is kept for the next one, see
        `ended`."""
        reader = self._readers.get(session)
        if reader is None or session.ended:
            return
        for key, place in list(reader.places.items()):
            place.patterns.discard(pattern)
            if not place.patterns:
                self._remove(reader, key)
                self._chat.positions.forget(place.mark)

    async def publish(self, session: Session, message: Message, resend_key: str | None) -> None:
        """See `ChannelSource.publish`: somebody says something."""
        data = message["data"]
        if not isinstance(data, dict):
            raise InvalidRequest('Publish {"text": "..."} to a room.')
        visitor = visitor_of(session)
        room = room_of(self._chat, message["channel"], visitor.person)
        client_id = data.get("client_id", resend_key)
        await self._chat.say(
            visitor.person, room, data.get("text"), client_id, address=visitor.address
        )

    def confirmed(self, session: Session, channel: str, position: int) -> None:
        """See `ChannelSource.confirmed`."""
        reader = self._readers.get(session)
        if reader is not None:
            place = reader.place(kinds.path_of(name_of(channel)))
            if place is not None:
                self._chat.positions.confirm(place.mark, position)

    def resume(self, session: Session) -> None:
        """See `ChannelSource.resume`."""
        reader = self._readers.get(session)
        if reader is not None:
            self.catch_up(reader)

    def ended(self, session: Session, returns: bool) -> None:
        """A session has ended.

        :param returns: without a word: its client may come back.
        """
        reader = self._readers.pop(session, None)
        if reader is None:
            return
        self._reaper.cancel(reader)
        for key, place in list(reader.places.items()):
            self._remove(reader, key)
            self._chat.positions.leave(place.mark, returns=returns)

    # -- places

    async def _placed(self, mark: ReadMarker, key: str) -> _Place:
        """The place of a mark: after it, or among the newest when it is too far behind."""
        try:
            paths = None if key == ALL else [key]
            point = await resume_after(self._feed, paths, mark.position)
        except Exception:
            self._chat.positions.leave(mark, returns=True)
            raise
        missing = None
        for gap in point.preface:
            missing = Count(gap.fields["missing"], gap.fields.get("at_least", False))
        return _Place(mark, point.position, missing)

    def _add(self, reader: _Reader, key: str, place: _Place) -> None:
        reader.places[key] = place
        self._by_path.setdefault(key, {})[reader] = None

    def _remove(self, reader: _Reader, key: str) -> None:
        del reader.places[key]
        readers = self._by_path[key]
        del readers[reader]
        if not readers:
            del self._by_path[key]
        if key != ALL:
            self._chat.presence.release(kinds.room_of(key), reader.visitor.person)

    def _end_what_is_not_allowed(self) -> None:
        """The rights have changed: whoever may not read a room any longer has not subscribed to it.
        What somebody reads by a wildcard is looked at when they are told."""
        for reader in list(self._readers.values()):
            for key, place in list(reader.places.items()):
                if key != ALL and self._is_hidden(reader, key):
                    for pattern in list(place.patterns):
                        reader.session.unsubscribe(pattern)

    def _is_hidden(self, reader: _Reader, path: str) -> bool:
        """Whether somebody may not read a room."""
        room = self._chat.rooms.named(kinds.room_of(path))
        person = reader.visitor.person
        return room is None or self._chat.rights.may(person, Act.FOLLOW, room) is not None

    def _begin(self, reader: _Reader, place: _Place) -> None:
        place.begun = True
        self.catch_up(reader)

    # -- what is said now

    def _delivered(self, told: Sequence[CometEvent]) -> None:
        """Something was said, or somebody came or went: tell all who read it, a slice at a time."""
        self._said.extend(told)
        if not self._telling:
            self._telling = True
            self._slices.walk(self._tell_all(), self._all_told)

    def _all_told(self) -> None:
        self._telling = False

    def _tell_all(self) -> Iterator[object]:
        while self._said:
            told, self._said = self._said, []
            kept = []
            for each in told:
                if each.attachment.id is None:
                    yield from self._tell_members(each.context.path, each.attachment)
                else:
                    kept.append((each.context.path, each.attachment))
            # All of it to one after the other: a poll is answered once, however many waited. Over a
            # copy: whoever comes in between has it from the tail.
            for reader in self._readers_of({path for path, _ in kept}):
                for path, event in kept:
                    self._take(reader, path, event)
                    yield None

    def _readers_of(self, paths: Collection[str]) -> list[_Reader]:
        """Who reads any of some rooms, each once."""
        if len(paths) == 1:
            (path,) = paths
            return [*self._by_path.get(path, ()), *self._by_path.get(ALL, ())]
        found = {reader: None for path in paths for reader in self._by_path.get(path, ())}
        return [*found, *(each for each in self._by_path.get(ALL, ()) if each not in found)]

    def _take(self, reader: _Reader, path: str, event: Event) -> None:
        place = reader.place(path)
        try:
            if place is None or not place.live:
                return
            if self._chat.rights.hides_rooms and self._is_hidden(reader, path):
                return
            if not self._put(reader, place, event):
                self._pause(reader, event.id or 0)
        except Exception:
            self._log.failure("a Bayeux session could not be told what was said")

    def _pause(self, reader: _Reader, id: int) -> None:
        """Her queue is full: from this event on she is fed when there is room."""
        for place in reader.places.values():
            if place.live:
                place.live = False
                place.position = max(place.position, id - 1)

    def _put(self, reader: _Reader, place: _Place, event: Event) -> bool:
        """Feed an event, unless she was fed it; False when there is no room for it."""
        id = event.id or 0
        if id <= place.position:
            return True
        message = self._message(reader.session, event)
        if message is None:
            place.position = id
            return True
        if place.missing is not None:
            least = {"at_least": True} if place.missing.at_least else {}
            ext = {**message.fields["ext"], "missing": place.missing.number, **least}
            message = EventMessage(message.channel, {**message.fields, "ext": ext}, message.kept)
        if not reader.session.feed(message, self, id):
            return False
        place.position, place.missing = id, None
        return True

    def _message(self, client: Session, event: Event) -> EventMessage | None:
        """An event as it is delivered, the same for all; None for a kind that such
        clients are not told of, and when an extension drops it."""
        id = event.id or 0
        if id not in self._made:
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
        return self._made[id]

    # -- what was said before

    def catch_up(self, reader: _Reader) -> None:
        """Bring somebody up to the live end, as far as her queue takes it."""
        if reader.catching_up or reader.session.ended:
            return
        reader.catching_up = True
        work = Deferred.fromCoroutine(self._bring_up(reader))
        work.addBoth(self._brought_up, reader)

    def _brought_up(self, result: object, reader: _Reader) -> None:
        reader.catching_up = False
        if not isinstance(result, Failure):
            return
        if result.check(StorageUnavailable):
            self._log.warn("a Bayeux session waits for the log: {reason}", reason=result.value)
        else:
            self._log.failure("a Bayeux session could not be brought up to date", result)
        if reader.session in self._readers:
            self._reaper.schedule(reader, STORAGE_DELAY)

    async def _bring_up(self, reader: _Reader) -> None:
        while not reader.session.ended:
            behind = {
                key: place for key, place in reader.places.items() if place.begun and not place.live
            }
            if not behind:
                return
            position = min(place.position for place in behind.values())
            # All there are where a wildcard is among them: what she reads by name as well is sorted
            # out when it is fed.
            paths = None if ALL in behind else behind
            found = self._page(position, paths)
            live = found is not None and len(found) <= PAGE
            if found is None:
                # Nothing waits between this and going live, unless the tail does not reach back.
                floor = self._feed.tail.floor
                records = await self._feed.read(
                    paths, after=position, limit=PAGE, max_bytes=PAGE_BYTES
                )
                found = [kinds.recorded(record) for record in records]
                reached = found[-1].id or 0 if found else floor
            else:
                found = found[:PAGE]
                reached = self._feed.last_id if live else found[-1].id or 0
            if not self._put_all(reader, behind, found):
                return
            for place in behind.values():
                place.position = max(place.position, reached)
                place.live = live

    def _page(self, position: int, paths: Collection[str] | None) -> Sequence[Event] | None:
        """What follows a position, one more than a page if there is more; None when that is no
        longer in the tail."""
        if position >= self._feed.last_id:
            return []
        return self._feed.after(position, paths, PAGE + 1)

    def _put_all(
        self, reader: _Reader, behind: Mapping[str, _Place], found: Sequence[Event]
    ) -> bool:
        """Feed a page; False when her queue is full before its end, or she has gone."""
        for event in found:
            path = kinds.path_of(event.fields["room"])
            key = path if path in reader.places else ALL
            place = reader.places.get(key)
            if place is None or behind.get(key) is not place:
                continue
            if self._chat.rights.hides_rooms and self._is_hidden(reader, path):
                continue
            if not self._put(reader, place, event):
                return False
        return not reader.session.ended


def _refuse_ended(session: Session) -> None:
    if session.ended:
        raise InvalidRequest("The session has ended.")


def _weight(message: EventMessage | None) -> int:
    return 0 if message is None else message.weight
