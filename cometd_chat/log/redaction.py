"""What is taken out of what was said, and brought back.

What it is: `Redaction` and `Restoration`, which every log carries out by its own means, and the
statements for those in SQL.

What it may know: the tables of records and of what is hidden; that a record's data is a JSON
object. Not who may do that.

Invariant: what was taken out is in no row of `records` from the same commit on in which the log
says so. A text is kept, in `hidden`, only for what may yet be brought back, and is there once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs
import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from cometd_chat.events.record import Draft, Record
from cometd_chat.log.changes import refuse_older
from cometd_chat.log.control import CONTROL
from cometd_chat.log.tables import hidden, records

#: The one field of a record from which everything was taken: by whom.
DELETED = "deleted"

#: At most so many records are changed by one commit: nobody waits long for it.
MOST_AT_ONCE = 500

#: Every JSON object from which everything was taken begins with it; see `emptied`.
_EMPTIED = '{"deleted":"'

_encode = msgspec.json.Encoder().encode


@attrs.frozen
class Redaction:
    """Takes out what is said in some records.

    :param context: where they are.
    :param types: what they are; others stay as they are.
    :param ids: which, at most `MOST_AT_ONCE`; those of others, and of none, are passed over.
    :param how: what is said of it from now on; see `DELETED`.
    :param says: the type of the record that tells of each.
    :param sender: who does it, as in `Draft`.
    :param author: and under which name.
    :param purge: by what it can be brought back until it is erased; None when it can't be.
    """

    context: str
    types: Collection[str]
    ids: Sequence[int]
    how: str
    says: str
    sender: str
    author: str
    purge: str | None = None

    def drafts(self, ids: Sequence[int]) -> list[Draft]:
        """What tells of those that were changed."""
        data: dict[str, Any] = {DELETED: self.how}
        if self.purge is not None:
            data["purge"] = self.purge
        return [
            Draft(self.context, self.says, self.sender, self.author, data, refers=id) for id in ids
        ]


@attrs.frozen
class Restoration:
    """Brings back what was taken out by a purge, the oldest first.

    :param context: where it was.
    :param purge: see `Redaction`.
    :param limit: at most so much of it, at most `MOST_AT_ONCE`.
    :param says: the type of the record that tells of each.
    """

    context: str
    purge: str
    limit: int
    says: str
    sender: str
    author: str

    def drafts(self, ids: Sequence[int]) -> list[Draft]:
        """What tells of those that were changed."""
        data = {"purge": self.purge}
        return [
            Draft(self.context, self.says, self.sender, self.author, data, refers=id) for id in ids
        ]


def emptied(how: str) -> Mapping[str, Any]:
    """The data of a record from which everything was taken."""
    return {DELETED: how}


def is_emptied(record: Record) -> bool:
    """Whether everything was taken out of it."""
    return DELETED in record.data


def redact_in(connection: Connection, redaction: Redaction) -> list[int]:
    """Take out what a redaction says, in the transaction that is open.

    To do it again does no harm.

    :returns: the ids of what was changed by this, in the order in which they were given.
    """
    ids = list(redaction.ids)
    refuse_older(connection)
    if redaction.purge is None:
        # It can't be brought back from now on, by whatever it was hidden before.
        connection.execute(delete(hidden).where(hidden.c.record.in_(ids)))
    found = connection.execute(
        select(records.c.id, records.c.data)
        .where(
            records.c.id.in_(ids),
            records.c.context == redaction.context,
            records.c.type.in_(redaction.types),
            records.c.data.not_like(f"{_EMPTIED}%"),
        )
        .with_for_update()
    ).all()
    said = {row.id: row.data for row in found}
    if not said:
        return []
    changed = [id for id in ids if id in said]
    if redaction.purge is not None:
        rows = [{"record": id, "data": said[id], "purge": redaction.purge} for id in changed]
        connection.execute(insert(hidden), rows)
    empty = _encode(emptied(redaction.how)).decode()
    connection.execute(update(records).where(records.c.id.in_(changed)).values(data=empty))
    return changed


def restore_in(connection: Connection, restoration: Restoration) -> list[int]:
    """Bring back what a restoration says, in the transaction that is open.

    :returns: the ids of what was changed by this.
    """
    found = connection.execute(
        select(hidden.c.record, hidden.c.data)
        .where(hidden.c.purge == restoration.purge)
        .order_by(hidden.c.record)
        .limit(restoration.limit)
        .with_for_update()
    ).all()
    ids = [row.record for row in found]
    for row in found:
        said = update(records).where(records.c.id == row.record).values(data=row.data)
        connection.execute(said)
    connection.execute(delete(hidden).where(hidden.c.record.in_(ids)))
    return ids


def clear_in(connection: Connection, context: str, limit: int) -> int:
    """Leave of some records of a context no more than that there was something, where nobody reads
    it, in the transaction that is open.

    :returns: how many that were, at most ``limit``.
    """
    some = list(
        connection.execute(
            select(records.c.id).where(records.c.context == context).limit(limit)
        ).scalars()
    )
    connection.execute(delete(hidden).where(hidden.c.record.in_(some)))
    connection.execute(update(records).where(records.c.id.in_(some)).values(**_CLEARED))
    return len(some)


#: No control record has this type: nothing is done about it, and nobody is told.
_CLEARED = {
    "context": CONTROL,
    "type": "removed",
    "sender": "",
    "author": "",
    "data": "{}",
    "refers": None,
    "client_id": None,
    "at": 0,
}


def erase_in(connection: Connection, purge: str, limit: int) -> int:
    """Erase what a purge has hidden, in the transaction that is open.

    :returns: how much that was, at most ``limit``.
    """
    some = select(hidden.c.record).where(hidden.c.purge == purge).limit(limit).scalar_subquery()
    return connection.execute(delete(hidden).where(hidden.c.record.in_(some))).rowcount
