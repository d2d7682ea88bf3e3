"""``comet-chat policy``, ``ban``, ``room`` and the other commands from the shell.

What it is: what is typed, made a command of `shell_words`, and who runs that: the daemon that has
the data directory, by its socket; or this process, on the database itself, where none has.

What it may know: everything; it joins things, as `service.py` does. But where a daemon runs,
whoever types waits for no import that asking it does not need.

Invariant: two processes never have one file: who finds no socket takes the directory's lock. Where
many nodes have one database, this process is one of them for a moment, and tells the others.
"""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cometd_chat.daemon.shell_asking import Answer, Asked, ask
from cometd_chat.daemon.stderr import print_error
from cometd_chat.shell_words import SHELL


def run(arguments: Sequence[str], reactor: Any = None) -> int:
    """Run a command; the exit status.

    :param arguments: all words of it.
    """
    typed = _parser().parse_args(list(arguments))
    row = SHELL[typed.words]
    values = {name: getattr(typed, name) for name in (*row.takes, *row.options)}
    asked = Asked(row.words, {name: each for name, each in values.items() if each is not None})
    data = Path(typed.data or os.environ.get("COMET_CHAT_DATA") or "comet-chat-data")
    answer = ask(data, asked) or _by_itself(typed, data, asked, reactor)
    if answer.failed:
        print_error(answer.text)
        return 1
    print(answer.text)
    return 0


def _by_itself(typed: Namespace, data: Path, asked: Asked, reactor: Any) -> Answer:
    from cometd_chat.shell_alone import run_alone

    database = typed.database or os.environ.get("COMET_CHAT_DATABASE") or "sqlite:"
    return run_alone(data, database, asked, reactor)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="comet-chat",
        description="Commands for who runs the daemon: by its socket while it runs, and on the "
        "database itself while it does not.",
    )
    _add_places(parser, default=None)
    groups = parser.add_subparsers(required=True, metavar="COMMAND")
    made: dict[str, Any] = {}
    for words, row in SHELL.items():
        group, _, verb = words.partition(" ")
        if group not in made:
            one = groups.add_parser(group)
            made[group] = one.add_subparsers(required=True, metavar="WHAT") if verb else one
        command = made[group].add_parser(verb, help=row.help) if verb else made[group]
        _add_places(command, default=SUPPRESS)
        for name in row.takes:
            command.add_argument(name, metavar=name.upper())
        for name, kind in row.options.items():
            command.add_argument(f"--{name}", type=kind)
        command.set_defaults(words=words)
    return parser


def _add_places(parser: ArgumentParser, default: Any) -> None:
    """Where the data are; before the words of a command, or after them."""
    parser.add_argument("--data", help="the daemon's data directory", default=default)
    parser.add_argument("--database", help="the daemon's database", default=default)
