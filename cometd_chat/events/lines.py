"""Events as lines of text, for terminals and pages.

What it is: a function for each kind whose line is more than a format; the table of kinds names
them.

What it may know: the fields of events. Not which kinds there are.

Invariant: a line is words and fields, and whoever shows it knows what to escape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Fields(Protocol):
    """The fields of an event as a line is made of them: where it must be, they are escaped."""

    def __getitem__(self, name: str, /) -> Any: ...

    def __contains__(self, name: object, /) -> bool: ...


#: Makes a line of the fields of an event; empty for an event that is not shown.
Line = Callable[[Fields], str]


def nothing(fields: Fields) -> str:
    """Not shown."""
    return ""


#: Who has taken out what was said, and how that is told.
DELETED = {"own": "deleted by its author", "moderator": "deleted by a moderator"}


def joined(fields: Fields) -> str:
    """Somebody came, or is called another name."""
    if "was" in fields:
        return f"* {fields['was']} is now {fields['from']}"
    return f"* {fields['from']} joined"


def joined_classic(fields: Fields) -> str:
    """The same on the classic page."""
    if "was" in fields:
        return f"User {fields['was']} is now called {fields['from']}."
    address = f" from {fields['address']}" if "address" in fields else ""
    return f"User {fields['from']}{address} is joining the chat."


def left(fields: Fields) -> str:
    """Somebody went."""
    return "" if "now" in fields else f"* {fields['from']} left"


def left_classic(fields: Fields) -> str:
    """The same on the classic page."""
    return "" if "now" in fields else f"User {fields['from']} is leaving the chat."


def left_out(fields: Fields) -> str:
    """A gap."""
    least = "at least " if "at_least" in fields else ""
    return f"* {least}{fields['missing']} messages left out"


def said(fields: Fields) -> str:
    """A message, or why there is none."""
    if "text" in fields:
        return f"{fields['text']}"
    return f"({DELETED.get(fields['deleted'], DELETED['moderator'])})"


def taken_out(fields: Fields) -> str:
    """A message was deleted."""
    # A purge has hundreds of them, and they are all one.
    return "" if "purge" in fields else f"* {fields['from']} deleted a message"


def sanctioned(fields: Fields) -> str:
    """Somebody may not speak, or not be here."""
    what = {"silence": "silenced", "kick": "sent away"}.get(fields["kind"], "banned")
    where = f" in the room {fields['room']}" if fields["room"] else ""
    if "lifted" in fields:
        return f"* you are no longer {what}{where}"
    until = f" until {fields['until']}" if fields["until"] else ""
    why = f": {fields['reason']}" if fields["reason"] else ""
    return f"* you are {what}{where}{until}{why}"


def new_topic(fields: Fields) -> str:
    """What a room is about."""
    if "topic" not in fields:
        return said(fields)
    topic = fields["topic"]
    return f"changed the topic to: {topic}" if topic else "took the topic away"


#: What is told of how calm it is.
CALM = {
    "off": "everybody may speak again",
    "slow": "for now everybody waits 10 s between two messages",
    "members": "for now only members speak",
    "closed": "for now only moderators speak",
}


def changed_room(fields: Fields) -> str:
    """A room is another one than it was."""
    # Its topic has a line of its own.
    slow = fields["slow"]
    said = {
        "kind": f"is {fields['kind']} now",
        "slow": f"waits {slow} s between two messages" if slow else "is slow no longer",
        "locked": "is locked: moderators speak" if fields["locked"] else "is locked no longer",
        "archived": "is archived: nobody speaks" if fields["archived"] else "is archived no longer",
    }
    words = [said[name] for name in fields["changed"] if name in said]
    return f"* the room {fields['room']} {', '.join(words)}" if words else ""
