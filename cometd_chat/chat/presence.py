"""Who is in a room: the seam behind which that is known.

What it is: `Presence`, with the rules that every back end keeps; `local_presence.py` is that of a
single process.

What it may know: sessions, names of rooms. Not who is told, nor how.

Invariant: somebody is present once, however many windows and devices they have; a reload is no
leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cometd_chat.chat.roles import Role
from cometd_chat.chat.sessions import Member, Session

#: Seconds that somebody is present after she asked anything about a room, or let go of it.
GRACE = 10.0

#: The same for pages and plain polling, which come back more slowly.
SLOW_GRACE = 60.0

#: The same after she said that she leaves: a page that is reloaded says so too.
LEAVING_GRACE = 2.0

#: Up to so many people each coming and going is told.
SMALL_ROOM = 50

#: So many people are named to who asks; of more there is only the count.
MOST_NAMED = 500


class Person(Protocol):
    """Somebody who is in a room: by this process, or as another one says."""

    @property
    def identity(self) -> str:
        """Who they are, for ever."""

    @property
    def name(self) -> str:
        """What they are called."""

    @property
    def role(self) -> Role:
        """What they are."""


class Presence(Protocol):
    """Who is in each room.

    What every back end keeps:

    * **A process owns who is there by it**: who holds something there, or asked lately. Nobody else
      writes that down, and when the process is gone for good, so are they, within the time of a
      lease.
    * **Each coming has its going.** Others are told of a join when the first process has somebody
      and of a leave when the last one has them no longer: who moves from one to another has neither
      left nor come.
    * **What is asked is of all processes** (`rooms`, `people`, `count`), and may be late by as long
      as news between them takes.
    * **It may be lost.** Nothing of it is kept over a restart, and nothing that must not be missed
      may depend on it.

    All is called in the reactor's thread, waits for nothing and raises nothing; a room is known by
    its name, and need not be there any more. `start` comes first, before the reactor runs.
    """

    def start(self) -> None:
        """Ask the other processes who is there by them."""

    @property
    def rooms(self) -> Sequence[str]:
        """Those in which somebody is."""

    def people(self, room: str) -> Sequence[Person]:
        """Who is in a room, by name; of very many those who have been there for the longest."""

    def count(self, room: str) -> int:
        """How many are in a room."""

    def hold(self, room: str, session: Session, address: str | None = None) -> None:
        """A session holds a request on a room; one that is in use no longer holds none.

        :param address: what others may see of where it comes from.
        """

    def release(self, room: str, session: Session, grace: float = GRACE) -> None:
        """A session lets go of a request on a room; it is present for ``grace`` seconds yet."""

    def seen(
        self, room: str, session: Session, grace: float = GRACE, address: str | None = None
    ) -> None:
        """A session asked something about a room; one that is in use no longer is not seen."""

    def leave(self, room: str, session: Session) -> None:
        """A session says that it leaves a room; what it still holds there keeps it."""

    def ended(self, session: Session) -> None:
        """A session is over: whose last one it was is gone from everywhere."""

    def gone_for_long(self, session: Session) -> None:
        """A session is in use no longer: whose last one it was is gone from where they hold
        nothing."""

    def became_member(self, session: Session) -> None:
        """A guest has an account from now, and is the same person."""

    def role_changed(self, member: Member) -> None:
        """A member has another role."""

    def renamed(self, session: Session, old: str) -> None:
        """Somebody, by any of their sessions, has another name than ``old`` now: for others one
        goes and one comes, and each says who the other is."""

    def typing(self, room: str, session: Session) -> None:
        """A session is writing. The people are told who have been there for the longest, and where
        they are few, those who only read; for each sign of it costs as much as a message."""
