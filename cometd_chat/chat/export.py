"""Everything that is somebody's, to be taken along.

What it is: `Export`, an account and what belongs to it as JSON objects, a line each, page by page.

What it may know: the chat, what is kept of people. Not who sends it where.

Invariant: it is theirs and nobody else's; and no more than a page of it is in memory, however much
somebody said.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.sessions import Session
from cometd_chat.events.kinds import timestamp
from cometd_chat.events.record import Record
from cometd_chat.events.recorded import recorded
from cometd_chat.log.tables import ignored, invites, members, reports, room_members, sessions

#: The log is looked through by so many records at once, as long as they are no more than so many
#: bytes.
_PAGE = 500
_PAGE_BYTES = 256 * 1024

_encode = msgspec.json.Encoder().encode


class Export:
    """What one person has.

    :param session: theirs.
    """

    def __init__(self, chat: Chat, session: Session) -> None:
        self._chat = chat
        self._session = session

    async def pages(self) -> AsyncIterator[bytes]:
        """Pages of lines, mostly not empty; what is said meanwhile is not among them.

        :raises StorageUnavailable: what follows can't be read just now.
        """
        last = self._chat.feed.last_id
        yield _lines(await self._chat.changes.read(self._kept))
        after = 0
        while after < last:
            found = await self._chat.feed.log.read(
                None, after=after, before=last + 1, limit=_PAGE, max_bytes=_PAGE_BYTES
            )
            if not found:
                break
            after = found[-1].id
            yield _lines([each for each in map(self._said, found) if each is not None])

    def _said(self, record: Record) -> dict[str, Any] | None:
        if record.sender != self._session.identity:
            return None
        event = recorded(record)
        return dict(event.fields)

    def _kept(self, connection: Connection) -> Sequence[dict[str, Any]]:
        """What is kept beside the log."""
        identity = self._session.identity
        return [
            self._account(connection),
            *(
                {"type": "session", "id": id, "began": timestamp(began), "agent": agent}
                for id, began, agent in connection.execute(
                    select(sessions.c.id, sessions.c.created_at, sessions.c.agent)
                    .where((sessions.c.identity == identity) | (sessions.c.id == identity))
                    .order_by(sessions.c.created_at)
                )
            ),
            *(
                {
                    "type": "invite",
                    "code": code,
                    "room": room,
                    "role": role,
                    "uses": uses,
                    "left": left,
                    "made": timestamp(made),
                }
                for code, room, role, uses, left, made in connection.execute(
                    select(
                        invites.c.code,
                        invites.c.room,
                        invites.c.role,
                        invites.c.uses,
                        invites.c.left,
                        invites.c.created_at,
                    )
                    .where(invites.c.by == identity)
                    .order_by(invites.c.created_at)
                )
            ),
            *(
                {"type": "membership", "room": room, "role": role, "since": timestamp(at)}
                for room, role, at in connection.execute(
                    select(room_members.c.room, room_members.c.role, room_members.c.at)
                    .where(room_members.c.identity == identity)
                    .order_by(room_members.c.at)
                )
            ),
            *(
                {"type": "ignored", "name": name}
                for (name,) in connection.execute(
                    select(members.c.name)
                    .join(ignored, ignored.c.whom == members.c.identity)
                    .where(ignored.c.identity == identity)
                )
            ),
            *(
                {"type": "report", "room": room, "message": id, "reason": why, "at": timestamp(at)}
                for room, id, why, at in connection.execute(
                    select(reports.c.room, reports.c.message, reports.c.reason, reports.c.at)
                    .where(reports.c.by == identity)
                    .order_by(reports.c.at)
                )
            ),
        ]

    def _account(self, connection: Connection) -> dict[str, Any]:
        told: dict[str, Any] = {
            "type": "account",
            "name": self._session.name,
            "role": self._session.role.word,
        }
        query = select(members.c.created_at).where(members.c.identity == self._session.identity)
        made = connection.execute(query).scalar()
        return told if made is None else {**told, "made": timestamp(made)}


def _lines(values: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(_encode(each) + b"\n" for each in values)
