"""The log in a SQL database.

What it is: `SqlEventLog`, an `EventLog` over a `Database`: the statements that append. Those that
read are in `reading.py`.

What it may know: the tables of records and epochs. Not threads, not files, not rooms.

Invariant: ids are given out by the writer alone, one after the other from what the table holds, so
they follow the order of commits; a draft that was stored before uses up none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace
from sqlalchemy import (
    ClauseElement,
    Connection,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.dialects import sqlite
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from cometd_chat.errors import LogFull
from cometd_chat.events.record import Draft, Record
from cometd_chat.log.database import Database
from cometd_chat.log.epochs import Epochs
from cometd_chat.log.high_water import Mark
from cometd_chat.log.log import (
    Count,
    Followers,
    LogListener,
    Outcome,
    Usage,
    encode_json,
    only,
    sorted_out,
    tell_usage,
)
from cometd_chat.log.reading import LogReading, by_client_id, read_row
from cometd_chat.log.redaction import (
    Redaction,
    Restoration,
    clear_in,
    erase_in,
    redact_in,
    restore_in,
)
from cometd_chat.log.tables import epochs, records
from cometd_chat.log.writer import Appended, driver_of

T = TypeVar("T")

#: Seconds after which it makes sense to look whether the operator has made room.
RETRY_FULL = 60.0


def _compiled(statement: ClauseElement) -> str:
    """A statement as the driver takes it, with its parameters in the order of their names here."""
    return str(statement.compile(dialect=sqlite.dialect()))


class SqlEventLog:
    """An `EventLog` in a database. Made before the database is opened.

    :param database: where it is kept; this log attaches itself to it.
    """

    _log = Logger()

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers = Followers()
        self._last_id = 0
        self._floor = 0
        self._usage = Usage(0, database.max_bytes)
        # None until `start`.
        self._epochs = Epochs((), ())
        self._reading = LogReading(database, lambda: self._epochs)
        database.attach(self)

    @property
    def usage(self) -> Usage:
        """See `EventLog.usage`."""
        return self._usage

    @property
    def last_id(self) -> int:
        """Id of the newest record that followers have been told of, or are being told of."""
        return self._last_id

    def append(self, draft: Draft) -> Deferred[Record]:
        """See `EventLog.append`. Followers are told first, then the result fires."""
        return self.append_all([draft]).addCallback(only)

    def append_all(self, drafts: Sequence[Draft]) -> Deferred[Sequence[Outcome]]:
        """See `EventLog.append_all`."""
        return sorted_out(drafts, self._database.append)

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
        # What is stored can be read a moment before it is told. No other process appends here:
        # whoever was shown it would hold a cursor that nobody knows.
        before = self._last_id + 1 if before is None else min(before, self._last_id + 1)
        return self._reading.read(
            contexts,
            after=after,
            before=before,
            limit=limit,
            newest=newest,
            max_bytes=max_bytes,
            types=types,
        )

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
        return self._reading.count(contexts, after=after, before=before, most=most, types=types)

    def newest(self, types: Collection[str] | None = None) -> Deferred[Mapping[str, int]]:
        """See `EventLog.newest`."""
        return self._reading.newest(types)

    def recent(self, limit: int, max_bytes: int) -> list[Record]:
        """See `EventLog.recent`. What is stored already but not yet published is left out."""
        return self._reading.recent(self._last_id, limit, max_bytes)

    def redact(self, redaction: Redaction) -> Deferred[Sequence[int]]:
        """See `EventLog.redact`."""

        def change(connection: Connection) -> Sequence[Draft]:
            return redaction.drafts(redact_in(connection, redaction))

        changing: Deferred[Sequence[int]] = self._database.amend(change).addCallback(_referred)
        if redaction.purge is None:
            return changing.addCallback(self._overwritten)
        return changing

    def restore(self, restoration: Restoration) -> Deferred[Sequence[int]]:
        """See `EventLog.restore`."""

        def change(connection: Connection) -> Sequence[Draft]:
            return restoration.drafts(restore_in(connection, restoration))

        return self._database.amend(change).addCallback(_referred)

    def erase(self, purge: str, limit: int) -> Deferred[int]:
        """See `EventLog.erase`."""
        erasing = self._database.write(lambda connection: erase_in(connection, purge, limit))
        return erasing.addCallback(self._overwritten)

    def clear(self, context: str, limit: int) -> Deferred[int]:
        """See `EventLog.clear`."""
        clearing = self._database.write(lambda connection: clear_in(connection, context, limit))
        return clearing.addCallback(self._overwritten)

    def _overwritten(self, result: T) -> Deferred[T]:
        """The same, once nothing is left on the disk of what was taken out."""
        return self._database.overwrite().addCallback(lambda _: result)

    def catch_up(self) -> Deferred[None]:
        """See `EventLog.catch_up`. What was not told here nobody knows of."""
        return succeed(None)

    def follow(self, listener: LogListener) -> Callable[[], None]:
        """See `EventLog.follow`."""
        return self._followers.add(listener)

    @property
    def origin(self) -> str:
        """See `EventLog.origin`."""
        return self._epochs.names[0]

    def cursor(self, id: int) -> str:
        """See `EventLog.cursor`."""
        return self._epochs.cursor(id)

    def position(self, cursor: str) -> int | None:
        """See `EventLog.position`."""
        return self._epochs.position(cursor)

    # What the database asks of us, see `cometd_chat.log.writer.Appender`.

    def start(self, connection: Connection) -> None:
        """Take up where the log stands; one that is new, or was put back, begins an epoch."""
        known = _known_epochs(connection)
        # The first ids count too, so that no id is given out twice even if a row was deleted.
        self._floor = max((first - 1 for first in known.first_ids), default=0)
        last = self._last(driver_of(connection))
        mark = self._database.left
        if mark is None or not self._is_its(mark, known, last):
            known = self._begin_epoch(connection, known, last, mark)
        self._epochs = known
        self._floor = self._last_id = max(last, known.first_ids[-1] - 1)
        self._database.high_water.note(known.names[-1], self._last_id)
        self._measure()

    def _is_its(self, mark: Mark, known: Epochs, last: int) -> bool:
        """Whether the database is the one that left a mark, and has all that it had then."""
        goes_on = known.names[-1:] == [mark.epoch] and mark.id <= last
        return goes_on and self._database.high_water.is_of(mark)

    def _begin_epoch(
        self, connection: Connection, known: Epochs, last: int, mark: Mark | None
    ) -> Epochs:
        """Remember a new epoch, after what is there.

        Ids that a backup does not have were given out all the same. They become an epoch in which
        nobody was told anything, and what is said from now on comes after them.
        """
        begins = [last + 1]
        if known.names and mark is not None and mark.id > last:
            begins.append(mark.id + 1)
        names = list(known.names)
        for first_id in begins:
            name = self._database.new_epoch()
            while name in names:
                name = self._database.new_epoch()
            names.append(name)
            connection.execute(insert(epochs), {"epoch": name, "first_id": first_id})
        if known.names:
            self._log.info("the log begins the epoch {epoch} after id {id}", epoch=name, id=last)
        return Epochs(names, [*known.first_ids, *begins])

    def append_batch(
        self,
        driver: sqlite3.Connection,
        drafts: Sequence[Draft],
        *,
        outcome_unknown: bool,
        though_full: bool = False,
    ) -> Appended:
        """Store drafts; called in the writer's thread."""
        last = self._last(driver)
        lost = self._after(driver, self._last_id) if outcome_unknown else []
        full = self._measure().full and not though_full
        # Repeats are rare. That there is one is found by the index, and only then looked for.
        known = self._known(driver, drafts) if full else {}
        outcomes, fresh = self._sort_out(drafts, last, known, full=full)
        try:
            _insert(driver, fresh)
        except sqlite3.IntegrityError:
            # What it had inserted up to there; a savepoint would cost each batch as much again.
            driver.execute(_FORGET, (last,))
            known = self._known(driver, drafts)
            outcomes, fresh = self._sort_out(drafts, last, known, full=full)
            _insert(driver, fresh)
        return Appended(outcomes, lost + fresh)

    def committed(self, records: Sequence[Record]) -> None:
        """Note how far the log has come; called in the writer's thread."""
        self._database.high_water.note(self._epochs.names[-1], records[-1].id)

    def publish(self, records: Sequence[Record]) -> None:
        """Tell the followers."""
        # After a commit that came through although it seemed to fail, some may be known already.
        fresh = [record for record in records if record.id > self._last_id]
        if fresh:
            self._last_id = fresh[-1].id
            self._followers.tell(fresh)

    def _measure(self) -> Usage:
        """Look at the size on the disk; in the writer's thread, or at the start."""
        before, self._usage = self._usage, self._database.usage()
        if self._usage.alarm != before.alarm:
            self._database.call_from_thread(tell_usage, self._log, self._usage)
        return self._usage

    def _last(self, driver: sqlite3.Connection) -> int:
        """The last id that was given out, by what is in the table at this moment."""
        (last,) = driver.execute(_LAST).fetchone()
        return max(last or 0, self._floor)

    def _after(self, driver: sqlite3.Connection, id: int) -> list[Record]:
        return [self._record(row) for row in driver.execute(_AFTER, (id,))]

    def _known(
        self, driver: sqlite3.Connection, drafts: Sequence[Draft]
    ) -> dict[tuple[str, str], Record]:
        """Those of some drafts that are stored already, by sender and client_id."""
        found: dict[tuple[str, str], Record] = {}
        for key in filter(None, map(_key, drafts)):
            row = driver.execute(_BY_CLIENT_ID, key).fetchone()
            if row is not None:
                found[key] = self._record(row)
        return found

    def _sort_out(
        self,
        drafts: Sequence[Draft],
        last: int,
        known: Mapping[tuple[str, str], Record],
        *,
        full: bool,
    ) -> tuple[list[Record | Exception], list[Record]]:
        """What becomes of each draft, and which records are new."""
        at = int(self._database.wall_clock() * 1000)
        first = dict(known)
        outcomes: list[Record | Exception] = []
        fresh: list[Record] = []
        for draft in drafts:
            key = _key(draft)
            if key is not None and key in first:
                outcomes.append(replace(first[key], repeated=True))
                continue
            if full:
                outcomes.append(_log_full())
                continue
            record = Record(
                last + 1 + len(fresh),
                self._epochs.names[-1],
                draft.context,
                draft.type,
                draft.sender,
                draft.author,
                draft.data,
                draft.refers,
                draft.client_id,
                at,
            )
            outcomes.append(record)
            fresh.append(record)
            if key is not None:
                first[key] = record
        return outcomes, fresh

    def _record(self, row: Sequence[Any]) -> Record:
        return read_row(row, self._epochs)


def _referred(told: Sequence[Record]) -> list[int]:
    return [record.refers or 0 for record in told]


def _key(draft: Draft) -> tuple[str, str] | None:
    return None if draft.client_id is None else (draft.sender, draft.client_id)


#: The hot statements, compiled once.
_LAST = _compiled(select(func.max(records.c.id)))
_INSERT = _compiled(insert(records))
_AFTER = _compiled(select(records).where(records.c.id > 0).order_by(records.c.id))
_FORGET = _compiled(delete(records).where(records.c.id > 0))
_BY_CLIENT_ID = _compiled(by_client_id("", ""))


def _insert(driver: sqlite3.Connection, fresh: Sequence[Record]) -> None:
    # Row by row in one prepared statement: measured, it beats one statement with many rows.
    if fresh:
        rows = [
            (
                each.id,
                each.context,
                each.type,
                each.sender,
                each.author,
                encode_json(each.data).decode(),
                each.refers,
                each.client_id,
                each.at,
            )
            for each in fresh
        ]
        driver.executemany(_INSERT, rows)


def _known_epochs(connection: Connection) -> Epochs:
    query = select(epochs.c.epoch, epochs.c.first_id).order_by(epochs.c.number)
    found = connection.execute(query).all()
    return Epochs([row.epoch for row in found], [row.first_id for row in found])


def _log_full() -> LogFull:
    return LogFull(
        "What is kept here has reached its limit. Nothing new can be said until the operator makes "
        "room.",
        retry_after=RETRY_FULL,
    )
