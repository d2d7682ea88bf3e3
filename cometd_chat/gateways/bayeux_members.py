"""Who is in the chat's rooms, as Bayeux channels ``/members/ROOM``.

What it is: a `ChannelSource` that says who is there, and then who comes and goes.

What it may know: presence, Bayeux clients. Not transports, not HTTP.

Invariant: nothing of this is kept: who was away is told anew who is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import attrs

from cometd_chat.bayeux.client import BayeuxClient
from cometd_chat.bayeux.messages import Message
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.presence import SMALL_ROOM
from cometd_chat.chat.rights import Act
from cometd_chat.comet.slices import CallSoon, Slices
from cometd_chat.errors import InvalidRequest
from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.gateways.bayeux_channels import room_of, segment_of
from cometd_chat.gateways.bayeux_policy import visitor_of

MEMBERS = "/members/"


@attrs.frozen(eq=False)
class _Subscribed:
    """Somebody subscribed.

    :param room: to whose people; None for those of all rooms.
    """

    room: str | None


class MemberSource:
    """Who is in rooms.

    :param call_soon: calls something after the reactor's current turn.
    """

    tree = "/members/*"

    def __init__(self, chat: Chat, call_soon: CallSoon) -> None:
        self._chat = chat
        self._slices = Slices(chat.feed.engine.reaper.seconds, call_soon)
        # Once for each pattern of a client that matches: a client that is told twice is told once.
        self._by_room: dict[str | None, dict[BayeuxClient, set[str]]] = {}
        # The same by client and pattern. Who subscribes anew is another one, see `_tell_there`.
        self._subscribed: dict[tuple[BayeuxClient, str], _Subscribed] = {}

    async def open(
        self, client: BayeuxClient, pattern: str, ext: Mapping[str, object]
    ) -> Callable[[], None]:
        """See `ChannelSource.open`."""
        person = visitor_of(client).person
        room = None if pattern.endswith("*") else await room_of(self._chat, pattern, person)
        self._chat.rights.require(person, Act.FOLLOW, [] if room is None else [room])
        return partial(self._begin, client, pattern, None if room is None else room.name)

    def close(self, client: BayeuxClient, pattern: str) -> None:
        """See `ChannelSource.close`."""
        subscribed = self._subscribed.pop((client, pattern), None)
        if subscribed is None:
            return
        clients = self._by_room[subscribed.room]
        patterns = clients[client]
        patterns.discard(pattern)
        if not patterns:
            del clients[client]
        if not clients:
            del self._by_room[subscribed.room]

    async def publish(self, client: BayeuxClient, message: Message, resend_key: str | None) -> None:
        """See `ChannelSource.publish`: nobody can."""
        raise InvalidRequest("Who is in a room follows from what they do: publish to /chat/ROOM.")

    def confirmed(self, client: BayeuxClient, channel: str, position: int) -> None:
        """Nothing of this is fed by position."""

    def resume(self, client: BayeuxClient) -> None:
        """Nothing of this is fed by position."""

    def told(self, path: str, event: Event) -> Iterator[object]:
        """Somebody came or went, or a full room has another number of people; each step tells one
        client."""
        data = kinds.kind_of(event.type).in_bayeux(event)
        if data is None:
            return
        room = kinds.room_of(path)
        readers = {**self._by_room.get(room, {}), **self._by_room.get(None, {})}
        message, ignored = None, self._chat.ignored.lists
        for client in readers:
            # The same for all of them.
            message = message or client.event(MEMBERS + segment_of(room), data)
            if message is None:
                return
            if ignored and event.sender in ignored.get(visitor_of(client).person.identity, ()):
                yield None
                continue
            yield self._is_hidden(client, room) or client.put(message)

    def _is_hidden(self, client: BayeuxClient, room: str) -> bool:
        """Whether somebody may not know who is in a room."""
        if not self._chat.rights.differ_by_room:
            return False
        visitor = visitor_of(client)
        return self._chat.readers.may_not_follow(visitor.person, room, visitor.address)

    def readers_of(self, room: str) -> list[BayeuxClient]:
        """Which clients hear who is in a room, by its name."""
        return list(self._by_room.get(room, ()))

    def end_what_is_not_allowed(self, client: BayeuxClient) -> dict[str | None, str]:
        """Somebody's rights have changed: whoever may not know who is in a room has not subscribed
        to it, and who may not read on at all, to no room. What else they hear by a wildcard is
        looked at when they are told.

        :returns: why, by room; None for all rooms of a wildcard.
        """
        lost: dict[str | None, str] = {}
        visitor = visitor_of(client)
        for pattern in list(client.subscriptions):
            subscribed = self._subscribed.get((client, pattern))
            if subscribed is None:
                continue
            name = subscribed.room
            why = self._chat.readers.why_not_follow(visitor.person, name, visitor.address)
            if why is not None:
                lost[name] = why
                client.unsubscribe(pattern)
        return lost

    def _begin(self, client: BayeuxClient, pattern: str, room: str | None) -> None:
        subscribed = self._subscribed[client, pattern] = _Subscribed(room)
        self._by_room.setdefault(room, {}).setdefault(client, set()).add(pattern)
        rooms = self._chat.presence.rooms if room is None else [room]
        self._slices.walk(self._tell_there(client, pattern, subscribed, rooms))

    def _tell_there(
        self, client: BayeuxClient, pattern: str, subscribed: _Subscribed, rooms: Sequence[str]
    ) -> Iterator[object]:
        """Tell who is in some rooms, a room a step, for as long as it wants to hear it."""
        for room in rooms:
            if self._subscribed.get((client, pattern)) is not subscribed:
                return
            if self._is_hidden(client, room):
                continue
            if subscribed.room is not None or self._chat.presence.count(room):
                if not client.deliver(MEMBERS + segment_of(room), self._there(client, room)):
                    # Its queue is full: what comes after it would be dropped as well.
                    return
                yield None

    def _there(self, client: BayeuxClient, room: str) -> dict[str, object]:
        """Who is in a room; in a full one only how many."""
        count = self._chat.presence.count(room)
        there: dict[str, object] = {"type": "people", "room": room, "count": count}
        if count <= SMALL_ROOM:
            ignored = self._chat.ignored.by(visitor_of(client).person)
            there["people"] = [
                {"name": each.name, "role": each.role.word}
                for each in self._chat.presence.people(room)
                if each.identity not in ignored
            ]
        return there
