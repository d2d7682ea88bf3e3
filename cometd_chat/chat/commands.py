"""Commands: what somebody does by a line that begins with a slash.

What it is: `COMMANDS`, the one table of them, and `Commands`, which runs one and says what came of
it; each calls what the API calls, too.

What it may know: the chat. Not by which way a line came, nor how an answer is shown.

Invariant: a command that is not in the table is refused, and never said aloud; what somebody may
not do is not offered to them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import SLASH, Words
from cometd_chat.chat.deletions import MOST_MINUTES, Whom
from cometd_chat.chat.limits import MESSAGES
from cometd_chat.chat.rights import Act
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import InvalidRequest, NotAllowed, RoomNotFound
from cometd_chat.events.texts import refused

#: So many rooms, or people, are listed in a notice.
_LISTED = 50


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


@attrs.frozen(eq=False)
class Command:
    """A row of the table.

    :param name: without its slash.
    :param arguments: what comes after it, as help shows that.
    :param help: what it does, a sentence without its end.
    :param act: what one has to be allowed in the room, or in the house; None for everybody.
    :param run: does it.
    :param house: the right is one in the house.
    """

    name: str
    arguments: str
    help: str
    act: Act | None
    run: Callable[[Commands, Caller, Words], Awaitable[Outcome]]
    house: bool = False

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"{SLASH}{self.name} {self.arguments}".rstrip()


class Commands:
    """Runs commands."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    async def run(self, caller: Caller, line: str) -> Outcome:
        """Run one.

        :param line: without its slash.
        :raises InvalidRequest: there is no such command, or it lacks something; nothing was done.
        :raises ChatError: it could not be done.
        """
        chat, session = self.chat, caller.session
        chat.limits.take(MESSAGES, session=session.identity, address=caller.address)
        typed, _, rest = line.partition(" ") if " " in line else (line, "", "")
        name, _, more = typed.partition("\n")
        command = COMMANDS.get(name.lower())
        if command is None:
            shown = f"{SLASH}{name[:32]}"
            raise refused("line", f"there is no {shown}; {SLASH}help lists them")
        if command.act is not None:
            self._require(caller, command)
        words = Words(f"{more} {rest}", self._known(caller))
        return await command.run(self, caller, words)

    def may(self, caller: Caller, command: Command) -> bool:
        """Whether somebody is offered a command."""
        if command.act is None:
            return True
        room = None if command.house else caller.room
        return self.chat.rights.may(caller.session, command.act, room, caller.address) is None

    def _require(self, caller: Caller, command: Command) -> None:
        rooms = [] if command.house else [caller.room]
        assert command.act is not None
        self.chat.rights.require(caller.session, command.act, rooms, caller.address)

    def _known(self, caller: Caller) -> Sequence[str]:
        """Names that may be meant by an ``@``."""
        return [each.name for each in self.chat.presence.people(caller.room.name)]

    async def somebody(self, caller: Caller, words: Words) -> Whom:
        """Whom the next name means."""
        return await self.chat.somebody(words.name(), caller.room)

    # -- for everyone

    async def help(self, caller: Caller, words: Words) -> Outcome:
        asked = words.word().removeprefix(SLASH).lower()
        offered = [each for each in COMMANDS.values() if self.may(caller, each)]
        if asked:
            found = COMMANDS.get(asked)
            if found is None or found not in offered:
                raise refused("line", f"there is no {SLASH}{asked[:32]}; {SLASH}help lists them")
            return Outcome(f"{found.usage}: {found.help}.")
        lines = [f"{each.usage}: {each.help}." for each in offered]
        lines.append(
            f"A name with spaces is quoted, or follows an @. A line that begins with {SLASH * 2} "
            f"says a {SLASH}."
        )
        return Outcome("\n".join(lines))

    async def nick(self, caller: Caller, words: Words) -> Outcome:
        if caller.streams:
            raise NotAllowed(
                "Another name brings another token, which can't be handed out here: take another "
                "name on the page."
            )
        name = words.rest().strip('"')
        if not name:
            raise refused("line", "a name is needed")
        token = await self.chat.rename(caller.session, name, caller.address)
        return Outcome(f"You are {caller.session.name} now.", token=token)

    async def join(self, caller: Caller, words: Words) -> Outcome:
        name = words.rest().strip('"').removeprefix("#")
        if not name:
            raise refused("line", "the name of a room is needed")
        if caller.streams:
            raise NotAllowed("This stream stays in its room: open another one for that room.")
        try:
            room = await self.chat.room(name, caller.session)
        except RoomNotFound:
            self.chat.rights.require(caller.session, Act.MAKE_ROOM, address=caller.address)
            room = await self.chat.make_room(caller.session, name, "", caller.address)
            return Outcome(f"The room {room.name} is new.", room=room.name)
        return Outcome(f"This is the room {room.name}.", room=room.name)

    async def leave(self, caller: Caller, words: Words) -> Outcome:
        self.chat.presence.leave(caller.room.name, caller.session)
        return Outcome(f"You have left the room {caller.room.name}.", room="lobby")

    async def list(self, caller: Caller, words: Words) -> Outcome:
        rooms, more = self.chat.rooms.page(None, _LISTED, caller.session)
        lines = [self._listed(each) for each in rooms]
        if more:
            lines.append("The page of all rooms has more.")
        return Outcome("\n".join(lines))

    def _listed(self, room: Room) -> str:
        count = self.chat.presence.count(room.name)
        topic = f": {room.topic}" if room.topic else ""
        return f"{room.name} ({count}){topic}"

    async def names(self, caller: Caller, words: Words) -> Outcome:
        people = self.chat.presence.people(caller.room.name)
        names = ", ".join(each.name for each in people[:_LISTED])
        more = self.chat.presence.count(caller.room.name) - min(len(people), _LISTED)
        return Outcome(f"Here: {names}" + (f", and {more} more." if more > 0 else "."))

    async def whois(self, caller: Caller, words: Words) -> Outcome:
        whom = await self.somebody(caller, words)
        here = [
            room.name
            for room in self.chat.rooms.page(None, 200, caller.session)[0]
            if any(each.name == whom.name for each in self.chat.presence.people(room.name))
        ]
        where = f"in {', '.join(here)}" if here else "not here now"
        return Outcome(f"{whom.name}: {whom.role.word}, {where}.")

    async def log_out(self, caller: Caller, words: Words) -> Outcome:
        await self.chat.log_out(caller.session)
        return Outcome("You have logged out.", ended=True)

    # -- for moderators

    async def purge(self, caller: Caller, words: Words) -> Outcome:
        whom = await self.somebody(caller, words)
        minutes = _minutes(words)
        await self.chat.deletions.purge(
            caller.session, caller.room, whom, minutes, words.rest(), address=caller.address
        )
        what = "All" if minutes is None else f"All of the last {_counted(minutes)}"
        return Outcome(
            f"{what} that {whom.name} said in this room is gone. {SLASH}unpurge brings it back, "
            "within half an hour."
        )

    async def unpurge(self, caller: Caller, words: Words) -> Outcome:
        purge = await self.chat.deletions.newest(caller.session, caller.room)
        await self.chat.deletions.undo(
            caller.session, caller.room, purge.id, address=caller.address
        )
        return Outcome("What was purged last in this room is back.")


def _minutes(words: Words) -> int | None:
    minutes = words.number()
    if minutes is not None and not 1 <= minutes <= MOST_MINUTES:
        raise refused("line", f"1 to {MOST_MINUTES} minutes are possible")
    return minutes


def _counted(minutes: int) -> str:
    return "minute" if minutes == 1 else f"{minutes} minutes"


_ROWS = (
    Command("nick", "NAME", "gives you another name", Act.OWN_ACCOUNT, Commands.nick, house=True),
    Command("join", "ROOM", "goes to a room, and makes it if it isn't there", None, Commands.join),
    Command("leave", "", "leaves this room", None, Commands.leave),
    Command("list", "", "lists the rooms", None, Commands.list),
    Command("names", "", "lists who is here", Act.SEE, Commands.names),
    Command("whois", "NAME", "says who somebody is", None, Commands.whois),
    Command("help", "[COMMAND]", "says what there is", None, Commands.help),
    Command("logout", "", "ends your session", None, Commands.log_out),
    Command(
        "purge",
        "NAME [MINUTES] [REASON]",
        "takes away all that somebody said here, or did in the last minutes",
        Act.PURGE,
        Commands.purge,
    ),
    Command("unpurge", "", "brings back what was purged last here", Act.PURGE, Commands.unpurge),
)

#: The commands by their names.
COMMANDS: Mapping[str, Command] = {row.name: row for row in _ROWS}


def no_command() -> InvalidRequest:
    """The refusal of what is none."""
    return refused("line", f"a line is needed that begins with a {SLASH}")
