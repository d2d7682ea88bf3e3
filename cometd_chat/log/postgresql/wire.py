"""One connection of PostgreSQL's, read and written by the reactor.

What it is: `Wire`, which asks queries without a thread, and hears notifications. None waits for the
answer to another one (libpq's pipeline mode, chapter 34.5 of PostgreSQL's documentation): over a
slow line all that is asked at one time takes one round trip, not one each.

What it may know: libpq by psycopg, a reactor that watches descriptors. Not what is asked.

Invariant: nothing here waits. The reactor watches a duplicate of the descriptor: libpq closes its
own as soon as it finds the connection lost, and its number may be another file's by then.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import pq
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorFDSet, IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from cometd_chat.log.postgresql.connections import Connection, reason, shut_down

#: What comes back: rows of texts.
Rows = list[tuple[bytes | None, ...]]

_GOOD = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


class WireLost(Exception):
    """The connection ended. What was asked may have been done."""


class QueryFailed(Exception):
    """The server refused what was asked; the text is its own."""


@implementer(IReadWriteDescriptor)
class Wire:
    """A connection that the reactor has.

    :param connection: a connection at rest; it is this one's from now on.
    :param heard: told of each notification: its channel and its payload.
    :param lost: told once, and why, when the connection ends, but not by `close`.
    """

    def __init__(
        self,
        connection: Connection,
        reactor: IReactorFDSet,
        heard: Callable[[str, str], None],
        lost: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._reactor = reactor
        self._heard = heard
        self._lost = lost
        #: Who waits for the answers that are on their way, in order.
        self._asked: deque[Deferred[Rows]] = deque()
        self._rows: Rows = []
        self._error: str | None = None
        self._ended: WireLost | None = None
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._fd = os.dup(self._pgconn.socket)
        reactor.addReader(self)

    def ask(self, query: bytes, *parameters: bytes | None) -> Deferred[Rows]:
        """Run a query after those that were asked for before, in a transaction of its own.

        :raises WireLost: the connection ended.
        :raises QueryFailed: the server refused it.
        """
        if self._ended is not None:
            return fail(self._ended)
        answer: Deferred[Rows] = Deferred()
        self._asked.append(answer)
        self._guarded(lambda: self._send(query, parameters))
        return answer

    def close(self, why: str = "closed") -> None:
        """End it; all that was asked fails."""
        self._end(why)

    def shut_down(self) -> None:
        """End it as if the network had: for one that does not answer."""
        if self._ended is None:
            shut_down(self._connection)

    # What the reactor calls.

    def fileno(self) -> int:
        """The duplicate; -1 once it is closed."""
        return self._fd

    def logPrefix(self) -> str:
        """What its lines in the log begin with."""
        return "postgresql"

    def doRead(self) -> None:
        """Something came."""
        self._guarded(self._read)

    def doWrite(self) -> None:
        """There is room for more."""
        self._guarded(self._flush)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave it up."""
        self._fail(reason.getErrorMessage())

    # Inside.

    def _guarded(self, act: Callable[[], None]) -> None:
        if self._ended is not None:
            return
        try:
            act()
        except psycopg.Error as error:
            self._fail(reason(error))

    def _send(self, query: bytes, parameters: Sequence[bytes | None]) -> None:
        self._pgconn.send_query_params(query, parameters)
        # Each by itself: where one is refused, the next one is run.
        self._pgconn.pipeline_sync()
        self._flush()

    def _flush(self) -> None:
        if self._pgconn.flush():
            self._reactor.addWriter(self)
        else:
            self._reactor.removeWriter(self)

    def _read(self) -> None:
        pgconn = self._pgconn
        pgconn.consume_input()
        # First what others did, then what was found when they had done it.
        while self._ended is None and (notice := pgconn.notifies()) is not None:
            self._heard(notice.relname.decode(), notice.extra.decode())
        while self._ended is None and self._asked and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                # The end of one query's results, or of what has come.
                result = pgconn.get_result() if not pgconn.is_busy() else None
                if result is None:
                    return
            self._take(result)

    def _take(self, result: Any) -> None:
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            self._answer()
        elif result.status in _GOOD:
            columns = range(result.nfields)
            get = result.get_value
            self._rows += [
                tuple([get(row, column) for column in columns]) for row in range(result.ntuples)
            ]
        else:
            self._error = result.get_error_message()

    def _answer(self) -> None:
        answer = self._asked.popleft()
        rows, error = self._rows, self._error
        self._rows, self._error = [], None
        if error is None:
            answer.callback(rows)
        else:
            answer.errback(QueryFailed(error.strip().splitlines()[0]))

    def _fail(self, why: str) -> None:
        if self._ended is None:
            self._end(why)
            self._lost(why)

    def _end(self, why: str) -> None:
        if self._ended is not None:
            return
        self._ended = WireLost(why)
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        os.close(self._fd)
        self._fd = -1
        self._connection.close()
        while self._asked:
            self._asked.popleft().errback(self._ended)
