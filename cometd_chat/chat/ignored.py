"""Whom somebody wants neither to hear nor to see.

What it is: `Ignored`, all that is ignored on this installation, in memory, changed by what the log
tells; and kept in the database.

What it may know: its table, identities. Not how anything is told.

Invariant: it is personal: it concerns nobody but who asked for it, and whom it is about hears
nothing of it. Where nobody ignores anybody it costs a look at an empty dict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete, exists, func, insert, select
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.sessions import Session
from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import InvalidRequest, NotFound, ShuttingDown
from cometd_chat.log.changes import Changes
from cometd_chat.log.control import Control, Ignoring
from cometd_chat.log.tables import ignored, members, sessions

#: So many people somebody may ignore.
MOST = 1000

#: Seconds between looks for lists of guests who are gone.
LOOK_EVERY = 24 * 3600.0

_NOBODY: frozenset[str] = frozenset()


class Ignored:
    """Who ignores whom. An item of the reaper, which lets go of the lists of guests who are gone.

    :param spend: takes one change of a session's limits, or refuses it.
    """

    _log = Logger()

    def __init__(self, changes: Changes, reaper: Reaper, spend: Callable[[Session], None]) -> None:
        self._changes = changes
        self._reaper = reaper
        self._spend = spend
        #: By identity whom they ignore; nobody is here who ignores nobody.
        self.lists: dict[str, frozenset[str]] = {}
        #: Told of somebody whose list is another one.
        self.changed: Listeners[[str]] = Listeners("whom somebody ignores")
        self.due_bucket = 0

    def start(self) -> None:
        """Take up what is kept. Blocks."""
        found: dict[str, set[str]] = {}
        for identity, whom in self._changes.read_now(_all):
            found.setdefault(identity, set()).add(whom)
        self.lists.update((identity, frozenset(whom)) for identity, whom in found.items())
        self._reaper.schedule(self, LOOK_EVERY)

    def by(self, session: Session | None) -> frozenset[str]:
        """Whom somebody ignores."""
        if not self.lists or session is None:
            return _NOBODY
        return self.lists.get(session.identity, _NOBODY)

    async def ignore(self, session: Session, whom: str, name: str) -> bool:
        """Neither hear nor see somebody from now.

        :param name: what they are called just now.
        :returns: False when that is so already.
        :raises InvalidRequest: that is oneself, or one more than is possible.
        :raises TooMany: too many changes.
        """
        identity = session.identity
        if whom == identity:
            raise InvalidRequest("That is yourself: choose somebody else.")
        self._spend(session)

        def keep(connection: Connection) -> bool:
            mine = ignored.c.identity == identity
            if connection.execute(
                select(ignored.c.whom).where(mine, ignored.c.whom == whom)
            ).first():
                return False
            count = connection.execute(
                select(func.count()).select_from(ignored).where(mine)
            ).scalar()
            if (count or 0) >= MOST:
                raise InvalidRequest(
                    f"You ignore {MOST} people, which is the most: hear one of them again first."
                )
            row = {"identity": identity, "whom": whom, "name": name}
            connection.execute(insert(ignored), row)
            return True

        return await self._changes.make(
            keep, lambda new: [Ignoring(identity, whom, on=True)] if new else []
        )

    async def unignore(self, session: Session, whom: str | None, name: str) -> None:
        """Hear and see somebody again.

        :param whom: who it is; None for whoever was called so when they were ignored first.
        :raises NotFound: they are not ignored.
        :raises TooMany: too many changes.
        """
        identity = session.identity
        self._spend(session)

        def forget(connection: Connection) -> list[str]:
            who = ignored.c.name == name if whom is None else ignored.c.whom == whom
            mine = ignored.c.identity == identity, who
            found = list(connection.execute(select(ignored.c.whom).where(*mine)).scalars())
            if not found:
                raise NotFound(f"You don't ignore {name}.")
            connection.execute(delete(ignored).where(*mine))
            return found

        await self._changes.make(
            forget, lambda found: [Ignoring(identity, each, on=False) for each in found]
        )

    def names(self, session: Session) -> Deferred[Sequence[str]]:
        """What those whom somebody ignores were called when they were ignored first."""
        query = select(ignored.c.name).where(ignored.c.identity == session.identity)
        ordered = query.order_by(ignored.c.name)
        return self._changes.read(lambda connection: list(connection.execute(ordered).scalars()))

    def told(self, control: Control) -> None:
        """The log tells the house; see `Feed.control`."""
        if not isinstance(control, Ignoring):
            return
        before = self.lists.get(control.identity, _NOBODY)
        now = before | {control.whom} if control.on else before - {control.whom}
        if now:
            self.lists[control.identity] = now
        else:
            self.lists.pop(control.identity, None)
        self.changed.tell(control.identity)

    # -- lists of guests who are gone

    def on_due(self, now: float) -> float | None:
        """Let go of lists that are nobody's; see `Reaper.schedule`."""
        if self.lists:
            dropping = self._changes.make(_drop, lambda gone: [])
            dropping.addCallbacks(self._dropped, self._not_dropped)
        return LOOK_EVERY

    def _dropped(self, gone: Sequence[str]) -> None:
        # Nobody comes back as one of them; other nodes find that by themselves.
        for identity in gone:
            self.lists.pop(identity, None)

    def _not_dropped(self, failure: Failure) -> None:
        if not failure.check(ShuttingDown):
            self._log.warn("lists of whom nobody ignores stay: {reason}", reason=failure.value)


_ALL = select(ignored.c.identity, ignored.c.whom)


def _all(connection: Connection) -> list[tuple[str, str]]:
    return [(identity, whom) for identity, whom in connection.execute(_ALL)]


def _drop(connection: Connection) -> list[str]:
    """Let go of the lists of those who have neither a session nor an account."""
    session = exists().where(sessions.c.id == ignored.c.identity)
    member = exists().where(members.c.identity == ignored.c.identity)
    nobodys = select(ignored.c.identity).where(~session, ~member).distinct()
    gone = list(connection.execute(nobodys).scalars())
    if gone:
        connection.execute(delete(ignored).where(ignored.c.identity.in_(gone)))
    return gone
