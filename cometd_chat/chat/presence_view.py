"""Who is in each room, on all nodes together.

What it is: `PresenceView`, from a room to who is there and by which nodes.

What it may know: names of rooms, identities, numbers of nodes. Not how a node hears of it, nor
who is told.

Invariant: somebody is in a room as long as one node has them there, and is so once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from cometd_chat.chat.presence import Person
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Member, Session

#: Stands for this node, whatever its number is.
HERE = 0

#: A room and an identity.
Place = tuple[str, str]


@attrs.define(eq=False, weakref_slot=False)
class Present:
    """Somebody in a room.

    :param nodes: those that have them there.
    :param person: who they are on this node, where they are in use.
    :param named_at: how far this node had come in the log when it was told this name by it; -1 when
        it was not.
    """

    name: str
    role: Role
    address: str | None
    nodes: tuple[int, ...]
    identity: str
    person: Session | Member | None = None
    named_at: int = -1


class PresenceView:
    """Who is where."""

    def __init__(self) -> None:
        self._rooms: dict[str, dict[str, Present]] = {}
        # Most are on one node only: all of them share what says so.
        self._alone: dict[int, tuple[int, ...]] = {}

    @property
    def rooms(self) -> Mapping[str, Mapping[str, Present]]:
        """Those in which somebody is, with who it is by their identities."""
        return self._rooms

    def find(self, room: str, id: str) -> Present | None:
        """Somebody in a room, if they are there."""
        there = self._rooms.get(room)
        return None if there is None else there.get(id)

    def count(self, room: str) -> int:
        """How many are in a room."""
        there = self._rooms.get(room)
        return 0 if there is None else len(there)

    def people(self, room: str) -> Iterator[Person]:
        """Who is in a room, those first who have been there for the longest."""
        for each in self._rooms.get(room, {}).values():
            yield each if each.person is None else each.person

    def everywhere(self, id: str) -> Iterable[tuple[str, Present]]:
        """Each room that somebody is in."""
        return [(room, there[id]) for room, there in self._rooms.items() if id in there]

    def add(
        self, place: Place, node: int, name: str, role: Role, address: str | None = None
    ) -> bool:
        """A node has somebody in a room.

        :returns: whether they were in it by no node before.
        """
        room, id = place
        there = self._rooms.setdefault(room, {})
        present = there.get(id)
        if present is None:
            alone = self._alone.setdefault(node, (node,))
            there[id] = Present(name, role, address, alone, id)
            return True
        if node not in present.nodes:
            present.nodes = (*present.nodes, node)
        return False

    def remove(self, place: Place, node: int) -> Present | None:
        """A node has somebody in a room no longer.

        :returns: who it was, if no other node has them there.
        """
        room, id = place
        present = self.find(room, id)
        if present is None or node not in present.nodes:
            return None
        left = tuple(each for each in present.nodes if each != node)
        if left:
            present.nodes = left if len(left) > 1 else self._alone.setdefault(left[0], left)
            return None
        there = self._rooms[room]
        del there[id]
        if not there:
            del self._rooms[room]
        return present

    def forget(self, node: int) -> None:
        """A node is gone, and nobody is on it any more."""
        self._alone.pop(node, None)
