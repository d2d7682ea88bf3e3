"""The sessions of one of many nodes.

What it is: `ClusterSessions`, the `Sessions` of a node that shares its directory with others: what
is in use here is in memory, and the log tells what has become of it elsewhere.

What it may know: what is kept of sessions (a `SharedDirectory`), names, a clock. Not cookies, not
HTTP.

Invariant: what is in memory is what the directory has, as of the last thing that the log told, but
for sessions that it never hears of. A change is made there first; here it is made by what the log
tells of it, in the order in which all nodes are told.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.chat.cluster_names import ClusterNames, refused
from cometd_chat.chat.lasting import LastingClock
from cometd_chat.chat.member_sessions import MemberSessions
from cometd_chat.chat.names import new_person
from cometd_chat.chat.session_rows import (
    EXTEND_AFTER,
    KNOWN_BY,
    browser_hash,
    hash_of,
    session_of,
)
from cometd_chat.chat.sessions import TOKEN_LIFETIME, Session
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import ChatError, InvalidToken, NameTaken
from cometd_chat.log.changes import Changes
from cometd_chat.log.control import (
    Control,
    MemberMade,
    MemberRenamed,
    NameFreed,
    NodeGone,
    RoleChanged,
    SessionEnded,
    SessionRenamed,
    TokenRenewed,
)
from cometd_chat.log.directory import SessionRow
from cometd_chat.log.nodes import Nodes
from cometd_chat.log.shared_directory import MOST_SWEPT, NodeIsGone, SharedDirectory, renamed
from cometd_chat.lookalikes.keys import NameKeys

#: When a session was seen is written down each time this part of the guest timeout has gone by.
SEEN_PART = 4

#: Who was not seen here for so many guest timeouts is not in use here: by then the log has told
#: that her name is free, or another node has seen her.
FORGET_AFTER = 2

#: Seconds between two sweeps for guests who are gone and for sessions that have expired.
SWEEP_EVERY = 60.0

#: Seconds between two looks for accounts that were deleted long ago.
_FORGET_EVERY = 3600.0

#: Of so many sessions it is known that the log told something of them lately.
_MOST_TOLD = 1000

#: What is told of one session, and what is told of all sessions of a member.
_OF_ONE = SessionEnded | SessionRenamed | NameFreed | MemberMade | TokenRenewed
_OF_ALL = RoleChanged | MemberRenamed


class ClusterSessions(MemberSessions):
    """The `Sessions` of one of many nodes. An item of the reaper: it says who is in use.

    :param directory: where they are kept.
    :param names: whose names are that no row has.
    :param changes: by which members are changed.
    :param nodes: of several nodes the one with the lowest number sweeps.
    :param reaper: its sweep frees the names of guests who are gone.
    :param catch_up: see `EventLog.catch_up`.
    :param is_current: whether this node is told what is committed; on the hot path of streams.
    :param wall_clock: seconds since 1970, for when sessions began.
    :param lasting: for when they end; started here.
    :param random_bytes: so many unguessable bytes.
    :param guest_timeout: seconds after which the name of a guest who holds nothing and asks for
        nothing is free again; up to a quarter more, and the time until the next sweep.
    """

    _log = Logger()

    def __init__(
        self,
        directory: SharedDirectory,
        names: ClusterNames,
        changes: Changes,
        nodes: Nodes,
        reaper: Reaper,
        *,
        catch_up: Callable[[], Deferred[None]],
        is_current: Callable[[], bool],
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
        self._directory: SharedDirectory = directory
        self._names = names
        self._nodes = nodes
        self._catch_up = catch_up
        self._is_current = is_current
        self._guest_timeout = guest_timeout
        self._by_id: dict[str, Session] = {}
        # Of which sessions the log told something lately, and as the how manieth thing that was.
        self._told: OrderedDict[str, int] = OrderedDict()
        self._count = 0
        self._every = min(SWEEP_EVERY, guest_timeout / SEEN_PART)
        self._written_at = reaper.coarse_now()
        self._begins_anew = False
        self._forget_at = 0.0
        self.due_bucket = 0
        names.lost.add(self._lose_name)

    def start(self) -> None:
        """See `Sessions.start`."""
        last = self._directory.last_expiry()
        # The session that will end last was used that long before. What time it is, all nodes have
        # from one clock: none of them ends sessions before the others would.
        known = None if last is None else last / 1000 - TOKEN_LIFETIME
        self._lasting.start(known, self._directory.clock())
        # Nobody was seen while there was nobody to see them.
        self._begins_anew = not self._nodes.others()
        if self._begins_anew:
            self._try(self._begin_anew())
        self._reaper.schedule(self, self._every)

    # -- who is in use

    def on_due(self, now: float) -> float | None:
        """Say who was seen, forget who is not in use here, and sweep; see `Reaper.schedule`."""
        if now - self._written_at >= self._guest_timeout / SEEN_PART:
            self._look(now)
        self._sweep()
        return self._every

    def _look(self, now: float) -> None:
        """See who is in use here, and who is not any more."""
        since, self._written_at = self._written_at, now
        seen = []
        for session in list(self._by_id.values()):
            if session.readers:
                session.seen_at = now
                self.extend(session)  # Whoever holds something uses it.
            if session.seen_at >= since:
                seen.append(session.id)
            elif session.seen_at + FORGET_AFTER * self._guest_timeout <= now:
                self._forget(session)
        if seen:
            self._directory.see(seen).addErrback(self._not_written, since)

    def _not_written(self, failure: Failure, since: float) -> None:
        # They are seen with the next ones.
        self._written_at = min(self._written_at, since)
        self._log.warn("who is here is not known: {reason}", reason=failure.getErrorMessage())

    def _sweep(self) -> None:
        """Free the names of guests whom no node has seen, and drop what has expired. One node does
        that for all; should two think so, the second finds nothing."""
        if any(row.number < self._nodes.number for row in self._nodes.others()):
            return
        self._try(self._free_unseen())

    def _try(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Do what is tried again with the next sweep."""
        trying = Deferred.fromCoroutine(work)
        trying.addErrback(
            lambda failure: self._log.warn("nothing was swept: {reason}", reason=failure.value)
        )

    async def _begin_anew(self) -> None:
        if self._begins_anew:
            await self._directory.see_all()
            self._begins_anew = False

    async def _free_unseen(self) -> None:
        await self._begin_anew()
        while await self._directory.free_unseen(self._guest_timeout) >= MOST_SWEPT:
            continue
        while await self._directory.drop_expired(int(self._lasting.seconds() * 1000)) >= MOST_SWEPT:
            continue
        if self._reaper.coarse_now() >= self._forget_at:
            self._forget_at = self._reaper.coarse_now() + _FORGET_EVERY
            await self._forget_removed()

    # -- from a token to a session

    async def _keep_guest(
        self, session: Session, row: SessionRow, keys: NameKeys, browser: str | None
    ) -> None:
        if browser is not None:
            self._names.is_guest_of(session, browser_hash(browser))
        try:
            if session.ephemeral:
                await self._names.claim(session, keys)
            else:
                await self._add(session, row, keys)
        except BaseException:
            self._names.is_guest_of(session, None)
            raise
        self._remember(session)

    async def _add(self, session: Session, row: SessionRow, keys: NameKeys) -> None:
        claim = self._names.to_claim(session, keys) if session.transient else None
        try:
            await self._directory.add_session(row, claim)
        except (NameTaken, NodeIsGone) as error:
            raise refused(error) from None
        except BaseException:
            if claim is not None:
                # It may have come through, or may yet.
                self._names.give_up(row.id, claim)
            raise
        if claim is not None:
            self._names.note(session, claim.keys)

    async def guest(self, name: str, browser: str) -> Session | None:
        """See `Sessions.guest`."""
        name, keys = new_person(name)
        proof = browser_hash(browser)
        row = await self._directory.guest(keys, proof)
        if row is None or row.name != name:
            return None
        session = self._by_id.get(row.id)
        if session is None:
            # Here as there: its name lasts as long as something is held, at whichever node.
            session = session_of(row, self, self._reaper.coarse_now())
            session.name_key, session.name_looks = keys
            session.transient = True
            self._names.is_guest_of(session, proof)
            self._remember(session)
        return session

    async def by_token(self, token: str) -> Session:
        """See `Sessions.by_token`."""
        if not self._is_current():
            # What has ended elsewhere may not be known here.
            await self._catch_up()
        token_hash = hash_of(token)
        session = self._by_token.get(token_hash[:KNOWN_BY])
        if session is None:
            session = await self._load(token_hash)
        if session.name_key is None:
            await self._take_back(session)
        if session.expires_at <= self._lasting.seconds():
            await self._look_for_expiry(session)
        if session.ended:
            raise _over()
        session.seen_at = self._reaper.coarse_now()
        return session

    def of_identity(self, identity: str) -> Sequence[Session]:
        """See `Sessions.of_identity`."""
        member = self.member(identity)
        if member is not None:
            return member.sessions
        session = self._by_id.get(identity)
        return [] if session is None or session.member is not None else [session]

    def called(self, keys: Collection[str]) -> Session | None:
        """See `Sessions.called`: where there are many nodes the directory is asked."""
        return None

    def in_use(self, id: str) -> Session | None:
        """See `Sessions.in_use`."""
        return self._by_id.get(id)

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
        if not self._is_current():
            return False
        session.seen_at = seen_at
        return True

    async def _load(self, token_hash: bytes) -> Session:
        while True:
            # Whatever the log tells of the session meanwhile, the row may be older than that.
            began = self._count
            row = await self._directory.session_by_token(token_hash)
            if row is None:
                raise InvalidToken("No session has that token: log in again.")
            if not self._was_told(row.id, began):
                break
        # Another request with the same token may have come in while this one waited.
        session = self._by_id.get(row.id)
        if session is None:
            session = self._adopted(row)
            # Remembered before anything else waits, so that there is one object a session.
            self._remember(session)
        elif session.known_by != row.token_hash[:KNOWN_BY]:
            # The row is newer than what was told here so far.
            self._know_by(session, row.token_hash[:KNOWN_BY])
        return session

    def _was_told(self, id: str, since: int) -> bool:
        return self._told.get(id, 0) > since or self._count - since > _MOST_TOLD

    async def _look_for_expiry(self, session: Session) -> None:
        """See whether a session is over, or was used at another node."""
        if not session.ephemeral:
            row = await self._directory.session_by_id(session.id)
            if row is not None:
                session.expires_at = row.expires_at / 1000
        if session.expires_at <= self._lasting.seconds():
            await self.end(session)

    def doubt_all(self) -> None:
        """See `Sessions.doubt_all`."""
        for session in list(self._by_id.values()):
            if not session.ephemeral and not session.readers:
                self._forget(session)

    # -- changes

    async def _give(
        self, session: Session, name: str, keys: NameKeys, token: str | None = None
    ) -> str:
        """Give a session a name that can be one; see `rename`."""
        old = session.name
        token_hash = None if token is None or name == old else hash_of(token)
        if session.ephemeral:
            await self._names.claim(session, keys)
            if token_hash is not None:
                self._know_by(session, token_hash[:KNOWN_BY])
            self._call(session, name, keys)
            self._names.release(session, self._names.of(session) - set(keys))
            return old
        claim = self._names.to_claim(session, keys) if session.transient else None
        key, looks = keys if claim is None else (None, None)
        try:
            await self._directory.rename_session(session.id, name, key, looks, token_hash, claim)
        except (NameTaken, NodeIsGone) as error:
            raise refused(error) from None
        if claim is not None:
            self._names.note(session, claim.keys)
        await self._hear(session, renamed(session.id, name, *keys, token_hash))
        return old

    async def end(self, session: Session) -> None:
        """See `Sessions.end`."""
        if session.ephemeral:
            self._end(session)
            return
        await self._directory.end_session(session.id)
        await self._hear(session, SessionEnded(session.id))
        # It had ended before, and that was told long ago, perhaps.
        self._end(session)

    def free_name(self, session: Session) -> None:
        """See `Sessions.free_name`."""
        self._free(session)
        if not session.transient:
            freeing = self._directory.free_name(session.id)
            freeing.addErrback(lambda failure: self._log.failure("a name stays taken", failure))

    async def _hear(self, session: Session, change: SessionEnded | SessionRenamed) -> None:
        """Wait until the log has told what was changed, so that it is done here in the order in
        which it is done everywhere."""
        in_use = session.id in self._by_id
        try:
            await self._catch_up()
        except ChatError:
            # It is changed all the same; what is told later changes nothing more.
            in_use = False
        if not in_use:
            self._do(session, change)

    # -- what the log tells

    def told(self, control: Control) -> None:
        """See `Feed.control`."""
        if isinstance(control, NodeGone):
            self._keep_guests()
        if isinstance(control, _OF_ONE):
            self._note_told(control.session)
        elif isinstance(control, _OF_ALL):
            # It may be of any session whose row is being read.
            self._count += _MOST_TOLD + 1
        if isinstance(control, SessionEnded | SessionRenamed | NameFreed):
            session = self._by_id.get(control.session)
            if session is not None:
                self._do(session, control)
        else:
            super().told(control)

    def _note_told(self, id: str) -> None:
        self._count += 1
        self._told[id] = self._count
        self._told.move_to_end(id)
        if len(self._told) > _MOST_TOLD:
            self._told.popitem(last=False)

    def _do(self, session: Session, control: SessionEnded | SessionRenamed | NameFreed) -> None:
        if isinstance(control, SessionEnded):
            self._end(session)
        elif isinstance(control, SessionRenamed):
            if control.known_by is not None:
                self._know_by(session, bytes.fromhex(control.known_by))
            self._call(session, control.name, NameKeys(control.name_key, control.name_looks))
        elif session.readers:
            self._keep_name(session)
        else:
            self._free(session)

    def _call(self, session: Session, name: str, keys: NameKeys) -> None:
        """A session has a name."""
        old, session.name = session.name, name
        folded = name if keys.folded == name else keys.folded
        session.name_key = folded
        session.name_looks = folded if keys.looks == folded else keys.looks
        if old != name:
            self.renamed.tell(session, old)

    def _keep_guests(self) -> None:
        """A node is gone, and perhaps the claims of guests who hold something here, too."""
        for session in list(self._by_id.values()):
            if session.transient and session.readers and not self._names.of(session):
                self._keep_name(session)

    def _keep_name(self, session: Session) -> None:
        """Take back at once what was freed of somebody who is here: no node had said so in time."""
        session.name_key = session.name_looks = None
        keeping = Deferred.fromCoroutine(self._take_back(session))
        keeping.addErrback(lambda failure: self._log.failure("a name was lost", failure))

    def _lose_name(self, session: Session) -> None:
        session.name_key = session.name_looks = None

    # -- as `MemberSessions` asks for it

    def _find(self, id: str, known_by: bytes) -> Session | None:
        return self._by_id.get(id)

    def _let_go_of_names(self, session: Session) -> None:
        # The directory has none of them by now.
        self._names.note(session, ())
        self._names.is_guest_of(session, None)

    async def _hold_name(self, session: Session, keys: NameKeys) -> Collection[str]:
        return ()  # The directory knows of all.

    def _release_name(self, session: Session, keys: Collection[str]) -> None: ...

    # -- in use

    def _remember(self, session: Session) -> None:
        self._by_token[session.known_by] = session
        self._by_id[session.id] = session

    def _know_by(self, session: Session, known_by: bytes) -> None:
        """A session has another token."""
        if self._by_token.get(session.known_by) is session:
            del self._by_token[session.known_by]
        session.known_by = known_by
        self._by_token[known_by] = session

    def _free(self, session: Session) -> None:
        """Somebody is gone, and her name is free."""
        self._forget(session)
        session.name_key = session.name_looks = None
        self.freed.tell(session)

    def _forget(self, session: Session) -> None:
        if self._by_id.get(session.id) is not session:
            return
        del self._by_id[session.id]
        self._by_token.pop(session.known_by, None)
        self._part(session)
        session.forgotten = True
        self.forgotten.tell(session)
        self._names.release(session, self._names.of(session))
        self._names.is_guest_of(session, None)

    def check_timeout(self, session: Session, now: float) -> float | None:
        """See `SessionHome.check_timeout`. Nobody is scheduled by herself: see `on_due`."""
        return None


def _over() -> InvalidToken:
    return InvalidToken("That session is over: log in again.")
