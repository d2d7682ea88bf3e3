"""Who is in a room, on several nodes.

What it is: `ClusterPresence`. Each node has its own part, as a single process has all of it
(`local_presence.py`), and tells the others of it (`presence_parts.py`); what is asked and what is
told here is of all parts together (`presence_view.py`).

What it may know: nodes, the bus, control records. Not requests.

Invariant: others are told of a join when the first node has somebody and of a leave when the last
one has them no longer, as this node sees it: so each join has its leave here, whatever was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs
import msgspec

from cometd_chat.chat.local_presence import LocalPresence, first_named
from cometd_chat.chat.presence import GRACE, Person
from cometd_chat.chat.presence_parts import Leaving, OtherParts, OwnPart, Someone
from cometd_chat.chat.presence_view import HERE, Place, PresenceView, Present
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Member, Session
from cometd_chat.comet import CometEngine
from cometd_chat.comet.slices import CallSoon, Slices
from cometd_chat.log.bus import Bus
from cometd_chat.log.control import Control, MemberRenamed, NodeGone, SessionRenamed
from cometd_chat.log.nodes import Nodes

#: Topic of signs that somebody is writing.
TYPING = "typing"


class Typing(msgspec.Struct, array_like=True, frozen=True):
    """Somebody is writing."""

    room: str
    name: str
    identity: str = ""


_decode_typing = msgspec.json.Decoder(Typing).decode


@attrs.define(eq=False)
class _Stopped:
    """A node that has stopped in an orderly way. Whoever was there by it has a moment to come to
    another one. An item of the reaper."""

    parts: OtherParts
    node: int
    due_bucket: int = 0

    def on_due(self, now: float) -> float | None:
        self.parts.gone(self.node)
        return None


class ClusterPresence(LocalPresence):
    """The `Presence` of one of several nodes.

    :param engine: its contexts are told.
    :param bus: by which nodes tell each other.
    :param nodes: which there are.
    :param last_id: how far this node has come in the log.
    :param wall_clock: seconds since 1970, to show.
    """

    def __init__(
        self,
        engine: CometEngine,
        bus: Bus,
        nodes: Nodes,
        last_id: Callable[[], int],
        call_soon: CallSoon,
        *,
        wall_clock: Callable[[], float],
    ) -> None:
        super().__init__(engine, wall_clock=wall_clock)
        self._bus = bus
        self._nodes = nodes
        self._last_id = last_id
        self._slices = Slices(engine.reaper.seconds, call_soon)
        self._view = PresenceView()
        self._mine = OwnPart(bus, engine.reaper, self)
        self._others = OtherParts(bus, engine.reaper, self, self._mine, lambda: nodes.number)
        nodes.joined.add(lambda row: self._others.joined(row.number))
        # Under another number it is another node, of which nothing is known.
        nodes.renumbered.add(lambda old: self._mine.asked())
        bus.subscribe(TYPING, self._typing_elsewhere)

    def start(self) -> None:
        """See `Presence.start`."""
        self._others.start(row.number for row in self._nodes.others())
        self._mine.start()

    @property
    def rooms(self) -> Sequence[str]:
        """See `Presence.rooms`."""
        return list(self._view.rooms)

    def people(self, room: str) -> Sequence[Person]:
        """See `Presence.people`."""
        return first_named(self._view.people(room))

    def count(self, room: str) -> int:
        """See `Presence.count`."""
        return self._view.count(room)

    def is_elsewhere(self, session: Session) -> bool:
        """Whether a session is in a room by another node, too, as far as is known here."""
        person = session.person
        found = (self._view.find(room, person.identity) for room in person.present)
        return any(each is not None and each.nodes != (HERE,) for each in found)

    def leave(self, room: str, session: Session) -> None:
        """See `Presence.leave`. Each node that has her there lets go of her."""
        super().leave(room, session)
        identity = session.identity
        present = self._view.find(room, identity)
        if present is not None and present.nodes != (HERE,):
            self._mine.send(Leaving(room, identity))

    def renamed(self, session: Session, old: str) -> None:
        """See `Presence.renamed`. The log tells it as well; whatever comes first is told."""
        self._rename(session.identity, session.name)

    def role_changed(self, member: Member) -> None:
        """See `Presence.role_changed`."""
        for room in member.present:
            place = (room, member.identity)
            self._present(place).role = member.role
            self._mine.changed(place)

    def became_member(self, session: Session) -> None:
        """See `Presence.became_member`."""
        super().became_member(session)
        person = session.person
        for room in person.present:
            place = (room, person.identity)
            present = self._present(place)
            present.person, present.role = person, person.role
            self._mine.changed(place)

    def typing(self, room: str, session: Session) -> None:
        """See `Presence.typing`."""
        super().typing(room, session)
        if self._nodes.others():
            self._bus.publish(
                TYPING, msgspec.json.encode(Typing(room, session.name, session.identity))
            )

    def _typing_elsewhere(self, node: int, message: bytes) -> None:
        typing = _decode_typing(message)
        self.tell_typing(typing.room, typing.name, typing.identity)

    # -- this node's part

    def came(self, room: str, person: Session | Member, address: str | None) -> None:
        """Somebody has come to a room by this node."""
        place = (room, person.identity)
        came = self._view.add(place, HERE, person.name, person.role, address)
        present = self._present(place)
        present.person = person
        self._mine.changed(place)
        if came:
            self.tell_join(room, person.name, address, person.identity)
        elif present.name != person.name:
            self._call(place, present, person.name)

    def went(self, room: str, person: Session | Member) -> None:
        """Somebody has gone from a room by this node."""
        place = (room, person.identity)
        present = self._present(place)
        present.person = None
        self._mine.changed(place)
        self.has_no_longer(place, HERE)

    def places(self) -> Iterable[Place]:
        """See `Own.places`."""
        return (
            (room, id)
            for room, there in self._view.rooms.items()
            for id, present in there.items()
            if present.person is not None
        )

    def present(self, place: Place) -> Present | None:
        """See `Own.present`."""
        present = self._view.find(*place)
        return None if present is None or present.person is None else present

    def known(self) -> int:
        """See `Own.known`."""
        return self._last_id()

    # -- the others'

    def has(self, place: Place, node: int, someone: Someone, known: int) -> None:
        """See `Merged.has`."""
        room, identity = place
        role = Role.of(someone.role) or Role.GUEST
        if self._view.add(place, node, someone.name, role, someone.address):
            self.tell_join(room, someone.name, someone.address, identity)
            return
        present = self._present(place)
        if present.person is None:
            present.role = role
        # What was told by the log since that node wrote this is newer.
        if present.person is None and present.name != someone.name and known > present.named_at:
            self._call(place, present, someone.name)

    def has_no_longer(self, place: Place, node: int) -> None:
        """See `Merged.has_no_longer`."""
        present = self._view.remove(place, node)
        if present is not None:
            self.tell_leave(place[0], present.name, place[1])

    def is_leaving(self, place: Place) -> None:
        """See `Merged.is_leaving`."""
        present = self.present(place)
        if present is not None and present.person is not None:
            self.leaves(place[0], present.person)

    def walk(self, steps: Iterator[object]) -> None:
        """See `Merged.walk`."""
        self._slices.walk(steps)

    def told(self, control: Control) -> None:
        """What the log tells; see `cometd_chat.chat.feed.Feed.control`."""
        if isinstance(control, SessionRenamed):
            self._rename(control.session, control.name)
        elif isinstance(control, MemberRenamed):
            self._rename(control.identity, control.name)
        elif isinstance(control, NodeGone):
            if control.stopped:
                self._reaper.schedule(_Stopped(self._others, control.node), GRACE)
            else:
                self._others.gone(control.node)

    # -- inside

    def _present(self, place: Place) -> Present:
        present = self._view.find(*place)
        assert present is not None, place
        return present

    def _rename(self, id: str, name: str) -> None:
        for room, present in self._view.everywhere(id):
            present.named_at = self._last_id()
            if present.name != name:
                self._call((room, id), present, name)
            if present.person is not None:
                self._mine.changed((room, id))

    def _call(self, place: Place, present: Present, name: str) -> None:
        room, identity = place
        old, present.name = present.name, name
        self.tell_renamed(room, old, name, identity)
