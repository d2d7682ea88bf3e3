"""``comet-chat policy``, ``ban``, ``room`` and the other commands from the shell.

What it is: what is typed, made a command of `shell_table`, and who runs that: the daemon that has
the data directory, by its socket; or this process, on the database itself, where none has.

What it may know: everything; it joins things, as `service.py` does.

Invariant: two processes never have one file: who finds no socket takes the directory's lock. Where
many nodes have one database, this process is one of them for a moment, and tells the others.
"""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from cometd_chat import shell_table
from cometd_chat.daemon.data_directory import DataDirectory
from cometd_chat.daemon.lifecycle import CannotStart, FunctionService, OrderedServices
from cometd_chat.daemon.option_values import parse_database
from cometd_chat.daemon.settings import Settings, print_error
from cometd_chat.daemon.shell_socket import Answer, Asked, ask
from cometd_chat.errors import ChatError
from cometd_chat.shell_table import SHELL


def run(arguments: Sequence[str], reactor: Any = None) -> int:
    """Run a command; the exit status.

    :param arguments: all words of it.
    """
    parser = _parser()
    typed = parser.parse_args(list(arguments))
    try:
        answer = _run(typed, reactor)
    except (CannotStart, ChatError) as error:
        print_error(str(error))
        return 1
    if answer.failed:
        print_error(answer.text)
        return 1
    print(answer.text)
    return 0


def _run(typed: Namespace, reactor: Any) -> Answer:
    row = SHELL[typed.words]
    values = {name: getattr(typed, name) for name in (*row.takes, *row.options)}
    asked = Asked(row.words, {name: each for name, each in values.items() if each is not None})
    data = Path(typed.data or os.environ.get("COMET_CHAT_DATA") or "comet-chat-data")
    answer = ask(data, asked)
    if answer is not None:
        return answer
    database = typed.database or os.environ.get("COMET_CHAT_DATABASE") or "sqlite:"
    try:
        parsed = parse_database(database)
    except ValueError as error:
        raise CannotStart(f"--database: {error}") from None
    if not parsed.is_postgresql and not (data / "chat.sqlite").exists():
        raise CannotStart(
            f"--data {data}: there is no chat.sqlite in it; name the daemon's directory"
        )
    return by_itself(Settings(data=data, database=parsed), asked, reactor)


def by_itself(settings: Settings, asked: Asked, reactor: Any = None) -> Answer:
    """Run a command on the database itself."""
    # Whoever asks a daemon needs none of it.
    from cometd_chat.chat_parts import build_chat
    from cometd_chat.comet import CometEngine, Reaper
    from cometd_chat.service import build_stats
    from cometd_chat.storage import build_storage

    if reactor is None:
        from twisted.internet import reactor
    engine = CometEngine(reactor, Reaper(reactor, 1.0))
    data = DataDirectory(settings.data)
    storage = build_storage(settings, data, engine.reaper, reactor)
    cluster = storage.cluster
    chat = build_chat(
        settings,
        engine,
        storage.log,
        storage.store,
        storage.directory,
        build_stats(settings).memory,
        reactor,
        None if cluster is None else cluster.neighbours,
    )
    nodes = (
        ()
        if cluster is None
        else (FunctionService("node", begin=cluster.nodes.start, end=cluster.nodes.stop),)
    )
    parts = OrderedServices(
        [
            *(() if settings.database.is_postgresql else (data,)),
            *storage.services,
            *nodes,
            FunctionService("feed", begin=lambda: chat.start([]), end=chat.feed.stop),
            FunctionService("readers", end=chat.stop),
        ],
        reactor,
    )
    parts.startService()
    outcome: list[Answer | Failure] = []

    def done(result: Answer | Failure) -> Deferred[None]:
        outcome.append(result)
        return parts.stopService().addBoth(lambda _: reactor.stop())

    def begin() -> None:
        Deferred.fromCoroutine(shell_table.run(chat, asked)).addBoth(done)

    reactor.callWhenRunning(begin)
    reactor.run()
    (result,) = outcome
    if isinstance(result, Failure):
        result.raiseException()
    assert isinstance(result, Answer)
    return result


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
