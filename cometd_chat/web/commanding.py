"""Commands that come by a request of their own: from programs, and from forms.

What it is: `Commanding`, which runs a line as who sent a request, and lets their browser have what
came of it.

What it may know: the chat's commands, requests. Not what any command does.

Invariant: whoever has another token, or none, by a command is told so by the same answer.
"""

from __future__ import annotations

from typing import Any

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.command_line import command_of
from cometd_chat.chat.command_parts import Caller, Outcome
from cometd_chat.chat.commands import Commands, no_command
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.transports.request import HttpRequest
from cometd_chat.web import answers, parameters
from cometd_chat.web.answers import shielded
from cometd_chat.web.auth import Auth
from cometd_chat.web.peers import Peers


class Commanding:
    """Responds to commands."""

    def __init__(self, chat: Chat, auth: Auth, peers: Peers) -> None:
        self._chat = chat
        self._auth = auth
        self._peers = peers
        self._commands = Commands(chat)

    @shielded
    async def respond(self, request: HttpRequest, name: str) -> bytes:
        """Run the ``line`` of a program."""
        session = await self._auth.speaker(request)
        self._auth.check_csrf(request, session)
        room = await self._chat.room(name, session)
        line = command_of(parameters.string(parameters.json_object(request), "line"))
        if line is None:
            raise no_command()
        outcome = await self.run(request, session, room, line)
        told: dict[str, Any] = {"notice": outcome.notice}
        if outcome.room:
            told["room"] = outcome.room
        if outcome.token is not None:
            told["token"] = outcome.token
        if outcome.ended:
            told["ended"] = True
        return answers.json(request, told)

    async def run(self, request: HttpRequest, session: Session, room: Room, line: str) -> Outcome:
        """Run a line.

        :param line: without its slash.
        :raises ChatError: see `Commands.run`.
        """
        caller = Caller(session, room, self._peers.address(request))
        outcome = await self._commands.run(caller, line)
        if outcome.token is not None:
            self._auth.renew(request, outcome.token)
        if outcome.ended:
            self._auth.clear_cookie(request)
        return outcome
