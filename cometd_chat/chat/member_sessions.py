"""The sessions of members, as every back end of `Sessions` has them.

What it is: `MemberSessions`, which those back ends are made of: from what somebody does with an
account to a change of what is kept, and from what is told of it to the sessions that are in use.

What it may know: what is kept of members, sessions, names. Not passwords, cookies, or who may.

Invariant: a member is one object, as long as any of their sessions is in use here, and what is true
of them is true of each of these. It changes by what is told, and by nothing else.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from functools import partial

import attrs
from sqlalchemy import Connection
from twisted.internet.defer import Deferred

from cometd_chat.chat.lasting import LastingClock
from cometd_chat.chat.names import new_person
from cometd_chat.chat.roles import Role
from cometd_chat.chat.session_rows import hash_of, session_of
from cometd_chat.chat.sessions import TOKEN_LIFETIME, Device, Member, Session
from cometd_chat.chat.sessions_in_use import SessionsInUse
from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import NotFound
from cometd_chat.log import members as table
from cometd_chat.log.changes import Changes
from cometd_chat.log.control import (
    Control,
    MemberMade,
    MemberRenamed,
    RoleChanged,
    SessionEnded,
    TokenRenewed,
)
from cometd_chat.log.directory import Directory, SessionRow
from cometd_chat.log.members import Beside, NewMember, nothing_beside
from cometd_chat.lookalikes.keys import NameKeys


class MemberSessions(SessionsInUse):
    """What `LocalSessions` and `ClusterSessions` have in common; see `SessionsInUse`, too.

    :param changes: by which members are changed.
    """

    def __init__(
        self,
        directory: Directory,
        changes: Changes,
        reaper: Reaper,
        *,
        wall_clock: Callable[[], float],
        lasting: LastingClock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        super().__init__(
            directory,
            reaper,
            wall_clock=wall_clock,
            lasting=lasting,
            random_bytes=random_bytes,
        )
        self._changes = changes
        #: Told of a guest's session that is a member's from now.
        self.became_member: Listeners[[Session]] = Listeners("new members")
        #: Told of a session whose token is another one.
        self.renewed: Listeners[[Session]] = Listeners("new tokens")
        #: Told of a member in use here who has another role.
        self.role_changed: Listeners[[Member]] = Listeners("new roles")
        self._members: dict[str, Member] = {}
        self._of_members: dict[str, Session] = {}
        self._has_members = False

    # -- what each back end does in its way

    @abstractmethod
    def _find(self, id: str, known_by: bytes) -> Session | None:
        """A session in use here, by its id and what its token is known by."""

    @abstractmethod
    def _let_go_of_names(self, session: Session) -> None:
        """What was claimed for a guest is the member's."""

    @abstractmethod
    async def _hold_name(self, session: Session, keys: NameKeys) -> Collection[str]:
        """Keep a name from those who claim it here and nowhere else; those of its keys that are to
        be let go of afterwards.

        :raises NameTaken: one of them has it.
        """

    @abstractmethod
    def _release_name(self, session: Session, keys: Collection[str]) -> None:
        """See `_hold_name`."""

    # -- members in use

    def member(self, identity: str) -> Member | None:
        """See `Sessions.member`."""
        return self._members.get(identity)

    def _look_for_members(self) -> None:
        """For the start. Blocks."""
        self._has_members = self._changes.read_now(table.has_members)

    def _adopted(self, row: SessionRow) -> Session:
        """The session of a row, which is of its member if it has one."""
        session = session_of(row, self, self._reaper.coarse_now())
        if row.identity:
            self._join(session, row.identity, row.name, table.keys_of_member(row.name))
        return session

    def _join(self, session: Session, identity: str, name: str, keys: NameKeys) -> None:
        """A session is that of a member."""
        self._has_members = True
        member = self._members.get(identity)
        if member is None:
            member = self._members[identity] = Member(identity, name, session.role)
        session.member = member
        session.name, session.role = member.name, member.role
        session.name_key, session.name_looks = keys
        session.transient = False
        member.sessions = (*member.sessions, session)
        self._of_members[session.id] = session

    def _part(self, session: Session) -> None:
        """A session is in use here no longer. It goes on being that of its member."""
        member = session.member
        if member is None or self._of_members.get(session.id) is not session:
            return
        del self._of_members[session.id]
        member.sessions = tuple(each for each in member.sessions if each is not session)
        if not member.sessions:
            del self._members[member.identity]

    # -- what somebody does

    def _new_row(self, token: str, agent: str, identity: str = "") -> SessionRow:
        """What is kept of a new session, but for name and role.

        :param identity: whose it is; nothing for who comes by it for the first time.
        """
        id = self._random_bytes(12).hex()
        return SessionRow(
            id=id,
            token_hash=hash_of(token),
            name="",
            name_key=None,
            role="",
            created_at=int(self._wall_clock() * 1000),
            expires_at=int((self._lasting.seconds() + TOKEN_LIFETIME) * 1000),
            identity=identity or id,
            agent=agent,
        )

    async def start_member(
        self, identity: str, *, agent: str = "", beside: Beside = nothing_beside
    ) -> tuple[Session, str]:
        """See `Sessions.start_member`."""
        token = self.new_token()
        row = self._new_row(token, agent, identity=identity)
        await self._changes.make(
            lambda each: table.add_session(each, row, beside), lambda made: made[1]
        )
        return await self._load(row.token_hash), token

    async def make_member(
        self, new: NewMember, *, agent: str = "", beside: Beside = nothing_beside
    ) -> tuple[Session, str]:
        """See `Sessions.make_member`."""
        token = self.new_token()
        row = attrs.evolve(self._new_row(token, agent), name=new.name, role=new.role)
        holder = session_of(row, self, self._reaper.coarse_now())
        held = await self._hold_name(holder, new.keys)
        try:
            await self._changes.make(
                lambda each: table.add_member(each, row, new, beside), _nothing
            )
        finally:
            self._release_name(holder, held)
        return await self._load(row.token_hash), token

    async def enrol(self, session: Session, new: NewMember, beside: Beside = nothing_beside) -> str:
        """See `Sessions.enrol`."""
        token = self.new_token()
        hashed = hash_of(token)
        held = await self._hold_name(session, new.keys)
        try:
            await self._changes.make(
                lambda each: table.enrol(each, session.id, new, hashed, beside), _told_of
            )
        finally:
            self._release_name(session, held)
        return token

    async def rename(self, session: Session, name: str, token: str | None = None) -> str:
        """See `Sessions.rename`."""
        name, keys = new_person(name)
        if session.member is not None:
            return await self._rename_member(session, session.member, name, keys, token)
        return await self._give(session, name, keys, token)

    async def _rename_member(
        self, session: Session, member: Member, name: str, keys: NameKeys, token: str | None
    ) -> str:
        old = member.name
        token_hash = None if token is None or name == old else hash_of(token)
        held = await self._hold_name(session, keys)
        try:
            await self._changes.make(
                lambda each: table.rename(
                    each, member.identity, name, keys, session.id, token_hash
                ),
                _told_of,
            )
        finally:
            self._release_name(session, held)
        return old

    def set_role(
        self, identity: str, role: Role, beside: Beside = nothing_beside
    ) -> Deferred[Sequence[Control]]:
        """See `Sessions.set_role`."""
        return self._changes.make(
            lambda each: table.set_role(each, identity, role.word, beside), _as_it_is
        )

    def take_over(
        self, identity: str, role: Role, beside: Beside = nothing_beside
    ) -> Deferred[Sequence[Control]]:
        """See `Sessions.take_over`."""

        def change(connection: Connection) -> Sequence[Control]:
            told = table.set_role(connection, identity, role.word, beside)
            return [*table.end_sessions(connection, identity), *told]

        return self._changes.make(change, _as_it_is)

    async def end_others(self, session: Session, beside: Beside = nothing_beside) -> str:
        """See `Sessions.end_others`."""
        token, identity = self.new_token(), session.identity
        hashed = hash_of(token)
        await self._changes.make(
            lambda each: table.end_others(each, identity, session.id, hashed, beside), _as_it_is
        )
        return token

    async def devices(self, session: Session) -> Sequence[Device]:
        """See `Sessions.devices`."""
        identity = session.identity
        rows = await self._changes.read(lambda each: table.sessions_of(each, identity))
        return [self._device(row, session) for row in rows]

    def _device(self, row: SessionRow, asker: Session) -> Device:
        # When it was seen is written down now and then; its end is moved with its use.
        seen = max(row.created_at, row.seen_at, row.expires_at - int(TOKEN_LIFETIME * 1000))
        session = asker if row.id == asker.id else self._of_members.get(row.id)
        if session is not None:
            ago = self._reaper.coarse_now() - session.seen_at
            seen = max(seen, int((self._wall_clock() - (0 if session.readers else ago)) * 1000))
        return Device(row.id, row.created_at, seen, row.agent, row.id == asker.id)

    def _note_seen(self, session: Session) -> None:
        """A session of a member is in use no longer: write down when it was seen."""
        ago = self._reaper.coarse_now() - session.seen_at
        at = int((self._wall_clock() - ago) * 1000)
        noting = self._changes.make(partial(table.note_seen, session.identity, at), _nothing)
        noting.addErrback(lambda failure: self._log.warn("{why}", why=failure.value))

    async def end_device(self, session: Session, id: str) -> None:
        """See `Sessions.end_device`."""
        identity = session.identity
        ended = await self._changes.make(
            lambda each: table.end_sessions(each, identity, only=id), _as_it_is
        )
        if not ended:
            raise NotFound("You have no such device: it has ended, perhaps.")
        if id == session.id:
            self._end(session)

    async def remove_member(
        self, identity: str, beside: Beside = nothing_beside, *, leaving: str = table.STAYS
    ) -> None:
        """See `Sessions.remove_member`."""
        at = int(self._wall_clock() * 1000)
        await self._changes.make(
            lambda each: table.remove(each, identity, at, beside, leaving=leaving), _as_it_is
        )

    async def _forget_removed(self) -> None:
        """Let others have the names of accounts that were deleted long ago."""
        if self._has_members:
            before = int(self._wall_clock() * 1000) - table.RESERVED_FOR
            await self._changes.make(partial(table.forget_removed, before), _nothing)

    # -- what is told

    def told(self, control: Control) -> None:
        """What has become of members; see `Feed.control`."""
        if isinstance(control, MemberMade):
            self._has_members = True
            session = self._find(control.session, bytes.fromhex(control.known_before))
            if session is not None and session.member is None:
                self._become(session, control)
        elif isinstance(control, MemberRenamed):
            self._call_member(control)
        elif isinstance(control, RoleChanged):
            self._change_role(control)
        elif isinstance(control, TokenRenewed):
            session = self._of_members.get(control.session)
            if session is not None:
                self._know_by(session, bytes.fromhex(control.known_by))
                self.renewed.tell(session)
        elif isinstance(control, SessionEnded):
            session = self._of_members.get(control.session) or self._guest(control.session)
            if session is not None:
                self._end(session)

    def _guest(self, id: str) -> Session | None:
        """A guest's session in use here. It costs a look at all of them."""
        return next((each for each in self.all_in_use() if each.id == id), None)

    def _become(self, session: Session, made: MemberMade) -> None:
        old = session.name
        self._let_go_of_names(session)
        self._know_by(session, bytes.fromhex(made.known_by))
        session.role = Role.of(made.role) or Role.MEMBER
        self._join(session, made.identity, made.name, NameKeys(made.name_key, made.name_looks))
        self.became_member.tell(session)
        if old != session.name:
            self.renamed.tell(session, old)
        self.renewed.tell(session)

    def _call_member(self, control: MemberRenamed) -> None:
        member = self._members.get(control.identity)
        if member is None:
            return
        old, member.name = member.name, control.name
        for session in member.sessions:
            session.name = control.name
            session.name_key, session.name_looks = control.name_key, control.name_looks
            if session.id == control.session and control.known_by is not None:
                self._know_by(session, bytes.fromhex(control.known_by))
        if old != control.name:
            for session in member.sessions:
                self.renamed.tell(session, old)

    def _change_role(self, control: RoleChanged) -> None:
        member = self._members.get(control.identity)
        if member is None:
            return
        # One that only a later release knows is no more than a member's here.
        member.role = Role.of(control.role) or Role.MEMBER
        for session in member.sessions:
            session.role = member.role
        self.role_changed.tell(member)


def _nothing(result: object) -> Sequence[Control]:
    return ()


def _told_of(result: Control) -> Sequence[Control]:
    return [result]


def _as_it_is(result: Sequence[Control]) -> Sequence[Control]:
    return result
