"""How long somebody waits for a database that is elsewhere.

What it is: `Attempt`, what a thread tries until it comes about or nobody waits any more, and
`Deadlines`, which answers whoever has waited long enough.

What it may know: connections, to end one on which a thread waits. Not what is tried.

Invariant: whoever asked is answered within `PATIENCE`, whatever the database does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import psycopg
from psycopg.errors import IdleInTransactionSessionTimeout, ReadOnlySqlTransaction
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from cometd_chat.errors import ChatError
from cometd_chat.log.postgresql.connections import Connection, reason, shut_down

#: Seconds that somebody waits for a database that is out of reach, or stands still.
PATIENCE = 5.0

#: Seconds between two attempts: so many at first, and twice as many each time.
RETRY, MOST_RETRY = 0.02, 0.5

#: What goes by itself, or with another connection: the server is not there, is busy with itself, or
#: is one by now that others write to.
_TROUBLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    IdleInTransactionSessionTimeout,
    ReadOnlySqlTransaction,
)


def is_trouble(error: Exception) -> bool:
    """Whether it makes sense to try again what failed so."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error.orig, _TROUBLE)
    return isinstance(error, _TROUBLE)


def cause(error: Exception) -> str:
    """What is wrong, in a line, without what was said and without the password."""
    orig = error.orig if isinstance(error, DBAPIError) else error
    return reason(orig) if isinstance(orig, Exception) else type(error).__name__


@attrs.define(eq=False)
class Attempt:
    """Something that is tried in a thread.

    :param until: for how long, by the reactor's clock.
    :param refusal: what whoever waits is told then.
    """

    until: float
    refusal: Callable[[], ChatError]
    answer: Deferred[Any] = attrs.field(factory=Deferred)
    #: Nobody waits any more.
    over: bool = False
    #: On which the thread waits; the thread sets it.
    connection: Connection | None = None

    def settle(self, result: Any) -> None:
        """Answer with a result, an error or a failure, unless that was done."""
        if self.over:
            return
        self.over = True
        if isinstance(result, Exception | Failure):
            self.answer.errback(result)
        else:
            self.answer.callback(result)


class Deadlines:
    """Who waits, in the order in which they began. All is called in the reactor's thread.

    :param reactor: whose clock it is.
    :param patience: seconds that each of them waits.
    """

    def __init__(self, reactor: Any, patience: float) -> None:
        self._reactor = reactor
        self._patience = patience
        self._attempts: deque[Attempt] = deque()
        self._timer: IDelayedCall | None = None

    def begin(self, refusal: Callable[[], ChatError]) -> Attempt:
        """Somebody waits from now on."""
        attempt = Attempt(self._reactor.seconds() + self._patience, refusal)
        while self._attempts and self._attempts[0].over:
            self._attempts.popleft()
        self._attempts.append(attempt)
        if self._timer is None:
            self._timer = self._reactor.callLater(self._patience, self._expire)
        return attempt

    def stop(self) -> None:
        """Answer all who still wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._attempts:
            self._give_up(self._attempts.popleft())

    def _expire(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        while self._attempts and (self._attempts[0].over or self._attempts[0].until <= now):
            self._give_up(self._attempts.popleft())
        if self._attempts:
            self._timer = self._reactor.callLater(self._attempts[0].until - now, self._expire)

    def _give_up(self, attempt: Attempt) -> None:
        if attempt.over:
            return
        connection = attempt.connection
        attempt.settle(attempt.refusal())
        # The thread is to go on with what others wait for. If it has done so just now, that is
        # tried again.
        if connection is not None:
            shut_down(connection)
