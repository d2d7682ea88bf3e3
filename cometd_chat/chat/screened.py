"""What waits for a moderator, since there is a word in it that is on the list.

What it is: `Screened`, where it is kept until somebody decides.

What it may know: its table, drafts, rights. Not what is on the list, nor how it is told.

Invariant: of what waits nothing is in the log before it is let through, and then it is said once,
by whoever wrote it and in the order in which it is let through. What is decided is decided once:
that it is let through is kept before it is said, and forgotten afterwards, so that it is said after
a kill in between, by this node or by another one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
from msgspec.structs import replace
from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat import audit
from cometd_chat.chat.mandate import Mandate, sees
from cometd_chat.chat.rights import Act, AnyRoom, Rights
from cometd_chat.chat.sanction_rules import duration, place
from cometd_chat.chat.sanctions import SILENCE, kept_sanction
from cometd_chat.chat.sessions import Session
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import (
    AlreadySanctioned,
    ClientIdReused,
    HeldForModerator,
    NotFound,
    ShuttingDown,
    TooMany,
)
from cometd_chat.events import kinds
from cometd_chat.events.event import Event
from cometd_chat.events.kinds import timestamp
from cometd_chat.events.record import Draft, Record
from cometd_chat.log.changes import Changes
from cometd_chat.log.control import Control, NoticeGiven
from cometd_chat.log.ranks import SAYS_NOTHING, kind_of, rank_of, sanction_on
from cometd_chat.log.room_rows import seen_by
from cometd_chat.log.tables import screened

#: So many of one person wait at a time, and for so many milliseconds.
MOST = 20
KEPT = 7 * 86400 * 1000

#: Seconds between looks for what nobody has looked at for so long, and for what was let through and
#: is not said yet; and the first one after the start.
LOOK_EVERY = 60.0
LOOK_FIRST = 1.0

#: So much of what was let through is said by one look.
_AT_ONCE = 100


@attrs.frozen
class Item:
    """What somebody wants to say.

    :param id: its own for as long as it waits.
    :param room: the name of the room.
    :param client_id: the sender's key for it; empty for none.
    """

    id: str
    room: str
    identity: str
    name: str
    text: str
    client_id: str
    at: int

    @property
    def json(self) -> dict[str, Any]:
        """How moderators are shown it."""
        return {
            "id": self.id,
            "room": self.room,
            "from": self.name,
            "text": self.text,
            "at": timestamp(self.at),
        }


class Screened:
    """What waits. An item of the reaper, which lets go of what nobody looked at.

    :param now: milliseconds since 1970-01-01T00:00Z.
    :param append: says a draft, which is parsed and may be said.
    :param room_named: the room of a name, if there is one.
    """

    _log = Logger()

    def __init__(
        self,
        changes: Changes,
        rights: Rights,
        reaper: Reaper,
        *,
        now: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        append: Callable[[Draft], Awaitable[Record]],
        room_named: Callable[[str], AnyRoom | None],
    ) -> None:
        self._changes = changes
        self._rights = rights
        self._reaper = reaper
        self._now = now
        self._random_bytes = random_bytes
        self._append = append
        self._room_named = room_named
        self.due_bucket = 0

    def start(self) -> None:
        """Go on with what was let through, and begin to let go of what is old, in a moment."""
        self._reaper.schedule(self, LOOK_FIRST)

    async def put(self, draft: Draft) -> HeldForModerator:
        """Keep something until a moderator has looked at it.

        :returns: what its sender is told.
        :raises TooMany: too much of theirs waits.
        """
        item = Item(
            id=self._random_bytes(12).hex(),
            room=kinds.room_of(draft.context),
            identity=draft.sender,
            name=draft.author,
            text=draft.data["text"],
            client_id=draft.client_id or "",
            at=self._now(),
        )

        def keep(connection: Connection) -> bool:
            mine = screened.c.identity == item.identity
            same = select(screened.c.id).where(mine, screened.c.client_id == item.client_id)
            if item.client_id and connection.execute(same).first() is not None:
                return False
            count = select(func.count()).select_from(screened).where(mine)
            if (connection.execute(count).scalar() or 0) >= MOST:
                raise TooMany("Much of what you said waits for a moderator.", retry_after=60)
            connection.execute(insert(screened), attrs.asdict(item))
            return True

        await self._changes.make(keep, lambda new: [_told(item)] if new else [])
        return HeldForModerator("A moderator looks at this before it is said.")

    def listed(
        self, asker: Session, rooms: Sequence[str] | None, limit: int
    ) -> Deferred[Sequence[Item]]:
        """What waits, the oldest first; not in rooms that somebody may not see.

        :param asker: who asks.
        :param rooms: only there; None for everywhere.
        """
        query = select(*_COLUMNS).where(_WAITS, seen_by(screened.c.room, asker.identity))
        query = query.order_by(screened.c.at, screened.c.id).limit(limit)
        if rooms is not None:
            query = query.where(screened.c.room.in_(rooms))
        return self._changes.read(
            lambda connection: [_item(row) for row in connection.execute(query)]
        )

    async def decide(self, actor: Session, id: str, *, say: bool) -> Item:
        """Let something through, or not.

        :raises NotFound: nothing of that id waits, or not any longer.
        :raises ChatError: they may not decide that.
        """
        find = select(*_COLUMNS).where(screened.c.id == id, _WAITS)
        row = await self._changes.read(lambda connection: connection.execute(find).first())
        item = None if row is None else _item(row)
        room = None if item is None else self._room_named(item.room)
        self._rights.require(actor, Act.DELETE_OTHERS, [] if room is None else [room])
        if item is None or room is None:
            # Of a room that is removed nothing waits, and nothing is said there any more.
            raise _decided()
        if say and room.archived:
            # Nothing more is said there, by whomever.
            self._rights.require(actor, Act.SPEAK, [room])
        mandate = Mandate(self._rights, actor, room, self._now).to(Act.DELETE_OTHERS)
        await self._changes.make(
            lambda connection: self._decide(connection, actor, item, say=say),
            lambda _: [] if say else [_refused(item)],
            provided=mandate,
        )
        if say:
            await self._say(item)
        return item

    def _decide(self, connection: Connection, actor: Session, item: Item, *, say: bool) -> None:
        its = screened.c.id == item.id, _WAITS
        there = connection.execute(
            select(screened.c.let_by).where(screened.c.id == item.id).with_for_update()
        ).first()
        if say and there is not None and there.let_by == actor.identity:
            return  # It was in doubt.
        if say:
            self._require_author(connection, item)
            decided = connection.execute(update(screened).where(*its).values(let_by=actor.identity))
        else:
            decided = connection.execute(delete(screened).where(*its))
        if not decided.rowcount:
            raise _decided()
        audit.note_by(
            connection,
            actor,
            "let-through" if say else "hold-back",
            at=self._now(),
            whom=item.name,
            room=item.room,
        )

    def _require_author(self, connection: Connection, item: Item) -> None:
        """Refuse to say what whoever wrote it may not say any longer.

        :raises AlreadySanctioned: they are silenced or kept out.
        :raises NotFound: they do not belong any more where it would be said.
        """
        now = self._now()
        found = sanction_on(connection, item.identity, item.room, now, SAYS_NOTHING)
        if found is not None:
            sanction = kept_sanction(found)
            what = "silenced" if sanction.kind is SILENCE else "kept out"
            raise AlreadySanctioned(
                f"{item.name} is {what}{place(sanction)}{duration(sanction, now)}: it can be held "
                "back, or said once that is lifted."
            )
        rank = rank_of(connection, item.identity, item.room)
        if not sees(kind_of(connection, item.room), rank):
            raise NotFound(f"{item.name} does not belong to {item.room} any more: hold it back.")

    async def _say(self, item: Item) -> None:
        """Say what was let through. Twice is once: it has a key, by which it is found again."""
        path, own, said = kinds.path_of(item.room), f"held-{item.id}", {"text": item.text}
        draft = Draft(
            path,
            kinds.MESSAGE.name,
            item.identity,
            item.name,
            said,
            None,
            item.client_id or own,
        )
        try:
            await self._append(draft)
        except ClientIdReused:
            # They have said something else by it meanwhile.
            await self._append(replace(draft, client_id=own))
        its = delete(screened).where(screened.c.id == item.id)
        await self._changes.make(lambda connection: connection.execute(its).close(), _none)

    def on_due(self, now: float) -> float | None:
        """Go on with what is let through, and let go of what is old; see `Reaper.schedule`."""
        Deferred.fromCoroutine(self._look()).addErrback(self._not_done)
        return LOOK_EVERY

    async def _look(self) -> None:
        """Say what was let through by whoever did not come to say it, and drop what is old."""
        old = {"before": self._now() - KEPT}
        found = await self._changes.read(lambda c: c.execute(_TO_DO, old).all())
        if any(row.let_by is None for row in found):
            await self._changes.make(lambda c: c.execute(_DROP_OLD, old).close(), _none)
        for row in found:
            if row.let_by is not None:
                await self._say(_item(row))

    def _not_done(self, failure: Failure) -> None:
        if not failure.check(ShuttingDown):
            self._log.warn("what the word filter holds stays: {reason}", reason=failure.value)


#: What nobody has decided yet.
_WAITS = screened.c.let_by.is_(None)

_COLUMNS: Sequence[Any] = [getattr(screened.c, field.name) for field in attrs.fields(Item)]

# What each look asks, made once; see `cometd_chat.log.directory`. What was let through comes first.
_OLD = _WAITS & (screened.c.at < bindparam("before"))
_TO_DO: Select[Any] = (
    select(*_COLUMNS, screened.c.let_by)
    .where(or_(~_WAITS, _OLD))
    .order_by(_WAITS, screened.c.at, screened.c.id)
    .limit(_AT_ONCE)
)
_DROP_OLD = delete(screened).where(_OLD)


def _none(_: object) -> Sequence[Control]:
    return ()


def _item(row: Row[Any]) -> Item:
    return Item(*row[: len(_COLUMNS)])


def _told(item: Item) -> NoticeGiven:
    # Without what it says: what is told to all nodes stays in the log.
    return notice(kinds.held(item.id, item.room, item.name, item.at), room=item.room)


def _refused(item: Item) -> NoticeGiven:
    detail = "A moderator did not let through what you wanted to say."
    return notice(kinds.error(403, detail, item.client_id or None), to=[item.identity])


def notice(event: Event, *, to: Sequence[str] = (), room: str | None = None) -> NoticeGiven:
    """An event for some alone, as all nodes are told of it.

    :param to: identities; none for those who moderate.
    :param room: who moderates it is told as well; None for those who moderate the house alone.
    """
    return NoticeGiven(dict(event.fields), list(to), room)


def _decided() -> NotFound:
    return NotFound("Nothing of the kind waits: somebody has decided it already.")
