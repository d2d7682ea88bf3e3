"""Sanctions as they are imposed, lifted and forgotten, on all nodes.

What it is: `Moderation`, by which moderators act; it keeps all that is in force in memory, as it is
told of it, and lets the rights ask.

What it may know: its tables, the rights, sessions. No HTTP, and no words of commands.

Invariant: a sanction is on the disk before it has any effect, and in force before whoever imposed
it is answered, on each other node as soon as that hears of it; so it holds after whatever comes in
between. Who is sanctioned is below whoever does it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs
from sqlalchemy import (
    Connection,
    delete,
    insert,
    update,
)
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from cometd_chat.chat import audit
from cometd_chat.chat.limits import Spend, spends_nothing
from cometd_chat.chat.mandate import Mandate
from cometd_chat.chat.networks import NetworkHashes
from cometd_chat.chat.people_lookup import Whom
from cometd_chat.chat.rights import Act, Affected, AnyRoom, Rights
from cometd_chat.chat.sanction_rows import (
    IN_FORCE,
    KEY,
    impose,
    impose_new,
    kept_key,
    lasting,
    sanction_told,
    told_on,
)
from cometd_chat.chat.sanction_rules import Bar, Restriction, refusal
from cometd_chat.chat.sanctions import (
    BAN,
    BAN_NETWORK,
    KICK,
    SILENCE,
    Sanction,
    SanctionIndex,
    SanctionKind,
    kept_sanction,
    require_other,
)
from cometd_chat.chat.sessions import Session
from cometd_chat.chat.whereabouts import Whereabouts, not_known
from cometd_chat.comet.listeners import Listeners
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import AlreadySanctioned, NotAllowed, NotFound
from cometd_chat.log.changes import Changes, Condition
from cometd_chat.log.control import Control, NetworksForgotten, Sanctioned, SanctionLifted
from cometd_chat.log.tables import sanctions, secrets

#: So large is the key by which networks are hashed, in bytes.
_KEY_BYTES = 32

#: So many networks are banned in one transaction.
_BAN_AT_ONCE = 50

#: So many sanctions end before others have their turn.
_END_AT_ONCE = 500


@attrs.frozen
class Reach:
    """For how long and why somebody is sanctioned.

    :param minutes: None for until it is lifted.
    """

    minutes: int | None = None
    reason: str = ""


class Moderation:
    """All sanctions. An item of the reaper while any of them ends by itself.

    :param now: milliseconds since 1970-01-01T00:00Z, by a clock that outlives a restart.
    :param random_bytes: so many unguessable bytes.
    :param room_named: the room of a name, if there is one.
    """

    _log = Logger()

    def __init__(
        self,
        changes: Changes,
        rights: Rights,
        reaper: Reaper,
        *,
        now: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        room_named: Callable[[str], AnyRoom | None],
    ) -> None:
        self._room_named = room_named
        self._changes = changes
        self._rights = rights
        self._reaper = reaper
        self.now = now
        self._whereabouts: Whereabouts | None = None
        self.random_bytes = random_bytes
        self._key = b""
        self.index = SanctionIndex()
        self.hashes = NetworkHashes(lambda: self._key)
        self._bar = Bar(self.index, self.hashes, now)
        rights.bar_by(self._bar)
        rights.restrict_by(Restriction(self._bar, self.index, now))
        #: Told of each sanction that begins here, before it ends anything; and of those that end.
        self.imposed: Listeners[[Sanction]] = Listeners("sanctions")
        self.ended: Listeners[[Sequence[Sanction]]] = Listeners("ends of sanctions")
        #: Takes each act from the limits of who does it.
        self.spend: Spend = spends_nothing
        self.due_bucket = 0

    def ask(self, whereabouts: Whereabouts) -> None:
        """Ask this one where people come from; until then no network can be banned."""
        self._whereabouts = whereabouts

    def start(self) -> None:
        """Take up what is in force. Blocks."""
        self._key, found = self._changes.read_now(self._in_force)
        for each in found:
            self.index.put(each)
        if found:
            self._rights.changed_by_state(Affected(identities=()))
        self._wait()

    def _in_force(self, connection: Connection) -> tuple[bytes, list[Sanction]]:
        found = connection.execute(IN_FORCE, {"now": int(self.now())})
        return kept_key(connection), [kept_sanction(dict(row._mapping)) for row in found]

    # -- what moderators do

    async def impose(
        self,
        actor: Session,
        kind: SanctionKind,
        whom: Whom,
        room: AnyRoom | None = None,
        reach: Reach | None = None,
        *,
        address: str = "",
    ) -> Sanction:
        """Sanction somebody.

        :param room: where; None for everywhere.
        :param address: where the actor comes from, whose own network is not banned.
        :raises ChatError: they may not, they have done that already, or it makes no sense.
        """
        self._rights.require(actor, Act.SANCTION, [] if room is None else [room])
        require_other(whom.identity, actor.identity)
        self._rights.require_above(actor, whom.role, identity=whom.identity, room=room)
        self.spend(actor, address)
        reach = reach or Reach()
        network = b""
        if kind is BAN_NETWORK:
            network = await self._network_of(whom, room, address)
            # What they may do may have changed meanwhile.
            self._rights.require(actor, Act.SANCTION, [] if room is None else [room])
        identity = "" if network else whom.identity
        sanction = self._made(actor, kind, whom.name, room, reach, network, identity)
        await self._changes.make(
            lambda c: impose(c, sanction),
            lambda _: [told_on(sanction)],
            provided=self._mandate(actor, room).to(Act.SANCTION, whom.identity),
        )
        return sanction

    def _made(
        self,
        actor: Session,
        kind: SanctionKind,
        who: str,
        room: AnyRoom | None,
        reach: Reach,
        network: bytes = b"",
        identity: str = "",
    ) -> Sanction:
        at = int(self.now())
        return Sanction(
            id=self.random_bytes(12).hex(),
            kind=kind,
            identity=identity,
            network=network,
            who=who,
            room=None if room is None else room.name,
            until=None if reach.minutes is None else at + reach.minutes * 60_000,
            by=actor.identity,
            by_name=actor.name,
            reason=reach.reason,
            at=at,
        )

    async def _network_of(self, whom: Whom, room: AnyRoom | None, address: str) -> bytes:
        """The first network of somebody's that is not banned."""
        if self._whereabouts is None:
            raise not_known()
        # The first network ban makes the key.
        await self._need_key()
        name = None if room is None else room.name
        for network in await self._whereabouts.networks(whom.identity):
            if network == self.hashes.of(address):
                raise NotAllowed(
                    "You come from the same network, so that you would ban yourself: ban them by "
                    "name instead."
                )
            if self.index.of_network(network, name, self.now()) is None:
                return network
        raise AlreadySanctioned(f"The network that {whom.name} comes from is banned already.")

    async def ban_networks_of(
        self,
        actor: Session,
        people: Mapping[str, str],
        room: AnyRoom | None,
        reach: Reach,
        *,
        address: str = "",
    ) -> Sequence[Sanction]:
        """Ban all networks that some people come from and that may be banned, but for the actor's
        own; see `impose`.

        :param people: their names, by their identities; all are below the actor.
        :returns: what is banned by this.
        :raises NotFound: it is known of none of them.
        """
        if self._whereabouts is None:
            raise not_known()
        await self._need_key()
        found = await self._whereabouts.networks_of_all(people)
        if not found:
            raise NotFound("It is not known of any of them from which network they come.")
        rooms = [] if room is None else [room]
        # What they may do may have changed meanwhile.
        self._rights.require(actor, Act.SANCTION, rooms)
        name, own = None if room is None else room.name, self.hashes.of(address)
        networks: dict[bytes, str] = {}
        for identity, theirs in found.items():
            for network in theirs:
                if network != own and self.index.of_network(network, name, self.now()) is None:
                    networks.setdefault(network, people[identity])
        imposed: list[Sanction] = []
        wanted = [
            self._made(actor, BAN_NETWORK, who, room, reach, network=network)
            for network, who in networks.items()
        ]
        for begin in range(0, len(wanted), _BAN_AT_ONCE):
            some = wanted[begin : begin + _BAN_AT_ONCE]
            imposed += await self._changes.make(
                partial(impose_new, some),
                lambda made: [told_on(each) for each in made],
                provided=self._mandate(actor, room).to(Act.SANCTION),
            )
        return imposed

    async def lift(self, actor: Session, id: str) -> Sanction:
        """Let a sanction be in force no longer.

        :raises NotFound: there is none.
        :raises ChatError: they may not.
        """
        sanction = self.index.get(id)
        room = None
        if sanction is not None and sanction.room is not None:
            room = self._room_named(sanction.room)
        self._rights.require(actor, Act.SANCTION, [] if room is None else [room])
        if sanction is None or sanction.is_over(self.now()):
            raise _no_such_sanction()
        require_other(sanction.identity, actor.identity)
        self.spend(actor, "")
        await self._lift(actor, sanction, self._mandate(actor, room).to(Act.SANCTION))
        return sanction

    async def _lift(self, actor: Session, sanction: Sanction, mandate: Condition) -> None:
        at, id = int(self.now()), sanction.id

        def lift(connection: Connection) -> bool:
            lasting = sanctions.c.id == id, sanctions.c.lifted_at.is_(None)
            change = update(sanctions).where(*lasting)
            change = change.values(lifted_at=at, lifted_by=actor.identity)
            if not connection.execute(change).rowcount:
                return False
            audit.undo(connection, id, at)
            audit.note_by(
                connection,
                actor,
                f"lift-{sanction.kind.value}",
                at=at,
                whom=sanction.who,
                room=sanction.room,
            )
            return True

        # Should another moderator have been faster: it is lifted, which is what was asked for.
        await self._changes.make(
            lift, lambda lifted: [SanctionLifted(id)] if lifted else [], provided=mandate
        )

    def _mandate(self, actor: Session, room: AnyRoom | None = None) -> Mandate:
        return Mandate(self._rights, actor, room, self.now)

    async def forget_networks(self, actor: Session) -> int:
        """Let the key by which networks are hashed be another one: nothing that is kept of any of
        them says anything any more, and none is banned.

        :returns: how many were banned.
        :raises ChatError: they may not.
        """
        self._rights.require(actor, Act.SET_POLICY)
        key, at = self.random_bytes(_KEY_BYTES), int(self.now())

        def forget(connection: Connection) -> int:
            connection.execute(delete(secrets).where(secrets.c.name == KEY))
            connection.execute(insert(secrets), {"name": KEY, "value": key})
            of_networks = sanctions.c.network.is_not(None)
            lifted = connection.execute(
                update(sanctions)
                .where(of_networks, lasting(at))
                .values(lifted_at=at, lifted_by=actor.identity)
            ).rowcount
            connection.execute(update(sanctions).where(of_networks).values(network=b"-"))
            audit.note_by(
                connection,
                actor,
                "forget-networks",
                at=at,
            )
            return int(lifted)

        return await self._changes.make(
            forget,
            lambda _: [NetworksForgotten()],
            provided=self._mandate(actor).to(Act.SET_POLICY),
        )

    async def _need_key(self) -> None:
        """Have a key, the same on all nodes."""
        if self._key:
            return
        made = self.random_bytes(_KEY_BYTES)

        def keep(connection: Connection) -> bytes:
            found = kept_key(connection)
            if not found:
                connection.execute(insert(secrets), {"name": KEY, "value": made})
            return found or made

        self._take_key(await self._changes.make(keep, lambda _: ()))

    async def have_key(self) -> None:
        """Have the key that another node has made."""
        if self._key:
            return
        self._take_key(await self._changes.read(kept_key))
        if self.index.networks:
            # Until now nobody was known to come from one that is banned.
            self._rights.changed_by_state()

    def _take_key(self, key: bytes) -> None:
        self._key = key
        self.hashes.forget()

    # -- who asks

    def listed(self, asker: Session | None, room: str | None = None) -> list[Sanction]:
        """Those in force, the newest first; not in rooms that somebody may not see.

        :param asker: who asks; None for the house itself.
        :param room: only those there; None for all.
        """
        now = self.now()
        found = [each for each in self.index if not each.is_over(now)]
        if asker is not None:
            found = [each for each in found if self._is_shown(asker, each.room)]
        return [each for each in reversed(found) if room is None or each.room == room]

    def _is_shown(self, asker: Session, name: str | None) -> bool:
        room = None if name is None else self._room_named(name)
        return name is None or (room is not None and self._rights.may(asker, Act.SEE, room) is None)

    def on_name(self, name: str) -> list[Sanction]:
        """Those that somebody is under who is called so, or was when they were imposed."""
        now = self.now()
        return [each for each in self.index.called(name) if not each.is_over(now)]

    def of(self, identity: str, room: str | None) -> list[Sanction]:
        """Those that somebody is under in a room and everywhere."""
        now = self.now()
        kinds = (SILENCE, KICK, BAN)
        found = [
            self.index.of(identity, kind, where, now) for where in {None, room} for kind in kinds
        ]
        return list(dict.fromkeys(each for each in found if each is not None))

    # -- what has happened, on whichever node

    def told(self, control: Control) -> None:
        """The log tells the house; see `Feed.control`."""
        if isinstance(control, Sanctioned):
            self._begin(sanction_told(control))
        elif isinstance(control, SanctionLifted):
            lifted = self.index.remove(control.id)
            if lifted is not None:
                self._ended([lifted])
        elif isinstance(control, NetworksForgotten):
            self._ended(
                [each for each in self.index if each.network and self.index.remove(each.id)]
            )
            self._take_key(b"")

    def require_admitted(self, session: Session | None, address: str) -> None:
        """Refuse whoever comes from a network that is banned everywhere. On the hot path while any
        is.

        :raises Banned: they do.
        """
        if self.index.networks:
            found = self._bar.found_by_address(session, None, address)
            if found is not None:
                raise refusal(found, self.now())

    def require_heard(self, session: Session) -> None:
        """Refuse what is shown wherever somebody is, to who is silenced in any room: their name.

        :raises Silenced: they are.
        """
        found = self.index.anywhere(session.identity, SILENCE, self.now())
        if found is not None:
            raise refusal(found, self.now())

    def _begin(self, sanction: Sanction) -> None:
        if sanction.is_over(self.now()):
            return
        self.index.put(sanction)
        if sanction.network and not self._key:
            finding = Deferred.fromCoroutine(self.have_key())
            finding.addErrback(lambda failure: self._log.failure("no key of networks", failure))
        self.imposed.tell(sanction)
        rooms = None if sanction.room is None else (sanction.room,)
        affected = Affected(identities=(sanction.identity,), rooms=rooms)
        if sanction.network:
            of, network = self.hashes.of, sanction.network
            affected = Affected(rooms=rooms, comes_from=lambda address: of(address) == network)
        self._rights.changed_by_state(affected)
        self._wait()

    def _ended(self, over: Sequence[Sanction]) -> None:
        # Nobody loses anything by it, and whoever was refused is not remembered.
        self._rights.changed_by_state(Affected(identities=()))
        self.ended.tell(over)

    # -- those that end by themselves

    def _wait(self) -> None:
        end = self.index.next_end
        if end is not None:
            self._reaper.schedule(self, max(0.0, (end - self.now()) / 1000))

    def on_due(self, now: float) -> float | None:
        """Let go of those that are over; see `Reaper.schedule`."""
        over = self.index.take_over(self.now(), _END_AT_ONCE)
        if over:
            self._ended(over)
        end = self.index.next_end
        return None if end is None else max(0.0, (end - self.now()) / 1000)


def _no_such_sanction() -> NotFound:
    return NotFound("No such sanction is in force: it was lifted, or it is over.")
