"""Reading the log in a SQL database.

What it is: `LogReading`, which reads and counts records, and its statements; they are the same in
every database.

What it may know: the tables, and who runs a query in a thread. Not who appends.

Invariant: a query costs what is read and the number of contexts, however long the log is; and there
are a few queries, of however many contexts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import (
    ARRAY,
    ColumnClause,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    bindparam,
    func,
    select,
    true,
)
from twisted.internet.defer import Deferred

from cometd_chat.events.record import Record
from cometd_chat.log.control import CONTROL
from cometd_chat.log.epochs import Epochs
from cometd_chat.log.log import COUNT_OF_OTHERS, EVERY, Count, counted, encode_json, take
from cometd_chat.log.tables import records

T = TypeVar("T")

#: Above every id that a database can hold.
_TOP = 2**63 - 1

#: How many records are read at once at the start.
_PAGE = 500

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
        named: list[str] | None = None if contexts is None else list(dict.fromkeys(contexts))

        def walk(context: Context, limit: int) -> Select[Any]:
            return page(
                context, after=after, before=before, limit=limit, newest=newest, types=types
            )

        def read(connection: Connection) -> list[Record]:
            if named is None or len(named) == 1:
                only = None if named is None else named[0]
                rows: Sequence[Any] = connection.execute(walk(only, limit)).all()
            else:
                rows = first_of_all(connection, named, walk, limit, newest=newest)
            found = take(map(self._record, rows), max_bytes)
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

        def query(context: Context, bound: int) -> Select[Any]:
            return bounded_count(context, after=after, before=before, bound=bound, types=types)

        def count(connection: Connection) -> Mapping[str, Count]:
            known = counts_of_all(connection, named, query, most)

            def up_to(context: str, bound: int) -> int:
                number, limit = known.get(context, (0, 0))
                # Of what was counted up to a limit it is known whether there is more.
                if number < limit or bound <= limit:
                    return min(number, bound)
                one = None if contexts is None else context
                return int(connection.execute(query(one, bound)).scalar_one())

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
            found: list[Record] = []
            size, before = 0, last + 1
            # In pages, and not by a cursor of the database: to close one needs its connection, and
            # where that is lost the driver's own traceback comes beside what is said of it.
            while True:
                query = select(records).where(records.c.id < before)
                newest = query.order_by(records.c.id.desc()).limit(min(_PAGE, limit - len(found)))
                rows = connection.execute(newest).all()
                for row in rows:
                    record = self._record(row)
                    size += record.size
                    if found and size > max_bytes:
                        return found[::-1]
                    found.append(record)
                if len(rows) < _PAGE or len(found) == limit:
                    return found[::-1]
                before = found[-1].id

        return self._readers.read_now(read)

    def _record(self, row: Sequence[Any]) -> Record:
        return read_row(row, self._epochs())


#: A context, or the column that has several; None for all there are.
Context = str | ColumnElement[str] | None

#: How often some of each context are read before all are that may be needed.
_ROUNDS = 3

#: How many times as much may be counted at once as is wanted of all.
_MORE = 4


def first_of_all(
    connection: Connection,
    contexts: Sequence[str],
    walk: Callable[[Context, int], Select[Any]],
    limit: int,
    *,
    newest: bool,
) -> list[Sequence[Any]]:
    """The first rows of several contexts together, in order.

    Each context is a short walk along an index, which one query does for all: over a network each
    query costs more than what it reads. How much of each is needed is not known before. So a few
    rows of each are read, and more of those of which all of them are needed: mostly none or one.

    :param walk: the first so many rows of a context.
    """
    found: dict[str, list[Sequence[Any]]] = {}
    rows: list[Sequence[Any]] = []
    wanted = list(contexts)

    def place(row: Sequence[Any]) -> int:
        return -int(row[0]) if newest else int(row[0])

    for again in range(_ROUNDS):
        if not wanted:
            break
        some = limit if again == _ROUNDS - 1 else min(limit, 2 * limit // len(wanted) + 2)
        for context in wanted:
            found[context] = []
        for row in connection.execute(of_each(connection.dialect.name, wanted, walk, some)):
            found[row[1]].append(row)
        rows = sorted((row for each in found.values() for row in each), key=place)[:limit]
        # Of what ends before the last one that is needed there may be more before that.
        end = place(rows[-1]) if len(rows) == limit else None
        wanted = [
            context
            for context in wanted
            if len(found[context]) == some < limit
            and (end is None or max(map(place, found[context])) < end)
        ]
    return rows


def counts_of_all(
    connection: Connection,
    contexts: Sequence[str],
    query: Callable[[Context, int], Select[Any]],
    most: int,
) -> dict[str, tuple[int, int]]:
    """How many rows each of several contexts has, and up to how many they were counted: a few of
    all, and then as many as cost a few times ``most`` of those that have more.

    :param query: counts those of a context, up to so many.
    """
    known: dict[str, tuple[int, int]] = {}
    limit = COUNT_OF_OTHERS + 1
    wanted: Sequence[str] = contexts
    for _ in range(2):
        # One alone is counted when it is known how far.
        if len(wanted) < 2:
            break
        named = _table_of(connection.dialect.name, wanted)
        number = query(named.c.context, limit).scalar_subquery()
        for row in connection.execute(select(named.c.context, number)):
            known[row[0]] = int(row[1]), limit
        wanted = [context for context in wanted if known[context][0] == limit]
        limit = max(limit, _MORE * most // max(len(wanted), 1))
    return known


def of_each(
    dialect: str,
    contexts: Sequence[str],
    walk: Callable[[Context, int], Select[Any]],
    limit: int,
) -> Select[Any]:
    """The first rows of each of several contexts, in any order.

    :param dialect: SQLAlchemy's name of the database.
    """
    named = _table_of(dialect, contexts)
    inner = walk(named.c.context, limit)
    if dialect == "sqlite":
        # It knows no LATERAL, and runs such a subquery once a context.
        rows = records.alias("rows")
        ids = inner.with_only_columns(records.c.id).correlate(named)
        return select(rows).select_from(named).join(rows, rows.c.id.in_(ids))
    lateral = inner.correlate(named).lateral()
    return select(lateral).select_from(named).join(lateral, true())


def _table_of(dialect: str, contexts: Sequence[str]) -> FromClause:
    """A table with a row for each context."""
    if dialect == "sqlite":
        value = func.json_each(encode_json(contexts).decode()).table_valued("value")
        return select(value.c.value.label("context")).subquery()
    array = bindparam(None, list(contexts), type_=ARRAY(Text))
    return func.unnest(array).table_valued("context").render_derived()


def page(
    context: Context,
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
    context: Context,
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
    )
    if isinstance(context, ColumnClause) and context.table is not None:
        some = some.correlate(context.table)
    return select(func.count()).select_from(some.subquery())


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


def _of_context(context: Context) -> list[ColumnElement[bool]]:
    return [records.c.context != CONTROL if context is None else records.c.context == context]


def _of_types(types: Collection[str] | None) -> list[ColumnElement[bool]]:
    return [] if types is None else [records.c.type.in_(types)]


def _between(after: int, before: int | None) -> list[ColumnElement[bool]]:
    bounds = [records.c.id > min(after, _TOP)]
    if before is not None:
        bounds.append(records.c.id < min(before, _TOP))
    return bounds
