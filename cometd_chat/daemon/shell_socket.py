"""The daemon's own socket, for commands from the shell.

What it is: `ShellSocket`, a unix socket in the data directory; a command is a line of JSON, and so
is its answer. `shell_asking` is the other side of it.

What it may know: sockets. Not what a command does.

Invariant: only who runs the daemon, or root, is listened to: the directory and the socket are
theirs alone, and the kernel says who has connected.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from cometd_chat.daemon.shell_asking import SOCKET, Answer, Asked
from cometd_chat.errors import ChatError

#: Bytes of a command at most.
MOST = 64 * 1024

_CREDENTIALS = struct.Struct("3i")


#: Runs a command.
Run = Callable[[Asked], Awaitable[Answer]]


class ShellSocket(Service):
    """Listens in the data directory, which is locked by then.

    :param directory: of the data.
    """

    name = "shell"

    _log = Logger()

    def __init__(self, directory: Path, run: Run, reactor: Any) -> None:
        self._path = directory / SOCKET
        self._run = run
        self._reactor = reactor
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """Listen. A path that is too long for a socket leaves it out: nobody needs it to talk."""
        super().startService()
        # One of a daemon that was killed: this one has the lock.
        with suppress(FileNotFoundError):
            self._path.unlink()
        factory = Factory.forProtocol(_Connection)
        factory.run = self._run  # type: ignore[attr-defined]
        try:
            self._port = self._reactor.listenUNIX(str(self._path), factory, mode=0o600)
        except Exception as error:
            self._log.warn(
                "commands from the shell are not heard: {path} can't be listened at ({reason})",
                path=str(self._path),
                reason=str(error),
            )

    def stopService(self) -> Deferred[None] | None:
        """Listen no longer."""
        super().stopService()
        if self._port is None:
            return None
        port, self._port = self._port, None
        stopping: Deferred[None] | None = port.stopListening()
        return stopping


class _Connection(LineOnlyReceiver):
    """One command."""

    delimiter = b"\n"
    MAX_LENGTH = MOST
    #: Twisted's own of a unix socket.
    transport: Any
    factory: Any

    _log = Logger()

    def connectionMade(self) -> None:
        if not may_command(self.transport.getHandle()):
            self.transport.loseConnection()

    def lineReceived(self, line: bytes) -> None:
        if not may_command(self.transport.getHandle()):
            return
        try:
            asked = msgspec.json.decode(line, type=Asked)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._answer(Answer("That is no command of this release.", failed=True))
            return
        self._log.info("from the shell: {command}", command=asked.command)
        running = Deferred.fromCoroutine(self._do(asked))
        running.addCallbacks(self._answer, self._broken)

    async def _do(self, asked: Asked) -> Answer:
        run: Run = self.factory.run
        try:
            return await run(asked)
        except ChatError as error:
            return Answer(error.detail, failed=True)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("a command from the shell failed", failure)
        self._answer(Answer("Something broke on our side: it is in the log.", failed=True))

    def _answer(self, answer: Answer) -> None:
        self.sendLine(msgspec.json.encode(answer))
        self.transport.loseConnection()


def may_command(connection: socket.socket) -> bool:
    """Whether the other end is of the same user, or root."""
    size = _CREDENTIALS.size
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    except OSError:
        return False
    _, user, _ = _CREDENTIALS.unpack(found)
    return user in (0, os.geteuid())
