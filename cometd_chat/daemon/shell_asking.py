"""Asking a daemon that runs to run a command from the shell.

What it is: what goes through the socket of `shell_socket`, and `ask`, the other side of that.

What it may know: sockets. Nothing of the daemon, and no Twisted: whoever typed the command waits
for what is imported here.

Invariant: whatever is waited for has a limit.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import attrs
import msgspec

#: What the socket is called in the data directory.
SOCKET = "shell"

#: Seconds that the answer is waited for.
PATIENCE = 60.0


@attrs.frozen
class Asked:
    """A command from the shell.

    :param command: its words, such as ``ban add``.
    :param values: what was given with it, by name.
    """

    command: str
    values: dict[str, Any]


@attrs.frozen
class Answer:
    """What came of it.

    :param text: for whoever typed it; several lines, perhaps.
    :param failed: it was not done, and the text says why.
    """

    text: str
    failed: bool = False


def ask(directory: Path, asked: Asked) -> Answer | None:
    """Have a daemon run a command. Blocks.

    :param directory: of its data.
    :returns: None where no daemon listens there.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(str(directory / SOCKET))
        except OSError:
            return None
        try:
            connection.sendall(msgspec.json.encode(asked) + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
        except OSError:
            line = b""
    if not line:
        return Answer(
            "The daemon closed the connection: it listens to its own user alone, and may be "
            "stopping.",
            failed=True,
        )
    return msgspec.json.decode(line, type=Answer)
