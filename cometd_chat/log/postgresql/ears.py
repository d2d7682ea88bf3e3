"""What others append, heard and read by this node.

What it is: `Ears`, which keeps one connection that listens for bells, looks each second whether one
was missed, reads what did not come, and hands all of it to a `Sequence`.

What it may know: bells, rows, a clock. Not who listens, not how anything is appended.

Invariant: it listens first and looks then, after each reconnect as well; so whatever was committed
is told, and at most a second later than it might be, whether any bell comes or none. It never waits
for the database in the reactor's thread.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.errors import ShuttingDown, StorageUnavailable
from cometd_chat.events.record import Record
from cometd_chat.log.epochs import Epochs
from cometd_chat.log.postgresql.batches import (
    CHANNEL,
    COLUMNS,
    Bell,
    hear,
    read_bell,
    read_text_row,
)
from cometd_chat.log.postgresql.catching_up import CatchingUp
from cometd_chat.log.postgresql.connections import Connection, Server, reason, shut_down
from cometd_chat.log.postgresql.high_water import HighWaterMark, Mark
from cometd_chat.log.postgresql.joining import (
    EMPTY,
    NOBODY,
    Book,
    Joined,
    Running,
    Starting,
    Witness,
    join,
)
from cometd_chat.log.postgresql.wire import QueryFailed, Rows, Wire, WireLost
from cometd_chat.log.sequence import Sequence as Order
from cometd_chat.log.threads import DaemonThreadPool

#: Seconds after which it looks again, and rings a bell that only it hears.
LOOK_EVERY = 1.0

#: Seconds that an answer, or this bell, may take. After that the connection is given up.
PATIENCE = 5.0

#: Seconds before it connects again: at least so many, and up to twice as many each time.
_RETRY, _MOST_RETRY = 0.05, 2.0

#: How many records it reads at once: the reactor does nothing else while it takes them.
PAGE = 200

#: Looks after which it asks for the size of the log.
_SIZE_EVERY = 10

_LOOK = (
    b"SELECT (SELECT max(id) FROM records), (SELECT max(number) FROM epochs),"
    b" pg_notification_queue_usage()"
)
_LOOK_AND_RING = _LOOK + b", pg_notify($1, $2)"
_READ = (
    f"SELECT {COLUMNS} FROM records WHERE id > $1 AND id < $2 ORDER BY id LIMIT {PAGE}"  # noqa: S608
).encode()
_EPOCHS = b"SELECT number, epoch, first_id, cluster FROM epochs ORDER BY number"
_SIZE = b"SELECT pg_total_relation_size('records')"


class Told(Protocol):
    """Who is told."""

    def tell(self, records: Sequence[Record]) -> None:
        """Records that are next in the log, in order; or none, when ids without any were passed."""

    def leave_history(self) -> None:
        """What was told is not in the log any more; cursors are still those of that history."""

    def put_back(self) -> None:
        """The same, once the log knows of the other history: it goes on from where that branched
        off, and what is told from now on is of it."""

    def sized(self) -> None:
        """It is known how large the log is."""


@attrs.define
class Counts:
    """What it heard since the start; see `cometd_chat.log.condition.Condition`."""

    inline: int = 0
    read: int = 0
    missed: int = 0


class Ears:
    """One node's ears.

    `open` is called before the reactor runs, everything else in the reactor's thread.

    :param server: where the database is.
    :param reactor: its clock, its threads, its descriptors.
    :param told: who is told.
    :param new_epoch: gives a name for an epoch.
    :param channels: what else is listened to, and who hears the payloads.
    :param high_water: where it is noted how far this node was told; None for one that leaves none.
    """

    _log = Logger()

    def __init__(
        self,
        server: Server,
        reactor: Any,
        told: Told,
        *,
        new_epoch: Callable[[], str],
        channels: dict[str, Callable[[str], None]] | None = None,
        high_water: HighWaterMark | None = None,
    ) -> None:
        self._server = server
        self._reactor = reactor
        self._told = told
        self._new_epoch = new_epoch
        self._channels = {CHANNEL: self._heard, **(channels or {})}
        self._mine = f"comet_chat_{secrets.token_hex(6)}"
        self._threads = DaemonThreadPool(0, 1, name="comet-chat-ears")
        self.order: Order[Record] = Order(0)
        self.book = EMPTY
        self.counts = Counts()
        self.queue_usage = 0.0
        #: Bytes that the log takes, when it was last asked.
        self.size = 0
        self._newest: Record | None = None
        self._high_water = high_water
        self._noted: Mark | None = None
        self._wire: Wire | None = None
        self._delay = _RETRY
        self._timer: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._looks = 0
        self._filling = self._asking_epochs = False
        self._connecting: Deferred[Any] | None = None
        # What the thread has, until it is at rest.
        self._comes: Connection | None = None
        self._closed = False
        # When something was last known to be good, by the reactor's clock.
        self._answered_at = self._heard_at = self._level_at = 0.0
        self._asked_at: float | None = None
        self._rang_at: float | None = None
        self._catching_up = CatchingUp()
        self._look_again = self._looking = False
        self._told_when_asked = 0
        self._failing = False

    # -- its life

    def open(self) -> None:
        """Connect, and find out how far the log goes. Blocks.

        :raises psycopg.Error: the database can't be reached, or used.
        :raises StorageUnavailable: it is no database for a log.
        """
        starting = NOBODY if self._high_water is None else Starting(self._high_water)
        connection, joined = self._connect(starting)
        self.book = joined.book
        if joined.begun and len(joined.book.numbers) > 1:
            self._tell_epoch()
        self.order.skip(joined.last)
        self._newest = joined.newest
        self._note_now(sync=False)
        self._threads.start()
        self._heard_at = self._level_at = self._reactor.seconds()
        self._begin(connection)
        self._tick()

    def close(self) -> Deferred[None]:
        """Hear no more."""
        self._closed = True
        for timer in (self._timer, self._retry):
            if timer is not None and timer.active():
                timer.cancel()
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        self._catching_up.refuse(ShuttingDown("The daemon is stopping. Try again in a moment."))
        done: Deferred[None] = Deferred()

        def stop(_: object) -> None:
            self._threads.stop()
            if self.book.numbers:
                self._note_now(sync=True)
            done.callback(None)

        if self._connecting is None:
            stop(None)
        else:
            self._connecting.addBoth(stop)
            if self._comes is not None:
                shut_down(self._comes)
        return done

    def _connect(self, witness: Witness) -> tuple[Connection, Joined]:
        """Listen, then look. In a thread."""
        connection = self._comes = self._server.connect("ears")
        try:
            for channel in (*self._channels, self._mine):
                connection.execute(f'LISTEN "{channel}"'.encode())
            return connection, join(connection, witness, self._new_epoch)
        except BaseException:
            connection.close()
            raise
        finally:
            self._comes = None

    def check(self, connection: Connection) -> Book:
        """Begin an epoch if the log is another one than this node was told of. In any thread."""
        return join(connection, self._witness(), self._new_epoch).book

    def _witness(self) -> Witness:
        return Running(self.order.told, self._newest)

    def _begin(self, connection: Connection) -> None:
        self._answered_at = self._reactor.seconds()
        self._asked_at = self._rang_at = None
        self._looking = self._filling = self._asking_epochs = False
        self._wire = Wire(connection, self._reactor, self._notified, self._lost)

    def _lost(self, why: str) -> None:
        self._wire = None
        if self._closed:
            return
        if not self._failing:
            self._log.warn("the connection to the database is lost: {reason}", reason=why)
        self._failing = True
        # At another moment than the other nodes, which have lost theirs as well.
        delay = self._delay * (0.5 + random.random())  # noqa: S311
        self._retry = self._reactor.callLater(delay, self._reconnect)
        self._delay = min(2 * self._delay, _MOST_RETRY)

    def _reconnect(self) -> None:
        if self._closed or self._connecting is not None:
            return
        self._connecting = deferToThreadPool(
            self._reactor, self._threads, self._connect, self._witness()
        )
        self._connecting.addCallbacks(self._joined, self._not_joined)
        self._connecting.addErrback(lambda failure: self._log.failure("ears failed", failure))

    def _not_joined(self, failure: Failure) -> None:
        self._connecting = None
        error = failure.value
        self._lost(reason(error) if isinstance(error, Exception) else str(error))

    def _joined(self, found: tuple[Connection, Joined]) -> None:
        self._connecting = None
        connection, joined = found
        if self._closed:
            connection.close()
            return
        if self._failing:
            self._log.info("the database can be reached again")
        self._failing = False
        self._delay = _RETRY
        self._begin(connection)
        # What was known beyond may be of a log that was put back.
        self.order.forget()
        if joined.put_back and self._newest is not None:
            self._diverge(joined.book, joined.last)
        self.learn(joined.book)
        self.order.note(joined.last)
        self._catching_up.look_ends(joined.last)
        self._settle()
        self._fill()
        self._look(ring=True)

    def send(self, query: bytes, parameter: bytes) -> Deferred[Rows] | None:
        """Ask something of the database that may be lost; None while there is no connection."""
        return None if self._wire is None else self._wire.ask(query, parameter)

    # -- each second

    def _tick(self) -> None:
        self._timer = self._reactor.callLater(LOOK_EVERY, self._tick)
        now = self._reactor.seconds()
        self._catching_up.expire(now, _out_of_reach)
        self._note()
        wire = self._wire
        if wire is None:
            return
        late = [at for at in (self._asked_at, self._rang_at) if at is not None]
        if late and now - min(late) >= PATIENCE:
            self._log.warn("the database does not answer, or its notifications do not come")
            wire.shut_down()
            self._asked_at = self._rang_at = None
            return
        if not self._looking:
            self._look(ring=True)

    def _note(self) -> None:
        """Note how far it was told. A disk may be slow, so a thread waits for it."""
        if self._high_water is not None and self._noted != self._mark:
            self._noted = self._mark
            self._threads.callInThread(self._high_water.note, self._noted)

    def _note_now(self, *, sync: bool) -> None:
        if self._high_water is not None:
            self._noted = self._mark
            self._high_water.note(self._noted, sync=sync)

    @property
    def _mark(self) -> Mark:
        names = self.book.epochs.names
        return Mark(names[0], names[-1], self.order.told)

    def _look(self, *, ring: bool = False) -> None:
        """Look how far the log goes by now."""
        wire = self._wire
        if wire is None:
            return
        if self._looking:
            self._look_again = True
            return
        now = self._reactor.seconds()
        self._looking, self._look_again = True, False
        self._asked_at, self._told_when_asked = now, self.order.told
        self._catching_up.look_begins()
        if ring:
            self._looks += 1
            self._rang_at = now if self._rang_at is None else self._rang_at
            asked = wire.ask(_LOOK_AND_RING, self._mine.encode(), b"")
            if self._looks % _SIZE_EVERY == 1:
                wire.ask(_SIZE).addCallbacks(self._sized, self._ignore_lost)
        else:
            asked = wire.ask(_LOOK)
        asked.addCallbacks(self._looked, self._not_looked)

    def _looked(self, rows: Rows) -> None:
        last, number, usage, *_ = rows[0]
        self._looking, self._asked_at = False, None
        self._answered_at = self._reactor.seconds()
        self.queue_usage = float(usage or 0)
        id = int(last or 0)
        if max(id, self.book.floor) < self._told_when_asked:
            # It was put back without a word. Who connects anew finds out what there is.
            self._give_up("the log ends before what was told")
            return
        if id > self.order.known:
            self.counts.missed += 1
            self.order.note(id)
        if int(number or 0) != self.book.number:
            self._ask_epochs()
        self._catching_up.look_ends(id)
        self._settle()
        self._fill()
        if self._look_again:
            self._look()

    def _not_looked(self, failure: Failure) -> None:
        failure.trap(WireLost, QueryFailed)
        self._looking, self._asked_at = False, None
        if isinstance(failure.value, QueryFailed):
            self._give_up(str(failure.value))

    def _give_up(self, why: str) -> None:
        """Begin anew with another connection."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close(why)
            self._lost(why)

    def _sized(self, rows: Rows) -> None:
        self.size = int(rows[0][0] or 0)
        self._told.sized()

    def _ignore_lost(self, failure: Failure) -> None:
        failure.trap(WireLost, QueryFailed)

    # -- bells

    def _notified(self, channel: str, payload: str) -> None:
        if channel == self._mine:
            self._heard_at, self._rang_at = self._reactor.seconds(), None
            return
        listener = self._channels.get(channel)
        if listener is not None:
            listener(payload)

    def _heard(self, payload: str) -> None:
        try:
            bell = hear(payload)
        except ValueError:
            self._look()
            return
        if bell.last <= self.order.told:
            return  # An append of our own, mostly.
        self.order.note(bell.last)
        epoch = self.book.name(bell.epoch)
        if epoch is None:
            self._ask_epochs()
            return
        self.take(self._read(bell, epoch))

    def _read(self, bell: Bell, epoch: str) -> list[Record]:
        records = read_bell(bell, epoch)
        if records:
            self.counts.inline += 1
        else:
            self.counts.read += 1
        return records

    def take(self, records: Iterable[Record], whole_below: int = 0) -> None:
        """Take committed records, and tell what may be told; see `Sequence.take`."""
        before = self.order.told
        ready = self.order.take(records, whole_below=whole_below)
        if self.order.told > before:
            if ready:
                self._newest = ready[-1]
            self._told.tell(ready)
            self._settle()
        self._fill()

    # -- what did not come

    def _ask_epochs(self) -> None:
        if self._wire is not None and not self._asking_epochs:
            self._asking_epochs = True
            self._wire.ask(_EPOCHS).addCallbacks(self._epochs_read, self._not_read)

    def _epochs_read(self, rows: Rows) -> None:
        self._asking_epochs = False
        self.learn(read_text_book(rows))
        self._fill()
        self._settle()

    def learn(self, book: Book) -> None:
        """There are other epochs than were known, perhaps."""
        if book.number <= self.book.number:
            return
        newest = self._newest
        if newest is not None and book.epochs.of(newest.id) != newest.epoch:
            self._diverge(book, book.floor)
        self.book = book
        self.order.note(book.floor)
        self._tell_epoch()

    def _tell_epoch(self) -> None:
        self._log.info(
            "the log has begun the epoch {epoch} after id {id}",
            epoch=self.book.epochs.names[-1],
            id=self.book.floor,
        )

    def _diverge(self, book: Book, last: int) -> None:
        """What this node was told last is gone: go on from where the log had all that it was
        told. What is there instead is told next, for there may be something that no node may miss.
        """
        assert self._newest is not None
        shared = book.shared(self._newest.epoch)
        id = last if shared is None else min(shared, last)
        self._newest = None
        self._log.warn("the log was put back: what was said after {id} is gone", id=id)
        self._told.leave_history()
        self.book = book
        self.order.skip(id)
        self._told.put_back()

    def _fill(self) -> None:
        """Read what is missing, a page at a time."""
        missing = self.order.missing()
        if missing is None:
            self._level_at = self._reactor.seconds()
            return
        if self._wire is None or self._filling or self._asking_epochs:
            return
        self._filling = True
        asked = self._wire.ask(_READ, b"%d" % missing.after, b"%d" % missing.before)
        asked.addCallback(self._page_read, missing.before).addErrback(self._not_read)

    def _page_read(self, rows: Rows, before: int) -> None:
        self._filling = False
        records = [read_text_row(row, self.book.epochs.of) for row in rows]
        self.take(records, records[-1].id + 1 if len(records) == PAGE else before)

    def _not_read(self, failure: Failure) -> None:
        self._filling = self._asking_epochs = False
        failure.trap(WireLost, QueryFailed)
        if isinstance(failure.value, QueryFailed):
            self._give_up(str(failure.value))

    # -- who waits for all that there is

    def catch_up(self) -> Deferred[None]:
        """See `EventLog.catch_up`."""
        if self._closed:
            return fail(ShuttingDown("The daemon is stopping. Try again in a moment."))
        caught_up = self._catching_up.wait(self._reactor.seconds() + PATIENCE)
        self._look()
        return caught_up

    def _settle(self) -> None:
        if not self._asking_epochs:
            self._catching_up.settle(self.order.told, self.book.floor)

    # -- how it does

    def unreachable_for(self) -> float:
        """See `Condition`."""
        return self._late(self._answered_at)

    def deaf_for(self) -> float:
        """See `Condition`."""
        return self._late(self._heard_at)

    def lag_seconds(self) -> float:
        """See `Condition`."""
        return 0.0 if self.order.lag == 0 else float(self._reactor.seconds() - self._level_at)

    def _late(self, at: float) -> float:
        late = self._reactor.seconds() - at
        return float(late) if late >= 2 * LOOK_EVERY else 0.0


def read_text_book(rows: Rows) -> Book:
    """The epochs, as PostgreSQL sends their rows as text."""
    texts = [[(each or b"").decode() for each in row] for row in rows]
    return Book(
        Epochs([row[1] for row in texts], [int(row[2]) for row in texts]),
        [int(row[0]) for row in texts],
        texts[-1][3] if texts else "",
    )


def _out_of_reach() -> StorageUnavailable:
    return StorageUnavailable(
        "The log can't be reached just now. Try again in a moment.", retry_after=PATIENCE
    )
