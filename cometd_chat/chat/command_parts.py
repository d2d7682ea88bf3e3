"""What commands have in common.

What it is: who runs one, what came of it, and a row of their table.

What it may know: sessions and rooms. Not which commands there are.

Invariant: an outcome says all that whoever shows it has to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import SLASH, Words
from cometd_chat.chat.deletions import MOST_MINUTES
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.events.texts import refused


@attrs.frozen
class Caller:
    """Who runs a command.

    :param room: where.
    :param address: where from.
    :param streams: by a stream, which stays where it is, and as whom it was opened.
    """

    session: Session
    room: Room
    address: str
    streams: bool = False


@attrs.frozen
class Outcome:
    """What came of a command.

    :param notice: for whoever ran it alone; one or several lines.
    :param room: where they go on; empty for where they are.
    :param token: theirs from now on; None for the one that they had.
    :param ended: their session is over.
    """

    notice: str
    room: str = ""
    token: str | None = None
    ended: bool = False


#: Does what a command says, with what comes after its name.
Run = Callable[[Chat, Caller, Words], Awaitable[Outcome]]


@attrs.frozen(eq=False)
class Command:
    """A row of the table.

    :param name: without its slash.
    :param arguments: what comes after it, as help shows that.
    :param help: what it does, a sentence without its end.
    :param act: what one has to be allowed in the room, or in the house; None for everybody.
    :param house: the right is one in the house.
    """

    name: str
    arguments: str
    help: str
    act: Act | None
    run: Run
    house: bool = False

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"{SLASH}{self.name} {self.arguments}".rstrip()


def minutes_in(words: Words) -> int | None:
    """The minutes that come next; None for none.

    :raises InvalidRequest: so many make no sense.
    """
    minutes = words.number()
    if minutes is not None and not 1 <= minutes <= MOST_MINUTES:
        raise refused("line", f"1 to {MOST_MINUTES} minutes are possible")
    return minutes
