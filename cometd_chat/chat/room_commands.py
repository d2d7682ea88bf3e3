"""The commands of rooms: what one is, who belongs to it, and words for somebody alone.

What it is: what a line says, made a call of what the API calls, too; and what came of it, in words.

What it may know: the chat. Not by which way a line came.

Invariant: what is said to somebody alone is said in a room that nobody else sees, or not at all.
"""

from __future__ import annotations

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import Words
from cometd_chat.chat.command_parts import Caller, Outcome
from cometd_chat.chat.roles import Role
from cometd_chat.events.texts import refused


async def topic(chat: Chat, caller: Caller, words: Words) -> Outcome:
    """See `COMMANDS`, here and below."""
    wanted = " ".join(words.rest().split())
    if not wanted:
        shown = caller.room.topic
        return Outcome(f"The topic is: {shown}" if shown else "This room has no topic.")
    await _change(chat, caller, topic=wanted)
    return Outcome(f"The topic is: {caller.room.topic}")


async def slow(chat: Chat, caller: Caller, words: Words) -> Outcome:
    seconds = 0 if words.takes("off") else words.number()
    if seconds is None:
        raise refused("line", "a number of seconds is needed, or off")
    await _change(chat, caller, slow=seconds)
    if not seconds:
        return Outcome("Nobody waits between two messages any more.")
    return Outcome(f"Everybody but moderators waits {seconds} s between two messages here.")


async def lock(chat: Chat, caller: Caller, words: Words) -> Outcome:
    await _change(chat, caller, locked=True)
    return Outcome("Only moderators speak in this room now.")


async def unlock(chat: Chat, caller: Caller, words: Words) -> Outcome:
    await _change(chat, caller, locked=False)
    return Outcome("Everybody speaks in this room again.")


async def _change(chat: Chat, caller: Caller, **asked: object) -> None:
    await chat.room_changes.change(caller.session, caller.room, asked, caller.address)


async def invite(chat: Chat, caller: Caller, words: Words) -> Outcome:
    name = words.name()
    if await _put(chat, caller, name, None):
        return Outcome(f"{name} belongs to the room {caller.room.name} now.")
    return Outcome(f"{name} belongs to the room {caller.room.name} already.")


async def op(chat: Chat, caller: Caller, words: Words) -> Outcome:
    name = words.name()
    await _put(chat, caller, name, Role.MODERATOR.word)
    return Outcome(f"{name} moderates the room {caller.room.name} now.")


async def deop(chat: Chat, caller: Caller, words: Words) -> Outcome:
    name = words.name()
    await _put(chat, caller, name, Role.MEMBER.word)
    return Outcome(f"{name} does not moderate the room {caller.room.name} any more.")


async def _put(chat: Chat, caller: Caller, name: str, role: str | None) -> bool:
    return await chat.room_changes.put_member(
        caller.session, caller.room, name, role, caller.address
    )


async def msg(chat: Chat, caller: Caller, words: Words) -> Outcome:
    name, text = words.name(), words.rest()
    if not text:
        raise refused("line", "what is to be said is needed after the name")
    room, _ = await chat.room_changes.direct(caller.session, [name], caller.address)
    await chat.messages.say(caller.session, room, text, address=caller.address)
    return Outcome(
        f"{name} can read that in {room.name}.", room="" if caller.streams else room.name
    )


async def leave(chat: Chat, caller: Caller, words: Words) -> Outcome:
    room, session = caller.room, caller.session
    if session.identity in room.members:
        await chat.room_changes.drop_member(session, room, session.name, caller.address)
    chat.presence.leave(room.name, session)
    return Outcome(f"You have left the room {room.name}.", room="lobby")
