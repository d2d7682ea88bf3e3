"""Purges as they are kept.

What it is: `Purge`, a row; and what is changed of it, each in the transaction that is open.

What it may know: its table, and those that say who is more than a guest. Not messages.

Invariant: what is changed here may be changed again, and does no harm: where the way to the
database breaks it is not known whether it came through.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

import attrs
from sqlalchemy import Connection, bindparam, insert, or_, select, update

from cometd_chat.chat import audit
from cometd_chat.chat.roles import Role
from cometd_chat.errors import NotFound, TooLate
from cometd_chat.log.tables import members, purges, room_members, sessions

#: For so long a purge can be undone, in milliseconds.
UNDO = 30 * 60_000

#: What can't be brought back any more is erased so much later: clocks of nodes differ a little.
MARGIN = 10_000

#: A purge at which nobody has worked for so many milliseconds was left alone, though whoever did be
#: there: the database was out of reach for long, perhaps.
LEFT_ALONE = 60_000

#: Stands for everybody who is no more than a guest, where else identities are: no identity is it.
GUESTS = "guests"


class State(Enum):
    """What has become of a purge."""

    HIDING = "hiding"
    HIDDEN = "hidden"
    UNDOING = "undoing"
    UNDONE = "undone"
    ERASED = "erased"


@attrs.frozen(kw_only=True)
class Purge:
    """That all is hidden what some people said in a room.

    :param identity: whose; of several, with spaces in between.
    :param by: who does it; themselves, for whoever takes their words with them.
    :param since: only what was said from then on; milliseconds since 1970-01-01T00:00Z.
    :param last: and up to this id.
    :param until: until then it can be undone.
    :param state: see `State`.
    :param touched_at: when somebody last worked at it.
    :param node: the number of the node that works at it, or did last; 0 for a process that is
        alone.
    """

    id: str
    room: str
    identity: str
    by: str
    by_name: str
    since: int
    last: int
    at: int
    until: int
    state: str = State.HIDING.value
    touched_at: int = 0
    node: int = 0

    @property
    def how(self) -> str:
        """How a message is deleted by it."""
        return "own" if self.by == self.identity else "moderator"

    @property
    def of_guests(self) -> bool:
        """Whether it is of all who are no more than guests."""
        return self.identity == GUESTS


def begin(connection: Connection, purge: Purge, whom: str, reason: str) -> None:
    """Keep a purge; nothing where it is kept already, since a change may be made again."""
    if connection.execute(select(purges.c.id).where(purges.c.id == purge.id)).first() is not None:
        return
    connection.execute(insert(purges), attrs.asdict(purge))
    audit.note(
        connection,
        at=purge.at,
        who=purge.by,
        who_name=purge.by_name,
        what="purge",
        whom=whom,
        room=purge.room,
        reason=reason,
        about=purge.id,
    )


def more_than_guests(room: str, some: Collection[str], connection: Connection) -> set[str]:
    """Who of some is more than a guest, in the house or in a room."""
    moderates = room_members.c.room == room, room_members.c.role == Role.MODERATOR.word
    guests = [Role.GUEST.word, Role.WAITING.word]
    queries = (
        # Who had an account, and deleted it, was not a guest either.
        select(members.c.identity).where(members.c.identity.in_(some)),
        select(room_members.c.identity).where(room_members.c.identity.in_(some), *moderates),
        select(sessions.c.id).where(sessions.c.id.in_(some), sessions.c.role.not_in(guests)),
    )
    return {each for query in queries for each in connection.execute(query).scalars()}


def undo(connection: Connection, room: str, id: str, at: int, node: int) -> Purge:
    """Let a purge be brought back, by a node.

    :raises NotFound: there is none in that room.
    :raises TooLate: it can't be any more.
    """
    where = purges.c.id == id, purges.c.room == room
    row = connection.execute(select(purges).where(*where).with_for_update()).mappings().first()
    if row is None:
        raise NotFound("There was no such purge in this room.")
    purge = Purge(**row)
    state = State(purge.state)
    if state in (State.UNDOING, State.UNDONE):
        return purge
    if state is State.ERASED or purge.until <= at:
        raise TooLate(
            "That was purged more than half an hour ago, and can't be brought back any more."
        )
    undoing = State.UNDOING.value
    taken = update(purges).where(*where).values(state=undoing, touched_at=at, node=node)
    connection.execute(taken)
    audit.undo(connection, id, at)
    return attrs.evolve(purge, state=undoing, touched_at=at, node=node)


def touch(connection: Connection, purge: Purge, at: int) -> Purge:
    """Say that somebody works at it; and see what has become of it meanwhile."""
    connection.execute(update(purges).where(purges.c.id == purge.id).values(touched_at=at))
    return _as_it_is(connection, purge)


def become(connection: Connection, purge: Purge, state: State) -> Purge:
    """A step is through; unless somebody wants something else meanwhile."""
    still = purges.c.id == purge.id, purges.c.state == purge.state
    connection.execute(update(purges).where(*still).values(state=state.value))
    return _as_it_is(connection, purge)


def _as_it_is(connection: Connection, purge: Purge) -> Purge:
    """A purge as it is now; who brings it back stays who they are."""
    row = connection.execute(select(purges.c.state).where(purges.c.id == purge.id)).first()
    return purge if row is None else attrs.evolve(purge, state=row[0])


# Asked again and again, so made once; see `cometd_chat.log.directory`.
# A list, as of IN, would be put into the statement each time.
_UNFINISHED = or_(purges.c.state == State.HIDING.value, purges.c.state == State.UNDOING.value)
_OVER = (purges.c.state == State.HIDDEN.value) & (purges.c.until <= bindparam("until"))
_TO_DO = select(purges).where(_UNFINISHED | _OVER).order_by(purges.c.at)


def to_do(connection: Connection, at: int) -> list[Purge]:
    """What is not finished, and what is to be erased; whether anybody is at it or not."""
    found = connection.execute(_TO_DO, {"until": at - MARGIN}).mappings()
    return [Purge(**row) for row in found]


def take(connection: Connection, purge: Purge, at: int, node: int) -> bool:
    """Go on with a purge; False where another node does."""
    its_own = purges.c.id == purge.id, purges.c.touched_at == purge.touched_at
    taken = update(purges).where(*its_own, purges.c.node == purge.node)
    return connection.execute(taken.values(touched_at=at, node=node)).rowcount > 0
