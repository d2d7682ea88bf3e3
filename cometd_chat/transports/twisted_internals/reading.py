"""What comes in, straight from the poll to its protocol.

What it is: `read_directly`, which gives a reactor a turn of its own.

What it may know: names of Twisted's reactor and transports that `names` has in its table.

Invariant: a protocol hears what it would hear from Twisted's own turn, in the same order. An error
in one is logged with its traceback, ends its connection, and reaches nobody else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python import context, log

from cometd_chat.transports.twisted_internals.names import EPOLL_REACTOR
from cometd_chat.transports.twisted_internals.slotted import LOG_SYSTEM, SlottedServer

#: Where Twisted's log says that things happen while connections are read.
LOG_CONTEXT = {log.ILogContext: {"system": LOG_SYSTEM}}


def read_directly(reactor: object) -> None:
    """Let what comes on connections of `SlottedServer` go to their protocols without detours.

    For each event Twisted makes a context of its log (three dicts), asks once more for the file's
    number, and goes through five calls to get to `recv`. Here one context, which is the same for
    all of these connections, is made a turn. All other events, and the ends of these connections,
    go Twisted's way.

    Nothing is done to a reactor that doesn't wait by epoll(7), as one of a test. It stays so: the
    reactor does the same as before.
    """
    if EPOLL_REACTOR is not None and type(reactor) is EPOLL_REACTOR:
        reactor.doIteration = partial(_turn, reactor)  # type: ignore[method-assign]


def _turn(reactor: Any, timeout: float | None) -> None:
    """Wait for events, and see to all that there are; see `EPollReactor.doPoll`.

    :param timeout: seconds; None for as long as it takes.
    """
    events = reactor._poller.poll(-1 if timeout is None else timeout, len(reactor._selectables))
    if events:
        context.call(LOG_CONTEXT, _see_to, reactor, events)


def _see_to(reactor: Any, events: list[tuple[int, int]]) -> None:
    selectables, readable = reactor._selectables, reactor._POLL_IN
    for fd, event in events:
        # None is one that was closed by what has just been done for another.
        selectable = selectables.get(fd)
        if event == readable and type(selectable) is SlottedServer:
            _read(reactor, selectable)
        elif selectable is not None:
            log.callWithLogger(selectable, reactor._doReadOrWrite, selectable, fd, event)


def _read(reactor: Any, connection: Any) -> None:
    """Take what has come on a connection to its protocol; see `tcp.Connection.doRead`."""
    try:
        data = connection.socket.recv(connection.bufferSize)
    except BlockingIOError:
        return
    except OSError:
        end(reactor, connection, CONNECTION_LOST)
        return
    if data:
        deliver(reactor, connection, connection.protocol.dataReceived, data)
    else:
        end(reactor, connection, CONNECTION_DONE)


def deliver(reactor: Any, connection: Any, tell: Callable[[Any], object], what: object) -> None:
    """Tell a protocol something; an error of its own ends its connection."""
    try:
        tell(what)
    except BaseException as error:
        # Whatever it is, as in Twisted.
        log.err()
        end(reactor, connection, error)


def end(reactor: Any, connection: Any, why: BaseException) -> None:
    """A connection is at its end, or its peer has closed its half; called in `LOG_CONTEXT`.

    :param why: see `EPollReactor._disconnectSelectable`.
    """
    try:
        reactor._disconnectSelectable(connection, why, True)
    except BaseException:
        log.err()
