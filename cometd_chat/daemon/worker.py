"""A worker's side: what it was told at its start, and the words between it and its supervisor.

What it is: `Orders`, and the parts of a daemon that is a worker.

What it may know: an inherited socket, the log, a clock. Not what is served.

Invariant: when the supervisor is gone, the worker stops. It waits neither for the supervisor to
read what it says nor for its log.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import FileLogObserver, Logger

from cometd_chat.daemon.balance import BalanceTable, Share
from cometd_chat.daemon.children import Lines
from cometd_chat.daemon.log_output import as_journal_lines
from cometd_chat.daemon.option_values import Percent
from cometd_chat.daemon.ports import Inherited
from cometd_chat.daemon.settings import Settings
from cometd_chat.daemon.supervisor import LEAVE, PULSE, PULSES, READY, STOP

#: By which a worker is given its orders.
VARIABLE = "COMET_CHAT_WORKER"

#: Seconds for which a worker that is replaced answers what comes by connections that it has, before
#: it closes them. Who sends a request just then would not know whether it was read.
GRACE = 2.0

#: Bytes of memory that a worker is given at least, as its option demands of a daemon.
LEAST_CEILING = 16 * 2**20

#: The number in an endpoint of TCP, and in an address.
_PORT_OF_PEER = re.compile(r"(?<=^tcp:)\d+|(?<=^tcp6:)\d+|(?<=:port=)\d+")
_PORT_OF_ADDRESS = re.compile(r"(?<=:)\d+$")


@attrs.frozen(kw_only=True)
class Orders:
    """What a worker is to be.

    :param number: from 1; another process will have it after this one.
    :param slot: no other process has it at the same time.
    :param slots: how many there can be.
    :param node: the name of the daemon.
    :param control: the descriptor of the socket to the supervisor.
    :param balance: of the table of connections.
    :param listen: the ports of `--listen`.
    :param metrics: that of `--metrics`.
    :param reactor: the module of the reactor to install.
    """

    number: int
    slot: int
    slots: int
    node: str
    control: int
    balance: int
    listen: Sequence[Inherited]
    metrics: Sequence[Inherited]
    reactor: str

    def as_text(self) -> str:
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Orders:
        """Of a supervisor of this release or of another: what isn't known is left out."""
        known = {field.name for field in attrs.fields(cls)}
        values = {name: value for name, value in json.loads(text).items() if name in known}
        for name in ("listen", "metrics"):
            values[name] = tuple(Inherited(**each) for each in values[name])
        return cls(**values)

    def applied_to(self, settings: Settings) -> Settings:
        """What holds for all workers, as this one has it."""
        return attrs.evolve(
            settings,
            listen=tuple(each.description for each in self.listen),
            metrics=self.metrics[0].description if self.metrics else None,
            workers=1,
            # What is given is for all of them together.
            memory_ceiling=part_of(settings.memory_ceiling, settings.workers),
            node=self.node,
            peer=_PORT_OF_PEER.sub(self._own_port, settings.peer),
            peer_address=_PORT_OF_ADDRESS.sub(self._own_port, settings.peer_address),
        )

    def _own_port(self, match: re.Match[str]) -> str:
        """Each living process has a port of its own, where a port was given."""
        port = int(match[0])
        return str(port + self.slot if port else 0)

    @property
    def files(self) -> Sequence[int]:
        """What it inherits, but for its socket."""
        return [self.balance, *(each.descriptor for each in (*self.listen, *self.metrics))]


def part_of(ceiling: int | Percent, workers: int) -> int | Percent:
    """A worker's part of the memory."""
    if isinstance(ceiling, Percent):
        return Percent(ceiling.value / workers)
    return max(LEAST_CEILING, ceiling // workers)


class Link(Service):
    """The socket to the supervisor: says that the worker serves and lives, and is told to stop.

    :param stop: stops the reactor.
    """

    name = "supervisor"
    _log = Logger()

    def __init__(self, control: int, reactor: Any) -> None:
        self._reactor = reactor
        self._socket = socket.socket(fileno=control)
        self._socket.setblocking(False)
        self._lines: Lines | None = None
        self._pulse = LoopingCall(self._say, PULSES)
        self._pulse.clock = reactor
        #: Whether others go on where this one stops.
        self.is_replaced = False
        self._is_told = False

    def startService(self) -> None:
        super().startService()
        self._lines = Lines(self._socket.fileno(), self._told, self._lost, self._reactor)
        self._reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        self._say(READY)
        self._pulse.start(PULSE)

    def _say(self, word: str) -> None:
        # It reads nothing just now, or is gone; the latter its end tells.
        with suppress(OSError):
            self._socket.send(f"{word}\n".encode("ascii"))

    def _told(self, line: bytes) -> None:
        word = line.decode("ascii", "replace")
        if word == LEAVE:
            self.is_replaced = True
        if word in (LEAVE, STOP):
            self._stop()

    def _lost(self) -> None:
        if not self._is_told:
            self._log.warn("the supervisor is gone: this worker stops")
        self._socket.close()
        self._stop()

    def _stop(self) -> None:
        if self._is_told:
            return
        self._is_told = True
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            """It stops already."""


class Departure(Service):
    """The last of a worker's connections: answered for a while, then closed where nothing is under
    way. Its ports are closed by then, and another worker has those who come.

    :param part: lets each connection end with its next answer.
    :param close_idle: closes those that have no request.
    """

    name = "connections"

    def __init__(
        self,
        link: Link,
        part: Callable[[], object],
        close_idle: Callable[[], object],
        clock: Any,
    ) -> None:
        self._link = link
        self._part = part
        self._close_idle = close_idle
        self._clock = clock

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        if not self._link.is_replaced:
            return succeed(None)
        self._part()
        # Of a turn what is due comes first, and then what has come by connections. A worker that
        # was late reads what waits there in between: unread it would be lost, and who sent it cut.
        return deferLater(self._clock, GRACE, deferLater, self._clock, 0, self._close_idle)


class PipeLog:
    """Where a worker's log goes: a pipe that its supervisor reads. What does not go in is dropped
    and counted, for a supervisor that stands still must not stop those who serve.

    :param descriptor: of the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._dropped = 0
        os.set_blocking(descriptor, False)

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        if self._dropped:
            # The last one may have gone in half.
            data = b"\n<4>%d lines of log are lost here\n" % self._dropped + data
        try:
            written = os.write(self._descriptor, data)
        except OSError:
            written = 0
        if written == len(data):
            self._dropped = 0
        else:
            self._dropped += text.count("\n")

    def flush(self) -> None:
        """Nothing is kept."""

    def observer(self) -> FileLogObserver:
        """Writes events, each line with its level in front."""
        return FileLogObserver(self, as_journal_lines)  # type: ignore[arg-type]


def share_of(orders: Orders, count: Callable[[], int], clock: Any, seconds: Any) -> Share:
    """The worker's place in the table of connections."""
    table = BalanceTable(orders.balance, orders.slots)
    return Share(table, orders.slot, count, clock, seconds)
