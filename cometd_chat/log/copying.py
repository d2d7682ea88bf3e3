"""Everything that is kept, from one database into another.

What it is: `Copy`, which copies the records page by page, and all else at the end; and the mark by
which half a copy is known.

What it may know: the tables; two databases that nobody else uses. Not what kind they are.

Invariant: ids, epochs, sessions, rooms, people and positions are in the target as they were, or it
says that it is half a copy, and no daemon starts on it. A copy that was stopped, however that was,
goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
from sqlalchemy import Connection, Table, delete, func, insert, inspect, select, text

from cometd_chat.errors import StorageUnavailable
from cometd_chat.log.store import Blocking
from cometd_chat.log.tables import (
    claims,
    epochs,
    metadata,
    nodes,
    positions,
    records,
    rooms,
    secrets,
    sessions,
)

#: Records that are copied in one transaction, and rows of other tables that are in memory at once.
PAGE = 2000

#: The name of the mark among the secrets. Its value says of which log this is half a copy.
_MARK = "half-a-copy"

#: What is copied otherwise, or is of no use in another database.
_NOT_AS_IT_IS = {records, positions, nodes, claims, secrets}

#: Tables that are copied row by row as they are, but for what `_copy_tables` says of epochs.
_AS_THEY_ARE = [table for table in metadata.sorted_tables if table not in _NOT_AS_IT_IS]

#: Where a sequence numbers the rows of a table, it goes on after those that are there.
_GO_ON = (
    "SELECT setval('epochs_number_seq', (SELECT max(number) FROM epochs))",
    "SELECT setval('audit_id_seq', (SELECT max(id) FROM audit))",
)

#: Secrets that what is kept depends on: by this one the networks of sanctions are hashed.
_SECRETS = ("networks",)

#: The room that every database has from the beginning.
_LOBBY = "lobby"


class CannotCopy(Exception):
    """The text says why, and what to do."""


@attrs.frozen
class Progress:
    """How far the records are copied.

    :param copied: the id up to which they are in the target.
    :param last: that of the last one.
    """

    copied: int
    last: int


def refuse_half_a_copy(connection: Connection, where: str) -> None:
    """For a daemon that starts.

    :param where: what the database is called, in sentences.
    :raises StorageUnavailable: this is half a copy.
    """
    if inspect(connection).has_table(secrets.name) and _mark(connection) is not None:
        raise StorageUnavailable(
            f"{where} is half a copy: run the same comet-chat copy again until it says that it is "
            "done, or take an empty one."
        )


class Copy:
    """A copy of everything.

    :param source: nobody writes it meanwhile.
    :param target: has nothing in it, or a part of this very copy.
    :param keys: copies what is kept beside the database; it may be called again.
    :param progress: told after each page.
    """

    def __init__(
        self,
        source: Blocking,
        target: Blocking,
        *,
        keys: Callable[[], object],
        progress: Callable[[Progress], object],
        page: int = PAGE,
    ) -> None:
        self._source = source
        self._target = target
        self._keys = keys
        self._progress = progress
        self._page = page

    def run(self) -> int:
        """Copy all that is not there yet; how many records there are. Blocks.

        :raises CannotCopy: one of the two is not as it should be.
        """
        for database, name in ((self._source, "--from"), (self._target, "--to")):
            database.read_now(partial(_refuse_in_use, name=name))
        if self._source.read_now(_mark) is not None:
            raise CannotCopy("--from: that is half a copy itself; finish it first")
        origin = self._source.read_now(_origin)
        if origin is None:
            raise CannotCopy("--from: no daemon has ever run with that; there is nothing to copy")
        self._begin(origin)
        last = self._source.read_now(_last)
        self._copy_records(last)
        self._keys()
        self._target.write_now(self._finish)
        count = self._source.read_now(_count)
        self._source.read_now(partial(_refuse_in_use, name="--from"))
        return count

    def _begin(self, origin: str) -> None:
        mark = self._target.read_now(_mark)
        if mark is None:
            self._target.read_now(_refuse_what_is_there)
            row = {"name": _MARK, "value": origin.encode()}
            self._target.write_now(
                lambda connection: connection.execute(insert(secrets), row).close()
            )
        elif mark != origin.encode():
            raise CannotCopy("--to: that is half a copy of something else; take an empty database")
        copied = self._target.read_now(_last)
        if copied and self._row(self._source, copied) != self._row(self._target, copied):
            raise CannotCopy(
                "--to: what is there is not what was copied from there; take an empty database"
            )

    @staticmethod
    def _row(database: Blocking, id: int) -> tuple[Any, ...] | None:
        query = select(records).where(records.c.id == id)
        row = database.read_now(lambda connection: connection.execute(query).one_or_none())
        return None if row is None else tuple(row)

    def _copy_records(self, last: int) -> None:
        copied = self._target.read_now(_last)
        self._progress(Progress(copied, last))
        while copied < last:
            query = select(records).where(records.c.id > copied).order_by(records.c.id)
            rows = self._source.read_now(partial(_rows, query=query.limit(self._page)))
            if not rows:
                return
            self._target.write_now(partial(_insert, table=records, rows=rows))
            copied = rows[-1]["id"]
            self._progress(Progress(copied, last))

    def _finish(self, target: Connection) -> None:
        """All else, in one transaction with the end of the mark."""
        _take_time(target)
        self._source.read_now(lambda source: self._copy_tables(source, target))
        if (_count(target), _last(target)) != self._source.read_now(
            lambda source: (_count(source), _last(source))
        ):
            raise CannotCopy(
                "--from: something was said meanwhile; stop all daemons and copy again"
            )
        target.execute(delete(secrets).where(secrets.c.name == _MARK))

    def _copy_tables(self, source: Connection, target: Connection) -> None:
        _take_time(source)
        for table in (positions, *_AS_THEY_ARE):
            target.execute(delete(table))
        for table in _AS_THEY_ARE:
            for rows in self._pages(source, select(table).order_by(*table.primary_key)):
                if table is epochs:
                    # Which database began it: of the target it is not the one.
                    rows = [{**row, "cluster": ""} for row in rows]
                _insert(target, table, rows)
        kept = secrets.c.name.in_(_SECRETS)
        target.execute(delete(secrets).where(kept))
        for rows in self._pages(source, select(secrets).where(kept)):
            _insert(target, secrets, rows)
        # Nodes have numbers of their own in each database: what each knew is what the least knew.
        least = func.min(positions.c.position).label("position")
        query = select(positions.c.session, positions.c.room, least)
        query = query.group_by(positions.c.session, positions.c.room)
        for rows in self._pages(source, query):
            _insert(target, positions, [{**row, "node": 0} for row in rows])
        if target.dialect.name == "postgresql":
            for sequence in _GO_ON:
                target.execute(text(sequence))

    def _pages(self, source: Connection, query: Any) -> Iterator[list[dict[str, Any]]]:
        for part in source.execute(query).mappings().partitions(self._page):
            yield [dict(row) for row in part]


def _rows(connection: Connection, query: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _take_time(connection: Connection) -> None:
    """Let a transaction wait for the other database."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    connection.execute(insert(table), rows)


def _mark(connection: Connection) -> bytes | None:
    value = connection.execute(select(secrets.c.value).where(secrets.c.name == _MARK)).scalar()
    return None if value is None else bytes(value)


def _origin(connection: Connection) -> str | None:
    return connection.execute(select(epochs.c.epoch).order_by(epochs.c.number).limit(1)).scalar()


def _last(connection: Connection) -> int:
    return connection.execute(select(func.max(records.c.id))).scalar() or 0


def _count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(records)).scalar_one()


def _refuse_what_is_there(connection: Connection) -> None:
    others = select(rooms.c.name).where(rooms.c.name != _LOBBY)
    for query in (select(records.c.id), select(sessions.c.id), others):
        if connection.execute(query.limit(1)).first() is not None:
            raise CannotCopy("--to: there is something in it already; take an empty database")


def _refuse_in_use(connection: Connection, name: str) -> None:
    """Refuse a database that daemons use, as far as it knows that."""
    if connection.dialect.name != "postgresql":
        return  # A file has a lock.
    now = text("lease_until > extract(epoch FROM clock_timestamp()) * 1000")
    alive = connection.execute(select(nodes.c.name).where(now)).scalars().all()
    if alive:
        raise CannotCopy(
            f"{name}: daemons use it ({', '.join(sorted(alive))}); stop them. One that was killed "
            "counts as there for 15 seconds"
        )
