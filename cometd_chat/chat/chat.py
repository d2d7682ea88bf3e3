"""The chat: what people can do, and whether they may.

What it is: the one object that the edges talk to; a method a thing that somebody can do.

What it may know: sessions, rooms, presence, the feed. Rules only: no HTTP, no SQL.

Invariant: what somebody says reaches her by the same way as everybody else, by the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from sys import intern

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.audit import Audit
from cometd_chat.chat.deletions import Deletions
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.held_subscription import (
    HeldSubscription,
    SharedResponses,
)
from cometd_chat.chat.ignored import Ignored
from cometd_chat.chat.limits import (
    IGNORES,
    IN_USE,
    MADE,
    MESSAGES,
    NAMES,
    ROOMS,
    SESSIONS,
    TEXT,
    TYPING,
    Limits,
)
from cometd_chat.chat.matrix import Calm, RoomKind
from cometd_chat.chat.moderation import Moderation
from cometd_chat.chat.openings import Opening, Openings
from cometd_chat.chat.people_lookup import Lookup, Whom
from cometd_chat.chat.policies import Policies
from cometd_chat.chat.poll_subscription import PollSubscription
from cometd_chat.chat.positions import Positions
from cometd_chat.chat.presence import GRACE, SLOW_GRACE, Person, Presence
from cometd_chat.chat.reports import Reports
from cometd_chat.chat.resume import ResumePoint
from cometd_chat.chat.rights import Act, Affected, Grant, Rights, stopping
from cometd_chat.chat.roles import Role
from cometd_chat.chat.room_changes import RoomChanges
from cometd_chat.chat.rooms import Room, Rooms
from cometd_chat.chat.sanctions import SILENCE, Sanction, told_of
from cometd_chat.chat.screened import Screened, notice
from cometd_chat.chat.sessions import Device, HeldResource, Member, Session, Sessions
from cometd_chat.chat.shared_state import PAGE_BYTES, RoomSet, cut, size_of
from cometd_chat.chat.sink import HeldSink
from cometd_chat.chat.slow_mode import SlowMode
from cometd_chat.chat.standing import StandingSubscription
from cometd_chat.chat.vacancies import Vacancies
from cometd_chat.chat.waiting import WaitingList
from cometd_chat.chat.word_filter import Found, WordFilter
from cometd_chat.chat.word_filter import refusal as word_refusal
from cometd_chat.comet import Delivery
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import (
    ClientIdReused,
    NotFound,
    RoomNotFound,
    TooMany,
)
from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.events.kinds import Kind
from cometd_chat.events.record import Draft, Record, data_size
from cometd_chat.events.texts import refused
from cometd_chat.log.changes import Changes
from cometd_chat.log.control import Control, NoticeGiven, RoomMember
from cometd_chat.log.gathering import Gathering
from cometd_chat.log.members import Beside, NewMember, nothing_beside
from cometd_chat.log.redaction import is_emptied

MAX_CLIENT_ID = 64

#: When the daemon stops, readers come back within so many seconds, not all at once.
REOPEN_WITHIN = 3.0

#: Seconds after which those come back whose token is a new one; their browser has it by then.
RENEWED_AFTER = 1.0


#: So often the log is read for one page of history, where those are left out whom somebody ignores.
_MOST_READS = 20

#: Seconds between what somebody says and says next in any room, by the policy `calm`.
CALM_SECONDS = 10

#: Ids of a log are below it.
_TOP = 2**63

#: What is told to who may not read any longer what they read.
LOST_RIGHT = "you may not read this any longer"


class Chat:
    """The conversation.

    :param heartbeat: seconds of silence after which a stream gets a heartbeat.
    :param server: what this daemon calls itself in `hello`.
    :param shown: what others may see of an address, or None.
    :param random: a number between 0 and 1, another one each time.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        feed: Feed,
        rights: Rights,
        sessions: Sessions,
        rooms: Rooms,
        presence: Presence,
        positions: Positions,
        limits: Limits,
        openings: Openings,
        changes: Changes,
        deletions: Deletions,
        moderation: Moderation,
        policies: Policies,
        waiting: WaitingList,
        gathering: Gathering,
        heartbeat: float,
        server: str,
        shown: Callable[[str], str | None],
        random: Callable[[], float],
    ) -> None:
        self.feed = feed
        self.sessions = sessions
        self.rooms = rooms
        self.presence = presence
        self.positions = positions
        self.limits = limits
        self.openings = openings
        #: How all is changed that is kept beside the log.
        self.changes = changes
        #: How messages are deleted.
        self.deletions = deletions
        #: Messages that somebody wants looked at.
        self.reports = Reports(changes, rights, deletions, rooms.named)
        self._lookup = Lookup(changes, sessions)
        #: Who is silenced, or sent away.
        self.moderation = moderation
        #: Who did what.
        self.audit = Audit(changes, feed.engine.reaper, lambda: int(moderation.now()))
        #: What the house is like, and who waits to be let in.
        self.policies = policies
        self.waiting = waiting
        #: What becomes of rooms, and who belongs to them.
        self.room_changes = RoomChanges(
            feed, rights, rooms, changes, Lookup(changes, sessions), limits, moderation.now
        )
        #: By which all that is said goes to the log.
        self.gathering = gathering
        self.rights = rights
        self.heartbeat = heartbeat
        self.shown = shown
        self._random = random
        #: Told when the log was put back, and within how many seconds readers come back: for those
        #: who hold clients of another protocol.
        self.history_left: Listeners[[float]] = Listeners("a history that is over")
        #: Who wants to hear nothing of whom.
        self.ignored = Ignored(changes, feed.engine.reaper, self._spend_on_ignoring)
        feed.control.add(self.ignored.told)
        self.ignored.changed.add(self._ignores)
        #: What subscriptions have in common.
        self.shared = SharedResponses(
            feed,
            heartbeat=heartbeat,
            server=server,
            delay=lambda: round(random() * REOPEN_WITHIN, 2),
            ignored=self.ignored.lists,
            ended=self._reads_no_longer,
            begins_again=self._reads_again,
        )
        reaper = feed.engine.reaper
        self._vacancies = Vacancies(rooms, presence, feed.newest, reaper)
        #: Told of each append that was waited for, in seconds.
        self.append_waited: Listeners[[float]] = Listeners("appends")
        #: Told when all who read are to come back, within so many seconds.
        self.sending_away: Listeners[[float]] = Listeners("who is sent away")
        self._partings: list[Callable[[], Deferred[None]]] = []
        rooms.removing.add(self._end_readers_of)
        rooms.removed.add(self._room_gone)
        rights.changed.add(self._end_what_is_not_allowed)
        feed.control.add(rooms.told)
        feed.control.add(policies.told)
        feed.control.add(waiting.told)
        openings.elsewhere.add(self._opened_elsewhere)
        feed.control.add(moderation.told)
        feed.control.add(self._notice_given)
        feed.control.add(self._room_member)
        waiting.came.add(self._knocks)
        policies.changed.add(self._policy_changed)
        # None while no word is looked for: it is asked for each message.
        self._words: WordFilter | None = None
        #: What waits for a moderator.
        self.screened = Screened(
            changes,
            rights,
            feed.engine.reaper,
            now=lambda: int(moderation.now()),
            random_bytes=moderation.random_bytes,
            append=lambda draft: self._append(draft, data_size(draft.data)),
            room_named=rooms.named,
        )
        #: Who spoke last in rooms that are slow.
        self.slow_mode = SlowMode(feed.engine.reaper, self._slow_by_path)
        feed.log.follow(self.slow_mode.told)
        moderation.imposed.add(self._sanctioned)
        moderation.ended.add(self._sanctions_ended)
        sessions.forgotten.add(self._forgotten)
        sessions.ended.add(self._ended)
        sessions.renamed.add(self._renamed)
        sessions.renewed.add(self._renewed)
        sessions.became_member.add(self._became_member)
        sessions.role_changed.add(self._role_changed)

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
        self.moderation.start()
        self.screened.start()
        self._policy_changed("words")
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
        """
        if session.name_key is None or name.strip() != session.name:
            self.limits.take(NAMES, session=session.identity, address=address)
        token = self.sessions.new_token()
        old = await self.sessions.rename(session, name, token)
        return None if old == session.name else token

    def _renamed(self, session: Session, old: str) -> None:
        # Somebody with several devices is called otherwise once.
        if session.member is None or session.member.sessions[0] is session:
            self.presence.renamed(session, old)
        self._renewed(session)

    def _renewed(self, session: Session) -> None:
        """What was opened by a token that is good no longer begins anew."""
        for each in session.readers:
            each.come_back(RENEWED_AFTER)

    def _became_member(self, session: Session) -> None:
        self.presence.became_member(session)
        self.rights.changed_by_state(Affected(identities=(session.identity,)))

    def _role_changed(self, member: Member) -> None:
        self.presence.role_changed(member)
        self.rights.changed_by_state(Affected(identities=(member.identity,)))

    async def log_out(self, session: Session) -> None:
        """End a session and whatever it holds, on all nodes."""
        await self.sessions.end(session)

    def _ended(self, session: Session) -> None:
        self.dismiss(session, "logged out")

    def dismiss(self, session: Session, reason: str) -> None:
        """Close all that a session holds, with a ``bye``; it is gone from all rooms."""
        for reader in session.readers:
            reader.close(kinds.bye(reason))
        self.presence.ended(session)

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

    def _end_readers_of(self, room: Room) -> None:
        """A room is being removed: who reads it alone is sent away, and who reads others goes on
        with these."""
        for handler in list(room.context.handlers):
            if isinstance(handler, HeldSubscription) and not handler.leave(room.name):
                handler.close(kinds.bye("removed"))

    def _room_gone(self, room: Room) -> None:
        if room.address is not None:
            self.limits.let_go(room.address, MADE)

    # -- messages

    async def say(
        self,
        session: Session,
        room: Room,
        text: object,
        client_id: object = None,
        *,
        address: str,
    ) -> tuple[Event, bool]:
        """Say a message in a room; see `post`.

        :param text: 1 to 8,000 code points.
        """
        asked = {"text": text}
        return await self.post(session, room, kinds.MESSAGE, asked, client_id, address=address)

    async def post(
        self,
        session: Session,
        room: Room,
        kind: Kind,
        asked: Mapping[str, object],
        client_id: object = None,
        *,
        address: str,
    ) -> tuple[Event, bool]:
        """Say something of any kind in a room.

        :param kind: one that clients can say.
        :param asked: what her client says of it, see `Kind.asks`; with ``refers`` where the kind
            has one.
        :param client_id: her own key for it, 1 to 64 printable ASCII characters: with it, saying
            it again has no effect.
        :param address: where from.
        :returns: the event, once it is durable, and whether it had been said before.
        :raises InvalidRequest: that can't be said.
        :raises ClientIdReused: the key was used for something else.
        :raises TooMany: too much at once.
        :raises StorageUnavailable: it was not kept.
        """
        self.rights.require(session, Act.SPEAK, [room], address)
        data, key, refers = kind.parsed(asked), _client_id(client_id), None
        screening = None if self._words is None else self._screen(session, room, data)
        size, identity = data_size(data), session.identity
        amounts = [(MESSAGES, 1), (TEXT, size)]
        self.limits.take_all(amounts, session=identity, address=address)
        self.arrive(session, room, address, GRACE)
        if kind.refers:
            refers = await self._referred(room, kind, asked.get("refers"))
            # What she might do may have changed meanwhile.
            self.rights.require(session, Act.SPEAK, [room], address)
        path = room.context.path
        draft = Draft(path, kind.name, identity, session.name, data, refers, key)
        if screening is Found.HOLD:
            raise await self.screened.put(draft)
        slow = room.slow or self.rights.calm is Calm.SLOW
        not_said = self._take_turn(session, room) if slow else None
        try:
            record = await self._append(draft, size)
        except BaseException:
            if not_said is not None:
                not_said()
            raise
        if record.repeated and not_said is not None:
            not_said()
        return self.feed.event(record), record.repeated

    def _screen(self, session: Session, room: Room, data: Mapping[str, object]) -> Found:
        """Look for words in what somebody says who does not moderate.

        :raises InvalidRequest: there is one that is not said here.
        """
        text = data.get("text")
        if not isinstance(text, str) or self.rights.rank(session, room) >= Role.MODERATOR:
            return Found.FINE
        found = Found.FINE if self._words is None else self._words.look(text)
        if found is Found.REFUSE:
            raise word_refusal()
        return found

    def _take_turn(self, session: Session, room: Room) -> Callable[[], None] | None:
        """Say something in a room that is slow; see `SlowMode.take`."""
        if not self.seconds_between(session, room):
            return None
        return self.slow_mode.take(room.context.path, session.identity)

    def seconds_between(self, session: Session, room: Room) -> float:
        """How long somebody has to wait between two messages in a room."""
        slow = self._seconds_between(room)
        return 0 if slow and self.rights.rank(session, room) >= Role.MODERATOR else slow

    def _seconds_between(self, room: Room) -> float:
        """How slow a room is."""
        if self.rights.calm is Calm.SLOW:
            return max(room.slow, CALM_SECONDS)
        return room.slow

    def _slow_by_path(self, path: str) -> float:
        room = self.rooms.named(kinds.room_of(path))
        return 0 if room is None else self._seconds_between(room)

    def _policy_changed(self, name: str) -> None:
        if name == "words":
            self._words = WordFilter(self.policies.words) or None
        elif name == "calm":
            self._tell_calm(self.policies.calm.word)

    def _tell_calm(self, word: str) -> None:
        """Tell all who read how calm it is, a slice at a time: once for each room."""
        used = [each for each in self.rooms.all() if self._is_used(each)]
        told = [Delivery(each.context.path, kinds.calm(each.name, word)) for each in used]
        self.feed.engine.deliver(told)

    def _is_used(self, room: Room) -> bool:
        """Whether somebody reads it here, or is in it."""
        return any(True for _ in room.context) or self.presence.count(room.name) > 0

    def _notice_given(self, control: Control) -> None:
        if not isinstance(control, NoticeGiven):
            return
        event = Event(control.event)
        if control.to:
            for identity in control.to:
                self.tell_person(identity, event)
        else:
            room = None if control.room is None else self.rooms.named(control.room)
            if room is not None or control.room is None:
                self.tell_moderators(event, room)

    async def _append(self, draft: Draft, size: int) -> Record:
        """Have a draft kept, and say how long that took.

        :raises ClientIdReused: its key is that of something else.
        """
        seconds = self.feed.engine.reaper.seconds
        began = seconds()
        posted, told = self.limits.posting(draft.sender), False
        try:
            record = await self.gathering.append(draft, size)
            told = not record.repeated
        finally:
            posted(told)
            self.append_waited.tell(seconds() - began)
        # What was taken out of it, nobody can compare.
        if record.repeated and not (record.repeats(draft) or is_emptied(record)):
            raise ClientIdReused(
                "This was sent before, with another text: send it once more if both are meant.",
                hint="This session has posted another text with that client_id: use a new one.",
            )
        return record

    async def _referred(self, room: Room, kind: Kind, id: object) -> int:
        """The id of what something is about, which is in the same room."""
        if not isinstance(id, int) or isinstance(id, bool) or not 0 < id < _TOP:
            raise refused("refers", "there is no such id")
        # It may be newer than what was told here: another process may have shown it.
        path = room.context.path
        found = await self.feed.log.read([path], after=id - 1, before=id + 1, limit=1)
        if not found or found[0].type != kind.refers:
            raise refused("refers", f"there is no such {kind.refers} in this room")
        return id

    async def somebody(self, name: str, room: Room) -> Whom:
        """Whoever is called so, or was when they spoke in a room lately.

        :raises NotFound: nobody is, and nobody was.
        """
        try:
            return await self._lookup.by_name(name)
        except NotFound:
            return await self.deletions.author(room, name)

    async def history(
        self,
        room: Room,
        asker: Session | None,
        *,
        before: int | None,
        after: int | None,
        limit: int,
        size_of: Callable[[Event], int] = size_of,
    ) -> tuple[Sequence[Event], bool]:
        """What was said in a room, oldest first, and whether there is more in that direction; it
        is made of the kinds that have a line on a page, see `Kind.page`.

        :param asker: who asks; None for somebody without a session.
        :param before: only those before this id.
        :param after: only those after this id; then the oldest of them, else the newest.
        :param limit: at most so many, and at most `PAGE_BYTES`.
        :param size_of: how many of these a message takes.
        :raises ChatError: they may not see it, or not any longer once the log is read.
        """
        newest, ignored = after is None, self.ignored.by(asker)
        found: list[Event] = []
        for _ in range(_MOST_READS):
            # With what other processes have said a moment ago, which is told here in a moment.
            records = await self.feed.log.read(
                [room.context.path],
                after=after or 0,
                before=before,
                limit=limit + 1,
                newest=newest,
                max_bytes=PAGE_BYTES,
                types=kinds.history_types(),
            )
            self.rights.require(asker, Act.SEE, [room])
            made = [self.feed.made(each) for each in records if each.sender not in ignored]
            found = [*made, *found] if newest else [*found, *made]
            if not ignored or not records or len(found) > limit:
                break
            # Some of it is nothing to them.
            before, after = (records[0].id, after) if newest else (before, records[-1].id)
        # Where it is cut to size, the end that was not asked for is left out.
        page = cut(found[::-1] if newest else found, limit, size_of)
        return page[::-1] if newest else page, len(page) < len(found)

    # -- reading

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
        self.rights.require(session, Act.FOLLOW, rooms, address)
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
        shown = self.shown(subscription.address)
        for room in subscription.rooms:
            self.presence.hold(room, session, shown)
        self._make_way(session, subscription)

    def _reads_again(self, subscription: HeldSubscription, grant: Grant[Room]) -> bool:
        """A poll that stands is asked anew: what `read`, and who calls it, do for any other that
        could be refused or be seen by others. On the hot path of polls.

        :returns: False, and nothing was done, when it is to be looked at like any other.
        """
        session, names = grant.session, subscription.rooms
        if self.rights.stopping or not self.rights.is_current(grant):
            return False
        if session is not None:
            if self.shared.ignored and self.ignored.by(session):
                # Since it stands, perhaps.
                return False
            if not self.sessions.use_again(session):
                return False
            present = (session.member or session).present
            for name in names:
                if name not in present:
                    # Others are told that she comes.
                    return False
        try:
            self.limits.hold(subscription.address)
        except TooMany:
            return False
        if session is None:
            return True
        for name in names:
            self.presence.hold(name, session)
        alone = not session.readers
        session.readers += (subscription,)
        if not alone:
            self._make_way(session, subscription)
        return True

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
            self.sessions.free_name(session)

    def _end_what_is_not_allowed(self, affected: Affected) -> None:
        """The rights have changed: end what is held by one that is gone.

        All at once, and not in slices: nobody is told anything more by a right that has ended.
        """
        if affected.identities is not None:
            self._end_what_some_may_not(affected)
            return
        comes_from = affected.comes_from
        for room in self._rooms_of(affected):
            for handler in room.context.handlers:
                if not isinstance(handler, HeldSubscription):
                    continue
                if comes_from is None or comes_from(handler.address):
                    self._end_reading(handler, room)

    def _end_what_some_may_not(self, affected: Affected) -> None:
        """The same, where it concerns a few: what it costs is what these hold."""
        for identity in affected.identities or ():
            for session in self.sessions.of_identity(identity):
                for reader in session.readers:
                    if isinstance(reader, HeldSubscription):
                        for name in reader.rooms:
                            room = self.rooms.named(name)
                            if room is not None and affected.concerns(identity, name):
                                self._end_reading(reader, room)

    def _end_reading(self, reader: HeldSubscription, room: Room) -> None:
        """End what somebody reads by a right that is gone. Of several rooms the others go on."""
        refusal = self.rights.may(reader.session, Act.FOLLOW, room, reader.address)
        if refusal is None or room.name not in reader.rooms:
            return
        session = reader.session
        if not reader.leave(room.name):
            reader.close(kinds.bye(refusal.bye or LOST_RIGHT))
        elif session is not None:
            self.presence.release(room.name, session)

    def may_not_follow(self, session: Session, name: str | None, address: str) -> bool:
        """Whether somebody may not read on in a room; in any at all, where None is named."""
        room = None if name is None else self.rooms.named(name)
        if room is None and name is not None:
            return True
        return self.rights.may(session, Act.FOLLOW, room, address) is not None

    def _rooms_of(self, affected: Affected) -> Iterable[Room]:
        if affected.rooms is None:
            return self.rooms.all()
        found = (self.rooms.named(name) for name in affected.rooms)
        return [room for room in found if room is not None]

    # -- who ignores whom

    def _spend_on_ignoring(self, session: Session) -> None:
        self.rights.require(session, Act.IGNORE)
        self.limits.take(IGNORES, session=session.identity)

    def _ignores(self, identity: str) -> None:
        for session in self.sessions.of_identity(identity):
            for reader in session.readers:
                if isinstance(reader, HeldSubscription):
                    reader.choose()

    def people(self, room: Room, asker: Session | None) -> Sequence[Person]:
        """Who is in a room, as somebody sees it; see `Presence.people`."""
        people, ignored = self.presence.people(room.name), self.ignored.by(asker)
        if not ignored:
            return people
        return [each for each in people if each.identity not in ignored]

    # -- told to some alone

    def tell_person(self, identity: str, event: Event) -> None:
        """Something for one person alone: by all that they hold on this node. It is not kept: who
        holds nothing finds it where it can be asked for."""
        for session in self.sessions.of_identity(identity):
            _tell(session, event)

    def tell_moderators(self, event: Event, room: Room | None = None) -> None:
        """Something for those who moderate the house, or a room that they see, on this node;
        likewise."""
        for session in self.sessions.all_in_use():
            if (
                session.readers
                and self.rights.rank(session, room) >= Role.MODERATOR
                and (room is None or self.rights.may(session, Act.SEE, room) is None)
            ):
                _tell(session, event)

    def _knocks(self, session: Session) -> None:
        """Somebody waits to be let in: moderators are told, on all nodes."""
        told = notice(kinds.knock(session.name, int(self.moderation.now())))
        telling = self.changes.make(lambda connection: None, lambda _: [told])
        telling.addErrback(self._not_heard)

    def _not_heard(self, failure: Failure) -> None:
        self._log.warn("a knock is not heard: {reason}", reason=failure.value)

    def _room_member(self, control: Control) -> None:
        """Somebody whom somebody else has let into a room is told so."""
        if not isinstance(control, RoomMember) or control.role is None:
            return
        if control.by_name and control.by != control.identity:
            self.tell_person(control.identity, kinds.invited(control.room, control.by_name))

    def _sanctioned(self, sanction: Sanction) -> None:
        if not sanction.identity:
            return
        self.tell_person(sanction.identity, told_of(sanction))
        if sanction.kind is not SILENCE:
            # Nobody is sent away and seen for a while yet.
            for session in self.sessions.of_identity(sanction.identity):
                rooms = session.person.present if sanction.room is None else [sanction.room]
                for name in rooms:
                    self.presence.leave(name, session)

    def _sanctions_ended(self, over: Sequence[Sanction]) -> None:
        ended: dict[str, list[Sanction]] = {}
        for sanction in over:
            if sanction.identity:
                ended.setdefault(sanction.identity, []).append(sanction)
        # One look at all sessions, however many end at once.
        for session in self.sessions.all_in_use() if ended else ():
            if session.readers:
                for sanction in ended.get(session.identity, ()):
                    _tell(session, told_of(sanction, lifted=True))

    def send_away(self, within: float) -> None:
        """Let all who read come back from where they are, within so many seconds and not all at
        once; at another process, perhaps."""
        for room in self.rooms.all():
            for handler in list(room.context.handlers):
                if isinstance(handler, HeldSubscription):
                    handler.come_back(round(self._random() * within, 2))
        self.sending_away.tell(within)

    def leave_history(self) -> None:
        """The log was put back to an earlier state, by a backup or by the loss of what was written
        last, but cursors are still of the history that is over: whoever reads comes back with one,
        and is told `reset` if it is gone."""
        self.send_away(REOPEN_WITHIN)
        self.history_left.tell(REOPEN_WITHIN)

    def put_back(self) -> None:
        """And now they are of the other history."""
        self.feed.begin_anew()
        self.sessions.doubt_all()
        self.rooms.put_back()

    def _make_way(self, session: Session, newest: HeldSubscription) -> None:
        """Let a session's older readers go where the newest one takes their place."""
        if newest.client is not None:
            for each in session.readers:
                if each is not newest and each.client == newest.client:
                    each.answer_now()
        alike = [each for each in session.readers if each.most == newest.most]
        if newest.most is not None and len(alike) > newest.most:
            alike[0].close(kinds.bye("replaced"))
        self.openings.opened(session, newest)

    def _opened_elsewhere(self, opening: Opening) -> None:
        """What `_make_way` does, for what was opened on another node."""
        session = self.sessions.in_use(opening.session)
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

    def _reads_no_longer(self, subscription: HeldSubscription) -> None:
        session = subscription.session
        if session is None:
            return
        for room in subscription.rooms:
            self.presence.release(room, session, subscription.grace)
        self.let_go(session, subscription)

    def _end_ephemeral(self, session: Session) -> None:
        """End a session that lived as long as its request."""
        ending = Deferred.fromCoroutine(self.log_out(session))
        ending.addErrback(lambda failure: self._log.failure("a session stays", failure))

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


def _tell(session: Session, event: Event) -> None:
    for reader in session.readers:
        reader.tell(event)


def _client_id(client_id: object) -> str | None:
    if client_id is None:
        return None
    if not isinstance(client_id, str) or not 1 <= len(client_id) <= MAX_CLIENT_ID:
        raise refused("client_id", f"1 to {MAX_CLIENT_ID} characters are needed")
    if not all(" " <= each <= "~" for each in client_id):
        raise refused("client_id", "only printable ASCII can be in it")
    return client_id
