"""What moderators do, kept in PostgreSQL: the same statements over a server, by two nodes."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, text
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.task import Clock

from cometd_chat.chat.audit import Audit
from cometd_chat.chat.ignored import Ignored
from cometd_chat.chat.mandate import Mandate
from cometd_chat.chat.moderation import Moderation, Reach
from cometd_chat.chat.people_lookup import Person
from cometd_chat.chat.rights import Act, Rights
from cometd_chat.chat.roles import Role
from cometd_chat.chat.sanctions import BAN, BAN_NETWORK, SILENCE
from cometd_chat.chat.sessions import Session
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import AlreadySanctioned, NotAllowed, NotFound
from cometd_chat.log.changes import SharedChanges
from cometd_chat.log.control import Control, Ignoring, read_control
from cometd_chat.log.members import NewMember, put_member, set_role
from cometd_chat.log.postgresql.database import PostgresDatabase
from cometd_chat.lookalikes.keys import name_keys
from tests.log.postgresql_support import Cluster
from tests.log.support import block, in_reactor, wait

MARTA, ADA = "aa" * 12, "ad" * 12

BOB = Person("b" * 24, "bob", Role.GUEST)


class Places:
    """Somebody comes from somewhere."""

    async def networks(self, identity: str) -> list[bytes]:
        return [b"n" * 16]

    async def networks_of_all(self, identities: Collection[str]) -> dict[str, list[bytes]]:
        return {each: [b"n" * 16] for each in identities}


class Node:
    """What a node has of all this."""

    def __init__(self, database: PostgresDatabase) -> None:
        reaper = Reaper(Clock())
        self.changes = SharedChanges(database, lambda: succeed(None))
        self.moderation = Moderation(
            self.changes,
            Rights(),
            reaper,
            now=lambda: 1_000_000,
            random_bytes=secrets.token_bytes,
            room_named=lambda name: None,
        )
        self.moderation.ask(Places())
        self.moderation.start()
        self.ignored = Ignored(self.changes, reaper, lambda session: None)
        self.audit = Audit(self.changes, reaper, lambda: 1_000_000)


@pytest.fixture
def databases(calm_cluster: Cluster) -> Iterator[list[PostgresDatabase]]:
    from twisted.internet import reactor

    # The log makes the tables.
    calm_cluster.open()
    servers = {name: calm_cluster.server_for(name) for name in ("a", "b")}
    made = [PostgresDatabase(server, reactor, shown=name) for name, server in servers.items()]
    for each in made:
        each.open()
    for identity, name in ((MARTA, "marta"), (ADA, "ada")):
        keep_owner(made[0], identity, name)
    yield made
    for each in made:
        block(each.close())


def keep_owner(database: PostgresDatabase, identity: str, name: str) -> None:
    new = NewMember(name, name_keys(name), Role.OWNER.word, None, 1)
    database.write_now(lambda each: put_member(each, identity, new))


def marta(role: Role = Role.OWNER) -> Session:
    return Session(b"\xaa" * 12, b"", "marta", "marta", "marta", role, 0, 0, home=None)


@in_reactor
async def test_sanctions_are_kept_once_and_lifted_once(databases: list[PostgresDatabase]) -> None:
    one = Node(databases[0])
    ban = await one.moderation.impose(marta(), BAN, BOB, None, Reach(60, "spam"))
    network = await one.moderation.impose(marta(), BAN_NETWORK, BOB)
    other = Node(databases[1])
    assert {each.id for each in other.moderation.index} == {ban.id, network.id}
    assert other.moderation.index.get(ban.id) == ban
    assert other.moderation.index.get(network.id) == network
    with pytest.raises(AlreadySanctioned, match=r"spam, by marta already"):
        await other.moderation.impose(marta(), BAN, BOB)
    await other.moderation.impose(marta(), SILENCE, BOB)
    await other.moderation.lift(marta(), ban.id)
    assert await other.moderation.forget_networks(marta()) == 1
    kept = [each.kind for each in Node(databases[0]).moderation.index]
    assert kept == [SILENCE]
    whats = [
        (each.what, each.undone_at is None) for each in await wait(one.audit.page("", None, 9))
    ]
    assert whats == [
        ("forget-networks", True),
        ("lift-ban", True),
        ("silence", True),
        ("ban-network", True),
        ("ban", False),
    ]


@in_reactor
async def test_of_two_owners_who_demote_each_other_at_once_one_stays(
    databases: list[PostgresDatabase],
) -> None:
    """Each in a transaction of their own, as far along as the other's."""
    rights, owners = Rights(), [(MARTA, ADA), (ADA, MARTA)]
    changes = [SharedChanges(each, lambda: succeed(None)) for each in databases]

    def demote(place: int) -> Deferred[Any]:
        actor, whom = owners[place]
        session = Session(bytes.fromhex(actor), b"", "", "", "", Role.OWNER, 0, 0, home=None)
        mandate = Mandate(rights, session, None, lambda: 1_000_000)

        def change(connection: Connection) -> Sequence[Control]:
            def holds(connection: Connection) -> None:
                mandate.require(connection, Act.SET_ROLE, Act.HAND_OVER)
                # So long that the other one is at the same place, if it can be.
                connection.execute(text("SELECT pg_sleep(0.3)"))

            return set_role(connection, whom, "member", holds)

        return changes[place].make(change, lambda told: told)

    both = await wait(DeferredList([demote(0), demote(1)], consumeErrors=True))
    assert sorted(succeeded for succeeded, _ in both) == [False, True]
    (refused,) = [result for succeeded, result in both if not succeeded]
    assert refused.check(NotAllowed)


@in_reactor
async def test_whom_somebody_ignores(
    databases: list[PostgresDatabase], calm_cluster: Cluster
) -> None:
    one, other = Node(databases[0]), Node(databases[1])
    assert await one.ignored.ignore(marta(), BOB.identity, "bob")
    assert not await other.ignored.ignore(marta(), BOB.identity, "bob")
    other.ignored.start()
    assert other.ignored.by(marta()) == {BOB.identity}
    await other.ignored.unignore(marta(), None, "bob")
    with pytest.raises(NotFound):
        await one.ignored.unignore(marta(), None, "bob")
    log = calm_cluster.open().log
    told = [read_control(each) for each in log.recent(100, 10**6)]
    ignoring = [each for each in told if isinstance(each, Ignoring)]
    assert [each.on for each in ignoring] == [True, False]
