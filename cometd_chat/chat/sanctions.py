"""Sanctions: who may not speak, or not be here, until when.

What it is: `Sanction`, a frozen value; the table of kinds; and `SanctionIndex`, all that are in
force, to be asked at each request.

What it may know: ids, names of rooms, hashes of networks, a time. Not what a right is, nor how any
of it is kept.

Invariant: to ask for somebody costs two or three looks into a dict, however many sanctions there
are; and nothing at all while there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

import attrs

from cometd_chat.errors import InvalidRequest
from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.events.kinds import timestamp
from cometd_chat.events.texts import refused


class SanctionKind(Enum):
    """What is forbidden."""

    # By what it is, as any object: Enum's own is written in Python, and asked for at each request.
    __hash__ = object.__hash__

    #: To say anything.
    SILENCE = "silence"
    #: To be here, for a while: by default so short that they calm down.
    KICK = "kick"
    #: To be here.
    BAN = "ban"
    #: To be here for anybody who comes from a network.
    BAN_NETWORK = "ban-network"


SILENCE, KICK, BAN, BAN_NETWORK = SanctionKind

#: Minutes of a kick of which nobody says how long it is.
KICK_MINUTES = 10

#: The most minutes there are, ten years: whoever means longer says nothing, which is for ever.
MOST_MINUTES = 10 * 366 * 24 * 60

#: Code points of a reason.
MOST_REASON = 500

#: So many ends of sanctions that were lifted are kept for no reason.
_FEW = 64

_Key = TypeVar("_Key")


@attrs.frozen
class Sanction:
    """What somebody may not do.

    :param id: its own for ever.
    :param identity: whose; empty for that of a network.
    :param network: the hash of the network, see `networks`; empty for that of an identity.
    :param who: what they were called.
    :param room: where; None for everywhere.
    :param until: milliseconds since 1970-01-01T00:00Z; None for until it is lifted.
    :param by: the identity of whoever imposed it.
    :param by_name: what they were called.
    :param at: when, in the same milliseconds.
    """

    id: str
    kind: SanctionKind
    identity: str
    network: bytes
    who: str
    room: str | None
    until: int | None
    by: str
    by_name: str
    reason: str
    at: int

    def is_over(self, now: float) -> bool:
        """Whether it has ended by itself.

        :param now: milliseconds since 1970-01-01T00:00Z.
        """
        return self.until is not None and self.until <= now


def kind_named(written: object) -> SanctionKind:
    """The kind that somebody asks for.

    :raises InvalidRequest: there is none of that name.
    """
    for kind in SanctionKind:
        if kind.value == written:
            return kind
    names = ", ".join(kind.value for kind in SanctionKind)
    raise refused("kind", f"one of these is needed: {names}")


def minutes_of(kind: SanctionKind, asked: object) -> int | None:
    """For how many minutes somebody is sanctioned; None for until it is lifted.

    :param asked: what the client says; None for nothing.
    :raises InvalidRequest: it is no number of minutes, or none that makes sense.
    """
    if asked is None:
        return KICK_MINUTES if kind is KICK else None
    if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= MOST_MINUTES:
        without = (
            f"{KICK_MINUTES} without a number"
            if kind is KICK
            else "no number for until it is lifted"
        )
        raise refused("minutes", f"a whole number from 1 to {MOST_MINUTES} is needed, or {without}")
    return asked


def reason_of(asked: object) -> str:
    """Why, in one line; empty where nobody says so.

    :raises InvalidRequest: it is no text, or too long.
    """
    if asked is None:
        return ""
    if not isinstance(asked, str):
        raise refused("reason", "a text is needed")
    reason = " ".join(asked.split())
    if len(reason) > MOST_REASON:
        raise refused("reason", f"at most {MOST_REASON} characters are possible")
    if not reason.isprintable():
        raise refused("reason", "a line of printable characters is needed")
    return reason


def kept_sanction(fields: Mapping[str, Any]) -> Sanction:
    """A sanction as it is kept.

    :param fields: the columns of its row.
    """
    return Sanction(
        id=fields["id"],
        kind=kind_named(fields["kind"]),
        identity=fields["identity"] or "",
        network=bytes(fields["network"] or b""),
        who=fields["who"],
        room=fields["room"],
        until=fields["until"],
        by=fields["by"],
        by_name=fields["by_name"],
        reason=fields["reason"],
        at=fields["at"],
    )


#: Sanctions of one kind on the same in the same place: two, when two moderators come to it at once.
_Alike = tuple[Sanction, ...]


class SanctionIndex:
    """All sanctions in force."""

    def __init__(self) -> None:
        self._by_id: dict[str, Sanction] = {}
        self._of: dict[str, dict[str | None, dict[SanctionKind, _Alike]]] = {}
        self._from: dict[bytes, dict[str | None, _Alike]] = {}
        self._called: dict[str, _Alike] = {}
        self._ends: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Sanction]:
        """Oldest first."""
        return iter(list(self._by_id.values()))

    @property
    def networks(self) -> bool:
        """Whether any network is banned."""
        return bool(self._from)

    @property
    def identities(self) -> bool:
        """Whether anybody is sanctioned."""
        return bool(self._of)

    def get(self, id: str) -> Sanction | None:
        """The one of an id."""
        return self._by_id.get(id)

    def called(self, name: str) -> _Alike:
        """Those on whoever is called so, or was then, in whatever case it is written."""
        return self._called.get(name.casefold(), ())

    def put(self, sanction: Sanction) -> None:
        """One more is in force."""
        self.remove(sanction.id)
        self._by_id[sanction.id] = sanction
        room, called = sanction.room, sanction.who.casefold()
        self._called[called] = (*self._called.get(called, ()), sanction)
        if sanction.network:
            there = self._from.setdefault(sanction.network, {})
            there[room] = (*there.get(room, ()), sanction)
        else:
            kinds = self._of.setdefault(sanction.identity, {}).setdefault(room, {})
            kinds[sanction.kind] = (*kinds.get(sanction.kind, ()), sanction)
        if sanction.until is not None:
            heappush(self._ends, (sanction.until, sanction.id))

    def remove(self, id: str) -> Sanction | None:
        """One is in force no longer; None where it wasn't."""
        sanction = self._by_id.pop(id, None)
        if sanction is None:
            return None
        room = sanction.room
        _take_out(self._called, sanction.who.casefold(), sanction)
        if sanction.network:
            there = self._from[sanction.network]
            _take_out(there, room, sanction)
            if not there:
                del self._from[sanction.network]
        else:
            rooms = self._of[sanction.identity]
            _take_out(rooms[room], sanction.kind, sanction)
            if not rooms[room]:
                del rooms[room]
            if not rooms:
                del self._of[sanction.identity]
        if len(self._ends) > _FEW and len(self._ends) > 2 * len(self._by_id):
            self._ends = [each for each in self._ends if each[1] in self._by_id]
            heapify(self._ends)
        return sanction

    # -- asked at each request

    def has(self, identity: str) -> bool:
        """Whether somebody is under any, perhaps."""
        return identity in self._of

    def has_network(self, network: bytes | None) -> bool:
        """Whether a network is."""
        return network in self._from

    def of(
        self, identity: str, kind: SanctionKind, room: str | None, now: float
    ) -> Sanction | None:
        """What somebody is under in a room, or everywhere.

        :param room: None for what is in no room.
        :param now: milliseconds since 1970-01-01T00:00Z.
        """
        rooms = self._of.get(identity)
        if rooms is None:
            return None
        found = self._in(rooms, None, kind, now)
        return found if found is not None or room is None else self._in(rooms, room, kind, now)

    def anywhere(self, identity: str, kind: SanctionKind, now: float) -> Sanction | None:
        """What somebody is under, be it in a room or everywhere."""
        for room in self._of.get(identity, ()):
            found = self.of(identity, kind, room, now)
            if found is not None:
                return found
        return None

    def _in(
        self,
        rooms: dict[str | None, dict[SanctionKind, _Alike]],
        room: str | None,
        kind: SanctionKind,
        now: float,
    ) -> Sanction | None:
        kinds = rooms.get(room)
        return None if kinds is None else _lasting(kinds.get(kind, ()), now)

    def of_network(self, network: bytes, room: str | None, now: float) -> Sanction | None:
        """What everybody from a network is under in a room, or everywhere."""
        rooms = self._from.get(network)
        if rooms is None:
            return None
        found = _lasting(rooms.get(None, ()), now)
        return found if found is not None or room is None else _lasting(rooms.get(room, ()), now)

    # -- their end

    @property
    def next_end(self) -> int | None:
        """When the next one ends by itself, in milliseconds; None where none does."""
        while self._ends and self._ends[0][1] not in self._by_id:
            heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def take_over(self, now: float, most: int) -> list[Sanction]:
        """Those that have ended by now, which are in force no longer.

        :param most: so many at a time.
        """
        over: list[Sanction] = []
        while len(over) < most:
            end = self.next_end
            if end is None or end > now:
                break
            found = self.remove(heappop(self._ends)[1])
            if found is not None:
                over.append(found)
        return over


def _take_out(there: dict[_Key, _Alike], key: _Key, sanction: Sanction) -> None:
    rest = tuple(each for each in there[key] if each is not sanction)
    if rest:
        there[key] = rest
    else:
        del there[key]


def _lasting(alike: _Alike, now: float) -> Sanction | None:
    """The one of them that lasts longest, if any does."""
    found = None
    for each in alike:
        if not each.is_over(now) and (found is None or _outlasts(each, found)):
            found = each
    return found


def _outlasts(one: Sanction, other: Sanction) -> bool:
    return other.until is not None and (one.until is None or one.until > other.until)


def told_of(sanction: Sanction, *, lifted: bool = False) -> Event:
    """A sanction as whoever is under it is told; not by whom, for it is no matter between two.

    :param lifted: it is in force no longer.
    """
    until = None if sanction.until is None else timestamp(sanction.until)
    return kinds.sanction(sanction.kind.value, sanction.room, until, sanction.reason, lifted=lifted)


def require_other(whom: str, who: str) -> None:
    """Refuse a sanction on oneself.

    :raises InvalidRequest: they are the same identity.
    """
    if whom == who:
        raise InvalidRequest("That is yourself: choose somebody else.")
