"""The names of the chat's rooms as Bayeux channels.

What it is: from a room's name to a channel's segment and back.

What it may know: rooms. Not who reads them.

Invariant: a room has one channel, and a channel that is written otherwise is none.
"""

from __future__ import annotations

import re

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import RoomNotFound

CHAT = "/chat/"

#: Stands for all rooms, which are read by a wildcard: as the room of a read marker, and where else
#: there is the path of one.
ALL = "*"

_PLAIN = re.compile(r"[a-z0-9_-]+")


def segment_of(room: str) -> str:
    """A room's name as a channel's segment, which has fewer characters. (Interface, section 7)"""
    return room if _PLAIN.fullmatch(room) else "~" + room.encode().hex()


def name_of(channel: str) -> str:
    """The name that a room has, or would have, which has a channel such as ``/chat/lobby``; empty
    for what is nobody's."""
    segment = channel.rpartition("/")[2]
    if not segment.startswith("~"):
        return segment
    try:
        return bytes.fromhex(segment[1:]).decode()
    except ValueError:
        return ""


async def room_of(chat: Chat, channel: str, asker: Session | None) -> Room:
    """The room of a channel such as ``/chat/lobby``.

    :param asker: who names it.
    :raises RoomNotFound: there is none, or that isn't how its channel is written.
    """
    room = await chat.room(name_of(channel), asker)
    if segment_of(room.name) != channel.rpartition("/")[2]:
        raise RoomNotFound(f"The channel of that room is written {segment_of(room.name)}.")
    return room
