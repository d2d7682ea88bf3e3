"""What people take out of what was said: one message, or all that some people said in a room.

What it is: `Deletions`, by which authors and moderators act. What takes long, a purge that hides,
brings back or erases, is the work of `purging.py`.

What it may know: the log, the rights, its table. No HTTP, and no words of commands.

Invariant: nothing is taken out but by who may, and by a moderator not without a note of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from sqlalchemy import Connection, select

from cometd_chat.chat import audit, purge_rows
from cometd_chat.chat.feed import Feed
from cometd_chat.chat.limits import Spend, spends_nothing
from cometd_chat.chat.mandate import Mandate
from cometd_chat.chat.people_lookup import Whom
from cometd_chat.chat.purge_rows import GUESTS, UNDO, Purge, State
from cometd_chat.chat.purging import Purging, redaction
from cometd_chat.chat.rights import Act, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import NotFound
from cometd_chat.events import kinds
from cometd_chat.events.record import Record
from cometd_chat.log.changes import Changes
from cometd_chat.log.nodes import Nodes
from cometd_chat.log.tables import members, purges, sessions
from cometd_chat.lookalikes.keys import name_keys

#: A purge may reach back so many minutes, ten years; one of everything has no number.
MOST_MINUTES = 10 * 366 * 24 * 60

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


@attrs.frozen
class Author:
    """Who said something; see `Whom`."""

    identity: str
    name: str
    role: Role


class Deletions:
    """Deletes messages.

    :param now: milliseconds since 1970-01-01T00:00Z, by a clock that outlives a restart.
    :param random_bytes: so many unguessable bytes.
    :param nodes: this node and the others; None for a process that is alone.
    """

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
        #: Milliseconds since 1970-01-01T00:00Z.
        self.now = now
        self._random_bytes = random_bytes
        # By the clock as it is when it is asked.
        self._purging = Purging(feed, changes, lambda: self.now(), nodes)
        #: Takes each act from the limits of who does it.
        self.spend: Spend = spends_nothing

    def start(self) -> None:
        """Go on with what was begun; see `Purging.start`."""
        self._purging.start()

    def stop(self) -> None:
        """Begin nothing more; another process goes on."""
        self._purging.stop()

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
            redaction(room.context.path, [id], "own" if own else "moderator", actor)
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
        await self._purging.work(purge, at_first=True)
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
        await self._purging.work(purge, at_first=True)
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
            node=self._purging.number,
        )

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
            lambda connection: purge_rows.undo(connection, room.name, id, at, self._purging.number),
            lambda _: (),
            provided=self._mandate(actor, room).to(Act.PURGE),
        )
        if State(purge.state) is State.UNDOING:
            purge = attrs.evolve(purge, by=actor.identity, by_name=actor.name)
            await self._purging.undone(purge)


def _named(people: Sequence[Whom]) -> str:
    """Some people, as the audit log names them."""
    names = ", ".join(each.name for each in people[:_NAMED])
    more = len(people) - _NAMED
    return f"{names} and {more} more" if more > 0 else names
