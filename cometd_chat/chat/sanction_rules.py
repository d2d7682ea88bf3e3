"""What sanctions forbid, as the rights ask for it.

What it is: two rules of `Rights`, over one index: `Bar`, of those who may be nowhere, and
`Restriction`, of those who may not speak, or not be in one room.

What it may know: sanctions, acts, sessions, hashes of networks.

Invariant: whoever is refused is told what it is, until when, and why. Who moderates is not kept out
by where they come from: they would be by anybody who comes from there as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cometd_chat.chat.networks import NetworkHashes
from cometd_chat.chat.rights import Act, AnyRoom
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sanctions import BAN, BAN_NETWORK, KICK, SILENCE, Sanction, SanctionIndex
from cometd_chat.chat.sessions import Session
from cometd_chat.errors import Banned, ChatError, Kicked, Silenced
from cometd_chat.events.kinds import timestamp

#: What whoever is banned may do all the same: whatever concerns nobody else.
_STILL = frozenset({Act.OWN_ACCOUNT, Act.LEAVE})

#: What is said to others, in one way or another.
_SAID = frozenset({Act.SPEAK, Act.MAKE_ROOM, Act.INVITE, Act.DIRECT})


class Bar:
    """Who may be nowhere: banned or kicked everywhere, or from a network that is banned.

    :param now: milliseconds since 1970-01-01T00:00Z.
    """

    def __init__(
        self, index: SanctionIndex, hashes: NetworkHashes, now: Callable[[], float]
    ) -> None:
        self._index = index
        self._hashes = hashes
        self._now = now

    @property
    def in_force(self) -> bool:
        """See `Rule`."""
        return len(self._index) > 0

    def concerns(self, session: Session | None, address: str) -> bool:
        """See `Rule`."""
        index = self._index
        if session is not None and index.identities and index.has(session.identity):
            return True
        return index.networks and address != "" and index.has_network(self._hashes.of(address))

    def refusal(
        self, session: Session | None, act: Act, room: AnyRoom | None, address: str
    ) -> ChatError | None:
        """See `Rule`."""
        found = self.found(session, None, address)
        return None if found is None or act in _STILL else refusal(found, self._now())

    def found(self, session: Session | None, room: str | None, address: str) -> Sanction | None:
        """What keeps somebody out of a room, or of everywhere."""
        index, now = self._index, self._now()
        if session is not None and index.identities:
            identity = session.identity
            found = index.of(identity, BAN, room, now) or index.of(identity, KICK, room, now)
            if found is not None:
                return found
        return self.found_by_address(session, room, address)

    def found_by_address(
        self, session: Session | None, room: str | None, address: str
    ) -> Sanction | None:
        """What keeps everybody out who comes from where they come from."""
        index = self._index
        if index.networks and address and (session is None or session.role < Role.MODERATOR):
            network = self._hashes.of(address)
            if network is not None:
                return index.of_network(network, room, self._now())
        return None


class Restriction:
    """Who may not speak, or may not be in a room."""

    def __init__(self, bar: Bar, index: SanctionIndex, now: Callable[[], float]) -> None:
        self._bar = bar
        self._index = index
        self._now = now

    @property
    def in_force(self) -> bool:
        """See `Rule`."""
        return self._bar.in_force

    def concerns(self, session: Session | None, address: str) -> bool:
        """See `Rule`: the bar is asked for both."""
        return False

    def refusal(
        self, session: Session | None, act: Act, room: AnyRoom | None, address: str
    ) -> ChatError | None:
        """See `Rule`."""
        name = None if room is None else room.name
        if name is not None and act not in _STILL:
            found = self._bar.found(session, name, address)
            if found is not None:
                return refusal(found, self._now())
        if session is None or act not in _SAID:
            return None
        silenced = self._index.of(session.identity, SILENCE, name, self._now())
        return None if silenced is None else refusal(silenced, self._now())


_WHAT = {
    SILENCE: (Silenced, "You may not speak"),
    KICK: (Kicked, "You were sent away"),
    BAN: (Banned, "You are banned"),
    BAN_NETWORK: (Banned, "The network that you come from is banned"),
}


def refusal(sanction: Sanction, now: float) -> ChatError:
    """What somebody is told who may not.

    :param now: milliseconds since 1970-01-01T00:00Z.
    """
    kind, what = _WHAT[sanction.kind]
    until = None if sanction.until is None else timestamp(sanction.until)
    return kind(
        f"{what}{place(sanction)}{duration(sanction, now)}{because(sanction)}",
        extra={"until": until, "room": sanction.room, "reason": sanction.reason},
    )


def place(sanction: Sanction) -> str:
    """Where, to go on a sentence."""
    if sanction.room is None:
        return " here" if sanction.kind is SILENCE else ""
    where = "in" if sanction.kind is SILENCE else "from"
    return f" {where} the room {sanction.room}"


def duration(sanction: Sanction, now: float) -> str:
    """For how much longer, to go on a sentence."""
    if sanction.until is None:
        return ", until a moderator lifts that"
    minutes = max(1, math.ceil((sanction.until - now) / 60_000))
    if minutes < 120:
        return f", for {minutes} min more"
    if minutes < 48 * 60:
        return f", for {math.ceil(minutes / 60)} hours more"
    return f", for {math.ceil(minutes / 1440)} days more"


def because(sanction: Sanction) -> str:
    """Why, to end a sentence."""
    return f": {sanction.reason}" if sanction.reason else "."


def described(sanction: Sanction, now: float) -> str:
    """A sanction in words, for whoever imposed it."""
    done = {SILENCE: "is silenced", KICK: "was sent away", BAN: "is banned"}
    what = done.get(sanction.kind, "is banned, with the network that they come from,")
    # Who reads it may be in no room: "here" says nothing to them.
    everywhere = sanction.room is None and sanction.kind is SILENCE
    where = " everywhere" if everywhere else place(sanction)
    return f"{sanction.who} {what}{where}{duration(sanction, now)}{because(sanction)}"
