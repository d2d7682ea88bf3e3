"""Open files are kept back from connections, and the log says once a minute that they are.

What it is: `Listener`, which stands between a port and its socket, and `Shortage`, which tells.

What it may know: sockets, Twisted's ports. Nothing of what comes by a connection, nor from where.

Invariant: a connection never takes the last open files of the process: those that the database, a
page or a module that is loaded late needs are there, however many come.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

#: Seconds between two lines.
EVERY = 60.0

#: Seconds after which a port looks again, where the system has no open file left at all.
LOOK_AGAIN = 1.0

#: So many connections are closed in one turn of the reactor.
MOST_AT_ONCE = 64

#: What accept(2) says when there is nothing left to have a connection with.
_NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Shortage:
    """What the log is told.

    :param seconds: the time, by a clock that is never set.
    :param limit: how many files the process may have open.
    """

    _log = Logger()

    def __init__(self, seconds: Callable[[], float], limit: int) -> None:
        self._seconds = seconds
        self._limit = limit
        self._next = -EVERY
        self._unsaid = 0

    def note(self, why: str = "") -> None:
        """A connection was closed, or could not be had.

        :param why: what the system said.
        """
        self._unsaid += 1
        now = self._seconds()
        if now < self._next:
            return
        self._next = now + EVERY
        closed, self._unsaid = self._unsaid, 0
        self._log.warn(
            "no open files are left for new connections (limit {limit}{why}): {closed} closed at "
            "once, those that are there go on; raise LimitNOFILE or ulimit -n and restart, or let "
            "an address have fewer by --connections-per-address",
            limit=self._limit,
            why=f", {why}" if why else "",
            closed=closed,
        )


class Listener:
    """The socket of a port, as far as the port knows; all but `accept` is the socket's.

    :param most: a connection whose file has this number or a higher one is closed. Numbers are
        given out from the lowest that is free, so that there are as many open files then.
    :param look_later: called when the system has nothing left.
    """

    def __init__(
        self,
        listening: socket.socket,
        most: int,
        shortage: Shortage,
        look_later: Callable[[], None],
    ) -> None:
        self._listening = listening
        self._most = most
        self._shortage = shortage
        self._look_later = look_later

    def accept(self) -> tuple[socket.socket, Any]:
        """See accept(2).

        :raises BlockingIOError: there is no connection now, or none can be had.
        """
        for _ in range(MOST_AT_ONCE):
            try:
                client, address = self._listening.accept()
            except OSError as error:
                if error.errno not in _NOTHING_LEFT:
                    raise
                self._shortage.note(errno.errorcode[error.errno])
                self._look_later()
                break
            if client.fileno() < self._most:
                return client, address
            client.close()
            self._shortage.note()
        raise BlockingIOError(errno.EWOULDBLOCK, "no connection can be had")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listening, name)


def keep_back(port: object, reactor: IReactorTime, most: int, shortage: Shortage) -> None:
    """Let the connections of a port have no file with a number from ``most`` on."""
    if not isinstance(port, tcp.Port):
        return

    def go_on() -> None:
        if port.connected and not port.disconnecting:
            port.startReading()

    def look_later() -> None:
        # The connection that can't be had goes on waiting, and would be looked at in every turn.
        port.stopReading()
        reactor.callLater(LOOK_AGAIN, go_on)

    port.socket = Listener(port.socket, most, shortage, look_later)
