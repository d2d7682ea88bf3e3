"""The sessions of one process.

What it is: `LocalSessions`, the `Sessions` of a process that has the directory for itself: what is
in use is in memory, and so is who was seen when.

What it may know: what is kept of sessions (a `Directory`), names, a clock. Not cookies, not HTTP.

Invariant: what is in memory is what the directory has, but for sessions that it never hears of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.chat.claims import LocalNames, claimed_by
from cometd_chat.chat.lasting import LastingClock
from cometd_chat.chat.member_sessions import MemberSessions
from cometd_chat.chat.session_rows import (
    EXTEND_AFTER,
    KNOWN_BY,
    hash_of,
    session_of,
)
from cometd_chat.chat.sessions import TOKEN_LIFETIME, Session
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import InvalidToken
from cometd_chat.log.changes import Changes
from cometd_chat.log.control import Control
from cometd_chat.log.directory import Directory, SessionRow
from cometd_chat.log.members import refuse_members_name
from cometd_chat.lookalikes.keys import NameKeys

#: Seconds between two looks for sessions that have expired.
_DROP_EVERY = 3600.0


class LocalSessions(MemberSessions):
    """The `Sessions` of one process. An item of the reaper: it looks for those that have expired.

    :param directory: where they are kept.
    :param names: whose names are, but for those of members.
    :param changes: by which members are changed.
    :param reaper: its sweep frees the names of guests who are gone.
    :param wall_clock: seconds since 1970, for when sessions began.
    :param lasting: for when they end; started here.
    :param random_bytes: so many unguessable bytes.
    :param guest_timeout: seconds after which the name of a guest who holds nothing and asks for
        nothing is free again.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Directory,
        names: LocalNames,
        changes: Changes,
        reaper: Reaper,
        *,
        wall_clock: Callable[[], float],
        lasting: LastingClock,
        random_bytes: Callable[[int], bytes],
        guest_timeout: float,
    ) -> None:
        super().__init__(
            directory,
            changes,
            reaper,
            wall_clock=wall_clock,
            lasting=lasting,
            random_bytes=random_bytes,
        )
        self._names = names
        self._guest_timeout = guest_timeout
        #: How often something has become of sessions that are not in use, too.
        self._renewed = 0
        self.due_bucket = 0

    def start(self) -> None:
        """See `Sessions.start`."""
        last = self._directory.last_expiry()
        # The session that will end last was used that long before.
        self._lasting.start(None if last is None else last / 1000 - TOKEN_LIFETIME)
        self._look_for_members()
        now = self._lasting.seconds()
        for row in self._directory.named_sessions():
            if row.expires_at / 1000 > now:
                session = session_of(row, self, self._reaper.coarse_now())
                self._names.adopt(session)
                self._remember(session)
        self._drop_expired(now)
        self._reaper.schedule(self, _DROP_EVERY)

    def on_due(self, now: float) -> float | None:
        """Let go of what has expired; see `Reaper.schedule`."""
        today = self._lasting.seconds()
        for session in list(self._by_token.values()):
            if session.readers:
                self.extend(session)  # Whoever holds something uses it.
            elif session.expires_at <= today and not session.ephemeral:
                session.ended = True
                self._forget(session)
        self._drop_expired(today)
        return _DROP_EVERY

    def _drop_expired(self, now: float) -> None:
        dropping = self._directory.drop_expired(int(now * 1000))
        dropping.addErrback(lambda failure: self._log.failure("expired sessions stay", failure))
        forgetting = Deferred.fromCoroutine(self._forget_removed())
        forgetting.addErrback(lambda failure: self._log.failure("names stay reserved", failure))

    async def guest(self, name: str, browser: str) -> Session | None:
        """See `Sessions.guest`. There is no other process."""
        return None

    async def _keep_guest(
        self, session: Session, row: SessionRow, keys: NameKeys, browser: str | None
    ) -> None:
        # Claimed before it is kept, so that two who ask for a name at once don't both get it.
        held = await self._hold_name(session, keys)
        try:
            await self._refuse_members(session, session.name, keys)
        except BaseException:
            self._release_name(session, held)
            raise
        self._remember(session)
        if not session.ephemeral:
            try:
                await self._directory.add_session(row)
            except BaseException:
                self._forget(session)
                raise

    async def _refuse_members(self, session: Session, name: str, keys: NameKeys) -> None:
        """Refuse a member's name to who is in no row, and so not compared there."""
        if self._has_members and (session.ephemeral or session.transient):
            await self._changes.read(lambda each: refuse_members_name(each, name, keys))

    async def by_token(self, token: str) -> Session:
        """See `Sessions.by_token`."""
        token_hash = hash_of(token)
        session = self._by_token.get(token_hash[:KNOWN_BY])
        if session is None:
            session = await self._load(token_hash)
        if session.name_key is None:
            await self._take_back(session)
        if session.expires_at <= self._lasting.seconds():
            await self.end(session)
            raise InvalidToken("That session is over: log in again.")
        session.seen_at = self._reaper.coarse_now()
        return session

    def of_identity(self, identity: str) -> Sequence[Session]:
        """See `Sessions.of_identity`."""
        member = self.member(identity)
        if member is not None:
            return member.sessions
        key = bytes.fromhex(identity)
        return [each for each in self._by_token.values() if each.key == key]

    def called(self, keys: Collection[str]) -> Session | None:
        """See `Sessions.called`."""
        for key in keys:
            session = self._names.holder(key)
            if session is None or key not in claimed_by(session):
                continue
            # One that is about to begin is not in use yet.
            if self._by_token.get(session.known_by) is session:
                return session
        return None

    def in_use(self, id: str) -> Session | None:
        """See `Sessions.in_use`: there are no other processes."""
        return None

    def use_again(self, session: Session) -> bool:
        """See `Sessions.use_again`."""
        seen_at = self._reaper.coarse_now()
        now = self._lasting.at(seen_at)
        if session.ended or session.forgotten or session.name_key is None:
            return False
        if session.expires_at <= now:
            return False
        if now + TOKEN_LIFETIME - session.expires_at >= EXTEND_AFTER and not session.ephemeral:
            return False
        session.seen_at = seen_at
        return True

    async def _load(self, token_hash: bytes) -> Session:
        renewed = -1
        while renewed != self._renewed:
            # If another token takes its place while the row is read, or it is ended on another
            # device, the row is no good.
            renewed = self._renewed
            row = await self._directory.session_by_token(token_hash)
        # Another request with the same token may have come in while this one waited.
        session = self._by_token.get(token_hash[:KNOWN_BY])
        if session is None:
            if row is None:
                raise InvalidToken("No session has that token: log in again.")
            session = self._adopted(row)
            if session.member is None and not self._names.adopt(session):
                # Its name was freed and taken by another after the row was read.
                session.name_key = session.name_looks = None
            # Remembered before anything else waits, so that there is one object a session.
            self._remember(session)
        return session

    def doubt_all(self) -> None:
        """See `Sessions.doubt_all`. What one process has is not put back while it runs."""

    async def _give(
        self, session: Session, name: str, keys: NameKeys, token: str | None = None
    ) -> str:
        """Give a session a name that can be one; see `rename`."""
        new = await self._hold_name(session, keys)
        token_hash = None if token is None or name == session.name else hash_of(token)
        try:
            await self._refuse_members(session, name, keys)
            if not session.ephemeral:
                transient = session.transient
                await self._directory.rename_session(
                    session.id,
                    name,
                    None if transient else keys.folded,
                    None if transient else keys.looks,
                    token_hash,
                )
        except BaseException:
            self._names.release(session, new)
            raise
        self._names.release(session, claimed_by(session) - set(keys))
        if token_hash is not None:
            self._know_by(session, token_hash[:KNOWN_BY])
        old, session.name = session.name, name
        session.name_key, session.name_looks = keys
        if old != name:
            self.renamed.tell(session, old)
        return old

    async def end(self, session: Session) -> None:
        """See `Sessions.end`."""
        if not session.ephemeral:
            # First of all: were it forgotten and still kept, its token would bring it back. And a
            # new name that is on its way comes to its end before the session does.
            await self._directory.end_session(session.id)
        self._end(session)

    # -- as `MemberSessions` asks for it

    def told(self, control: Control) -> None:
        """See `Sessions.told`. A row that is being read may be older than that."""
        self._renewed += 1
        super().told(control)

    def _know_by(self, session: Session, known_by: bytes) -> None:
        self._renewed += 1
        self._by_token.pop(session.known_by, None)
        session.known_by = known_by
        self._by_token[known_by] = session

    def _find(self, id: str, known_by: bytes) -> Session | None:
        session = self._by_token.get(known_by)
        return session if session is not None and session.id == id else None

    def _let_go_of_names(self, session: Session) -> None:
        self._names.release(session, claimed_by(session))

    async def _hold_name(self, session: Session, keys: NameKeys) -> Collection[str]:
        return await self._names.claim(session, keys)

    def _release_name(self, session: Session, keys: Collection[str]) -> None:
        self._names.release(session, keys)

    # -- names of guests who are gone

    def _remember(self, session: Session) -> None:
        self._by_token[session.known_by] = session
        if not session.ephemeral:
            self._reaper.schedule(session, self._guest_timeout)

    def _forget(self, session: Session) -> None:
        self._by_token.pop(session.known_by, None)
        self._part(session)
        session.forgotten = True
        self.forgotten.tell(session)
        self._names.release(session, claimed_by(session))

    def check_timeout(self, session: Session, now: float) -> float | None:
        """See `SessionHome.check_timeout`."""
        if self._by_token.get(session.known_by) is not session:
            return None
        if session.readers:
            session.seen_at = now
        left = session.seen_at + self._guest_timeout - now
        if left > 0:
            return left
        self.free_name(session)
        return None

    def free_name(self, session: Session) -> None:
        """See `Sessions.free_name`."""
        self._forget(session)
        if session.member is not None:
            # Whoever keeps it asks for it anew, by its token.
            session.name_key = session.name_looks = None
            self._note_seen(session)
            return
        self.freed.tell(session)
        if session.name_key is None:
            return
        session.name_key = session.name_looks = None
        if not session.transient:
            freeing = self._directory.free_name(session.id)
            freeing.addErrback(lambda failure: self._log.failure("a name stays taken", failure))
