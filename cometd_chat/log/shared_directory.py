"""What is kept beside the log by many nodes together.

What it is: `SharedDirectory`, which is a `Directory` whose changes all nodes are told of, and which
knows the names of sessions that are kept nowhere else; and `MemorySharedDirectory`, the one of
several nodes in one process.

What it may know: rows, numbers of nodes, control records. Not what a name or a token means.

Invariant: a key of a name is one session's, whether a row has it or a claim; and a change that
others must not miss is made and told, or neither.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from cometd_chat.errors import ChatError, InvalidToken
from cometd_chat.log.control import (
    Control,
    NameFreed,
    RoomMade,
    RoomRemoved,
    SessionEnded,
    SessionRenamed,
    control_draft,
)
from cometd_chat.log.directory import (
    Directory,
    RoomRow,
    SessionRow,
    name_taken,
    room_exists,
)
from cometd_chat.log.memory import MemoryDirectory, MemoryEventLog
from cometd_chat.log.memory_store import MemoryStore

Result = TypeVar("Result")

#: How much of a token's hash the control record of a new one tells, in bytes: as much as nodes know
#: sessions by.
KNOWN_BY = 15

#: At most so many names are freed, and so many sessions ended, by one change: each is told.
MOST_SWEPT = 500


@attrs.frozen
class Claim:
    """A name that a node has for a session, and that no row has.

    :param node: its number: the claim is over when the node is gone.
    :param keys: by which the name is compared.
    :param browser: what the browser hashes to whose guest the session is; None for any other.
    """

    node: int
    keys: tuple[str, ...]
    browser: bytes | None = None


class SharedDirectory(Directory, Protocol):
    """A directory that many nodes have.

    What every one keeps, beside what each `Directory` does:

    * `add_room`, `remove_silent_room`, `rename_session`, `free_name`, `end_session` and
      `drop_expired` append control records in the transaction of the change, where they change
      anything.
    * A key that a claim has, no other session is given, and the other way round.
    * When a session was seen is noted by the clock of the database.
    """

    def add_session(self, row: SessionRow, claim: Claim | None = None) -> Deferred[None]:
        """See `Directory.add_session`. It counts as seen now.

        :param claim: of its name, which its row has not.
        """

    def clock(self) -> float:
        """Seconds since 1970 by the clock of the database, which is that of all nodes. Blocks: for
        the start."""

    def session_by_id(self, id: str) -> Deferred[SessionRow | None]:
        """The session of an id."""

    def rename_session(
        self,
        id: str,
        name: str,
        name_key: str | None,
        name_looks: str | None,
        token_hash: bytes | None = None,
        claim: Claim | None = None,
    ) -> Deferred[None]:
        """See `Directory.rename_session`. It counts as seen now.

        :param claim: of the new name, which its row has not; it takes the place of those of this
            node that it had.
        """

    def claim(self, session: str, claim: Claim) -> Deferred[None]:
        """Claim keys, for a session that may have no row.

        :raises NameTaken: another session has one of them; then none was claimed.
        :raises NodeIsGone: so is the node.
        """

    def guest(self, keys: Collection[str], browser: bytes) -> Deferred[SessionRow | None]:
        """The session that a browser's guest has, by any of the keys of its name."""

    def release(self, session: str, claim: Claim) -> Deferred[None]:
        """Give up keys, as far as they are this session's and this node's. Tells `NameFreed` if
        there is a row of the session that has no name either."""

    def see(self, ids: Collection[str]) -> Deferred[None]:
        """Note that sessions are in use now."""

    def see_all(self) -> Deferred[None]:
        """The same of all that have names."""

    def free_unseen(self, seconds: float) -> Deferred[int]:
        """Free the names of sessions that were not seen for so long, at most `MOST_SWEPT`; says how
        many. `drop_expired` drops no more at once either."""


class NodeIsGone(Exception):
    """This node's lease is over, by what the database says."""


@attrs.frozen
class _Claimed:
    session: str
    node: int
    browser: bytes | None = attrs.field(default=None, eq=False)


class MemorySharedDirectory(MemoryDirectory):
    """A `SharedDirectory` in memory.

    :param rooms: those that are there from the start.
    :param log: what is said, and tells the changes; as long as it is cut, so is this.
    :param seconds: the clock by which sessions are seen.
    :param beside: that of another node: the two are one.
    """

    def __init__(
        self,
        rooms: Sequence[RoomRow],
        log: MemoryEventLog,
        seconds: Callable[[], float],
        beside: MemorySharedDirectory | None = None,
    ) -> None:
        super().__init__(rooms, log)
        self.store = MemoryStore(
            log.append_all,
            lambda: self.failure or log.cut or log.failure,
            None if beside is None else beside.store,
        )
        self._told_by = log
        self._seconds = seconds
        self._claims: dict[str, _Claimed] = {}
        self._gone: set[int] = set()
        #: While set, each change and each question is refused with it.
        self.failure: ChatError | None = None
        if beside is not None:
            self._sessions, self._rooms = beside._sessions, beside._rooms
            self._positions, self._claims = beside._positions, beside._claims
            self._gone = beside._gone

    def forget_node(self, number: int) -> None:
        """A node is gone, and what it had claimed is free."""
        self._gone.add(number)
        for key in [key for key, claimed in self._claims.items() if claimed.node == number]:
            del self._claims[key]

    def _do(
        self, change: Callable[[], Deferred[Result]], claim: Claim | None = None
    ) -> Deferred[Result]:
        failure = self.failure or self._told_by.cut or self._told_by.failure
        if failure is not None:
            return fail(failure)
        if claim is not None and claim.node in self._gone:
            return fail(NodeIsGone())
        return change()

    def _tell(self, controls: Sequence[Control]) -> None:
        if controls:
            self._told_by.append_all([control_draft(each) for each in controls])

    def clock(self) -> float:
        """See `SharedDirectory.clock`."""
        return self._seconds()

    # -- sessions

    def add_session(self, row: SessionRow, claim: Claim | None = None) -> Deferred[None]:
        """See `SharedDirectory.add_session`."""

        def add() -> Deferred[None]:
            if self._is_claimed(row.id, row.name_key, row.name_looks, claim):
                return fail(name_taken(row.name))
            seen = attrs.evolve(row, seen_at=self._now())
            adding = super(MemorySharedDirectory, self).add_session(seen)
            self._note(row.id, claim)
            return adding

        return self._do(add, claim)

    def session_by_token(self, token_hash: bytes) -> Deferred[SessionRow | None]:
        """See `Directory.session_by_token`."""
        find = super().session_by_token
        return self._do(lambda: find(token_hash))

    def session_by_id(self, id: str) -> Deferred[SessionRow | None]:
        """See `SharedDirectory.session_by_id`."""
        return self._do(lambda: succeed(self._sessions.get(id)))

    def rename_session(
        self,
        id: str,
        name: str,
        name_key: str | None,
        name_looks: str | None,
        token_hash: bytes | None = None,
        claim: Claim | None = None,
    ) -> Deferred[None]:
        """See `SharedDirectory.rename_session`."""
        rename = super().rename_session

        def change() -> Deferred[None]:
            if self._is_claimed(id, name_key, name_looks, claim):
                return fail(name_taken(name))
            if id not in self._sessions:
                return fail(InvalidToken("This session has ended. Log in again."))
            if self._is_taken(name_key, name_looks, id):
                return fail(name_taken(name))
            renaming = rename(id, name, name_key, name_looks, token_hash)
            self._sessions[id] = attrs.evolve(self._sessions[id], seen_at=self._now())
            self._note(id, claim)
            key, looks = (name_key, name_looks) if claim is None else keys_of(claim)
            self._tell([renamed(id, name, key, looks, token_hash)])
            return renaming

        return self._do(change, claim)

    def free_name(self, id: str) -> Deferred[None]:
        """See `Directory.free_name`."""

        def free() -> Deferred[None]:
            self._free(id)
            return succeed(None)

        return self._do(free)

    def _free(self, id: str) -> None:
        row = self._sessions.get(id)
        if row is not None and row.name_key is not None:
            self._sessions[id] = attrs.evolve(row, name_key=None, name_looks=None)
            self._tell([NameFreed(id)])

    def extend_session(self, id: str, expires_at: int) -> Deferred[None]:
        """See `Directory.extend_session`."""
        extend = super().extend_session
        return self._do(lambda: extend(id, expires_at))

    def end_session(self, id: str) -> Deferred[None]:
        """See `Directory.end_session`."""

        def end() -> Deferred[None]:
            self._end(id)
            return succeed(None)

        return self._do(end)

    def _end(self, id: str) -> None:
        if self._sessions.pop(id, None) is not None:
            self._positions.pop(id, None)
            for key in [key for key, claimed in self._claims.items() if claimed.session == id]:
                del self._claims[key]
            self._tell([SessionEnded(id)])

    def drop_expired(self, now: int) -> Deferred[int]:
        """See `Directory.drop_expired`."""

        def drop() -> Deferred[int]:
            expired = [row.id for row in self._sessions.values() if row.expires_at <= now]
            for id in expired:
                self._end(id)
            return succeed(len(expired))

        return self._do(drop)

    # -- names that no row has, and who is in use

    def claim(self, session: str, claim: Claim) -> Deferred[None]:
        """See `SharedDirectory.claim`."""

        def add() -> Deferred[None]:
            if self._is_claimed(session, None, None, claim):
                return fail(name_taken("so"))
            for key in claim.keys:
                self._claims[key] = _Claimed(session, claim.node, claim.browser)
            return succeed(None)

        return self._do(add, claim)

    def guest(self, keys: Collection[str], browser: bytes) -> Deferred[SessionRow | None]:
        """See `SharedDirectory.guest`."""

        def find() -> Deferred[SessionRow | None]:
            found = (self._claims[key] for key in keys if key in self._claims)
            ids = [each.session for each in found if each.browser == browser]
            return succeed(self._sessions.get(ids[0]) if ids else None)

        return self._do(find)

    def release(self, session: str, claim: Claim) -> Deferred[None]:
        """See `SharedDirectory.release`."""

        def drop() -> Deferred[None]:
            mine = _Claimed(session, claim.node)
            keys = [key for key in claim.keys if self._claims.get(key) == mine]
            for key in keys:
                del self._claims[key]
            row = self._sessions.get(session)
            if keys and row is not None and row.name_key is None:
                self._tell([NameFreed(session)])
            return succeed(None)

        return self._do(drop)

    def see(self, ids: Collection[str]) -> Deferred[None]:
        """See `SharedDirectory.see`."""

        def note() -> Deferred[None]:
            for id in ids:
                if id in self._sessions:
                    self._sessions[id] = attrs.evolve(self._sessions[id], seen_at=self._now())
            return succeed(None)

        return self._do(note)

    def see_all(self) -> Deferred[None]:
        """See `SharedDirectory.see_all`."""
        return self.see([row.id for row in self.named_sessions()])

    def free_unseen(self, seconds: float) -> Deferred[int]:
        """See `SharedDirectory.free_unseen`."""

        def free() -> Deferred[int]:
            before = self._now() - int(seconds * 1000)
            unseen = [row.id for row in self.named_sessions() if row.seen_at <= before]
            for id in unseen:
                self._free(id)
            return succeed(len(unseen))

        return self._do(free)

    def _now(self) -> int:
        return int(self._seconds() * 1000)

    def _note(self, session: str, claim: Claim | None) -> None:
        """A claim takes the place of those that its node had for the session."""
        if claim is not None:
            mine = _Claimed(session, claim.node, claim.browser)
            for key in [key for key, claimed in self._claims.items() if claimed == mine]:
                del self._claims[key]
            self._claims.update(dict.fromkeys(claim.keys, mine))

    def _is_claimed(
        self, session: str, name_key: str | None, name_looks: str | None, claim: Claim | None
    ) -> bool:
        """Whether another session has any of some keys."""
        wanted = {*(() if claim is None else claim.keys), name_key, name_looks} - {None}
        rows = (row for row in self._sessions.values() if row.id != session)
        return any(
            each in self._claims and self._claims[each].session != session
            for each in wanted
            if each is not None
        ) or any(row.name_key in wanted or row.name_looks in wanted for row in rows)

    # -- rooms

    def add_room(self, row: RoomRow) -> Deferred[None]:
        """See `Directory.add_room`."""

        def add() -> Deferred[None]:
            if row.name in self._rooms:
                return fail(room_exists(row.name))
            self._rooms[row.name] = row
            self._tell([RoomMade(row.name, row.topic, row.created_by, row.created_at)])
            return succeed(None)

        return self._do(add)

    def remove_silent_room(self, name: str, context: str) -> Deferred[bool]:
        """See `Directory.remove_silent_room`."""

        def remove() -> Deferred[bool]:
            gone = not self._told_by.has(context) and self._rooms.pop(name, None) is not None
            self._tell([RoomRemoved(name)] if gone else [])
            return succeed(gone)

        return self._do(remove)


def keys_of(claim: Claim) -> tuple[str, str]:
    """The two keys of the name that is claimed, which may be the same."""
    return claim.keys[0], claim.keys[-1]


def renamed(
    id: str, name: str, key: str | None, looks: str | None, token_hash: bytes | None
) -> SessionRenamed:
    """What is told of a new name."""
    known_by = None if token_hash is None else token_hash[:KNOWN_BY].hex()
    return SessionRenamed(id, name, key or "", looks or "", known_by)
