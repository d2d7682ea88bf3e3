"""What every `SharedDirectory` and every `NodeTable` must do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pytest
from twisted.internet.task import Clock

from cometd_chat.errors import InvalidToken, NameTaken, RoomExists
from cometd_chat.log.control import (
    Control,
    NameFreed,
    NodeGone,
    NodeJoined,
    RoomMade,
    RoomRemoved,
    SessionEnded,
    SessionRenamed,
    read_control,
)
from cometd_chat.log.directory import RoomRow, SessionRow
from cometd_chat.log.log import EventLog
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.log.memory_directory import MemorySharedDirectory
from cometd_chat.log.nodes import LEASE, MemoryNodeTable, NodeRow, NodeTable
from cometd_chat.log.postgresql.database import PostgresDatabase
from cometd_chat.log.postgresql.node_table import SqlNodeTable
from cometd_chat.log.postgresql.shared_directory import PostgresSharedDirectory
from cometd_chat.log.shared_directory import (
    Claim,
    NodeIsGone,
    SharedDirectory,
)
from cometd_chat.log.tables import nodes, sessions
from tests.databases import on_server
from tests.log.postgresql_support import Cluster
from tests.log.support import block, in_reactor, refused, wait, wait_all

#: When sessions of these tests end, in milliseconds.
LATE = 2**50


class Shared:
    """A directory and a table of nodes, and what the log tells of them.

    :param database: None where all is in memory.
    """

    def __init__(
        self,
        log: EventLog,
        directory: SharedDirectory,
        table: NodeTable,
        database: PostgresDatabase | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.log = log
        self.directory = directory
        self.table = table
        self._database = database
        self._clock = clock
        self._told: list[Control] = []
        log.follow(self._hear)

    def _hear(self, records: Sequence[Any]) -> None:
        self._told.extend(control for record in records if (control := read_control(record)))

    async def told(self) -> list[Control]:
        """What was told since this was asked last."""
        await wait(self.log.catch_up())
        told, self._told = self._told, []
        return told

    async def pass_time(self, seconds: float) -> None:
        """Let so much time go by for leases and for who was seen."""
        if self._clock is not None:
            self._clock.advance(seconds)
        elif self._database is not None:
            ago = int(seconds * 1000)

            def change(connection: Any) -> None:
                connection.execute(nodes.update().values(lease_until=nodes.c.lease_until - ago))
                connection.execute(sessions.update().values(seen_at=sessions.c.seen_at - ago))

            await wait(self._database.write(change))


@pytest.fixture(params=["memory", *on_server("postgresql")])
def shared(request: pytest.FixtureRequest) -> Iterator[Shared]:
    if request.param == "memory":
        clock, log = Clock(), MemoryEventLog()
        clock.advance(1e9)
        table = MemoryNodeTable(clock.seconds, log)
        directory = MemorySharedDirectory([], log, clock.seconds)
        table.removed.add(directory.forget_node)
        yield Shared(log, directory, table, clock=clock)
        return
    cluster: Cluster = request.getfixturevalue("calm_cluster")
    from twisted.internet import reactor

    node = cluster.open()
    database = PostgresDatabase(cluster.server_for("test"), reactor, shown="test")
    database.open()
    yield Shared(node.log, PostgresSharedDirectory(database), SqlNodeTable(database), database)
    block(database.close())


def row(number: int, name: str | None = None, **fields: Any) -> SessionRow:
    keys = {"name_key": name, "name_looks": None if name is None else f"{name} looks"}
    given = {"role": "guest", "created_at": 1, "expires_at": LATE}
    id, token = f"{number:024x}", bytes([number]) * 32
    return SessionRow(id=id, token_hash=token, name=name or "x", **{**given, **keys, **fields})


ALICE, BOB = row(1, "alice"), row(2, "bob")


# -- what is told


@in_reactor
async def test_what_becomes_of_a_session_is_told(shared: Shared) -> None:
    directory = shared.directory
    for each in (ALICE, BOB):
        await wait(directory.add_session(each))
    assert await shared.told() == []
    await wait(directory.rename_session(ALICE.id, "Carol", "carol", "caro1", b"\7" * 32))
    await wait(directory.free_name(BOB.id))
    await wait(directory.end_session(ALICE.id))
    assert await shared.told() == [
        SessionRenamed(ALICE.id, "Carol", "carol", "caro1", "07" * 15),
        NameFreed(BOB.id),
        SessionEnded(ALICE.id),
    ]


@in_reactor
async def test_what_changes_nothing_is_not_told(shared: Shared) -> None:
    directory = shared.directory
    await wait(directory.add_session(ALICE))
    await wait(directory.add_session(ALICE))
    await wait(directory.free_name(ALICE.id))
    await shared.told()
    await wait(directory.free_name(ALICE.id))
    await wait(directory.end_session(BOB.id))
    await refused(directory.rename_session(BOB.id, "bob", "bob", "bob"), InvalidToken)
    assert await wait(directory.drop_expired(1)) == 0
    assert await wait(directory.free_unseen(60)) == 0
    assert not await wait(directory.remove_silent_room("nowhere", "/chat/nowhere"))
    assert await shared.told() == []


@in_reactor
async def test_sessions_that_expire_are_told(shared: Shared) -> None:
    for number in range(3):
        await wait(shared.directory.add_session(row(number + 1, f"s{number}", expires_at=number)))
    assert await wait(shared.directory.drop_expired(1)) == 2
    assert await shared.told() == [SessionEnded(row(1).id), SessionEnded(row(2).id)]


@in_reactor
async def test_rooms_are_told(shared: Shared) -> None:
    attic = RoomRow("attic", "dust", ALICE.id, 7)
    await wait(shared.directory.add_room(attic))
    await refused(shared.directory.add_room(attrs.evolve(attic, created_at=8)), RoomExists)
    assert await wait(shared.directory.remove_silent_room("attic", "/chat/attic"))
    assert await shared.told() == [RoomMade("attic", "dust", ALICE.id, 7), RoomRemoved("attic")]


# -- names


def test_the_clock_is_the_databases(shared: Shared) -> None:
    assert shared.directory.clock() > 9e8


@in_reactor
async def test_a_name_is_one_sessions_by_row_or_by_claim(shared: Shared) -> None:
    directory = shared.directory
    node = shared.table.add_now("a", "", "1")
    await wait(directory.add_session(ALICE))
    await wait(directory.claim("brief", Claim(node, ("eve", "eve looks"))))
    for keys in (("alice",), ("new", "alice looks"), ("eve",), ("new", "eve looks")):
        await refused(directory.claim("other", Claim(node, keys)), NameTaken)
    for key, looks in (("eve", "e"), ("e", "eve looks"), ("alice", "e"), ("e", "alice")):
        await refused(directory.add_session(row(5, key, name_looks=looks)), NameTaken)
        await wait(directory.add_session(row(6, "frank"))) if key == "eve" else None
        await refused(directory.rename_session(row(6).id, "x", key, looks), NameTaken)
    await refused(directory.add_session(row(7), Claim(node, ("alice", "x"))), NameTaken)
    # What was refused was not claimed in part.
    await wait(directory.claim("other", Claim(node, ("new", "e", "x"))))


@in_reactor
async def test_what_is_claimed_again_is_still_claimed(shared: Shared) -> None:
    node = shared.table.add_now("a", "", "1")
    for _ in range(2):
        await wait(shared.directory.claim("brief", Claim(node, ("eve",))))
    await refused(shared.directory.claim("other", Claim(node, ("eve",))), NameTaken)
    await wait(shared.directory.release("other", Claim(node, ("eve",))))
    await refused(shared.directory.claim("other", Claim(node, ("eve",))), NameTaken)
    await wait(shared.directory.release("brief", Claim(node, ("eve", "never"))))
    await wait(shared.directory.claim("other", Claim(node, ("eve",))))


@in_reactor
async def test_a_claim_goes_with_its_node_or_its_session(shared: Shared) -> None:
    directory = shared.directory
    first, second = (shared.table.add_now(name, "", "1") for name in "ab")
    await wait(directory.claim("brief", Claim(first, ("eve",))))
    await wait(directory.add_session(row(3), Claim(second, ("mallory",))))
    await wait(shared.table.remove(first))
    await wait(directory.end_session(row(3).id))
    await wait(directory.claim("other", Claim(second, ("eve", "mallory"))))
    await refused(directory.claim("late", Claim(first, ("late",))), NodeIsGone)


@in_reactor
async def test_a_guest_who_comes_and_goes_is_told_by_her_claim(shared: Shared) -> None:
    directory = shared.directory
    node = shared.table.add_now("a", "", "1")
    await wait(directory.add_session(row(3), Claim(node, ("eve", "eve looks"))))
    await shared.told()
    claim = Claim(node, ("Eva", "eva looks"))
    await wait(directory.rename_session(row(3).id, "Eva", None, None, None, claim))
    await wait(directory.claim("other", Claim(node, ("eve",))))
    await wait(directory.release(row(3).id, claim))
    assert await shared.told() == [
        SessionRenamed(row(3).id, "Eva", "Eva", "eva looks"),
        NameFreed(row(3).id),
    ]


@in_reactor
async def test_a_guest_is_found_by_her_browser(shared: Shared) -> None:
    directory = shared.directory
    node = shared.table.add_now("a", "", "1")
    await wait(directory.add_session(row(3), Claim(node, ("eve", "looks"), b"browser")))
    await wait(directory.add_session(row(4), Claim(node, ("mallory",))))
    found = await wait(directory.guest(["looks"], b"browser"))
    assert found is not None
    assert found.id == row(3).id
    assert await wait(directory.guest(["looks"], b"other")) is None
    assert await wait(directory.guest(["mallory"], b"browser")) is None
    await wait(directory.release(row(3).id, Claim(node, ("eve", "looks"))))
    assert await wait(directory.guest(["eve", "looks"], b"browser")) is None


@in_reactor
async def test_who_was_not_seen_has_no_name(shared: Shared) -> None:
    directory = shared.directory
    for each in (ALICE, BOB, row(3, "carol")):
        await wait(directory.add_session(each))
    await shared.pass_time(70)
    await wait(directory.see([BOB.id, "of nobody"]))
    await wait(directory.rename_session(row(3).id, "c", "c", "c"))
    await shared.told()
    assert await wait(directory.free_unseen(60)) == 1
    assert await shared.told() == [NameFreed(ALICE.id)]
    found = await wait(directory.session_by_id(ALICE.id))
    assert found is not None
    assert (found.name, found.name_key, found.name_looks) == ("alice", None, None)
    await shared.pass_time(70)
    await wait(directory.see_all())
    assert await wait(directory.free_unseen(60)) == 0


@in_reactor
async def test_very_many_are_seen_at_once(shared: Shared) -> None:
    await wait(shared.directory.add_session(ALICE))
    await shared.pass_time(70)
    await wait(shared.directory.see([f"{number:x}" for number in range(2500)] + [ALICE.id]))
    assert await wait(shared.directory.free_unseen(60)) == 0


@in_reactor
async def test_of_many_who_want_a_name_one_gets_it(shared: Shared) -> None:
    wanted = [shared.directory.add_session(row(number, "alice")) for number in range(1, 9)]
    outcomes: list[Any] = []
    for each in wanted:
        each.addBoth(outcomes.append)
    await wait_all([each.addBoth(lambda _: None) for each in wanted])
    assert outcomes.count(None) == 1
    assert sum(bool(each and each.check(NameTaken)) for each in outcomes) == 7


# -- nodes


@in_reactor
async def test_nodes_are_told(shared: Shared) -> None:
    table = shared.table
    first = table.add_now("a", "192.0.2.1:8090", "1")
    second = await wait(table.add("a", "", "2"))
    assert second > first
    assert list(table.rows_now()) == [
        NodeRow(first, "a", "192.0.2.1:8090", "1"),
        NodeRow(second, "a", "", "2"),
    ]
    for _ in range(2):
        await wait(table.remove(first))
    assert await shared.told() == [
        NodeJoined(first, "a", "192.0.2.1:8090", "1"),
        NodeJoined(second, "a", "", "2"),
        NodeGone(first, stopped=True),
    ]


@in_reactor
async def test_who_is_forgotten_is_told_to_be_gone(shared: Shared) -> None:
    table = shared.table
    first, second, third = (table.add_now(name, "", "1") for name in "abc")
    await shared.told()
    before = {each.node: each for each in await wait(table.renew(first))}
    assert list(before) == [first, second, third]
    await shared.pass_time(LEASE - 5)
    leases = {each.node: each for each in await wait(table.renew(first))}
    ages = {node: round(lease.age, -1) for node, lease in leases.items()}
    assert ages == {first: 0, second: 10, third: 10}
    assert leases[first].stamp != before[first].stamp
    await wait(table.renew(third))
    # The third one has renewed its lease since that was looked at.
    await wait(table.forget([leases[second], leases[third]]))
    assert await shared.told() == [NodeGone(second)]
    assert second not in {each.node for each in await wait(table.renew(second))}
    assert await wait(table.add("b", "", "1")) > third
    await wait(table.forget([]))


@in_reactor
async def test_who_comes_too_late_goes_on_if_nobody_has_missed_it(shared: Shared) -> None:
    number = shared.table.add_now("a", "", "1")
    await shared.told()
    await shared.pass_time(3600)
    assert [each.node for each in await wait(shared.table.renew(number))] == [number]
    assert await shared.told() == []
