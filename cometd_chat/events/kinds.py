"""The one table of event kinds, and the maker of each.

What it is: `KINDS`, a row for each kind of event that clients can be told (interface, section 3),
with all that others ask about a kind; and a function that makes an event of it.

What it may know: the shape of events, what may be in them. Not who hears them, nor how bytes are
written.

Invariant: nowhere else is a list of kinds; and the same thing is the same JSON, whichever transport
and process it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from enum import Enum
from functools import lru_cache
from typing import Any

import attrs

from cometd_chat.events import lines
from cometd_chat.events.event import Event
from cometd_chat.events.texts import message_text, refused

PATH_PREFIX = "/chat/"


class Amends(Enum):
    """What becomes of what an event refers to."""

    #: What is said in it is gone, and its ``deleted`` says by whom.
    TAKES_OUT = "takes out"
    #: What was gone is back.
    BRINGS_BACK = "brings back"


@attrs.frozen(eq=False)
class Kind:
    """What there is to know about a kind of event.

    :param name: its ``type``.
    :param fields: what it may have besides ``type``, in the order in which they are shown.
    :param kept: it is in the log, and so has an ``id`` and a ``cursor``.
    :param counted: it is something said: it counts as unread, in a backlog and in what a gap says
        is missing.
    :param refers: the kind that its ``refers`` is the id of; empty when it has none.
    :param amends: what becomes of what it refers to; None for nothing.
    :param people: it says who is in a room: Bayeux has a channel beside the room's for that.
    :param position: it says nothing but how far the stream is complete.
    :param text: its line for terminals. What is ours begins with ``*``.
    :param classic: its line on the classic page; None for that for terminals without the ``*``.
    :param page: what stands beside the name of whoever said it on a page, which history is for;
        None for what has no line there and is in no history.
    :param bayeux: the fields of its ``data`` for a Bayeux client, in their order; none when such a
        client is not told of it.
    :param asks: the fields that a client gives who says it.
    :param parse: makes the record's ``data`` of these, or raises `InvalidRequest`; None when no
        client can say it.
    """

    name: str
    fields: tuple[str, ...]
    kept: bool = False
    counted: bool = False
    refers: str = ""
    amends: Amends | None = None
    people: bool = False
    position: bool = False
    text: lines.Line = lines.nothing
    classic: lines.Line | None = None
    page: lines.Line | None = None
    bayeux: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    parse: Callable[[Mapping[str, object]], Mapping[str, Any]] | None = None

    def parsed(self, asked: Mapping[str, object]) -> Mapping[str, Any]:
        """The ``data`` of a record, of what a client says.

        :raises InvalidRequest: that can't be said.
        """
        if self.parse is None:
            form = '{"type": "message", "room": "...", "text": "..."}'
            raise refused("type", f"nothing of that type can be said: send {form}")
        return self.parse(asked)

    def in_bayeux(self, event: Event) -> Mapping[str, Any] | None:
        """An event of it as ``data`` for a Bayeux client; None when it is not told of it."""
        fields = event.fields
        return {name: fields[name] for name in self.bayeux if name in fields} or None


#: What a kind is that this release has no row for, as after a downgrade. Clients of JSON get it as
#: it is, in its place and with its cursor, for they ignore what they don't know; it is not shown to
#: people nor told in Bayeux, where all is a message, and it counts for nothing.
UNKNOWN = Kind("", (), kept=True)


_ROWS = (
    Kind(
        "message",
        ("id", "cursor", "room", "from", "text", "deleted", "at", "client_id"),
        kept=True,
        counted=True,
        text=lambda fields: f"[{fields['from']}] {lines.said(fields)}",
        classic=lambda fields: f"[ {fields['from']} ] {lines.said(fields)}",
        page=lines.said,
        bayeux=("id", "room", "from", "text", "deleted", "at"),
        asks=("text",),
        parse=lambda asked: {"text": message_text(asked.get("text"))},
    ),
    Kind(
        "join",
        ("room", "from", "at", "was", "address"),
        people=True,
        text=lines.joined,
        classic=lines.joined_classic,
        bayeux=("type", "room", "from", "at", "was", "address"),
    ),
    Kind(
        "leave",
        ("room", "from", "at", "now"),
        people=True,
        text=lines.left,
        classic=lines.left_classic,
        bayeux=("type", "room", "from", "at", "now"),
    ),
    Kind(
        "delete",
        ("id", "cursor", "room", "from", "refers", "deleted", "purge", "at"),
        kept=True,
        refers="message",
        amends=Amends.TAKES_OUT,
        text=lines.taken_out,
        bayeux=("type", "id", "room", "from", "refers", "deleted", "at"),
    ),
    Kind(
        "restore",
        ("id", "cursor", "room", "from", "refers", "purge", "at"),
        kept=True,
        refers="message",
        amends=Amends.BRINGS_BACK,
        bayeux=("type", "id", "room", "from", "refers", "at"),
    ),
    Kind(
        "topic",
        ("id", "cursor", "room", "from", "topic", "deleted", "at"),
        kept=True,
        text=lambda fields: f"* {fields['from']} {lines.new_topic(fields)}",
        page=lines.new_topic,
        bayeux=("type", "id", "room", "from", "topic", "deleted", "at"),
    ),
    Kind(
        "room",
        ("room", "topic", "kind", "slow", "locked", "archived", "changed"),
        text=lines.changed_room,
        bayeux=("type", "room", "topic", "kind", "slow", "locked", "archived", "changed"),
    ),
    Kind(
        "calm",
        ("room", "calm"),
        text=lambda fields: f"* {lines.CALM[fields['calm']]}",
        bayeux=("type", "room", "calm"),
    ),
    Kind("typing", ("room", "from", "at")),
    Kind(
        "people",
        ("room", "count"),
        people=True,
        text=lambda fields: f"* {fields['count']} people are here",
        bayeux=("type", "room", "count"),
    ),
    Kind(
        "sanction",
        ("kind", "room", "until", "reason", "lifted"),
        text=lines.sanctioned,
        bayeux=("type", "kind", "room", "until", "reason", "lifted"),
    ),
    Kind(
        "notice",
        ("text", "client_id"),
        text=lambda fields: f"* {fields['text']}",
    ),
    Kind(
        "knock",
        ("from", "at"),
        text=lambda fields: f"* {fields['from']} waits to be let in",
        bayeux=("type", "from", "at"),
    ),
    Kind(
        "invited",
        ("room", "from"),
        text=lambda fields: f"* {fields['from']} lets you into the room {fields['room']}",
        bayeux=("type", "room", "from"),
    ),
    Kind(
        "held",
        ("item", "room", "from", "at"),
        text=lambda fields: f"* {fields['from']} waits to be let through in {fields['room']}",
        bayeux=("type", "item", "room", "from", "at"),
    ),
    Kind(
        "report",
        ("report", "room", "refers", "from", "at"),
        text=lambda fields: f"* {fields['from']} wants a message in {fields['room']} looked at",
        bayeux=("type", "report", "room", "refers", "from", "at"),
    ),
    Kind("hello", ("cursor", "heartbeat", "server"), position=True),
    Kind("heartbeat", ("cursor",), position=True),
    Kind(
        "reset",
        ("reason", "cursor"),
        text=lambda fields: f"* {fields['reason']}; from here on with cursor={fields['cursor']}",
    ),
    Kind("gap", ("room", "missing", "before", "at_least"), text=lines.left_out),
    Kind(
        "reopen",
        ("cursor", "after"),
        text=lambda fields: f"* the stream ends here, go on with cursor={fields['cursor']}",
        # The end of the page says so by a link.
        classic=lines.nothing,
    ),
    Kind(
        "bye",
        ("reason", "room"),
        text=lambda fields: f"* the stream ends here: {fields['reason']}",
        bayeux=("type", "reason", "room"),
    ),
    Kind(
        "error",
        ("status", "detail", "client_id"),
        text=lambda fields: f"! {fields['detail']}",
        bayeux=("type", "status", "detail", "client_id"),
    ),
)

#: What most is said as.
MESSAGE = _ROWS[0]

#: The rows by the ``type`` of their events.
KINDS: dict[str, Kind] = {row.name: row for row in _ROWS}

#: What becomes of it.
DELETE = KINDS["delete"]
RESTORE = KINDS["restore"]

#: What a room is about, by whoever said so.
TOPIC = KINDS["topic"]

#: What somebody has written, and can be taken out.
WRITTEN = (MESSAGE.name, TOPIC.name)


def kind_of(type: str) -> Kind:
    """The row of a ``type``, or `UNKNOWN`."""
    return KINDS.get(type, UNKNOWN)


def counted_types() -> tuple[str, ...]:
    """The types of what counts as said, see `Kind.counted`."""
    return tuple(name for name, kind in KINDS.items() if kind.kept and kind.counted)


def history_types() -> tuple[str, ...]:
    """The types of what history is made of, see `Kind.page`."""
    return tuple(name for name, kind in KINDS.items() if kind.kept and kind.page is not None)


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


def join(
    room: str,
    name: str,
    at: int,
    address: str | None = None,
    *,
    was: str = "",
    sender: str = "",
) -> Event:
    """Somebody came.

    :param address: what others may see of where from.
    :param sender: their identity, as for all below.
    :param was: they did not come, but were called so until now.
    """
    fields = {"type": "join", "room": room, "from": name, "at": timestamp(at)}
    if was:
        fields["was"] = was
    if address is not None:
        fields["address"] = address
    return Event(fields, sender=sender)


def leave(room: str, name: str, at: int, *, now: str = "", sender: str = "") -> Event:
    """Somebody went.

    :param now: they did not go, but are called so from now on; the ``join`` of that comes next.
    """
    fields = {"type": "leave", "room": room, "from": name, "at": timestamp(at)}
    return Event(fields | {"now": now} if now else fields, sender=sender)


def typing(room: str, name: str, at: int, sender: str = "") -> Event:
    """Somebody is writing."""
    fields = {"type": "typing", "room": room, "from": name, "at": timestamp(at)}
    return Event(fields, sender=sender)


def people(room: str, count: int) -> Event:
    """How many are in a room that is too full for each coming and going to be told."""
    return Event({"type": "people", "room": room, "count": count})


def room_changed(room: str, now: Mapping[str, Any], changed: Sequence[str]) -> Event:
    """A room is another one than it was.

    :param now: what it is: ``topic``, ``kind``, ``slow``, ``locked`` and ``archived``.
    :param changed: which of these are others.
    """
    return Event({"type": "room", "room": room, **now, "changed": list(changed)})


def calm(room: str, word: str) -> Event:
    """The house is as calm as this from now; for those who read a room."""
    return Event({"type": "calm", "room": room, "calm": word})


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


def bye(reason: str, room: str | None = None) -> Event:
    """The stream ends, and the client stays away until its user acts.

    :param room: only what is read of this one ends, by a client that reads each by itself.
    """
    fields = {"type": "bye", "reason": reason}
    return Event(fields if room is None else fields | {"room": room})


def sanction(
    kind: str, room: str | None, until: str | None, reason: str, *, lifted: bool = False
) -> Event:
    """Somebody may not speak, or not be here; for them alone.

    :param kind: see `cometd_chat.chat.sanctions.SanctionKind`.
    :param room: where; None for everywhere.
    :param until: when it ends by itself; None for when somebody lifts it.
    :param lifted: that is over.
    """
    fields: dict[str, Any] = {
        "type": "sanction",
        "kind": kind,
        "room": room,
        "until": until,
        "reason": reason,
    }
    return Event(fields | {"lifted": True} if lifted else fields)


def report(id: str, room: str, message: int, name: str, at: int) -> Event:
    """Somebody wants a message looked at; for moderators alone."""
    return Event(
        {
            "type": "report",
            "report": id,
            "room": room,
            "refers": message,
            "from": name,
            "at": timestamp(at),
        }
    )


def notice(text: str, client_id: str | None = None) -> Event:
    """What came of a command, for whoever ran it."""
    fields: dict[str, Any] = {"type": "notice", "text": text}
    if client_id is not None:
        fields["client_id"] = client_id
    return Event(fields)


def knock(name: str, at: int) -> Event:
    """Somebody waits to be let in; for moderators alone."""
    return Event({"type": "knock", "from": name, "at": timestamp(at)})


def invited(room: str, name: str) -> Event:
    """Somebody belongs to a room from now; for them alone.

    :param name: of whoever says so.
    """
    return Event({"type": "invited", "room": room, "from": name})


def held(item: str, room: str, name: str, at: int) -> Event:
    """What somebody wants to say waits for a moderator; for those alone.

    :param item: its id, as long as it waits.
    """
    fields = {"type": "held", "item": item, "room": room, "from": name, "at": timestamp(at)}
    return Event(fields)


def error(status: int, detail: str, client_id: str | None = None) -> Event:
    """A request was refused."""
    fields: dict[str, Any] = {"type": "error", "status": status, "detail": detail}
    if client_id is not None:
        fields["client_id"] = client_id
    return Event(fields)
