"""A log without a disk.

What it is: `MemoryEventLog` keeps to the same seam as those in a database, for tests and for
programs that embed the engine and need nothing durable.

What it may know: drafts, records. No SQL, no threads.

Invariant: it differs from the durable ones in durability only: same order, same refusals.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import attrs
from msgspec.structs import asdict, replace
from twisted.internet.defer import Deferred, fail, succeed

from cometd_chat.errors import ChatError, StorageUnavailable
from cometd_chat.events.record import Draft, Record
from cometd_chat.log.control import CONTROL
from cometd_chat.log.epochs import Epochs, random_epoch
from cometd_chat.log.log import (
    EVERY,
    Count,
    Followers,
    LogListener,
    Outcome,
    Usage,
    counted,
    only,
    sorted_out,
    take,
)
from cometd_chat.log.redaction import Redaction, Restoration, emptied, is_emptied


@attrs.frozen(eq=False)
class _Waiting:
    """What is to be stored.

    :param change: made when the drafts are stored, and says what else is.
    """

    log: MemoryEventLog
    drafts: Sequence[Draft]
    change: Callable[[], Sequence[Draft]] | None
    answer: Deferred[Sequence[Outcome]]


class _Kept:
    """What several logs have in common that are one."""

    def __init__(self, epoch: str) -> None:
        self.epochs = Epochs((epoch,), (1,))
        self.records: list[Record] = []
        self.by_client_id: dict[tuple[str, str], Record] = {}
        self.logs: list[MemoryEventLog] = []
        self.waiting: list[_Waiting] = []
        #: By purge and id, what it has hidden.
        self.hidden: dict[str, dict[int, Mapping[str, Any]]] = {}
        self.held = self.committing = False


class MemoryEventLog:
    """An `EventLog` in memory. It forgets nothing and is not bounded.

    :param wall_clock: seconds since 1970-01-01T00:00Z, for the times in records.
    :param epoch: name of its one epoch.
    :param beside: that of another node: the two are one log, which each has its own followers of.
    """

    def __init__(
        self,
        *,
        wall_clock: Callable[[], float] = time.time,
        epoch: str | None = None,
        beside: MemoryEventLog | None = None,
    ) -> None:
        self._wall_clock = wall_clock
        self._kept: _Kept = _Kept(epoch or random_epoch()) if beside is None else beside._kept
        self._kept.logs.append(self)
        self._followers = Followers()
        # What was told here, and who waits until more is.
        self._told = len(self._kept.records)
        self._awaiting: list[tuple[int, Callable[[], object]]] = []
        self._delayed = self._telling = False
        #: While set, each append is refused with it, as when a disk is full.
        self.failure: ChatError | None = None
        #: While set, the log can't be reached from here: nothing is told and everything is refused.
        self.cut: ChatError | None = None

    #: There is no limit, unless a test sets one.
    usage: Usage | None = None

    @property
    def last_id(self) -> int:
        """See `EventLog.last_id`."""
        return self._told

    def append(self, draft: Draft) -> Deferred[Record]:
        """See `EventLog.append`. Unless held, the result is there at once."""
        return self.append_all([draft]).addCallback(only)

    def append_all(self, drafts: Sequence[Draft]) -> Deferred[Sequence[Outcome]]:
        """See `EventLog.append_all`. Unless held, the result is there at once."""
        return sorted_out(drafts, self._append)

    def _append(self, drafts: Sequence[Draft]) -> Deferred[Sequence[Outcome]]:
        return self._wait(drafts)

    def _wait(
        self, drafts: Sequence[Draft], change: Callable[[], Sequence[Draft]] | None = None
    ) -> Deferred[Sequence[Outcome]]:
        failure = self.cut or self.failure
        if failure is not None:
            return fail(failure)
        answer: Deferred[Sequence[Outcome]] = Deferred()
        self._kept.waiting.append(_Waiting(self, drafts, change, answer))
        if not self._kept.held:
            self._commit()
        return answer

    def redact(self, redaction: Redaction) -> Deferred[Sequence[int]]:
        """See `EventLog.redact`."""
        return self._wait((), lambda: self._redacted(redaction)).addCallback(_referred)

    def _redacted(self, redaction: Redaction) -> list[Draft]:
        kept = self._kept
        if redaction.purge is None:
            for hidden in kept.hidden.values():
                for id in redaction.ids:
                    hidden.pop(id, None)
        changed = [id for id in redaction.ids if self._is_told_by(redaction, id)]
        for id in changed:
            if redaction.purge is not None:
                hidden = kept.hidden.setdefault(redaction.purge, {})
                hidden[id] = kept.records[id - 1].data
            self._say(id, emptied(redaction.how))
        return redaction.drafts(changed)

    def _is_told_by(self, redaction: Redaction, id: int) -> bool:
        if not 0 < id <= len(self._kept.records):
            return False
        record = self._kept.records[id - 1]
        about = record.context == redaction.context and record.type in redaction.types
        return about and not is_emptied(record)

    def restore(self, restoration: Restoration) -> Deferred[Sequence[int]]:
        """See `EventLog.restore`."""
        return self._wait((), lambda: self._restored(restoration)).addCallback(_referred)

    def _restored(self, restoration: Restoration) -> list[Draft]:
        hidden = self._kept.hidden.get(restoration.purge, {})
        ids = sorted(hidden)[: restoration.limit]
        for id in ids:
            self._say(id, hidden.pop(id))
        return restoration.drafts(ids)

    def _say(self, id: int, data: Mapping[str, Any]) -> None:
        kept = self._kept
        record = kept.records[id - 1] = replace(kept.records[id - 1], data=data)
        if record.client_id is not None:
            kept.by_client_id[record.sender, record.client_id] = record

    def erase(self, purge: str, limit: int) -> Deferred[int]:
        """See `EventLog.erase`."""
        if self.cut is not None:
            return fail(self.cut)
        hidden = self._kept.hidden.get(purge, {})
        some = list(hidden)[:limit]
        for id in some:
            del hidden[id]
        return succeed(len(some))

    def clear(self, context: str, limit: int) -> Deferred[int]:
        """See `EventLog.clear`."""
        if self.cut is not None:
            return fail(self.cut)
        kept = self._kept
        some = [each for each in kept.records if each.context == context][:limit]
        for each in some:
            if each.client_id is not None:
                kept.by_client_id.pop((each.sender, each.client_id), None)
            kept.records[each.id - 1] = replace(
                each,
                context=CONTROL,
                type="removed",
                sender="",
                author="",
                data={},
                refers=None,
                client_id=None,
                at=0,
            )
        return succeed(len(some))

    def hold(self) -> None:
        """Let appends wait, as if a commit took long."""
        self._kept.held = True

    def release(self) -> None:
        """Commit in one batch what has waited, and hold no more."""
        self._kept.held = False
        self._commit()

    def delay(self) -> None:
        """Be slow: from now on nothing is told here, until `hurry`."""
        self._delayed = True

    def hurry(self) -> None:
        """Tell what was not told here, and be slow no more."""
        self._delayed = False
        self._tell()

    def mend(self) -> None:
        """Let the log be reached again that was `cut`."""
        self.cut = None
        self._tell()

    def close(self) -> None:
        """Tell nobody any more, as if the process were gone."""
        self.cut = StorageUnavailable("This log is closed.")
        self._awaiting.clear()
        if self in self._kept.logs:
            self._kept.logs.remove(self)

    def catch_up(self) -> Deferred[None]:
        """See `EventLog.catch_up`."""
        if self.cut is not None:
            return fail(self.cut)
        caught_up: Deferred[None] = Deferred()

        def told() -> None:
            if not caught_up.called:
                caught_up.callback(None)

        self._when_told(len(self._kept.records), told)
        return caught_up

    def _when_told(self, id: int, call: Callable[[], object]) -> None:
        self._awaiting.append((id, call))
        self._answer()

    def _answer(self) -> None:
        ready = [call for id, call in self._awaiting if id <= self._told and not self._telling]
        if ready:
            self._awaiting = [each for each in self._awaiting if each[0] > self._told]
            for call in ready:
                call()

    def _tell(self) -> None:
        """Tell what is committed and was not told here."""
        if self._telling or self._delayed or self.cut is not None:
            return
        self._telling = True
        while fresh := self._kept.records[self._told :]:
            self._told += len(fresh)
            self._followers.tell(fresh)
        self._telling = False
        self._answer()

    def read(
        self,
        contexts: Collection[str] | None,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int,
        newest: bool = False,
        max_bytes: int | None = None,
        types: Collection[str] | None = None,
    ) -> Deferred[list[Record]]:
        """See `EventLog.read`."""
        if self.cut is not None:
            return fail(self.cut)
        found = self._between(contexts, after, before, types)
        nearest = reversed(found[-limit:]) if newest else iter(found[:limit])
        taken = take(nearest, max_bytes)
        return succeed(taken[::-1] if newest else taken)

    def count(
        self,
        contexts: Collection[str] | None,
        *,
        after: int,
        before: int | None = None,
        most: int,
        types: Collection[str] | None = None,
    ) -> Deferred[Mapping[str, Count]]:
        """See `EventLog.count`."""
        if self.cut is not None:
            return fail(self.cut)
        found = self._between(contexts, after, before, types)
        if contexts is None:
            return succeed(counted(most, [EVERY], lambda _, bound: min(len(found), bound)))
        numbers = Counter(record.context for record in found)
        named = dict.fromkeys(contexts)
        return succeed(counted(most, named, lambda each, bound: min(numbers[each], bound)))

    def has(self, context: str) -> bool:
        """Whether anything was said to a context, or is on its way."""
        return any(record.context == context for record in self._kept.records) or any(
            draft.context == context for each in self._kept.waiting for draft in each.drafts
        )

    def newest(self, types: Collection[str] | None = None) -> Deferred[Mapping[str, int]]:
        """See `EventLog.newest`."""
        if self.cut is not None:
            return fail(self.cut)
        found = self._between(None, 0, None, types)
        return succeed({record.context: record.id for record in found})

    def recent(self, limit: int, max_bytes: int) -> list[Record]:
        """See `EventLog.recent`."""
        found: list[Record] = []
        size = 0
        for record in reversed(self._kept.records[: self._told][-limit:]):
            size += record.size
            if found and size > max_bytes:
                break
            found.append(record)
        return found[::-1]

    def follow(self, listener: LogListener) -> Callable[[], None]:
        """See `EventLog.follow`."""
        return self._followers.add(listener)

    @property
    def origin(self) -> str:
        """See `EventLog.origin`."""
        return self._kept.epochs.names[0]

    def cursor(self, id: int) -> str:
        """See `EventLog.cursor`."""
        return self._kept.epochs.cursor(id)

    def position(self, cursor: str) -> int | None:
        """See `EventLog.position`."""
        return self._kept.epochs.position(cursor)

    def _between(
        self,
        contexts: Collection[str] | None,
        after: int,
        before: int | None,
        types: Collection[str] | None,
    ) -> list[Record]:
        last = len(self._kept.records) if before is None else before - 1
        return [
            record
            for record in self._kept.records[max(after, 0) : max(last, 0)]
            if (record.context != CONTROL if contexts is None else record.context in contexts)
            and (types is None or record.type in types)
        ]

    def _commit(self) -> None:
        """Commit what waits. What is appended by a follower meanwhile makes the next batch, so
        that all followers hear everything in the same order."""
        kept = self._kept
        if kept.committing:
            return
        kept.committing = True
        while kept.waiting and not kept.held:
            batch, kept.waiting = kept.waiting, []
            outcomes = [self._store_all(each) for each in batch]
            for log in list(kept.logs):
                log._tell()
            for each, records in zip(batch, outcomes, strict=True):
                last = max((record.id for record in records), default=0)
                each.log._when_told(last, partial(each.answer.callback, records))
        kept.committing = False

    def _store_all(self, waiting: _Waiting) -> list[Record]:
        drafts = waiting.drafts if waiting.change is None else waiting.change()
        return [self._store(draft) for draft in drafts]

    def _store(self, draft: Draft) -> Record:
        kept = self._kept
        key = None if draft.client_id is None else (draft.sender, draft.client_id)
        if key is not None and key in kept.by_client_id:
            return replace(kept.by_client_id[key], repeated=True)
        record = Record(
            id=len(kept.records) + 1,
            epoch=kept.epochs.names[-1],
            at=int(self._wall_clock() * 1000),
            **asdict(draft),
        )
        kept.records.append(record)
        if key is not None:
            kept.by_client_id[key] = record
        return record


def _referred(told: Sequence[Outcome]) -> list[int]:
    return [each.refers or 0 for each in told if isinstance(each, Record)]
