"""What becomes of rooms: they are changed and removed, and people come to belong to them.

What it is: `RoomChanges`, each with the right that it takes; and direct conversations, which are
rooms whose people are fixed.

What it may know: rooms, rights, what is kept of rooms. No HTTP.

Invariant: what is changed is changed on all nodes, by what the log tells. A room that is removed is
nobody's from then on; its name is free once what was said there is gone from the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

import attrs
from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.audit import note_by
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.limits import DIRECTS, MEMBERS, MESSAGES, TEXT, Limits
from cometd_chat.chat.local_rooms import room_topic
from cometd_chat.chat.mandate import Mandate
from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.people_lookup import Lookup, Person
from cometd_chat.chat.rights import Act, Affected, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import CHANGED, LOBBY, Room, Rooms
from cometd_chat.chat.sessions import Session
from cometd_chat.comet import Delivery
from cometd_chat.errors import (
    ChatError,
    InvalidRequest,
    NotFound,
    RoomExists,
    RoomNotFound,
    ShuttingDown,
)
from cometd_chat.events import kinds
from cometd_chat.events.kinds import path_of
from cometd_chat.events.record import Draft, data_size
from cometd_chat.events.texts import refused
from cometd_chat.log.changes import Changes
from cometd_chat.log.control import NoticeGiven, RoomChanged, RoomMember, RoomRemoved
from cometd_chat.log.directory import RoomRow
from cometd_chat.log.ranks import lock_roles, rank_of
from cometd_chat.log.room_rows import (
    NamedMember,
    begin_removal,
    change_room,
    drop_member,
    end_removal,
    is_removed,
    is_there,
    named_members,
    put_members,
    removed_rooms,
)

#: Seconds between two messages of one person, at most.
MOST_SLOW = 3600

#: People of a direct conversation beside whoever begins it.
MOST_WITH = 20

#: People who belong to one room.
MOST_MEMBERS = 10_000

#: Seconds in which something may yet come that another node took when a room was removed.
LATE = 10.0

#: Records that are taken out of the log by one commit.
_AT_ONCE = 500


@attrs.define(eq=False)
class _Removal:
    """A room that is being removed. An item of the reaper."""

    changes: RoomChanges
    name: str
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        self.changes.erase_later(self.name)
        return None


class RoomChanges:
    """Changes rooms.

    :param now: milliseconds since 1970-01-01T00:00Z.
    """

    _log = Logger()

    def __init__(
        self,
        feed: Feed,
        rights: Rights,
        rooms: Rooms,
        changes: Changes,
        lookup: Lookup,
        limits: Limits,
        now: Callable[[], float],
    ) -> None:
        self._feed = feed
        self._rights = rights
        self._rooms = rooms
        self._changes = changes
        self._lookup = lookup
        self._limits = limits
        self._now = now
        rooms.changed.add(self._changed)
        rooms.member.add(self._member)
        rooms.removed.add(self._removed)

    def start(self) -> None:
        """Go on with what was being removed when a daemon stopped. Blocks for a moment."""
        for name in self._changes.read_now(removed_rooms):
            Deferred.fromCoroutine(self._clear(name)).addErrback(self._not_erased, name)
            # Another node is at it, perhaps, and must be done before the name is free.
            self._feed.engine.reaper.schedule(_Removal(self, name), LATE)

    # -- what a room is

    async def change(
        self, actor: Session, room: Room, asked: Mapping[str, object], address: str
    ) -> None:
        """Change some of what a room is.

        :param asked: by the names of its fields, as JSON.
        :raises InvalidRequest: that can't be its value.
        """
        self._rights.require(actor, Act.CHANGE_ROOM, [room], address)
        values = {name: _wanted(room, name, value) for name, value in asked.items()}
        now = {name: getattr(room.row, name) for name in values}
        if values == now:
            return
        amounts = [(MESSAGES, 1.0)]
        if values.get("topic", now.get("topic")) != now.get("topic"):
            # It is kept, as what is said is, and read by all.
            if not room.archived:
                self._rights.require(actor, Act.SPEAK, [room], address)
            amounts.append((TEXT, data_size({"topic": values["topic"]})))
        self._limits.take_all(amounts, session=actor.identity, address=address)
        # Who makes it private belongs to it, whoever else does.
        joins = values.get("kind") == RoomKind.PRIVATE.value and (
            actor.identity not in room.members
        )

        def change(connection: Connection) -> RoomRow:
            row = change_room(connection, room.name, **values)
            if row is None:
                raise RoomNotFound(f"The room {room.name} is gone.")
            if joins:
                at = int(self._now())
                role = {actor.identity: Role.MODERATOR.word}
                put_members(connection, actor.identity, at, room.name, role)
            self._note(connection, actor, "room", room.name, _written(values))
            return RoomRow(**row)

        def tell(row: RoomRow) -> Sequence[Any]:
            told = RoomChanged(row.name, row.topic, row.kind, row.slow, row.locked, row.archived)
            if not joins:
                return [told]
            member = RoomMember(row.name, actor.identity, Role.MODERATOR.word, actor.identity)
            return [member, told]

        topic, mandate = now.get("topic"), self._mandate(actor, room)
        row = await self._changes.make(change, tell, provided=mandate.to(Act.CHANGE_ROOM))
        if "topic" in values and row.topic != topic:
            await self._say_topic(actor, room, row.topic)

    async def _say_topic(self, actor: Session, room: Room, topic: str) -> None:
        """Keep that a room has another topic. It has it by now, whatever comes in between."""
        data = {"topic": topic}
        draft = Draft(
            room.context.path, kinds.TOPIC.name, actor.identity, actor.name, data, None, None
        )
        try:
            await self._feed.log.append(draft)
        except ChatError as error:
            self._log.warn(
                "a new topic of {room} is not in its history: {reason}",
                room=room.name,
                reason=error,
            )

    async def remove(self, actor: Session, room: Room, address: str) -> None:
        """Remove a room, with all that was said there."""
        self._rights.require(actor, Act.REMOVE_ROOM, [room], address)
        if room.name == LOBBY:
            raise InvalidRequest("The lobby stays: everybody comes in by it.")

        def remove(connection: Connection) -> bool:
            found = begin_removal(connection, room.name)
            if found:
                # The name of one that not all could see is told to nobody.
                name = room.name if room.kind is RoomKind.PUBLIC else None
                self._note(connection, actor, "remove-room", name)
            return found

        def tell(found: bool) -> Sequence[RoomRemoved]:
            return [RoomRemoved(room.name, for_good=True)] if found else []

        mandate = self._mandate(actor, room).to(Act.REMOVE_ROOM)
        await self._changes.make(remove, tell, provided=mandate)
        await self._clear(room.name)
        self._feed.engine.reaper.schedule(_Removal(self, room.name), LATE)

    async def _clear(self, name: str) -> None:
        """Take all that was said in a room out of the log, unless another node has, and there is a
        new room of that name by now."""
        while await self._changes.read(partial(is_removed, name)):
            if not await self._feed.log.clear(path_of(name), _AT_ONCE):
                return

    async def _erase(self, name: str) -> None:
        """The same once more, for what another node took at the last moment; then the room's name
        is free."""
        await self._clear(name)
        await self._changes.make(lambda connection: end_removal(connection, name), lambda _: ())

    def erase_later(self, name: str) -> None:
        """Go on with the removal of a room."""
        erasing = Deferred.fromCoroutine(self._erase(name))
        erasing.addErrback(self._not_erased, name)

    def _not_erased(self, failure: Failure, name: str) -> None:
        if not failure.check(ShuttingDown):
            self._log.warn("what was said in {room} stays: {reason}", room=name, reason=failure)

    # -- who belongs

    def members(self, room: Room) -> Deferred[Sequence[NamedMember]]:
        """Who belongs to a room, those first who have for the longest."""
        names = [room.name]
        return self._changes.read(lambda connection: named_members(connection, names)[room.name])

    async def companions(
        self, session: Session | None, rooms: Iterable[Room]
    ) -> Mapping[str, Sequence[str]]:
        """With whom somebody talks in those of some rooms that are direct conversations, by room;
        in all others with nobody. One query, however many they are."""
        direct = [each.name for each in rooms if each.kind is RoomKind.DIRECT]
        if not direct or session is None:
            return {}
        found = await self._changes.read(lambda connection: named_members(connection, direct))
        return {
            room: [each.name for each in members if each.identity != session.identity]
            for room, members in found.items()
        }

    async def put_member(
        self,
        actor: Session,
        room: Room,
        name: str,
        role: object,
        address: str,
    ) -> bool:
        """Let somebody belong to a room: oneself, or another.

        :param role: `member` or `moderator`; None for as what they do, or else a member.
        :returns: whether they had not before.
        :raises NotFound: there is nobody of that name.
        """
        whom = await self._whom(actor, name)
        wanted = _room_role(role)
        had = room.members.get(whom.identity)
        if wanted is None:
            wanted = had or Role.MEMBER
        if had is wanted:
            self._rights.require(actor, Act.JOIN, [room], address)
            return False
        if wanted is Role.MODERATOR or had is not None:
            self._rights.require(actor, Act.CHANGE_MEMBERS, [room], address)
            if whom.identity != actor.identity:
                self._rights.require_above(actor, whom.role, identity=whom.identity, room=room)
        else:
            own = whom.identity == actor.identity
            self._rights.require(actor, Act.JOIN if own else Act.INVITE, [room], address)
        if len(room.members) >= MOST_MEMBERS and had is None:
            raise InvalidRequest(f"{MOST_MEMBERS} people belong to {room.name}, as many as can.")
        self._limits.take(MEMBERS, session=actor.identity, address=address)
        word, mandate = wanted.word, self._mandate(actor, room)
        joins = Act.JOIN if whom.identity == actor.identity else Act.INVITE

        def put(connection: Connection) -> None:
            lock_roles(connection)
            there = rank_of(connection, whom.identity, room.name).in_room
            if there == word:
                return  # It was in doubt, or somebody else has done the same.
            if there is None and word == Role.MEMBER.word:
                mandate.require(connection, joins)
            else:
                mandate.to(Act.CHANGE_MEMBERS, whom.identity)(connection)
            if not is_there(connection, room.name):
                raise RoomNotFound(f"The room {room.name} is gone.")
            at = int(self._now())
            put_members(connection, actor.identity, at, room.name, {whom.identity: word})
            if whom.identity != actor.identity:
                self._note(connection, actor, "invite", room.name, word, whom=whom.name)

        def tell(_: None) -> Sequence[RoomMember]:
            return [RoomMember(room.name, whom.identity, word, actor.identity, actor.name)]

        await self._changes.make(put, tell)
        return had is None

    async def drop_member(self, actor: Session, room: Room, name: str, address: str) -> None:
        """Let somebody belong to a room no longer: oneself, or another.

        :raises NotFound: they don't.
        """
        whom = await self._whom(actor, name)
        if whom.identity == actor.identity:
            self._rights.require(actor, Act.LEAVE, [room], address)
        else:
            self._rights.require(actor, Act.CHANGE_MEMBERS, [room], address)
            self._rights.require_above(actor, whom.role, identity=whom.identity, room=room)

        self._limits.take(MEMBERS, session=actor.identity, address=address)
        mandate = self._mandate(actor, room)

        def drop(connection: Connection) -> bool:
            if whom.identity != actor.identity:
                mandate.to(Act.CHANGE_MEMBERS, whom.identity)(connection)
            found = drop_member(connection, room.name, whom.identity)
            if found and whom.identity != actor.identity:
                self._note(connection, actor, "put-out", room.name, whom=whom.name)
            return found

        def tell(found: bool) -> Sequence[RoomMember]:
            return [RoomMember(room.name, whom.identity)] if found else []

        if not await self._changes.make(drop, tell):
            raise NotFound(f"{whom.name} does not belong to {room.name}.")

    def _mandate(self, actor: Session, room: Room) -> Mandate:
        return Mandate(self._rights, actor, room, self._now)

    async def _whom(self, actor: Session, name: str) -> Person:
        if name == actor.name:
            return self._lookup.of_session(actor)
        return await self._lookup.by_name(name)

    # -- direct conversations

    async def direct(self, actor: Session, names: Sequence[str], address: str) -> tuple[Room, bool]:
        """The direct conversation of somebody with others, and whether it is a new one.

        :param names: of the others.
        :raises NotFound: there is nobody of a name.
        """
        self._rights.require(actor, Act.DIRECT, address=address)
        if not 1 <= len(names) <= MOST_WITH:
            raise refused("with", f"1 to {MOST_WITH} names are needed")
        people = [await self._whom(actor, name) for name in names]
        identities = {actor.identity, *(person.identity for person in people)}
        if len(identities) < 2:
            raise refused("with", "somebody else is needed")
        name = _direct_name(identities)
        room = self._rooms.named(name)
        if room is not None:
            return room, False
        self._limits.take(DIRECTS, session=actor.identity, address=address)
        at = int(self._now())
        row = RoomRow(name, "", actor.identity, at, RoomKind.DIRECT.value)
        members = dict.fromkeys(sorted(identities), Role.MEMBER)
        try:
            room = await self._rooms.make(row, members)
        except RoomExists:
            # The other one began it at the same moment.
            await self._feed.catch_up()
            room = self._rooms.named(name)
            if room is None:
                raise
            return room, False
        self._tell_of_direct(actor, room, sorted(identities - {actor.identity}))
        return room, True

    def _tell_of_direct(self, actor: Session, room: Room, others: Sequence[str]) -> None:
        """Those with whom a conversation was begun are told so, on whichever node they are."""
        told = NoticeGiven(dict(kinds.invited(room.name, actor.name).fields), list(others))
        telling = self._changes.make(lambda connection: None, lambda _: [told])
        telling.addErrback(
            lambda failure: self._log.warn(
                "nobody is told of {room}: {reason}", room=room.name, reason=failure.value
            )
        )

    # -- what the log tells

    def _changed(self, room: Room, changed: Sequence[str]) -> None:
        # Who may not read it any longer is not told any more of it.
        self._rights.changed_by_state(Affected(rooms={room.name}))
        if changed:
            now = {name: getattr(room.row, name) for name in CHANGED}
            event = kinds.room_changed(room.name, now, changed)
            self._feed.engine.deliver([Delivery(room.context.path, event)])

    def _member(self, room: Room, control: RoomMember) -> None:
        self._rights.changed_by_state(Affected(identities={control.identity}, rooms={control.room}))

    def _removed(self, room: Room) -> None:
        self._feed.forget(room.context.path)
        self._rights.changed_by_state(Affected(rooms={room.name}))

    def _note(
        self,
        connection: Connection,
        actor: Session,
        what: str,
        room: str | None,
        reason: str = "",
        whom: str = "",
    ) -> None:
        note_by(
            connection,
            actor,
            what,
            at=int(self._now()),
            whom=whom,
            room=room,
            reason=reason,
        )


def _direct_name(identities: set[str]) -> str:
    """The name of a direct conversation: 16 letters that follow from whose it is, so that two who
    begin it at once begin the same."""
    digest = sha256("\n".join(sorted(identities)).encode()).digest()[:16]
    return "direct-" + "".join(chr(ord("a") + each % 26) for each in digest)


def _room_role(asked: object) -> Role | None:
    if asked is None:
        return None
    if asked == Role.MEMBER.word:
        return Role.MEMBER
    if asked == Role.MODERATOR.word:
        return Role.MODERATOR
    raise refused("role", "one of these is needed: member, moderator")


def _wanted(room: Room, name: str, value: object) -> Any:
    """What a field of a room is to be."""
    if name == "topic":
        if not isinstance(value, str):
            raise refused("topic", "a string is needed")
        return room_topic(value)
    if name == "kind":
        words = (RoomKind.PUBLIC.value, RoomKind.PRIVATE.value)
        if value not in words:
            raise refused("kind", f"one of these is needed: {', '.join(words)}")
        if room.name == LOBBY and value != RoomKind.PUBLIC.value:
            raise refused("kind", "the lobby is for all")
        return value
    if name == "slow":
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_SLOW:
            raise refused("slow", f"a whole number of seconds from 0 to {MOST_SLOW} is needed")
        return value
    if name in ("locked", "archived"):
        if not isinstance(value, bool):
            raise refused(name, "true or false is needed")
        if room.name == LOBBY and name == "archived" and value:
            raise refused("archived", "the lobby stays open")
        return value
    raise refused(name, "a room has topic, kind, slow, locked and archived")


def _written(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
