"""When the storage fails: nothing is half-written, all are told, and it goes on by itself."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Event
from typing import Any

from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs

from cometd_chat.errors import LogFull, StorageUnavailable
from cometd_chat.log.directory import RoomRow
from cometd_chat.log.tables import rooms
from tests.log.support import (
    LOBBY,
    PATIENCE,
    Opener,
    Store,
    draft,
    heard,
    in_reactor,
    refused,
    wait,
    wait_all,
)


async def texts(store: Store) -> list[str]:
    return [record.data["text"] for record in await wait(store.log.read([LOBBY], limit=100))]


@contextmanager
def stalled(store: Store) -> Iterator[Deferred[Any]]:
    """Keep the writer busy, so that what is asked for meanwhile shares the next commit."""
    began, proceed = Event(), Event()

    def stall(connection: Connection) -> None:
        began.set()
        assert proceed.wait(PATIENCE)

    busy = store.database.write(stall)
    assert began.wait(PATIENCE)
    yield busy
    proceed.set()


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Another program holds the file."""
    with closing(sqlite3.connect(store.database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def files_limited(size: int) -> Iterator[None]:
    """No file of ours grows beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@in_reactor
async def test_a_lock_is_survived(store: Store) -> None:
    told = heard(store.log)
    await wait(store.log.append(draft("before")))
    with locked(store), capturedLogs() as logged:
        answers: list[Deferred[Any]] = [
            store.log.append(draft(f"lost {n}", client_id=f"{n}")) for n in range(20)
        ]
        answers.append(store.directory.add_room(RoomRow("dev", "", "s1", 1)))
        for answer in answers:
            error = await refused(answer, StorageUnavailable)
            assert error.retry_after
        assert await texts(store) == ["before"]
    errors = [event for event in logged if event["log_level"] is LogLevel.error]
    assert [event["cause"] for event in errors] == ["database is locked"]
    assert "lost" not in str(logged)
    after = await wait(store.log.append(draft("after")))
    assert after.id == 2
    assert [record.data["text"] for record in told] == await texts(store) == ["before", "after"]
    assert [row.name for row in store.directory.rooms()] == ["lobby"]


@in_reactor
async def test_a_retry_after_trouble_is_no_repeat(store: Store) -> None:
    with locked(store):
        await refused(store.log.append(draft(client_id="c1")), StorageUnavailable)
    assert not (await wait(store.log.append(draft(client_id="c1")))).repeated
    assert (await wait(store.log.append(draft(client_id="c1")))).repeated


@in_reactor
async def test_a_full_disk_is_survived(store: Store) -> None:
    told = heard(store.log)
    await wait(store.log.append(draft("before")))
    wal = store.database.path.with_name("chat.sqlite-wal")
    with files_limited(wal.stat().st_size + 10_000):
        answers = [store.log.append(draft("x" * 5000)) for _ in range(10)]
        for answer in answers:
            await refused(answer, StorageUnavailable)
        assert await texts(store) == ["before"]
    assert (await wait(store.log.append(draft("after")))).id == 2
    assert [record.data["text"] for record in told] == await texts(store) == ["before", "after"]


@in_reactor
async def test_a_full_database_is_survived(store: Store) -> None:
    """The same, found by SQLite itself."""

    def allow(pages: int) -> Callable[[Connection], None]:
        return lambda connection: void(connection.execute(text(f"PRAGMA max_page_count = {pages}")))

    await wait(store.log.append(draft("before")))
    await wait(store.database.write(allow(1)))
    for answer in [store.log.append(draft("x" * 9000)) for _ in range(3)]:
        await refused(answer, StorageUnavailable)
    # The limit was one of the connection, which was dropped.
    assert (await wait(store.log.append(draft("x" * 9000)))).id == 2


@in_reactor
async def test_a_directory_that_goes_and_comes_back_is_survived(open_store: Opener) -> None:
    """No new connection can be made meanwhile."""
    store = open_store()
    await wait(store.log.append(draft("before")))
    away = store.folder.with_name(store.folder.name + "-away")
    with locked(store):
        await refused(store.log.append(draft()), StorageUnavailable)
    store.folder.rename(away)
    await refused(store.log.append(draft()), StorageUnavailable)
    away.rename(store.folder)
    await wait(store.log.append(draft("after")))
    assert await texts(store) == ["before", "after"]


@in_reactor
async def test_a_commit_that_came_through_although_it_failed_is_published(store: Store) -> None:
    """An error can come after the commit reached the disk. The sender is told to try again; the
    record must still be heard, and her retry find it."""
    told = heard(store.log)
    await wait(store.log.append(draft("before")))
    with locked(store):
        await refused(store.log.append(draft()), StorageUnavailable)
    with closing(sqlite3.connect(store.database.path)) as other, other:
        other.execute(
            "INSERT INTO records (id, context, type, sender, author, data, client_id, at)"
            " VALUES (2, ?, 'message', 's1', 'alice', ?, 'c1', 0)",
            (LOBBY, '{"text": "in doubt"}'),
        )
    retried = await wait(store.log.append(draft("in doubt", client_id="c1")))
    assert retried.repeated
    assert (await wait(store.log.append(draft("after")))).id == 3
    assert [(record.id, record.data["text"]) for record in told] == [
        (1, "before"),
        (2, "in doubt"),
        (3, "after"),
    ]


@in_reactor
async def test_one_failing_change_spoils_no_other(store: Store) -> None:
    def add(name: str, then: Exception | None = None) -> Deferred[None]:
        def change(connection: Connection) -> None:
            values = {"name": name, "topic": "", "created_by": "s1", "created_at": 1}
            connection.execute(insert(rooms), values)
            if then is not None:
                raise then

        return store.database.write(change)

    with stalled(store) as busy:
        good: list[Deferred[Any]] = [store.log.append(draft("one")), add("dev")]
        twice = add("dev")
        broken = add("ops", ValueError("on purpose"))
        more: list[Deferred[Any]] = [add("qa"), store.log.append(draft("two"))]
    await wait(busy)
    await refused(twice, IntegrityError)
    await refused(broken, ValueError)
    for answer in [*good, *more]:
        await wait(answer)
    assert [row.name for row in store.directory.rooms()] == ["lobby", "dev", "qa"]
    assert await texts(store) == ["one", "two"]


@in_reactor
async def test_what_waits_shares_a_commit(store: Store) -> None:
    batches: list[int] = []
    store.log.follow(lambda batch: batches.append(len(batch)))
    with stalled(store):
        answers = [store.log.append(draft(client_id=f"{n % 80}")) for n in range(100)]
    records = await wait_all(answers)
    assert batches == [80]
    assert [record.repeated for record in records] == [False] * 80 + [True] * 20
    assert [record.id for record in records[80:]] == list(range(1, 21))


@in_reactor
async def test_a_queue_that_is_full_refuses_at_once(open_store: Opener) -> None:
    store = open_store(max_waiting=5)
    with stalled(store) as busy:
        answers = [store.log.append(draft(f"{n}")) for n in range(4)]
        over: list[Deferred[Any]] = [
            store.log.append(draft("over")),
            store.directory.free_name("s1"),
        ]
        assert all(answer.called for answer in over)
        for answer in over:
            await refused(answer, StorageUnavailable)
    await wait(busy)
    assert len(await wait_all(answers)) == 4
    assert (await wait(store.log.append(draft("again")))).id == 5


async def first_refusal(store: Store) -> LogFull:
    """Say more until the log is full."""
    for _ in range(100):
        try:
            await wait(store.log.append(draft("x" * 5000)))
        except LogFull as error:
            return error
    raise AssertionError("the log takes everything")


@in_reactor
async def test_a_log_past_its_size_takes_nothing_but_repeats(open_store: Opener) -> None:
    store = open_store(max_bytes=450_000)
    told = heard(store.log)
    first = await wait(store.log.append(draft("first", client_id="c1")))
    error = await first_refusal(store)
    assert "operator" in error.detail
    assert error.retry_after
    kept = len(told)
    assert 5 < kept < 50
    again = [
        store.log.append(draft("first", client_id="c1")),
        store.log.append(draft("new", client_id="c2")),
    ]
    assert (await wait(again[0])).id == first.id
    await refused(again[1], LogFull)
    # What keeps people in the room still works.
    await wait(store.directory.free_name("s1"))
    await store.close()
    larger = open_store()
    assert (await wait(larger.log.append(draft("again")))).id == kept + 1


@in_reactor
async def test_a_log_says_once_that_it_is_nearly_full_and_once_that_it_is(
    open_store: Opener,
) -> None:
    with capturedLogs() as logged:
        store = open_store(max_bytes=2_000_000)
        while not store.log.usage.nearly_full:
            await wait(store.log.append(draft("x" * 8000)))
        await wait(store.log.append(draft("x" * 8000)))
        await first_refusal(store)
        await first_refusal(store)
    told = [
        (event["log_level"], event["limit"])
        for event in logged
        if "limit" in event and event["size"]
    ]
    assert told == [(LogLevel.warn, 2_000_000), (LogLevel.error, 2_000_000)]
    assert all("--max-log" in event["log_format"] for event in logged if "limit" in event)
    await store.close()
    with capturedLogs() as logged:
        # Less than before: what was in the write-ahead log has left it.
        full = open_store(max_bytes=450_000)
        assert full.log.usage.full
        await full.close()
    assert [event["log_level"] for event in logged if "limit" in event] == [LogLevel.error]


@in_reactor
async def test_trouble_with_reading_is_told(store: Store) -> None:
    failing = store.database.read(lambda connection: connection.execute(text("SELECT missing")))
    with capturedLogs() as logged:
        error = await refused(failing, StorageUnavailable)
    assert error.retry_after
    assert [event["cause"] for event in logged if "cause" in event] == ["no such column: missing"]
    assert await texts(store) == []


@in_reactor
async def test_a_defect_is_not_taken_for_trouble_with_the_storage(open_store: Opener) -> None:
    clock: list[float] = []
    store = open_store(wall_clock=lambda: clock[0] if clock else 1 / 0)
    with capturedLogs() as logged:
        await refused(store.log.append(draft("one")), ZeroDivisionError)
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [
        ZeroDivisionError
    ]
    clock.append(1.5)
    assert (await wait(store.log.append(draft("two")))).at == 1500
    assert await texts(store) == ["two"]


def void(result: object) -> None:
    """A change that is made for its effect."""
