"""How somebody is told that they may not, and why.

What it is: the refusals of `Rights`, a function each.

What it may know: roles, acts, policies. Not who asks.

Invariant: what a room is called, nobody is told who may not see it.
"""

from __future__ import annotations

from cometd_chat.chat.matrix import NOBODY, SPEAKERS, Act, Calm
from cometd_chat.chat.roles import Role
from cometd_chat.errors import (
    CalmedDown,
    GuestsOff,
    NotAllowed,
    NotBelow,
    RoomNotFound,
    ShuttingDown,
)

#: For programs.
HOW_TO_LOG_IN = 'POST /api/v1/session with {"name": "..."}.'

#: Who it takes, in a sentence.
_ARTICLE = {
    Role.WAITING: "a session",
    Role.GUEST: "somebody who was let in",
    Role.MEMBER: "a member",
    Role.MODERATOR: "a moderator",
    Role.ADMIN: "an admin",
    Role.OWNER: "the owner",
}


def may_not(act: Act, room: str) -> NotAllowed:
    """The refusal by a rule that gives no reason.

    :param room: the name of the room.
    """
    return NotAllowed(f"You may not {act.phrase}{_where(act, room)}.")


def role_needed(act: Act, room: str | None, least: int) -> NotAllowed:
    """The refusal of who is less than an act takes.

    :param room: the name of the room; None for what is in none.
    """
    where = _where(act, room)
    if least >= NOBODY:
        return NotAllowed(f"Nobody may {act.phrase}{where}.")
    needed = Role(least)
    return NotAllowed(
        f"You may not {act.phrase}{where}: that takes {_ARTICLE[needed]}.",
        extra={"needed": needed.word},
    )


def not_below(rank: Role) -> NotBelow:
    """The refusal to touch somebody.

    :param rank: what they are.
    """
    return NotBelow(
        "Nobody touches who is not below them: that takes somebody with a higher role.",
        # Nobody is above an owner.
        extra={
            "role": rank.word,
            **({} if rank is Role.OWNER else {"needed": Role(rank + 1).word}),
        },
    )


def no_such_room() -> RoomNotFound:
    """The refusal for a room that isn't there, or that somebody may not see."""
    return RoomNotFound(
        "There is no such room. The page of the lobby shows those that there are.",
        hint="GET /api/v1/rooms lists them.",
    )


def stopping() -> ShuttingDown:
    """The refusal of a daemon that stops."""
    return ShuttingDown("The daemon is stopping: try again in a moment.", retry_after=1)


def guests_off() -> GuestsOff:
    """The refusal of guests where none may come."""
    return GuestsOff("Only people with an account can come in just now: log in with yours.")


def calmed(calm: Calm) -> CalmedDown:
    """The refusal of who has to be silent while the house is calmed."""
    who = "people with an account" if calm is Calm.MEMBERS else "moderators"
    return CalmedDown(
        f"The house has been calmed: only {who} speak until a moderator ends that.",
        extra={"calm": calm.word, "needed": SPEAKERS[calm].word},
    )


def _where(act: Act, room: str | None) -> str:
    """To go on after an act's phrase."""
    if room is None:
        return ""
    return f" {room}" if act.phrase.endswith(" the room") else f" in the room {room}"
