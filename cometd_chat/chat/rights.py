"""Who may do what: the one place where a right is asked.

What it is: `Rights.may`, which says yes or gives the refusal; and `Grant`, what somebody was found
to may, as it is kept by whatever outlives the request that asked. The table of who may what is in
`matrix.py`; what policies change of it, who belongs to a room and whom a sanction concerns, each
has a module of its own, which keeps it in memory and says here when it has changed.

What it may know: sessions. Of a room what `AnyRoom` says.

Invariant: a room that somebody may not see is to them as if it were not there. What was allowed
carries the generation of the rights by which it was, and ends when they end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import attrs

from cometd_chat.chat.matrix import (
    ANYBODY,
    MATRIX,
    NOBODY,
    SPEAKERS,
    Act,
    Calm,
    Guests,
    RoomKind,
    Terms,
    levels,
)
from cometd_chat.chat.refusals import (
    HOW_TO_LOG_IN,
    calmed,
    guests_off,
    may_not,
    no_such_room,
    not_below,
    role_needed,
    stopping,
)
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session, inactive
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import (
    ChatError,
    InvalidToken,
    NoSession,
    RoomArchived,
    RoomLocked,
    RoomNotFound,
    Waiting,
)

__all__ = [
    "Act",
    "Affected",
    "AnyRoom",
    "Grant",
    "Rights",
    "RoomRule",
    "Rule",
    "identity_of",
]

# Looked up once: an enum's members are found by a call.
_SEE, _FOLLOW, _SPEAK, _WAITING = Act.SEE, Act.FOLLOW, Act.SPEAK, Role.WAITING

#: What nothing new begins by once the daemon stops.
_LASTING = {Act.FOLLOW, Act.SPEAK, Act.ENTER, Act.COME_AS_GUEST}

#: What nobody does in an archived room.
_CHANGES_WHAT_IS_SAID = {Act.SPEAK, Act.JOIN, Act.INVITE}


class AnyRoom(Protocol):
    """What a right depends on of a room."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def gone(self) -> bool:
        """Whether it is there no longer."""

    @property
    def kind(self) -> RoomKind:
        """Who it is for."""

    @property
    def members(self) -> Mapping[str, Role]:
        """Who belongs to it, by their identities: its moderators and its members."""

    @property
    def locked(self) -> bool:
        """Whether only moderators speak."""

    @property
    def archived(self) -> bool:
        """Whether nobody does."""

    @property
    def plain(self) -> bool:
        """Whether it is public, and neither locked nor archived: like most."""


class Rule(Protocol):
    """What else may stand in somebody's way, as sanctions do."""

    @property
    def in_force(self) -> bool:
        """Whether it concerns anybody at all; asked again after `Rights.changed_by_state`."""

    def concerns(self, session: Session | None, address: str) -> bool:
        """Whether it may stand in somebody's way at all. On the hot path, while in force."""

    def refusal(
        self, session: Session | None, act: Act, room: AnyRoom | None, address: str
    ) -> ChatError | None:
        """Why somebody may not do something; see `Rights.may`."""


#: Whether somebody may do something in a room, beside what holds for all rooms; for embedders.
RoomRule = Callable[[Session | None, Act, AnyRoom], bool]

RoomT = TypeVar("RoomT", bound=AnyRoom, covariant=True)


@attrs.frozen(kw_only=True)
class Affected:
    """Whom a change of the rights concerns, at most: what is held by all others goes on.

    :param identities: these; None for everybody.
    :param rooms: in these, by their names; None for all.
    :param comes_from: who come from such an address; None for any.
    """

    identities: Collection[str] | None = None
    rooms: Collection[str] | None = None
    comes_from: Callable[[str], bool] | None = None

    def concerns(self, identity: str, room: str | None) -> bool:
        """Whether it may concern somebody who reads a room; or all of them, where None is named."""
        return (self.identities is None or identity in self.identities) and (
            self.rooms is None or room is None or room in self.rooms
        )


EVERYBODY = Affected()

#: Nothing that anybody holds.
NOTHING_HELD = Affected(identities=())


@attrs.frozen
class Grant(Generic[RoomT]):
    """What somebody was found to may.

    :param session: who; None for somebody who only reads.
    :param token: what her token was known by then: one that has been replaced is good no longer.
    :param rooms: where.
    :param generation: of the rights by which it was found.
    """

    session: Session | None
    token: bytes
    rooms: Sequence[RoomT]
    generation: int


class Rights:
    """Who may do what.

    :param public_reading: whether rooms can be read without a session.
    :param rule: what else holds in single rooms; None where all rooms are for all.
    """

    def __init__(self, *, public_reading: bool = True, rule: RoomRule | None = None) -> None:
        self._rule = rule
        #: What stands in the way everywhere, of whoever asks and before any room is looked at; and
        #: what does afterwards, of who sees the room.
        self._bars: list[Rule] = []
        self._restrictions: list[Rule] = []
        self._bars_in_force: Sequence[Rule] = ()
        self._restrictions_in_force: Sequence[Rule] = ()
        self._rules_in_force: Sequence[Rule] = ()
        self._stopping = False
        #: How many rooms are not for all.
        self._hidden = 0
        #: Raised by each change, see `change`.
        self.generation = 0
        #: Whoever holds something that a right allowed is told of each change.
        self.changed: Listeners[[Affected]] = Listeners("rights")
        self._set_terms(Terms(public_reading=public_reading))

    # -- what has changed

    @property
    def stopping(self) -> bool:
        """Set once the daemon stops: nothing that lasts begins any more."""
        return self._stopping

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self._stopping = stopping
        # Nothing that was granted is current: so who is asked for each poll need not be asked this.
        self.generation += 1
        self._look()

    @property
    def terms(self) -> Terms:
        """What the policies say."""
        return self._terms

    def set_terms(self, terms: Terms) -> None:
        """Let other policies hold from now."""
        before = self._terms
        self._set_terms(terms)
        # Who speaks and who makes rooms is asked each time: nothing is held by that, and thousands
        # who read need not be looked at when the house is calmed.
        reads_as_before = (before.public_reading, before.guests) == (
            terms.public_reading,
            terms.guests,
        )
        self.changed_by_state(NOTHING_HELD if reads_as_before else EVERYBODY)

    def begin_with(self, terms: Terms) -> None:
        """Let policies hold from the start, when nothing is held yet."""
        self._set_terms(terms)

    def _set_terms(self, terms: Terms) -> None:
        self._terms = terms
        self._levels = levels(terms)
        self._public_reading = terms.public_reading
        #: What they say of that; on the hot path of posts.
        self.calm = terms.calm
        self._look()

    def bar_by(self, rule: Rule) -> None:
        """Ask this, too, before any room is looked at: who is barred learns of no room."""
        self._bars.append(rule)
        self._look()

    def restrict_by(self, rule: Rule) -> None:
        """Ask this, too, of who sees the room."""
        self._restrictions.append(rule)
        self._look()

    def change(self, rule: RoomRule | None) -> None:
        """Let another rule for single rooms hold from now.

        Whoever changes what a rule answers calls this, too, with the same one.
        """
        self._rule = rule
        self.changed_by_state()

    def changed_by_state(self, affected: Affected = EVERYBODY) -> None:
        """What somebody may has changed: what is held by a right that is gone ends, at once.

        :param affected: whom it can concern; what it costs is what these hold.
        """
        self._look()
        self.generation += 1
        self.changed.tell(affected)

    def count_hidden(self, change: int) -> None:
        """So many rooms more, or less, are not for all."""
        self._hidden += change

    def _look(self) -> None:
        self._bars_in_force = [each for each in self._bars if each.in_force]
        self._restrictions_in_force = [each for each in self._restrictions if each.in_force]
        self._rules_in_force = [*self._bars_in_force, *self._restrictions_in_force]
        #: Nothing but what a room and a session say stands in the way of who is no less than a
        #: guest.
        self._easy = not (
            self._stopping or self._rule is not None or self._terms.guests is Guests.OFF
        )
        self._all_speak = self._terms.calm <= Calm.SLOW

    @property
    def hides_rooms(self) -> bool:
        """Whether there may be rooms that somebody who may read does not see."""
        return self._hidden > 0 or self._rule is not None

    @property
    def has_rule(self) -> bool:
        """Whether an embedder's rule is asked for each room."""
        return self._rule is not None

    @property
    def differ_by_room(self) -> bool:
        """Whether somebody who reads one room may not read another, for whatever reason. On the hot
        path of who reads all rooms."""
        return bool(self.hides_rooms or self._restrictions_in_force or self._bars_in_force)

    # -- who may

    def may(
        self,
        session: Session | None,
        act: Act,
        room: AnyRoom | None = None,
        address: str = "",
    ) -> ChatError | None:
        """Whether somebody may do something.

        :param session: who; None for somebody without one.
        :param room: where; None for what is in no room, or in one that isn't there.
        :param address: where from; empty where that isn't known.
        :returns: None for yes, or else the refusal.
        """
        # On the hot path: what nearly everybody does, in the rooms that nearly all are; it is what
        # the table has, and what the rest says at length, in a tenth of the time.
        if (
            self._easy
            and room is not None
            and room.plain
            and not room.gone
            and not (self._rules_in_force and self._is_concerned(session, address))
        ):
            if session is None:
                if self._public_reading and (act is _FOLLOW or act is _SEE):
                    return None
            elif act is _SEE:
                if self._public_reading or session.role > _WAITING:
                    return None
            elif (
                (act is _FOLLOW or (act is _SPEAK and self._all_speak))
                and not session.ended
                and not session.forgotten
                and session.name_key is not None
                and session.role > _WAITING
            ):
                return None
        return self._may(session, act, room, address)

    def _is_concerned(self, session: Session | None, address: str) -> bool:
        return any(rule.concerns(session, address) for rule in self._rules_in_force)

    def _may(
        self, session: Session | None, act: Act, room: AnyRoom | None, address: str
    ) -> ChatError | None:
        if self._stopping and act in _LASTING:
            return stopping()
        if (
            session is not None
            and act is not Act.SEE
            and (session.ended or session.forgotten or session.name_key is None)
        ):
            return inactive(session)
        for bar in self._bars_in_force:
            refusal = bar.refusal(session, act, room, address)
            if refusal is not None:
                return refusal
        if room is not None and not self._sees(session, room):
            # Whatever the reason, it is the one that there would be without that room.
            return self._lacks(session, act, None) or no_such_room()
        refusal = self._lacks(session, act, room)
        if refusal is not None:
            return refusal
        if room is not None:
            refusal = self._stands_in_the_way(session, act, room)
            if refusal is not None:
                return refusal
        for restriction in self._restrictions_in_force:
            refusal = restriction.refusal(session, act, room, address)
            if refusal is not None:
                return refusal
        return None

    def _sees(self, session: Session | None, room: AnyRoom) -> bool:
        if room.kind is not RoomKind.PUBLIC:
            if session is None:
                return False
            identity = identity_of(session)
            # Who is at the shell, and no identity, has the database: nothing is hidden from them.
            if identity and identity not in room.members:
                return False
        return self._rule is None or self._rule(session, Act.SEE, room)

    def _stands_in_the_way(
        self, session: Session | None, act: Act, room: AnyRoom
    ) -> ChatError | None:
        if self._rule is not None and not self._rule(session, act, room):
            return may_not(act, room.name)
        if room.gone:
            return RoomNotFound(f"The room {room.name} is gone: nobody had spoken in it.")
        if room.plain:
            return None
        if room.archived and act in _CHANGES_WHAT_IS_SAID:
            return RoomArchived(f"The room {room.name} is archived: it can be read, and no more.")
        if room.locked and act is Act.SPEAK and self.rank(session, room) < Role.MODERATOR:
            return RoomLocked(f"The room {room.name} is locked: only its moderators speak.")
        return None

    def _lacks(self, session: Session | None, act: Act, room: AnyRoom | None) -> ChatError | None:
        """What somebody's role is not enough for."""
        column = 0 if room is None else room.kind.column
        least = self._levels[act.index][column]
        rank = self.rank(session, room)
        off = self._terms.guests is Guests.OFF
        if session is not None and off and session.role <= Role.GUEST:
            # They read what the public may, as anybody does; what they hold ends.
            if act is not Act.OWN_ACCOUNT and (act is not Act.SEE or least > ANYBODY):
                return guests_off()
        elif act is Act.COME_AS_GUEST and off:
            return guests_off()
        return None if rank >= least else self._refusal(session, act, room, least, rank)

    def _refusal(
        self, session: Session | None, act: Act, room: AnyRoom | None, least: int, rank: int
    ) -> ChatError:
        """Why a role is not enough."""
        if session is None:
            if act is Act.SEE or act is Act.FOLLOW:
                return NoSession("Rooms can be read after logging in.", hint=HOW_TO_LOG_IN)
            return NoSession("Log in first.", hint=HOW_TO_LOG_IN)
        if rank == Role.WAITING and least < NOBODY:
            return Waiting(
                "A moderator has to let you in first. Meanwhile you can read what everybody can."
            )
        if act is Act.SPEAK and SPEAKERS[self._terms.calm] == least and rank >= Role.GUEST:
            return calmed(self._terms.calm)
        return role_needed(act, None if room is None else room.name, least)

    def least(self, act: Act, room: AnyRoom | None = None) -> int:
        """The least role that an act takes, by the policies of now."""
        return self._levels[act.index][0 if room is None else room.kind.column]

    def rank(self, session: Session | None, room: AnyRoom | None = None) -> int:
        """What somebody is in a room, or in the house: a `Role`, or `ANYBODY`."""
        if session is None:
            return ANYBODY
        if room is None:
            return session.role
        return max(session.role, self._room_rank(identity_of(session), room))

    def role_in(self, room: AnyRoom, identity: str, role: Role) -> Role:
        """What somebody is in a room.

        :param role: theirs, in the house.
        """
        return max(role, self._room_rank(identity, room))

    def _room_rank(self, identity: str, room: AnyRoom) -> Role:
        # Who only belongs is no more than they are everywhere.
        role = room.members.get(identity, Role.WAITING)
        return role if role is Role.MODERATOR else Role.WAITING

    def require(
        self,
        session: Session | None,
        act: Act,
        rooms: Sequence[AnyRoom] = (),
        address: str = "",
    ) -> None:
        """Refuse what somebody may not do.

        :param rooms: where; all of them.
        :param address: where from; empty where that isn't known.
        :raises ChatError: see `may`.
        """
        for room in rooms or (None,):
            refusal = self.may(session, act, room, address)
            if refusal is not None:
                raise refusal

    def require_above(
        self, actor: Session, role: Role, *, identity: str = "", room: AnyRoom | None = None
    ) -> None:
        """Refuse to touch somebody who is not below.

        :param role: theirs, in the house.
        :param identity: theirs, where it matters what they are in a room.
        :raises NotBelow: they are not.
        """
        rank = role if room is None else self.role_in(room, identity, role)
        if rank >= self.rank(actor, room):
            raise not_below(rank)

    def all_of(self, session: Session | None, room: AnyRoom | None = None) -> Sequence[Act]:
        """All that somebody may do, in a room or in the house."""
        return [act for act in MATRIX if self.may(session, act, room) is None]

    @property
    def guest_role(self) -> Role:
        """What a new guest is."""
        return Role.WAITING if self._terms.guests is Guests.APPROVE else Role.GUEST

    # -- what outlives its request

    def grant(self, session: Session | None, rooms: Sequence[RoomT]) -> Grant[RoomT]:
        """What somebody was found to may, to be kept."""
        token = b"" if session is None else session.known_by
        return Grant(session, token, rooms, self.generation)

    def is_current(self, grant: Grant[AnyRoom]) -> bool:
        """Whether what was granted was so by the rights and the token of now."""
        session = grant.session
        return self.generation == grant.generation and (
            session is None or session.known_by == grant.token
        )

    def require_still(self, grant: Grant[AnyRoom], act: Act) -> None:
        """Refuse what was granted, and may not be done any longer.

        :raises InvalidToken: the token by which it was has been replaced since.
        :raises ChatError: see `may`.
        """
        self.require(grant.session, act, grant.rooms)
        require_current_token(grant)


def identity_of(session: Session) -> str:
    """Who somebody is, whatever their session."""
    return session.identity


def require_current_token(grant: Grant[AnyRoom]) -> None:
    """Refuse somebody whose token was good when something was granted, and has been replaced since.

    :raises InvalidToken: it has.
    """
    if grant.session is not None and grant.session.known_by != grant.token:
        raise InvalidToken("That token has been replaced since: use the new one.")
