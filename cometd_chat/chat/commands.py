"""Commands: what somebody does by a line that begins with a slash.

What it is: `COMMANDS`, the one table of them, and `Commands`, which runs one.

What it may know: the chat. Not by which way a line came, nor how an answer is shown.

Invariant: a command that is not in the table is refused, and never said aloud; what somebody may
not do is not offered to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cometd_chat.chat import everyones_commands as everyone
from cometd_chat.chat import moderator_commands as moderators
from cometd_chat.chat import room_commands as rooms
from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import SLASH, Words
from cometd_chat.chat.command_parts import Caller, Command, Outcome
from cometd_chat.chat.limits import MESSAGES
from cometd_chat.chat.rights import Act
from cometd_chat.errors import InvalidRequest
from cometd_chat.events.texts import refused

_WHAT = "NAME [here] [MINUTES] [REASON]"


async def _help(chat: Chat, caller: Caller, words: Words) -> Outcome:
    asked = words.word().removeprefix(SLASH).lower()
    offered = [each for each in COMMANDS.values() if may_run(chat, caller, each)]
    if asked:
        found = COMMANDS.get(asked)
        if found is None or found not in offered:
            raise _unknown(asked)
        return Outcome(f"{found.usage}: {found.help}.")
    lines = [f"{each.usage}: {each.help}." for each in offered]
    lines.append(
        "A name with spaces is quoted, or follows an @. A line that begins with "
        f"{SLASH * 2} says a {SLASH}."
    )
    return Outcome("\n".join(lines))


_ROWS = (
    Command("nick", "NAME", "gives you another name", Act.OWN_ACCOUNT, everyone.nick, house=True),
    Command("join", "ROOM", "goes to a room, and makes it if it isn't there", None, everyone.join),
    Command(
        "msg", "NAME TEXT", "says something to somebody alone", Act.DIRECT, rooms.msg, house=True
    ),
    Command("leave", "", "leaves this room", None, rooms.leave),
    Command("list", "", "lists the rooms", None, everyone.list_rooms),
    Command("names", "", "lists who is here", Act.SEE, everyone.names),
    Command("whois", "NAME", "says who somebody is", None, everyone.whois),
    Command("topic", "[TEXT]", "shows the topic, or changes it", None, rooms.topic),
    Command("invite", "NAME", "lets somebody belong to this room", Act.INVITE, rooms.invite),
    Command(
        "ignore",
        "NAME",
        "lets you neither hear nor see somebody",
        Act.IGNORE,
        everyone.ignore,
        house=True,
    ),
    Command(
        "unignore", "NAME", "lets you hear them again", Act.IGNORE, everyone.unignore, house=True
    ),
    Command("help", "[COMMAND]", "says what there is", None, _help),
    Command("logout", "", "ends your session", None, everyone.log_out),
    Command("kick", _WHAT, "sends somebody away for a while", Act.SANCTION, moderators.kick),
    Command(
        "ban",
        "NAME|guests [here] [network] [MINUTES] [REASON]",
        "keeps somebody out, or all from their network, or from those of the guests who spoke",
        Act.SANCTION,
        moderators.ban,
    ),
    Command("unban", "NAME", "lets them in again", Act.SANCTION, moderators.unban),
    Command("bans", "", "lists who is silenced or kept out", Act.SEE_SANCTIONS, moderators.bans),
    Command("silence", _WHAT, "lets somebody say nothing", Act.SANCTION, moderators.silence),
    Command("unsilence", "NAME", "lets them speak again", Act.SANCTION, moderators.unsilence),
    Command(
        "purge",
        "NAME|guests [MINUTES] [REASON]",
        "takes away all that somebody said here, or they or all guests did in the last minutes",
        Act.PURGE,
        moderators.purge,
    ),
    Command("unpurge", "", "brings back what was purged last here", Act.PURGE, moderators.unpurge),
    Command(
        "slow",
        "SECONDS|off",
        "lets everybody wait between two messages here",
        Act.CHANGE_ROOM,
        rooms.slow,
    ),
    Command("lock", "", "lets only moderators speak here", Act.CHANGE_ROOM, rooms.lock),
    Command("unlock", "", "lets everybody speak here again", Act.CHANGE_ROOM, rooms.unlock),
    Command("op", "NAME", "lets somebody moderate this room", Act.CHANGE_MEMBERS, rooms.op),
    Command("deop", "NAME", "takes that back", Act.CHANGE_MEMBERS, rooms.deop),
    Command(
        "calm",
        "[off|slow|members|closed]",
        "says who speaks for now, in all rooms",
        Act.CALM,
        moderators.calm,
        house=True,
    ),
)

#: The commands by their names.
COMMANDS: Mapping[str, Command] = {row.name: row for row in _ROWS}


class Commands:
    """Runs commands."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def run(self, caller: Caller, line: str) -> Outcome:
        """Run one.

        :param line: without its slash.
        :raises InvalidRequest: there is no such command, or it lacks something; nothing was done.
        :raises ChatError: it could not be done.
        """
        chat = self._chat
        chat.limits.take(MESSAGES, session=caller.session.identity, address=caller.address)
        name, rest = _split(line)
        command = COMMANDS.get(name.lower())
        if command is None:
            raise _unknown(name)
        if command.act is not None:
            where = [] if command.house else [caller.room]
            chat.rights.require(caller.session, command.act, where, caller.address)
        return await command.run(chat, caller, Words(rest, self._known(caller)))

    def _known(self, caller: Caller) -> Sequence[str]:
        """Names that may be meant by an ``@``."""
        return [each.name for each in self._chat.presence.people(caller.room.name)]


def may_run(chat: Chat, caller: Caller, command: Command) -> bool:
    """Whether somebody is offered a command."""
    if command.act is None:
        return True
    room = None if command.house else caller.room
    return chat.rights.may(caller.session, command.act, room, caller.address) is None


def _split(line: str) -> tuple[str, str]:
    """The name of a command, which follows its slash at once, and all else."""
    end = next((at for at, each in enumerate(line) if each.isspace()), len(line))
    return line[:end], line[end:]


def _unknown(name: str) -> InvalidRequest:
    return refused("line", f"there is no {SLASH}{name[:32]}; {SLASH}help lists them")


def no_command() -> InvalidRequest:
    """The refusal of what is none."""
    return refused("line", f"a line is needed that begins with a {SLASH}")
