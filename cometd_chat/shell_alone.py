"""Commands from the shell where no daemon runs.

What it is: as much of a daemon as a command needs, for as long as that takes.

What it may know: everything; it joins things, as `service.py` does.

Invariant: that of `shell_command`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from cometd_chat import shell_table
from cometd_chat.chat_parts import build_chat
from cometd_chat.comet import CometEngine, Reaper
from cometd_chat.daemon.data_directory import DataDirectory
from cometd_chat.daemon.lifecycle import CannotStart, FunctionService, OrderedServices
from cometd_chat.daemon.machine import memory_ceiling
from cometd_chat.daemon.option_values import parse_database
from cometd_chat.daemon.settings import Settings
from cometd_chat.daemon.shell_asking import Answer, Asked
from cometd_chat.errors import ChatError
from cometd_chat.storage import build_storage
from cometd_chat.transports.budget import MemoryBudget


def run_alone(data: Path, database: str, asked: Asked, reactor: Any = None) -> Answer:
    """Run a command; what can't be is an answer that says why.

    :param database: as ``--database`` has it.
    """
    try:
        return by_itself(_settings(data, database), asked, reactor)
    except (CannotStart, ChatError) as error:
        return Answer(str(error), failed=True)


def _settings(data: Path, database: str) -> Settings:
    try:
        parsed = parse_database(database)
    except ValueError as error:
        raise CannotStart(f"--database: {error}") from None
    if not parsed.is_postgresql and not (data / "chat.sqlite").exists():
        raise CannotStart(
            f"--data {data}: there is no chat.sqlite in it; name the daemon's directory"
        )
    return Settings(data=data, database=parsed)


def by_itself(settings: Settings, asked: Asked, reactor: Any = None) -> Answer:
    """Run a command on the database itself."""
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
        MemoryBudget(memory_ceiling(settings)),
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
