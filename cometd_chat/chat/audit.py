"""Who did what to whom, and why: what moderators and those above them have done.

What it is: `note` and `undo`, for whoever changes something within a transaction, and `Audit`,
which reads it and lets go of what is old.

What it may know: its table. Not what an act means, nor who may see it.

Invariant: what was done is noted in the transaction in which it was done: neither is there without
the other. Nothing is taken out before its time; what was undone says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
from sqlalchemy import Connection, delete, insert, select, update
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ShuttingDown
from cometd_chat.events.kinds import timestamp
from cometd_chat.log.changes import Changes
from cometd_chat.log.room_rows import seen_by
from cometd_chat.log.tables import audit, sanctions

#: What was done is kept for a year, in milliseconds.
KEPT = 366 * 86400 * 1000

#: Seconds between looks for what is older.
LOOK_EVERY = 6 * 3600.0


@attrs.frozen(kw_only=True)
class Deed:
    """Something that somebody did.

    :param id: its place in the order of all.
    :param at: milliseconds since 1970-01-01T00:00Z.
    :param who: the identity that did it; empty for who did it from the shell.
    :param who_name: what they were called.
    :param what: a word, such as ``ban``.
    :param whom: the name of whoever, or of whatever, it was done to.
    :param room: where; None for everywhere, or nowhere.
    :param about: the id of what was made by it, such as a sanction, by which it is undone.
    :param undone_at: when it was undone; None where it was not.
    """

    id: int
    at: int
    who: str
    who_name: str
    what: str
    whom: str
    room: str | None
    reason: str
    undone_at: int | None
    about: str

    @property
    def json(self) -> dict[str, Any]:
        """How it is shown."""
        told: dict[str, Any] = {
            "id": self.id,
            "at": timestamp(self.at),
            "who": self.who_name,
            "what": self.what,
            "whom": self.whom,
            "room": self.room,
            "reason": self.reason,
            "undone": None if self.undone_at is None else timestamp(self.undone_at),
        }
        return told


def note(
    connection: Connection,
    *,
    at: int,
    who: str,
    who_name: str,
    what: str,
    whom: str = "",
    room: str | None = None,
    reason: str = "",
    about: str = "",
) -> None:
    """Keep that something is done, within its transaction; see `Deed`."""
    connection.execute(
        insert(audit),
        {
            "at": at,
            "who": who,
            "who_name": who_name,
            "what": what,
            "whom": whom,
            "room": room,
            "reason": reason,
            "about": about,
        },
    )


class Actor(Protocol):
    """Whoever does something: a session."""

    @property
    def identity(self) -> str: ...

    @property
    def name(self) -> str: ...


def note_by(
    connection: Connection,
    actor: Actor,
    what: str,
    *,
    at: int,
    whom: str = "",
    room: str | None = None,
    reason: str = "",
) -> None:
    """Keep that somebody does something, as `note`."""
    note(
        connection,
        at=at,
        who=actor.identity,
        who_name=actor.name,
        what=what,
        whom=whom,
        room=room,
        reason=reason,
    )


def undo(connection: Connection, about: str, at: int) -> None:
    """Keep that what was made is undone, within that transaction.

    :param about: its id, see `Deed.about`.
    """
    alike = audit.c.about == about, audit.c.undone_at.is_(None)
    connection.execute(update(audit).where(*alike).values(undone_at=at))


class Audit:
    """What was done. An item of the reaper, which lets go of what is old.

    :param now: milliseconds since 1970-01-01T00:00Z.
    """

    _log = Logger()

    def __init__(self, changes: Changes, reaper: Reaper, now: Callable[[], int]) -> None:
        self._changes = changes
        self._reaper = reaper
        self._now = now
        self.due_bucket = 0

    def start(self) -> None:
        """Begin to let go of what is old."""
        self._reaper.schedule(self, LOOK_EVERY)

    def page(
        self, asker: str, after: int | None, limit: int, room: str | None = None
    ) -> Deferred[Sequence[Deed]]:
        """What was done, the newest first; not in rooms that somebody may not see.

        :param asker: who asks, by their identity.
        :param after: the last one of the page before; None for the first page.
        :param room: only what was done there; None for everything.
        """
        query = select(audit).where(seen_by(audit.c.room, asker))
        query = query.order_by(audit.c.id.desc()).limit(limit)
        if after is not None:
            query = query.where(audit.c.id < after)
        if room is not None:
            query = query.where(audit.c.room == room)
        return self._changes.read(
            lambda connection: [Deed(**row) for row in connection.execute(query).mappings()]
        )

    def on_due(self, now: float) -> float | None:
        """Let go of what is old; see `Reaper.schedule`."""
        dropping = Deferred.fromCoroutine(self._drop())
        dropping.addErrback(self._not_dropped)
        return LOOK_EVERY

    async def _drop(self) -> None:
        before = self._now() - KEPT
        # What has ended, and when, is only for this log.
        over = (sanctions.c.until < before) | (sanctions.c.lifted_at < before)
        old = {audit: audit.c.at < before, sanctions: over}

        def is_any(connection: Connection) -> bool:
            queries = [select(table).where(where).limit(1) for table, where in old.items()]
            return any(connection.execute(query).first() for query in queries)

        def drop(connection: Connection) -> None:
            for table, where in old.items():
                connection.execute(delete(table).where(where))

        # Where nobody has done anything yet, nothing is changed: an older release may come back.
        if await self._changes.read(is_any):
            await self._changes.make(drop, lambda _: ())

    def _not_dropped(self, failure: Failure) -> None:
        if not failure.check(ShuttingDown):
            self._log.warn("old acts stay in the audit log: {reason}", reason=failure.value)
