"""What was said, kept in order: the protocol of the log.

What it is: `Draft` goes in, `Record` comes out; `EventLog` is the seam that every log keeps, be it
a file in this process or a database that many daemons share.

What it may know: paths of contexts, ids, opaque text. Not rooms, not HTTP, not SQL.

Invariant: ids grow in commit order and are never reused; whatever a listener is told is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

import attrs
import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from cometd_chat.events.record import Draft, Record
from cometd_chat.log.redaction import Redaction, Restoration

#: Hears each committed batch, in id order; a batch is never empty.
LogListener = Callable[[Sequence[Record]], None]


@attrs.frozen
class Count:
    """How many records there are of something.

    :param at_least: there are more than could be counted.
    """

    number: int
    at_least: bool = False


#: By which `EventLog.count` names what it was told to count of all contexts together.
EVERY = ""

#: When as many were counted as may be, of each further context so many still are: so that none of
#: which there are some is left out.
COUNT_OF_OTHERS = 100


def counted(
    most: int, contexts: Iterable[str], count: Callable[[str, int], int]
) -> Mapping[str, Count]:
    """Count in some contexts, one after the other, for about as much as ``most`` records cost.

    :param count: counts one context up to a number.
    """
    found: dict[str, Count] = {}
    left = most
    for context in contexts:
        bound = max(left, COUNT_OF_OTHERS)
        number = count(context, bound + 1)
        if number:
            found[context] = Count(min(number, bound), number > bound)
        left -= number
    return found


#: What becomes of a draft.
Outcome = Record | Exception

#: How what somebody says is stored.
encode_json = msgspec.json.Encoder().encode


def check_unicode(draft: Draft) -> None:
    """Refuse what no log can store; the drafts that share its commit must not suffer from it.

    :raises ValueError: there are lone surrogates in the draft.
    :raises TypeError: its data is no JSON.
    """
    parts = (draft.context, draft.type, draft.sender, draft.author, draft.client_id, draft.data)
    try:
        # All in one go: it is done for each post, in the reactor's thread.
        encode_json(parts)
    except UnicodeEncodeError as error:
        raise ValueError(f"a draft must be valid Unicode: {error.reason}") from None


def sorted_out(
    drafts: Sequence[Draft], store: Callable[[Sequence[Draft]], Deferred[Sequence[Outcome]]]
) -> Deferred[Sequence[Outcome]]:
    """Store those of some drafts that a log can store.

    :param store: see `EventLog.append_all`; it is not called for nothing.
    :returns: for each of all drafts its record, or what is wrong with it.
    """
    wrong: dict[int, Outcome] = {}
    for index, draft in enumerate(drafts):
        try:
            check_unicode(draft)
        except (ValueError, TypeError) as error:
            wrong[index] = error
    if not wrong:
        return store(drafts)
    good = [draft for index, draft in enumerate(drafts) if index not in wrong]
    if not good:
        return succeed(list(wrong.values()))

    def joined(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        rest = iter(outcomes)
        return [wrong[index] if index in wrong else next(rest) for index in range(len(drafts))]

    return store(good).addCallback(joined)


def only(outcomes: Sequence[Outcome]) -> Record:
    """The record of a draft that was stored alone.

    :raises Exception: there is none, for this reason.
    """
    (outcome,) = outcomes
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def take(records: Iterable[Record], max_bytes: int | None) -> list[Record]:
    """The first of some records, until so many bytes are said in them; see `EventLog.read`."""
    taken: list[Record] = []
    size = 0
    for record in records:
        taken.append(record)
        if max_bytes is not None:
            size += record.size
            if size >= max_bytes:
                break
    return taken


#: The part of its limit from which a log is nearly full.
NEARLY = 0.9


@attrs.frozen
class Usage:
    """How much of its limit a log takes.

    :param size: in bytes.
    :param limit: in bytes; a log that takes more accepts nothing new.
    """

    size: int
    limit: int

    @property
    def full(self) -> bool:
        return self.size > self.limit

    @property
    def nearly_full(self) -> bool:
        return self.size > self.limit * NEARLY

    @property
    def alarm(self) -> tuple[bool, bool]:
        """What is worth a line in the daemon's log when it changes."""
        return self.nearly_full, self.full


def tell_usage(log: Logger, usage: Usage) -> None:
    """Say what has become of the room that is left."""
    if usage.full:
        log.error(
            "the log is full and takes nothing new: {size} of {limit} bytes; "
            "raise --max-log and restart",
            **attrs.asdict(usage),
        )
    elif usage.nearly_full:
        log.warn(
            "the log is nearly full: {size} of {limit} bytes; raise --max-log and restart",
            **attrs.asdict(usage),
        )
    else:
        log.info("the log has room again: {size} of {limit} bytes", **attrs.asdict(usage))


class EventLog(Protocol):
    """One ordered, durable log. Many processes may append to one and follow it.

    What every log keeps:

    * An append that is answered is durable, and it was committed as a whole or not at all.
    * Ids are the order of commits, over all who append. Each follower is told every record once, in
      that order, without a hole, and the one who appended it before the append is answered.
    * Nobody is told of a record, nor is its cursor given out, before it is committed.
    * An epoch begins when the log is made or was put back to an earlier state, or where nobody is
      left who could say that it was not; never because a process starts. Two that have the same log
      know the same cursors.
    * ``(sender, client_id)`` is unique for ever.

    Nothing that was answered may be lost; what was not may have been stored all the same. All is
    called in the reactor's thread, and answers later, but for `last_id`, `usage`, `origin`,
    `cursor` and `position`, which cost no wait, and `recent`, which blocks.
    """

    @property
    def last_id(self) -> int:
        """Id of the newest record that followers have been told of, or are being told of; 0 when
        there is none."""

    @property
    def usage(self) -> Usage | None:
        """How much of its limit it took when something was last stored; None without a limit."""

    @property
    def origin(self) -> str:
        """The name of its first epoch: random, and the same for as long as this log is kept, in a
        backup that is restored, too. Not before it is open."""

    def append(self, draft: Draft) -> Deferred[Record]:
        """Make a draft durable.

        The result comes after the commit, once the followers of this process have been told.
        Cancelling it does not stop the append. A draft whose ``(sender, client_id)`` is in the log
        already is not appended again: the first record comes back, marked ``repeated``.

        :raises StorageUnavailable: nothing was written; the same draft may be tried again.
        :raises LogFull: the log has reached its size limit.
        :raises ValueError: the draft has lone surrogates in it.
        :raises TypeError: its data is no JSON.
        """

    def append_all(self, drafts: Sequence[Draft]) -> Deferred[Sequence[Record | Exception]]:
        """Make drafts durable, in their order and, as far as there is room, in one commit.

        :returns: as with `append`, for each draft its record, or what is wrong with it alone.
        :raises StorageUnavailable: nothing of them was written; the same drafts may be tried again.
        """

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
        """Records of some contexts with ``after < id < before``, oldest first.

        Costs what is read and the number of contexts, however long the log is. Where other
        processes append, there may be something newer than `last_id` in it, which is told in a
        moment; where none does, there is not.

        :param contexts: None for all there are, but for `cometd_chat.log.control.CONTROL`, here and
            below.
        :param limit: at most so many, at least 1; the oldest of the range, or with ``newest`` the
            newest.
        :param max_bytes: no more is read once so much is said, see `Record.size`; None for any
            number.
        :param types: only those of these types; None for all.
        :raises StorageUnavailable: the log can't be read just now.
        """

    def count(
        self,
        contexts: Collection[str] | None,
        *,
        after: int,
        before: int | None = None,
        most: int,
        types: Collection[str] | None = None,
    ) -> Deferred[Mapping[str, Count]]:
        """How many records each context has with ``after < id < before``; zeros are left out.

        :param contexts: None for all there are, which are then counted together as `EVERY`.
        :param most: about so many are counted in all, and what goes beyond is only said to be more:
            whoever hands in a cursor from long ago must not have the whole log counted.
        :param types: only those of these types; None for all.
        """

    def newest(self, types: Collection[str] | None = None) -> Deferred[Mapping[str, int]]:
        """For each context that has records, the id of its newest.

        :param types: only of these types; None for all.
        """

    def recent(self, limit: int, max_bytes: int) -> Sequence[Record]:
        """The newest records of all contexts, oldest first and without a hole, to fill a tail with.

        Blocks: for the start, before the reactor runs. With what `follow` tells from then on it is
        the whole: nothing in it is above `last_id`.

        :param limit: at most so many.
        :param max_bytes: at most so much text in UTF-8, though the newest one always.
        """

    def catch_up(self) -> Deferred[None]:
        """Wait until followers have been told of whatever is committed at this moment, whoever
        appended it, and epochs are known that have begun by now. Those who ask at the same time
        share what it costs; nothing where no other process appends.

        :raises StorageUnavailable: that can't be known just now.
        """

    def redact(self, redaction: Redaction) -> Deferred[Sequence[int]]:
        """Take out what is said in some records, and say so, in one commit: a record of
        `Redaction.says` for each that was changed, in the order of `Redaction.ids`.

        Once it is answered, followers were told, nothing here reads what was taken out, and unless
        it can be brought back it is gone from where it was kept, as far as the log can see to that.
        To do it again changes nothing. It is done though the log is full.

        :returns: the ids of what was changed by this.
        :raises StorageUnavailable: it may not have been done, and may be tried again.
        """

    def restore(self, restoration: Restoration) -> Deferred[Sequence[int]]:
        """Bring back some of what was taken out by a purge, the oldest first, and say so, in one
        commit; see `redact`.

        :returns: the ids of what was changed by this; none when all is back.
        """

    def erase(self, purge: str, limit: int) -> Deferred[int]:
        """Make sure that what a purge took out can't be brought back: it is nowhere from then on.

        :param limit: so much of it at most.
        :returns: how much that was; 0 when all is.
        """

    def clear(self, context: str, limit: int) -> Deferred[int]:
        """Take out for good some of what was ever said in a context: who said it, what and when it
        was is nowhere from then on, and the context has none of it. Nobody is told.

        :param limit: so much of it at most.
        :returns: how much that was; 0 when all is.
        """

    def follow(self, listener: LogListener) -> Callable[[], None]:
        """Tell ``listener`` each batch that is committed from now on, whoever appended it; one
        without records when ids were passed that nothing has.

        A listener that raises is logged and goes on hearing, and so do the others.

        :returns: call it to stop.
        """

    def cursor(self, id: int) -> str:
        """The cursor of a client that has everything up to ``id``: the id and its epoch."""

    def position(self, cursor: str) -> int | None:
        """The id in a cursor, or None when this log never gave that cursor out.

        It is above `last_id` where the epoch is known and this process has not seen the id yet:
        another one may have given it out a moment ago. Whether it did is known after a `catch_up`,
        and so it is with an epoch that is not known.

        :raises InvalidCursor: it can't be a cursor.
        """


class Followers:
    """The listeners of a log. One that raises stops nobody."""

    _log = Logger()

    def __init__(self) -> None:
        self._listeners: dict[object, LogListener] = {}

    def add(self, listener: LogListener) -> Callable[[], None]:
        """Tell this one too, until what is returned is called."""
        token = object()
        self._listeners[token] = listener

        def stop() -> None:
            self._listeners.pop(token, None)

        return stop

    def tell(self, batch: Sequence[Record]) -> None:
        """Tell all a batch; those that leave meanwhile don't hear it any more."""
        for token, listener in list(self._listeners.items()):
            if token not in self._listeners:
                continue
            try:
                listener(batch)
            except Exception:
                self._log.failure("a follower of the log failed")
