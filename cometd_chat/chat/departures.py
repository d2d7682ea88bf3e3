"""What becomes of what somebody said whose account was deleted: it is by nobody, or gone.

What it is: `Departures`. An account says in its row what is left to be done from the transaction on
in which it is deleted; this does it, twice: at once, and when nothing of theirs is on its way to
the log any more, be it by another device at another node.

What it may know: the log, the table of members. Not who may delete an account.

Invariant: what was begun is finished, after a kill as well, by this node or by another one; and
done twice it does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.feed import Feed
from cometd_chat.errors import ChatError, ShuttingDown
from cometd_chat.events import kinds
from cometd_chat.log import members as table
from cometd_chat.log.changes import Changes
from cometd_chat.log.control import MemberRemoved
from cometd_chat.log.members import DELETED_USER, GOES
from cometd_chat.log.redaction import MOST_AT_ONCE, Redaction

#: The log is looked through by so many bytes at once.
_PAGE_BYTES = 1024 * 1024

#: Seconds in which something may yet come that a node took before it heard of it; and after which
#: another node goes on with what one has begun. One that starts does so after the first of them: it
#: may be the one that was killed.
LATE = 10.0
LEFT_ALONE = 120.0

#: Seconds between looks for what is left to be done.
LOOK_EVERY = 30.0


class Departures:
    """Takes people out of what they said. An item of the reaper.

    :param now: milliseconds since 1970-01-01T00:00Z.
    """

    _log = Logger()

    def __init__(self, feed: Feed, changes: Changes, now: Callable[[], float]) -> None:
        self._feed = feed
        self._changes = changes
        self._now = now
        # Up to which id it is done, of those that were begun here.
        self._done: dict[str, int] = {}
        self._has_looked = False
        self.due_bucket = 0

    def start(self) -> None:
        """Look for what is left to be done, in a while."""
        self._feed.engine.reaper.schedule(self, LATE)

    async def begin(self, identity: str) -> None:
        """Take somebody out of all that they said, whose account is deleted by now. What can't be
        done at once is done later."""
        self._done[identity] = 0
        try:
            left = await self._changes.read(partial(table.left_of, identity=identity))
            if left is not None:
                await self._take_out(identity, left)
        except ChatError as error:
            self._log.warn("what somebody said waits: {reason}", reason=error)
        self._feed.engine.reaper.schedule(self, LATE)

    async def _take_out(self, identity: str, left: str) -> None:
        """Do it to what there is by now, and was not looked at."""
        after = self._done.get(identity, 0)
        await self._feed.catch_up()
        last = self._feed.last_id
        if left == GOES:
            await self._redact(identity, after, last)
        while after is not None and after < last:
            found = await self._changes.make(partial(table.disown, identity, after), lambda _: ())
            if found is None:
                break
            after = found
        self._done[identity] = last

    async def _redact(self, identity: str, after: int, last: int) -> None:
        log = self._feed.log
        while after < last:
            found = await log.read(
                None,
                after=after,
                limit=MOST_AT_ONCE,
                max_bytes=_PAGE_BYTES,
                types=kinds.WRITTEN,
            )
            if not found:
                return
            after = found[-1].id
            said: dict[str, list[int]] = {}
            for record in found:
                if record.sender == identity:
                    said.setdefault(record.context, []).append(record.id)
            for context, ids in said.items():
                await log.redact(
                    Redaction(
                        context=context,
                        types=kinds.WRITTEN,
                        ids=ids,
                        how="own",
                        says=kinds.DELETE.name,
                        sender=identity,
                        author=DELETED_USER,
                    )
                )

    # -- what is left to be done

    def on_due(self, now: float) -> float | None:
        """Do it; see `Reaper.schedule`."""
        looking = Deferred.fromCoroutine(self._look())
        looking.addErrback(self._not_done)
        return LOOK_EVERY

    async def _look(self) -> None:
        at = self._now()
        begins, self._has_looked = not self._has_looked, True
        for identity, left, since in await self._changes.read(table.all_left):
            wait = LATE if begins or identity in self._done else LEFT_ALONE
            if since + wait * 1000 <= at:
                await self._take_out(identity, left)
                await self._finish(identity)

    async def _finish(self, identity: str) -> None:
        def finish(connection: Connection) -> None:
            table.nothing_left(connection, identity)

        def tell(_: None) -> Sequence[MemberRemoved]:
            # What came late is by nobody in the memory of all nodes, too.
            return [MemberRemoved(identity)]

        await self._changes.make(finish, tell)
        self._done.pop(identity, None)

    def _not_done(self, failure: Failure) -> None:
        if not failure.check(ShuttingDown):
            self._log.warn("what somebody said waits: {reason}", reason=failure.value)
