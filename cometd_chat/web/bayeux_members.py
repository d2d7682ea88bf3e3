"""Who is in the chat's rooms, as Bayeux channels ``/members/ROOM``.

What it is: a `ChannelSource` that says who is there, and then who comes and goes.

What it may know: presence, Bayeux sessions. Not transports, not HTTP.

Invariant: nothing of this is kept: who was away is told anew who is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cometd_chat.bayeux.messages import Message
from cometd_chat.bayeux.server import BayeuxServer
from cometd_chat.bayeux.session import Session
from cometd_chat.chat import events
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.presence import SMALL_ROOM
from cometd_chat.chat.rooms import Room
from cometd_chat.errors import InvalidRequest
from cometd_chat.transports.event import Event
from cometd_chat.web.bayeux_policy import visitor_of
from cometd_chat.web.bayeux_rooms import room_of, segment_of

MEMBERS = "/members/"

#: Events that are told; somebody's typing is not.
_TOLD = ("join", "leave", "people")


class MemberSource:
    """Who is in rooms.

    :param listen: sees to it that `told` hears of a room, or for None of all.
    """

    tree = "/members/*"

    def __init__(self, chat: Chat, listen: Callable[[Room | None], None]) -> None:
        #: Given by whoever joins the parts.
        self.server: BayeuxServer
        self._chat = chat
        self._listen = listen
        # Once for each pattern of hers that matches: a session that is told twice is told once.
        self._by_room: dict[str | None, dict[Session, set[str]]] = {}

    async def open(
        self, session: Session, pattern: str, ext: Mapping[str, Any]
    ) -> Callable[[], None]:
        """See `ChannelSource.open`."""
        self._chat.admit(visitor_of(session).person)
        room = None if pattern.endswith("*") else room_of(self._chat, pattern)
        self._listen(room)
        return partial(self._begin, session, pattern, room)

    def close(self, session: Session, pattern: str) -> None:
        """See `ChannelSource.close`."""
        for room, sessions in list(self._by_room.items()):
            patterns = sessions.get(session, set())
            patterns.discard(pattern)
            if not patterns:
                sessions.pop(session, None)
            if not sessions:
                del self._by_room[room]

    async def publish(self, session: Session, message: Message, resend_key: str | None) -> None:
        """See `ChannelSource.publish`: nobody can."""
        raise InvalidRequest("Who is in a room follows from what they do: publish to /chat/ROOM.")

    def confirmed(self, session: Session, channel: str, position: int) -> None:
        """Nothing of this is fed by position."""

    def resume(self, session: Session) -> None:
        """Nothing of this is fed by position."""

    def told(self, path: str, event: Event) -> None:
        """Somebody came or went, or a full room has another number of people."""
        if event.type not in _TOLD:
            return
        room = events.room_of(path)
        readers = {**self._by_room.get(room, {}), **self._by_room.get(None, {})}
        if readers:
            message = self.server.event(MEMBERS + segment_of(room), event.fields)
            for session in readers:
                if message is not None:
                    session.put(message)

    def _begin(self, session: Session, pattern: str, room: Room | None) -> None:
        name = None if room is None else room.name
        self._by_room.setdefault(name, {}).setdefault(session, set()).add(pattern)
        for each in self._chat.rooms.all() if room is None else [room]:
            if room is not None or self._chat.presence.count(each.name):
                session.deliver(MEMBERS + segment_of(each.name), self._there(each.name))

    def _there(self, room: str) -> dict[str, object]:
        """Who is in a room; in a full one only how many."""
        count = self._chat.presence.count(room)
        there: dict[str, object] = {"type": "people", "room": room, "count": count}
        if count <= SMALL_ROOM:
            people = self._chat.presence.people(room)
            there["people"] = [{"name": each.name, "role": each.role} for each in people]
        return there
