"""The live end of the log: what was committed, in memory and on its way to who listens.

What it is: the one follower of the log; it keeps the tail and hands each batch to the engine.

What it may know: the log, the engine, events. Not sessions, not requests.

Invariant: an event is in the tail before any handler is told of it, in the same step; so who reads
the tail and begins to listen in one step misses nothing. What the log tells the house, control
records, is nobody's event: `Feed.control` hears it, and that is all that becomes of it. What was
taken out of an event is in no event from here on, once the log has said so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.awaited import CatchingUp
from cometd_chat.comet import CometEngine, Delivery
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import ChatError, ShuttingDown, StorageUnavailable
from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.events.kinds import Amends
from cometd_chat.events.record import Record
from cometd_chat.events.recorded import (
    emptied,
    recorded,
    recorded_size,
    with_author,
    with_data,
)
from cometd_chat.log.control import CONTROL, Control, MemberRemoved, read_control
from cometd_chat.log.log import EventLog
from cometd_chat.log.members import DELETED_USER
from cometd_chat.log.tail import Tail

#: What an event costs in memory, about: so many bytes, and so many times its JSON, for it is kept
#: as JSON, as fields, and as each framing wrote it.
_OVERHEAD = 900
_COPIES = 4

#: Of so many events it is known that something was taken out of them just now; and so many of those
#: that were brought back are read at once.
MOST_EMPTIED = 10_000
_READ_AGAIN = 200

#: Further behind than this, a reader gets the newest and a gap.
MAX_BEHIND = 5000

#: Seconds after which a log that could not be read is asked again what is newest in each room.
NEWEST_RETRY = 5.0


class Feed:
    """The live end of one log. An item of the reaper: it asks again what the log could not say.

    :param log: what is followed.
    :param engine: who is told.
    :param tail: where the newest part is kept.
    :param max_behind: who is further behind gets the newest and a gap.
    """

    _log = Logger()

    def __init__(
        self,
        log: EventLog,
        engine: CometEngine,
        tail: Tail[Event],
        *,
        max_behind: int = MAX_BEHIND,
    ) -> None:
        self.max_behind = max_behind
        self.log = log
        self.engine = engine
        self.tail = tail
        #: How many events have been committed since the start.
        self.appended = 0
        #: How many commits they took: what was said at the same time shares one.
        self.commits = 0
        #: Told what the log tells the house, before what is committed with it is told to anybody: a
        #: room is there by then, and a session has ended.
        self.control: Listeners[[Control]] = Listeners("control records")
        self.control.add(self._disown)
        #: For each path in which something was said, the id of the newest; see `Kind.counted`. What
        #: was said before the start is asked of the log and comes in a moment.
        self.newest: dict[str, int] = {}
        # What was taken out last: a page that was read before that is shown as it is now.
        self._emptied: OrderedDict[int, Mapping[str, Any]] = OrderedDict()
        # What was told last; those who said it are told next.
        self._told: dict[int, Event] = {}
        # By path, what was brought back and is to be read again.
        self._brought_back: dict[str, list[int]] = {}
        self._catching_up = CatchingUp(log.catch_up, engine.reaper)
        self._stop: Callable[[], None] | None = None
        self.due_bucket = 0

    def start(self, recent: Sequence[Record]) -> None:
        """Begin to follow.

        :param recent: the newest records of the log without a hole, to fill the tail with.
        """
        self.tail.start(recent[0].id - 1 if recent else self.log.last_id)
        self._remember(recent)
        self._pass_over()
        # What was read now is as it is now.
        self._brought_back.clear()
        self._stop = self.log.follow(self._committed)
        self._find_newest()

    def _find_newest(self) -> None:
        Deferred.fromCoroutine(self._load_newest()).addErrback(self._newest_missing)

    def _newest_missing(self, failure: Failure) -> None:
        if self._stop is None or failure.check(ShuttingDown):
            return
        if failure.check(StorageUnavailable):
            self._log.info("the log can't say yet what is newest in each room: it is asked again")
            self.engine.reaper.schedule(self, NEWEST_RETRY)
        else:
            self._log.failure("newest ids are missing", failure)

    def on_due(self, now: float) -> float | None:
        """Ask again what could not be said; see `Due.on_due`."""
        self._find_newest()
        return None

    async def _load_newest(self) -> None:
        for path, id in (await self.log.newest(kinds.counted_types())).items():
            self.newest[path] = max(id, self.newest.get(path, 0))

    def stop(self) -> None:
        """Follow no longer."""
        if self._stop is not None:
            self._stop()
            self._stop = None
        self.engine.reaper.cancel(self)

    def _remember(self, records: Sequence[Record]) -> list[Event]:
        """Put what was said into the tail, and let it pass over all else."""
        made = []
        for record in records:
            if record.context == CONTROL:
                self.tail.pass_over(record.id)
                continue
            event = recorded(record)
            made.append(event)
            kind = kinds.kind_of(record.type)
            if kind.counted:
                self.newest[record.context] = record.id
            size = _COPIES * recorded_size(record) + _OVERHEAD
            self.tail.append(record.id, record.context, event, size)
            if kind.amends is not None and record.refers is not None:
                self._amend(kind.amends, record.refers, record)
        return made

    def _amend(self, amends: Amends, id: int, record: Record) -> None:
        """Something was taken out of an event, or was brought back."""
        if amends is Amends.BRINGS_BACK:
            self._emptied.pop(id, None)
            if id > self.tail.floor:
                self._brought_back.setdefault(record.context, []).append(id)
            return
        data = emptied(record)
        self._emptied[id] = data
        while len(self._emptied) > MOST_EMPTIED:
            self._emptied.popitem(last=False)
        before = self.tail.at(id)
        if before is not None:
            self._replace(id, with_data(before, data))

    def _disown(self, control: Control) -> None:
        """An account was deleted: what they said is by nobody from now. In the log it is so."""
        if isinstance(control, MemberRemoved):
            for event in self.tail.items():
                if event.sender == control.identity and event.id is not None:
                    self._replace(event.id, with_author(event, DELETED_USER))

    def _replace(self, id: int, event: Event) -> None:
        self.tail.replace(id, event, _size_of(event))

    async def _read_again(self, brought_back: Mapping[str, Sequence[int]]) -> None:
        """Let the tail have again what was brought back; until then it says that it is gone, and
        that it is back comes after it."""
        for path, ids in brought_back.items():
            for at in range(0, len(ids), _READ_AGAIN):
                some = ids[at : at + _READ_AGAIN]
                first, last = min(some), max(some)
                records = await self.log.read(
                    [path], after=first - 1, before=last + 1, limit=last - first + 1
                )
                for record in records:
                    if record.id in some:
                        self._replace(record.id, self.made(record))

    def _pass_over(self) -> None:
        """Ids that nothing has count as told, once the log has passed them: what an epoch begins
        with. So a cursor is of that epoch from its first moment."""
        if self.tail.last_id < self.log.last_id:
            self.tail.pass_over(self.log.last_id)

    def _committed(self, records: Sequence[Record]) -> None:
        if not records:
            self._pass_over()
            return
        said = [record for record in records if record.context != CONTROL]
        if len(said) != len(records):
            # While nothing of the batch counts as told: whoever is sent away by it is given a
            # cursor before it.
            self._tell_house(records)
        made = self._remember(records)
        if self._brought_back:
            brought_back, self._brought_back = self._brought_back, {}
            reading = Deferred.fromCoroutine(self._read_again(brought_back))
            reading.addErrback(self._not_read_again)
        if made:
            self.appended += len(made)
            self.commits += 1
            self._told = {record.id: event for record, event in zip(said, made, strict=True)}
            self.engine.deliver(
                [
                    Delivery(record.context, event, record.id)
                    for record, event in zip(said, made, strict=True)
                ]
            )

    def _not_read_again(self, failure: Failure) -> None:
        # Whoever reads it from the tail is told that it is back, and asks for it.
        self._log.warn("what was brought back is not in memory: {why}", why=failure.value)

    def _tell_house(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.context == CONTROL:
                control = read_control(record)
                if control is not None:
                    self.control.tell(control)

    def begin_anew(self) -> None:
        """The log was put back to an earlier state: what was told last may be gone, and nobody is
        shown it any more."""
        self.tail.start(self.log.last_id)
        self._told = {}
        self._emptied.clear()
        self.newest.clear()
        self._find_newest()

    def catch_up(self) -> Deferred[None]:
        """Wait until this process has been told of all that is committed by now.

        :raises StorageUnavailable: that can't be known just now, or too many wait for it.
        :raises ShuttingDown: the daemon stops.
        """
        return self._catching_up.wait()

    async def position(self, cursor: str) -> int | None:
        """The id in a cursor, once this process has been told of it; None when this log never gave
        that cursor out. See `EventLog.position`.

        :raises InvalidCursor: it can't be a cursor.
        :raises ChatError: see `catch_up`.
        """
        position = self.log.position(cursor)
        if position is None or position > self.last_id:
            # Another process gave it out, perhaps, in an epoch that began a moment ago.
            await self.catch_up()
            position = self.log.position(cursor)
        return None if position is None or position > self.last_id else position

    def refuse_waiting(self, error: ChatError) -> None:
        """Let nobody wait any more for what was not told yet."""
        self._catching_up.stop(error)

    def forget(self, path: str) -> None:
        """Have nothing any more of what was said in a room that is gone."""
        self.tail.drop(path)
        self.newest.pop(path, None)

    def event(self, record: Record) -> Event:
        """The event of a record; of one that was just told the very event."""
        return self._told.get(record.id) or self.made(record)

    def made(self, record: Record) -> Event:
        """The event of a record that was read; without what was taken out of it since."""
        event = recorded(record)
        data = self._emptied.get(record.id)
        return event if data is None else with_data(event, data)

    def after(self, position: int, paths: Collection[str] | None, limit: int) -> list[Event] | None:
        """Events of some contexts after ``position``, or None when the tail doesn't reach back.

        :param paths: None for all there are.
        """
        return self.tail.after(position, paths, limit)

    @property
    def last_id(self) -> int:
        """Id of the newest event."""
        return self.tail.last_id


def _size_of(event: Event) -> int:
    return _COPIES * event.size + _OVERHEAD
