"""What is kept beside the log: sessions, rooms, and how far somebody has come.

What it is: the rows, `Directory`, the seam that every directory keeps, and `SqlDirectory`, which
keeps them in the log's database.

What it may know: its tables. Not what a name, a token or a role means; that is for the chat.

Invariant: each of the two keys of a name belongs to one session at most, and a room's name to one
room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import attrs
from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Connection,
    Table,
    Update,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from twisted.internet.defer import Deferred

from cometd_chat.errors import InvalidToken, NameTaken, RoomExists
from cometd_chat.log.changes import refuse_older
from cometd_chat.log.room_rows import REMOVED, MemberRow, add_members, drop_members, member_rows
from cometd_chat.log.store import Store
from cometd_chat.log.tables import claims, members, positions, records, rooms, sessions


@attrs.frozen
class SessionRow:
    """Somebody who may speak, on one device.

    :param id: permanent.
    :param token_hash: what the session's token hashes to; the token itself is kept nowhere.
    :param name: the name as it is shown.
    :param name_key: the name as it is compared, or None while it is free for others.
    :param role: what they may do.
    :param created_at: milliseconds since 1970-01-01T00:00Z, like all times here.
    :param expires_at: when the session ends by itself, in milliseconds by its owner's clock.
    :param name_looks: what the name looks like, by which it is compared as well; None with
        ``name_key``.
    :param seen_at: when it was seen last, where many nodes must know; 0 where one does.
    :param identity: whose it is, the sender in the log; nothing for a guest's, who is the session.
    :param agent: what the device calls itself.
    """

    id: str
    token_hash: bytes
    name: str
    name_key: str | None
    role: str
    created_at: int
    expires_at: int
    name_looks: str | None = None
    seen_at: int = 0
    identity: str = ""
    agent: str = ""


@attrs.frozen
class RoomRow:
    """A room.

    :param created_by: who made it, or nothing for the one always there.
    :param created_at: milliseconds since 1970-01-01T00:00Z.
    :param kind: who may know of it.
    :param slow: seconds between two messages of one person.
    """

    name: str
    topic: str
    created_by: str
    created_at: int
    kind: str = "public"
    slow: int = 0
    locked: bool = False
    archived: bool = False


@attrs.frozen
class PositionRow:
    """How far a session has come in a room.

    :param position: an id of the log: it has everything up to there. None to forget the room.
    :param node: whose readers have come so far; 0 for a process that is alone.
    """

    session: str
    room: str
    position: int | None
    node: int = 0


class Directory(Protocol):
    """Sessions, rooms and positions, durably.

    What every directory keeps, over all processes that have it:

    * **What was answered is durable**, and each change was made as a whole or not at all. Whatever
      answers later may also fail with StorageUnavailable: then nothing was changed, and where its
      commit was in doubt, repeating it does no harm.
    * **What has to be unique is so here**: the token, both keys of a name, the name of a room. Of
      two who want the same at once, one is refused with the error that is said there, whichever
      process either came to.
    * **Changes of one process are made in the order in which it asked for them**, and a read that
      is asked for after a change was answered sees it.
    * **A position that is written takes the place of the one before**, even if it is lower: who
      writes knows better.

    Nothing that was answered may be lost. All is called in the reactor's thread; what blocks is for
    the start, before the reactor runs.
    """

    def add_session(self, row: SessionRow) -> Deferred[None]:
        """Keep a new session.

        :raises NameTaken: another session has one of its two keys.
        """

    def session_by_token(self, token_hash: bytes) -> Deferred[SessionRow | None]:
        """The session of a token; it may have expired."""

    def rename_session(
        self,
        id: str,
        name: str,
        name_key: str | None,
        name_looks: str | None,
        token_hash: bytes | None = None,
    ) -> Deferred[None]:
        """Give a session another name, or its own name back.

        :param name_key: see `SessionRow`, also for ``name_looks``.
        :param token_hash: of another token that it is known by from now; None to keep its own.
        :raises NameTaken: another session has one of the two keys.
        :raises InvalidToken: there is no such session.
        """

    def free_name(self, id: str) -> Deferred[None]:
        """Let others take a session's name; the session goes on under it until one does."""

    def extend_session(self, id: str, expires_at: int) -> Deferred[None]:
        """Move the end of a session."""

    def end_session(self, id: str) -> Deferred[None]:
        """Forget a session."""

    def drop_expired(self, now: int) -> Deferred[int]:
        """Forget the sessions that have expired; says how many.

        :param now: in milliseconds, by the same clock.
        """

    def last_expiry(self) -> int | None:
        """When the session that ends last does; None when there is none. Blocks: for the start."""

    def named_sessions(self) -> list[SessionRow]:
        """The sessions whose name is not free. Blocks: for the start."""

    def add_room(self, row: RoomRow, members: Mapping[str, str] | None = None) -> Deferred[None]:
        """Keep a new room.

        :param members: who belongs to it, by their identities, and as what.

        :raises RoomExists: there is one of that name.
        """

    def remove_silent_room(self, name: str, context: str) -> Deferred[bool]:
        """Forget a room in which nothing was ever said.

        :param context: to which it would have been said.
        :returns: False when something was: the room is kept.
        """

    def rooms(self) -> list[RoomRow]:
        """All rooms, the oldest first. Blocks: for the start."""

    def room_members(self) -> list[MemberRow]:
        """Who belongs to any of them. Blocks: for the start."""

    def room_members_again(self) -> Deferred[list[MemberRow]]:
        """The same; see `rooms_again`."""

    def rooms_again(self) -> Deferred[list[RoomRow]]:
        """The same, for one who had them, and whose directory was put back to an earlier state."""

    def positions(self, session: str) -> Deferred[Mapping[str, int]]:
        """How far a session has come, by room: the least over all nodes. They are forgotten with
        the session."""

    def position_rows(self, session: str) -> Deferred[Sequence[PositionRow]]:
        """The same, of each node by itself."""

    def put_positions(self, rows: Sequence[PositionRow]) -> Deferred[None]:
        """Keep positions, in the place of older ones. Those of sessions that are gone are not."""


#: An insert that can say what becomes of a row that is there already, by the database's dialect.
_PUTTING: dict[str, Callable[[Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def putting(connection: Connection, table: Table) -> Any:
    """An insert into a table that can say ``on_conflict_do_update`` and the like."""
    return _PUTTING[connection.dialect.name](table)


def _taken() -> CompoundSelect[Any]:
    """Who but an owner has one of some keys."""
    keys: BindParameter[Any] = bindparam("keys", expanding=True)
    owner: BindParameter[Any] = bindparam("owner")
    return union_all(
        select(sessions.c.id).where(
            or_(sessions.c.name_key.in_(keys), sessions.c.name_looks.in_(keys)),
            sessions.c.id != owner,
        ),
        select(claims.c.session).where(claims.c.key.in_(keys), claims.c.session != owner),
        select(members.c.identity).where(
            or_(members.c.name_key.in_(keys), members.c.name_looks.in_(keys)),
            members.c.identity != owner,
        ),
    )


# What each start and each log-in asks, made once: SQLAlchemy knows a statement again by what it is,
# and makes twice as much of one that is equal as of the same. To make those of a log-in
# anew took 550 of the 675 µs that its row did.
_TAKEN = _taken()
_ADD_SESSION = insert(sessions)
_LAST_EXPIRY = select(func.max(sessions.c.expires_at))
_NAMED = select(sessions).where(sessions.c.name_key.is_not(None)).order_by(sessions.c.id)
_DROP_EXPIRED = delete(sessions).where(sessions.c.expires_at <= bindparam("now"))
_ROOMS = select(rooms).where(rooms.c.kind != REMOVED).order_by(rooms.c.created_at, rooms.c.name)
_BY_TOKEN = select(sessions).where(sessions.c.token_hash == bindparam("hash"))
_END_SESSION = delete(sessions).where(sessions.c.id == bindparam("session"))
_ROOM_NAMED = select(rooms.c.name).where(rooms.c.name == bindparam("named"))
_ADD_ROOM = insert(rooms)
_OF_SESSION = positions.c.session == bindparam("session")
_LEAST_POSITIONS = (
    select(positions.c.room, func.min(positions.c.position))
    .group_by(positions.c.room)
    .where(_OF_SESSION)
)
_POSITIONS = select(
    positions.c.session, positions.c.room, positions.c.position, positions.c.node
).where(_OF_SESSION)
# Locked in one order: no two nodes wait for each other.
_STILL_THERE = (
    select(sessions.c.id)
    .where(sessions.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(sessions.c.id)
    .with_for_update(read=True, key_share=True)
)
_DROP_POSITION = delete(positions).where(
    positions.c.session == bindparam("session"),
    positions.c.room == bindparam("room"),
    positions.c.node == bindparam("node"),
)


@cache
def _put_position(dialect: str) -> Any:
    """A position that takes the place of the one before."""
    put = _PUTTING[dialect](positions)
    return put.on_conflict_do_update(
        index_elements=["session", "room", "node"], set_={"position": put.excluded.position}
    )


class SqlDirectory:
    """A `Directory` in the log's database.

    :param database: where it is kept.
    """

    def __init__(self, database: Store) -> None:
        self._database = database

    def add_session(self, row: SessionRow) -> Deferred[None]:
        """See `Directory.add_session`."""

        def add(connection: Connection) -> None:
            check_name(connection, row.id, row.name, (row.name_key, row.name_looks))
            connection.execute(_ADD_SESSION, attrs.asdict(row, recurse=False))

        return self._database.write(add)

    def session_by_token(self, token_hash: bytes) -> Deferred[SessionRow | None]:
        """See `Directory.session_by_token`."""

        def find(connection: Connection) -> SessionRow | None:
            row = connection.execute(_BY_TOKEN, {"hash": token_hash}).one_or_none()
            return None if row is None else SessionRow(*row)

        return self._database.read(find)

    def rename_session(
        self,
        id: str,
        name: str,
        name_key: str | None,
        name_looks: str | None,
        token_hash: bytes | None = None,
    ) -> Deferred[None]:
        """See `Directory.rename_session`."""

        def rename(connection: Connection) -> None:
            check_name(connection, id, name, (name_key, name_looks))
            change = _update(id, name=name, name_key=name_key, name_looks=name_looks)
            if token_hash is not None:
                change = change.values(token_hash=token_hash)
            if connection.execute(change).rowcount == 0:
                raise InvalidToken("This session has ended. Log in again.")

        return self._database.write(rename)

    def free_name(self, id: str) -> Deferred[None]:
        """See `Directory.free_name`."""
        return self._update(id, name_key=None, name_looks=None)

    def extend_session(self, id: str, expires_at: int) -> Deferred[None]:
        """See `Directory.extend_session`."""
        return self._update(id, expires_at=expires_at)

    def end_session(self, id: str) -> Deferred[None]:
        """See `Directory.end_session`."""

        def end(connection: Connection) -> None:
            connection.execute(_END_SESSION, {"session": id})

        return self._database.write(end)

    def drop_expired(self, now: int) -> Deferred[int]:
        """See `Directory.drop_expired`."""

        def drop(connection: Connection) -> int:
            return connection.execute(_DROP_EXPIRED, {"now": now}).rowcount

        return self._database.write(drop)

    def last_expiry(self) -> int | None:
        """See `Directory.last_expiry`."""
        return self._database.read_now(lambda connection: connection.execute(_LAST_EXPIRY).scalar())

    def named_sessions(self) -> list[SessionRow]:
        """See `Directory.named_sessions`."""
        return self._database.read_now(
            lambda connection: [SessionRow(*row) for row in connection.execute(_NAMED)]
        )

    def add_room(self, row: RoomRow, members: Mapping[str, str] | None = None) -> Deferred[None]:
        """See `Directory.add_room`."""

        def add(connection: Connection) -> None:
            if connection.execute(_ROOM_NAMED, {"named": row.name}).first():
                raise room_exists(row.name)
            put_rooms(connection, [row])
            refuse_for(connection, row)
            add_members(connection, row.created_by, row.created_at, row.name, members)

        return self._database.write(add)

    def remove_silent_room(self, name: str, context: str) -> Deferred[bool]:
        """See `Directory.remove_silent_room`."""
        # In the writer's turn: what was said before is there, and nothing comes in between.
        said = select(records.c.id).where(records.c.context == context)
        silent = delete(rooms).where(rooms.c.name == name, ~said.exists())

        def remove(connection: Connection) -> bool:
            gone = connection.execute(silent).rowcount > 0
            if gone:
                drop_members(connection, name)
            return gone

        return self._database.write(remove)

    def rooms(self) -> list[RoomRow]:
        """See `Directory.rooms`."""
        return self._database.read_now(_rooms)

    def room_members(self) -> list[MemberRow]:
        """See `Directory.room_members`."""
        return self._database.read_now(member_rows)

    def room_members_again(self) -> Deferred[list[MemberRow]]:
        """See `Directory.room_members_again`."""
        return self._database.read(member_rows)

    def rooms_again(self) -> Deferred[list[RoomRow]]:
        """See `Directory.rooms_again`."""
        return self._database.read(_rooms)

    def positions(self, session: str) -> Deferred[Mapping[str, int]]:
        """See `Directory.positions`."""
        its = {"session": session}
        return self._database.read(
            lambda connection: {row[0]: row[1] for row in connection.execute(_LEAST_POSITIONS, its)}
        )

    def position_rows(self, session: str) -> Deferred[Sequence[PositionRow]]:
        """See `Directory.position_rows`."""
        its = {"session": session}
        return self._database.read(
            lambda connection: [PositionRow(*row) for row in connection.execute(_POSITIONS, its)]
        )

    def put_positions(self, rows: Sequence[PositionRow]) -> Deferred[None]:
        """See `Directory.put_positions`."""

        def put(connection: Connection) -> None:
            ids = {"ids": list({row.session for row in rows})}
            there = set(connection.execute(_STILL_THERE, ids).scalars())
            kept = [row for row in rows if row.session in there]
            new = [attrs.asdict(row, recurse=False) for row in kept if row.position is not None]
            if new:
                connection.execute(_put_position(connection.dialect.name), new)
            old = [
                {"session": row.session, "room": row.room, "node": row.node}
                for row in kept
                if row.position is None
            ]
            if old:
                connection.execute(_DROP_POSITION, old)

        return self._database.write(put)

    def _update(self, id: str, **values: object) -> Deferred[None]:
        def change(connection: Connection) -> None:
            connection.execute(_update(id, **values))

        return self._database.write(change)


def _rooms(connection: Connection) -> list[RoomRow]:
    return [RoomRow(*row) for row in connection.execute(_ROOMS)]


def put_rooms(connection: Connection, rows: Sequence[RoomRow]) -> None:
    """Keep rooms whose names nobody has."""
    connection.execute(_ADD_ROOM, [attrs.asdict(row, recurse=False) for row in rows]).close()


def refuse_for(connection: Connection, row: RoomRow) -> None:
    """A release that knows nothing of kinds of rooms would show every one to everybody."""
    if row.kind != "public":
        refuse_older(connection)


def name_taken(name: str) -> NameTaken:
    """The refusal of a name that another session has."""
    return NameTaken(
        f"Somebody else is called {name} just now, or looks as if. Choose another name."
    )


def room_exists(name: str) -> RoomExists:
    """The refusal of a room that is there already."""
    return RoomExists(f"There is a room {name} already. Join it, or choose another name.")


def check_name(connection: Connection, owner: str, name: str, keys: Iterable[str | None]) -> None:
    """Refuse a name that somebody else has, by their session's row, by a claim or as a member.

    There is one writer, or a lock, so that it can't be taken between this look and the change; the
    indexes would refuse most of it even then.

    :param owner: the session, or member, that may have the keys already.
    :raises NameTaken: somebody has one of them.
    """
    wanted = {key for key in keys if key is not None}
    if not wanted:
        return
    if connection.execute(_TAKEN, {"keys": list(wanted), "owner": owner}).first():
        raise name_taken(name)


def _update(id: str, **values: object) -> Update:
    return update(sessions).where(sessions.c.id == id).values(**values)
