"""Who is speaking: guest sessions and the names they have.

What it is: from a token to a session, from a session to the only one who has its name.

What it may know: what is kept of sessions (a `Directory`), a clock. Not cookies, not HTTP.

Invariant: a name belongs to one session at a time, and only a hash of a token is ever kept.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.chat import names
from cometd_chat.chat.lasting import LastingClock
from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import InvalidToken, NameTaken
from cometd_chat.events.event import Event
from cometd_chat.log.directory import Directory, SessionRow
from cometd_chat.lookalikes.keys import NameKeys, is_reserved, name_keys

#: How long a token is good after it was last used, in seconds.
TOKEN_LIFETIME = 30 * 86400.0

#: A token's life is written down again when it has been used and so many seconds have gone by.
_EXTEND_AFTER = 86400.0

#: Seconds between two looks for sessions that have expired.
_DROP_EVERY = 3600.0

GUEST = "guest"

#: Bytes by which a token's hash is known in memory: 120 bits are as hard to meet as all 256 would
#: be, and 48 B less are kept for each session.
_KNOWN_BY = 15


class Holding(Protocol):
    """What a session holds: a reader, or a client of another protocol."""

    @property
    def client(self) -> str | None:
        """The window that a poll is for, if it says so."""

    @property
    def most(self) -> int | None:
        """So many of its kind may a session hold; None for any number."""

    def close(self, event: Event) -> None:
        """Send it away with a ``bye``."""

    def answer_now(self) -> None:
        """Let a poll go with nothing new."""

    def come_back(self, after: float) -> None:
        """Send it away to begin anew, in so many seconds, with what shows who it is by then."""


@attrs.define(eq=False, weakref_slot=False)
class Session:
    """Somebody.

    :param key: her id as bytes, which take half of what its digits do.
    :param known_by: the beginning of her token's hash, see `_KNOWN_BY`.
    :param name: hers as long as `name_key` is set.
    :param name_key: what the name is compared by, or None when the name was freed.
    :param name_looks: the same for how it looks; mostly it is the same object.
    :param seen_at: when she last asked for something, in the clock's seconds.
    :param readers: what she holds, the oldest first.
    :param home: whose sweep looks after her name; None for one that is ephemeral.
    :param transient: its name is free as soon as it holds nothing; its token is kept all the same.
    :param present: names of the rooms that it is in; `Presence` keeps them.
    :param address: where it was started from, as long as it counts there; see `Limits.hold`.
    """

    key: bytes
    known_by: bytes
    name: str
    name_key: str | None
    name_looks: str | None
    role: str
    expires_at: float
    seen_at: float
    home: Sessions | None
    transient: bool = False
    present: tuple[str, ...] = ()
    address: str | None = None
    ended: bool = False
    readers: tuple[Holding, ...] = ()
    due_bucket: int = 0

    @property
    def id(self) -> str:
        """Hers for ever, the sender in the log."""
        return self.key.hex()

    @property
    def ephemeral(self) -> bool:
        """It lives only as long as one request, and is not kept."""
        return self.home is None

    def on_due(self, now: float) -> float | None:
        """See `Sessions.check_timeout`."""
        return None if self.home is None else self.home.check_timeout(self, now)


class Sessions:
    """All sessions that have a name or were used lately. An item of the reaper: it looks for those
    that have expired.

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
        reaper: Reaper,
        *,
        wall_clock: Callable[[], float],
        lasting: LastingClock,
        random_bytes: Callable[[int], bytes],
        guest_timeout: float,
    ) -> None:
        self._directory = directory
        self._reaper = reaper
        self._wall_clock = wall_clock
        self._lasting = lasting
        self._random_bytes = random_bytes
        self._guest_timeout = guest_timeout
        #: Told of a guest whose name others may take from now.
        self.freed: Listeners[[Session]] = Listeners("freed names")
        #: Told of a session that is in use no longer.
        self.forgotten: Listeners[[Session]] = Listeners("forgotten sessions")
        self._by_token: dict[bytes, Session] = {}
        self._by_key: dict[str, Session] = {}
        #: How many tokens have taken the place of another.
        self._renewed = 0
        self.due_bucket = 0

    def __len__(self) -> int:
        return len(self._by_token)

    def start(self) -> None:
        """Take up the sessions that had names when the daemon stopped."""
        last = self._directory.last_expiry()
        # The session that will end last was used that long before.
        self._lasting.start(None if last is None else last / 1000 - TOKEN_LIFETIME)
        now = self._lasting.seconds()
        for row in self._directory.named_sessions():
            if row.expires_at / 1000 > now:
                self._remember(self._session(row))
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

    async def start_guest(
        self, name: str, *, ephemeral: bool = False, transient: bool = False
    ) -> tuple[Session, str]:
        """A new session under a name, and its token.

        :param ephemeral: it lives as long as one request and is not kept.
        :param transient: its name is free as soon as it holds nothing; see `free_name`.
        :raises InvalidRequest: that can't be a name.
        :raises NameTaken: somebody has it.
        """
        name, keys = names.new_person(name)
        self._refuse_taken(keys, None)
        token = self.new_token()
        row = SessionRow(
            id=self._random_bytes(12).hex(),
            token_hash=_hash(token),
            name=name,
            name_key=None if transient else keys.folded,
            role=GUEST,
            created_at=int(self._wall_clock() * 1000),
            expires_at=int((self._lasting.seconds() + TOKEN_LIFETIME) * 1000),
            name_looks=None if transient else keys.looks,
        )
        session = self._session(row)
        session.name_key, session.name_looks = keys
        session.transient = transient
        if ephemeral:
            session.home = None
        # Remembered before it is kept, so that two who ask for a name at once don't both get it.
        self._remember(session)
        if not ephemeral:
            try:
                await self._directory.add_session(row)
            except BaseException:
                self._forget(session)
                raise
        return session, token

    def new_token(self) -> str:
        """A token that nobody has."""
        return urlsafe_b64encode(self._random_bytes(24)).decode("ascii")

    async def by_token(self, token: str) -> Session:
        """The session of a token, in use from now. See `extend`, too.

        Its name is taken back if it had been freed and nobody has it; else `Session.name_key`
        stays None.

        :raises InvalidToken: no session has it.
        """
        token_hash = _hash(token)
        session = self._by_token.get(token_hash[:_KNOWN_BY])
        if session is None:
            session = await self._load(token_hash)
        if session.name_key is None:
            await self._take_back(session)
        if session.expires_at <= self._lasting.seconds():
            await self.end(session)
            raise InvalidToken("That session is over: log in again.")
        session.seen_at = self._reaper.coarse_now()
        return session

    def use_again(self, session: Session) -> bool:
        """Whether a session that `by_token` gave may be used again without asking for it; False
        when there is more to be done than to note that it is in use."""
        now = self._lasting.seconds()
        if session.ended or session.name_key is None or session.expires_at <= now:
            return False
        if now + TOKEN_LIFETIME - session.expires_at >= _EXTEND_AFTER and not session.ephemeral:
            return False
        session.seen_at = self._reaper.coarse_now()
        return True

    async def _load(self, token_hash: bytes) -> Session:
        renewed = -1
        while renewed != self._renewed:
            # If another token takes its place while the row is read, the row is no good.
            renewed = self._renewed
            row = await self._directory.session_by_token(token_hash)
        # Another request with the same token may have come in while this one waited.
        session = self._by_token.get(token_hash[:_KNOWN_BY])
        if session is None:
            if row is None:
                raise InvalidToken("No session has that token: log in again.")
            session = self._session(row)
            if any(key in self._by_key for key in _claims(session)):
                # Its name was freed and taken by another after the row was read.
                session.name_key = session.name_looks = None
            # Remembered before anything else waits, so that there is one object a session.
            self._remember(session)
        return session

    async def _take_back(self, session: Session) -> None:
        """Give a session the name back that it had, unless somebody else has it now."""
        # Whoever asked may leave, and is not waited for; the change goes on, and if nobody wrote
        # down here that it came through, the name would be taken for ever by nobody.
        taken: Deferred[str] = Deferred()
        # What can't be a name any more may well be one that somebody has had since before.
        keys = name_keys(session.name)
        if is_reserved(keys):
            return
        Deferred.fromCoroutine(self._give(session, session.name, keys)).chainDeferred(taken)
        try:
            await taken
        except NameTaken:
            return

    def extend(self, session: Session) -> bool:
        """Let the life of a token begin anew, as it does with its use.

        :returns: False when that was done lately, and it isn't worth writing down again.
        """
        expires_at = self._lasting.seconds() + TOKEN_LIFETIME
        if session.ephemeral or expires_at - session.expires_at < _EXTEND_AFTER:
            return False
        session.expires_at = expires_at
        extending = self._directory.extend_session(session.id, int(expires_at * 1000))
        extending.addErrback(lambda failure: self._log.failure("a session grows old", failure))
        return True

    async def rename(self, session: Session, name: str, token: str | None = None) -> str:
        """Give a session another name.

        :param token: if the name is another one than it had, the session's own from now: whoever
            knew the old one, and may have given it to her, is not to speak by her name.
        :returns: the name it had.
        :raises InvalidRequest: that can't be a name.
        :raises NameTaken: somebody has it.
        """
        name, keys = names.new_person(name)
        return await self._give(session, name, keys, token)

    async def _give(
        self, session: Session, name: str, keys: NameKeys, token: str | None = None
    ) -> str:
        """Give a session a name that can be one; see `rename`."""
        self._refuse_taken(keys, session)
        new = [key for key in set(keys) if key not in self._by_key]
        for key in new:
            self._by_key[key] = session
        token_hash = None if token is None or name == session.name else _hash(token)
        try:
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
            for key in new:
                self._by_key.pop(key, None)
            raise
        for key in _claims(session) - set(keys):
            self._by_key.pop(key, None)
        if token_hash is not None:
            self._renewed += 1
            self._by_token.pop(session.known_by, None)
            session.known_by = token_hash[:_KNOWN_BY]
            self._by_token[session.known_by] = session
        old, session.name = session.name, name
        session.name_key, session.name_looks = keys
        return old

    def _refuse_taken(self, keys: NameKeys, session: Session | None) -> None:
        if any(self._by_key.get(key, session) is not session for key in keys):
            raise NameTaken(
                "Somebody here has that name, or one that looks like it: choose another one."
            )

    async def end(self, session: Session) -> None:
        """End a session; its name is free and its token is worth nothing from now on.

        :raises StorageUnavailable: it goes on.
        """
        if not session.ephemeral:
            # First of all: were it forgotten and still kept, its token would bring it back. And a
            # new name that is on its way comes to its end before the session does.
            await self._directory.end_session(session.id)
        session.ended = True
        self._forget(session)

    # -- names of guests who are gone

    def _session(self, row: SessionRow) -> Session:
        return Session(
            key=bytes.fromhex(row.id),
            known_by=row.token_hash[:_KNOWN_BY],
            name=row.name,
            name_key=row.name if row.name_key == row.name else row.name_key,
            name_looks=next(
                (each for each in (row.name, row.name_key) if each == row.name_looks),
                row.name_looks,
            ),
            role=row.role,
            expires_at=row.expires_at / 1000,
            seen_at=self._reaper.coarse_now(),
            home=self,
        )

    def _remember(self, session: Session) -> None:
        self._by_token[session.known_by] = session
        for key in _claims(session):
            self._by_key[key] = session
        if not session.ephemeral:
            self._reaper.schedule(session, self._guest_timeout)

    def _forget(self, session: Session) -> None:
        self._by_token.pop(session.known_by, None)
        self.forgotten.tell(session)
        for key in _claims(session):
            if self._by_key.get(key) is session:
                del self._by_key[key]

    def check_timeout(self, session: Session, now: float) -> float | None:
        """Free the name of a guest who is gone.

        :returns: seconds until the next look, None when there is nothing more to look at.
        """
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
        """Let others take the name of somebody who is gone. Her token takes it back, if it is free
        when she comes again."""
        self._forget(session)
        self.freed.tell(session)
        if session.name_key is None:
            return
        session.name_key = session.name_looks = None
        if not session.transient:
            freeing = self._directory.free_name(session.id)
            freeing.addErrback(lambda failure: self._log.failure("a name stays taken", failure))


def require_active(session: Session) -> None:
    """Refuse somebody who can't speak, though she could when her request came in.

    :raises InvalidToken: her session has ended.
    :raises NameTaken: she was away, and somebody else has her name now, or nobody can.
    """
    if session.ended:
        raise InvalidToken("That session is over: log in again.")
    if session.name_key is None:
        raise NameTaken(
            f"You were away, and the name {session.name} is taken now: choose another one for "
            "this session."
        )


def require_current_token(session: Session, token: bytes) -> None:
    """Refuse somebody whose token was good when her request came in, and has been replaced since.

    :param token: what it was known by then, see `Session.known_by`.
    :raises InvalidToken: it has.
    """
    if session.known_by != token:
        raise InvalidToken("That token has been replaced since: use the new one.")


def _claims(session: Session) -> set[str]:
    """The keys that are a session's as long as its name is."""
    return {key for key in (session.name_key, session.name_looks) if key is not None}


def _hash(token: str) -> bytes:
    # A token has 192 random bits: there is nothing to guess, so a fast hash will do.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
