"""The log in PostgreSQL.

What it is: `PostgresEventLog`, an `EventLog` that any number of processes append to and follow. It
joins the thread that appends, the ears that hear what others append, and those who are told.

What it may know: its parts. No SQL.

Invariant: there is one way to those who are told, for what this process appended and for what
others did: `Sequence`, which each record passes once, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import StorageUnavailable
from cometd_chat.events.record import Draft, Record
from cometd_chat.log.condition import Condition
from cometd_chat.log.epochs import random_epoch
from cometd_chat.log.log import (
    Count,
    Followers,
    LogListener,
    Outcome,
    Usage,
    only,
    sorted_out,
    tell_usage,
)
from cometd_chat.log.postgresql.changes import append_in
from cometd_chat.log.postgresql.connections import Connection as Driver
from cometd_chat.log.postgresql.connections import Server, reason
from cometd_chat.log.postgresql.ears import Ears
from cometd_chat.log.postgresql.high_water import HighWaterMark
from cometd_chat.log.postgresql.writer import AppendThread, Following
from cometd_chat.log.reading import LogReading
from cometd_chat.log.redaction import (
    Redaction,
    Restoration,
    clear_in,
    erase_in,
    redact_in,
    restore_in,
)
from cometd_chat.log.store import Store


class PostgresEventLog:
    """An `EventLog` in PostgreSQL, whose tables are there when it is opened.

    `open` and `recent` are called before the reactor runs, everything else in its thread.

    :param server: where the database is.
    :param store: who reads it for those who ask, and changes what is in it.
    :param reactor: its clock, its threads, its descriptors.
    :param max_bytes: bytes that records and their indexes may take; past it nothing new is stored.
    :param new_epoch: gives a name for an epoch, see `cometd_chat.log.epochs`.
    :param max_waiting: how many drafts may wait.
    :param channels: what else is listened to, and who hears it; see `NotifyBus`.
    :param high_water: where this node notes how far it was told; without it a start takes the log
        for the one that was left.
    """

    _log = Logger()

    def __init__(
        self,
        server: Server,
        store: Store,
        reactor: Any,
        *,
        max_bytes: int,
        new_epoch: Callable[[], str] = random_epoch,
        max_waiting: int = 10_000,
        channels: Mapping[str, Callable[[str], None]] | None = None,
        high_water: HighWaterMark | None = None,
    ) -> None:
        self._server = server
        self._store = store
        self._reactor = reactor
        self._max_bytes = max_bytes
        self._closed: Deferred[None] | None = None
        self._followers = Followers()
        #: Told when the log was put back to an earlier state: what was told last may be gone, and
        #: nobody may be shown it any more. The first while cursors are of the history that is over,
        #: for whoever is to be told later that it is; the second once they are of the other one.
        self.left_history: Listeners[[]] = Listeners("a history that is over")
        self.put_back_to: Listeners[[]] = Listeners("a log that was put back")
        self.ears = Ears(
            server,
            reactor,
            self,
            new_epoch=new_epoch,
            channels=dict(channels or {}),
            high_water=high_water,
        )
        self._reading = LogReading(store, lambda: self.ears.book.epochs)
        following = Following(
            take=self.ears.take,
            told=lambda: self.ears.order.told,
            known=lambda: self.ears.order.known,
            book=lambda: self.ears.book,
            learn=self.ears.learn,
            full=lambda: self.usage.full,
        )
        self._appending = AppendThread(server, reactor, following, max_waiting=max_waiting)
        self._told_usage = Usage(0, max_bytes)

    def open(self) -> None:
        """Find out how far the log goes, and begin to follow it. Blocks.

        :raises StorageUnavailable: the database can't be reached, or used; the text says why.
        """
        try:
            self.ears.open()
        except psycopg.Error as error:
            raise StorageUnavailable(
                f"The database can't be used ({reason(error)}): see that it runs, and that "
                "--database says where."
            ) from error
        self._server.checks.append(self._check)
        self._appending.start()

    def close(self) -> Deferred[None]:
        """Take nothing more; fires when all that was taken is answered and all threads are gone."""
        if self._closed is None:
            self._closed = self._appending.stop().addCallback(lambda _: self.ears.close())
        return self._closed

    @property
    def last_id(self) -> int:
        """See `EventLog.last_id`."""
        return self.ears.order.told

    @property
    def usage(self) -> Usage:
        """See `EventLog.usage`. It is asked for every ten seconds."""
        return Usage(self.ears.size, self._max_bytes)

    @property
    def origin(self) -> str:
        """See `EventLog.origin`."""
        return self.ears.book.epochs.names[0]

    def append(self, draft: Draft) -> Deferred[Record]:
        """See `EventLog.append`."""
        return self.append_all([draft]).addCallback(only)

    def append_all(self, drafts: Sequence[Draft]) -> Deferred[Sequence[Outcome]]:
        """See `EventLog.append_all`."""
        return sorted_out(drafts, self._appending.append)

    def read(
        self,
        contexts: Collection[str] | None,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int,
        newest: bool = False,
        max_bytes: int | None = None,
        types: Collection[str] | None = None,
    ) -> Deferred[list[Record]]:
        """See `EventLog.read`."""
        return self._reading.read(
            contexts,
            after=after,
            before=before,
            limit=limit,
            newest=newest,
            max_bytes=max_bytes,
            types=types,
        )

    def count(
        self,
        contexts: Collection[str] | None,
        *,
        after: int,
        before: int | None = None,
        most: int,
        types: Collection[str] | None = None,
    ) -> Deferred[Mapping[str, Count]]:
        """See `EventLog.count`."""
        return self._reading.count(contexts, after=after, before=before, most=most, types=types)

    def newest(self, types: Collection[str] | None = None) -> Deferred[Mapping[str, int]]:
        """See `EventLog.newest`."""
        return self._reading.newest(types)

    def recent(self, limit: int, max_bytes: int) -> list[Record]:
        """See `EventLog.recent`."""
        return self._reading.recent(self.last_id, limit, max_bytes)

    def redact(self, redaction: Redaction) -> Deferred[Sequence[int]]:
        """See `EventLog.redact`. PostgreSQL keeps what a row was until VACUUM has been there, and
        what its own log and backups have of it."""
        return self._amend(partial(redact_in, redaction=redaction), redaction.drafts)

    def restore(self, restoration: Restoration) -> Deferred[Sequence[int]]:
        """See `EventLog.restore`."""
        return self._amend(partial(restore_in, restoration=restoration), restoration.drafts)

    def _amend(
        self,
        change: Callable[[Connection], Sequence[int]],
        drafts: Callable[[Sequence[int]], Sequence[Draft]],
    ) -> Deferred[Sequence[int]]:
        """Change rows, and append what tells of that, in one transaction."""

        def amend(connection: Connection) -> Sequence[int]:
            changed = change(connection)
            if changed:
                append_in(connection, drafts(changed))
            return changed

        def told(changed: Sequence[int]) -> Deferred[Sequence[int]]:
            # Those who ask twice, too: somebody else may have done it a moment ago.
            return self.catch_up().addCallback(lambda _: changed)

        return self._store.write(amend).addCallback(told)

    def erase(self, purge: str, limit: int) -> Deferred[int]:
        """See `EventLog.erase`."""
        return self._store.write(lambda connection: erase_in(connection, purge, limit))

    def clear(self, context: str, limit: int) -> Deferred[int]:
        """See `EventLog.clear`."""
        return self._store.write(lambda connection: clear_in(connection, context, limit))

    def catch_up(self) -> Deferred[None]:
        """See `EventLog.catch_up`."""
        return self.ears.catch_up()

    def follow(self, listener: LogListener) -> Callable[[], None]:
        """See `EventLog.follow`."""
        return self._followers.add(listener)

    def cursor(self, id: int) -> str:
        """See `EventLog.cursor`."""
        return self.ears.book.epochs.cursor(id)

    def position(self, cursor: str) -> int | None:
        """See `EventLog.position`."""
        return self.ears.book.epochs.position(cursor)

    def condition(self) -> Condition:
        """How this node's way to the database is now."""
        ears, appending = self.ears, self._appending
        return Condition(
            unreachable_for=ears.unreachable_for(),
            lag_records=ears.order.lag,
            lag_seconds=ears.lag_seconds(),
            deaf_for=ears.deaf_for(),
            bells={
                "inline": ears.counts.inline,
                "read": ears.counts.read,
                "missed": ears.counts.missed,
            },
            commits=appending.commits,
            commit_seconds=appending.commit_seconds,
            doubts=appending.doubts,
            queue_usage=ears.queue_usage,
            epoch=ears.book.number,
        )

    def _check(self, connection: Driver) -> None:
        """See that nothing is stored in another history by the epoch of this one; in any thread."""
        book = self.ears.check(connection)
        self._reactor.callFromThread(self.ears.learn, book)

    # What the ears tell, see `cometd_chat.log.postgresql.ears.Told`.

    def tell(self, records: Sequence[Record]) -> None:
        """Tell the followers; then those whose records these are."""
        if records:
            self._followers.tell(records)
        if not records or records[-1].id < self.last_id:
            self._followers.tell(())
        self._appending.settle()

    def leave_history(self) -> None:
        """What was told is not in the log any more, and cursors still say so."""
        self.left_history.tell()

    def put_back(self) -> None:
        """What was told is not in the log any more."""
        self.put_back_to.tell()

    def sized(self) -> None:
        """Say once what has become of the room that is left."""
        before, usage = self._told_usage, self.usage
        self._told_usage = usage
        if usage.alarm != before.alarm:
            tell_usage(self._log, usage)
