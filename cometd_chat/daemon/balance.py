"""Connections spread evenly over the processes that share a port.

What it is: a table in memory that all of them have, a place in it for each, and what stands between
a port and its socket: whoever has a tenth more connections than the one with the fewest lets that
one go first.

What it may know: shared memory, sockets, Twisted's ports. Nothing of what comes by a connection.

Invariant: nobody waits for one that can't come: who stops leaves the table, the place of a process
that ended is cleared, and one that has not been heard for `HEARD_WITHIN` counts no more. A wait is
over after `WAIT`, whatever the others do.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
from collections.abc import Callable
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet import tcp
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

#: Seconds for which whoever has more lets others accept first.
WAIT = 0.005

#: How much more than the least is more.
MORE = 1.1

#: Seconds between two notes of how many connections there are.
EVERY = 0.1

#: Seconds after which one that has written nothing is not waited for.
HEARD_WITHIN = 0.5

_ABSENT = -1


class BalanceTable:
    """How many connections each process has.

    :param file: a descriptor of memory that all of them have, of this process's own.
    :param slots: how many there are.
    """

    def __init__(self, file: int, slots: int) -> None:
        self.file = file
        self.slots = slots
        # A number is written and read by one store of eight bytes, so that it is whole.
        self._memory = mmap.mmap(file, max(slots, 1) * 16)
        self._numbers = memoryview(self._memory).cast("q")

    @classmethod
    def make(cls, slots: int) -> BalanceTable:
        """A table in which nobody is. Its memory has no name: it is gone with the last who has it.

        :raises OSError: the system has none.
        """
        file = os.memfd_create("comet-chat", os.MFD_CLOEXEC)
        os.ftruncate(file, max(slots, 1) * 16)
        table = cls(file, slots)
        for slot in range(slots):
            table.clear(slot)
        return table

    def write(self, slot: int, count: int, now: float) -> None:
        """Note how many connections the process of a slot has.

        :param now: seconds, by the machine's monotonic clock.
        """
        self._numbers[2 * slot + 1] = int(now * 1e9)
        self._numbers[2 * slot] = count

    def clear(self, slot: int) -> None:
        """Nobody is there."""
        self._numbers[2 * slot] = _ABSENT

    def least_but(self, slot: int, now: float) -> int | None:
        """The fewest connections that another one has; None when there is no other one."""
        oldest = int((now - HEARD_WITHIN) * 1e9)
        numbers = self._numbers
        counts = [
            numbers[each]
            for each in range(0, 2 * self.slots, 2)
            if each != 2 * slot and numbers[each] != _ABSENT and numbers[each + 1] >= oldest
        ]
        return min(counts, default=None)

    def close(self) -> None:
        self._numbers.release()
        self._memory.close()
        os.close(self.file)


class Share(Service):
    """This process's place in the table.

    :param count: tells how many connections it has.
    :param seconds: the machine's monotonic clock.
    """

    name = "balance"

    def __init__(
        self,
        table: BalanceTable,
        slot: int,
        count: Callable[[], int],
        clock: IReactorTime,
        seconds: Callable[[], float],
    ) -> None:
        self._table = table
        self._slot = slot
        self._count = count
        self._clock = clock
        self._seconds = seconds
        self._writing = LoopingCall(self.note)
        self._writing.clock = clock

    def startService(self) -> None:
        super().startService()
        self._writing.start(EVERY)

    def stopService(self) -> None:
        super().stopService()
        self._writing.stop()
        self._table.clear(self._slot)

    def note(self, more: int = 0) -> None:
        """Write how many connections there are.

        :param more: that are not counted yet.
        """
        if self.running:
            self._table.write(self._slot, self._count() + more, self._seconds())

    def has_more(self) -> bool:
        """Whether it is for others to accept."""
        least = self._table.least_but(self._slot, self._seconds())
        return least is not None and self._count() > least * MORE

    def watch(self, port: object) -> None:
        """Let a port wait for others."""
        if isinstance(port, tcp.Port):
            port.socket = BalancedSocket(port.socket, port, self, self._clock)


@attrs.define(slots=False)
class BalancedSocket:
    """The socket of a port, as far as the port knows; all but `accept` is the socket's."""

    _listening: socket.socket
    _port: Any
    _share: Share
    _clock: IReactorTime
    #: Whether it has waited: one is accepted then, whoever has more.
    _waited: bool = False

    def accept(self) -> tuple[socket.socket, Any]:
        """See accept(2).

        :raises BlockingIOError: there is no connection, or it is for others.
        """
        waited, self._waited = self._waited, False
        if not waited and self._share.has_more():
            self._port.stopReading()
            self._clock.callLater(WAIT, self._go_on)
            raise BlockingIOError(errno.EWOULDBLOCK, "others have fewer")
        accepted = self._listening.accept()
        self._share.note(1)
        return accepted

    def _go_on(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._waited = True
            self._port.startReading()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listening, name)
