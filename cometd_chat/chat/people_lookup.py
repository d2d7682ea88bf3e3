"""Whom somebody means who says a name.

What it is: `Lookup`, from a name as it was typed to a `Person`, on whichever node they are.

What it may know: names' keys, the tables of who has which, sessions in use. Not who may ask.

Invariant: what looks like a name, or is written in another case, is that name.
"""

from __future__ import annotations

from typing import Protocol

import attrs
from sqlalchemy import Connection, or_, select, true

from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Member, Session, Sessions
from cometd_chat.errors import NotFound
from cometd_chat.log.changes import Changes
from cometd_chat.log.tables import claims, members, sessions
from cometd_chat.lookalikes.keys import NameKeys, name_keys


class Whom(Protocol):
    """Somebody who is acted on."""

    @property
    def identity(self) -> str:
        """Who they are."""

    @property
    def name(self) -> str:
        """What they are called."""

    @property
    def role(self) -> Role:
        """What they are in the house."""


@attrs.frozen
class Person:
    """Somebody.

    :param identity: who they are, for ever.
    :param name: what they are called.
    :param role: what they are in the house.
    :param sessions: theirs that are in use on this node.
    """

    identity: str
    name: str
    role: Role
    sessions: tuple[Session, ...] = ()


class Lookup:
    """Finds people by their names."""

    def __init__(self, changes: Changes, sessions: Sessions) -> None:
        self._changes = changes
        self._sessions = sessions

    async def by_name(self, name: str) -> Person:
        """Whoever has a name.

        :raises NotFound: nobody has.
        """
        keys = name_keys(name)
        session = self._sessions.called(keys)
        if session is not None:
            return self.of_session(session)
        found = await self._changes.read(lambda connection: _find(connection, keys, name))
        if found is None:
            raise NotFound(f"There is nobody called {name[:64]}.")
        # What they are in use here is as it is now.
        here = self._sessions.member(found.identity) or self._sessions.in_use(found.identity)
        return found if here is None else self._of(here)

    def of_session(self, session: Session) -> Person:
        """Whose a session is."""
        return self._of(session.person)

    def _of(self, somebody: Session | Member) -> Person:
        theirs = somebody.sessions if isinstance(somebody, Member) else (somebody,)
        return Person(somebody.identity, somebody.name, somebody.role, theirs)


def _find(connection: Connection, keys: NameKeys, name: str) -> Person | None:
    kept = members.c.deleted_at.is_(None), true()
    for table, there in zip((members, sessions), kept, strict=True):
        identity = table.c.identity if table is members else table.c.id
        alike = or_(table.c.name_key == keys.folded, table.c.name_looks == keys.looks)
        query = select(identity, table.c.name, table.c.role).where(alike, there)
        row = connection.execute(query).first()
        if row is not None:
            return Person(row[0], row[1], Role.of(row[2]) or Role.GUEST)
    # Who lives as long as one request, or holds nothing but a connection, at another node.
    claimed = select(claims.c.session).where(claims.c.key.in_(set(keys)))
    guest = connection.execute(claimed).scalar()
    return None if guest is None else Person(guest, name, Role.GUEST)
