"""Invitations: who may make which, and what they are good for.

What it is: `Invites`, over their table. Who takes one, and becomes what by it, `Accounts` says.

What it may know: sessions, rights, what is kept. Not pages.

Invariant: nobody gives by an invitation what they could not give themselves: neither when it is
made nor when it is taken. It lets people into the house, so that who moderates no more than a room
makes none.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence

import attrs
from sqlalchemy import Connection

from cometd_chat.chat.limits import Spend, spends_nothing
from cometd_chat.chat.rights import Act, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import CodeGone, FieldError, InvalidRequest, NotFound
from cometd_chat.log import invites as table
from cometd_chat.log.changes import Changes
from cometd_chat.log.invites import InviteRow

#: How many somebody may invite at once, and for how long, in days.
MOST_USES, MOST_DAYS = 10_000, 365

#: What an invitation is good for that says nothing of it.
USES, DAYS = 100, 7

_DAY = 86_400_000


@attrs.frozen
class InviteRequest:
    """What somebody wants to make.

    :param room: the room that it leads to; None for none in particular.
    :param uses: how many it lets in; None for any number.
    :param days: how long it is good; None for ever.
    """

    room: Room | None = None
    uses: int | None = USES
    days: int | None = DAYS
    role: Role = Role.MEMBER

    def check(self) -> None:
        """Refuse what can't be.

        :raises InvalidRequest: it names the field.
        """
        for field, value, most in (
            ("uses", self.uses, MOST_USES),
            ("days", self.days, MOST_DAYS),
        ):
            if value is not None and not 1 <= value <= most:
                raise _refused(field, f"a whole number from 1 to {most:,} is needed")
        if not Role.MEMBER <= self.role < Role.OWNER:
            raise _refused("role", "one of member, moderator and admin is needed")


class Invites:
    """All invitations.

    :param wall_clock: seconds since 1970.
    :param random_bytes: so many unguessable bytes.
    :param spend: takes each that is made from the limits of who makes it.
    """

    def __init__(
        self,
        changes: Changes,
        rights: Rights,
        *,
        wall_clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        spend: Spend = spends_nothing,
    ) -> None:
        self._spend = spend
        self._changes = changes
        self._rights = rights
        self._wall_clock = wall_clock
        self._random_bytes = random_bytes

    async def make(self, session: Session, asked: InviteRequest) -> InviteRow:
        """Make an invitation.

        :raises InvalidRequest: it can't be that.
        :raises ChatError: she may not; see `Rights.may`.
        """
        asked.check()
        self._rights.require(session, Act.INVITE)
        if asked.room is not None:
            self._rights.require(session, Act.INVITE, [asked.room])
        if asked.role > Role.MEMBER:
            self._rights.require(session, Act.INVITE_WITH_ROLE)
            self._rights.require_above(session, asked.role)
        self._spend(session, "")
        now = self._now()
        row = InviteRow(
            # 12 characters, 72 random bits: short enough to be read aloud, and nothing to guess.
            code=urlsafe_b64encode(self._random_bytes(9)).decode("ascii"),
            room=None if asked.room is None else asked.room.name,
            role=asked.role.word,
            uses=asked.uses,
            left=asked.uses,
            until=None if asked.days is None else now + asked.days * _DAY,
            by=session.identity,
            by_name=session.name,
            created_at=now,
        )
        await self._changes.make(lambda connection: table.add_invite(connection, row), lambda _: ())
        return row

    async def find(self, code: str) -> InviteRow:
        """An invitation that is good.

        :raises CodeGone: it isn't, or there is none.
        """
        now = self._now()
        return await self._changes.read(lambda connection: find_good(connection, code, now))

    async def page(
        self, session: Session, after: str | None, limit: int
    ) -> tuple[Sequence[InviteRow], bool]:
        """Those that are good, hers or, for an admin, all but those to rooms that she may not see;
        and whether there are more.

        :param after: the code of the last one of the page before.
        """
        self._rights.require(session, Act.INVITE)
        # Who is at the shell has the database, and nothing is hidden from them.
        asker, all, now = session.identity or None, self._sees_all(session), self._now()
        rows = await self._changes.read(
            lambda each: table.good_invites(each, asker, after, limit + 1, now, all=all)
        )
        return rows[:limit], len(rows) > limit

    async def revoke(self, session: Session, code: str) -> None:
        """Take an invitation back: hers, or, for an admin, any. Twice is once.

        :raises NotFound: there is none that she may take back.
        """
        self._rights.require(session, Act.OWN_ACCOUNT)
        row = await self._changes.read(lambda connection: table.kept_invite(connection, code))
        if row is None or (row.by != session.identity and not self._sees_all(session)):
            raise NotFound("You have made no such invitation.")
        now = self._now()
        if row.revoked_at is None:
            await self._changes.make(
                lambda connection: table.revoke_invite(connection, code, now), lambda _: ()
            )

    def _sees_all(self, session: Session) -> bool:
        return self._rights.may(session, Act.INVITE_WITH_ROLE) is None

    def _now(self) -> int:
        return int(self._wall_clock() * 1000)


def find_good(connection: Connection, code: str, now: int) -> InviteRow:
    """An invitation that is good, and whose maker may still make it.

    :param now: milliseconds since 1970-01-01T00:00Z.
    :raises CodeGone: it isn't, or there is none.
    """
    row = table.find_invite(connection, code, now)
    _require_maker(connection, row, now)
    return row


def use_good(connection: Connection, code: str, now: int) -> InviteRow:
    """Let one in by it, within another change; see `find_good`."""
    row = table.use_invite(connection, code, now)
    _require_maker(connection, row, now)
    return row


def _require_maker(connection: Connection, row: InviteRow, now: int) -> None:
    """Refuse an invitation whose maker has lost the right to it since: by another role, by leaving
    the room or being put out of it, by a ban.

    :raises CodeGone: they have.
    """
    if not row.by:
        return  # Made from the shell.
    maker = table.maker(connection, row, now)
    role, given = Role.of(maker.role) or Role.GUEST, Role.of(row.role) or Role.MEMBER
    enough = Role.MEMBER if given <= Role.MEMBER else max(Role.ADMIN, Role(given + 1))
    if role < enough or maker.is_banned or not maker.sees_room:
        raise CodeGone(
            "This invitation is good no longer: whoever made it may not invite there any more. Ask "
            "for another one."
        )


def invite_code(typed: str) -> str:
    """The code of an invitation, as somebody typed or pasted it: alone, or with its address."""
    return typed.strip().rstrip("/").rpartition("/")[2].partition("?")[0]


def _refused(field: str, detail: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {detail}.", fields=[FieldError(field, detail)])
