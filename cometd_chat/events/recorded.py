"""The events of what is in the log.

What it is: `recorded`, which makes an event of a record; and the same with other data, or another
author, where these were taken out.

What it may know: records, the shape of events. Not what a kind means.

Invariant: the same record is the same JSON, whichever process makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cometd_chat.events.event import Event
from cometd_chat.events.kinds import room_of, timestamp
from cometd_chat.events.record import Record, data_size

#: What the log says of each record; all else is its data, which stands between these.
_BEFORE_DATA = ("id", "cursor", "room", "type", "from", "refers")
_AFTER_DATA = ("at", "client_id")

#: Bytes of an event's JSON beside what is said in it, about.
_FRAME = 220


class _Recorded(Event):
    """The event of a record, whose fields are made when they are first asked for: on a node where
    nobody is in its room, they mostly never are, and they cost as much as all else that is done
    with a record of another node."""

    __slots__ = ("_record",)

    def __init__(self, record: Record) -> None:
        # All that `Event` has, but for `fields`: while that is not there `__getattr__` is asked.
        self._record = record
        self.id = record.id
        self.sender = record.sender
        self._json = None
        self.framed = {}

    def __getattr__(self, name: str) -> Any:
        if name != "fields":
            raise AttributeError(name)
        self.fields = fields = _fields(self._record)
        return fields

    @property
    def size(self) -> int:
        """See `Event.size`."""
        return recorded_size(self._record)

    @property
    def refers(self) -> object:
        """See `Event.refers`."""
        return self._record.refers

    @property
    def type(self) -> str:
        """See `Event.type`."""
        return self._record.type


def recorded_size(record: Record) -> int:
    """Bytes of the JSON of its event, about; without that event, for a node asks it of each."""
    return data_size(record.data) + _FRAME


def recorded(record: Record) -> Event:
    """The event of something in the log."""
    return _Recorded(record)


def _fields(record: Record) -> dict[str, Any]:
    """What clients see of a record."""
    fields: dict[str, Any] = {
        "id": record.id,
        "cursor": f"{record.id}.{record.epoch}",
        "room": room_of(record.context),
        "type": record.type,
        "from": record.author,
    }
    if record.refers is not None:
        fields["refers"] = record.refers
    data = record.data
    for name in data:
        # What it says of itself is not what the log says of it.
        if name not in fields:
            fields[name] = data[name]
    fields["at"] = timestamp(record.at)
    if record.client_id is not None:
        fields["client_id"] = record.client_id
    return fields


def emptied(record: Record) -> Mapping[str, Any]:
    """The data of what a record has taken everything out of."""
    return {"deleted": record.data.get("deleted", "moderator")}


def with_data(event: Event, data: Mapping[str, Any]) -> Event:
    """An event of something in the log with other data: what only its record knows stays."""
    fields = event.fields
    before = {name: fields[name] for name in _BEFORE_DATA if name in fields}
    after = {name: fields[name] for name in _AFTER_DATA if name in fields}
    return Event({**before, **data, **after}, event.id, event.sender)


def with_author(event: Event, author: str) -> Event:
    """An event of something in the log that is shown as somebody else's."""
    return Event({**event.fields, "from": author}, event.id, event.sender)
