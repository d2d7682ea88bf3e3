"""How a worker is started: by which command, with which files and variables.

What it is: `Launcher`, which a supervisor calls for each process.

What it may know: options, ports that are bound, the environment. Not how workers fare.

Invariant: a worker has what its supervisor was told, but neither its systemd nor the password of a
database where others could see it. No two that live have the same slot.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from typing import Any

from cometd_chat.daemon.balance import BalanceTable
from cometd_chat.daemon.children import ChildProcess, Owner
from cometd_chat.daemon.ports import BoundPorts
from cometd_chat.daemon.settings import OPTIONS, Options
from cometd_chat.daemon.worker import VARIABLE, Orders

#: What a worker is told of by its orders: the ports are there, and it starts no workers.
_ORDERED = frozenset({"listen", "metrics", "workers"})

#: What systemd says to the process that it started, which is not the worker.
_OF_SYSTEMD = frozenset(
    {
        "JOURNAL_STREAM",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "MAINPID",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)


class Launcher:
    """Starts workers.

    :param options: as they were given.
    :param ports: bound by the time that the first is started, as those of the metrics are.
    :param environ: of this process.
    :param module: the program, which is run by this Python.
    """

    def __init__(
        self,
        options: Options,
        ports: BoundPorts,
        metrics_ports: BoundPorts,
        environ: Mapping[str, str],
        reactor: Any,
        module: str = "cometd_chat.worker",
    ) -> None:
        self._settings = options.settings
        self._arguments, variables = options.handed_on(_ORDERED)
        hidden = _OF_SYSTEMD | {each.variable for each in OPTIONS if each.name in _ORDERED}
        kept = {name: value for name, value in environ.items() if name not in hidden}
        self._environ = {**kept, **variables}
        self._ports = ports
        self._metrics_ports = metrics_ports
        self._reactor = reactor
        self._module = module
        # As many again, and one that comes before another goes: a slot is free once a process is.
        self._slots = 2 * options.settings.workers + 1
        self._table: BalanceTable | None = None

    def launch(self, number: int, slot: int, owner: Owner) -> ChildProcess:
        """Start one; see `supervisor.Launch`.

        :raises OSError: the system starts none.
        """
        if self._table is None:
            self._table = BalanceTable.make(self._slots)
        table = self._table.file

        def orders(control: int) -> Orders:
            return Orders(
                number=number,
                slot=slot,
                slots=self._slots,
                node=f"{self._settings.node or socket.gethostname()}/{number}",
                control=control,
                balance=table,
                listen=self._ports.inherited,
                metrics=self._metrics_ports.inherited,
                reactor=type(self._reactor).__module__,
            )

        return ChildProcess(
            [sys.executable, "-m", self._module, str(number), *self._arguments],
            orders(-1).files,
            lambda control: {**self._environ, VARIABLE: orders(control).as_text()},
            owner,
            self._reactor,
        )

    def forget(self, slot: int) -> None:
        """The process of a slot is gone."""
        if self._table is not None:
            self._table.clear(slot)
