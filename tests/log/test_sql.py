"""What only a log in a database must do: restarts, restored backups, queries by index."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, Select, event, func, select
from sqlalchemy.dialects import sqlite
from twisted.internet.defer import Deferred, succeed

from cometd_chat.errors import NameTaken
from cometd_chat.log import members
from cometd_chat.log.directory import SessionRow
from cometd_chat.log.log import Count
from cometd_chat.log.reading import bounded_count, by_client_id, newest_ids, of_each, page
from cometd_chat.log.tables import records
from tests.log.support import (
    DEV,
    LOBBY,
    PATIENCE,
    Opener,
    Store,
    draft,
    heard,
    in_reactor,
    wait,
    wait_all,
)


@in_reactor
async def test_everything_is_there_after_a_restart(open_store: Opener) -> None:
    first = open_store()
    said = await wait_all([first.log.append(draft(f"{n}", client_id=f"{n}")) for n in range(5)])
    session = SessionRow("s1", b"hash", "Alice", "alice", "guest", 1, 2)
    await wait(first.directory.add_session(session))
    await first.close()
    second = open_store()
    assert second.log.last_id == 5
    assert second.log.recent(100, 10**6) == said
    assert second.directory.named_sessions() == [session]
    assert [row.name for row in second.directory.rooms()] == ["lobby"]
    repeat = await wait(second.log.append(draft("3", client_id="3")))
    assert repeat == replace(said[3], repeated=True)
    new = await wait(second.log.append(draft("new")))
    assert (new.id, new.epoch) == (6, "e001")
    assert [second.log.position(f"{id}.e001") for id in (0, 5, 6)] == [0, 5, 6]


class TestRecent:
    @in_reactor
    async def test_with_what_is_told_from_then_on_it_makes_the_whole(self, store: Store) -> None:
        """Even when records are committed already but were not yet told, as they are here while
        the reactor doesn't get its turn."""
        await wait(store.log.append(draft()))
        answers = [store.log.append(draft()) for _ in range(50)]
        ends = time.monotonic() + PATIENCE
        while store.database.read_now(count_records) < 51:
            assert time.monotonic() < ends
        start = store.log.recent(100, 10**6)
        told = heard(store.log)
        await wait_all(answers)
        assert [record.id for record in start] == [1]
        assert [record.id for record in told] == list(range(2, 52))


def count_records(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(records)).scalar_one())


QUERIES: list[tuple[Select[Any], str]] = [
    (page(LOBBY, after=5, before=None, limit=9, newest=False), "records_by_context"),
    (page(LOBBY, after=0, before=99, limit=9, newest=True), "records_by_context"),
    (page(None, after=5, before=99, limit=9, newest=False), "INTEGER PRIMARY KEY"),
    (page(None, after=5, before=99, limit=9, newest=True), "INTEGER PRIMARY KEY"),
    (
        bounded_count(LOBBY, after=5, before=None, bound=9),
        "COVERING INDEX records_by_context",
    ),
    (bounded_count(None, after=5, before=99, bound=9), "INTEGER PRIMARY KEY"),
    (newest_ids(), "COVERING INDEX records_by_context"),
    (
        of_each(
            "sqlite",
            [LOBBY, DEV],
            lambda context, limit: page(
                context, after=5, before=None, limit=limit, newest=True, types=["message"]
            ),
            9,
        ),
        "records_by_context",
    ),
    (by_client_id("s1", "c1"), "records_by_client_id"),
    (
        page(LOBBY, after=5, before=None, limit=9, newest=True, types=["message"]),
        "records_by_context",
    ),
    (
        bounded_count(LOBBY, after=5, before=None, bound=9, types=["message"]),
        "COVERING INDEX records_by_context",
    ),
    (newest_ids(["message"]), "COVERING INDEX records_by_context"),
]


@pytest.mark.parametrize(("query", "index"), QUERIES)
@in_reactor
async def test_queries_are_served_by_an_index(store: Store, query: Select[Any], index: str) -> None:
    await wait_all([store.log.append(draft(context=f"/chat/{n % 7}")) for n in range(50)])

    def plan(connection: Connection) -> list[str]:
        literal = {"literal_binds": True}
        sql = str(query.compile(dialect=sqlite.dialect(), compile_kwargs=literal))
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]

    steps = await wait(store.database.read(plan))
    assert any(index in step for step in steps), steps
    # Only the few contexts that the recursion finds are scanned, and nothing is sorted.
    assert not [step for step in steps if step.startswith("SCAN records")], steps
    assert not [step for step in steps if "B-TREE" in step], steps


class TestCost:
    """In steps of SQLite's virtual machine, which are the same on any machine."""

    @pytest.fixture
    def steps(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many hundreds of steps each read took."""
        taken: list[int] = []

        def read(query: Callable[[Connection], Any]) -> Deferred[Any]:
            def counted(connection: Connection) -> Any:
                driver = connection.connection.dbapi_connection
                assert driver is not None
                ticks = count()
                driver.set_progress_handler(lambda: bool(next(ticks)) and False, 100)
                try:
                    return query(connection)
                finally:
                    driver.set_progress_handler(None, 0)
                    taken.append(next(ticks))

            return succeed(store.database.read_now(counted))

        monkeypatch.setattr(store.database, "read", read)
        return taken

    async def cost(
        self, store: Store, steps: list[int], contexts: list[str] | None, said: int
    ) -> list[int]:
        """Steps of each kind of reading, with so many records in each context."""
        named = contexts or [LOBBY]
        there = store.log.last_id // len(named)
        await wait_all(
            [store.log.append(draft(context=each)) for _ in range(said - there) for each in named]
        )
        del steps[:]
        await wait(store.log.count(contexts, after=0, most=100))
        await wait(store.log.read(contexts, limit=50))
        await wait(store.log.read(contexts, limit=50, newest=True))
        return list(steps)

    @pytest.mark.parametrize(
        "contexts", [[LOBBY], None, [f"/chat/{number}" for number in range(20)]]
    )
    @in_reactor
    async def test_reading_does_not_grow_with_the_log(
        self, store: Store, steps: list[int], contexts: list[str] | None
    ) -> None:
        """Nor with what each of many contexts has."""
        short = await self.cost(store, steps, contexts, 150)
        long = await self.cost(store, steps, contexts, 450)
        assert all(after <= 1.5 * before + 5 for before, after in zip(short, long, strict=True))

    @in_reactor
    async def test_a_page_of_many_contexts_is_not_a_page_of_each(
        self, store: Store, steps: list[int]
    ) -> None:
        contexts = [f"/chat/{number}" for number in range(20)]
        _, oldest, newest = await self.cost(store, steps, contexts, 60)
        one = await self.cost(store, steps, contexts[:1], 60)
        assert max(oldest, newest) < 5 * max(one)


@in_reactor
async def test_of_two_processes_that_want_the_same_one_gets_it(open_store: Opener) -> None:
    """The database decides, with the same words as where there is one process alone."""
    one, other = open_store(busy_timeout=PATIENCE), open_store(busy_timeout=PATIENCE)
    rows = [SessionRow(id, id.encode(), "Al", "al", "guest", 1, 2, "al") for id in ("s1", "s2")]
    outcomes: list[object] = []
    adding = [
        store.directory.add_session(row).addCallbacks(
            outcomes.append, lambda failure: outcomes.append(failure.trap(NameTaken))
        )
        for store, row in zip((one, other), rows, strict=True)
    ]
    await wait_all(adding)
    assert sorted(map(str, outcomes)) == sorted(map(str, [None, NameTaken]))


@pytest.mark.parametrize("shape", ["even", "one speaks"])
@in_reactor
async def test_however_many_contexts_take_a_few_queries(store: Store, shape: str) -> None:
    names = [f"/chat/{n}" for n in range(200)]
    spoken = names * 3 + names[:1] * (300 if shape == "one speaks" else 0)
    await wait(store.log.append_all([draft(context=each) for each in spoken]))
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        asked.extend([statement] * statement.startswith("SELECT"))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for newest in (False, True):
            del asked[:]
            found = await wait(store.log.read(names, limit=100, newest=newest))
            assert len(found) == 100
            assert 1 <= len(asked) <= 3
        del asked[:]
        counts = await wait(store.log.count(names[1:], after=0, most=10_000))
        assert len(counts) == 199
        assert len(asked) == 1
        await wait(store.log.append_all([draft(context=each) for each in names[:20] * 110]))
        del asked[:]
        counts = await wait(store.log.count(names[:20], after=0, most=10_000))
        assert counts[names[1]] == Count(113)
        assert len(asked) == 2
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_members_sessions_are_found_by_their_index(store: Store) -> None:
    asked: list[tuple[str, Any]] = []

    def explain(connection: Connection) -> list[str]:
        event.listen(
            connection.engine,
            "before_cursor_execute",
            lambda _c, _cursor, statement, parameters, *_: asked.append((statement, parameters)),
        )
        members.sessions_of(connection, "a1")
        plans = []
        for statement, parameters in [each for each in asked if each[0].startswith("SELECT")]:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(plan.all()[0][3])
        return plans

    plans = store.database.read_now(explain)
    assert ["sessions_by_identity" in plans[0], "sqlite_autoindex" in plans[1]] == [True, True]


@in_reactor
async def test_what_somebody_said_is_by_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "WINDOW", 3)
    for number in range(8):
        sender = "a1" if number % 2 else "b1"
        await wait(store.log.append(draft(f"{number}", sender=sender, author=f"{number % 2}")))
    after: int | None = 0
    windows = 0
    while after is not None:
        after = await wait(store.database.write(partial(members.disown, "a1", after)))
        windows += 1
    assert windows == 4
    authors = [each.author for each in await wait(store.log.read(["/chat/lobby"], limit=20))]
    assert authors == ["0", "deleted user"] * 4
