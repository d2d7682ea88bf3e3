"""By what right somebody acts on somebody, asked once more where it is done.

What it is: `Mandate`, of which a `Condition` is made for each thing that is done: compared by what
is kept, in the transaction of the change.

What it may know: rights, ranks as they are kept. Not what is done.

Invariant: of two who act on each other at once one is refused; and so is whoever has lost a right
of which this node has not heard yet. Who is at the shell has lost none.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.refusals import no_such_room, not_below, role_needed
from cometd_chat.chat.rights import Act, AnyRoom, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sanction_rules import refusal
from cometd_chat.chat.sanctions import kept_sanction
from cometd_chat.chat.sessions import Session
from cometd_chat.log.changes import Condition
from cometd_chat.log.ranks import Rank, kind_of, lock_roles, rank_of, sanction_on
from cometd_chat.log.room_rows import REMOVED


class Mandate:
    """The right of somebody, in the house or in a room.

    :param actor: who acts; one without an identity is at the shell.
    :param room: where; None for the house.
    :param now: milliseconds since 1970-01-01T00:00Z.
    """

    def __init__(
        self, rights: Rights, actor: Session, room: AnyRoom | None, now: Callable[[], float]
    ) -> None:
        self._rights = rights
        self._actor = actor
        self._room = room
        self._now = now

    def to(self, act: Act, *people: str) -> Condition:
        """That they may do something, and that some people are below them.

        :param people: their identities; who acts may be among them.
        """

        def holds(connection: Connection) -> None:
            self.require(connection, act)
            for identity in people:
                self.require_above(connection, identity)

        return holds

    def require(self, connection: Connection, *acts: Act) -> None:
        """Refuse them what they may not do any more.

        :raises ChatError: see `Rights.may`.
        """
        lock_roles(connection)
        actor, room = self._actor.identity, self._room
        name = None if room is None else room.name
        if not actor:
            return
        sanction = sanction_on(connection, actor, name, int(self._now()))
        if sanction is not None:
            raise refusal(kept_sanction(sanction), self._now())
        rank = rank_of(connection, actor, name)
        if name is not None and not sees(kind_of(connection, name), rank):
            raise no_such_room()
        for act in acts:
            least = self._rights.least(act, room)
            if _highest(rank) < least:
                raise role_needed(act, name, least)

    def require_above(self, connection: Connection, identity: str) -> None:
        """Refuse to touch somebody who is not below them any more.

        :raises NotBelow: they are not.
        """
        lock_roles(connection)
        actor = self._actor.identity
        if identity == actor:
            return
        name = None if self._room is None else self._room.name
        theirs = _highest(rank_of(connection, identity, name))
        mine = _highest(rank_of(connection, actor, name)) if actor else self._actor.role
        if theirs >= mine:
            raise not_below(theirs)


def sees(kind: str | None, rank: Rank) -> bool:
    """Whether somebody sees a room.

    :param kind: whom it is for, as it is kept; None for one that isn't there.
    """
    return kind == RoomKind.PUBLIC.value or (
        kind not in (None, REMOVED) and rank.in_room is not None
    )


def _highest(rank: Rank) -> Role:
    """What somebody is; who only belongs to a room is no more there than in the house."""
    # A role that only a later release knows is no more than a member's here.
    house = Role.of(rank.role) or Role.MEMBER
    return max(house, Role.MODERATOR) if rank.in_room == Role.MODERATOR.word else house
