"""How nodes tell each other who is there by them.

What it is: the messages; `OwnPart`, which tells the others what changes on this node, and all of it
when one of them has missed something; and `OtherParts`, which hears what the others tell, and finds
out when something of it is missing.

What it may know: the bus, numbers of nodes, the sweep. Not what is made of it, nor who is told.

Invariant: once messages are no longer lost, what is held of each node's part is that part. A node
sends at most two messages a tick, each of at most `MOST_BYTES`; what changed twice is sent once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import attrs
import msgspec

from cometd_chat.chat.presence_view import Place, Present
from cometd_chat.comet.reaper import Reaper
from cometd_chat.log.bus import Bus

TOPIC = "presence"

#: Seconds between two messages about what has changed.
TICK = 0.1

#: Seconds after which a node says how many it has sent, so that the last one is missed, too.
PULSE_EVERY = 5.0

#: Bytes of a message, about: one NOTIFY has room for it, however it is written there.
MOST_BYTES = 4000

#: Seconds in which a node is asked for its part once.
ASK_EVERY = 1.0


class Someone(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Somebody who is in a room by the node that says so; without a name, who is not any more."""

    room: str
    id: str
    name: str = ""
    role: str = ""
    address: str | None = None


class Changes(msgspec.Struct, array_like=True, frozen=True, tag="changes"):
    """What has changed.

    :param number: one more than that of the message before.
    :param known: how far the node had come in the log.
    """

    number: int
    known: int
    people: list[Someone]


class Piece(msgspec.Struct, array_like=True, frozen=True, tag="piece"):
    """A piece of all that a node has; see `Changes`.

    :param first: nothing of it came before.
    :param last: nothing of it comes after.
    """

    number: int
    known: int
    first: bool
    last: bool
    people: list[Someone]


class Pulse(msgspec.Struct, array_like=True, frozen=True, tag="pulse"):
    """Nothing has changed since the message of that number."""

    number: int


class Again(msgspec.Struct, array_like=True, frozen=True, tag="again"):
    """A node is asked for all that it has; 0 for all nodes."""

    node: int


class Leaving(msgspec.Struct, array_like=True, frozen=True, tag="leaving"):
    """A session has said to one node that it leaves a room."""

    room: str
    id: str


Message = Changes | Piece | Pulse | Again | Leaving

_decode = msgspec.json.Decoder(Message).decode
_encode = msgspec.json.Encoder().encode


class Own(Protocol):
    """What `OwnPart` tells of."""

    def places(self) -> Iterable[Place]:
        """Where somebody is by this node."""

    def present(self, place: Place) -> Present | None:
        """Who it is; None when they are not there by this node any more."""

    def known(self) -> int:
        """How far this node has come in the log."""


class OwnPart:
    """Tells the others who is there by this node. An item of the reaper.

    :param own: what is told.
    """

    def __init__(self, bus: Bus, reaper: Reaper, own: Own) -> None:
        self._bus = bus
        self._reaper = reaper
        self._own = own
        self._number = 0
        self._changed: OrderedDict[Place, None] = OrderedDict()
        # What of a part that is being told is left; whether another one was asked for, and whether
        # a tick will come soon.
        self._left: Iterator[Place] | None = None
        self._asked = self._soon = False
        self._told_first = False
        self.due_bucket = 0

    def start(self) -> None:
        """Tell from now on, and ask all others."""
        self.send(Again(0))
        self._reaper.schedule(self, PULSE_EVERY)

    def changed(self, place: Place) -> None:
        """Somebody has come or gone by this node, or is called otherwise."""
        self._changed[place] = None
        self._tick_soon()

    def asked(self) -> None:
        """Somebody has missed something: tell all of it."""
        self._asked = True
        self._tick_soon()

    def send(self, message: Message) -> None:
        """Tell the others something, at once."""
        self._bus.publish(TOPIC, _encode(message))

    def _tick_soon(self) -> None:
        if not self._soon:
            self._soon = True
            self._reaper.schedule(self, TICK)

    def on_due(self, now: float) -> float | None:
        """Tell some of what there is to tell; see `Reaper.schedule`."""
        self._soon = False
        if not self._changed and self._left is None and not self._asked:
            self.send(Pulse(self._number))
            return PULSE_EVERY
        if self._changed:
            people = self._take(self._changes(), self._say)
            self._number += 1
            self.send(Changes(self._number, self._own.known(), people))
        self._send_piece()
        self._soon = bool(self._changed) or self._left is not None or self._asked
        return TICK if self._soon else PULSE_EVERY

    def _changes(self) -> Iterator[Place]:
        while self._changed:
            yield self._changed.popitem(last=False)[0]

    def _send_piece(self) -> None:
        if self._left is None:
            if not self._asked:
                return
            self._asked = False
            self._left, self._told_first = iter(list(self._own.places())), False
        people = self._take(self._left, self._say_still)
        last = not people or self._size < MOST_BYTES
        self._number += 1
        known = self._own.known()
        self.send(Piece(self._number, known, not self._told_first, last, people))
        self._told_first = True
        if last:
            self._left = None

    def _take(
        self, places: Iterator[Place], say: Callable[[Place], Someone | None]
    ) -> list[Someone]:
        """As much of some as one message has room for."""
        people = []
        self._size = 0
        for place in places:
            someone = say(place)
            if someone is None:
                continue
            people.append(someone)
            self._size += len(_encode(someone))
            if self._size >= MOST_BYTES:
                break
        return people

    def _say(self, place: Place) -> Someone:
        present = self._own.present(place)
        if present is None:
            return Someone(*place)
        return Someone(*place, present.name, present.role.word, present.address)

    def _say_still(self, place: Place) -> Someone | None:
        # What has changed since the part was begun is told by itself.
        someone = self._say(place)
        return someone if someone.name else None


class Merged(Protocol):
    """What `OtherParts` tells of."""

    def has(self, place: Place, node: int, someone: Someone, known: int) -> None:
        """A node has somebody in a room.

        :param known: how far that node had come in the log.
        """

    def has_no_longer(self, place: Place, node: int) -> None:
        """A node has somebody in a room no longer; perhaps it never had."""

    def is_leaving(self, place: Place) -> None:
        """Somebody has said to another node that they leave a room."""

    def walk(self, steps: Iterator[object]) -> None:
        """Take the steps of long work, and make way for others now and then."""


@attrs.define(eq=False)
class _Part:
    """What is known of one node.

    :param next: the number of its next message; None until one was heard.
    :param whole: nothing of it is missing.
    :param places: where it has somebody.
    :param fresh: of those, the ones that were told since it began to tell all; None when it does
        not, or its beginning was missed.
    :param stale: the ones that it has no longer, and that are not done with yet.
    :param asked_at: when it was asked for all, in the reaper's seconds.
    """

    next: int | None = None
    whole: bool = False
    places: dict[Place, None] = attrs.field(factory=dict)
    fresh: set[Place] | None = None
    stale: set[Place] = attrs.field(factory=set)
    asked_at: float = float("-inf")


class OtherParts:
    """Hears who is there by the other nodes.

    :param merged: is told of it.
    :param mine: this node's own, which others may ask for.
    :param number: that of this node, as of now.
    """

    def __init__(
        self, bus: Bus, reaper: Reaper, merged: Merged, mine: OwnPart, number: Callable[[], int]
    ) -> None:
        self._reaper = reaper
        self._merged = merged
        self._mine = mine
        self._number = number
        self._parts: dict[int, _Part] = {}
        bus.subscribe(TOPIC, self._heard)

    def start(self, nodes: Iterable[int]) -> None:
        """These are there; all of them were asked."""
        for node in nodes:
            self._parts[node] = _Part(asked_at=self._reaper.seconds())

    def joined(self, node: int) -> None:
        """There is another node. What it said before that was known is asked for."""
        part = self._parts.setdefault(node, _Part())
        if not part.whole:
            self._ask(node, part)

    def gone(self, node: int) -> None:
        """A node is gone, and so is whoever was there by it."""
        part = self._parts.pop(node, None)
        if part is not None:
            self._merged.walk(self._drop(node, part))

    def _drop(self, node: int, part: _Part) -> Iterator[object]:
        for place in list(part.places):
            self._merged.has_no_longer(place, node)
            yield None

    def _heard(self, node: int, encoded: bytes) -> None:
        message = _decode(encoded)
        if isinstance(message, Again):
            if message.node in (0, self._number()):
                self._mine.asked()
        elif isinstance(message, Leaving):
            self._merged.is_leaving((message.room, message.id))
        else:
            part = self._parts.get(node)
            # Whoever is not known yet, or was told to be gone, has said nothing.
            if part is not None:
                self._told(node, part, message)

    def _told(self, node: int, part: _Part, message: Changes | Piece | Pulse) -> None:
        first = message.number + isinstance(message, Pulse)
        if part.next is not None and first != part.next:
            part.whole, part.fresh = False, None
        part.next = message.number + 1
        if isinstance(message, Piece) and message.first and not part.whole:
            part.fresh = set()
        if not isinstance(message, Pulse):
            for someone in message.people:
                self._take(node, part, someone, message.known)
        if isinstance(message, Piece) and message.last and part.fresh is not None:
            self._complete(node, part, part.fresh)
        if not part.whole and part.fresh is None:
            self._ask(node, part)

    def _take(self, node: int, part: _Part, someone: Someone, known: int) -> None:
        place = (someone.room, someone.id)
        part.stale.discard(place)
        if not someone.name:
            if part.fresh is not None:
                part.fresh.discard(place)
            part.places.pop(place, None)
            self._merged.has_no_longer(place, node)
        else:
            if part.fresh is not None:
                part.fresh.add(place)
            part.places[place] = None
            self._merged.has(place, node, someone, known)

    def _complete(self, node: int, part: _Part, fresh: set[Place]) -> None:
        part.whole, part.fresh = True, None
        part.stale.update(place for place in part.places if place not in fresh)
        if part.stale:
            self._merged.walk(self._drop_stale(node, part))

    def _drop_stale(self, node: int, part: _Part) -> Iterator[object]:
        while part.stale:
            place = part.stale.pop()
            part.places.pop(place, None)
            self._merged.has_no_longer(place, node)
            yield None

    def _ask(self, node: int, part: _Part) -> None:
        now = self._reaper.seconds()
        if now - part.asked_at >= ASK_EVERY:
            part.asked_at = now
            self._mine.send(Again(node))
