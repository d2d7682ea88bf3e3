"""Other people's accounts: who has one, and what those who run the house do with it.

What it is: `Users`, by whom they are listed, given roles, logged out and removed.

What it may know: accounts, rights, sessions. Not passwords, invitations, or who asks from where.

Invariant: nobody changes the account of who is not below them, and what was done is written down in
the same commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from sqlalchemy import Connection

from cometd_chat.chat.audit import note_by
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.mandate import Mandate
from cometd_chat.chat.names import MAX_NAME, person_name
from cometd_chat.chat.rights import Act
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import InvalidRequest, NotFound
from cometd_chat.events.texts import refused
from cometd_chat.log import accounts as table
from cometd_chat.log import members
from cometd_chat.log.accounts import AccountRow
from cometd_chat.log.changes import Changes
from cometd_chat.log.control import Control
from cometd_chat.lookalikes.keys import NameKeys, name_keys


@attrs.frozen
class User:
    """An account, as admins see it."""

    name: str
    role: Role
    seen_at: int


class Users:
    """What is done with the accounts of others.

    :param now: milliseconds since 1970.
    """

    def __init__(self, chat: Chat, now: Callable[[], int]) -> None:
        self._chat = chat
        self._now = now

    async def page(
        self, session: Session, after: str | None, limit: int, *, beginning: str = ""
    ) -> tuple[Sequence[User], bool]:
        """A page of all accounts, by their names; and whether there are more.

        :param session: who asks.
        :param after: the name of the last one of the page before.
        :param beginning: what their names begin with.
        """
        self._chat.rights.require(session, Act.SEE_USERS)
        key = None if after is None else typed_keys(after).folded
        begins = typed_keys(beginning).folded if beginning else ""
        rows = await self._chat.changes.read(
            lambda each: table.accounts_page(each, key, limit + 1, begins)
        )
        return [_user(row) for row in rows[:limit]], len(rows) > limit

    async def set_role(self, session: Session, name: str, role: Role) -> User:
        """Give somebody a role.

        :param session: who does.
        :raises NotFound: there is no account of that name.
        :raises NotBelow: they are not below who does.
        :raises LastOwner: nobody would be the owner.
        """
        rights, at = self._chat.rights, self._now()
        rights.require(session, Act.SET_ROLE)
        row = await self._named(name)
        if not Role.MEMBER <= role <= Role.OWNER:
            raise refused("role", "one of member, moderator, admin and owner is needed")
        user, identity = _user(row), row.identity
        if role == user.role:
            return user
        for act in _acts_to_set(role, user.role):
            rights.require(session, act)
        if identity != session.identity and user.role is not Role.OWNER:
            rights.require_above(session, user.role)
        mandate = self._mandate(session)

        def write_down(connection: Connection) -> None:
            kept = table.account_of(connection, identity)
            if kept is not None and kept.role == role.word:
                return  # It was in doubt, or somebody else has done the same.
            before = user.role if kept is None else _user(kept).role
            mandate.require(connection, Act.SET_ROLE, *_acts_to_set(role, before))
            if before is not Role.OWNER:
                mandate.require_above(connection, identity)
            note_by(
                connection,
                session,
                "role",
                at=at,
                whom=user.name,
                reason=role.word,
            )

        await self._chat.sessions.set_role(identity, role, write_down)
        return attrs.evolve(user, role=role)

    async def end_sessions(self, session: Session, name: str) -> int:
        """Log somebody out of all their devices; says of how many.

        :raises NotFound: there is no account of that name.
        :raises NotBelow: they are not below who asks.
        """
        rights = self._chat.rights
        rights.require(session, Act.SET_ROLE)
        row = await self._named(name)
        if row.identity != session.identity:
            rights.require_above(session, _user(row).role)
        at = self._now()
        mandate = self._mandate(session).to(Act.SET_ROLE, row.identity)

        def end(connection: Connection) -> Sequence[Control]:
            ended = members.end_sessions(connection, row.identity)
            note_by(
                connection,
                session,
                "log-out",
                at=at,
                whom=row.name,
            )
            return ended

        ended = await self._chat.changes.make(end, _as_it_is, provided=mandate)
        return len(ended)

    async def remove(self, session: Session, name: str) -> None:
        """Remove somebody's account, and end all their sessions. What they said stays, by nobody.

        :param session: who does.
        :raises NotFound: there is no account of that name.
        :raises NotBelow: they are not below who does.
        """
        rights, at = self._chat.rights, self._now()
        rights.require(session, Act.REMOVE_ACCOUNT)
        row = await self._named(name)
        rights.require_above(session, _user(row).role)
        mandate = self._mandate(session).to(Act.REMOVE_ACCOUNT, row.identity)

        def write_down(connection: Connection) -> None:
            kept = table.account_of(connection, row.identity)
            if kept is None:
                return  # It was in doubt, or somebody else has done the same.
            mandate(connection)
            note_by(
                connection,
                session,
                "remove-account",
                at=at,
                whom=kept.name,
            )

        await self._chat.sessions.remove_member(row.identity, write_down)
        await self._chat.departures.begin(row.identity)

    async def _named(self, name: str) -> AccountRow:
        row = await account_named(self._chat.changes, typed_keys(name))
        if row is None:
            raise NotFound("Nobody of that name has an account here.")
        return row

    def _mandate(self, session: Session) -> Mandate:
        return Mandate(self._chat.rights, session, None, self._chat.moderation.now)


def _acts_to_set(role: Role, before: Role) -> Sequence[Act]:
    """What it takes to let somebody be something else than before, beside `Act.SET_ROLE`."""
    acts = {Role.OWNER: Act.HAND_OVER, Role.ADMIN: Act.SET_ADMIN}
    return [acts[each] for each in (role, before) if each in acts]


async def account_named(changes: Changes, keys: NameKeys) -> AccountRow | None:
    """The account of a name; None where there is none."""
    return await changes.read(lambda each: table.account_named(each, keys.folded, keys.looks))


def typed_keys(name: str) -> NameKeys:
    """What a name is compared by as somebody typed it."""
    try:
        return name_keys(person_name(name))
    except InvalidRequest:
        # Nobody is called that; and what is very long is not compared as it is.
        return name_keys(name.strip()[:MAX_NAME])


def _user(row: AccountRow) -> User:
    # A role that only a later release knows is no more than a member's here.
    return User(row.name, Role.of(row.role) or Role.MEMBER, row.seen_at)


def _as_it_is(controls: Sequence[Control]) -> Sequence[Control]:
    return controls
