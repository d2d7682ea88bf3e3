"""Who reads: all that sessions hold here, from its beginning to its end.

What it is: `Readers`, which begins what is read by a held request, lets older ones make way for it,
and ends what is read by a right, a room or a session that is gone.

What it may know: sessions, rooms, presence, rights, the feed. Not what is said, nor by which
transport it is read.

Invariant: what somebody may not read any longer ends before anything more is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.chat.held_subscription import HeldSubscription, SharedResponses
from cometd_chat.chat.ignored import Ignored
from cometd_chat.chat.lost_rights import LOOK_EVERY, LOST_RIGHT, LostRights
from cometd_chat.chat.openings import Opening
from cometd_chat.chat.parts import Parts
from cometd_chat.chat.poll_subscription import PollSubscription
from cometd_chat.chat.presence import GRACE
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.rights import Act, Affected, Grant
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import HeldResource, Session
from cometd_chat.chat.shared_state import RoomSet
from cometd_chat.chat.sink import HeldSink
from cometd_chat.chat.standing import StandingSubscription
from cometd_chat.comet import CometHandler
from cometd_chat.errors import TooMany
from cometd_chat.events import kinds

#: When the daemon stops, readers come back within so many seconds, not all at once.
REOPEN_WITHIN = 3.0

#: Seconds after which those come back whose token is a new one; their browser has it by then.
RENEWED_AFTER = 1.0

#: What is told to who reads a room that goes.
_REMOVED = "removed"


class Readers:
    """Who reads here."""

    _log = Logger()

    def __init__(self, parts: Parts, ignored: Ignored) -> None:
        feed = parts.feed
        self._rights = parts.rights
        self._sessions = parts.sessions
        self._rooms = parts.rooms
        self._presence = parts.presence
        self._limits = parts.limits
        self._openings = parts.openings
        self._ignored = ignored
        self._shown = parts.shown
        self._random = parts.random
        self._engine = feed.engine
        self._lost = LostRights(feed.engine, parts.rights, parts.rooms, parts.presence)
        #: What subscriptions have in common.
        self.shared = SharedResponses(
            feed,
            heartbeat=parts.heartbeat,
            server=parts.server,
            delay=lambda: round(parts.random() * REOPEN_WITHIN, 2),
            ignored=ignored.lists,
            ended=self._reads_no_longer,
            begins_again=self._reads_again,
        )
        #: What lets all come back who hold something else, within so many seconds, one a step.
        self.sent_away: list[Callable[[float], Iterator[None]]] = []
        parts.rooms.removing.add(self._end_readers_of)
        parts.rights.changed.add(self._end_what_is_not_allowed)
        parts.openings.elsewhere.add(self._opened_elsewhere)
        ignored.changed.add(self._ignores)
        parts.sessions.ended.add(self._session_ended)
        parts.sessions.renewed.add(self.renew)

    def read(
        self,
        session: Session | None,
        rooms: Sequence[Room],
        sink: HeldSink,
        point: ResumePoint,
        *,
        on_end: Callable[[HeldSubscription, bool], None],
        address: str = "",
        grace: float = GRACE,
        at_once: bool = False,
        client: str | None = None,
        most: int | None = None,
        standing: Grant[Room] | None = None,
    ) -> HeldSubscription:
        """Somebody reads rooms by a held request; see `HeldSubscription`.

        :param at_once: a poll is answered even when there is nothing to say.
        :param client: names one of their windows: its poll takes the place of the one before.
        :param most: so many such requests of theirs are held at a time; the oldest gives way.
        :param standing: a poll may be asked anew, as long as this holds: its sink stands.
        :raises ChatError: they may not, see `Rights.may`.
        """
        self._rights.require(session, Act.FOLLOW, rooms, address)
        read = rooms[0].alone if len(rooms) == 1 else RoomSet([room.context for room in rooms])
        make: Callable[..., HeldSubscription] = HeldSubscription
        if sink.one_shot:
            make = partial(PollSubscription, client=client)
        if standing is not None:
            make = partial(StandingSubscription, standing, at_once=at_once, client=client)
        subscription = make(
            self.shared,
            read,
            sink,
            point,
            on_end=on_end,
            session=session,
            address=address,
            grace=grace,
            most=most,
        )
        if session is not None:
            self._reads(session, subscription)
        subscription.hold(point, at_once=at_once)
        return subscription

    def _reads(self, session: Session, subscription: HeldSubscription) -> None:
        session.readers += (subscription,)
        session.seen_from = subscription.address
        shown = self._shown(subscription.address)
        for room in subscription.rooms:
            self._presence.hold(room, session, shown)
        self._make_way(session, subscription)

    def _reads_again(self, subscription: HeldSubscription, grant: Grant[Room]) -> bool:
        """A poll that stands is asked anew: what `read`, and who calls it, do for any other that
        could be refused or be seen by others. On the hot path of polls.

        :returns: False, and nothing was done, when it is to be looked at like any other.
        """
        session, names = grant.session, subscription.rooms
        if not self._rights.is_current(grant):
            return False
        if session is not None:
            if self.shared.ignored and self._ignored.by(session):
                # Since it stands, perhaps.
                return False
            if not self._sessions.use_again(session):
                return False
            present = (session.member or session).present
            for name in names:
                if name not in present:
                    # Others are told that she comes.
                    return False
        try:
            self._limits.hold(subscription.address)
        except TooMany:
            return False
        if session is None:
            return True
        for name in names:
            self._presence.hold(name, session)
        alone = not session.readers
        session.readers += (subscription,)
        if not alone:
            self._make_way(session, subscription)
        return True

    def _make_way(self, session: Session, newest: HeldSubscription) -> None:
        """Let a session's older readers go where the newest one takes their place."""
        if newest.client is not None:
            for each in session.readers:
                if each is not newest and each.client == newest.client:
                    each.answer_now()
        alike = [each for each in session.readers if each.most == newest.most]
        if newest.most is not None and len(alike) > newest.most:
            alike[0].close(kinds.bye("replaced"))
        self._openings.opened(session, newest)

    def _opened_elsewhere(self, opening: Opening) -> None:
        """What `_make_way` does, for what was opened on another node."""
        session = self._sessions.in_use(opening.session)
        if session is None:
            return
        if opening.client is not None:
            for each in session.readers:
                if each.client == opening.client:
                    each.answer_now()
        if opening.most is not None:
            alike = [each for each in session.readers if each.most == opening.most]
            # The other node sees to what it holds itself.
            for each in alike[: max(0, len(alike) + opening.count - opening.most)]:
                each.close(kinds.bye("replaced"))

    def hold(self, session: Session, held: HeldResource) -> None:
        """A session holds something; see `Session.readers`."""
        session.readers += (held,)

    def let_go(self, session: Session, held: HeldResource) -> None:
        """A session holds it no longer."""
        # Mostly it was the only one.
        if session.readers != (held,):
            session.readers = tuple(each for each in session.readers if each is not held)
        else:
            session.readers = ()
        if session.readers or session.ended:
            return
        if session.home is None:
            self._end_ephemeral(session)
        elif session.transient:
            self._sessions.free_name(session)

    def _reads_no_longer(self, subscription: HeldSubscription) -> None:
        session = subscription.session
        if session is None:
            return
        for room in subscription.rooms:
            self._presence.release(room, session, subscription.grace)
        self.let_go(session, subscription)

    def _end_ephemeral(self, session: Session) -> None:
        """End a session that lived as long as its request."""
        ending = Deferred.fromCoroutine(self._sessions.end(session))
        ending.addErrback(lambda failure: self._log.failure("a session stays", failure))

    def _session_ended(self, session: Session) -> None:
        """Close all that a session holds, with a ``bye``; it is gone from all rooms."""
        for reader in session.readers:
            reader.close(kinds.bye("logged out"))
        self._presence.ended(session)

    def renew(self, session: Session) -> None:
        """What was opened by a token that is good no longer begins anew."""
        for each in session.readers:
            each.come_back(RENEWED_AFTER)

    def _end_readers_of(self, room: Room) -> None:
        """A room is being removed: who reads it alone is sent away, a slice at a time, and who
        reads others goes on with these."""
        walk = self._leave(room.context.handlers, room)
        self._engine.slices.walk(walk, partial(self._all_left, room), every=LOOK_EVERY)

    def _leave(self, handlers: Sequence[CometHandler], room: Room) -> Iterator[None]:
        for handler in handlers:
            if isinstance(handler, HeldSubscription) and not handler.leave(room.name):
                handler.close(kinds.bye(_REMOVED))
            yield

    def _all_left(self, room: Room) -> None:
        # Where it took a while, the room is gone by now, and nobody else takes its context away.
        if room.gone and self._rooms.named(room.name) is None and not any(room.context):
            self._engine.unregister(room.context.path)

    def _end_what_is_not_allowed(self, affected: Affected) -> None:
        """The rights have changed: end what is held by one that is gone."""
        if affected.identities is not None:
            self._end_what_some_may_not(affected)
        else:
            self._lost.look(affected)

    def _end_what_some_may_not(self, affected: Affected) -> None:
        """The same, where it concerns a few: what it costs is what these hold."""
        for identity in affected.identities or ():
            held = (each.readers for each in self._sessions.of_identity(identity))
            for reader in chain.from_iterable(held):
                if not isinstance(reader, HeldSubscription):
                    continue
                for name in reader.rooms:
                    room = self._rooms.named(name)
                    if room is not None and affected.concerns(identity, name):
                        self._lost.end_reading(reader, room)

    def may_not_follow(self, session: Session, name: str | None, address: str) -> bool:
        """Whether somebody may not read on in a room; in any at all, where None is named."""
        return self.why_not_follow(session, name, address) is not None

    def why_not_follow(self, session: Session, name: str | None, address: str) -> str | None:
        """Why not, as who reads is told it; None when they may."""
        room = None if name is None else self._rooms.named(name)
        if name is not None and (room is None or room.gone):
            return _REMOVED
        refusal = self._rights.may(session, Act.FOLLOW, room, address)
        return None if refusal is None else refusal.bye or LOST_RIGHT

    def _ignores(self, identity: str) -> None:
        for session in self._sessions.of_identity(identity):
            for reader in session.readers:
                if isinstance(reader, HeldSubscription):
                    reader.choose()

    def send_away(self, within: float) -> None:
        """Let all who read come back from where they are, within so many seconds and not all at
        once; at another process, perhaps. A slice at a time."""
        self._engine.slices.walk(self._going(within), every=LOOK_EVERY)

    def send_away_at_once(self, within: float) -> None:
        """The same before anything else happens: what comes next is not for who reads now."""
        for _ in self._going(within):
            pass

    def _going(self, within: float) -> Iterator[None]:
        # Who has come back by then does not go again.
        held = [handler for room in self._rooms.all() for handler in room.context.handlers]
        for handler in held:
            if isinstance(handler, HeldSubscription):
                handler.come_back(round(self._random() * within, 2))
            yield
        for others in self.sent_away:
            yield from others(within)
