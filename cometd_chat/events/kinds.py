"""The chat's events, each as one constructor.

What it is: the table of what clients can be told (interface, section 3).

What it may know: the shape of events. Not who hears them.

Invariant: the same thing is the same JSON, whichever transport and process it comes from.
"""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from cometd_chat.events.event import Event
from cometd_chat.events.record import Record

PATH_PREFIX = "/chat/"


def path_of(room: str) -> str:
    """The path of a room's context."""
    return PATH_PREFIX + room


def room_of(path: str) -> str:
    """The room whose context has this path."""
    return path.removeprefix(PATH_PREFIX)


def timestamp(milliseconds: int) -> str:
    """Milliseconds since 1970 in RFC 3339, UTC, with milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    # Most of what is said in a second is said in the same one as what was said before.
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}"


def recorded(record: Record) -> Event:
    """The event of something in the log."""
    fields: dict[str, Any] = {
        "id": record.id,
        "cursor": f"{record.id}.{record.epoch}",
        "room": room_of(record.context),
        "type": record.type,
        "from": record.author,
        "text": record.text,
        "at": timestamp(record.at),
    }
    if record.client_id is not None:
        fields["client_id"] = record.client_id
    return Event(fields, record.id)


def join(room: str, name: str, at: int, address: str | None = None, *, was: str = "") -> Event:
    """Somebody came.

    :param address: what others may see of where from.
    :param was: she did not come, but was called so until now.
    """
    fields = {"type": "join", "room": room, "from": name, "at": timestamp(at)}
    if was:
        fields["was"] = was
    if address is not None:
        fields["address"] = address
    return Event(fields)


def leave(room: str, name: str, at: int, *, now: str = "") -> Event:
    """Somebody went.

    :param now: she did not go, but is called so from now on; her ``join`` comes next.
    """
    fields = {"type": "leave", "room": room, "from": name, "at": timestamp(at)}
    return Event(fields | {"now": now} if now else fields)


def typing(room: str, name: str, at: int) -> Event:
    """Somebody is writing."""
    return Event({"type": "typing", "room": room, "from": name, "at": timestamp(at)})


def people(room: str, count: int) -> Event:
    """How many are in a room that is too full for each coming and going to be told."""
    return Event({"type": "people", "room": room, "count": count})


def hello(cursor: str, heartbeat: float, server: str) -> Event:
    """A stream begins after ``cursor``; silence longer than ``heartbeat`` seconds means trouble."""
    return Event({"type": "hello", "cursor": cursor, "heartbeat": heartbeat, "server": server})


def heartbeat(cursor: str) -> Event:
    """The stream is complete up to ``cursor``."""
    return Event({"type": "heartbeat", "cursor": cursor})


def reset(cursor: str) -> Event:
    """The client's cursor is foreign: whatever it shows, it has to load anew."""
    reason = "this log never gave that cursor out"
    return Event({"type": "reset", "reason": reason, "cursor": cursor})


def gap(room: str, missing: int, before: int, *, at_least: bool = False) -> Event:
    """``missing`` messages of a room before id ``before`` are left out: load them as history.

    :param at_least: there are more of them; they were too many to be counted.
    """
    fields: dict[str, Any] = {"type": "gap", "room": room, "missing": missing, "before": before}
    if at_least:
        fields["at_least"] = True
    return Event(fields)


def reopen(cursor: str, after: float) -> Event:
    """The stream ends on purpose: open the next one in ``after`` seconds."""
    return Event({"type": "reopen", "cursor": cursor, "after": after})


def bye(reason: str) -> Event:
    """The stream ends, and the client stays away until its user acts."""
    return Event({"type": "bye", "reason": reason})


def error(status: int, detail: str, client_id: str | None = None) -> Event:
    """A request was refused."""
    fields: dict[str, Any] = {"type": "error", "status": status, "detail": detail}
    if client_id is not None:
        fields["client_id"] = client_id
    return Event(fields)
