"""Drafts on their way into PostgreSQL, and records on their way out of it.

What it is: what ``comet_append_1`` takes and answers, the bell that it rings, and the rows that are
read. The functions themselves are in ``schema/functions``.

What it may know: drafts, records, JSON. No connections.

Invariant: a bell is complete, or it says only which ids there are; whoever can't read one reads the
table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import msgspec

from cometd_chat.events.record import Draft, Record
from cometd_chat.log.log import encode_json

#: Where bells are rung. Another form of them gets another channel.
CHANNEL = "comet_chat"

#: How much of a bell the records may take, in bytes. PostgreSQL has room for 7,999 in all.
MOST_IN_BELL = 7800

_TYPES = [*["text[]"] * 5, "bigint[]", "text[]", "text"]
_ARRAYS = ", ".join(f"%s::{each}" for each in _TYPES[:-1])
APPEND = f"SELECT * FROM comet_append_1({_ARRAYS}, %s::text)"  # noqa: S608
APPEND_KNOWN = f"SELECT * FROM comet_append_known_1({_ARRAYS})"  # noqa: S608

#: `APPEND` as the server reads it, to be prepared.
_NUMBERED = ", ".join(f"${n}::{each}" for n, each in enumerate(_TYPES, 1))
PREPARED_APPEND = f"SELECT * FROM comet_append_1({_NUMBERED})"  # noqa: S608

#: The columns that `read_row` takes.
COLUMNS = "id, context, type, sender, author, data, refers, client_id, at"

#: Another one than the writer's, which encodes in its own thread.
_decode_data = msgspec.json.Decoder(dict[str, Any]).decode

_Said = tuple[str, str, str, str, dict[str, Any], int | None, str | None]
_decode_bell = msgspec.json.Decoder(list[_Said]).decode


def append_arguments(drafts: Sequence[Draft]) -> list[str | None]:
    """What ``comet_append_1`` takes; all but the last is what ``comet_append_known_1`` takes."""
    data = [encode_json(draft.data) for draft in drafts]
    return [
        _array(draft.context for draft in drafts),
        _array(draft.type for draft in drafts),
        _array(draft.sender for draft in drafts),
        _array(draft.author for draft in drafts),
        _array(each.decode() for each in data),
        _array(None if draft.refers is None else str(draft.refers) for draft in drafts),
        _array(draft.client_id for draft in drafts),
        _bell(drafts, data),
    ]


def _array(texts: Iterable[str | None]) -> str:
    """An array as PostgreSQL reads it (section 8.15.6 of its documentation): the driver takes
    longer to make one of a list than the server takes to store what is in it."""
    return "{" + ",".join(map(_element, texts)) + "}"


def _element(text: str | None) -> str:
    if text is None:
        return "NULL"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _bell(drafts: Sequence[Draft], data: Sequence[bytes]) -> str | None:
    """The drafts as others can read them; None when that would be too much."""
    if sum(map(len, data)) > MOST_IN_BELL:
        return None
    said = [
        (
            draft.context,
            draft.type,
            draft.sender,
            draft.author,
            msgspec.Raw(each),
            draft.refers,
            draft.client_id,
        )
        for draft, each in zip(drafts, data, strict=True)
    ]
    bell = encode_json(said)
    return bell.decode() if len(bell) <= MOST_IN_BELL else None


def stored(drafts: Sequence[Draft], base: int, at: int, epoch: str) -> list[Record]:
    """The records that drafts became.

    :param base: the id before that of the first one.
    :param at: when; milliseconds since 1970-01-01T00:00Z.
    """
    return [
        Record(
            id,
            epoch,
            draft.context,
            draft.type,
            draft.sender,
            draft.author,
            draft.data,
            draft.refers,
            draft.client_id,
            at,
        )
        for id, draft in enumerate(drafts, base + 1)
    ]


@attrs.frozen
class Bell:
    """That records were committed.

    :param first: the id of the first one.
    :param last: and of the last one.
    :param epoch: the number of the epoch in which they were.
    :param at: when; milliseconds since 1970-01-01T00:00Z.
    :param said: what `read_bell` reads; empty when it was too much.
    """

    first: int
    last: int
    epoch: int
    at: int
    said: str


def hear(payload: str) -> Bell:
    """A bell as it was rung; what is said in it is not read yet.

    :raises ValueError: this is none.
    """
    first, last, epoch, at, *said = payload.split(" ", 4)
    return Bell(int(first), int(last), int(epoch), int(at), said[0] if said else "")


def read_bell(bell: Bell, epoch: str) -> list[Record]:
    """The records in a bell; none when it says only that there are some.

    :param epoch: the name of its epoch.
    """
    if not bell.said:
        return []
    try:
        said = _decode_bell(bell.said)
    except msgspec.DecodeError:
        return []
    if len(said) != bell.last - bell.first + 1:
        return []
    at = bell.at
    return [
        Record(id, epoch, context, type, sender, author, data, refers, client_id, at)
        for id, (context, type, sender, author, data, refers, client_id) in enumerate(
            said, bell.first
        )
    ]


def read_row(row: Sequence[Any], epoch: Callable[[int], str]) -> Record:
    """The record in a row of `COLUMNS`, as the driver gives it.

    :param epoch: the name of the epoch of an id.
    """
    id, context, type, sender, author, data, refers, client_id, at = row
    said = _decode_data(data)
    return Record(id, epoch(id), context, type, sender, author, said, refers, client_id, at)


def read_text_row(row: Sequence[bytes | None], epoch: Callable[[int], str]) -> Record:
    """The record in a row of `COLUMNS`, as PostgreSQL sends it as text."""
    number, context, type, sender, author, data, refers, client_id, at = row
    id = int(number or 0)
    return Record(
        id,
        epoch(id),
        (context or b"").decode(),
        (type or b"").decode(),
        (sender or b"").decode(),
        (author or b"").decode(),
        _decode_data(data or b""),
        None if refers is None else int(refers),
        None if client_id is None else client_id.decode(),
        int(at or 0),
    )
