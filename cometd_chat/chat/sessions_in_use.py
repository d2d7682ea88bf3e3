"""The sessions that are in use here, as every back end of `Sessions` has them.

What it is: `SessionsInUse`, of which those back ends are made: how the session of a guest begins,
is found by its token, is used, gets its name back and ends.

What it may know: what is kept of sessions (a `Directory`), names, a clock. Not members, cookies or
HTTP.

Invariant: there is one object a session, for as long as it is in use here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.chat.lasting import LastingClock
from cometd_chat.chat.names import new_person
from cometd_chat.chat.roles import Role
from cometd_chat.chat.session_rows import EXTEND_AFTER, KNOWN_BY, hash_of, new_guest, new_token
from cometd_chat.chat.sessions import TOKEN_LIFETIME, Session
from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import NameTaken
from cometd_chat.log.directory import Directory, SessionRow
from cometd_chat.lookalikes.keys import NameKeys, is_reserved, name_keys


class SessionsInUse(ABC):
    """What is in use here.

    :param directory: where sessions are kept.
    :param reaper: by whose clock they are seen.
    :param wall_clock: seconds since 1970, for when they began.
    :param lasting: for when they end.
    :param random_bytes: so many unguessable bytes.
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
    ) -> None:
        self._directory = directory
        self._reaper = reaper
        self._wall_clock = wall_clock
        self._lasting = lasting
        self._random_bytes = random_bytes
        #: Told of a guest whose name others may take from now.
        self.freed: Listeners[[Session]] = Listeners("freed names")
        #: Told of a session that is in use no longer.
        self.forgotten: Listeners[[Session]] = Listeners("forgotten sessions")
        #: Told of a session that has ended.
        self.ended: Listeners[[Session]] = Listeners("sessions' ends")
        #: Told of a session that has another name, and of the one it had.
        self.renamed: Listeners[[Session, str]] = Listeners("new names")
        self._by_token: dict[bytes, Session] = {}

    # -- what each back end does in its way

    @abstractmethod
    async def _load(self, token_hash: bytes) -> Session:
        """The session of a token, in use from now as it is kept, whatever is told meanwhile.

        :raises InvalidToken: there is none.
        """

    @abstractmethod
    async def _keep_guest(
        self, session: Session, row: SessionRow, keys: NameKeys, browser: str | None
    ) -> None:
        """Keep a new session, whose name is hers from now, and have it in use.

        :raises NameTaken: somebody else has it.
        """

    @abstractmethod
    async def _give(
        self, session: Session, name: str, keys: NameKeys, token: str | None = None
    ) -> str:
        """Give a session a name that can be one; see `Sessions.rename`."""

    @abstractmethod
    def _know_by(self, session: Session, known_by: bytes) -> None:
        """A session in use here has another token."""

    @abstractmethod
    def _forget(self, session: Session) -> None:
        """A session is in use here no longer."""

    @abstractmethod
    def use_again(self, session: Session) -> bool:
        """See `Sessions.use_again`."""

    @abstractmethod
    def check_timeout(self, session: Session, now: float) -> float | None:
        """See `SessionHome.check_timeout`."""

    # -- what all of them do alike

    def __len__(self) -> int:
        return len(self._by_token)

    def new_token(self) -> str:
        """See `Sessions.new_token`."""
        return new_token(self._random_bytes)

    async def start_guest(
        self,
        name: str,
        *,
        ephemeral: bool = False,
        transient: bool = False,
        browser: str | None = None,
        agent: str = "",
        role: Role = Role.GUEST,
    ) -> tuple[Session, str]:
        """See `Sessions.start_guest`."""
        name, keys = new_person(name)
        token = self.new_token()
        session, row = new_guest(
            name,
            keys,
            token,
            self,
            id=self._random_bytes(12).hex(),
            created_at=self._wall_clock(),
            now=self._lasting.seconds(),
            seen_at=self._reaper.coarse_now(),
            ephemeral=ephemeral,
            transient=transient,
            role=role,
            agent=agent,
        )
        await self._keep_guest(session, row, keys, browser)
        return session, token

    def all_in_use(self) -> Sequence[Session]:
        """See `Sessions.all_in_use`."""
        return list(self._by_token.values())

    def known(self, token: str) -> Session | None:
        """See `Sessions.known`."""
        session = self._by_token.get(hash_of(token)[:KNOWN_BY])
        return session if session is not None and self.use_again(session) else None

    def extend(self, session: Session) -> bool:
        """See `Sessions.extend`."""
        expires_at = self._lasting.seconds() + TOKEN_LIFETIME
        if session.ephemeral or expires_at - session.expires_at < EXTEND_AFTER:
            return False
        session.expires_at = expires_at
        extending = self._directory.extend_session(session.id, int(expires_at * 1000))
        extending.addErrback(lambda failure: self._log.failure("a session grows old", failure))
        return True

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

    def _end(self, session: Session) -> None:
        """A session in use here has ended."""
        if not session.ended:
            session.ended = True
            self._forget(session)
            self.ended.tell(session)
