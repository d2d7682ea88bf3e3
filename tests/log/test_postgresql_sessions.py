"""Sessions and names by two nodes on one PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from cometd_chat.errors import NameTaken
from cometd_chat.log.control import SessionEnded, SessionRenamed, read_control
from cometd_chat.log.directory import SessionRow
from cometd_chat.log.postgresql.database import PostgresDatabase
from cometd_chat.log.postgresql.node_table import SqlNodeTable
from cometd_chat.log.postgresql.shared_directory import PostgresSharedDirectory
from cometd_chat.log.shared_directory import Claim
from tests.log.postgresql_support import Cluster, Node
from tests.log.support import block, draft, in_reactor, wait, wait_all

ROUNDS = 25


@attrs.define(eq=False)
class Daemon:
    """A log, and what is beside it."""

    node: Node
    database: PostgresDatabase
    number: int = 0

    @property
    def directory(self) -> PostgresSharedDirectory:
        return PostgresSharedDirectory(self.database)


@pytest.fixture
def daemons(calm_cluster: Cluster) -> Iterator[list[Daemon]]:
    from twisted.internet import reactor

    made = []
    for name in ("a", "b"):
        database = PostgresDatabase(calm_cluster.server_for(name), reactor, shown=name)
        database.open()
        made.append(Daemon(calm_cluster.open(), database))
    for each in made:
        each.number = SqlNodeTable(each.database).add_now("n", "", "1")
    yield made
    for each in made:
        block(each.database.close())


def row(number: int, name: str) -> SessionRow:
    token = number.to_bytes(32, "big")
    return SessionRow(f"{number:024x}", token, name, name, "guest", 1, 2**50, name)


def taken(failure: Failure) -> str:
    failure.trap(NameTaken)
    return "taken"


async def outcomes(asked: list[Deferred[None]]) -> list[str]:
    """What became of each."""
    return await wait_all([each.addCallbacks(lambda _: "done", taken) for each in asked])


@in_reactor
async def test_of_two_nodes_that_want_a_name_one_gets_it(daemons: list[Daemon]) -> None:
    """By a row or by a claim, whichever comes first."""
    a, b = daemons
    for number in range(ROUNDS):
        name = f"name{number}"
        asked = [
            a.directory.add_session(row(3 * number, name)),
            b.directory.add_session(row(3 * number + 1, name)),
            a.directory.claim(f"brief{number}", Claim(a.number, (name,))),
            b.directory.claim(f"other{number}", Claim(b.number, ("free", name))),
        ]
        found = await outcomes(asked)
        assert found.count("done") == 1, found


@in_reactor
async def test_what_becomes_of_sessions_is_told_in_one_order(daemons: list[Daemon]) -> None:
    """With what is said meanwhile, at both nodes alike."""
    a, b = daemons
    await wait(a.directory.add_session(row(1, "alice")))
    work: list[Deferred[Any]] = []
    for number in range(ROUNDS):
        for each in daemons:
            work.append(each.node.log.append(draft(f"{number}")))
            new = f"{each.number}-{number}"
            work.append(each.directory.rename_session(row(1, "").id, new, new, new))
    await wait_all(work)
    await wait(b.directory.end_session(row(1, "").id))
    for each in daemons:
        await wait(each.node.log.catch_up())
    assert a.node.told == b.node.told
    controls = [control for record in a.node.told if (control := read_control(record))]
    assert controls[-1] == SessionEnded(row(1, "").id)
    assert sum(isinstance(each, SessionRenamed) for each in controls) == 2 * ROUNDS


@in_reactor
async def test_the_last_one_told_is_the_one_that_is_kept(daemons: list[Daemon]) -> None:
    a, b = daemons
    id = row(1, "").id
    await wait(a.directory.add_session(row(1, "alice")))
    for number in range(ROUNDS):
        await wait_all(
            [
                each.directory.rename_session(id, name, name, name)
                for each in daemons
                for name in (f"{each.number}-{number}",)
            ]
        )
        await wait(b.node.log.catch_up())
        last = read_control(b.node.told[-1])
        kept = await wait(a.directory.session_by_id(id))
        assert kept is not None
        assert isinstance(last, SessionRenamed)
        assert last.name == kept.name
