"""The rooms of one process.

What it is: from a name to a room, the making of new ones, and the end of those that were for
nothing.

What it may know: what is kept of rooms (a `Directory`), the engine's contexts. Not who is in.

Invariant: each room is a context of the engine, for as long as it is there; and what is asked here
costs what is answered, not the number of rooms.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice

import attrs

from cometd_chat.chat import names
from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.refusals import no_such_room
from cometd_chat.chat.rights import Act, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import CHANGED, FULL_RETRY, LOBBY, MAX_TOPIC, MOST_ROOMS, Room
from cometd_chat.chat.sessions import Session
from cometd_chat.comet import CometEngine
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import FieldError, InvalidRequest, RoomExists, TooMany
from cometd_chat.events.kinds import path_of
from cometd_chat.log.control import Control, RoomChanged, RoomMember, RoomRemoved
from cometd_chat.log.directory import Directory, RoomRow
from cometd_chat.log.room_rows import MemberRow
from cometd_chat.lookalikes.skeletons import skeleton

_NOBODY: Mapping[str, Role] = {}


class LocalRooms:
    """The `Rooms` of one process.

    :param directory: where they are kept.
    :param engine: where each has its context.
    :param expiration_delay: seconds without progress after which a reader is let go.
    """

    def __init__(
        self,
        directory: Directory,
        engine: CometEngine,
        rights: Rights,
        *,
        wall_clock: Callable[[], float],
        expiration_delay: float,
    ) -> None:
        self._rights = rights
        self._directory = directory
        self._engine = engine
        self._wall_clock = wall_clock
        self._expiration_delay = expiration_delay
        self._rooms: dict[str, Room] = {}
        # All that are public but the lobby, by name; and all others, by who belongs to them.
        self._public: list[str] = []
        self._of: dict[str, dict[str, Room]] = {}
        # One of those that look the same, by what they look like.
        self._looks: dict[str, str] = {}
        self.made: Listeners[[Room]] = Listeners("new rooms")
        self.removed: Listeners[[Room]] = Listeners("rooms that are gone")
        self.removing: Listeners[[Room]] = Listeners("rooms that are removed")
        self.changed: Listeners[[Room, Sequence[str]]] = Listeners("rooms that are others")
        self.member: Listeners[[Room, RoomMember]] = Listeners("members of rooms")

    def start(self) -> None:
        """See `Rooms.start`."""
        members = by_room(self._directory.room_members())
        for row in self._directory.rooms():
            self._open(row, members.get(row.name))

    def __len__(self) -> int:
        return len(self._rooms)

    def all(self) -> Sequence[Room]:
        """See `Rooms.all`."""
        lobby = [self._rooms[LOBBY]] if LOBBY in self._rooms else []
        return [*lobby, *(self._rooms[name] for name in sorted(self._rooms) if name != LOBBY)]

    def named(self, name: str) -> Room | None:
        """See `Rooms.named`."""
        return self._rooms.get(name)

    def page(self, after: str | None, limit: int, asker: Session | None) -> tuple[list[Room], bool]:
        """See `Rooms.page`."""
        rooms = self._from(after, self._own(asker))
        if self._rights.has_rule:
            rooms = (each for each in rooms if self._sees(asker, each))
        found = list(islice(rooms, limit + 1))
        return found[:limit], len(found) > limit

    def count(self, asker: Session | None) -> int:
        """See `Rooms.count`."""
        if not self._rights.has_rule:
            return len(self._public) + (LOBBY in self._rooms) + len(self._own(asker))
        return sum(self._sees(asker, each) for each in self._rooms.values())

    def private(self, identity: str) -> Collection[Room]:
        """See `Rooms.private`."""
        return self._of.get(identity, {}).values()

    def _own(self, asker: Session | None) -> Collection[Room]:
        return () if asker is None else self.private(asker.identity)

    def _sees(self, asker: Session | None, room: Room) -> bool:
        return self._rights.may(asker, Act.SEE, room) is None

    def _from(self, after: str | None, own: Collection[Room]) -> Iterator[Room]:
        """The public rooms after one, and some others, in the order of `page`."""
        begin = 0
        if after is None:
            if LOBBY in self._rooms:
                yield self._rooms[LOBBY]
        elif after != LOBBY:
            begin = bisect_right(self._public, after)
        public = (self._public[index] for index in range(begin, len(self._public)))
        past = "" if after is None or after == LOBBY else after
        others = sorted(each.name for each in own if each.name > past)
        for name in merge(public, others) if others else public:
            yield self._rooms[name]

    def find(self, name: str, asker: Session | None) -> Room:
        """See `Rooms.find`."""
        room = self._rooms.get(name)
        if room is None:
            try:
                room = self._rooms.get(names.room_name(name))
            except InvalidRequest:
                room = None
        # Of a room that somebody may not know of, it is the reason that there would be without it.
        refusal = self._rights.may(asker, Act.SEE, room)
        if refusal is not None:
            raise refusal
        if room is None:
            raise no_such_room()
        return room

    def plan(
        self, name: str, topic: str, maker: Session, kind: RoomKind = RoomKind.PUBLIC
    ) -> RoomRow:
        """See `Rooms.plan`."""
        name = _room_name(name)
        topic = room_topic(topic)
        self._refuse_taken(name, maker)
        if len(self._rooms) >= MOST_ROOMS:
            raise TooMany(
                f"There are {MOST_ROOMS} rooms, as many as there can be.", retry_after=FULL_RETRY
            )
        return RoomRow(
            name=name,
            topic=topic,
            created_by=maker.identity,
            created_at=int(self._wall_clock() * 1000),
            kind=kind.value,
        )

    def _refuse_taken(self, name: str, maker: Session) -> None:
        like = self.alike(name)
        if like is not None:
            raise self.taken(name, like, maker)

    def alike(self, name: str) -> str | None:
        """The name of a room because of which there can be none of this one."""
        like = name if name in self._rooms else self._looks.get(skeleton(name))
        # Within ASCII people look twice: modem may stand beside modern.
        return None if like != name and (like or "").isascii() and name.isascii() else like

    def taken(self, name: str, like: str, maker: Session | None) -> RoomExists:
        """The refusal of a name because of another room's."""
        if not self._sees(maker, self._rooms[like]):
            # That it can't be had is all that can be told: names are unique.
            return RoomExists(f"The name {name} can't be had: choose another one.")
        if like == name:
            return RoomExists(f"There is a room {name} already.")
        return RoomExists(f"There is a room {like} already, and {name} looks the same.")

    async def make(self, row: RoomRow, members: Mapping[str, Role] = _NOBODY) -> Room:
        """See `Rooms.make`."""
        await self._directory.add_room(row, words_of(members))
        room = self._open(row, members)
        self.made.tell(room)
        return room

    def in_use(self, room: Room) -> bool:
        """See `Rooms.in_use`."""
        return any(True for _ in room.context)

    def put_back(self) -> None:
        """See `Rooms.put_back`. What one process has is not put back while it runs."""

    async def remove_silent(self, room: Room) -> bool:
        """See `Rooms.remove_silent`."""
        # Nobody finds it from now on: who speaks in it at this moment has done so before it is
        # looked at, or is told that there is no such room.
        self._close(room)
        try:
            gone = await self._directory.remove_silent_room(room.name, room.context.path)
        except BaseException:
            self._open_again(room)
            raise
        if gone:
            self.removed.tell(room)
        else:
            self._open_again(room)
        return gone

    # -- what the log tells

    def told(self, control: Control) -> None:
        """See `Rooms.told`."""
        if isinstance(control, RoomChanged):
            self._told_changed(control)
        elif isinstance(control, RoomMember):
            self._told_member(control)
        elif isinstance(control, RoomRemoved) and control.for_good:
            room = self._rooms.get(control.name)
            if room is not None:
                self.removing.tell(room)
                self._close(room, for_good=True)
                self.removed.tell(room)

    def _told_changed(self, control: RoomChanged) -> None:
        room = self._rooms.get(control.name)
        if room is None:
            return
        self._unlist(room)
        was, told = room.row, {name: getattr(control, name) for name in CHANGED}
        room.have(attrs.evolve(was, **told))
        self._list(room)
        self.changed.tell(room, [name for name in CHANGED if told[name] != getattr(was, name)])

    def _told_member(self, control: RoomMember) -> None:
        room, identity = self._rooms.get(control.room), control.identity
        if room is None:
            return
        role = None if control.role is None else Role.of(control.role) or Role.MEMBER
        if role is None:
            if room.members.pop(identity, None) is None:
                return
            self._unlist_for(room, identity)
        else:
            room.members[identity] = role
            self._list_for(room, identity)
        self.member.tell(room, control)

    def _list(self, room: Room) -> None:
        if room.kind is RoomKind.PUBLIC:
            if room.name != LOBBY:
                insort(self._public, room.name)
            return
        self._rights.count_hidden(1)
        for identity in room.members:
            self._list_for(room, identity)

    def _list_for(self, room: Room, identity: str) -> None:
        if room.kind is not RoomKind.PUBLIC:
            self._of.setdefault(identity, {})[room.name] = room

    def _unlist(self, room: Room) -> None:
        if room.kind is RoomKind.PUBLIC:
            if room.name != LOBBY:
                del self._public[bisect_left(self._public, room.name)]
            return
        self._rights.count_hidden(-1)
        for identity in room.members:
            self._unlist_for(room, identity)

    def _unlist_for(self, room: Room, identity: str) -> None:
        own = self._of.get(identity)
        if own is not None:
            own.pop(room.name, None)
            if not own:
                del self._of[identity]

    def _open(self, row: RoomRow, members: Mapping[str, Role] | None = None) -> Room:
        context = self._engine.register(path_of(row.name), self._expiration_delay)
        room = Room(row.name, row.topic, row, context, members=dict(members or {}))
        self._rooms[row.name] = room
        self._looks.setdefault(skeleton(row.name), row.name)
        self._list(room)
        return room

    def _close(self, room: Room, *, for_good: bool = False) -> None:
        room.gone = True
        del self._rooms[room.name]
        self._unlist(room)
        looks = skeleton(room.name)
        if self._looks.get(looks) == room.name:
            del self._looks[looks]
        # Who reads other rooms as well is held in it still, and is told nothing of it: should there
        # be a room of that name again, it is not theirs.
        if not for_good or not any(True for _ in room.context):
            self._engine.unregister(room.context.path)

    def _open_again(self, room: Room) -> None:
        # Unless somebody made one of that name meanwhile.
        if room.name not in self._rooms:
            self._open(room.row, room.members).address = room.address


def room_topic(typed: str) -> str:
    """What a room is about.

    :raises InvalidRequest: it can't be that.
    """
    topic = " ".join(typed.split())
    if len(topic) > MAX_TOPIC or not topic.isprintable():
        detail = f"at most {MAX_TOPIC} characters, none of them a control character"
        raise InvalidRequest(
            f"That can't be the topic: {detail}.", fields=[FieldError("topic", detail)]
        )
    return topic


def by_room(rows: Iterable[MemberRow]) -> dict[str, dict[str, Role]]:
    """Who belongs to rooms, by their names."""
    found: dict[str, dict[str, Role]] = {}
    for row in rows:
        found.setdefault(row.room, {})[row.identity] = Role.of(row.role) or Role.MEMBER
    return found


def words_of(members: Mapping[str, Role]) -> dict[str, str]:
    """The same of one room, as it is kept."""
    return {identity: role.word for identity, role in members.items()}


def _room_name(typed: str) -> str:
    """The name of a new room.

    :raises InvalidRequest: it can't be one, perhaps with one that could.
    """
    try:
        name = names.room_name(typed)
        names.refuse_mixed(name)
        return name
    except InvalidRequest as error:
        instead = names.room_instead(typed)
        fields = [attrs.evolve(each, instead=instead) for each in error.fields]
        raise InvalidRequest(error.detail, fields=fields) from None
