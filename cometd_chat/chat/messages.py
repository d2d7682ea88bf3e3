"""What is said in rooms, and what was.

What it is: `Messages`, from what somebody says to the log, and back from the log a page at a time.

What it may know: rights, limits, the feed, the log. Not who reads, nor how they are told.

Invariant: what somebody says reaches her by the same way as everybody else, by the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cometd_chat.chat.ignored import Ignored
from cometd_chat.chat.limits import MESSAGES, TEXT
from cometd_chat.chat.matrix import Calm
from cometd_chat.chat.parts import Parts
from cometd_chat.chat.presence import GRACE
from cometd_chat.chat.rights import Act
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.screened import Screened
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.shared_state import PAGE_BYTES, cut, size_of
from cometd_chat.chat.slow_mode import SlowMode
from cometd_chat.chat.word_filter import Found, WordFilter
from cometd_chat.chat.word_filter import refusal as word_refusal
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import ClientIdReused
from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.events.kinds import Kind
from cometd_chat.events.record import Draft, Record, data_size
from cometd_chat.events.texts import refused
from cometd_chat.log.redaction import is_emptied

MAX_CLIENT_ID = 64

#: So often the log is read for one page of history, where those are left out whom somebody ignores.
_MOST_READS = 20

#: Seconds between what somebody says and says next in any room, by the policy `calm`.
CALM_SECONDS = 10

#: Ids of a log are below it.
_TOP = 2**63


class Messages:
    """What is said.

    :param arrive: somebody is in a room from now, from an address, for so many seconds.
    """

    def __init__(
        self,
        parts: Parts,
        ignored: Ignored,
        arrive: Callable[[Session, Room, str, float], None],
    ) -> None:
        feed, policies, moderation = parts.feed, parts.policies, parts.moderation
        self._feed = feed
        self._rights = parts.rights
        self._rooms = parts.rooms
        self._limits = parts.limits
        self._ignored = ignored
        self._policies = policies
        self._gathering = parts.gathering
        self._arrive = arrive
        reaper = feed.engine.reaper
        #: Told of each append that was waited for, in seconds.
        self.append_waited: Listeners[[float]] = Listeners("appends")
        # None while no word is looked for: it is asked for each message.
        self._words: WordFilter | None = None
        #: What waits for a moderator.
        self.screened = Screened(
            parts.changes,
            parts.rights,
            reaper,
            now=lambda: int(moderation.now()),
            random_bytes=moderation.random_bytes,
            append=lambda draft: self._append(draft, data_size(draft.data)),
            room_named=parts.rooms.named,
        )
        # Who spoke last in rooms that are slow.
        self._slow_mode = SlowMode(reaper, self._slow_by_path)
        feed.log.follow(self._slow_mode.told)
        policies.changed.add(self._policy_changed)

    def start(self) -> None:
        """Take up what is kept. Blocks."""
        self.screened.start()
        self._policy_changed("words")

    def _policy_changed(self, name: str) -> None:
        if name == "words":
            self._words = WordFilter(self._policies.words) or None

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
        self._rights.require(session, Act.SPEAK, [room], address)
        data, key, refers = kind.parsed(asked), _client_id(client_id), None
        screening = None if self._words is None else self._screen(session, room, data)
        size, identity = data_size(data), session.identity
        amounts = [(MESSAGES, 1), (TEXT, size)]
        self._limits.take_all(amounts, session=identity, address=address)
        self._arrive(session, room, address, GRACE)
        if kind.refers:
            refers = await self._referred(room, kind, asked.get("refers"))
            # What she might do may have changed meanwhile.
            self._rights.require(session, Act.SPEAK, [room], address)
        path = room.context.path
        draft = Draft(path, kind.name, identity, session.name, data, refers, key)
        if screening is Found.HOLD:
            raise await self.screened.put(draft)
        slow = room.slow or self._rights.calm is Calm.SLOW
        not_said = self._take_turn(session, room) if slow else None
        try:
            record = await self._append(draft, size)
        except BaseException:
            if not_said is not None:
                not_said()
            raise
        if record.repeated and not_said is not None:
            not_said()
        return self._feed.event(record), record.repeated

    def _screen(self, session: Session, room: Room, data: Mapping[str, object]) -> Found:
        """Look for words in what somebody says who does not moderate.

        :raises InvalidRequest: there is one that is not said here.
        """
        text = data.get("text")
        if not isinstance(text, str) or self._rights.rank(session, room) >= Role.MODERATOR:
            return Found.FINE
        found = Found.FINE if self._words is None else self._words.look(text)
        if found is Found.REFUSE:
            raise word_refusal()
        return found

    def _take_turn(self, session: Session, room: Room) -> Callable[[], None] | None:
        """Say something in a room that is slow; see `SlowMode.take`."""
        if not self.seconds_between(session, room):
            return None
        return self._slow_mode.take(room.context.path, session.identity)

    def seconds_between(self, session: Session, room: Room) -> float:
        """How long somebody has to wait between two messages in a room."""
        slow = self._seconds_between(room)
        return 0 if slow and self._rights.rank(session, room) >= Role.MODERATOR else slow

    def _seconds_between(self, room: Room) -> float:
        """How slow a room is."""
        if self._rights.calm is Calm.SLOW:
            return max(room.slow, CALM_SECONDS)
        return room.slow

    def _slow_by_path(self, path: str) -> float:
        room = self._rooms.named(kinds.room_of(path))
        return 0 if room is None else self._seconds_between(room)

    async def _append(self, draft: Draft, size: int) -> Record:
        """Have a draft kept, and say how long that took.

        :raises ClientIdReused: its key is that of something else.
        """
        seconds = self._feed.engine.reaper.seconds
        began = seconds()
        posted, told = self._limits.posting(draft.sender), False
        try:
            record = await self._gathering.append(draft, size)
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
        found = await self._feed.log.read([path], after=id - 1, before=id + 1, limit=1)
        if not found or found[0].type != kind.refers:
            raise refused("refers", f"there is no such {kind.refers} in this room")
        return id

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
        newest, ignored = after is None, self._ignored.by(asker)
        found: list[Event] = []
        for _ in range(_MOST_READS):
            # With what other processes have said a moment ago, which is told here in a moment.
            records = await self._feed.log.read(
                [room.context.path],
                after=after or 0,
                before=before,
                limit=limit + 1,
                newest=newest,
                max_bytes=PAGE_BYTES,
                types=kinds.history_types(),
            )
            self._rights.require(asker, Act.SEE, [room])
            made = [self._feed.made(each) for each in records if each.sender not in ignored]
            found = [*made, *found] if newest else [*found, *made]
            if not ignored or not records or len(found) > limit:
                break
            # Some of it is nothing to them.
            before, after = (records[0].id, after) if newest else (before, records[-1].id)
        # Where it is cut to size, the end that was not asked for is left out.
        page = cut(found[::-1] if newest else found, limit, size_of)
        return page[::-1] if newest else page, len(page) < len(found)


def _client_id(client_id: object) -> str | None:
    if client_id is None:
        return None
    if not isinstance(client_id, str) or not 1 <= len(client_id) <= MAX_CLIENT_ID:
        raise refused("client_id", f"1 to {MAX_CLIENT_ID} characters are needed")
    if not all(" " <= each <= "~" for each in client_id):
        raise refused("client_id", "only printable ASCII can be in it")
    return client_id
