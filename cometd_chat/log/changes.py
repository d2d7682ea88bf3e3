"""Changes that all nodes must know of, by one way for one process and for many.

What it is: `Changes`, the seam, and its two back ends: `LocalChanges` of a process that has the
database for itself, and `SharedChanges` of one of many nodes.

What it may know: a store, control records, and the oldest release that runs on what is stored. Not
what is changed.

Invariant: a change is made and told, or neither; and who made it is answered once this process was
told. Whoever keeps in memory what is stored changes that by what is told, and by nothing else.

Releases before `PEOPLE` do not know what is changed by this way: one that started on it would show
a private room to everybody. So the first such change says in the database that they are too old for
it; until then, one can be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection, update
from twisted.internet.defer import Deferred

from cometd_chat.errors import ChatError
from cometd_chat.log.control import Control
from cometd_chat.log.store import SharedStore, Store
from cometd_chat.log.tables import compatibility

T = TypeVar("T")

#: What has to hold in the transaction in which something is changed, before anything of it is: it
#: raises what refuses it.
Condition = Callable[[Connection], object]


def always(connection: Connection) -> None:
    """A `Condition` that holds."""


#: The revision of the first release that knows what is changed here.
PEOPLE = "0007"


class Changes(Protocol):
    """What is kept beside the log, and how it is changed.

    `make` and `read` are called in the reactor's thread, and answer there; what they are given runs
    in another one, where there are threads.
    """

    def make(
        self,
        change: Callable[[Connection], T],
        tell: Callable[[T], Sequence[Control]],
        *,
        provided: Condition = always,
    ) -> Deferred[T]:
        """Make a change in one transaction, and tell all nodes of it.

        What is told is heard by those who listen to `Feed.control` at every node, in one order, and
        at this one before this is answered. Should this node be cut off from the log just then, it
        hears it later, and this is answered all the same.

        :param change: may raise a `ChatError`, which undoes it and is the result. It may be made
            again where it is in doubt whether it came through: that has to do no harm.
        :param tell: what is told of its result; nothing where nothing has changed.
        :param provided: asked first, in the same transaction: whoever may do something by what this
            node has heard may not, perhaps, by what has come about meanwhile.
        :raises StorageUnavailable: nothing can be stored just now.
        """

    def read(self, query: Callable[[Connection], T]) -> Deferred[T]:
        """See `Store.read`."""

    def read_now(self, query: Callable[[Connection], T]) -> T:
        """The same, and block: for the start, before the reactor runs."""


class LocalChanges:
    """The `Changes` of a process that has the database for itself.

    No record is needed: whoever starts later reads the tables.

    :param store: where it is kept.
    :param hear: tells this process; see `Feed.control`.
    """

    def __init__(self, store: Store, hear: Callable[[Control], object]) -> None:
        self._store = store
        self._hear = hear
        self.read = store.read
        self.read_now = store.read_now

    def make(
        self,
        change: Callable[[Connection], T],
        tell: Callable[[T], Sequence[Control]],
        *,
        provided: Condition = always,
    ) -> Deferred[T]:
        """See `Changes.make`."""

        def told(result: T) -> T:
            for control in tell(result):
                self._hear(control)
            return result

        return self._store.write(lambda each: _made(each, change, provided)).addCallback(told)


class SharedChanges:
    """The `Changes` of one of many nodes: the log tells of them.

    :param store: where it is kept.
    :param catch_up: see `EventLog.catch_up`.
    """

    def __init__(self, store: SharedStore, catch_up: Callable[[], Deferred[None]]) -> None:
        self._store = store
        self._catch_up = catch_up
        self.read = store.read
        self.read_now = store.read_now

    def make(
        self,
        change: Callable[[Connection], T],
        tell: Callable[[T], Sequence[Control]],
        *,
        provided: Condition = always,
    ) -> Deferred[T]:
        """See `Changes.make`."""

        def run(connection: Connection) -> T:
            result = _made(connection, change, provided)
            self._store.tell(connection, *tell(result))
            return result

        return self._store.write(run).addCallback(self._heard)

    def _heard(self, result: T) -> Deferred[T]:
        hearing = self._catch_up()
        # It is made, whether this node hears of it now or later.
        hearing.addErrback(lambda failure: failure.trap(ChatError))
        return hearing.addCallback(lambda _: result)


def _made(connection: Connection, change: Callable[[Connection], T], provided: Condition) -> T:
    provided(connection)
    result = change(connection)
    refuse_older(connection)
    return result


def refuse_older(connection: Connection) -> None:
    """Say that releases before `PEOPLE` are too old for what is stored from now on, in the
    transaction that is open."""
    connection.execute(_TOO_NEW)


#: Touches nothing where it was said before.
_TOO_NEW = update(compatibility).where(compatibility.c.oldest < PEOPLE).values(oldest=PEOPLE)
