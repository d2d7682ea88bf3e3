"""Accounts: how somebody becomes a member, logs in, and leaves.

What it is: `Accounts`, a method a thing that somebody can do with an account of their own.

What it may know: sessions, passwords, codes, invitations, rights. Not cookies, not pages.

Invariant: who one is changes with a new token, and only for who has shown a password, a code that
was good, or a session of the same identity. A code is used up in the transaction of what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import attrs
from sqlalchemy import Connection

from cometd_chat.chat.chat import Chat
from cometd_chat.chat.invites import find_good, use_good
from cometd_chat.chat.limits import INVITATIONS
from cometd_chat.chat.log_in_delays import LogInDelays
from cometd_chat.chat.matrix import RoomKind
from cometd_chat.chat.names import new_person
from cometd_chat.chat.passwords import Passwords, new_password
from cometd_chat.chat.rights import Act, Grant, require_current_token
from cometd_chat.chat.roles import Role
from cometd_chat.chat.rooms import Room
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.users import account_named, typed_keys
from cometd_chat.errors import (
    AlreadyMember,
    InvalidToken,
    InviteNeeded,
    NameTaken,
    NotAllowed,
    Waiting,
    WrongPassword,
)
from cometd_chat.log import accounts as table
from cometd_chat.log import codes as code_table
from cometd_chat.log import members
from cometd_chat.log.accounts import AccountRow
from cometd_chat.log.changes import Changes
from cometd_chat.log.codes import CLAIM, LINK, CodeRow
from cometd_chat.log.control import Control, RoomMember
from cometd_chat.log.directory import name_taken
from cometd_chat.log.invites import InviteRow
from cometd_chat.log.members import Beside, NewMember, nothing_beside
from cometd_chat.log.owner_link import code_hash, new_code
from cometd_chat.log.room_rows import put_members
from cometd_chat.lookalikes.keys import NameKeys, name_keys

#: Milliseconds for which a log-in link is good.
LINK_GOOD_FOR = 600_000


class Accounts:
    """What somebody can do with an account.

    :param delays: how long who guesses passwords waits.
    :param registration: who can have an account now: ``open``, ``invite`` or ``off``.
    :param wall_clock: seconds since 1970.
    :param random_bytes: so many unguessable bytes.
    """

    def __init__(
        self,
        chat: Chat,
        passwords: Passwords,
        delays: LogInDelays,
        *,
        registration: Callable[[], str],
        wall_clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._chat = chat
        self._registration = registration
        self._passwords = passwords
        self._delays = delays
        self._wall_clock = wall_clock
        self._random_bytes = random_bytes

    # -- logging in

    async def log_in(
        self, name: str, password: str, *, address: str, agent: str
    ) -> tuple[Session, str]:
        """A new session of somebody who has an account, and its token.

        :param address: where from; empty where that isn't known.
        :param agent: what the device calls itself.
        :raises WrongPassword: there is nobody of that name, or it is another password.
        :raises TooMany: wrong ones too often.
        """
        self._chat.rights.require(None, Act.ENTER, address=address)
        keys = typed_keys(name)
        row = await self._known(
            await account_named(self._changes, keys), keys.folded, password, address
        )
        return await self._begin(row.identity, address=address, agent=agent)

    async def _known(
        self, row: AccountRow | None, key: str, password: str, address: str
    ) -> AccountRow:
        """The account, for who knows its password.

        :param key: under which failures are counted, whether there is such an account or not.
        :raises WrongPassword: there is none, or it is another one.
        :raises TooMany: wrong ones too often.
        """
        attempt = self._delays.begin(key, address)
        try:
            kept = None if row is None else row.password
            verified = await self._passwords.verify(kept, password, address)
        except BaseException:
            attempt.given_up()
            raise
        if row is None or not verified.good:
            attempt.failed()
            raise WrongPassword("There is nobody here with that name and that password.")
        attempt.succeeded()
        if verified.renewed is not None:
            row = await self._renewed(row, verified.renewed)
        return row

    async def _renewed(self, row: AccountRow, kept: str) -> AccountRow:
        """The account with the hash of the same password by other parameters."""
        await self._changes.make(
            lambda each: table.put_password(each, row.identity, kept, instead_of=row.password),
            _nothing,
        )
        return attrs.evolve(row, password=kept)

    async def _begin(
        self, identity: str, *, address: str, agent: str, beside: Beside = nothing_beside
    ) -> tuple[Session, str]:
        """A new device of a member."""
        return await self._chat.start_member(identity, address, agent=agent, beside=beside)

    async def make_link(self, session: Session) -> tuple[str, int]:
        """The code of a link that logs another device of somebody in, once, and until when.

        :raises NotAllowed: it is a guest's, which is one device and no more.
        """
        self._require_member(session)
        self._chat.spend(INVITATIONS, session)
        code, now = new_code(self._random_bytes), self._now()
        row = CodeRow(code_hash(code), LINK, session.identity, now + LINK_GOOD_FOR)
        await self._changes.make(lambda each: code_table.add_code(each, row, now), _nothing)
        return code, row.until

    async def name_of_link(self, code: str) -> str:
        """Who is logged in by a link.

        :raises CodeGone: it is good no longer.
        """
        return (await self._linked(code)).name

    async def follow_link(self, code: str, *, address: str, agent: str) -> tuple[Session, str]:
        """The session of another device.

        :raises CodeGone: the link is good no longer.
        """
        self._chat.rights.require(None, Act.ENTER, address=address)
        row, hash, now = await self._linked(code), code_hash(code), self._now()

        def use(connection: Connection) -> None:
            code_table.use_code(connection, hash, LINK, now)

        return await self._begin(row.identity, address=address, agent=agent, beside=use)

    async def _linked(self, code: str) -> AccountRow:
        hash, now = code_hash(code), self._now()

        def find(connection: Connection) -> AccountRow:
            found = code_table.find_code(connection, hash, LINK, now)
            row = table.account_of(connection, found.identity or "")
            if row is None:
                raise code_table.code_gone(LINK)
            return row

        return await self._changes.read(find)

    # -- becoming somebody

    async def claimable_until(self, code: str) -> int:
        """Until when an owner link is good, in milliseconds since 1970.

        :raises CodeGone: it isn't.
        """
        hash, now = code_hash(code), self._now()
        return await self._changes.read(
            lambda each: code_table.find_code(each, hash, CLAIM, now).until
        )

    async def claim(
        self,
        code: str,
        name: str,
        password: str,
        before: Session | None,
        *,
        address: str,
        agent: str,
    ) -> tuple[Session, str]:
        """The session of the owner: a guest who is one from now, somebody new, or a member, who
        shows by the session that it is theirs. An owner comes back with a new password, and all
        their sessions but this one end: whoever has one of them need not be the owner.

        :param before: of who has a session already.
        :raises CodeGone: the link is good no longer.
        :raises NameTaken: it is somebody else's name.
        """
        self._chat.rights.require(None, Act.ENTER, address=address)
        await self.claimable_until(code)  # Before anything slow is done for it.
        chosen, keys = new_person(name)
        kept = await self._passwords.hash(new_password(password), address)
        hash, now = code_hash(code), self._now()

        def use(connection: Connection) -> None:
            code_table.use_code(connection, hash, CLAIM, now)

        known = await account_named(self._changes, keys)
        if known is None:
            new = self._new(chosen, keys, Role.OWNER, kept)
            return await self._enter(before, new, use, address=address, agent=agent)
        identity = known.identity
        theirs = before is not None and before.identity == identity
        if not theirs and known.role != Role.OWNER.word:
            raise name_taken(chosen)

        def take_over(connection: Connection) -> None:
            use(connection)
            table.set_password(connection, identity, kept)

        await self._chat.sessions.take_over(identity, Role.OWNER, take_over)
        return await self._begin(identity, address=address, agent=agent)

    async def become_member(
        self, session: Session, password: str, invite: str | None, *, address: str
    ) -> str:
        """A guest has an account from now, and keeps who they are.

        :param invite: the code of an invitation; None without one.
        :returns: the new token of the session.
        :raises AlreadyMember: it is a member's.
        :raises InviteNeeded: registration asks for one.
        :raises CodeGone: the invitation is good no longer.
        """
        self._chat.rights.require(session, Act.OWN_ACCOUNT, address=address)
        grant: Grant[Room] = self._chat.rights.grant(session, ())
        if session.member is not None:
            raise AlreadyMember(f"You are {session.name} already, with an account.")
        self._require_registration(invite)
        if invite is None and session.role is Role.WAITING:
            # An account is no way past who lets people in; who is invited needs nobody else.
            raise Waiting(
                "A moderator has to let you in first, or somebody to invite you: then you can "
                "choose a password."
            )
        chosen = new_password(password)
        row = None if invite is None else await self._invite(invite)
        kept = await self._passwords.hash(chosen, address)
        # Whoever had a token that was replaced meanwhile chooses nobody's password.
        require_current_token(grant)
        role: Role = Role.MEMBER
        use: Beside = nothing_beside
        if row is not None:
            role, use = _role(row), self._use(row)
        new = self._new(session.name, name_keys(session.name), role, kept)
        token = await self._chat.sessions.enrol(session, new, use)
        if row is not None:
            await self._let_into_room(session, row, nothing_beside)
        return token

    async def join(
        self,
        code: str,
        name: str,
        password: str,
        before: Session | None,
        *,
        address: str,
        agent: str,
    ) -> tuple[Session, str]:
        """Let somebody in by an invitation: with a password as a member, without one as a guest,
        where guests come in at all.

        :param before: a guest's, who is one already.
        :returns: the session, and its token; an empty one where that has not changed.
        """
        self._chat.rights.require(None, Act.ENTER, address=address)
        row = await self._invite(code)
        if password:
            self._require_registration(code)
            chosen, keys = new_person(name)
            if before is not None and before.member is None and chosen != before.name:
                self._chat.moderation.require_heard(before)
            kept = await self._passwords.hash(new_password(password), address)
            new, use = self._new(chosen, keys, _role(row), kept), self._use(row)
            session, token = await self._enter(before, new, use, address=address, agent=agent)
        else:
            session, token = await self._join_as_guest(name, before, row, address)
        await self._let_into_room(session, row, nothing_beside)
        return session, token

    async def _join_as_guest(
        self, name: str, before: Session | None, row: InviteRow, address: str
    ) -> tuple[Session, str]:
        session, token = before, ""
        if session is None:
            session, token = await self._chat.log_in(name, address)
        else:
            token = await self._chat.rename(session, name, address) or ""
        try:
            await self._changes.make(self._use(row), _nothing)
        except BaseException:
            if before is None:
                await self._chat.log_out(session)
            raise
        if session.role is Role.WAITING:
            # Who is invited needs nobody else to be let in.
            await self._chat.waiting.let_in(session.name, who=row.by, who_name=row.by_name)
        return session, token

    async def _let_into_room(self, session: Session, row: InviteRow, use: Beside) -> bool:
        """Let somebody belong to the room of an invitation, where one has to.

        :param use: what else is changed by that.
        :returns: whether they had not before.
        """
        room = None if row.room is None else self._chat.rooms.named(row.room)
        if room is None or room.kind is not RoomKind.PRIVATE or session.identity in room.members:
            return False
        name, identity, word, at = room.name, session.identity, Role.MEMBER.word, self._now()

        def put(connection: Connection) -> None:
            use(connection)
            put_members(connection, row.by, at, name, {identity: word})

        def tell(_: None) -> Sequence[Control]:
            return [RoomMember(name, identity, word, row.by, row.by_name)]

        await self._changes.make(put, tell)
        return True

    async def accept(self, session: Session, code: str) -> None:
        """A member comes by an invitation, which is used where it gives them anything.

        :raises CodeGone: it is good no longer.
        """
        row = await self._invite(code)
        use = self._use(row)
        if _role(row) > session.role:
            await self._chat.sessions.set_role(session.identity, _role(row), use)
            use = nothing_beside
        await self._let_into_room(session, row, use)

    async def by_proxy(self, name: str, *, address: str, agent: str) -> tuple[Session, str]:
        """A session of the member of a name, who has logged in at a proxy that is trusted. The
        account is made when somebody comes for the first time.

        :raises InvalidRequest: that can't be a name.
        :raises NameTaken: it is a guest's just now.
        """
        self._chat.rights.require(None, Act.ENTER, address=address)
        chosen, keys = new_person(name)
        known = await account_named(self._changes, keys)
        if known is None:
            new = self._new(chosen, keys, Role.MEMBER, None)
            try:
                return await self._enter(None, new, nothing_beside, address=address, agent=agent)
            except NameTaken:
                # By another request of theirs, at the same moment.
                known = await account_named(self._changes, keys)
                if known is None:
                    raise
        return await self._begin(known.identity, address=address, agent=agent)

    async def _enter(
        self, before: Session | None, new: NewMember, use: Beside, *, address: str, agent: str
    ) -> tuple[Session, str]:
        """The session of a new member: a guest's, or a new one."""
        if before is not None and before.member is None and not before.ended:
            return before, await self._chat.sessions.enrol(before, new, use)
        return await self._chat.make_member(new, address, agent=agent, beside=use)

    def _new(self, name: str, keys: NameKeys, role: Role, kept: str | None) -> NewMember:
        return NewMember(name=name, keys=keys, role=role.word, password=kept, at=self._now())

    async def _invite(self, code: str) -> InviteRow:
        """An invitation that is good.

        :raises CodeGone: it is good no longer.
        """
        now = self._now()
        return await self._changes.read(lambda each: find_good(each, code, now))

    def _use(self, row: InviteRow) -> Beside:
        """What uses an invitation up, within another change."""
        return partial(use_good, code=row.code, now=self._now())

    # -- one's own account

    @property
    def registration(self) -> str:
        """Who can have an account: ``open``, ``invite`` or ``off``."""
        return self._registration()

    @property
    def lets_guests_in(self) -> bool:
        """Whether somebody can come in without an account."""
        return self._chat.rights.may(None, Act.COME_AS_GUEST) is None

    async def has_password(self, session: Session) -> bool:
        """Whether somebody logs in by a password; not who always comes by a proxy."""
        return (await self._own(session)).password is not None

    async def change_password(
        self, session: Session, password: str, new: str, *, address: str
    ) -> str:
        """Take another password. All other sessions of theirs end.

        :returns: the new token of this one.
        :raises WrongPassword: that is not the one of now.
        """
        grant: Grant[Room] = self._chat.rights.grant(session, ())
        row = await self._own(session)
        chosen = new_password(new, "new_password")
        row = await self._known(row, name_keys(row.name).folded, password, address)
        kept = await self._passwords.hash(chosen, address)
        require_current_token(grant)

        def change(connection: Connection) -> None:
            if not table.put_password(connection, row.identity, kept, instead_of=row.password):
                raise WrongPassword("The password was changed on another device just now.")

        return await self._chat.sessions.end_others(session, change)

    async def delete(
        self, session: Session, password: str, *, messages: bool, address: str
    ) -> None:
        """Delete the account of somebody, and end all their sessions.

        :param password: theirs, if they have one.
        :param messages: what they said goes, too.
        :raises LastOwner: nobody would be the owner.
        """
        grant: Grant[Room] = self._chat.rights.grant(session, ())
        row = await self._own(session)
        if row.password is not None:
            row = await self._known(row, name_keys(row.name).folded, password, address)
        require_current_token(grant)
        leaving = members.GOES if messages else members.STAYS
        await self._chat.sessions.remove_member(row.identity, leaving=leaving)
        await self._chat.departures.begin(row.identity)

    # -- what several do

    @property
    def _changes(self) -> Changes:
        return self._chat.changes

    async def _own(self, session: Session) -> AccountRow:
        """The account of a session."""
        self._require_member(session)
        identity = session.identity
        row = await self._changes.read(lambda each: table.account_of(each, identity))
        if row is None:
            raise InvalidToken("That account was deleted: log in again.")
        return row

    def _require_member(self, session: Session) -> None:
        self._chat.rights.require(session, Act.OWN_ACCOUNT)
        if session.member is None:
            raise NotAllowed("A guest has no account: become a member first.")

    def _require_registration(self, invite: str | None) -> None:
        if self.registration == "off":
            raise NotAllowed("No accounts are made here just now.")
        if self.registration == "invite" and invite is None:
            raise InviteNeeded(
                "An account is made by invitation here: ask somebody who has one for its code."
            )

    def _now(self) -> int:
        return int(self._wall_clock() * 1000)


def _role(row: InviteRow) -> Role:
    """What an invitation makes of who takes it."""
    # A role that only a later release knows is no more than a member's here.
    return Role.of(row.role) or Role.MEMBER


def _nothing(result: object) -> Sequence[Control]:
    return ()
