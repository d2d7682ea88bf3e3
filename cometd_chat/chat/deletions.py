"""What people take out of what was said: one message, or all that some people said in a room.

What it is: `Deletions`, by which authors and moderators act. What takes long, a purge that hides,
brings back or erases, goes on by itself, in slices, and after a restart.

What it may know: the log, the rights, its table. No HTTP, and no words of commands.

Invariant: a purge is on the disk before anything of it is done, and whatever was begun is finished,
by this node or by another one. No slice holds the log's writer or the reactor for long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

import attrs
from sqlalchemy import Connection, select
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat import audit, purge_rows
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.limits import Spend, spends_nothing
from cometd_chat.chat.mandate import Mandate
from cometd_chat.chat.people_lookup import Whom
from cometd_chat.chat.purge_rows import GUESTS, LEFT_ALONE, MARGIN, UNDO, Purge, State
from cometd_chat.chat.rights import Act, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import ChatError, NotFound, ShuttingDown
from cometd_chat.events import kinds
from cometd_chat.events.record import Record
from cometd_chat.log.changes import Changes
from cometd_chat.log.log import EventLog
from cometd_chat.log.nodes import Nodes
from cometd_chat.log.redaction import MOST_AT_ONCE, Redaction, Restoration, is_emptied
from cometd_chat.log.tables import members, purges, sessions
from cometd_chat.lookalikes.keys import name_keys

#: Seconds between looks for purges that are over, or that nobody goes on with.
LOOK_EVERY = 30.0

#: A purge may reach back so many minutes, ten years; one of everything has no number.
MOST_MINUTES = 10 * 366 * 24 * 60

#: So many messages are looked through at once, as long as they are no more than so many bytes.
_PAGE = MOST_AT_ONCE
_PAGE_BYTES = 1024 * 1024

#: As much is looked through before whoever purges is answered; the rest follows.
_AT_FIRST = 5

#: Clocks of nodes differ, and may be set back; in milliseconds.
_EARLIER = 3_600_000

#: By a name somebody is looked for among so many messages, and in so many bytes of them.
_LATELY = 2000
_LATELY_BYTES = 4 * 1024 * 1024

#: And of so many who spoke then it is asked what their names look like: 0.1 ms for each.
_MOST_AUTHORS = 200

#: A purge may be of so many people by name.
MOST_PEOPLE = 200

#: Of those, so many are named in the audit log.
_NAMED = 10

_TOP = 2**62

One = TypeVar("One")
Other = TypeVar("Other")


@attrs.frozen
class Author:
    """Who said something; see `Whom`."""

    identity: str
    name: str
    role: Role


class Deletions:
    """Deletes messages. An item of the reaper, which finishes what was begun.

    :param now: milliseconds since 1970-01-01T00:00Z, by a clock that outlives a restart.
    :param random_bytes: so many unguessable bytes.
    :param nodes: this node and the others; None for a process that is alone.
    """

    _log = Logger()

    def __init__(
        self,
        feed: Feed,
        rights: Rights,
        changes: Changes,
        *,
        now: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        nodes: Nodes | None = None,
    ) -> None:
        self._feed = feed
        self._rights = rights
        self._changes = changes
        self._reaper = feed.engine.reaper
        #: Milliseconds since 1970-01-01T00:00Z.
        self.now = now
        self._random_bytes = random_bytes
        self._nodes = nodes
        # Those that are worked at here.
        self._under_way: dict[str, Deferred[None]] = {}
        self._stopped = False
        #: Takes each act from the limits of who does it.
        self.spend: Spend = spends_nothing
        self.due_bucket = 0

    def start(self) -> None:
        """Go on with what was begun. Where there is one process, nobody else can be at it; of
        several nodes one goes on with what another has left when that is known to be gone."""
        self._look_soon()
        if self._nodes is not None:
            self._nodes.gone.add(lambda _: self._look_soon())

    def _look_soon(self) -> None:
        if not self._stopped:
            self._reaper.schedule(self, 0.0)

    def stop(self) -> None:
        """Begin nothing more; another process goes on."""
        self._stopped = True
        self._reaper.cancel(self)

    def new_id(self) -> str:
        """An id that nothing has."""
        return self._random_bytes(12).hex()

    # -- one message

    async def delete(self, actor: Session, room: Room, id: int, *, address: str = "") -> None:
        """Delete a message: one's own, or as a moderator that of somebody else.

        One that is deleted already stays as it is.

        :raises NotFound: there is none.
        :raises ChatError: they may not.
        """
        record = await self.message(actor, room, id, address=address)
        own = record.sender == actor.identity
        act = Act.DELETE_OWN if own else Act.DELETE_OTHERS
        self._rights.require(actor, act, [room], address)
        self.spend(actor, address)
        if not own:
            role = await self._role_of(record.sender)
            self._rights.require_above(actor, role, identity=record.sender, room=room)
            # What they may do may have changed meanwhile, here and by what this node has not heard.
            self._rights.require(actor, act, [room], address)
            mandate = self._mandate(actor, room).to(act, record.sender)
            await self._changes.make(lambda _: None, lambda _: (), provided=mandate)
        changed = await self._feed.log.redact(
            self._redaction(room.context.path, [id], "own" if own else "moderator", actor)
        )
        if changed and not own:
            await self._note(actor, "delete", record.author, room.name, about=f"message {id}")

    async def message(
        self, actor: Session | None, room: Room, id: int, *, address: str = ""
    ) -> Record:
        """A message that somebody means.

        :raises NotFound: there is none of that id in that room.
        :raises ChatError: they may not see it.
        """
        self._rights.require(actor, Act.SEE, [room], address)
        found: Sequence[Record] = ()
        if 0 < id < _TOP:
            path = room.context.path
            found = await self._feed.log.read([path], after=id - 1, before=id + 1, limit=1)
        if not found or found[0].type not in kinds.WRITTEN:
            raise NotFound("There is no such message in this room.")
        return found[0]

    def _redaction(
        self,
        path: str,
        ids: Sequence[int],
        how: str,
        by: Session | _By,
        purge: str | None = None,
    ) -> Redaction:
        return Redaction(
            context=path,
            types=kinds.WRITTEN,
            ids=ids,
            how=how,
            says=kinds.DELETE.name,
            sender=by.identity,
            author=by.name,
            purge=purge,
        )

    async def _role_of(self, identity: str) -> Role:
        query = select(members.c.role).where(members.c.identity == identity)
        word = await self._changes.read(lambda connection: connection.execute(query).scalar())
        return (Role.of(word) if isinstance(word, str) else None) or Role.GUEST

    async def _note(self, actor: Session, what: str, whom: str, room: str, *, about: str) -> None:
        at, who, name = int(self.now()), actor.identity, actor.name

        def note(connection: Connection) -> None:
            audit.note(
                connection,
                at=at,
                who=who,
                who_name=name,
                what=what,
                whom=whom,
                room=room,
                about=about,
            )

        await self._changes.make(note, lambda _: ())

    # -- all that somebody said

    async def purge(
        self,
        actor: Session,
        room: Room,
        people: Sequence[Whom],
        minutes: int | None = None,
        reason: str = "",
        *,
        address: str = "",
    ) -> Purge:
        """Hide all that some people said in a room, for good unless it is undone within half an
        hour. It is looked for once, however many they are.

        The newest goes first, and is gone when this is answered; what is older follows.

        :param people: whose, 1 to `MOST_PEOPLE`.
        :param minutes: only what was said in so many minutes up to now; None for all.
        :raises ChatError: they may not, to one of them.
        """
        self._rights.require(actor, Act.PURGE, [room], address)
        for whom in people:
            if whom.identity != actor.identity:
                self._rights.require_above(actor, whom.role, identity=whom.identity, room=room)
        self.spend(actor, address)
        identities = list(dict.fromkeys(each.identity for each in people))
        came = await self._came(identities)
        # What they may do may have changed meanwhile.
        self._rights.require(actor, Act.PURGE, [room], address)
        since = came if minutes is None else max(came, self._ago(minutes))
        purge = self._begun(actor, room, " ".join(identities), since)
        mandate = self._mandate(actor, room).to(Act.PURGE, *identities)
        await self._changes.make(
            lambda c: purge_rows.begin(c, purge, _named(people), reason),
            lambda _: (),
            provided=mandate,
        )
        await self._work(purge, at_first=True)
        return purge

    async def purge_guests(
        self, actor: Session, room: Room, minutes: int, reason: str = "", *, address: str = ""
    ) -> Purge:
        """Hide all that was said in a room in so many minutes up to now by whoever has no account,
        is no more than a guest, and does not moderate the room; as `purge` does it.

        :raises ChatError: they may not.
        """
        self._rights.require(actor, Act.PURGE, [room], address)
        self._rights.require_above(actor, Role.GUEST, room=room)
        self.spend(actor, address)
        purge = self._begun(actor, room, GUESTS, self._ago(minutes))
        mandate = self._mandate(actor, room).to(Act.PURGE)
        await self._changes.make(
            lambda c: purge_rows.begin(c, purge, GUESTS, reason), lambda _: (), provided=mandate
        )
        await self._work(purge, at_first=True)
        return purge

    def _mandate(self, actor: Session, room: Room) -> Mandate:
        return Mandate(self._rights, actor, room, self.now)

    def _begun(self, actor: Session, room: Room, identity: str, since: int) -> Purge:
        at = int(self.now())
        return Purge(
            id=self.new_id(),
            room=room.name,
            identity=identity,
            by=actor.identity,
            by_name=actor.name,
            since=since,
            last=self._feed.last_id,
            at=at,
            until=at + UNDO,
            touched_at=at,
            node=self._number,
        )

    @property
    def _number(self) -> int:
        return 0 if self._nodes is None else self._nodes.number

    def _ago(self, minutes: int) -> int:
        return int(self.now()) - minutes * 60_000

    async def _came(self, identities: Sequence[str]) -> int:
        """Since when some people may have spoken: guests not before they came, so that a purge need
        not look through all that was said before that."""
        query = select(sessions.c.created_at).where(
            sessions.c.id.in_(identities), sessions.c.identity == ""
        )
        found = await self._changes.read(lambda c: list(c.execute(query).scalars()))
        return max(0, min(found) - _EARLIER) if len(found) == len(identities) else 0

    async def author(self, room: Room, name: str) -> Author:
        """Who said something in a room under a name, lately: they may have gone meanwhile.

        :raises NotFound: nobody did.
        """
        keys = name_keys(name)
        found = await self._feed.log.read(
            [room.context.path],
            limit=_LATELY,
            newest=True,
            max_bytes=_LATELY_BYTES,
            types=kinds.WRITTEN,
        )
        # Each of those who spoke is looked at once, however much they said: what a name looks like
        # takes a while to find out.
        exact = [each for each in found if each.author == name]
        alike: dict[str, bool] = {}
        for record in reversed(exact or found):
            if record.author not in alike:
                if len(alike) == _MOST_AUTHORS:
                    break
                alike[record.author] = name_keys(record.author).folded == keys.folded
            if alike[record.author]:
                role = await self._role_of(record.sender)
                return Author(record.sender, record.author, role)
        raise NotFound(f"There is nobody called {name[:64]}, and nobody was who spoke here lately.")

    async def author_of(self, actor: Session, room: Room, id: int, *, address: str = "") -> Author:
        """Who said a message; see `message`."""
        record = await self.message(actor, room, id, address=address)
        return Author(record.sender, record.author, await self._role_of(record.sender))

    async def newest(self, actor: Session, room: Room, *, address: str = "") -> Purge:
        """The last purge in a room that can be undone.

        :raises NotFound: there is none.
        """
        self._rights.require(actor, Act.PURGE, [room], address)
        at, states = int(self.now()), [State.HIDING.value, State.HIDDEN.value]
        query = (
            select(purges)
            .where(purges.c.room == room.name, purges.c.state.in_(states), purges.c.until > at)
            .order_by(purges.c.at.desc())
            .limit(1)
        )
        row = await self._changes.read(lambda c: c.execute(query).mappings().first())
        if row is None:
            raise NotFound("Nothing was purged in this room in the last half hour.")
        return Purge(**row)

    async def undo(self, actor: Session, room: Room, id: str, *, address: str = "") -> None:
        """Bring back what a purge has hidden, and has not erased yet.

        :raises NotFound: there is no such purge in that room.
        :raises TooLate: it can't be undone any more.
        """
        self._rights.require(actor, Act.PURGE, [room], address)
        self.spend(actor, address)
        at = int(self.now())
        purge = await self._changes.make(
            lambda connection: purge_rows.undo(connection, room.name, id, at, self._number),
            lambda _: (),
            provided=self._mandate(actor, room).to(Act.PURGE),
        )
        if State(purge.state) is State.UNDOING:
            purge = attrs.evolve(purge, by=actor.identity, by_name=actor.name)
            if id in self._under_way:
                # It is hiding: it will see for itself that it is to bring all back.
                await _after(self._under_way[id])
            await self._work(purge, at_first=True)

    # -- the work

    async def _work(self, purge: Purge, *, at_first: bool = False) -> None:
        """Do what is to be done of a purge.

        :param at_first: wait for the first part of it alone.
        """
        begun: Deferred[None] = Deferred()
        done = Deferred.fromCoroutine(self._do_all(purge, begun))
        self._under_way[purge.id] = done
        done.addBoth(self._ended, purge.id, begun)
        await (begun if at_first else _after(done))

    def _ended(self, result: object, id: str, begun: Deferred[None]) -> object:
        self._under_way.pop(id, None)
        if not begun.called:
            # Whoever waits for the first part is told what is wrong with it.
            begun.callback(None) if not isinstance(result, Failure) else begun.errback(result)
            return None
        if isinstance(result, Failure) and not result.check(ShuttingDown):
            if result.check(ChatError):
                self._log.warn("a purge waits: {reason}", reason=result.value)
            else:
                self._log.failure("a purge waits", result)
        return None

    async def _do_all(self, purge: Purge, begun: Deferred[None]) -> None:
        """Take one step after the other, until there is none."""
        while not self._stopped:
            state = State(purge.state)
            if state is State.HIDING:
                purge = await self._hide(purge, begun)
            elif state is State.UNDOING:
                purge = await self._bring_back(purge, begun)
            elif state is State.HIDDEN and purge.until + MARGIN <= self.now():
                purge = await self._erase(purge)
            else:
                return

    async def _hide(self, purge: Purge, begun: Deferred[None]) -> Purge:
        """Hide the newest first; from the beginning again where somebody else had begun.

        While a page is taken out the next one is read: where the reactor is busy, as in a raid, it
        is turns that take time, and so each page takes one.
        """
        pages = _Pages(self._feed.log, self._changes, purge)
        page, looked, now = await pages.read(purge.last + 1), 0, purge
        while not self._stopped:
            looked += 1
            changing: Deferred[Any] = self._take_out(purge, page.ids)
            if page.is_last:
                now = await changing
            else:
                reading = Deferred.fromCoroutine(pages.read(page.first))
                now, page_ahead = await _both(changing, reading)
            if State(now.state) is State.UNDONE:
                # Another node has brought all back, but for what was just taken out.
                return attrs.evolve(now, state=State.UNDOING.value)
            if State(now.state) is not State.HIDING:
                return now
            if page.is_last:
                return await self._become(purge, State.HIDDEN)
            page = page_ahead
            if looked == _AT_FIRST and not begun.called:
                begun.callback(None)
        return purge

    def _take_out(self, purge: Purge, ids: Sequence[int]) -> Deferred[Purge]:
        """Take some messages out; what has become of the purge by then."""
        if not ids:
            return self._touch(purge)
        by = _By(purge.by, purge.by_name)
        redacting = self._feed.log.redact(
            self._redaction(kinds.path_of(purge.room), ids, purge.how, by, purge=purge.id)
        )
        # Asked for at once, and made after it: mostly both share a commit.
        return _both(redacting, self._touch(purge)).addCallback(itemgetter(1))

    async def _bring_back(self, purge: Purge, begun: Deferred[None]) -> Purge:
        path, done = kinds.path_of(purge.room), 0
        while not self._stopped:
            restoration = Restoration(
                path, purge.id, MOST_AT_ONCE, kinds.RESTORE.name, purge.by, purge.by_name
            )
            restoring = self._feed.log.restore(restoration)
            restored, _ = await _both(restoring, self._touch(purge))
            if not restored:
                return await self._become(purge, State.UNDONE)
            done += 1
            if done == _AT_FIRST and not begun.called:
                begun.callback(None)
        return purge

    async def _erase(self, purge: Purge) -> Purge:
        while not self._stopped and await self._feed.log.erase(purge.id, MOST_AT_ONCE):
            await self._touch(purge)
        return purge if self._stopped else await self._become(purge, State.ERASED)

    def _touch(self, purge: Purge) -> Deferred[Purge]:
        at = int(self.now())
        return self._changes.make(lambda c: purge_rows.touch(c, purge, at), lambda _: ())

    def _become(self, purge: Purge, state: State) -> Deferred[Purge]:
        return self._changes.make(lambda c: purge_rows.become(c, purge, state), lambda _: ())

    # -- what was begun

    def on_due(self, now: float) -> float | None:
        """Look for what is to be done; see `Reaper.schedule`."""
        looking = Deferred.fromCoroutine(self._look())
        looking.addErrback(self._not_looked)
        return LOOK_EVERY

    async def _look(self) -> None:
        at = int(self.now())
        for purge in await self._changes.read(lambda c: purge_rows.to_do(c, at)):
            if not self._stopped and self._is_left(purge, at):
                # Of several nodes one goes on.
                taking = partial(purge_rows.take, purge=purge, at=at, node=self._number)
                if await self._changes.make(taking, lambda _: ()):
                    await self._work(purge)

    def _is_left(self, purge: Purge, at: int) -> bool:
        """Whether nobody is at a purge that is not finished."""
        if purge.id in self._under_way:
            return False
        others = () if self._nodes is None else self._nodes.others()
        elsewhere = any(each.number == purge.node for each in others)
        return not elsewhere or purge.touched_at <= at - LEFT_ALONE

    def _not_looked(self, failure: Failure) -> None:
        if not failure.check(ShuttingDown):
            self._log.warn("purges wait: {reason}", reason=failure.value)


@attrs.frozen
class _By:
    """Who does something, as the log says it."""

    identity: str
    name: str


@attrs.frozen
class _Page:
    """Some of what a purge has to look through.

    :param ids: what it is of, the newest first.
    :param first: the lowest id that was looked at.
    :param is_last: nothing older is of it.
    """

    ids: Sequence[int]
    first: int
    is_last: bool


class _Pages:
    """What a purge looks through, the newest first."""

    def __init__(self, log: EventLog, changes: Changes, purge: Purge) -> None:
        self._log = log
        self._changes = changes
        self._purge = purge
        self._path = kinds.path_of(purge.room)
        # Who was looked at, and whether it is of theirs: everybody is looked at once.
        named = () if purge.of_guests else purge.identity.split()
        self._known = dict.fromkeys(named, True)

    async def read(self, before: int) -> _Page:
        """Some of what is before an id: what it is of, or, where that is in a row of nothing, so
        many pages that whoever waits is not kept long."""
        for _ in range(_AT_FIRST):
            found = await self._log.read(
                [self._path],
                before=before,
                limit=_PAGE,
                newest=True,
                max_bytes=_PAGE_BYTES,
                types=kinds.WRITTEN,
            )
            ids = await self._ids_of(found)
            if not found or all(each.at < self._purge.since for each in found):
                return _Page(ids, before, is_last=True)
            before = found[0].id
            if ids:
                break
        return _Page(ids, before, is_last=False)

    async def _ids_of(self, found: Sequence[Record]) -> list[int]:
        """Which messages it is of, the newest first."""
        since = self._purge.since
        there = [each for each in found if each.at >= since and not is_emptied(each)]
        if self._purge.of_guests:
            new = {each.sender for each in there} - self._known.keys()
            if new:
                asking = partial(purge_rows.more_than_guests, self._purge.room, new)
                more = {self._purge.by, *await self._changes.read(asking)}
                self._known.update((each, each not in more) for each in new)
        return [each.id for each in reversed(there) if self._known.get(each.sender)]


def _both(one: Deferred[One], other: Deferred[Other]) -> Deferred[tuple[One, Other]]:
    """What both give; or what is wrong with the one that fails first."""
    gathering: Deferred[Any] = gatherResults([one, other], consumeErrors=True)
    return gathering.addCallbacks(tuple, _first_error)


def _first_error(failure: Failure) -> Failure:
    failure.trap(FirstError)
    wrong: Failure = failure.value.subFailure  # type: ignore[union-attr]
    return wrong


def _named(people: Sequence[Whom]) -> str:
    """Some people, as the audit log names them."""
    names = ", ".join(each.name for each in people[:_NAMED])
    more = len(people) - _NAMED
    return f"{names} and {more} more" if more > 0 else names


def _after(waited: Deferred[None]) -> Deferred[None]:
    """Fires when another one has, which goes on as if nobody waited."""
    after: Deferred[None] = Deferred()

    def fired(result: object) -> object:
        after.callback(None)
        return result

    waited.addBoth(fired)
    return after
