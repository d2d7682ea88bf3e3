"""What the chat is joined of.

What it is: `Parts`, which whoever starts a chat gives it, and of which its own parts take what they
need.

What it may know: the parts. Not what any of them does, nor whether it is that of one process or of
one of many nodes.

Invariant: it never changes.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from cometd_chat.chat.deletions import Deletions
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.limits import Limits
from cometd_chat.chat.moderation import Moderation
from cometd_chat.chat.openings import Openings
from cometd_chat.chat.policies import Policies
from cometd_chat.chat.positions import Positions
from cometd_chat.chat.presence import Presence
from cometd_chat.chat.rights import Rights
from cometd_chat.chat.rooms import Rooms
from cometd_chat.chat.sessions import Sessions
from cometd_chat.chat.waiting import WaitingList
from cometd_chat.log.changes import Changes
from cometd_chat.log.gathering import Gathering


@attrs.frozen(kw_only=True)
class Parts:
    """All of them.

    :param changes: how all is changed that is kept beside the log.
    :param policies: what the house is like; ``waiting`` has who waits to be let in.
    :param gathering: by which all that is said goes to the log.
    :param heartbeat: seconds of silence after which a stream gets a heartbeat.
    :param server: what this daemon calls itself in `hello`.
    :param shown: what others may see of an address, or None.
    :param random: a number between 0 and 1, another one each time.
    """

    feed: Feed
    rights: Rights
    sessions: Sessions
    rooms: Rooms
    presence: Presence
    positions: Positions
    limits: Limits
    openings: Openings
    changes: Changes
    deletions: Deletions
    moderation: Moderation
    policies: Policies
    waiting: WaitingList
    gathering: Gathering
    heartbeat: float
    server: str
    shown: Callable[[str], str | None]
    random: Callable[[], float]
