"""Who is speaking: sessions, and the seam behind which they are kept.

What it is: `Session`, which is a device, what it holds (`HeldResource`), and `Member`, who may have
several of them; and `Sessions`, from a token to a session, with the rules that every back end
keeps; `local_sessions.py` is that of a single process.

What it may know: what a session is. Not where it is kept, not cookies, not HTTP.

Invariant: a name belongs to one session at a time, and only a hash of a token is ever kept.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import attrs
from twisted.internet.defer import Deferred

from cometd_chat.chat.roles import Role
from cometd_chat.comet.listeners import Listeners
from cometd_chat.errors import ChatError, InvalidToken, NameTaken, StorageUnavailable
from cometd_chat.events.event import Event
from cometd_chat.log.control import Control
from cometd_chat.log.members import STAYS, Beside, NewMember, nothing_beside

#: How long a token is good after it was last used, in seconds.
TOKEN_LIFETIME = 30 * 86400.0

#: Seconds after which whoever asked by a session that went out of use meanwhile asks again.
FORGOTTEN_AFTER = 1.0


class HeldResource(Protocol):
    """What a session holds: a reader, or a client of another protocol."""

    @property
    def client(self) -> str | None:
        """The window that a poll is for, if it says so."""

    @property
    def most(self) -> int | None:
        """So many of its kind may a session hold; None for any number."""

    @property
    def address(self) -> str:
        """Where from; empty where that isn't known."""

    def close(self, event: Event) -> None:
        """Send it away with a ``bye``."""

    def tell(self, event: Event) -> None:
        """Something for its client alone, which is not kept."""

    def answer_now(self) -> None:
        """Let a poll go with nothing new."""

    def come_back(self, after: float) -> None:
        """Send it away to begin anew, in so many seconds, with what shows who it is by then."""


class SessionHome(Protocol):
    """Who looks after the name of a session that is kept."""

    def check_timeout(self, session: Session, now: float) -> float | None:
        """See whether its guest is gone; see `Due.on_due`."""


@attrs.define(eq=False, weakref_slot=False)
class Session:
    """Somebody, by one device.

    :param key: its id as bytes, which take half of what its digits do.
    :param known_by: the beginning of her token's hash, see `session_rows.KNOWN_BY`.
    :param name: hers as long as `name_key` is set.
    :param name_key: what the name is compared by, or None when the name was freed.
    :param name_looks: the same for how it looks; mostly it is the same object.
    :param seen_at: when she last asked for something, in the clock's seconds.
    :param readers: what she holds, the oldest first.
    :param home: whose sweep looks after her name; None for one that is ephemeral.
    :param member: whose it is; None for a guest's, who is nothing beside it.
    :param transient: its name is free as soon as it holds nothing; its token is kept all the same.
    :param present: names of the rooms that it is in; `Presence` keeps them.
    :param address: where it was started from, as long as it counts there; see `Limits.hold`.
    """

    key: bytes
    known_by: bytes
    name: str
    name_key: str | None
    name_looks: str | None
    role: Role
    expires_at: float
    seen_at: float
    home: SessionHome | None
    member: Member | None = None
    transient: bool = False
    present: tuple[str, ...] = ()
    address: str | None = None
    #: Where they last asked from, as far as this process knows.
    seen_from: str = ""
    ended: bool = False
    #: It is in use here no longer: what is done by it from now is heard of by nobody. If it comes
    #: to be used again, that is another object.
    forgotten: bool = False
    readers: tuple[HeldResource, ...] = ()
    due_bucket: int = 0

    @property
    def id(self) -> str:
        """Its own for ever."""
        return self.key.hex()

    @property
    def identity(self) -> str:
        """Who it is, for ever: the sender in the log. A guest is their session."""
        return self.key.hex() if self.member is None else self.member.identity

    @property
    def person(self) -> Session | Member:
        """Who is present in a room by it, however many devices they have there."""
        return self if self.member is None else self.member

    @property
    def ephemeral(self) -> bool:
        """It lives only as long as one request, and is not kept."""
        return self.home is None

    def on_due(self, now: float) -> float | None:
        """See `SessionHome.check_timeout`."""
        return None if self.home is None else self.home.check_timeout(self, now)


@attrs.define(eq=False, weakref_slot=False)
class Member:
    """Somebody who has an account, as long as a session of theirs is in use here.

    :param sessions: those, the oldest first.
    :param present: see `Session`.
    """

    identity: str
    name: str
    role: Role
    sessions: tuple[Session, ...] = ()
    present: tuple[str, ...] = ()

    @property
    def readers(self) -> tuple[HeldResource, ...]:
        """What they hold, by whichever session."""
        return tuple(reader for session in self.sessions for reader in session.readers)


@attrs.frozen
class Device:
    """A session, as who has it sees it.

    :param began: milliseconds since 1970-01-01T00:00Z, as is ``seen``.
    :param agent: what it calls itself.
    :param current: it is the one that asks.
    """

    id: str
    began: int
    seen: int
    agent: str
    current: bool


class Sessions(Protocol):
    """All sessions that have a name or were used lately.

    What every back end keeps, over all processes that have the same directory:

    * **One object a session** in a process, whatever asks for it; and a session that has ended, was
      renamed, or whose token was replaced by another process is so here before anything is done for
      it that it may do no more.
    * **All or nothing.** What fails has changed nothing, neither here nor in the directory. A name
      that is given is the session's from then on, and the one before it is free by then.
    * **A name belongs to one session**, see `cometd_chat.chat.claims.Names`.
    * **A token is shown once** and kept by its hash alone.
    * What says when a session was seen last, and how long its token is good, may be lost to a kill:
      nobody is logged out by that within a day, nor is anybody's name freed early.

    All is called in the reactor's thread. `start` comes first, before the reactor runs. Whatever
    asks the directory may raise StorageUnavailable; then nothing was changed.
    """

    @property
    def freed(self) -> Listeners[[Session]]:
        """Told of a guest whose name others may take from now."""

    @property
    def forgotten(self) -> Listeners[[Session]]:
        """Told of a session that is in use no longer."""

    @property
    def ended(self) -> Listeners[[Session]]:
        """Told of a session in use here that has ended, at whichever process."""

    @property
    def renamed(self) -> Listeners[[Session, str]]:
        """Told of a session in use here that has another name, and of the one it had; its token is
        another one, too, mostly. At whichever process it was renamed."""

    def __len__(self) -> int:
        """How many are in use in this process."""

    def start(self) -> None:
        """Take up the sessions that had names when the daemon stopped. Blocks."""

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
        """A new session under a name, and its token.

        :param ephemeral: it lives as long as one request and is not kept.
        :param transient: its name is free as soon as it holds nothing; see `free_name`.
        :param browser: what a browser shows whose guest a transient one is; see `guest`.
        :param agent: what the device calls itself.
        :param role: a guest's, or that of one who waits to be let in.
        :raises InvalidRequest: that can't be a name.
        :raises NameTaken: somebody has it.
        """

    async def guest(self, name: str, browser: str) -> Session | None:
        """The transient session that a browser's guest has under a name at another process, in use
        here from now; None when there is none."""

    def new_token(self) -> str:
        """A token that nobody has."""

    async def by_token(self, token: str) -> Session:
        """The session of a token, in use from now. See `extend`, too.

        Its name is taken back if it had been freed and nobody has it; else `Session.name_key`
        stays None.

        :raises InvalidToken: no session has it.
        """

    def of_identity(self, identity: str) -> Sequence[Session]:
        """Somebody's sessions that are in use in this process. Looks at all there are: for what is
        rare."""

    def all_in_use(self) -> Sequence[Session]:
        """All that are, likewise."""

    def called(self, keys: Collection[str]) -> Session | None:
        """The session of a guest that is in use here and has a name of some keys, where that is at
        hand; whose name it is else, the directory knows."""

    def in_use(self, id: str) -> Session | None:
        """The session of an id, where it is in use in this process and may have been used in
        another one: for what other nodes tell of it."""

    def known(self, token: str) -> Session | None:
        """The session of a token, where it is at hand and may be used again as `use_again` says;
        None for any other, good or not. On the hot path of streams."""

    def use_again(self, session: Session) -> bool:
        """Whether a session that `by_token` gave may be used again without asking for it; False
        when there is more to be done than to note that it is in use. On the hot path of polls."""

    def extend(self, session: Session) -> bool:
        """Let the life of a token begin anew, as it does with its use.

        :returns: False when that was done lately, and it isn't worth writing down again.
        """

    def doubt_all(self) -> None:
        """What is kept was put back to an earlier state: know nobody any more who was not asked for
        anew."""

    async def rename(self, session: Session, name: str, token: str | None = None) -> str:
        """Give a session another name.

        :param token: if the name is another one than it had, the session's own from now: whoever
            knew the old one, and may have given it to her, is not to speak by her name.
        :returns: the name it had.
        :raises InvalidRequest: that can't be a name.
        :raises NameTaken: somebody has it.
        """

    # -- members; see `member_sessions.py`

    @property
    def became_member(self) -> Listeners[[Session]]:
        """Told of a session in use here that is a member's from now, and was a guest's: the same
        person's."""

    @property
    def renewed(self) -> Listeners[[Session]]:
        """Told of a session in use here whose token is another one, and whose name is not."""

    @property
    def role_changed(self) -> Listeners[[Member]]:
        """Told of a member in use here who has another role."""

    def member(self, identity: str) -> Member | None:
        """A member of whom a session is in use here."""

    def told(self, control: Control) -> None:
        """What has become of sessions and members; see `Feed.control`."""

    async def start_member(
        self, identity: str, *, agent: str = "", beside: Beside = nothing_beside
    ) -> tuple[Session, str]:
        """A new session of a member, and its token.

        :param agent: what the device calls itself.
        :param beside: what else is changed in the same transaction, also below.
        :raises InvalidToken: there is no such account.
        """

    async def make_member(
        self, new: NewMember, *, agent: str = "", beside: Beside = nothing_beside
    ) -> tuple[Session, str]:
        """The first session of somebody who has an account at once, and its token.

        :raises NameTaken: somebody has that name.
        """

    async def enrol(self, session: Session, new: NewMember, beside: Beside = nothing_beside) -> str:
        """A guest has an account from now, and is who they were, by the same session.

        :returns: its new token.
        :raises AlreadyMember: they have one.
        :raises NameTaken: somebody has that name.
        """

    def set_role(
        self, identity: str, role: Role, beside: Beside = nothing_beside
    ) -> Deferred[Sequence[Control]]:
        """Give a member another role, by all their sessions on all nodes.

        :raises InvalidToken: there is no such account.
        :raises LastOwner: there would be no owner.
        """

    def take_over(
        self, identity: str, role: Role, beside: Beside = nothing_beside
    ) -> Deferred[Sequence[Control]]:
        """The same, and end all sessions of theirs."""

    async def end_others(self, session: Session, beside: Beside = nothing_beside) -> str:
        """End all sessions of a member but one, which has a new token: the result."""

    async def devices(self, session: Session) -> Sequence[Device]:
        """All sessions of who has this one, the oldest first."""

    async def end_device(self, session: Session, id: str) -> None:
        """End one of them.

        :raises NotFound: there is none.
        """

    async def remove_member(
        self, identity: str, beside: Beside = nothing_beside, *, leaving: str = STAYS
    ) -> None:
        """Delete an account, and end all its sessions. What becomes of what they said, `Departures`
        sees to.

        :param beside: what else is changed by that, or refuses it.
        :param leaving: whether what they said stays, by nobody, or goes.
        :raises LastOwner: there would be no owner.
        """

    # -- the end

    async def end(self, session: Session) -> None:
        """End a session; its name is free and its token is worth nothing from now on.

        :raises StorageUnavailable: it goes on.
        """

    def free_name(self, session: Session) -> None:
        """Let others take the name of somebody who is gone. Her token takes it back, if it is free
        when she comes again."""


def require_active(session: Session) -> None:
    """Refuse somebody who can't speak, though she could when her request came in.

    :raises InvalidToken, StorageUnavailable, NameTaken: see `inactive`.
    """
    refusal = inactive(session)
    if refusal is not None:
        raise refusal


def inactive(session: Session) -> ChatError | None:
    """Why somebody can't speak: her session has ended, or went out of use while her request was
    answered, or she was away, and somebody else has her name now; None when she can."""
    if session.ended:
        return InvalidToken("That session is over: log in again.")
    if session.forgotten:
        return StorageUnavailable(
            "What is known of your session has to be read again. Try again in a moment.",
            retry_after=FORGOTTEN_AFTER,
        )
    if session.name_key is None:
        return NameTaken(
            f"You were away, and the name {session.name} is taken now: choose another one for "
            "this session."
        )
    return None
