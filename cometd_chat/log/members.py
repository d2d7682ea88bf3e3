"""Members, and what becomes of their sessions, in the tables.

What it is: changes within a transaction, each with the control records that tell of it.

What it may know: the tables of sessions, claims and members, what names are compared by. Not what a
role may do.

Invariant: the keys of a member's name are in the row of the member, and in no session's, so that
many sessions can have the name and nobody else ever; they stay for `RESERVED_FOR` when the account
was deleted. Each change may be made again where it is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import attrs
from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, text, update

from cometd_chat.errors import AlreadyMember, InvalidToken, LastOwner, NameTaken
from cometd_chat.log.control import (
    Control,
    MemberMade,
    MemberRemoved,
    MemberRenamed,
    RoleChanged,
    RoomMember,
    SessionEnded,
    TokenRenewed,
)
from cometd_chat.log.directory import SessionRow, check_name, name_taken
from cometd_chat.log.ranks import lock_roles
from cometd_chat.log.shared_directory import KNOWN_BY
from cometd_chat.log.tables import (
    claims,
    codes,
    ignored,
    invites,
    members,
    records,
    room_members,
    screened,
    sessions,
)
from cometd_chat.lookalikes.keys import NameKeys, name_keys

#: Milliseconds for which nobody else gets the name of an account that was deleted.
RESERVED_FOR = 30 * 86_400_000

#: So many devices somebody may have: one a log-in, and who forgets to log out is not shut out.
MOST_SESSIONS = 100

#: What is shown in the place of the name of somebody whose account was deleted.
DELETED_USER = "deleted user"

#: What is left to be done where an account was deleted: what they said stays, by nobody, or goes.
STAYS, GOES = "keep", "delete"

#: Records that are looked through by one statement.
WINDOW = 5000

#: That of names, see `cometd_chat.log.postgresql.shared_directory`.
_LOCK_NAMES = text("SELECT pg_advisory_xact_lock(1668246885, 3)")

_THERE = members.c.deleted_at.is_(None)

#: What else is changed in the same transaction; a refusal undoes all of it.
Beside = Callable[[Connection], object]


def nothing_beside(connection: Connection) -> None:
    """Nothing else is changed."""


@attrs.frozen
class NewMember:
    """An account that is to be made.

    :param name: with which keys.
    :param role: its word.
    :param password: what is kept of it; None for who logs in by other means.
    :param at: milliseconds since 1970-01-01T00:00Z.
    """

    name: str
    keys: NameKeys
    role: str
    password: str | None
    at: int


# -- who is one


def enrol(
    connection: Connection,
    session: str,
    new: NewMember,
    token_hash: bytes,
    beside: Beside = nothing_beside,
) -> MemberMade:
    """A guest has an account from now, and is who they were.

    :param session: theirs.
    :param token_hash: of the token that it is known by from now.
    :raises AlreadyMember: they have one.
    :raises InvalidToken: the session has ended.
    :raises NameTaken: somebody else has that name.
    """
    _lock_names(connection)
    row = connection.execute(select(sessions).where(sessions.c.id == session)).one_or_none()
    if row is None:
        raise InvalidToken("This session has ended. Log in again.")
    made = MemberMade(
        session=session,
        identity=session,
        name=new.name,
        name_key=new.keys.folded,
        name_looks=new.keys.looks,
        role=new.role,
        known_before=row.token_hash[:KNOWN_BY].hex(),
        known_by=token_hash[:KNOWN_BY].hex(),
    )
    if row.identity:
        if row.token_hash == token_hash:
            return made  # It was in doubt.
        raise AlreadyMember(f"You are {row.name} already, with an account.")
    beside(connection)
    put_member(connection, session, new)
    its = update(sessions).where(sessions.c.id == session)
    connection.execute(
        its.values(
            name=new.name,
            name_key=None,
            name_looks=None,
            role=new.role,
            identity=session,
            token_hash=token_hash,
        )
    )
    connection.execute(delete(claims).where(claims.c.session == session))
    return made


def add_member(
    connection: Connection, row: SessionRow, new: NewMember, beside: Beside = nothing_beside
) -> None:
    """Somebody comes and has an account at once.

    :param row: of their first session, which says that it is theirs.
    :raises NameTaken: somebody else has that name.
    """
    _lock_names(connection)
    if _is_there(connection, row.id):
        return
    beside(connection)
    put_member(connection, row.identity, new)
    connection.execute(insert(sessions), attrs.asdict(row))


def put_member(connection: Connection, identity: str, new: NewMember) -> None:
    """Keep an account.

    :raises NameTaken: somebody else has that name.
    """
    check_name(connection, identity, new.name, new.keys)
    values = {
        "identity": identity,
        "name": new.name,
        "name_key": new.keys.folded,
        "name_looks": new.keys.looks,
        "role": new.role,
        "password": new.password,
        "created_at": new.at,
        "seen_at": new.at,
        "deleted_at": None,
    }
    connection.execute(insert(members), values)


def add_session(
    connection: Connection, row: SessionRow, beside: Beside = nothing_beside
) -> tuple[SessionRow, list[Control]]:
    """A new session of a member. Past `MOST_SESSIONS` the ones go that were not used for longest.

    :param row: names an identity, and neither name nor role.
    :returns: the row, with both, and what is told of those that ended.
    :raises InvalidToken: there is no such account any more.
    """
    member = connection.execute(
        select(members.c.name, members.c.role)
        .where(_THERE, members.c.identity == row.identity)
        # Whoever changes either waits until the session is there to be changed, too.
        .with_for_update(read=True)
    ).one_or_none()
    if member is None:
        raise InvalidToken("That account was deleted: log in again.")
    row = attrs.evolve(row, name=member.name, role=member.role)
    if _is_there(connection, row.id):
        return row, []
    beside(connection)
    oldest = (
        select(sessions.c.id)
        .where(*_theirs(row.identity))
        .order_by(sessions.c.expires_at.desc(), sessions.c.id)
        .offset(MOST_SESSIONS - 1)
    )
    gone = connection.execute(oldest).scalars().all()
    if gone:
        connection.execute(delete(sessions).where(sessions.c.id.in_(gone)))
    connection.execute(insert(sessions), attrs.asdict(row))
    seen = update(members).where(members.c.identity == row.identity)
    connection.execute(seen.values(seen_at=row.created_at))
    return row, [SessionEnded(id) for id in gone]


# -- what becomes of them


def set_role(
    connection: Connection, identity: str, role: str, beside: Beside = nothing_beside
) -> Sequence[Control]:
    """A member has another role from now.

    :param beside: what else is changed, after nobody else changes roles any more.
    :raises InvalidToken: there is no such account any more.
    :raises LastOwner: there would be no owner.
    """
    lock_roles(connection)
    beside(connection)
    if role != "owner":
        refuse_last_owner(connection, identity)
    its = _THERE, members.c.identity == identity
    if not connection.execute(update(members).where(*its).values(role=role)).rowcount:
        raise InvalidToken("That account was deleted.")
    connection.execute(update(sessions).where(*_theirs(identity)).values(role=role))
    return [RoleChanged(identity, role)]


def refuse_last_owner(connection: Connection, identity: str) -> None:
    """Refuse what would leave the house without an owner. Of two owners who leave at once one
    stays, where roles are locked.

    :raises LastOwner: they are the only one.
    """
    owners = select(members.c.identity).where(_THERE, members.c.role == "owner")
    found = connection.execute(owners).scalars().all()
    if found == [identity]:
        raise LastOwner("There must be an owner: hand over the house to somebody else first.")


def rename(
    connection: Connection,
    identity: str,
    name: str,
    keys: NameKeys,
    session: str,
    token_hash: bytes | None,
) -> MemberRenamed:
    """A member is called otherwise from now, by all their sessions.

    :param session: by which they asked for it.
    :param token_hash: of the token that it is known by from now; None to keep its own.
    :raises InvalidToken: there is no such account, or session, any more.
    :raises NameTaken: somebody else has that name.
    """
    _lock_names(connection)
    check_name(connection, identity, name, keys)
    its = update(members).where(_THERE, members.c.identity == identity)
    named = its.values(name=name, name_key=keys.folded, name_looks=keys.looks)
    if not connection.execute(named).rowcount or not _is_there(connection, session):
        raise InvalidToken("That account was deleted.")
    theirs = update(sessions).where(*_theirs(identity))
    connection.execute(theirs.values(name=name))
    known_by = None
    if token_hash is not None:
        by_it = update(sessions).where(sessions.c.id == session)
        connection.execute(by_it.values(token_hash=token_hash))
        known_by = token_hash[:KNOWN_BY].hex()
    return MemberRenamed(identity, name, keys.folded, keys.looks, session, known_by)


def note_seen(identity: str, at: int, connection: Connection) -> None:
    """A member was seen then, in milliseconds since 1970-01-01T00:00Z."""
    its = members.c.identity == identity, members.c.seen_at < at
    connection.execute(update(members).where(*its).values(seen_at=at))


def sessions_of(connection: Connection, identity: str) -> list[SessionRow]:
    """The sessions of somebody, the oldest first."""
    # That of a guest, who is one, names nobody.
    guests = sessions.c.id == identity, sessions.c.identity == ""
    rows: list[SessionRow] = []
    for its in (_theirs(identity), guests):
        rows += (SessionRow(*row) for row in connection.execute(select(sessions).where(*its)))
    return sorted(rows, key=lambda row: (row.created_at, row.id))


def end_sessions(
    connection: Connection,
    identity: str,
    *,
    only: str | None = None,
    but: str | None = None,
) -> list[Control]:
    """End sessions of somebody. Where it is more than one device, no link that one of them has made
    leads in any more.

    :param only: this one, if it is theirs.
    :param but: all but this one.
    """
    if only is None:
        connection.execute(delete(codes).where(codes.c.identity == identity))
    ids = [row.id for row in sessions_of(connection, identity)]
    gone = [id for id in ids if id != but and only in (None, id)]
    if gone:
        connection.execute(delete(claims).where(claims.c.session.in_(gone)))
        connection.execute(delete(sessions).where(sessions.c.id.in_(gone)))
    return [SessionEnded(id) for id in gone]


def end_others(
    connection: Connection,
    identity: str,
    session: str,
    token_hash: bytes,
    beside: Beside = nothing_beside,
) -> list[Control]:
    """End all sessions of a member but one, which is known by another token from now.

    :param token_hash: of that.
    :raises InvalidToken: it has ended.
    """
    beside(connection)
    its = update(sessions).where(sessions.c.id == session)
    if not connection.execute(its.values(token_hash=token_hash)).rowcount:
        raise InvalidToken("This session has ended. Log in again.")
    renewed = TokenRenewed(session, identity, token_hash[:KNOWN_BY].hex())
    return [*end_sessions(connection, identity, but=session), renewed]


# -- what is left of them


def remove(
    connection: Connection,
    identity: str,
    at: int,
    beside: Beside = nothing_beside,
    *,
    leaving: str = STAYS,
) -> list[Control]:
    """An account is deleted, with all its sessions, what it belongs to and what it gave out; its
    name stays taken.

    :param at: milliseconds since 1970-01-01T00:00Z.
    :param beside: see `set_role`.
    :param leaving: what becomes of what they said, by whoever finds that in their row.
    :raises LastOwner: there would be no owner.
    """
    lock_roles(connection)
    beside(connection)
    refuse_last_owner(connection, identity)
    told = end_sessions(connection, identity)
    belonged = select(room_members.c.room).where(room_members.c.identity == identity)
    rooms = connection.execute(belonged.order_by(room_members.c.room)).scalars()
    told += [RoomMember(room, identity) for room in rooms]
    its = members.c.identity == identity
    gone = update(members).where(its, _THERE)
    changed = connection.execute(
        gone.values(name=DELETED_USER, role="guest", password=None, deleted_at=at, leaving=leaving)
    ).rowcount
    for table, column in (
        (room_members, room_members.c.identity),
        (ignored, ignored.c.identity),
        (ignored, ignored.c.whom),
        (codes, codes.c.identity),
        (invites, invites.c.by),
        (screened, screened.c.identity),
    ):
        connection.execute(delete(table).where(column == identity))
    return [*told, MemberRemoved(identity)] if changed else told


def left_of(connection: Connection, identity: str) -> str | None:
    """What is left to be done about somebody whose account was deleted."""
    query = select(members.c.leaving).where(members.c.identity == identity)
    left: str | None = connection.execute(query).scalar()
    return left


# Asked again and again, so made once; see `cometd_chat.log.directory`.
_ALL_LEFT = select(members.c.identity, members.c.leaving, members.c.deleted_at).where(
    members.c.leaving.is_not(None)
)


def all_left(connection: Connection) -> list[tuple[str, str, int]]:
    """The same of all: who, what, and since when, in milliseconds since 1970-01-01T00:00Z."""
    return [(row.identity, row.leaving, row.deleted_at) for row in connection.execute(_ALL_LEFT)]


def nothing_left(connection: Connection, identity: str) -> None:
    """All of it is done."""
    its = members.c.identity == identity
    connection.execute(update(members).where(its).values(leaving=None))


def forget_removed(before: int, connection: Connection) -> int:
    """Let others have the names of accounts that were deleted before then; says how many."""
    old = members.c.deleted_at <= before
    return connection.execute(delete(members).where(old)).rowcount


def disown(identity: str, after: int, connection: Connection) -> int | None:
    """Take the name of somebody from what they said, in the next `WINDOW` of records.

    :param after: the id up to which that was done.
    :returns: up to which it is done now; None when it is done.
    """
    top = _window(connection, after)
    if top is None:
        return None
    said = records.c.id > after, records.c.id <= top, records.c.sender == identity
    connection.execute(update(records).where(*said).values(author=DELETED_USER))
    return top


def said_by(
    connection: Connection, identity: str, after: int
) -> tuple[Sequence[tuple[int, str, str]], int] | None:
    """What somebody said in the next `WINDOW` of records: ids, contexts and types, and up to which
    id that is; None when there is no more."""
    top = _window(connection, after)
    if top is None:
        return None
    said = records.c.id > after, records.c.id <= top, records.c.sender == identity
    query = select(records.c.id, records.c.context, records.c.type).where(*said)
    found = connection.execute(query.order_by(records.c.id)).all()
    return [(row.id, row.context, row.type) for row in found], top


def _window(connection: Connection, after: int) -> int | None:
    ids = select(records.c.id).where(records.c.id > after).order_by(records.c.id).limit(WINDOW)
    found: Sequence[int] = connection.execute(ids).scalars().all()
    return found[-1] if found else None


# -- names


_ANY_MEMBER = select(members.c.identity).limit(1)


def has_members(connection: Connection) -> bool:
    """Whether anybody has, or lately had, an account."""
    return connection.execute(_ANY_MEMBER).first() is not None


def refuse_members_name(connection: Connection, name: str, keys: Collection[str]) -> None:
    """Refuse a name that a member has.

    :raises NameTaken: one has.
    """
    its = or_(members.c.name_key.in_(keys), members.c.name_looks.in_(keys))
    if connection.execute(select(members.c.identity).where(its)).first():
        raise NameTaken(name_taken(name).detail)


def _theirs(identity: str) -> tuple[ColumnElement[bool], ...]:
    """Which sessions are a member's; so that the index is used, which has no guests."""
    return sessions.c.identity == identity, sessions.c.identity != ""


def _is_there(connection: Connection, session: str) -> bool:
    query = select(sessions.c.id).where(sessions.c.id == session)
    return connection.execute(query).first() is not None


def _lock_names(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK_NAMES)


def keys_of_member(name: str) -> NameKeys:
    """What the name of a member is compared by; one object where they are the same."""
    keys = name_keys(name)
    folded = name if keys.folded == name else keys.folded
    return NameKeys(folded, folded if keys.looks == folded else keys.looks)
