"""The work at purges: what they hide, bring back and erase, in slices, and after a restart.

What it is: `Purging`, which does what is to be done of a purge that was begun, one after the other,
and takes up what was left.

What it may know: the log, what is kept of purges. Not who may begin or undo one, nor why.

Invariant: a purge is on the disk before anything of it is done, and whatever was begun is finished,
by this node or by another one. No slice holds the log's writer or the reactor for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat import purge_rows
from cometd_chat.chat.audit import Actor
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.purge_rows import LEFT_ALONE, MARGIN, Purge, State
from cometd_chat.errors import ChatError, ShuttingDown
from cometd_chat.events import kinds
from cometd_chat.events.record import Record
from cometd_chat.log.changes import Changes
from cometd_chat.log.log import EventLog
from cometd_chat.log.nodes import Nodes
from cometd_chat.log.redaction import MOST_AT_ONCE, Redaction, Restoration, is_emptied

#: Seconds between looks for purges that are over, or that nobody goes on with.
LOOK_EVERY = 30.0

#: So many messages are looked through at once, as long as they are no more than so many bytes.
_PAGE = MOST_AT_ONCE
_PAGE_BYTES = 1024 * 1024

#: As much is looked through before whoever purges is answered; the rest follows.
_AT_FIRST = 5

One = TypeVar("One")
Other = TypeVar("Other")


class Purging:
    """Works at purges. An item of the reaper, which finishes what was begun.

    :param now: milliseconds since 1970-01-01T00:00Z, by a clock that outlives a restart.
    :param nodes: this node and the others; None for a process that is alone.
    """

    _log = Logger()

    def __init__(
        self, feed: Feed, changes: Changes, now: Callable[[], float], nodes: Nodes | None
    ) -> None:
        self._feed = feed
        self._changes = changes
        self._reaper = feed.engine.reaper
        self._now = now
        self._nodes = nodes
        # Those that are worked at here.
        self._under_way: dict[str, Deferred[None]] = {}
        self._stopped = False
        self.due_bucket = 0

    def start(self) -> None:
        """Go on with what was begun. Where there is one process, nobody else can be at it; of
        several nodes one goes on with what another has left when that is known to be gone."""
        self._look_soon()
        if self._nodes is not None:
            self._nodes.gone.add(lambda _: self._look_soon())

    def _look_soon(self) -> None:
        if not self._stopped:
            self._reaper.schedule(self, 0.0)

    def stop(self) -> None:
        """Begin nothing more; another process goes on."""
        self._stopped = True
        self._reaper.cancel(self)

    @property
    def number(self) -> int:
        """Of this node; 0 for a process that is alone."""
        return 0 if self._nodes is None else self._nodes.number

    async def undone(self, purge: Purge) -> None:
        """Bring back what a purge has hidden; where it is hiding, it sees for itself that it is to
        do so."""
        if purge.id in self._under_way:
            await _after(self._under_way[purge.id])
        await self.work(purge, at_first=True)

    async def work(self, purge: Purge, *, at_first: bool = False) -> None:
        """Do what is to be done of a purge.

        :param at_first: wait for the first part of it alone.
        """
        begun: Deferred[None] = Deferred()
        done = Deferred.fromCoroutine(self._do_all(purge, begun))
        self._under_way[purge.id] = done
        done.addBoth(self._ended, purge.id, begun)
        await (begun if at_first else _after(done))

    def _ended(self, result: object, id: str, begun: Deferred[None]) -> object:
        self._under_way.pop(id, None)
        if not begun.called:
            # Whoever waits for the first part is told what is wrong with it.
            begun.callback(None) if not isinstance(result, Failure) else begun.errback(result)
            return None
        if isinstance(result, Failure) and not result.check(ShuttingDown):
            if result.check(ChatError):
                self._log.warn("a purge waits: {reason}", reason=result.value)
            else:
                self._log.failure("a purge waits", result)
        return None

    async def _do_all(self, purge: Purge, begun: Deferred[None]) -> None:
        """Take one step after the other, until there is none."""
        while not self._stopped:
            state = State(purge.state)
            if state is State.HIDING:
                purge = await self._hide(purge, begun)
            elif state is State.UNDOING:
                purge = await self._bring_back(purge, begun)
            elif state is State.HIDDEN and purge.until + MARGIN <= self._now():
                purge = await self._erase(purge)
            else:
                return

    async def _hide(self, purge: Purge, begun: Deferred[None]) -> Purge:
        """Hide the newest first; from the beginning again where somebody else had begun.

        While a page is taken out the next one is read: where the reactor is busy, as in a raid, it
        is turns that take time, and so each page takes one.
        """
        pages = _Pages(self._feed.log, self._changes, purge)
        page, looked, now = await pages.read(purge.last + 1), 0, purge
        while not self._stopped:
            looked += 1
            changing: Deferred[Any] = self._take_out(purge, page.ids)
            if page.is_last:
                now = await changing
            else:
                reading = Deferred.fromCoroutine(pages.read(page.first))
                now, page_ahead = await _both(changing, reading)
            if State(now.state) is State.UNDONE:
                # Another node has brought all back, but for what was just taken out.
                return attrs.evolve(now, state=State.UNDOING.value)
            if State(now.state) is not State.HIDING:
                return now
            if page.is_last:
                return await self._become(purge, State.HIDDEN)
            page = page_ahead
            if looked == _AT_FIRST and not begun.called:
                begun.callback(None)
        return purge

    def _take_out(self, purge: Purge, ids: Sequence[int]) -> Deferred[Purge]:
        """Take some messages out; what has become of the purge by then."""
        if not ids:
            return self._touch(purge)
        by = _By(purge.by, purge.by_name)
        redacting = self._feed.log.redact(
            redaction(kinds.path_of(purge.room), ids, purge.how, by, purge=purge.id)
        )
        # Asked for at once, and made after it: mostly both share a commit.
        return _both(redacting, self._touch(purge)).addCallback(itemgetter(1))

    async def _bring_back(self, purge: Purge, begun: Deferred[None]) -> Purge:
        path, done = kinds.path_of(purge.room), 0
        while not self._stopped:
            restoration = Restoration(
                path, purge.id, MOST_AT_ONCE, kinds.RESTORE.name, purge.by, purge.by_name
            )
            restoring = self._feed.log.restore(restoration)
            restored, _ = await _both(restoring, self._touch(purge))
            if not restored:
                return await self._become(purge, State.UNDONE)
            done += 1
            if done == _AT_FIRST and not begun.called:
                begun.callback(None)
        return purge

    async def _erase(self, purge: Purge) -> Purge:
        while not self._stopped and await self._feed.log.erase(purge.id, MOST_AT_ONCE):
            await self._touch(purge)
        return purge if self._stopped else await self._become(purge, State.ERASED)

    def _touch(self, purge: Purge) -> Deferred[Purge]:
        at = int(self._now())
        return self._changes.make(lambda c: purge_rows.touch(c, purge, at), lambda _: ())

    def _become(self, purge: Purge, state: State) -> Deferred[Purge]:
        return self._changes.make(lambda c: purge_rows.become(c, purge, state), lambda _: ())

    # -- what was begun

    def on_due(self, now: float) -> float | None:
        """Look for what is to be done; see `Reaper.schedule`."""
        looking = Deferred.fromCoroutine(self._look())
        looking.addErrback(self._not_looked)
        return LOOK_EVERY

    async def _look(self) -> None:
        at = int(self._now())
        for purge in await self._changes.read(lambda c: purge_rows.to_do(c, at)):
            if not self._stopped and self._is_left(purge, at):
                # Of several nodes one goes on.
                taking = partial(purge_rows.take, purge=purge, at=at, node=self.number)
                if await self._changes.make(taking, lambda _: ()):
                    await self.work(purge)

    def _is_left(self, purge: Purge, at: int) -> bool:
        """Whether nobody is at a purge that is not finished."""
        if purge.id in self._under_way:
            return False
        others = () if self._nodes is None else self._nodes.others()
        elsewhere = any(each.number == purge.node for each in others)
        return not elsewhere or purge.touched_at <= at - LEFT_ALONE

    def _not_looked(self, failure: Failure) -> None:
        if not failure.check(ShuttingDown):
            self._log.warn("purges wait: {reason}", reason=failure.value)


def redaction(
    path: str,
    ids: Sequence[int],
    how: str,
    by: Actor,
    purge: str | None = None,
) -> Redaction:
    """Take some messages out of a room.

    :param how: by whom, as it is told; see `lines.DELETED`.
    :param purge: whose work it is; None where they were meant one by one.
    """
    return Redaction(
        context=path,
        types=kinds.WRITTEN,
        ids=ids,
        how=how,
        says=kinds.DELETE.name,
        sender=by.identity,
        author=by.name,
        purge=purge,
    )


@attrs.frozen
class _By:
    """Who does something, as the log says it."""

    identity: str
    name: str


@attrs.frozen
class _Page:
    """Some of what a purge has to look through.

    :param ids: what it is of, the newest first.
    :param first: the lowest id that was looked at.
    :param is_last: nothing older is of it.
    """

    ids: Sequence[int]
    first: int
    is_last: bool


class _Pages:
    """What a purge looks through, the newest first."""

    def __init__(self, log: EventLog, changes: Changes, purge: Purge) -> None:
        self._log = log
        self._changes = changes
        self._purge = purge
        self._path = kinds.path_of(purge.room)
        # Who was looked at, and whether it is of theirs: everybody is looked at once.
        named = () if purge.of_guests else purge.identity.split()
        self._known = dict.fromkeys(named, True)

    async def read(self, before: int) -> _Page:
        """Some of what is before an id: what it is of, or, where that is in a row of nothing, so
        many pages that whoever waits is not kept long."""
        for _ in range(_AT_FIRST):
            found = await self._log.read(
                [self._path],
                before=before,
                limit=_PAGE,
                newest=True,
                max_bytes=_PAGE_BYTES,
                types=kinds.WRITTEN,
            )
            ids = await self._ids_of(found)
            if not found or all(each.at < self._purge.since for each in found):
                return _Page(ids, before, is_last=True)
            before = found[0].id
            if ids:
                break
        return _Page(ids, before, is_last=False)

    async def _ids_of(self, found: Sequence[Record]) -> list[int]:
        """Which messages it is of, the newest first."""
        since = self._purge.since
        there = [each for each in found if each.at >= since and not is_emptied(each)]
        if self._purge.of_guests:
            new = {each.sender for each in there} - self._known.keys()
            if new:
                asking = partial(purge_rows.more_than_guests, self._purge.room, new)
                more = {self._purge.by, *await self._changes.read(asking)}
                self._known.update((each, each not in more) for each in new)
        return [each.id for each in reversed(there) if self._known.get(each.sender)]


def _both(one: Deferred[One], other: Deferred[Other]) -> Deferred[tuple[One, Other]]:
    """What both give; or what is wrong with the one that fails first."""
    gathering: Deferred[Any] = gatherResults([one, other], consumeErrors=True)
    return gathering.addCallbacks(tuple, _first_error)


def _first_error(failure: Failure) -> Failure:
    failure.trap(FirstError)
    wrong: Failure = failure.value.subFailure  # type: ignore[union-attr]
    return wrong


def _after(waited: Deferred[None]) -> Deferred[None]:
    """Fires when another one has, which goes on as if nobody waited."""
    after: Deferred[None] = Deferred()

    def fired(result: object) -> object:
        after.callback(None)
        return result

    waited.addBoth(fired)
    return after
