"""Telling systemd how the daemon is, in its own words (sd_notify(3)).

What it is: `Notifier` sends readiness, a watchdog's pulse and the stop to ``NOTIFY_SOCKET``. The
other half, sockets handed over by systemd, is Twisted's ``systemd:`` endpoint.

What it may know: systemd's environment variables, a clock. Nothing of the chat.

Invariant: the pulse comes from the reactor's own loop, so a stuck reactor is one that goes silent;
and a message that can't be sent stops nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


class Notifier(Service):
    """Says READY=1 when it starts, WATCHDOG=1 while the reactor turns and STOPPING=1 at the end.

    :param address: of the datagram socket; an ``@`` in front marks an abstract one. Without an
        address nothing is said.
    :param watchdog: seconds of silence after which systemd takes the daemon for dead; the pulse
        comes at half of it. None for no pulse.
    :param is_alive: asked before each pulse; without it a turn of the reactor is enough.
    """

    name = "systemd"
    _log = Logger()

    def __init__(
        self,
        address: str | None,
        watchdog: float | None,
        clock: IReactorTime,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self._address = address
        self._watchdog = watchdog
        self._is_alive = is_alive
        self._pulse = LoopingCall(self._beat)
        self._pulse.clock = clock

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        clock: IReactorTime,
        is_alive: Callable[[], bool] = lambda: True,
    ) -> Notifier:
        """A notifier as the variables of sd_notify(3) and sd_watchdog_enabled(3) ask for it."""
        microseconds = environ.get("WATCHDOG_USEC", "")
        meant_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        on = microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0
        watchdog = int(microseconds) / 1_000_000 if on and meant_for_us else None
        return cls(environ.get("NOTIFY_SOCKET") or None, watchdog, clock, is_alive)

    def startService(self) -> None:
        super().startService()
        if self._address is None:
            return
        self._send("READY=1")
        if self._watchdog is not None:
            self._pulse.start(self._watchdog / 2)

    def stopService(self) -> None:
        if self.running:
            self._send("STOPPING=1")
        # The pulse goes on: stopping is work too, and a stop that hangs should be noticed.
        super().stopService()

    def reloading(self) -> None:
        """What serves is about to be replaced; `reloaded` follows."""
        # By the clock that systemd compares it with.
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def reloaded(self) -> None:
        """That is over."""
        self._send("READY=1")

    def show(self, status: str) -> None:
        """What `systemctl status` shows."""
        if self.running:
            self._send(f"STATUS={status}")

    def _beat(self) -> None:
        if self._is_alive():
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message.encode("ascii"), address)
        except OSError as error:
            self._log.warn("systemd did not hear {message}: {error}", message=message, error=error)
