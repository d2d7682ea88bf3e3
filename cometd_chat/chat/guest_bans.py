"""The networks of all guests who spoke in a room lately, banned by one act.

What it is: `GuestBans`, which finds out who they are; it is for a raid, in which nobody has the
time to ban one after the other.

What it may know: the log, who is more than a guest, moderation. No HTTP, and no words of commands.

Invariant: it bans what a moderator could, one network after the other, and no other: not their
own, no private one, none of a proxy that is trusted; none for what somebody with an account said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from cometd_chat.chat.feed import Feed
from cometd_chat.chat.moderation import Moderation, Reach
from cometd_chat.chat.purge_rows import more_than_guests
from cometd_chat.chat.rights import Act, Rights
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanctions import Sanction
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import NotFound
from cometd_chat.events import kinds
from cometd_chat.log.changes import Changes

#: Who spoke in so many minutes is meant where nobody says how long ago.
MINUTES = 10

#: So many messages are looked through at once, and so many times at most: who spoke last comes
#: first.
_PAGE = 500
_PAGE_BYTES = 1024 * 1024
_MOST_PAGES = 40

#: Of so many it is asked where they come from.
_MOST_GUESTS = 2000


class GuestBans:
    """Bans the networks of guests."""

    def __init__(
        self, feed: Feed, rights: Rights, changes: Changes, moderation: Moderation
    ) -> None:
        self._feed = feed
        self._rights = rights
        self._changes = changes
        self._moderation = moderation

    async def ban(
        self,
        actor: Session,
        spoke_in: Room,
        minutes: int,
        room: Room | None,
        reach: Reach,
        *,
        address: str = "",
    ) -> Sequence[Sanction]:
        """Ban the networks of guests who spoke in a room in so many minutes up to now.

        :param room: where they are banned; None for everywhere.
        :param address: where the actor comes from, whose own network is not banned.
        :returns: what is banned by this; what was before is not among it.
        :raises NotFound: no guest did, or it is not known where from.
        :raises ChatError: they may not.
        """
        rooms = [] if room is None else [room]
        self._rights.require(actor, Act.SANCTION, rooms, address)
        self._rights.require(actor, Act.PURGE, [spoke_in], address)
        self._moderation.spend(actor, address)
        guests = await self._guests(spoke_in, int(self._moderation.now()) - minutes * 60_000)
        guests.pop(actor.identity, None)
        return await self._moderation.ban_networks_of(actor, guests, room, reach, address=address)

    async def _guests(self, room: Room, since: int) -> dict[str, str]:
        """Who spoke since then and is no more than a guest, by identity, and as whom."""
        spoke: dict[str, str] = {}
        before: int | None = None
        for _ in range(_MOST_PAGES):
            found = await self._feed.log.read(
                [room.context.path],
                before=before,
                limit=_PAGE,
                newest=True,
                max_bytes=_PAGE_BYTES,
                types=[kinds.MESSAGE.name],
            )
            there = [each for each in found if each.at >= since]
            new = {each.sender: each.author for each in there if each.sender not in spoke}
            if new:
                more = await self._changes.read(partial(more_than_guests, room.name, set(new)))
                spoke.update((who, "" if who in more else name) for who, name in new.items())
            if not found or len(there) < len(found) or len(spoke) >= _MOST_GUESTS:
                break
            before = found[0].id
        guests = {who: name for who, name in spoke.items() if name}
        if not guests:
            raise NotFound("No guest has spoken in this room lately.")
        return guests
