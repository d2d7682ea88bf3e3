"""Which history this is: the epochs of a log in PostgreSQL, and when another one begins.

What it is: `join`, which every connection that follows the log begins with. It looks at what there
is, compares it with what this node was told, and begins an epoch where that is needed.

What it may know: a connection, the tables of records, epochs and nodes, a mark.

Invariant: an epoch begins when the database is another one than when the newest began (another
cluster, another timeline, another start of the server, other tables), when what a node was told is
not in it any more, or when nobody is left who could say so. So a cursor that was given out before a
backup was restored, or in a tail that was lost, is foreign; one of before a failover or a restart
that lost nothing is not. Ids never go back for anybody who was told of them. Each begins with an id
that nothing gets: a cursor of there is known to nobody who has not noticed yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
from psycopg.errors import FeatureNotSupported, InsufficientPrivilege, UndefinedFunction

from cometd_chat.errors import StorageUnavailable
from cometd_chat.events.record import Record
from cometd_chat.log.epochs import Epochs
from cometd_chat.log.leases import LEASE
from cometd_chat.log.postgresql.batches import COLUMNS, read_row
from cometd_chat.log.postgresql.connections import Connection
from cometd_chat.log.postgresql.high_water import HighWaterMark, Mark

#: The same lock as that of ``comet_append_1``.
LOCK = "SELECT pg_advisory_xact_lock(1668246885, 1)"

_LAST = "SELECT max(id) FROM records"
_ROW = f"SELECT {COLUMNS} FROM records WHERE id = %s"  # noqa: S608
_NEWEST_ROW = f"SELECT {COLUMNS} FROM records WHERE id <= %s ORDER BY id DESC LIMIT 1"  # noqa: S608
_EPOCHS = "SELECT number, epoch, first_id, cluster FROM epochs ORDER BY number"
_ANY_LEASE = (
    # One that goes on for longer is of before the clock was set.
    "SELECT bool_or(lease_until - extract(epoch FROM clock_timestamp()) * 1000 BETWEEN 0 AND %s)"
    " FROM nodes"
)
_MORE = (
    "SELECT 1 FROM records WHERE id > %s AND NOT (context = '/control' AND type = 'node-gone')"
    " LIMIT 1"
)
_BEGIN = "INSERT INTO epochs (epoch, first_id, cluster) VALUES (%s, %s, %s)"

#: What is another one in each other database, however it came about: by a new cluster, by a
#: failover or a restore to a point in time (a timeline), by an older state of the disk under the
#: same timeline (the start of the server: the first node to come back may have been told too little
#: to miss anything), by a copy that took its place (the database), by a dump that was restored into
#: it (the table). A service may forbid the first two.
_CLUSTER = (
    "SELECT system_identifier::text FROM pg_control_system()",
    "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)",
    # As a number: how a date is written is up to each connection.
    "SELECT extract(epoch FROM pg_postmaster_start_time())::text",
    "SELECT oid::text FROM pg_database WHERE datname = current_database()",
    "SELECT 'records'::regclass::oid::text",
)


@attrs.frozen
class Book:
    """The epochs of the log as they are in the database.

    :param numbers: theirs, which grow; a bell says in which one it was rung.
    :param cluster: where the newest one began.
    """

    epochs: Epochs
    numbers: Sequence[int]
    cluster: str = ""

    @property
    def number(self) -> int:
        """The number of the newest one; 0 when there is none."""
        return self.numbers[-1] if self.numbers else 0

    @property
    def floor(self) -> int:
        """All ids up to this one were given out, or never will be."""
        return self.epochs.first_ids[-1] - 1 if self.numbers else 0

    def shared(self, epoch: str) -> int | None:
        """How far a log is the same that was in an epoch when that was its newest; None when it
        never was."""
        if epoch not in self.epochs.names:
            return None
        following = self.epochs.names.index(epoch) + 1
        first_ids = self.epochs.first_ids
        return first_ids[following] - 1 if following < len(first_ids) else None

    def name(self, number: int) -> str | None:
        """The name of an epoch; None when it began after this was read."""
        # Mostly the newest one is asked for.
        if self.numbers and number == self.numbers[-1]:
            return self.epochs.names[-1]
        return self.epochs.names[self.numbers.index(number)] if number in self.numbers else None


#: That of a log that was not looked at yet.
EMPTY = Book(Epochs((), ()), ())


@attrs.frozen
class Joined:
    """What there is, when a node begins to follow it.

    :param last: the log goes as far as this.
    :param newest: the newest record that there is; None when there is none.
    :param put_back: what the node was told is not in it any more.
    :param begun: an epoch began by this.
    """

    book: Book
    last: int
    newest: Record | None
    put_back: bool
    begun: bool


def read_book(connection: Connection) -> Book:
    """The epochs that there are."""
    rows = connection.execute(_EPOCHS).fetchall()
    return Book(
        Epochs([str(row[1]) for row in rows], [_int(row[2]) for row in rows]),
        [_int(row[0]) for row in rows],
        str(rows[-1][3]) if rows else "",
    )


class Witness(Protocol):
    """What a node knows of the log from before it looks."""

    def told(self, book: Book) -> int:
        """Ids up to this one may have been told to somebody, so far as is known here."""

    def misses(self, connection: Connection, book: Book) -> bool:
        """Whether an epoch must begin since something that was told may be gone, though the log
        goes as far as that."""


@attrs.frozen
class Running:
    """A node that follows the log.

    :param id: how far it was told.
    :param record: the newest record that it was told of, if any.
    """

    id: int
    record: Record | None

    def told(self, book: Book) -> int:
        """See `Witness.told`."""
        return self.id

    def misses(self, connection: Connection, book: Book) -> bool:
        """See `Witness.misses`."""
        record = self.record
        # Unless another node has found out, and has begun one.
        return (
            record is not None
            and _is_gone(connection, record)
            and book.epochs.of(record.id) == record.epoch
        )


@attrs.frozen
class Starting:
    """A node that has just started.

    While another one is there, that one knows better. Where there is none, each may have been told
    more than this one's mark says: but not if all have said goodbye and nothing else came since.

    :param high_water: where this node, or another process of its directory, has left its mark.
    """

    high_water: HighWaterMark

    def told(self, book: Book) -> int:
        """See `Witness.told`."""
        mark = self._mark(book)
        return 0 if mark is None else mark.id

    def misses(self, connection: Connection, book: Book) -> bool:
        """See `Witness.misses`."""
        mark = self._mark(book)
        if mark is not None and mark.epoch not in book.epochs.names:
            return True
        if connection.execute(_LAST).fetchone() == (None,):
            return False
        (held,) = connection.execute(_ANY_LEASE, [LEASE * 1000]).fetchone() or (None,)
        if held is not None:
            return not held
        return mark is None or connection.execute(_MORE, [mark.id]).fetchone() is not None

    def _mark(self, book: Book) -> Mark | None:
        """The mark, if it is of this log."""
        mark = self.high_water.read()
        return mark if mark is not None and mark.origin == book.epochs.names[0] else None


#: A node that knows nothing, and need not.
NOBODY = Running(0, None)


def join(connection: Connection, witness: Witness, new_epoch: Callable[[], str]) -> Joined:
    """Look at the log, and begin an epoch when it is another one. Blocks.

    :param witness: what this node knows of it.
    :param new_epoch: gives a name for an epoch.
    :raises StorageUnavailable: this is no database for a log.
    """
    encoding = connection.execute("SHOW server_encoding").fetchone()
    if encoding != ("UTF8",):
        raise StorageUnavailable(
            "The database does not keep all letters: make it anew with ENCODING 'UTF8'."
        )
    cluster = _identify(connection)
    begun = False
    book = read_book(connection)
    if _must_begin(connection, book, cluster, witness):
        with connection.transaction():
            connection.execute(LOCK)
            # Another node may have been here before, and all were told what it began.
            book = read_book(connection)
            if _must_begin(connection, book, cluster, witness):
                _begin(connection, book, cluster, witness, new_epoch)
                begun = True
        book = read_book(connection)
    last = max(_last(connection), book.floor)
    row = connection.execute(_NEWEST_ROW, [last]).fetchone()
    newest = None if row is None else read_row(row, book.epochs.of)
    record = witness.record if isinstance(witness, Running) else None
    gone = record is not None and _is_gone(connection, record)
    return Joined(book, last, newest, put_back=gone, begun=begun)


def _identify(connection: Connection) -> str:
    """What this database is, and no other one."""
    return "/".join(_ask(connection, query) for query in _CLUSTER)


def _ask(connection: Connection, query: str) -> str:
    try:
        row = connection.execute(query).fetchone()
    except (FeatureNotSupported, InsufficientPrivilege, UndefinedFunction):
        return ""
    return "" if row is None else str(row[0])


def _must_begin(connection: Connection, book: Book, cluster: str, witness: Witness) -> bool:
    if not book.numbers or book.cluster != cluster:
        return True
    # Nobody who was told of an id may be told of that one again, as something else.
    if max(_last(connection), book.floor) < witness.told(book):
        return True
    return witness.misses(connection, book)


def _is_gone(connection: Connection, record: Record) -> bool:
    """Whether a record that was told is not there as it was told."""
    row = connection.execute(_ROW, [record.id]).fetchone()
    return row is None or read_row(row, lambda _: record.epoch) != record


def _begin(
    connection: Connection,
    book: Book,
    cluster: str,
    witness: Witness,
    new_epoch: Callable[[], str],
) -> None:
    """Remember a new epoch, after what is there.

    Ids that are gone were given out all the same. They become an epoch in which nobody was told
    anything, and what is said from now on comes after them. It has one id at least, even if nothing
    is known to be gone: who is told `reset` gets a cursor in it, and is not told by another node
    what is gone, since that one can't know the cursor before it has noticed.
    """
    last = max(_last(connection), book.floor)
    first_ids = [last + 1]
    if book.numbers:
        first_ids.append(max(witness.told(book), last + 1) + 1)
    names = set(book.epochs.names)
    for first_id in first_ids:
        name = new_epoch()
        while name in names:
            name = new_epoch()
        names.add(name)
        connection.execute(_BEGIN, [name, first_id, cluster])


def _last(connection: Connection) -> int:
    (last,) = connection.execute(_LAST).fetchone() or (None,)
    return 0 if last is None else _int(last)


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
