"""Where a Bayeux client begins to read, as its subscribe message says.

What it is: `wanted_position`, from what ``ext`` says to a place in the log: our cursor, or an id of
Salesforce's replay extension.

What it may know: the log's places. Not channels, not sessions.

Invariant: a place that this log never gave out is refused, never taken for another.
"""

from __future__ import annotations

from collections.abc import Mapping

from cometd_chat.bayeux.extensions import REPLAY_ALL, REPLAY_NEW, replay_after
from cometd_chat.chat.feed import Feed
from cometd_chat.errors import InvalidCursor


async def wanted_position(feed: Feed, pattern: str, ext: Mapping[str, object]) -> int | None:
    """The id after which a client wants to begin; None when it does not say.

    :param pattern: what it subscribes to.
    :param ext: of its subscribe message, from the client and not checked: ``cursor``, else
        ``replay`` with an id for each pattern.
    :raises InvalidCursor: it can't have that from us.
    :raises StorageUnavailable: it can't be known here just now.
    :raises ShuttingDown: the daemon stopped while it waited for that.
    """
    cursor = ext.get("cursor")
    if cursor is None:
        wanted = replay_after(pattern, ext)
        if not isinstance(wanted, str):
            return None if wanted is None else await _after_id(feed, wanted)
        # In this place our cursor is as good: what it says is more than an id.
        cursor = wanted
    if not isinstance(cursor, str):
        raise InvalidCursor("A cursor is a string: hand one back as you got it.")
    position = await feed.position(cursor)
    if position is None:
        raise InvalidCursor("This log never gave that cursor out: subscribe without one.")
    return position


async def _after_id(feed: Feed, id: object) -> int:
    """The place that an id of the replay extension stands for."""
    places = {REPLAY_NEW: feed.last_id, REPLAY_ALL: 0}
    if isinstance(id, int) and not isinstance(id, bool):
        if id in places:
            return places[id]
        if id > feed.last_id:
            # Another process has told it, perhaps.
            await feed.catch_up()
        if 0 <= id <= feed.last_id:
            return id
    raise InvalidCursor("No message has that replay id: use one of ours, -1 for new, -2 for all.")
