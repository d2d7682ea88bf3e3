"""The database of many nodes: changes and reads that outlive its troubles, and the start."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from cometd_chat.errors import ShuttingDown, StorageUnavailable
from cometd_chat.log.control import CONTROL, NodeGone, NodeJoined
from cometd_chat.log.epochs import Epochs
from cometd_chat.log.migrations import SchemaTooNew
from cometd_chat.log.postgresql.connections import Server
from cometd_chat.log.postgresql.database import START_LINE, START_PATIENCE, PostgresDatabase
from cometd_chat.log.reading import LogReading
from cometd_chat.log.threads import UNDER_WAY
from tests.log.support import block, in_reactor, refused, wait, wait_all
from tests.log.test_database import HEAD, NEXT, newer_schema
from tests.postgresql import PASSWORD, PostgresServer
from tests.support import free_port

COUNT = text("SELECT count(*) FROM rooms")


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def shown(url: str) -> str:
    return url.replace(PASSWORD, "***")


def make(url: str, reactor: Any = None, **settings: Any) -> PostgresDatabase:
    if reactor is None:
        from twisted.internet import reactor
    return PostgresDatabase(Server(url, "test"), reactor, shown=shown(url), **settings)


@pytest.fixture
def database(database_url: str) -> Iterator[PostgresDatabase]:
    database = make(database_url)
    database.open()
    yield database
    block(database.close())


def room(name: str) -> Any:
    """A change that adds a room, however often it is made."""
    its = "rooms (name, topic, created_by, created_at) VALUES (:name, '', '', 1)"
    statement = text(f"INSERT INTO {its} ON CONFLICT DO NOTHING")
    return lambda connection: connection.execute(statement, {"name": name}).rowcount


def count(connection: Connection) -> object:
    return connection.execute(COUNT).scalar()


@in_reactor
async def test_changes_are_made_in_their_order_and_read_by_all(database: PostgresDatabase) -> None:
    seen: list[int] = []

    def change(number: int) -> Any:
        def make(connection: Connection) -> int:
            seen.append(number)
            return int(room(f"r{number}")(connection)) + number

        return make

    answers = [database.write(change(number)) for number in range(250)]
    assert await wait_all(answers) == [number + 1 for number in range(250)]
    assert seen == list(range(250))
    assert await wait(database.read(count)) == 251


@in_reactor
async def test_a_change_that_is_refused_is_undone_alone(database: PostgresDatabase) -> None:
    def refuse(connection: Connection) -> None:
        room("half")(connection)
        raise KeyError("no")

    def break_off(connection: Connection) -> None:
        room("half")(connection)
        connection.execute(text("SELECT 1 / 0"))

    hold = threading.Event()
    database.write(lambda _: hold.wait(20))
    first = database.write(room("first"))
    wrong = [database.write(refuse), database.write(break_off)]
    last = database.write(room("last"))
    hold.set()
    assert await wait(first) == 1
    await refused(wrong[0], KeyError)
    await refused(wrong[1], Exception)
    assert await wait(last) == 1
    names = text('SELECT name FROM rooms ORDER BY name COLLATE "C"')
    found = await wait(database.read(lambda connection: connection.execute(names).scalars().all()))
    assert found == ["first", "last", "lobby"]


@in_reactor
async def test_a_change_and_what_is_told_of_it_are_one(database: PostgresDatabase) -> None:
    def tell(connection: Connection) -> None:
        room("told")(connection)
        database.tell(connection, NodeGone(3), NodeGone(4))

    def refuse(connection: Connection) -> None:
        database.tell(connection, NodeGone(5))
        raise KeyError("no")

    # A log has an epoch; the log itself is not of this test.
    begin = text("INSERT INTO epochs (epoch, first_id) VALUES ('e1', 1)")
    database.write(lambda connection: connection.execute(begin).rowcount)
    answer, refusal = database.write(tell), database.write(refuse)
    await wait(answer)
    await refused(refusal, KeyError)
    database.write_now(lambda connection: database.tell(connection, NodeJoined(6, "n", "", "1")))
    rows = text("SELECT id, context, type, data FROM records ORDER BY id")
    assert await wait(database.read(lambda each: [tuple(row) for row in each.execute(rows)])) == [
        (1, CONTROL, "node-gone", '{"node":3,"stopped":false}'),
        (2, CONTROL, "node-gone", '{"node":4,"stopped":false}'),
        (3, CONTROL, "node-joined", '{"node":6,"name":"n","peer":"","version":"1"}'),
    ]


@in_reactor
async def test_a_read_sees_one_moment(database: PostgresDatabase) -> None:
    looked, changed = threading.Event(), threading.Event()

    def look_twice(connection: Connection) -> list[object]:
        before = count(connection)
        looked.set()
        assert changed.wait(20)
        return [before, count(connection)]

    read = database.read(look_twice)
    await wait(database.write(lambda _: looked.wait(20)))
    await wait(database.write(room("dev")))
    changed.set()
    assert await wait(read) == [1, 1]
    assert await wait(database.read(count)) == 2


@in_reactor
async def test_connections_that_were_ended_are_replaced(
    database: PostgresDatabase, database_url: str, postgresql: PostgresServer
) -> None:
    for number in range(3):
        await wait_all([database.read(count) for _ in range(8)])
        await wait(database.write(room(f"before{number}")))
        assert postgresql.terminate_connections(name_of(database_url)) > 1
        assert await wait(database.write(room(f"after{number}"))) == 1
        assert await wait(database.read(count)) == 3 + 2 * number


@in_reactor
async def test_a_change_whose_commit_was_lost_is_made_again(
    database: PostgresDatabase, database_url: str, postgresql: PostgresServer
) -> None:
    made: list[int] = []

    def change(connection: Connection) -> int:
        made.append(room("doubtful")(connection))
        if len(made) == 1:
            # It is gone by the time of the commit.
            postgresql.terminate_connections(name_of(database_url), "%change%")
        return made[-1]

    assert await wait(database.write(change)) == 1
    assert made == [1, 1]
    assert await wait(database.read(count)) == 2


@in_reactor
async def test_changes_and_reads_wait_for_a_server_that_restarts(
    own_postgresql: PostgresServer,
) -> None:
    database = make(own_postgresql.url(own_postgresql.fresh_database()), patience=60.0)
    database.open()
    await wait(database.read(count))
    own_postgresql.stop("immediate")
    answers: list[Deferred[Any]] = [database.write(room("late")), database.read(count)]
    own_postgresql.start()
    written, read = await wait_all(answers)
    assert (written, read in (1, 2)) == (1, True)
    await wait(database.close())


@in_reactor
async def test_nobody_waits_for_longer_than_their_patience(own_postgresql: PostgresServer) -> None:
    """A server that stands still answers nothing, and nothing says so."""
    database = make(own_postgresql.url(own_postgresql.fresh_database()))
    database.open()
    await wait_all([database.read(count) for _ in range(UNDER_WAY)])
    await wait(database.write(room("first")))
    with own_postgresql.frozen(), capturedLogs():
        reads = [database.read(count) for _ in range(3 * UNDER_WAY)]
        changes = [database.write(room(f"r{number}")) for number in range(3)]
        for each in [*reads, *changes]:
            refusal = await refused(each, StorageUnavailable)
            assert refusal.retry_after
            assert PASSWORD not in refusal.detail
    assert await wait(database.write(room("last"))) in (0, 1)
    assert await wait(database.read(count)) in (3, 6)
    await wait(database.close())


@in_reactor
async def test_what_was_taken_is_done_before_the_end(database_url: str) -> None:
    database = make(database_url)
    database.open()
    answers = [database.write(room(f"r{number}")) for number in range(20)]
    reads = [database.read(count) for _ in range(20)]
    closed = database.close()
    assert await wait_all(answers) == [1] * 20
    await wait_all(reads)
    await refused(database.write(room("late")), ShuttingDown)
    await refused(database.read(count), ShuttingDown)
    await wait(closed)


@in_reactor
async def test_more_than_may_wait_is_refused_at_once(database_url: str) -> None:
    database = make(database_url, max_waiting=3)
    database.open()
    hold = threading.Event()
    held = [database.read(lambda _: hold.wait(20)) for _ in range(3)]
    changes = [database.write(lambda _: hold.wait(20)) for _ in range(3)]
    assert (await refused(database.read(count), StorageUnavailable)).retry_after
    assert (await refused(database.write(room("r")), StorageUnavailable)).retry_after
    held[0].cancel()
    await refused(held[0], CancelledError)
    hold.set()
    await wait_all([*held[1:], *changes])
    assert await wait(database.read(count)) == 1
    await wait(database.close())


# -- the start


def test_a_start_waits_for_a_server_that_is_away() -> None:
    clock = Clock()
    url = f"postgresql://comet:{PASSWORD}@127.0.0.1:{free_port()}/chat"
    database = make(url, clock, pause=clock.advance)
    with capturedLogs() as logs, pytest.raises(StorageUnavailable) as refusal:
        database.prepare()
    assert clock.seconds() == START_PATIENCE
    lines = [each for each in logs if "waiting for the database" in each["log_format"]]
    assert len(lines) == START_PATIENCE // START_LINE
    assert "can't be reached" in refusal.value.detail
    assert "refused" in refusal.value.detail
    assert "\n" not in refusal.value.detail
    assert PASSWORD not in refusal.value.detail + str(logs)


def test_a_start_goes_on_when_the_server_is_there(own_postgresql: PostgresServer) -> None:
    url = own_postgresql.url(own_postgresql.empty_database())
    own_postgresql.stop()
    clock = Clock()

    def pause(seconds: float) -> None:
        clock.advance(seconds)
        if clock.seconds() == 3:
            own_postgresql.start()

    database = make(url, clock, pause=pause)
    with capturedLogs():
        database.prepare()
    assert clock.seconds() == 3
    assert database.read_now(count) == 1
    database.close()
    assert not [call for call in clock.getDelayedCalls() if call.active()]


@pytest.mark.parametrize("kind", ["read_now", "write_now"])
def test_a_start_goes_on_when_the_server_goes_away_in_the_middle_of_it(
    own_postgresql: PostgresServer, kind: str
) -> None:
    url = own_postgresql.url(own_postgresql.fresh_database())
    clock = Clock()

    def pause(seconds: float) -> None:
        clock.advance(seconds)
        if clock.seconds() == 2:
            own_postgresql.start()

    database = make(url, clock, pause=pause)
    database.prepare()
    tried = []

    def step(connection: Connection) -> object:
        tried.append(clock.seconds())
        if len(tried) == 1:
            own_postgresql.stop("immediate")
        return count(connection)

    with capturedLogs() as logs:
        assert getattr(database, kind)(step) == 1
    assert tried == [0, 2]
    assert any("went away during the start" in each["log_format"] for each in logs)
    database.close()


def test_what_fails_at_the_start_for_another_reason_is_not_tried_again(
    database: PostgresDatabase,
) -> None:
    with pytest.raises(SQLAlchemyError):
        database.read_now(lambda connection: connection.execute(text("SELECT nothing")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("comet:", "nobody:"), "nobody"),
        (("/test_", "/missing_test_"), "does not exist"),
    ],
)
def test_a_server_that_refuses_us_is_not_waited_for(
    database_url: str, change: tuple[str, str], said: str
) -> None:
    clock = Clock()
    database = make(database_url.replace(*change), clock, pause=clock.advance)
    with capturedLogs(), pytest.raises(StorageUnavailable, match=said) as refusal:
        database.prepare()
    assert clock.seconds() == 0
    assert PASSWORD not in refusal.value.detail


def test_a_database_in_which_we_may_make_nothing_is_told_in_a_sentence(
    postgresql: PostgresServer, empty_url: str
) -> None:
    postgresql.execute("ALTER SCHEMA public OWNER TO postgres", name_of(empty_url))
    postgresql.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name_of(empty_url))
    with pytest.raises(StorageUnavailable, match="permission denied") as refusal:
        make(empty_url, Clock()).prepare()
    assert "\n" not in refusal.value.detail
    assert "owns" in refusal.value.detail


def test_nodes_that_start_at_once_migrate_once(empty_url: str) -> None:
    errors: list[Exception] = []

    def start() -> None:
        database = make(empty_url, Clock())
        try:
            database.prepare()
            database.close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []


def compatible(folder: Path, with_: str) -> str:
    """Our migrations and the one of a next release, which says on what it runs."""
    schema = newer_schema(folder)
    step = Path(schema) / "versions" / f"r{NEXT}_next.py"
    step.write_text(f'{step.read_text()}\nruns_with = "{with_}"\n')
    return schema


@in_reactor
async def test_a_release_runs_on_the_schema_of_the_next_one(
    tmp_path: Path, database_url: str
) -> None:
    """So daemons are replaced one after the other."""
    old = make(database_url)
    old.open()
    newer = make(database_url, schema=compatible(tmp_path, HEAD))
    newer.open()
    # The one that runs goes on, and another of its release can still be started.
    assert await wait(old.write(room("old"))) == 1
    again = make(database_url)
    again.open()
    assert await wait(again.write(room("again"))) == 1
    revision = text("SELECT version_num FROM alembic_version")
    assert again.read_now(lambda connection: connection.execute(revision).scalar()) == NEXT
    for each in (old, newer, again):
        await wait(each.close())


@in_reactor
async def test_a_release_does_not_run_on_what_only_later_ones_know(
    tmp_path: Path, database_url: str
) -> None:
    for path, schema in (("a", newer_schema), ("b", lambda folder: compatible(folder, NEXT))):
        (tmp_path / path).mkdir()
        newer = make(database_url, schema=schema(tmp_path / path))
        newer.open()
        await wait(newer.close())
        with pytest.raises(SchemaTooNew, match="newer release") as refusal:
            make(database_url).open()
        assert PASSWORD not in refusal.value.detail
        shutil.rmtree(tmp_path / path)


class LibrariesEar(logging.Handler):
    """Keeps what is logged by the standard library's means, at warning level and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def of_libraries() -> Iterator[list[logging.LogRecord]]:
    """What is said that way during a test."""
    ear = LibrariesEar()
    logging.getLogger().addHandler(ear)
    yield ear.records
    logging.getLogger().removeHandler(ear)


@pytest.mark.parametrize("count", [300, 1200])
def test_where_the_connection_is_lost_at_the_start_the_newest_are_read_again(
    count: int,
    postgresql: PostgresServer,
    database_url: str,
    database: PostgresDatabase,
    of_libraries: list[logging.LogRecord],
) -> None:
    """What is said of it is one line, if the connection was needed after they had come. A cursor of
    the database always needs it, to be closed, and then the driver says so with a traceback."""
    postgresql.execute(
        "INSERT INTO records (id, context, type, sender, author, data, at)"
        " SELECT n, '/rooms/lobby', 'message', 'u', 'al', '{}', n"
        f" FROM generate_series(1, {count}) AS n",
        name_of(database_url),
    )
    name = name_of(database_url)
    ended: list[int] = []
    asked: list[str] = []

    def epochs() -> Epochs:
        if not ended:
            rows = postgresql.query(f"SELECT query FROM pg_stat_activity WHERE datname = '{name}'")
            asked.extend(str(query) for (query,) in rows)
            ended.append(postgresql.terminate_connections(name))
        return Epochs(["abcdef"], [1])

    with capturedLogs() as lines:
        found = LogReading(database, epochs).recent(count, count - 100, 10**6)
    assert [record.id for record in found] == list(range(101, count + 1))
    assert ended[0] >= 1
    assert [each for each in asked if "SELECT records.id" in each]
    assert not [each for each in asked if "CURSOR" in each or "FETCH" in each]
    said = {line["log_format"] for line in lines}
    assert said <= {"the database {url} went away during the start: {reason}"}
    assert of_libraries == []
