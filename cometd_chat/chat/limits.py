"""How much is too much.

What it is: the table of the limits that the interface promises, and `Limits`, the seam behind which
is counted what was used of them, with the rules that every back end keeps; `local_limits.py` is the
one of a single process.

What it may know: addresses, sessions. Not who is behind them.

Invariant: what is refused has used nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from cometd_chat.chat.sessions import Session


@attrs.frozen(eq=False)
class Rate:
    """So many at once, and then so many a second.

    :param burst: the size of the bucket.
    :param each_second: how fast it fills again.
    """

    burst: float
    each_second: float


@attrs.frozen(eq=False)
class Limit:
    """How much of something is too much, for a session and for all who share an address.

    A session costs one request, so what bounds sessions alone bounds nobody. An address may be that
    of a school, so it has several times as much.

    :param what: what is too much, to finish the sentence "Too ...".
    """

    what: str
    session: Rate | None = None
    address: Rate | None = None


MESSAGES = Limit("many messages", Rate(20, 5.0), Rate(60, 10.0))
TEXT = Limit("much text", Rate(2**16, 2**16 / 60), Rate(2**18, 2**18 / 60))
TYPING = Limit("many signs of typing", Rate(10, 1.0), Rate(100, 20.0))
ROOMS = Limit("many new rooms", Rate(5, 1 / 60), Rate(20, 1 / 15))
NAMES = Limit("many new names", Rate(10, 1 / 6), Rate(60, 1.0))
IGNORES = Limit("many changes of whom you ignore", Rate(20, 0.2), Rate(100, 1.0))
MEMBERS = Limit("many changes of who belongs to a room", Rate(20, 0.5), Rate(100, 2.0))
DIRECTS = Limit("many new direct conversations", Rate(10, 1 / 6), Rate(60, 1.0))
INVITATIONS = Limit("many invitations and log-in links", Rate(20, 1 / 6), Rate(60, 1.0))
REPORTS = Limit("many reports", Rate(10, 1 / 6), Rate(60, 1.0))
EXPORTS = Limit("many exports", Rate(3, 1 / 60), Rate(10, 1 / 6))

#: Silence, kick, ban, purge, delete, and take that back. Whoever makes a room moderates it, so that
#: anybody may do that; in a raid it is a few hundred at once.
MODERATION = Limit("many acts of a moderator", Rate(300, 5.0), Rate(1000, 20.0))
SESSIONS = Limit("many new sessions", address=Rate(30, 1.0))

#: New guests while the house is calmed so that no guest speaks. Who is refused tries again under
#: another name: what let them in would be most of what the house does in a raid.
CALMED_GUESTS = Limit("many new guests for a house that has been calmed", address=Rate(5, 0.1))

#: Who waits to be let in, as moderators are told of it; who is not told of is on the list.
KNOCKS = Limit("many knocks", address=Rate(10, 1 / 6))

#: Bayeux handshakes. Many, for all who share an address come back at once after a restart.
HANDSHAKES = Limit("many handshakes", address=Rate(300, 10.0))


@attrs.frozen(eq=False)
class Quota:
    """How many of something an address may have at a time.

    :param most: so many.
    :param full: what its visitor is told, and can do.
    :param retry_after: seconds after which that may help.
    """

    most: int
    full: str
    retry_after: float


HELD = Quota(256, "Your address holds {most} requests: close one first.", 5)
IN_USE = Quota(
    1000, "Your address has {most} sessions in use: log out of one, or come back later.", 60
)
MADE = Quota(100, "Your address has made {most} rooms: use one of those there are.", 3600)


#: Takes what a session does from its limits, and those of the address that it comes from, which is
#: empty where that isn't known; raises `TooMany`.
Spend = Callable[[Session, str], None]


def spends_nothing(session: Session, address: str) -> None:
    """A `Spend` of what has no limit."""


def where_from(session: Session, address: str = "") -> str:
    """Where somebody comes from, as far as that is known here.

    :param address: that of their request, where it is known.
    """
    return address or session.seen_from or session.address or ""


class Limits(Protocol):
    """What everybody has used of the limits.

    What every back end keeps:

    * **All or none.** What is refused was not taken, of none of the limits that were asked for.
    * **Counted in one place.** Whatever is held from an address counts by `hold` and `let_go`, each
      once, whichever way it came in.
    * **Late is lenient.** A count may be lost with its process, and what several processes know of
      each other may be late: then more passes than was promised, never less than one process alone
      would let pass.
    * **What is said is counted over all processes**, a session's messages and text: each of them
      sees it in the log. All else is each process's own: so many times as much passes as there are.

    It is called in the reactor's thread, at each request: it waits for nothing.
    """

    def take(
        self, limit: Limit, amount: float = 1, *, session: str = "", address: str = ""
    ) -> None:
        """Take from the buckets of a session and of its address, or from none of them.

        :param session: its id; empty where there is none.
        :param address: where from; empty where that isn't known.
        :raises TooMany: with the seconds after which there is enough; nothing was taken.
        """

    def take_all(
        self, amounts: Sequence[tuple[Limit, float]], *, session: str = "", address: str = ""
    ) -> None:
        """Take of several limits, or of none.

        :raises TooMany: as `take`.
        """

    def posting(self, session: str) -> Callable[[bool], None]:
        """A session says something that was taken of its limits, and is on its way to the log.

        :returns: to be called when it has arrived: with True when the log told it, and with False
            when it did not, since it was refused or had been said before.
        """

    def hold(self, address: str, quota: Quota = HELD) -> None:
        """Count one more of something that an address has.

        :param address: where from; empty where that isn't known.
        :raises TooMany: it has as many as it may.
        """

    def let_go(self, address: str, quota: Quota = HELD) -> None:
        """Count it no longer."""
