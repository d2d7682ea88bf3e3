"""Opening the file: its mode, its settings, migrations, and what may be wrong with it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from twisted.internet.defer import CancelledError

import cometd_chat.log
from cometd_chat.errors import NameTaken, ShuttingDown, StorageUnavailable
from cometd_chat.events import kinds
from cometd_chat.events.recorded import recorded
from cometd_chat.log.directory import PositionRow
from cometd_chat.log.migrations import SchemaTooNew, migrate, newest_revision
from cometd_chat.log.tables import metadata
from cometd_chat.log.threads import UNDER_WAY
from tests.log.support import (
    LOBBY,
    PATIENCE,
    Opener,
    Store,
    draft,
    in_reactor,
    opener,
    refused,
    wait,
    wait_all,
)

SCHEMA = Path(cometd_chat.log.__file__).parent / "schema"

#: Our newest revision, and the one that comes after it.
HEAD = max(path.name[1:5] for path in SCHEMA.glob("versions/r*.py"))
NEXT = f"{int(HEAD) + 1:04}"

SECOND = f"""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{NEXT}", "{HEAD}"
branch_labels = depends_on = None

def upgrade():
    op.add_column("rooms", sa.Column("closed", sa.Integer))
    {{then}}
"""


def newer_schema(folder: Path, then: str = "pass") -> str:
    """Our migrations and one more, in a folder of their own."""
    schema = folder / "100% newer"
    shutil.copytree(SCHEMA, schema, dirs_exist_ok=True)
    (schema / "versions" / f"r{NEXT}_next.py").write_text(SECOND.format(then=then))
    return str(schema)


def older_schema(folder: Path, revision: str) -> str:
    """Our migrations up to one of them, in a folder of their own."""
    schema = folder / f"until {revision}"
    shutil.copytree(SCHEMA, schema)
    for path in (schema / "versions").glob("r*.py"):
        if path.name[1:5] > revision:
            path.unlink()
    return str(schema)


def query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def backups(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "backup" in path.name)


@pytest.fixture
def open_new(tmp_path: Path) -> Iterator[Opener]:
    """Opens stores, the first of which finds nothing."""
    with opener(tmp_path) as open:
        yield open


@in_reactor
async def test_all_files_are_ours_alone(store: Store) -> None:
    await wait(store.log.append(draft()))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()}
    endings = ("", "-wal", "-shm", ".high-water")
    assert modes == {f"chat.sqlite{ending}": 0o600 for ending in endings}


@in_reactor
async def test_a_file_that_others_can_read_is_closed_to_them(
    tmp_path: Path, open_new: Opener
) -> None:
    await open_new().close()
    (tmp_path / "chat.sqlite").chmod(0o644)
    store = open_new()
    assert stat.S_IMODE(store.database.path.stat().st_mode) == 0o600


@in_reactor
async def test_the_settings_that_durability_needs(store: Store) -> None:
    def settings(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.execute(text(f"PRAGMA {name}")).scalar() for name in names]

    full = 2
    assert await wait(store.database.write(settings)) == ["wal", full, 1, 200]
    assert await wait(store.database.read(settings)) == ["wal", full, 1, 200]


def test_the_newest_revision_is_the_one_whose_file_is_named_so() -> None:
    scripts = ScriptDirectory(str(SCHEMA))
    assert newest_revision() == newest_revision(str(SCHEMA)) == scripts.get_current_head()


@in_reactor
async def test_the_migrations_leave_what_the_tables_say(store: Store) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    assert await wait(store.database.read(differences)) == []
    assert backups(store.folder) == []


def test_the_migrations_leave_the_same_in_postgresql(empty_url: str) -> None:
    engine = create_engine(empty_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        migrate(connection, "unused")
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


@in_reactor
async def test_an_older_file_is_copied_before_it_is_migrated(
    tmp_path: Path, open_new: Opener
) -> None:
    first = open_new()
    await wait(first.log.append(draft("kept")))
    await first.close()
    schema = newer_schema(tmp_path)
    for _ in range(2):
        second = open_new(schema=schema)
        assert [
            record.data["text"] for record in await wait(second.log.read([LOBBY], limit=5))
        ] == ["kept"]
        await second.close()
    assert backups(tmp_path) == [f"chat.sqlite.backup-{HEAD}"]
    copy = tmp_path / f"chat.sqlite.backup-{HEAD}"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert query(copy, "SELECT data FROM records") == [('{"text":"kept"}',)]
    assert query(copy, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert query(first.database.path, "SELECT version_num FROM alembic_version") == [(NEXT,)]


@in_reactor
async def test_copies_are_kept(tmp_path: Path, open_new: Opener) -> None:
    await open_new().close()
    (tmp_path / f"chat.sqlite.backup-{HEAD}").write_text("an earlier one")
    await open_new(schema=newer_schema(tmp_path)).close()
    assert backups(tmp_path) == [f"chat.sqlite.backup-{HEAD}", f"chat.sqlite.backup-{HEAD}-2"]
    assert (tmp_path / f"chat.sqlite.backup-{HEAD}").read_text() == "an earlier one"


@in_reactor
async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, open_new: Opener
) -> None:
    first = open_new()
    await first.close()
    schema = newer_schema(tmp_path, then="op.execute('SELECT * FROM missing')")
    with pytest.raises(StorageUnavailable, match="no such table"):
        open_new(schema=schema)
    assert query(first.database.path, "SELECT version_num FROM alembic_version") == [(HEAD,)]
    assert "closed" not in str(query(first.database.path, "SELECT sql FROM sqlite_schema"))
    await wait(open_new().log.append(draft()))


@in_reactor
async def test_names_that_look_the_same_are_one_from_the_third_revision_on(
    tmp_path: Path, open_new: Opener
) -> None:
    """The one who came first keeps it; nothing is lost but the name of the other."""
    names = [
        ("alice", "alice"),
        ("\u0430lice", "\u0430lice"),  # Cyrillic a
        ("Ivan", "ivan"),
        ("lvan", "lvan"),
        ("modern", "modern"),
        ("modem", "modem"),
        ("\u0410\u043d\u043d\u0430", "\u0430\u043d\u043d\u0430"),
        ("\u044e\u0437\u0435\u0440-x", "\u044e\u0437\u0435\u0440-x"),  # would be refused today
        ("Admin", "admin"),
        ("adm\u0131n", "adm\u0131n"),  # an i without a dot
        ("away", None),
        ("bob", "bob"),
    ]
    first = open_new(schema=older_schema(tmp_path, "0002"))
    await first.close()
    rows = [
        (f"s{at:02}", f"t{at}".encode(), name, key, "guest", 1000 + at, 10**15)
        for at, (name, key) in enumerate(names)
    ]
    with closing(sqlite3.connect(first.database.path)) as old, old:
        old.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        # Who came first is not who comes first in the file.
        old.execute("UPDATE sessions SET created_at = 1 WHERE id IN ('s03', 's11')")
    store = open_new()
    kept = {row.name: (row.name_key, row.name_looks) for row in store.directory.named_sessions()}
    assert kept == {
        "alice": ("alice", "alice"),
        "lvan": ("lvan", "lvan"),
        "modern": ("rnodern", "rnodern"),
        "\u0410\u043d\u043d\u0430": kept["\u0410\u043d\u043d\u0430"],
        "\u044e\u0437\u0435\u0440-x": kept["\u044e\u0437\u0435\u0440-x"],
        "bob": ("bob", "bob"),
    }
    for at, (name, _) in enumerate(names):
        row = await wait(store.directory.session_by_token(f"t{at}".encode()))
        assert row is not None
        assert (row.id, row.name) == (f"s{at:02}", name)
        assert (row.name_key, row.name_looks) == kept.get(name, (None, None))
    assert "chat.sqlite.backup-0002" in backups(tmp_path)
    # They are compared by both keys from now on.
    await refused(store.directory.rename_session("s01", "x", "alice", "x"), NameTaken)
    await refused(store.directory.rename_session("s01", "x", "x", "alice"), NameTaken)
    await wait(store.directory.rename_session("s01", "x", "x", "x"))


#: What people say that JSON has to escape, or that a text of a database might not come back from.
HARD = ["hi", 'a "quote" and a \\\\', "</script>", "\u2028", "a\nb\tc", "\U0001f600", "{}", "1", ""]


@in_reactor
async def test_what_was_said_is_the_same_event_from_the_fourth_revision_on(
    tmp_path: Path, open_new: Opener
) -> None:
    """A text became data: every event is the same JSON, and cursors that clients hold go on."""
    first = open_new(schema=older_schema(tmp_path, "0003"))
    await first.close()
    rows = [
        (at, f"/chat/room{at % 3}", f"s{at % 5}", f"name{at % 5}", HARD[at % len(HARD)], key, at)
        for at in range(1, 3001)
        for key in [f"c{at}" if at % 2 else None]
    ]
    columns = "(id, context, type, sender, author, text, client_id, at)"
    with closing(sqlite3.connect(first.database.path)) as old, old:
        old.executemany(f"INSERT INTO records {columns} VALUES (?,?,'message',?,?,?,?,?)", rows)
    store = open_new(new_epoch=lambda: "e9")
    records = await wait(store.log.read(None, limit=len(rows)))
    assert [json.loads(recorded(each).json) for each in records] == [
        {
            "id": id,
            "cursor": f"{id}.{store.log.cursor(id).partition('.')[2]}",
            "room": context.removeprefix("/chat/"),
            "type": "message",
            "from": author,
            "text": said,
            "at": kinds.timestamp(at),
            **({} if key is None else {"client_id": key}),
        }
        for id, context, _, author, said, key, at in rows
    ]
    id, cursor, room, *others = kinds.MESSAGE.fields
    others.remove("deleted")
    assert list(recorded(records[0]).fields) == [id, cursor, room, "type", *others]
    assert store.log.position(first.log.cursor(0)) == 0
    # What was said before is known by its key, and nothing is given out twice.
    again = draft(HARD[1], "/chat/room1", sender="s1", client_id="c1")
    repeated = await wait(store.log.append(again))
    assert (repeated.id, repeated.repeated, repeated.repeats(again)) == (1, True, True)
    assert (await wait(store.log.append(draft()))).id == len(rows) + 1
    # The way back.
    (copy,) = backups(tmp_path)
    assert copy == "chat.sqlite.backup-0003"
    assert query(tmp_path / copy, f"SELECT {columns[1:-1]} FROM records ORDER BY id") == [
        (id, context, "message", sender, author, said, key, at)
        for id, context, sender, author, said, key, at in rows
    ]


@in_reactor
async def test_all_is_kept_by_the_fifth_revision(tmp_path: Path, open_new: Opener) -> None:
    """Tables came for many nodes; a process that is alone is node 0."""
    first = open_new(schema=older_schema(tmp_path, "0004"))
    await first.close()
    with closing(sqlite3.connect(first.database.path)) as old, old:
        sessions = [(f"s{at}", f"t{at}".encode(), f"n{at}", f"n{at}", 1, 10**15) for at in (1, 2)]
        old.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?, 'guest', ?, ?, NULL)", sessions)
        rows = [("s1", "lobby", 7), ("s1", "dev", 3), ("s2", "*", 1)]
        old.executemany("INSERT INTO positions VALUES (?, ?, ?)", rows)
        old.execute("INSERT INTO rooms VALUES ('dev', 'a topic', 's1', 5)")
    store = open_new(new_epoch=lambda: "e9")
    assert await wait(store.directory.positions("s1")) == {"lobby": 7, "dev": 3}
    assert await wait(store.directory.positions("s2")) == {"*": 1}
    assert [row.seen_at for row in store.directory.named_sessions()] == [0, 0]
    assert [row.name for row in store.directory.rooms()] == ["lobby", "dev"]
    assert store.log.position(first.log.cursor(0)) == 0
    await wait(store.directory.put_positions([PositionRow("s1", "lobby", 9)]))
    await wait(store.directory.end_session("s2"))
    kept = query(store.database.path, "SELECT session, room, node, position FROM positions")
    assert sorted(kept) == [("s1", "dev", 0, 3), ("s1", "lobby", 0, 9)]
    assert backups(tmp_path) == ["chat.sqlite.backup-0004"]


@in_reactor
async def test_who_is_a_member_stays_one_by_the_eighth_revision(
    tmp_path: Path, open_new: Opener
) -> None:
    """And a release that knows no private room does not come to run on one by it."""
    first = open_new(schema=older_schema(tmp_path, "0007"))
    await first.close()
    assert query(first.database.path, "SELECT oldest FROM compatibility") == [("0006",)]
    with closing(sqlite3.connect(first.database.path)) as old, old:
        old.execute(
            "INSERT INTO members (identity, name, role, created_at, seen_at)"
            " VALUES ('i1', 'Ada', 'owner', 1, 2)"
        )
        old.execute("UPDATE compatibility SET oldest = '0007'")
    store = open_new()
    assert query(store.database.path, "SELECT identity, leaving FROM members") == [("i1", None)]
    assert query(store.database.path, "SELECT oldest FROM compatibility") == [("0007",)]
    assert backups(tmp_path) == ["chat.sqlite.backup-0007"]


@in_reactor
async def test_a_newer_schema_is_refused_in_a_sentence(tmp_path: Path, open_new: Opener) -> None:
    store = open_new(schema=newer_schema(tmp_path))
    await store.close()
    before = store.database.path.read_bytes()
    with pytest.raises(SchemaTooNew) as refusal:
        open_new()
    assert "newer release" in refusal.value.detail
    assert NEXT in refusal.value.detail
    assert "\n" not in refusal.value.detail
    assert store.database.path.read_bytes() == before


@in_reactor
async def test_what_can_not_be_opened_is_refused_in_a_sentence(
    tmp_path: Path, open_new: Opener
) -> None:
    (tmp_path / "chat.sqlite").write_bytes(b"this is no database, it is a text" * 100)
    with pytest.raises(StorageUnavailable, match="not a database") as refusal:
        open_new()
    assert str(tmp_path / "chat.sqlite") in refusal.value.detail
    with pytest.raises(StorageUnavailable, match="No such file or directory"):
        open_new("missing/chat.sqlite")


@in_reactor
async def test_what_is_left_of_a_database_is_not_taken_for_a_new_one(
    tmp_path: Path, open_new: Opener
) -> None:
    store = open_new()
    for number in range(50):
        await wait(store.log.append(draft(f"{number} " * 1000)))
    await store.close()
    path = store.database.path
    whole = path.read_bytes()
    for left in (b"", whole[:50], whole[: len(whole) // 2]):
        path.write_bytes(left)
        with pytest.raises(StorageUnavailable, match="put your newest backup") as refusal:
            open_new()
        assert "\n" not in refusal.value.detail
        assert path.read_bytes() == left, "nothing was changed"
    for revision, made in (("0001", 200), ("0002", 300), ("0000", 100)):
        copy = tmp_path / f"chat.sqlite.backup-{revision}"
        copy.write_bytes(whole)
        os.utime(copy, (made, made))
    (tmp_path / "chat.sqlite.backup-0003.partial").write_bytes(b"half of one")
    path.write_bytes(b"")
    with pytest.raises(StorageUnavailable, match="backup-0002;"):
        open_new()
    path.unlink()
    wal = tmp_path / "chat.sqlite-wal"
    wal.write_bytes(b"something")
    with pytest.raises(StorageUnavailable, match="is gone"):
        open_new()
    wal.unlink()
    path.write_bytes(whole)
    records = await wait(open_new().log.read([LOBBY], limit=100))
    assert len(records) == 50


@in_reactor
async def test_a_start_that_was_killed_half_way_is_gone_over(
    tmp_path: Path, open_new: Opener
) -> None:
    (tmp_path / "chat.sqlite.new").write_bytes(b"half of a head")
    store = open_new()
    assert (await wait(store.log.append(draft()))).id == 1
    assert not (tmp_path / "chat.sqlite.new").exists()


@in_reactor
async def test_a_file_that_another_program_holds_is_refused(
    tmp_path: Path, open_new: Opener
) -> None:
    store = open_new()
    await store.close()
    with closing(sqlite3.connect(store.database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked"):
            open_new()


@in_reactor
async def test_closing_stores_what_was_taken(open_store: Opener) -> None:
    store = open_store()
    answers = [store.log.append(draft(f"{n}")) for n in range(50)]
    closed = store.database.close()
    late = store.log.append(draft("late"))
    assert len(await wait_all(answers)) == 50
    await refused(late, ShuttingDown)
    await wait(closed)
    await refused(store.log.read([LOBBY], limit=5), ShuttingDown)
    assert not store.database.path.with_name("chat.sqlite-wal").exists()
    assert query(store.database.path, "SELECT count(*) FROM records") == [(50,)]


@in_reactor
async def test_reads_that_are_running_are_answered_before_the_end(open_store: Opener) -> None:
    store = open_store()
    reads = [store.log.read([LOBBY], limit=5) for _ in range(20)]
    closed = store.database.close()
    assert await wait_all(reads) == [[]] * 20
    await wait(closed)


@in_reactor
async def test_a_read_that_nobody_waits_for_counts_until_it_is_done(open_store: Opener) -> None:
    """Else those who ask and leave could pile up reads without a bound."""
    store = open_store(max_waiting=3)
    go_on = Event()
    reads = [store.database.read(lambda _: go_on.wait(PATIENCE)) for _ in range(3)]
    for read in reads:
        read.cancel()
        read.addErrback(lambda failure: failure.trap(CancelledError))
    await refused(store.log.newest(), StorageUnavailable)
    go_on.set()
    await wait(store.database.write(lambda _: None))
    while store.database.readers.reading:
        await wait(store.database.write(lambda _: None))
    assert await wait(store.log.newest()) == {}


@in_reactor
async def test_few_results_wait_for_the_reactor(open_store: Opener) -> None:
    """While it is busy the threads would fill the memory with the results of all that wait."""
    store = open_store()
    done: list[int] = []
    reads = [store.database.read(lambda _: done.append(1)) for _ in range(5 * UNDER_WAY)]
    # The reactor takes no result here, so that no other read has its turn.
    assert store.database.readers.waiting == 4 * UNDER_WAY
    await wait_all(reads)
    assert len(done) == 5 * UNDER_WAY


@in_reactor
async def test_a_read_sees_one_moment(store: Store) -> None:
    looked, said = Event(), Event()

    def look_twice(connection: Connection) -> list[object]:
        count = text("SELECT count(*) FROM records")
        before = connection.execute(count).scalar()
        looked.set()
        assert said.wait(PATIENCE)
        return [before, connection.execute(count).scalar()]

    read = store.database.read(look_twice)
    await wait(store.database.write(lambda _: looked.wait(PATIENCE)))
    await wait(store.log.append(draft()))
    said.set()
    assert await wait(read) == [0, 0]
    assert await wait(store.log.newest()) == {LOBBY: 1}
