"""Reading the log in a SQL database.

What it is: `LogReading`, which reads and counts records, and its statements; they are the same in
every database.

What it may know: the tables, and who runs a query in a thread. Not who appends.

Invariant: a query costs what is read and the number of contexts, however long the log is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, func, select
from twisted.internet.defer import Deferred

from cometd_chat.events.record import Record
from cometd_chat.log.control import CONTROL
from cometd_chat.log.epochs import Epochs
from cometd_chat.log.log import EVERY, Count, counted, take
from cometd_chat.log.tables import records

T = TypeVar("T")

#: Above every id that a database can hold.
_TOP = 2**63 - 1

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Readers(Protocol):
    """Who runs queries."""

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """Run a query in a thread; all of it sees the database at one moment.

        :raises StorageUnavailable: the database can't be read.
        """

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """Run a query in this thread, and block it."""


def read_row(row: Sequence[Any], epochs: Epochs) -> Record:
    """The record in a row of the table."""
    id, context, type, sender, author, data, refers, client_id, at = row
    epoch, said = epochs.of(id), _decode(data)
    return Record(id, epoch, context, type, sender, author, said, refers, client_id, at)


class LogReading:
    """What is read of a log; see `EventLog`.

    :param readers: who runs queries.
    :param epochs: as they are known now; in any thread.
    """

    def __init__(self, readers: Readers, epochs: Callable[[], Epochs]) -> None:
        self._readers = readers
        self._epochs = epochs

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
        named: Collection[str | None] = [None] if contexts is None else set(contexts)
        queries = [
            page(context, after=after, before=before, limit=limit, newest=newest, types=types)
            for context in named
        ]

        def read(connection: Connection) -> list[Record]:
            # A query a context, each one a short walk along an index; together they'd be a sort.
            # No row is fetched before it is wanted: with many contexts most of them never are.
            with ExitStack() as results:
                walks = [results.enter_context(connection.execute(each)) for each in queries]
                rows = heapq.merge(*walks, key=_row_id, reverse=newest)
                found = take(map(self._record, islice(rows, limit)), max_bytes)
            return found[::-1] if newest else found

        return self._readers.read(read)

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
        named = [EVERY] if contexts is None else list(dict.fromkeys(contexts))

        def count(connection: Connection) -> Mapping[str, Count]:
            def up_to(context: str, bound: int) -> int:
                one = None if contexts is None else context
                query = bounded_count(one, after=after, before=before, bound=bound, types=types)
                return int(connection.execute(query).scalar_one())

            return counted(most, named, up_to)

        return self._readers.read(count)

    def newest(self, types: Collection[str] | None = None) -> Deferred[Mapping[str, int]]:
        """See `EventLog.newest`."""

        def newest(connection: Connection) -> Mapping[str, int]:
            return {row[0]: row[1] for row in connection.execute(newest_ids(types))}

        return self._readers.read(newest)

    def recent(self, last: int, limit: int, max_bytes: int) -> list[Record]:
        """The newest records of all contexts, oldest first, to fill the tail at the start. Blocks.

        :param last: none that is newer than this.
        :param limit: at most so many.
        :param max_bytes: at most so much, see `Record.size`, though the newest one always.
        """

        def read(connection: Connection) -> list[Record]:
            query = (
                select(records)
                .where(records.c.id <= last)
                .order_by(records.c.id.desc())
                .limit(limit)
            )
            found: list[Record] = []
            size = 0
            with connection.execute(query.execution_options(yield_per=500)) as rows:
                for row in rows:
                    record = self._record(row)
                    size += record.size
                    if found and size > max_bytes:
                        break
                    found.append(record)
            return found[::-1]

        return self._readers.read_now(read)

    def _record(self, row: Sequence[Any]) -> Record:
        return read_row(row, self._epochs())


def _row_id(row: Sequence[Any]) -> int:
    return int(row[0])


def page(
    context: str | None,
    *,
    after: int,
    before: int | None,
    limit: int,
    newest: bool,
    types: Collection[str] | None = None,
) -> Select[Any]:
    """The oldest or the newest records of one context, or of all, in a range of ids."""
    order = records.c.id.desc() if newest else records.c.id
    return (
        select(records)
        .where(*_of_context(context), *_between(after, before), *_of_types(types))
        .order_by(order)
        .limit(limit)
    )


def bounded_count(
    context: str | None,
    *,
    after: int,
    before: int | None,
    bound: int,
    types: Collection[str] | None = None,
) -> Select[Any]:
    """How many records one context has, or all have, in a range of ids; not more than a bound."""
    some = (
        select(records.c.id)
        .where(*_of_context(context), *_between(after, before), *_of_types(types))
        .limit(bound)
        .subquery()
    )
    return select(func.count()).select_from(some)


def newest_ids(types: Collection[str] | None = None) -> Select[Any]:
    """The newest id of each context.

    It jumps from context to context along the index: grouping would read the whole of it.
    """
    contexts = select(func.min(records.c.context).label("context")).cte("contexts", recursive=True)
    following = (
        select(func.min(records.c.context))
        .where(records.c.context > contexts.c.context)
        .scalar_subquery()
    )
    contexts = contexts.union_all(select(following).where(contexts.c.context.is_not(None)))
    newest = (
        select(func.max(records.c.id))
        .where(records.c.context == contexts.c.context, *_of_types(types))
        .scalar_subquery()
        .label("newest")
    )
    found = select(contexts.c.context, newest).where(contexts.c.context.is_not(None)).subquery()
    return select(found).where(found.c.newest.is_not(None), found.c.context != CONTROL)


def by_client_id(sender: str, client_id: str) -> Select[Any]:
    """The record that a sender appended under a client_id.

    One at a time: for a list of pairs SQLite would read the whole index.
    """
    return select(records).where(records.c.sender == sender, records.c.client_id == client_id)


def _of_context(context: str | None) -> list[ColumnElement[bool]]:
    return [records.c.context != CONTROL if context is None else records.c.context == context]


def _of_types(types: Collection[str] | None) -> list[ColumnElement[bool]]:
    return [] if types is None else [records.c.type.in_(types)]


def _between(after: int, before: int | None) -> list[ColumnElement[bool]]:
    bounds = [records.c.id > min(after, _TOP)]
    if before is not None:
        bounds.append(records.c.id < min(before, _TOP))
    return bounds
