"""The commands of moderators.

What it is: what a line says, made a call of what the API calls, too; and what came of it, in words.

What it may know: the chat. Not by which way a line came.

Invariant: whoever moderates the house acts everywhere, unless they say ``here``; who moderates a
room, there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import SLASH, Words
from cometd_chat.chat.command_parts import Caller, Outcome, minutes_in
from cometd_chat.chat.guest_bans import MINUTES
from cometd_chat.chat.matrix import Calm
from cometd_chat.chat.moderation import Reach
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sanctions import (
    BAN,
    BAN_NETWORK,
    KICK,
    SILENCE,
    Sanction,
    SanctionKind,
    minutes_of,
    reason_of,
)
from cometd_chat.errors import NotFound
from cometd_chat.events.kinds import timestamp
from cometd_chat.events.texts import refused

#: So many sanctions are listed in a notice.
_LISTED = 50

_LEVELS = "It can be off, slow, members (guests are silent) or closed (only moderators speak)."

#: How it is told what became of somebody.
_DONE = {SILENCE: "silenced", KICK: "sent away", BAN: "banned", BAN_NETWORK: "banned"}


async def _sanction(chat: Chat, caller: Caller, words: Words, kind: SanctionKind) -> Outcome:
    whom = await chat.somebody(words.name(), caller.room)
    room = _where(chat, caller, words)
    if kind is BAN and words.takes("network"):
        kind = BAN_NETWORK
        room = caller.room if words.takes("here") else room
    number = words.number()
    reach = Reach(minutes_of(kind, number), reason_of(words.rest() or None))
    sanction = await chat.moderation.impose(
        caller.session, kind, whom, room, reach, address=caller.address
    )
    network = ", and all of their network," if kind is BAN_NETWORK else ""
    return Outcome(f"{whom.name}{network} is {_shown(sanction)}.")


def _where(chat: Chat, caller: Caller, words: Words) -> Room | None:
    """Where a sanction holds; None for everywhere."""
    if words.takes("here"):
        return caller.room
    refusal = chat.rights.may(caller.session, Act.SANCTION, None, caller.address)
    return None if refusal is None else caller.room


def _shown(sanction: Sanction) -> str:
    where = "everywhere" if sanction.room is None else f"in the room {sanction.room}"
    until = "" if sanction.until is None else f" until {timestamp(sanction.until)[:16]}Z"
    return f"{_DONE[sanction.kind]} {where}{until}"


async def silence(chat: Chat, caller: Caller, words: Words) -> Outcome:
    """See `COMMANDS`, here and below."""
    return await _sanction(chat, caller, words, SILENCE)


async def kick(chat: Chat, caller: Caller, words: Words) -> Outcome:
    return await _sanction(chat, caller, words, KICK)


async def ban(chat: Chat, caller: Caller, words: Words) -> Outcome:
    # Somebody who is called that is meant by @guests.
    if words.takes("guests"):
        return await _ban_guests(chat, caller, words)
    return await _sanction(chat, caller, words, BAN)


async def _ban_guests(chat: Chat, caller: Caller, words: Words) -> Outcome:
    room = _where(chat, caller, words)
    if not words.takes("network"):
        raise refused("line", f"{SLASH}ban guests network 240 bans the networks of all of them")
    room = caller.room if words.takes("here") else room
    reach = Reach(minutes_of(BAN_NETWORK, words.number()), reason_of(words.rest() or None))
    imposed = await chat.guest_bans.ban(
        caller.session, caller.room, MINUTES, room, reach, address=caller.address
    )
    return Outcome(banned_guests(imposed))


def banned_guests(imposed: Sequence[Sanction]) -> str:
    """What came of banning the networks of guests, in words."""
    if not imposed:
        return "No network is banned by that: they are banned already, or are your own."
    count = "1 network is" if len(imposed) == 1 else f"{len(imposed)} networks are"
    return f"{count} banned, of guests who spoke here in the last {MINUTES} minutes."


async def _lift(
    chat: Chat, caller: Caller, words: Words, kinds: Collection[SanctionKind], what: str
) -> Outcome:
    name = words.name()
    found = [
        each
        for each in chat.moderation.on_name(name)
        if each.kind in kinds and each.room in (None, caller.room.name)
    ]
    if not found:
        raise NotFound(f"{name[:64]} is not {what} here. {SLASH}bans lists who is.")
    for each in found:
        await chat.moderation.lift(caller.session, each.id)
    return Outcome(f"{found[0].who} is {what} no longer.")


async def unban(chat: Chat, caller: Caller, words: Words) -> Outcome:
    return await _lift(chat, caller, words, (BAN, BAN_NETWORK, KICK), "banned")


async def unsilence(chat: Chat, caller: Caller, words: Words) -> Outcome:
    return await _lift(chat, caller, words, (SILENCE,), "silenced")


async def bans(chat: Chat, caller: Caller, words: Words) -> Outcome:
    here = (None, caller.room.name)
    found = [each for each in chat.moderation.listed(caller.session) if each.room in here]
    if not found:
        return Outcome("Nobody is silenced, sent away or banned here.")
    lines = [_line(each) for each in found[:_LISTED]]
    if len(found) > _LISTED:
        lines.append(f"And {len(found) - _LISTED} more.")
    return Outcome("\n".join(lines))


def _line(sanction: Sanction) -> str:
    network = " (their network)" if sanction.kind is BAN_NETWORK else ""
    why = f": {sanction.reason}" if sanction.reason else ""
    return f"{sanction.who}{network} is {_shown(sanction)}, by {sanction.by_name}{why}"


async def purge(chat: Chat, caller: Caller, words: Words) -> Outcome:
    deletions, session, room = chat.deletions, caller.session, caller.room
    if words.takes("guests"):
        # Somebody who is called that is meant by @guests.
        minutes, who = minutes_in(words), "guests"
        if minutes is None:
            raise refused("line", f"of how many minutes? {SLASH}purge guests 10 is of the last ten")
        await deletions.purge_guests(session, room, minutes, words.rest(), address=caller.address)
    else:
        whom = await chat.somebody(words.name(), room)
        minutes, who = minutes_in(words), whom.name
        await deletions.purge(session, room, [whom], minutes, words.rest(), address=caller.address)
    what = "All"
    if minutes is not None:
        what = f"All of the last {'minute' if minutes == 1 else f'{minutes} minutes'}"
    return Outcome(
        f"{what} that {who} said in this room is gone. {SLASH}unpurge brings it back, within "
        "half an hour."
    )


async def unpurge(chat: Chat, caller: Caller, words: Words) -> Outcome:
    newest = await chat.deletions.newest(caller.session, caller.room)
    await chat.deletions.undo(caller.session, caller.room, newest.id, address=caller.address)
    return Outcome("What was purged last in this room is back.")


async def calm(chat: Chat, caller: Caller, words: Words) -> Outcome:
    word = words.word().lower()
    if not word:
        return Outcome(f"Calm is {chat.policies.calm.word}. {_LEVELS}")
    if word not in [each.word for each in Calm]:
        raise refused("line", f"there is no calm {word[:32]}. {_LEVELS}".removesuffix("."))
    await chat.policies.change(caller.session, {"calm": word})
    return Outcome(f"Calm is {word} now, in all rooms.")
