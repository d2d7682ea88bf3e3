"""Smaller bounds for a daemon under test, where to reach those of its defaults takes long.

What it is: Python that a daemon's process runs first, see `tests.support.Daemon`.

What it may know: which default has the bound. That the daemon's own is what the documentation says
is for tests in memory, which reach it in a moment.

Invariant: a default that is no longer there is an error of the daemon's start.
"""

from __future__ import annotations


def most_behind(events: int) -> str:
    """Who is further behind than so many events gets the newest and a gap; by itself 5,000."""
    return f"""
from cometd_chat.chat.feed import MAX_BEHIND, Feed
assert Feed.__init__.__kwdefaults__["max_behind"] == MAX_BEHIND > {events}
Feed.__init__.__kwdefaults__["max_behind"] = {events}
"""


def frame_of(events: int) -> str:
    """A hidden iframe ends after so many events, and another one begins; by itself 1,000."""
    return f"""
from cometd_chat.web import holding
assert holding.FRAME_EVENTS > {events}
holding.FRAME_EVENTS = {events}
"""


def tail(size: int) -> str:
    """So many bytes of the newest events are kept in memory; by themselves 16 MiB."""
    return f"""
from cometd_chat import chat_parts, service
assert chat_parts.TAIL[1] == service.TAIL[1] > {size}
chat_parts.TAIL = service.TAIL = (chat_parts.TAIL[0], {size})
"""


def changed_at_once(records: int) -> str:
    """So many records are changed by one commit, where many are; by themselves 500."""
    return f"""
from cometd_chat.chat import departures, purging, room_changes
for module, name in (
    (purging, "MOST_AT_ONCE"),
    (purging, "_PAGE"),
    (departures, "MOST_AT_ONCE"),
    (room_changes, "_AT_ONCE"),
):
    assert getattr(module, name) > {records}
    setattr(module, name, {records})
"""
