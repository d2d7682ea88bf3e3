"""What people are told that nobody said in a room: to one person, to moderators, to all who read.

What it is: `Notices`, which tells what has happened, as the log or the parts of the chat tell it.

What it may know: sessions, rooms, rights, and of what kinds such events are. Not what they lead to.

Invariant: what is told here is not kept: whoever holds nothing finds it where it can be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.limits import KNOCKS, where_from
from cometd_chat.chat.parts import Parts
from cometd_chat.chat.rights import Act
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import LOBBY, Room
from cometd_chat.chat.sanctions import SILENCE, Sanction, told_of
from cometd_chat.chat.screened import notice
from cometd_chat.chat.sessions import Session
from cometd_chat.comet import Delivery
from cometd_chat.errors import TooMany
from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.log.control import Control, NoticeGiven, RoomMember


class Notices:
    """Tells what has happened to whom it concerns, on this node."""

    _log = Logger()

    def __init__(self, parts: Parts) -> None:
        self._limits = parts.limits
        self._feed = parts.feed
        self._rights = parts.rights
        self._sessions = parts.sessions
        self._rooms = parts.rooms
        self._presence = parts.presence
        self._changes = parts.changes
        self._policies = parts.policies
        self._moderation = parts.moderation
        parts.feed.control.add(self._notice_given)
        parts.feed.control.add(self._room_member)
        parts.waiting.came.add(self._knocks)
        parts.policies.changed.add(self._policy_changed)
        parts.moderation.imposed.add(self._sanctioned)
        parts.moderation.ended.add(self._sanctions_ended)

    def tell_person(self, identity: str, event: Event) -> None:
        """Something for one person alone: by all that they hold on this node. It is not kept: who
        holds nothing finds it where it can be asked for."""
        for session in self._sessions.of_identity(identity):
            _tell(session, event)

    def tell_moderators(self, event: Event, room: Room | None = None) -> None:
        """Something for those who moderate the house, or a room that they see, on this node;
        likewise."""
        for session in self._sessions.all_in_use():
            if (
                session.readers
                and self._rights.rank(session, room) >= Role.MODERATOR
                and (room is None or self._rights.may(session, Act.SEE, room) is None)
            ):
                _tell(session, event)

    def _policy_changed(self, name: str) -> None:
        if name == "calm":
            self._tell_calm(self._policies.calm.word)

    def _tell_calm(self, word: str) -> None:
        """Tell all who read how calm it is, a slice at a time: once for each room that somebody
        reads by its name, and for the lobby, which who reads all rooms reads, too."""
        used = [each for each in self._rooms.all() if each.name == LOBBY or self._is_used(each)]
        told = [Delivery(each.context.path, kinds.calm(each.name, word)) for each in used]
        self._feed.engine.deliver(told)

    def _is_used(self, room: Room) -> bool:
        """Whether somebody reads it here, or is in it."""
        return any(True for _ in room.context) or self._presence.count(room.name) > 0

    def _knocks(self, session: Session) -> None:
        """Somebody waits to be let in: moderators are told, on all nodes, unless too many come from
        there; the list has all of them."""
        try:
            self._limits.take(KNOCKS, address=where_from(session))
        except TooMany:
            return
        told = notice(kinds.knock(session.name, int(self._moderation.now())))
        telling = self._changes.make(lambda connection: None, lambda _: [told])
        telling.addErrback(self._not_heard)

    def _not_heard(self, failure: Failure) -> None:
        self._log.warn("a knock is not heard: {reason}", reason=failure.value)

    def _notice_given(self, control: Control) -> None:
        if not isinstance(control, NoticeGiven):
            return
        event = Event(control.event)
        if control.to:
            for identity in control.to:
                self.tell_person(identity, event)
        else:
            room = None if control.room is None else self._rooms.named(control.room)
            if room is not None or control.room is None:
                self.tell_moderators(event, room)

    def _room_member(self, control: Control) -> None:
        """Somebody whom somebody else has let into a room is told so."""
        if not isinstance(control, RoomMember) or control.role is None:
            return
        if control.by_name and control.by != control.identity:
            self.tell_person(control.identity, kinds.invited(control.room, control.by_name))

    def _sanctioned(self, sanction: Sanction) -> None:
        if not sanction.identity:
            return
        self.tell_person(sanction.identity, told_of(sanction))
        if sanction.kind is not SILENCE:
            # Nobody is sent away and seen for a while yet.
            for session in self._sessions.of_identity(sanction.identity):
                rooms = session.person.present if sanction.room is None else [sanction.room]
                for name in rooms:
                    self._presence.leave(name, session)

    def _sanctions_ended(self, over: Sequence[Sanction]) -> None:
        ended: dict[str, list[Sanction]] = {}
        for sanction in over:
            if sanction.identity:
                ended.setdefault(sanction.identity, []).append(sanction)
        # One look at all sessions, however many end at once.
        for session in self._sessions.all_in_use() if ended else ():
            if session.readers:
                for sanction in ended.get(session.identity, ()):
                    _tell(session, told_of(sanction, lifted=True))


def _tell(session: Session, event: Event) -> None:
    for reader in session.readers:
        reader.tell(event)
