"""The rooms there are: the seam behind which they are kept.

What it is: `Room`, and `Rooms`, from a name to a room, with the rules that every back end keeps;
`local_rooms.py` is the one of a single process.

What it may know: what is kept of rooms, the engine's contexts. Not who is in.

Invariant: each room is a context of the engine, for as long as it is there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import attrs

from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.shared_state import RoomSet
from cometd_chat.comet import CometContext
from cometd_chat.comet.listeners import Listeners
from cometd_chat.log.control import Control, RoomMember
from cometd_chat.log.directory import RoomRow

MAX_TOPIC = 200

#: Rooms that there can be: each takes memory for as long as the daemon runs.
MOST_ROOMS = 10_000

#: The room that is there from the start, and first in every list.
LOBBY = "lobby"

#: Seconds between looks whether somebody is in a room that may be for nothing.
LOOK_EVERY = 300.0

#: Seconds after which somebody who found no place for a room may look again.
FULL_RETRY = 3600.0


@attrs.define(eq=False)
class Room:
    """A room.

    :param row: what is kept of it.
    :param context: where its readers are held.
    :param address: where it was made from, as long as it counts there; see `Limits.hold`.
    :param gone: it is there no longer; who holds this object knows a room of the past.
    :param members: who belongs to it, by their identities.
    """

    name: str
    topic: str
    row: RoomRow
    context: CometContext
    address: str | None = None
    gone: bool = False
    members: dict[str, Role] = attrs.field(factory=dict)
    #: What is in its row.
    kind: RoomKind = attrs.field(init=False)
    slow: int = attrs.field(init=False)
    locked: bool = attrs.field(init=False)
    archived: bool = attrs.field(init=False)
    #: It is public, and neither locked nor archived.
    plain: bool = attrs.field(init=False)
    #: What they see who read this room alone.
    alone: RoomSet = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.alone = RoomSet([self.context])
        self.have(self.row)

    def have(self, row: RoomRow) -> None:
        """Be as another row says."""
        self.row = row
        self.topic = row.topic
        self.kind = RoomKind(row.kind)
        self.slow, self.locked, self.archived = row.slow, row.locked, row.archived
        self.plain = self.kind is RoomKind.PUBLIC and not (row.locked or row.archived)


#: What of a room can be changed.
CHANGED = ("topic", "kind", "slow", "locked", "archived")

_NOBODY: Mapping[str, Role] = {}


class Rooms(Protocol):
    """All rooms.

    What every back end keeps, over all processes that have the same directory:

    * **A name belongs to one room**, and so does what it looks like.
    * **A room is there before anything is said in it**: a process that is told of a record has its
      context by then. Whoever was answered that it is there finds it from then on; who comes to
      another process may be a moment early, and learns there that it is not, or waits for the log.
    * **A room in which anything was ever said stays.** `remove_silent` loses nothing: what is said
      meanwhile is either refused or keeps the room.
    * **A room that somebody may not see is not there** for them, in whatever is found or listed;
      but its name can't be had.
    * **One object a room** in a process while it is there; one that is `gone` stays so.

    All is called in the reactor's thread; `start` comes first, before the reactor runs. What is
    asked costs what is answered, not the number of rooms.
    """

    @property
    def made(self) -> Listeners[[Room]]:
        """Told of each new room, whichever process made it."""

    @property
    def changed(self) -> Listeners[[Room, Sequence[str]]]:
        """Told of each room that is another one than it was, and what of it, see `CHANGED`."""

    @property
    def member(self) -> Listeners[[Room, RoomMember]]:
        """Told of who belongs to a room from now, or does no longer."""

    @property
    def removing(self) -> Listeners[[Room]]:
        """Told of each room that is about to be removed with all that was said there, while its
        readers are still held."""

    @property
    def removed(self) -> Listeners[[Room]]:
        """Told of each room that is gone for good, whichever process let it go."""

    def __len__(self) -> int:
        """How many there are."""

    def start(self) -> None:
        """Take up the rooms that are kept. Blocks."""

    def all(self) -> Sequence[Room]:
        """All rooms, the lobby first, then by name: for the house itself, whoever sees them."""

    def named(self, name: str) -> Room | None:
        """The room of that very name: for the house itself, whoever sees it."""

    def page(self, after: str | None, limit: int, asker: Session | None) -> tuple[list[Room], bool]:
        """Some of the rooms that somebody sees, the lobby first, then by name; and whether there
        are more.

        :param after: the name of the last one of the page before, which need not be there any more;
            None for the first page.
        :param limit: at most so many, at least 1.
        :param asker: who; None for somebody without a session.
        """

    def count(self, asker: Session | None) -> int:
        """How many rooms somebody sees."""

    def private(self, identity: str) -> Collection[Room]:
        """The rooms that are not public, and to which somebody belongs."""

    def told(self, control: Control) -> None:
        """What the log tells the house; see `Feed.control`."""

    def find(self, name: str, asker: Session | None) -> Room:
        """The room of a name, as somebody typed it. One that they may not see is not there.

        :param asker: who asks; None for somebody without a session.
        :raises RoomNotFound: there is none.
        :raises NoSession: none can be seen without one.
        """

    def plan(
        self, name: str, topic: str, maker: Session, kind: RoomKind = RoomKind.PUBLIC
    ) -> RoomRow:
        """What a new room would be.

        :param maker: who makes it.
        :raises InvalidRequest: that can't be its name or topic.
        :raises RoomExists: there is one of that name, or one that looks like it.
        :raises TooMany: there are as many as there can be.
        """

    async def make(self, row: RoomRow, members: Mapping[str, Role] = _NOBODY) -> Room:
        """Make a room that was planned.

        :param members: who belongs to it, by their identities, and as what.

        :raises RoomExists: another one of that name was made meanwhile.
        """

    def in_use(self, room: Room) -> bool:
        """Whether somebody reads a room, as far as this process was told: for who asks now and
        then, at most every `LOOK_EVERY` seconds."""

    def put_back(self) -> None:
        """What is kept was put back to an earlier state: have the rooms that are there by then, in
        a moment, and no others."""

    async def remove_silent(self, room: Room) -> bool:
        """Let a room go in which nobody ever spoke.

        :returns: False when somebody did, at the last moment: it stays, as another object; or when
            another process let it go.
        :raises StorageUnavailable: it stays as well.
        """
