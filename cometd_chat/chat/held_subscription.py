"""The subscription of a held request: a stream, or a poll.

What it is: the handler that the engine knows and the listener that a held request knows;
`HeldSubscription` is of a request that is written to; see `poll_subscription.py` for one that is
answered once.

What it may know: the engine's contexts, a held request, who reads. Not HTTP.

Invariant: it ends once, in the engine, in its session and towards its peer, and its cursor never
says more than what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from cometd_chat.chat.feed import Feed
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.shared_state import RoomSet, SharedState, cut
from cometd_chat.chat.sink import HeldSink, SinkGroup
from cometd_chat.chat.subscription import STORAGE_DELAY, State, Subscription
from cometd_chat.comet import Chorus, ChorusMember, CometEvent, Reason
from cometd_chat.errors import StorageUnavailable
from cometd_chat.events import kinds
from cometd_chat.events.event import Batch, Event

if TYPE_CHECKING:
    from cometd_chat.chat.rights import Grant
    from cometd_chat.chat.rooms import Room
    from cometd_chat.chat.sessions import Session

# See there.
_LIVE = State.LIVE

#: So many terms are remembered; who embeds this may have as many as they like.
_MOST_TERMS = 64


@attrs.frozen
class PollAnswer:
    """What a poll is answered with, made once for all who are told the same.

    :param batch: what is said, and where to go on.
    :param cursor: where that is.
    :param position: the id in it.
    :param first_id: the first one that is said; 0 when nothing is that is kept.
    :param at: when it was made, in the reaper's seconds: a fan-out takes a moment only, and to ask
        for the time at each reader costs half as much as all else that is done for it.
    """

    batch: Batch
    cursor: bytes
    position: int
    first_id: int
    at: float


@attrs.frozen
class ReadTerms:
    """What is the same for thousands of subscriptions; see `HeldSubscription`."""

    on_end: Callable[[HeldSubscription, bool], None]
    grace: float
    most: int | None


class SharedResponses(SharedState):
    """What the subscriptions of held requests have in common, and were last told.

    :param heartbeat: seconds of silence after which a stream gets a heartbeat.
    :param server: what this daemon calls itself.
    :param delay: makes the seconds after which one of them should come back when the daemon stops.
    :param ignored: whom somebody ignores, by identity; empty where nobody does.
    :param ended: told of each that has ended.
    :param begins_again: told of one that stands and is asked anew; whether it may be.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        heartbeat: float,
        server: str,
        delay: Callable[[], float],
        ignored: Mapping[str, Collection[str]],
        ended: Callable[[HeldSubscription], None],
        begins_again: Callable[[HeldSubscription, Grant[Room]], bool],
    ) -> None:
        super().__init__(feed)
        self.delay = delay
        #: Whom somebody ignores, by identity.
        self.ignored = ignored
        self.ended = ended
        self.begins_again = begins_again
        self._heartbeat_seconds = heartbeat
        self._server = server
        self._heartbeat: tuple[str, Batch | None] = ("", None)
        self._hello: tuple[str, Batch | None] = ("", None)
        self._poll_response: tuple[Batch | None, str, Batch | None] = (None, "", None)
        #: What was told last, and as what polls that stand are given it: `None` when it is another
        #: answer for each.
        self.standing_told: Sequence[CometEvent] = ()
        self.standing_answer: PollAnswer | None = None
        self._poll_answer: tuple[Batch | None, PollAnswer | None] = (None, None)
        #: What tells those whose sinks are written to alone; and that of others, by their groups.
        self.one_by_one = _OneByOne()
        #: What tells those who are not told all.
        self.choosy = _Choosy(self)
        self._together: dict[SinkGroup, _Together] = {}
        self._terms: dict[
            tuple[Callable[[HeldSubscription, bool], None], float, int | None], ReadTerms
        ] = {}

    def chorus(self, group: SinkGroup) -> Chorus:
        """What tells all whose sinks are of a group."""
        found = self._together.get(group)
        if found is None:
            found = self._together[group] = _Together(self, group)
        return found

    def terms(
        self, on_end: Callable[[HeldSubscription, bool], None], grace: float, most: int | None
    ) -> ReadTerms:
        """One object for all of the same terms, of which there are a few."""
        key = (on_end, grace, most)
        found = self._terms.get(key)
        if found is None:
            if len(self._terms) >= _MOST_TERMS:
                self._terms.clear()
            found = self._terms[key] = ReadTerms(*key)
        return found

    def heartbeat(self, cursor: str) -> Batch:
        """A stream is complete up to a cursor; most are at the same one."""
        shown, batch = self._heartbeat
        if batch is None or shown != cursor:
            batch = Batch([kinds.heartbeat(cursor)])
            self._heartbeat = (cursor, batch)
        return batch

    def hello(self, cursor: str) -> Batch:
        """The first event of a stream that begins after a cursor."""
        shown, batch = self._hello
        if batch is None or shown != cursor:
            batch = Batch([kinds.hello(cursor, self._heartbeat_seconds, self._server)])
            self._hello = (cursor, batch)
        return batch

    def poll_response(self, said: Batch | None, cursor: str) -> Batch:
        """What a poll is answered with: something or nothing, and where to go on."""
        last, shown, batch = self._poll_response
        if batch is None or last is not said or shown != cursor:
            found = said.events if said is not None else ()
            batch = Batch([*found, kinds.heartbeat(cursor)])
            self._poll_response = (said, cursor, batch)
        return batch

    def poll_answer(self, said: Batch | None, position: int) -> PollAnswer:
        """The same for a poll that stands, at an id."""
        last, answer = self._poll_answer
        at = self.feed.engine.reaper.coarse_now()
        if answer is None or last is not said or answer.position != position or answer.at is not at:
            cursor = self.feed.log.cursor(position)
            first_id = 0 if said is None else said.first_id
            batch = self.poll_response(said, cursor)
            answer = PollAnswer(batch, cursor.encode("ascii"), position, first_id, at)
            self._poll_answer = (said, answer)
        return answer

    def answer_standing(self, told: Sequence[CometEvent]) -> None:
        """Make `standing_answer` of what the engine tells."""
        self.standing_told = told
        batch = self.batch(told)
        fitting = cut(batch.events)
        said = batch if len(fitting) == len(batch.events) else Batch(fitting)
        self.standing_answer = self.poll_answer(said, said.last_id) if said.kept else None


class HeldSubscription(Subscription, ChorusMember):
    """The subscription of a stream.

    :param rooms: what is read; it is held in all their contexts.
    :param sink: where it goes.
    :param point: where it begins.
    :param on_end: told once, when it reads no longer; True when its time had run out.
    :param session: who reads; None for somebody who only reads.
    :param address: where from; empty where that isn't known.
    :param grace: seconds that the session is present after it has ended.
    :param most: so many requests of its kind may a session hold; None for any number.
    """

    __slots__ = (
        "_awaited",
        "_terms",
        "address",
        "chorus",
        "contexts",
        "due_bucket",
        "last_progress",
        "session",
    )

    #: The window that a poll is for, see `PollSubscription`.
    client: str | None = None

    _rooms: RoomSet
    _shared: SharedResponses
    _sink: HeldSink

    def __init__(
        self,
        shared: SharedResponses,
        rooms: RoomSet,
        sink: HeldSink,
        point: ResumePoint,
        *,
        on_end: Callable[[HeldSubscription, bool], None],
        session: Session | None,
        address: str,
        grace: float,
        most: int | None,
    ) -> None:
        super().__init__(shared, rooms, sink, point)
        self.to_be_held(shared.one_by_one)
        self.session = session
        self.address = address
        self._terms = shared.terms(on_end, grace, most)
        self._awaited: list[tuple[int, Deferred[None]]] | None = None

    def hold(self, point: ResumePoint, *, at_once: bool) -> None:
        """Go on the contexts, say hello, and catch up.

        :param point: where it begins.
        :param at_once: a poll is answered as soon as it is live, even when there is nothing to say.
        """
        for context in self._rooms.contexts:
            context.add_handler(self)
        self._sink.hold(self, self._shared.hello(point.cursor or self.cursor))
        group = self._sink.together
        if group is not None and self.contexts:
            self.chorus = self._shared.chorus(group)
        if self._shared.ignored and self.contexts:
            self.choose()
        self.begin()

    @property
    def grace(self) -> float:
        """Seconds that the session is present after it has ended."""
        return self._terms.grace

    @property
    def most(self) -> int | None:
        """So many requests of its kind may a session hold; None for any number."""
        return self._terms.most

    @property
    def transport(self) -> str:
        """By which transport it reads."""
        return self._sink.transport

    @property
    def rooms(self) -> Sequence[str]:
        """The names of what it reads."""
        return self._rooms.names

    def leave(self, room: str) -> bool:
        """Read all but one of its rooms from now.

        It is held there still, and hears what is said; none of it goes to its sink.

        :returns: False when there is no other, and nothing was done.
        """
        rest = [each for each in self._rooms.contexts if kinds.room_of(each.path) != room]
        if not rest or self.state is State.ENDED:
            return False
        self._rooms = RoomSet(rest)
        if self.chorus is not None:
            self.chorus = self._shared.choosy
        return True

    @property
    def cursor(self) -> str:
        """How far it has come; all kept events of its rooms up to there have been sent."""
        if self._untold is not None and self._untold.preface:
            # A gap that its client has not been told of yet: it must be found again from here.
            return self._untold.cursor
        return self._shared.feed.log.cursor(self.current)

    # -- to the sink

    def _chosen(self, batch: Batch) -> Batch | None:
        """What of a batch is for this one, who is not told all of it; None for nothing."""
        names, ignored = self._rooms.names, self._ignored()
        chosen = [
            each
            for each in batch.events
            if each.fields.get("room", names[0]) in names and each.sender not in ignored
        ]
        if len(chosen) == len(batch.events):
            return batch
        return Batch(chosen) if chosen else None

    def _ignored(self) -> Collection[str]:
        session = self.session
        return () if session is None else self._shared.ignored.get(session.identity, ())

    def choose(self) -> None:
        """Who reads ignores somebody, or no longer: from now on it is told what is for it."""
        if self.chorus is not None and self._ignored():
            self.chorus = self._shared.choosy

    def take_chosen(self, batch: Batch) -> None:
        """Something was said, some of which is not for this one."""
        chosen = self._chosen(batch)
        if chosen is not None:
            self.take(chosen)
        elif self.state is _LIVE:
            self.position = max(self.position, batch.last_id)

    def _replay(self, page: Batch) -> int:
        if not self.still_reads():
            return 0
        if self.chorus is self._shared.choosy:
            chosen = self._chosen(page)
            if chosen is None:
                return 0
            page = chosen
        refused = self._sink.replay(page)
        if self._awaited:
            self._tell_awaited()
        return refused

    def _offer(self, batch: Batch) -> int:
        refused = self._sink.offer(batch)
        if self._awaited:
            self._tell_awaited()
        return refused

    # -- CometHandler

    def on_initialize(self, event: CometEvent) -> None:
        """Held in one of its contexts."""

    def on_event(self, event: CometEvent) -> None:
        """Not called: what is said comes by `on_batch`."""

    def on_batch(self, told: Sequence[CometEvent]) -> None:
        """Something was said: it goes out in one write. What it has already is told from its id."""
        self.take(self._shared.batch(told))
        if self._awaited:
            self._tell_awaited()

    def on_expiring(self, event: CometEvent) -> None:
        """Nothing was seen to come from its peer or to be taken by it for too long."""
        self._sink.look()

    def on_interrupt(self, event: CometEvent) -> None:
        """Nothing came from its peer or was taken by it for too long, or it is gone."""
        if self._end(expired=event.attachment is Reason.EXPIRED):
            self._sink.cut()

    def on_terminate(self, event: CometEvent) -> None:
        """The daemon stops, a room of it is gone, or it could not be served; or this is the answer
        of the engine to its own end."""
        if self.state is State.ENDED:
            return
        cursor = self.cursor
        self._end(expired=False)
        if event.attachment is Reason.SHUTDOWN:
            self._sink.end(Batch([kinds.reopen(cursor, self._shared.delay())]))
        elif event.attachment is Reason.UNREGISTERED:
            self._sink.end(Batch([kinds.bye("the room is gone")]))
        else:
            self._sink.cut()

    # -- HeldListener

    def on_progress(self, at: float | None = None) -> None:
        """Something came from its peer, or the peer's TCP took something."""
        self._rooms.contexts[0].touch(self, at)

    def make_heartbeat(self) -> Batch:
        """The heartbeat."""
        return self._shared.heartbeat(self.cursor)

    def on_rotate(self) -> None:
        """The stream has grown long enough: the next one goes on from here."""
        self.close(kinds.reopen(self.cursor, 0))

    def on_timeout(self) -> None:
        """Only polls have a time to be answered in."""

    def on_lost(self) -> None:
        """Its peer is gone."""
        self._end(expired=False)

    def reads(self) -> tuple[str, Sequence[str]]:
        """Who, and which rooms."""
        return "" if self.session is None else self.session.name, self._rooms.names

    # -- HeldResource

    def answer_now(self) -> None:
        """Only polls can be answered."""

    def come_back(self, after: float) -> None:
        """Send its client away to begin anew, by what shows who it is by then."""
        self.close(kinds.reopen(self.cursor, after))

    def close(self, event: Event) -> None:
        """Send its client away with a ``bye`` or a ``reopen``."""
        if self._end(expired=False):
            self._sink.end(Batch([event]))

    # -- for who speaks by the same request

    def finish(self) -> None:
        """End a stream that has done what it was for."""
        if self._end(expired=False):
            self._sink.end(None)

    def tell(self, event: Event) -> None:
        """Something for its client alone."""
        if self.still_reads():
            self._sink.offer(Batch([event]))

    def still_reads(self) -> bool:
        """Whether it reads, and by rights that it has."""
        still_hears = self._shared.feed.engine.still_hears
        return self.state is not State.ENDED and (still_hears is None or still_hears(self))

    def replay_event(self, event: Event) -> None:
        """Something that its client may have been told before; nothing happens when it is yet to
        come.

        Its cursor is where the subscription is now: with that of its own the client would be told
        all since then anew.
        """
        cursor = self.cursor
        if event.id is not None and event.id <= self.position:
            self.tell(Event({**event.fields, "cursor": cursor}, event.id))

    def wait_until(self, id: int) -> Deferred[None]:
        """Fires when all up to an id has been sent, or when it reads no longer."""
        waiting: Deferred[None] = Deferred()
        self._awaited = [*(self._awaited or ()), (id, waiting)]
        self._tell_awaited()
        return waiting

    def _tell_awaited(self) -> None:
        awaited = self._awaited or []
        over = self.state is State.ENDED
        ready = [each for each in awaited if over or each[0] <= self.position]
        self._awaited = [each for each in awaited if each not in ready]
        for _, waiting in ready:
            waiting.callback(None)

    # -- the end

    def _end(self, *, expired: bool) -> bool:
        if not self.end():
            return False
        for context in self._rooms.contexts:
            context.remove_handler(self)
        if self._awaited:
            self._tell_awaited()
        self._shared.ended(self)
        self._terms.on_end(self, expired)
        return True

    def _failed(self, failure: Failure) -> None:
        """It could not be brought up: its client comes back, or has to see that it is cut off."""
        cursor = self.cursor
        if failure.check(StorageUnavailable):
            self._log.warn("a subscription ends without the log: {reason}", reason=failure.value)
            self.close(kinds.reopen(cursor, STORAGE_DELAY + self._shared.delay()))
        elif self._end(expired=False):
            self._log.failure("a subscription could not be brought up to date", failure)
            self._sink.cut()


class _OneByOne:
    """Tells subscriptions one after the other."""

    def on_batch(
        self,
        members: Sequence[HeldSubscription],
        events: Sequence[CometEvent],
        failed: Callable[[HeldSubscription, Exception], None],
    ) -> None:
        """See `Chorus`."""
        for member in members:
            try:
                member.on_batch(events)
            except Exception as error:
                failed(member, error)


class _Choosy:
    """Tells those who are not told all that is said where they read, one after the other; so it
    costs nobody else anything."""

    def __init__(self, shared: SharedResponses) -> None:
        self._shared = shared

    def on_batch(
        self,
        members: Sequence[HeldSubscription],
        events: Sequence[CometEvent],
        failed: Callable[[HeldSubscription, Exception], None],
    ) -> None:
        """See `Chorus`."""
        batch = self._shared.batch(events)
        for member in members:
            try:
                member.take_chosen(batch)
            except Exception as error:
                failed(member, error)


class _Together:
    """Tells thousands by one call: subscriptions whose sinks are of one group.

    This is the hot path, run for each reader of each message: `Subscription.take` spelt out.
    """

    def __init__(self, shared: SharedResponses, group: SinkGroup) -> None:
        self._shared = shared
        self._group = group

    def on_batch(
        self,
        members: Sequence[HeldSubscription],
        events: Sequence[CometEvent],
        failed: Callable[[HeldSubscription, Exception], None],
    ) -> None:
        """See `Chorus`."""
        shared = self._shared
        batch = shared.batch(events)
        first, last = batch.first_id, batch.last_id
        sinks: list[HeldSink] = []
        others: list[HeldSubscription] = []
        for member in members:
            if member.state is not _LIVE:
                continue
            # One that has some of it; a batch of which nothing is kept has 0 for its first id. And
            # one of whom somebody wants to know how far it is.
            if first <= member.position or member._awaited:
                others.append(member)
                continue
            # Nobody can ask for it before it is written, see `SinkGroup.offer`.
            member.position = last
            sinks.append(member._sink)
        if sinks:
            self._group.offer(sinks, batch, failed)
        if others:
            shared.one_by_one.on_batch(others, events, failed)
