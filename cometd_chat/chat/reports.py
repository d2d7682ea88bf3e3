"""Messages that somebody wants a moderator to look at.

What it is: `Reports`, where they are kept until somebody has.

What it may know: its table, messages, rights. Not how moderators are told.

Invariant: one person has one report of a message open, however often they ask; and of a message
that is deleted nothing is shown but that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from sqlalchemy import Connection, insert, select, update
from twisted.internet.defer import Deferred

from cometd_chat.chat import audit
from cometd_chat.chat.deletions import Deletions
from cometd_chat.chat.limits import Spend
from cometd_chat.chat.mandate import Mandate
from cometd_chat.chat.rights import Act, AnyRoom, Rights
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.screened import notice
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import NotFound
from cometd_chat.events import kinds
from cometd_chat.log.changes import Changes
from cometd_chat.log.redaction import is_emptied
from cometd_chat.log.room_rows import seen_by
from cometd_chat.log.tables import reports


@attrs.frozen
class Report:
    """That somebody wants a message looked at.

    :param message: its id.
    :param by: the identity of whoever does; and what they were called.
    """

    id: str
    room: str
    message: int
    by: str
    by_name: str
    reason: str
    at: int


class Reports:
    """What is open.

    :param room_named: the room of a name, if there is one.
    """

    def __init__(
        self,
        changes: Changes,
        rights: Rights,
        deletions: Deletions,
        room_named: Callable[[str], AnyRoom | None],
        spend: Spend,
    ) -> None:
        self._spend = spend
        self._changes = changes
        self._rights = rights
        self._deletions = deletions
        self._room_named = room_named

    async def report(
        self, actor: Session, room: Room, id: int, reason: str, *, address: str = ""
    ) -> Report:
        """Put a message before those who moderate.

        :raises NotFound: there is none, or it is deleted.
        :raises TooMany: they report too much.
        :raises ChatError: they may not.
        """
        self._rights.require(actor, Act.REPORT, [room], address)
        self._spend(actor, address)
        record = await self._deletions.message(actor, room, id, address=address)
        if is_emptied(record):
            raise NotFound("That message is deleted already.")
        made = Report(
            self._deletions.new_id(),
            room.name,
            id,
            actor.identity,
            actor.name,
            reason,
            int(self._deletions.now()),
        )
        told = kinds.report(made.id, room.name, id, actor.name, made.at)
        return await self._changes.make(
            lambda connection: _keep(connection, made),
            lambda kept: [notice(told, room=room.name)] if kept.id == made.id else [],
        )

    def listed(
        self, asker: Session, rooms: Sequence[str] | None, limit: int
    ) -> Deferred[Sequence[Report]]:
        """Those that are open, the oldest first; not of rooms that somebody may not see.

        :param asker: who asks.
        :param rooms: only there; None for everywhere.
        """
        query = select(*_COLUMNS).where(reports.c.settled_at.is_(None))
        query = query.where(seen_by(reports.c.room, asker.identity))
        query = query.order_by(reports.c.at, reports.c.id).limit(limit)
        if rooms is not None:
            query = query.where(reports.c.room.in_(rooms))
        return self._changes.read(
            lambda connection: [Report(*row) for row in connection.execute(query)]
        )

    async def settle(self, actor: Session, id: str) -> None:
        """A moderator has looked: all reports of the message are settled. Twice is once.

        :raises NotFound: there is none.
        """
        find = select(*_COLUMNS).where(reports.c.id == id)
        row = await self._changes.read(lambda connection: connection.execute(find).first())
        room = None if row is None else self._room_named(row.room)
        self._rights.require(actor, Act.SEE_REPORTS, [] if room is None else [room])
        if row is None:
            raise NotFound("There is no such report.")
        report = Report(*row)
        await self._changes.make(
            lambda c: self._settle(c, actor, report),
            lambda _: (),
            provided=Mandate(self._rights, actor, room, self._deletions.now).to(Act.SEE_REPORTS),
        )

    def _settle(self, connection: Connection, actor: Session, report: Report) -> None:
        at = int(self._deletions.now())
        alike = (
            reports.c.room == report.room,
            reports.c.message == report.message,
            reports.c.settled_at.is_(None),
        )
        if connection.execute(update(reports).where(*alike).values(settled_at=at)).rowcount:
            audit.note_by(
                connection,
                actor,
                "settle-report",
                at=at,
                whom=report.by_name,
                room=report.room,
            )


_COLUMNS: Sequence[Any] = [getattr(reports.c, field.name) for field in attrs.fields(Report)]


def _keep(connection: Connection, made: Report) -> Report:
    """Keep a report; the one that they have open where there is one."""
    mine = select(*_COLUMNS).where(
        reports.c.room == made.room,
        reports.c.message == made.message,
        reports.c.by == made.by,
        reports.c.settled_at.is_(None),
    )
    row = connection.execute(mine).first()
    if row is not None:
        return Report(*row)
    connection.execute(insert(reports), attrs.asdict(made))
    return made
