"""What is kept beside the log, in the SQL that nodes share.

What it is: `SqlSharedDirectory`, a `SharedDirectory`; what is different with each database is in
those that are made of it.

What it may know: its tables, control records. Not what a name, a token or a role means.

Invariant: names are changed by one transaction at a time, over all nodes, so that none is given
that another session has, be it in a row or by a claim. A change that is in doubt may be made again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs
from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, update
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from cometd_chat.errors import InvalidToken
from cometd_chat.log.control import NameFreed, RoomMade, RoomRemoved, SessionEnded
from cometd_chat.log.directory import (
    RoomRow,
    SessionRow,
    SqlDirectory,
    check_name,
    putting,
    refuse_for,
    room_exists,
)
from cometd_chat.log.room_rows import add_members, drop_members
from cometd_chat.log.shared_directory import (
    MOST_SWEPT,
    Claim,
    NodeIsGone,
    keys_of,
    renamed,
)
from cometd_chat.log.store import SharedStore
from cometd_chat.log.tables import claims, records, rooms, sessions

#: So many sessions are noted to be in use by one statement.
_SEEN_TOGETHER = 1000

# Made once; see `cometd_chat.log.directory`.
_EXPIRED = select(sessions.c.id).where(sessions.c.expires_at <= bindparam("now")).limit(MOST_SWEPT)
_DROP_EXPIRED = delete(sessions).where(sessions.c.id.in_(_EXPIRED)).returning(sessions.c.id)


class SqlSharedDirectory(SqlDirectory, ABC):
    """A `SharedDirectory` in the log's database.

    :param store: where it is kept.
    """

    def __init__(self, store: SharedStore) -> None:
        super().__init__(store)
        self._store = store

    @abstractmethod
    def now(self) -> ColumnElement[int] | int:
        """Milliseconds since 1970-01-01T00:00Z by the clock of the database."""

    @abstractmethod
    def lock_names(self, connection: Connection) -> None:
        """Let no other transaction look for a name before this one is over."""

    @abstractmethod
    def is_there(self, connection: Connection, node: int) -> bool:
        """Whether a node is not gone, and will not be before the transaction is over."""

    # -- sessions

    def add_session(self, row: SessionRow, claim: Claim | None = None) -> Deferred[None]:
        """See `SharedDirectory.add_session`."""
        add = insert(sessions).values({**attrs.asdict(row, recurse=False), "seen_at": self.now()})

        def change(connection: Connection) -> None:
            self.lock_names(connection)
            known = select(sessions.c.id).where(sessions.c.id == row.id)
            if connection.execute(known).first():
                return  # It was in doubt.
            self._check_free(connection, row.id, row.name, (row.name_key, row.name_looks), claim)
            connection.execute(add)
            _put_claim(connection, row.id, claim)

        return self._store.write(change)

    def session_by_id(self, id: str) -> Deferred[SessionRow | None]:
        """See `SharedDirectory.session_by_id`."""
        query = select(sessions).where(sessions.c.id == id)

        def find(connection: Connection) -> SessionRow | None:
            row = connection.execute(query).one_or_none()
            return None if row is None else SessionRow(*row)

        return self._store.read(find)

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
        rename = update(sessions).where(sessions.c.id == id)
        rename = rename.values(
            name=name, name_key=name_key, name_looks=name_looks, seen_at=self.now()
        )
        if token_hash is not None:
            rename = rename.values(token_hash=token_hash)

        def change(connection: Connection) -> None:
            self.lock_names(connection)
            self._check_free(connection, id, name, (name_key, name_looks), claim)
            if not connection.execute(rename).rowcount:
                raise InvalidToken("This session has ended. Log in again.")
            if claim is not None:
                _drop_claims(connection, [id], claim.node)
                _put_claim(connection, id, claim)
            key, looks = (name_key, name_looks) if claim is None else keys_of(claim)
            self._store.tell(connection, renamed(id, name, key, looks, token_hash))

        return self._store.write(change)

    def free_name(self, id: str) -> Deferred[None]:
        """See `Directory.free_name`."""
        named = sessions.c.id == id, sessions.c.name_key.is_not(None)
        free = update(sessions).where(*named).values(name_key=None, name_looks=None)

        def change(connection: Connection) -> None:
            if connection.execute(free).rowcount:
                self._store.tell(connection, NameFreed(id))

        return self._store.write(change)

    def end_session(self, id: str) -> Deferred[None]:
        """See `Directory.end_session`."""
        end = delete(sessions).where(sessions.c.id == id)

        def change(connection: Connection) -> None:
            if connection.execute(end).rowcount:
                _drop_claims(connection, [id])
                self._store.tell(connection, SessionEnded(id))

        return self._store.write(change)

    def drop_expired(self, now: int) -> Deferred[int]:
        """See `Directory.drop_expired`. At most `MOST_SWEPT` at once."""

        def change(connection: Connection) -> int:
            ended = sorted(connection.execute(_DROP_EXPIRED, {"now": now}).scalars())
            if ended:
                _drop_claims(connection, ended)
            self._store.tell(connection, *map(SessionEnded, ended))
            return len(ended)

        return self._store.write(change)

    # -- names that no row has, and who is in use

    def claim(self, session: str, claim: Claim) -> Deferred[None]:
        """See `SharedDirectory.claim`."""

        def change(connection: Connection) -> None:
            self.lock_names(connection)
            self._check_free(connection, session, "so", (), claim)
            _put_claim(connection, session, claim)

        return self._store.write(change)

    def guest(self, keys: Collection[str], browser: bytes) -> Deferred[SessionRow | None]:
        """See `SharedDirectory.guest`."""
        its = claims.c.key.in_(keys), claims.c.browser == browser
        query = select(sessions).join(claims, claims.c.session == sessions.c.id).where(*its)

        def find(connection: Connection) -> SessionRow | None:
            row = connection.execute(query).first()
            return None if row is None else SessionRow(*row)

        return self._store.read(find)

    def release(self, session: str, claim: Claim) -> Deferred[None]:
        """See `SharedDirectory.release`."""
        mine = claims.c.session == session, claims.c.node == claim.node
        drop = delete(claims).where(claims.c.key.in_(claim.keys), *mine)
        nameless = select(sessions.c.id).where(
            sessions.c.id == session, sessions.c.name_key.is_(None)
        )

        def change(connection: Connection) -> None:
            if connection.execute(drop).rowcount and connection.execute(nameless).first():
                self._store.tell(connection, NameFreed(session))

        return self._store.write(change)

    def see(self, ids: Collection[str]) -> Deferred[None]:
        """See `SharedDirectory.see`."""
        left = list(ids)
        noting = []
        while left:
            some, left = left[:_SEEN_TOGETHER], left[_SEEN_TOGETHER:]
            noting.append(self._see(sessions.c.id.in_(some)))
        all_noted: Deferred[Any] = gatherResults(noting, consumeErrors=True)
        return all_noted.addCallbacks(_nothing, _first_error)

    def see_all(self) -> Deferred[None]:
        """See `SharedDirectory.see_all`."""
        return self._see(sessions.c.name_key.is_not(None))

    def _see(self, which: ColumnElement[bool]) -> Deferred[None]:
        note = update(sessions).where(which).values(seen_at=self.now())

        def change(connection: Connection) -> None:
            connection.execute(note)

        return self._store.write(change)

    def free_unseen(self, seconds: float) -> Deferred[int]:
        """See `SharedDirectory.free_unseen`."""
        # Not made once: where the database says what time it is, that is part of the statement.
        before = self.now() - int(seconds * 1000)
        unseen = sessions.c.name_key.is_not(None), sessions.c.seen_at <= before
        some = select(sessions.c.id).where(*unseen).limit(MOST_SWEPT)
        free = (
            update(sessions)
            # Once more: somebody may have been seen while this waited for her row.
            .where(sessions.c.id.in_(some), *unseen)
            .values(name_key=None, name_looks=None)
            .returning(sessions.c.id)
        )

        def change(connection: Connection) -> int:
            freed = sorted(connection.execute(free).scalars())
            self._store.tell(connection, *map(NameFreed, freed))
            return len(freed)

        return self._store.write(change)

    def _check_free(
        self,
        connection: Connection,
        session: str,
        name: str,
        keys: Iterable[str | None],
        claim: Claim | None,
    ) -> None:
        """Refuse keys that another session has, by its row or by a claim, and a node that is gone.

        The names are locked: what is free here is so to the end of the transaction.
        """
        check_name(connection, session, name, (*(() if claim is None else claim.keys), *keys))
        if claim is not None and not self.is_there(connection, claim.node):
            raise NodeIsGone

    # -- rooms

    def add_room(self, row: RoomRow, members: Mapping[str, str] | None = None) -> Deferred[None]:
        """See `Directory.add_room`."""
        there = select(rooms).where(rooms.c.name == row.name)

        def change(connection: Connection) -> None:
            put = putting(connection, rooms).values(attrs.asdict(row))
            if connection.execute(put.on_conflict_do_nothing().returning(rooms.c.name)).first():
                refuse_for(connection, row)
                add_members(connection, row.created_by, row.created_at, row.name, members)
                made = RoomMade(
                    row.name,
                    row.topic,
                    row.created_by,
                    row.created_at,
                    row.kind,
                    dict(members or {}),
                )
                self._store.tell(connection, made)
            elif RoomRow(*connection.execute(there).one()) != row:
                raise room_exists(row.name)

        return self._store.write(change)

    def remove_silent_room(self, name: str, context: str) -> Deferred[bool]:
        """See `Directory.remove_silent_room`. What another node appends at the same moment may be
        said in no room: who hears it makes the room again."""
        said = select(records.c.id).where(records.c.context == context)
        silent = delete(rooms).where(rooms.c.name == name, ~said.exists())

        def change(connection: Connection) -> bool:
            gone = connection.execute(silent).rowcount > 0
            if gone:
                drop_members(connection, name)
                self._store.tell(connection, RoomRemoved(name))
            return gone

        return self._store.write(change)


def _put_claim(connection: Connection, session: str, claim: Claim | None) -> None:
    if claim is not None:
        its = {"session": session, "node": claim.node, "browser": claim.browser}
        put = putting(connection, claims).values([{"key": key, **its} for key in set(claim.keys)])
        new = {"node": put.excluded.node, "browser": put.excluded.browser}
        connection.execute(put.on_conflict_do_update(index_elements=["key"], set_=new))


def _drop_claims(connection: Connection, ids: Collection[str], node: int | None = None) -> None:
    """Forget what is claimed for sessions; by one node, or by all."""
    drop = delete(claims).where(claims.c.session.in_(ids))
    connection.execute(drop if node is None else drop.where(claims.c.node == node))


def _nothing(_: object) -> None:
    """All of it was done."""


def _first_error(failure: Failure) -> Failure:
    """What went wrong with one of several."""
    failure.trap(FirstError)
    error: Any = failure.value
    first: Failure = error.subFailure
    return first
