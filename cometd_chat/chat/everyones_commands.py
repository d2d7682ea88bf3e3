"""The commands of everyone.

What it is: what a line says, made a call of what the API calls, too; and what came of it, in words.

What it may know: the chat. Not by which way a line came.

Invariant: nobody learns more by a command than by the pages.
"""

from __future__ import annotations

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import Words
from cometd_chat.chat.command_parts import Caller, Outcome
from cometd_chat.chat.people_lookup import Whom
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.errors import NotAllowed, NotFound, RoomNotFound
from cometd_chat.events.texts import refused

#: So many rooms, or people, are listed in a notice.
_LISTED = 50

#: Somebody is looked for in so many rooms.
_LOOKED_FOR = 200


async def nick(chat: Chat, caller: Caller, words: Words) -> Outcome:
    """See `COMMANDS`, here and below."""
    if caller.streams:
        raise NotAllowed(
            "Another name brings another token, which can't be handed out here: take another name "
            "on the page."
        )
    name = words.rest().strip('"')
    if not name:
        raise refused("line", "a name is needed")
    token = await chat.rename(caller.session, name, caller.address)
    return Outcome(f"You are {caller.session.name} now.", token=token)


async def join(chat: Chat, caller: Caller, words: Words) -> Outcome:
    name = words.rest().strip('"').removeprefix("#")
    if not name:
        raise refused("line", "the name of a room is needed")
    if caller.streams:
        raise NotAllowed("This stream stays in its room: open another one for that room.")
    try:
        room = await chat.room(name, caller.session)
    except RoomNotFound:
        chat.rights.require(caller.session, Act.MAKE_ROOM, address=caller.address)
        room = await chat.make_room(caller.session, name, "", caller.address)
        return Outcome(f"The room {room.name} is new.", room=room.name)
    return Outcome(f"This is the room {room.name}.", room=room.name)


async def list_rooms(chat: Chat, caller: Caller, words: Words) -> Outcome:
    rooms, more = chat.rooms.page(None, _LISTED, caller.session)
    lines = [_listed(chat, each) for each in rooms]
    if more:
        lines.append("The page of all rooms has more.")
    return Outcome("\n".join(lines))


def _listed(chat: Chat, room: Room) -> str:
    topic = f": {room.topic}" if room.topic else ""
    return f"{room.name} ({chat.presence.count(room.name)}){topic}"


async def names(chat: Chat, caller: Caller, words: Words) -> Outcome:
    people = chat.presence.people(caller.room.name)
    listed = ", ".join(each.name for each in people[:_LISTED])
    more = chat.presence.count(caller.room.name) - min(len(people), _LISTED)
    return Outcome(f"Here: {listed}" + (f", and {more} more." if more > 0 else "."))


async def whois(chat: Chat, caller: Caller, words: Words) -> Outcome:
    whom = await chat.somebody(words.name(), caller.room)
    rooms, _ = chat.rooms.page(None, _LOOKED_FOR, caller.session)
    there = [
        room.name
        for room in rooms
        if any(each.name == whom.name for each in chat.presence.people(room.name))
    ]
    where = f"in {', '.join(there)}" if there else "not here now"
    return Outcome(f"{whom.name}: {whom.role.word}, {where}.")


async def ignore(chat: Chat, caller: Caller, words: Words) -> Outcome:
    whom = await chat.somebody(words.name(), caller.room)
    if await chat.ignored.ignore(caller.session, whom.identity, whom.name):
        return Outcome(f"You neither hear nor see {whom.name} from now on.")
    return Outcome(f"You ignore {whom.name} already.")


async def unignore(chat: Chat, caller: Caller, words: Words) -> Outcome:
    name = words.name()
    try:
        whom: Whom | None = await chat.somebody(name, caller.room)
    except NotFound:
        whom = None
    if whom is not None and whom.identity in chat.ignored.by(caller.session):
        await chat.ignored.unignore(caller.session, whom.identity, name)
    else:
        # Whoever was called so when they were ignored.
        await chat.ignored.unignore(caller.session, None, name)
    return Outcome(f"You hear and see {name} again.")


async def log_out(chat: Chat, caller: Caller, words: Words) -> Outcome:
    await chat.log_out(caller.session)
    return Outcome("You have logged out.", ended=True)
