"""Invitations, as they are kept.

What it is: `InviteRow`, and statements about its table, for the transaction of a change.

What it may know: codes, identities, times. Not who may invite whom.

Invariant: an invitation lets in as many as it says, at whichever nodes they come.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from sqlalchemy import ColumnElement, Connection, insert, select, update

from cometd_chat.errors import CodeGone
from cometd_chat.log.room_rows import seen_by
from cometd_chat.log.tables import invites, members, rooms, sanctions


@attrs.frozen
class InviteRow:
    """An invitation.

    :param room: where it leads; None for none in particular.
    :param role: of who takes it.
    :param uses: how many it lets in; None for any number.
    :param left: how many more.
    :param until: milliseconds since 1970-01-01T00:00Z, like all times here; None for ever.
    :param by: the identity of who invites, and ``by_name`` what they were called.
    """

    code: str
    room: str | None
    role: str
    uses: int | None
    left: int | None
    until: int | None
    by: str
    by_name: str
    created_at: int
    revoked_at: int | None = None

    def refusal(self, now: int) -> CodeGone | None:
        """Why it lets nobody in; None where it does."""
        if self.revoked_at is not None:
            return _gone("was taken back")
        if self.until is not None and self.until <= now:
            return _gone("was good for a while, which is over")
        if self.left is not None and self.left <= 0:
            return _gone(f"was good for {self.uses}, who have come")
        return None


@attrs.frozen
class Maker:
    """Who made an invitation, as they are now.

    :param role: in the house; that of a guest for who has no account.
    :param is_banned: from the house, or from the room that it leads to.
    :param sees_room: that room is there, and not hidden from them; True where it leads to none.
    """

    role: str
    is_banned: bool
    sees_room: bool


def maker(connection: Connection, row: InviteRow, now: int) -> Maker:
    """Who made an invitation; see `Maker`."""
    account = select(members.c.role).where(
        members.c.identity == row.by, members.c.deleted_at.is_(None)
    )
    ban = select(sanctions.c.id).where(
        sanctions.c.identity == row.by,
        sanctions.c.kind == "ban",
        sanctions.c.lifted_at.is_(None),
        sanctions.c.until.is_(None) | (sanctions.c.until > now),
        sanctions.c.room.is_(None) | (sanctions.c.room == row.room),
    )
    room = select(rooms.c.name).where(rooms.c.name == row.room, seen_by(rooms.c.name, row.by))
    return Maker(
        role=connection.execute(account).scalar() or "guest",
        is_banned=connection.execute(ban.limit(1)).first() is not None,
        sees_room=row.room is None or connection.execute(room).first() is not None,
    )


def add_invite(connection: Connection, row: InviteRow) -> None:
    """Keep an invitation."""
    if _row(connection, row.code) is None:
        connection.execute(insert(invites), attrs.asdict(row))


def find_invite(connection: Connection, code: str, now: int) -> InviteRow:
    """An invitation that is good.

    :raises CodeGone: it isn't, or there is none.
    """
    row = _row(connection, code)
    refusal = _gone("is none of ours") if row is None else row.refusal(now)
    if refusal is not None:
        raise refusal
    assert row is not None
    return row


def use_invite(connection: Connection, code: str, now: int) -> InviteRow:
    """Let one in by it.

    :raises CodeGone: it is good no longer, or there is none.
    """
    found = find_invite(connection, code, now)
    if found.left is None:
        return found
    # At another node the last place may just have been taken: the row decides.
    mine = update(invites).where(invites.c.code == code, invites.c.left > 0)
    if not connection.execute(mine.values(left=invites.c.left - 1)).rowcount:
        raise attrs.evolve(found, left=0).refusal(now) or _gone("is good no longer")
    return attrs.evolve(found, left=found.left - 1)


def revoke_invite(connection: Connection, code: str, now: int) -> None:
    """Let nobody in any more by it."""
    connection.execute(update(invites).where(invites.c.code == code).values(revoked_at=now))


def kept_invite(connection: Connection, code: str) -> InviteRow | None:
    """An invitation, good or not."""
    return _row(connection, code)


def good_invites(
    connection: Connection, asker: str | None, after: str | None, limit: int, now: int, *, all: bool
) -> Sequence[InviteRow]:
    """Those that are good, the newest first.

    :param asker: who asks, by their identity; None for who is at the shell, and may see all.
    :param all: not only theirs, but those to rooms that they may not see.
    :param after: the code of the last one that is known.
    """
    good: list[ColumnElement[bool]] = [
        invites.c.revoked_at.is_(None),
        invites.c.until.is_(None) | (invites.c.until > now),
        invites.c.left.is_(None) | (invites.c.left > 0),
    ]
    mine = invites.c.by == asker
    if asker is not None:
        good.append(mine | seen_by(invites.c.room, asker) if all else mine)
    known = None if after is None else _row(connection, after)
    if known is not None:
        same = (invites.c.created_at == known.created_at) & (invites.c.code > known.code)
        good.append((invites.c.created_at < known.created_at) | same)
    order = invites.c.created_at.desc(), invites.c.code
    query = select(invites).where(*good).order_by(*order).limit(limit)
    return [InviteRow(*row) for row in connection.execute(query)]


def _row(connection: Connection, code: str) -> InviteRow | None:
    row = connection.execute(select(invites).where(invites.c.code == code)).one_or_none()
    return None if row is None else InviteRow(*row)


def _gone(why: str) -> CodeGone:
    return CodeGone(f"This invitation {why}. Ask who sent it for another one.")
