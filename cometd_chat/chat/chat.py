"""The chat: what people can do, and whether they may.

What it is: the one object that the edges talk to; a part or a method for each thing that somebody
can do.

What it may know: its parts, sessions, rooms, presence, the feed. Rules only: no HTTP, no SQL.

Invariant: the parts do not know it, and what one of them has to be told of another is told here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from sys import intern

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.audit import Audit
from cometd_chat.chat.departures import Departures
from cometd_chat.chat.guest_bans import GuestBans
from cometd_chat.chat.ignored import Ignored
from cometd_chat.chat.limits import (
    CALMED_GUESTS,
    IGNORES,
    IN_USE,
    MADE,
    MODERATION,
    NAMES,
    REPORTS,
    ROOMS,
    SESSIONS,
    TYPING,
    Limit,
    where_from,
)
from cometd_chat.chat.matrix import Calm, RoomKind
from cometd_chat.chat.messages import Messages
from cometd_chat.chat.notices import Notices
from cometd_chat.chat.parts import Parts
from cometd_chat.chat.people_lookup import Lookup, Whom
from cometd_chat.chat.presence import GRACE, SLOW_GRACE, Person
from cometd_chat.chat.readers import REOPEN_WITHIN, Readers
from cometd_chat.chat.refusals import stopping
from cometd_chat.chat.reports import Reports
from cometd_chat.chat.rights import Act, Affected
from cometd_chat.chat.roles import Role
from cometd_chat.chat.room_changes import RoomChanges
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Device, Member, Session
from cometd_chat.chat.vacancies import Vacancies
from cometd_chat.errors import (
    NotFound,
    RoomNotFound,
)
from cometd_chat.events.record import Record
from cometd_chat.log.members import Beside, NewMember, nothing_beside


class Chat:
    """The conversation.

    :param parts: what it is joined of.
    """

    _log = Logger()

    def __init__(self, parts: Parts) -> None:
        feed, changes = parts.feed, parts.changes
        rights, moderation = parts.rights, parts.moderation
        self.feed = feed
        self.rights = rights
        self.sessions = parts.sessions
        self.rooms = parts.rooms
        self.presence = parts.presence
        self.positions = parts.positions
        self.limits = parts.limits
        self.changes = changes
        self.policies = parts.policies
        self.waiting = parts.waiting
        self.gathering = parts.gathering
        self.heartbeat = parts.heartbeat
        self.shown = parts.shown
        #: How messages are deleted.
        self.deletions = parts.deletions
        #: And how people are taken out of what they said.
        self.departures = Departures(feed, changes, parts.deletions.now)
        #: Who is silenced, or sent away.
        self.moderation = moderation
        #: How the networks of a raid are banned.
        self.guest_bans = GuestBans(feed, rights, changes, moderation)
        #: Messages that somebody wants looked at.
        self.reports = Reports(
            changes, rights, parts.deletions, parts.rooms.named, partial(self.spend, REPORTS)
        )
        #: Who did what.
        self.audit = Audit(changes, feed.engine.reaper, lambda: int(moderation.now()))
        self._lookup = Lookup(changes, parts.sessions)
        #: What becomes of rooms, and who belongs to them.
        self.room_changes = RoomChanges(
            feed, rights, parts.rooms, changes, self._lookup, parts.limits, moderation.now
        )
        #: Who wants to hear nothing of whom.
        self.ignored = Ignored(changes, feed.engine.reaper, self._spend_on_ignoring)
        feed.control.add(self.ignored.told)
        #: Who reads here.
        self.readers = Readers(parts, self.ignored)
        self._vacancies = Vacancies(parts.rooms, parts.presence, feed.newest, feed.engine.reaper)
        self._partings: list[Callable[[], Deferred[None]]] = []
        self._listen(parts)
        #: What is said.
        self.messages = Messages(parts, self.ignored, self.arrive)
        #: What is told that nobody said.
        self.notices = Notices(parts)
        self._listen_to_sessions()

    def _listen(self, parts: Parts) -> None:
        """Hear what the log tells the house, before anybody is told of it."""
        parts.deletions.spend = parts.moderation.spend = partial(self.spend, MODERATION)
        parts.rooms.removed.add(self._room_gone)
        for part in (parts.rooms, parts.policies, parts.waiting, parts.moderation):
            parts.feed.control.add(part.told)

    def _listen_to_sessions(self) -> None:
        self.sessions.forgotten.add(self._forgotten)
        self.sessions.renamed.add(self._renamed)
        self.sessions.became_member.add(self._became_member)
        self.sessions.role_changed.add(self._role_changed)

    def start(self, recent: Sequence[Record]) -> None:
        """Take up what is kept, and follow the log.

        :param recent: see `Feed.start`.
        """
        self.feed.start(recent)
        self.policies.start()
        self.rooms.start()
        self.room_changes.start()
        self.presence.start()
        self._vacancies.start()
        self.sessions.start()
        self.deletions.start()
        self.departures.start()
        self.moderation.start()
        self.messages.start()
        self.ignored.start()
        self.audit.start()

    # -- sessions

    async def log_in(
        self,
        name: str,
        address: str,
        *,
        ephemeral: bool = False,
        transient: bool = False,
        browser: str | None = None,
        agent: str = "",
    ) -> tuple[Session, str]:
        """Start a guest session; see `Sessions.start_guest`.

        :param address: where from, for the limits; empty where that isn't known.
        :raises TooMany: too many sessions from that address.
        """
        self.rights.require(None, Act.COME_AS_GUEST, address=address)
        if self.rights.calm >= Calm.MEMBERS:
            self.limits.take(CALMED_GUESTS, address=address)
        starting = partial(
            self.sessions.start_guest,
            name,
            ephemeral=ephemeral,
            transient=transient,
            browser=browser,
            agent=agent,
            role=self.rights.guest_role,
        )
        return await self._started(starting, address)

    async def start_member(
        self, identity: str, address: str, *, agent: str = "", beside: Beside = nothing_beside
    ) -> tuple[Session, str]:
        """A new session of somebody who has an account; see `Sessions.start_member`.

        :param address: where from, for the limits; empty where that isn't known.
        :raises TooMany: too many sessions from that address.
        """
        starting = partial(self.sessions.start_member, identity, agent=agent, beside=beside)
        return await self._started(starting, address)

    async def make_member(
        self, new: NewMember, address: str, *, agent: str = "", beside: Beside = nothing_beside
    ) -> tuple[Session, str]:
        """The first session of somebody who has an account at once; see `start_member`."""
        starting = partial(self.sessions.make_member, new, agent=agent, beside=beside)
        return await self._started(starting, address)

    async def _started(
        self, start: Callable[[], Awaitable[tuple[Session, str]]], address: str
    ) -> tuple[Session, str]:
        self.limits.take(SESSIONS, address=address)
        self.limits.hold(address, IN_USE)
        try:
            session, token = await start()
        except BaseException:
            self.limits.let_go(address, IN_USE)
            raise
        # One string for all who share an address.
        session.address = intern(address)
        if session.role is Role.WAITING:
            self.waiting.came.tell(session)
        return session, token

    async def devices(self, session: Session) -> Sequence[Device]:
        """The sessions of who has this one, the oldest first."""
        self.rights.require(session, Act.OWN_ACCOUNT)
        return await self.sessions.devices(session)

    async def end_device(self, session: Session, id: str) -> None:
        """End one of them.

        :raises NotFound: there is none.
        """
        self.rights.require(session, Act.OWN_ACCOUNT)
        await self.sessions.end_device(session, id)

    def _forgotten(self, session: Session) -> None:
        """A session is in use no longer; if it is again, it is another object."""
        self.presence.gone_for_long(session)
        address, session.address = session.address, None
        if address is not None:
            self.limits.let_go(address, IN_USE)

    async def rename(self, session: Session, name: str, address: str) -> str | None:
        """Give somebody another name; others see one go and one come.

        What she holds begins anew: it was opened by the token that is hers no longer. See
        `Sessions.rename`.

        :param address: where from, for the limits; empty where that isn't known.
        :returns: her new token; None when she is called as before, and keeps it.
        :raises TooMany: too many new names.
        :raises Silenced: all would read it, and they may not speak somewhere.
        """
        if session.name_key is not None and name.strip() != session.name:
            self.moderation.require_heard(session)
        if session.name_key is None or name.strip() != session.name:
            self.limits.take(NAMES, session=session.identity, address=address)
        token = self.sessions.new_token()
        old = await self.sessions.rename(session, name, token)
        return None if old == session.name else token

    def _renamed(self, session: Session, old: str) -> None:
        # Somebody with several devices is called otherwise once.
        if session.member is None or session.member.sessions[0] is session:
            self.presence.renamed(session, old)
        self.readers.renew(session)

    def _became_member(self, session: Session) -> None:
        self.presence.became_member(session)
        self.rights.changed_by_state(Affected(identities=(session.identity,)))

    def _role_changed(self, member: Member) -> None:
        self.presence.role_changed(member)
        self.rights.changed_by_state(Affected(identities=(member.identity,)))

    async def log_out(self, session: Session) -> None:
        """End a session and whatever it holds, on all nodes."""
        await self.sessions.end(session)

    def arrive(self, session: Session, room: Room, address: str, grace: float = SLOW_GRACE) -> None:
        """Somebody asked something about a room, and is in it from now.

        :param address: where from.
        :param grace: seconds that she is present; by default those of a page, which will open its
            stream in a moment.
        """
        session.seen_from = intern(address)
        self.presence.seen(room.name, session, grace, self.shown(address))

    def type(self, session: Session, room: Room, address: str) -> None:
        """Somebody is writing.

        :param address: where from.
        :raises TooMany: she says so too often.
        """
        self.rights.require(session, Act.SPEAK, [room], address)
        self.limits.take(TYPING, session=session.identity, address=address)
        self.arrive(session, room, address, GRACE)
        self.presence.typing(room.name, session)

    # -- rooms

    async def make_room(
        self,
        session: Session,
        name: str,
        topic: str,
        address: str,
        kind: RoomKind = RoomKind.PUBLIC,
    ) -> Room:
        """Make a room, which its maker moderates; see `Rooms.plan` and `Rooms.make`. What can't be
        made costs nothing.

        :param address: where from, for the limits; empty where that isn't known.
        :raises TooMany: she made too many, or her address has made as many as it may.
        """
        self.rights.require(session, Act.MAKE_ROOM, address=address)
        row = self.rooms.plan(name, topic, session, kind)
        self.limits.take(ROOMS, session=session.identity, address=address)
        self.limits.hold(address, MADE)
        try:
            room = await self.rooms.make(row, {session.identity: Role.MODERATOR})
        except BaseException:
            self.limits.let_go(address, MADE)
            raise
        room.address = intern(address)
        return room

    async def room(self, name: str, asker: Session | None) -> Room:
        """The room of a name, as somebody typed it; see `Rooms.find`.

        :raises RoomNotFound: there is none, on no process.
        :raises StorageUnavailable: there is none here, and that can't be known of the others.
        """
        try:
            return self.rooms.find(name, asker)
        except RoomNotFound:
            # Another process may have made it, and told whoever asks.
            await self.feed.catch_up()
            return self.rooms.find(name, asker)

    def _room_gone(self, room: Room) -> None:
        if room.address is not None:
            self.limits.let_go(room.address, MADE)

    # -- messages

    async def somebody(self, name: str, room: Room) -> Whom:
        """Whoever is called so, or was when they spoke in a room lately.

        :raises NotFound: nobody is, and nobody was.
        """
        try:
            return await self._lookup.by_name(name)
        except NotFound:
            return await self.deletions.author(room, name)

    def _spend_on_ignoring(self, session: Session) -> None:
        self.rights.require(session, Act.IGNORE)
        self.spend(IGNORES, session)

    def spend(self, limit: Limit, session: Session, address: str = "") -> None:
        """Take something that somebody does from their limits. Who is at the shell has none.

        :param address: where from, where that is known.
        :raises TooMany: they did too much of it.
        """
        if session.identity:
            self.limits.take(limit, session=session.identity, address=where_from(session, address))

    def people(self, room: Room, asker: Session | None) -> Sequence[Person]:
        """Who is in a room, as somebody sees it; see `Presence.people`."""
        people, ignored = self.presence.people(room.name), self.ignored.by(asker)
        if not ignored:
            return people
        return [each for each in people if each.identity not in ignored]

    def leave_history(self) -> None:
        """The log was put back to an earlier state, by a backup or by the loss of what was written
        last, but cursors are still of the history that is over: whoever reads comes back with one,
        and is told `reset` if it is gone."""
        self.readers.send_away_at_once(REOPEN_WITHIN)

    def put_back(self) -> None:
        """And now they are of the other history."""
        self.feed.begin_anew()
        self.sessions.doubt_all()
        self.rooms.put_back()

    def stop(self) -> Deferred[None]:
        """Tell all readers where to go on, and take no more.

        :returns: fires once nothing more can be known of how far they have come.
        """
        self.rights.stopping = True
        # What was taken is stored; nothing comes after it.
        self.gathering.hand_over()
        self.feed.refuse_waiting(stopping())
        self.deletions.stop()
        parted = [maybeDeferred(part).addErrback(self._not_parted) for part in self._partings]
        self.feed.engine.shutdown()
        return gatherResults(parted).addCallback(lambda _: self.positions.stop())

    def call_at_stop(self, part: Callable[[], Deferred[None]]) -> None:
        """Call somebody when the daemon stops who holds clients of another protocol.

        :param part: sends them away. Positions are written once what it returns has fired.
        """
        self._partings.append(part)

    def _not_parted(self, failure: Failure) -> None:
        self._log.failure("clients were not sent away", failure)
