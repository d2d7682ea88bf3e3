"""``comet-chat copy``: from a file into PostgreSQL and back, whatever stops it."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Integer,
    LargeBinary,
    Table,
    Text,
    insert,
    select,
    update,
)

from cometd_chat.copy_command import run
from cometd_chat.errors import StorageUnavailable
from cometd_chat.log import copying
from cometd_chat.log.directory import PositionRow, RoomRow, SessionRow
from cometd_chat.log.tables import metadata, secrets
from tests.log.postgresql_support import Cluster
from tests.log.support import block, draft, in_reactor, open_store, plant_empty, wait
from tests.log.test_postgresql_database import make
from tests.postgresql import PASSWORD
from tests.support import PATIENCE

TABLES = {
    "records": "id, context, type, sender, author, data, refers, client_id, at",
    "epochs": "number, epoch, first_id",
    "positions": "session, room, node, position",
    **{
        name: ", ".join(f'"{column.name}"' for column in metadata.tables[name].columns)
        for name in (
            *("sessions", "rooms", "members", "invites", "codes", "policies", "room_members"),
            *("sanctions", "ignored", "audit", "reports", "purges", "hidden", "compatibility"),
        )
    },
}


def a_row(table: Table, number: int) -> dict[str, Any]:
    """One with something in each column."""
    values = {
        Boolean: True,
        LargeBinary: bytes([number]),
        BigInteger: 7 + number,
        Integer: 7 + number,
        Text: f"it is {number}",
    }
    return {column.name: values[type(column.type)] for column in table.columns}


def keep_key(connection: Connection) -> None:
    """The key by which the networks of sanctions are hashed."""
    connection.execute(insert(secrets), {"name": "networks", "value": b"k" * 32})


def fill_all(connection: Connection) -> None:
    """Something in each table that people are in, and that the oldest release is another one."""
    for table in metadata.sorted_tables:
        if table.name == "compatibility":
            connection.execute(update(table).values(oldest="0007"))
        elif table.name in TABLES and not connection.execute(select(table)).first():
            connection.execute(insert(table), [a_row(table, number) for number in (1, 2)])


def content(query: Callable[[str], Any]) -> dict[str, list[tuple[Any, ...]]]:
    """All that is kept, in some order."""
    tables = {**TABLES, "secrets WHERE name = 'networks'": "name, value"}
    return {
        table: sorted(map(tuple, query(f"SELECT {columns} FROM {table}")), key=repr)
        for table, columns in tables.items()
    }


def of_file(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(folder / "chat.sqlite")) as connection:
        return content(lambda sql: connection.execute(sql).fetchall())


def of_server(url: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(url) as connection:
        return content(lambda sql: connection.execute(sql).fetchall())


@pytest.fixture(scope="module")
def left_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which something was said, in two epochs; nobody changes it."""
    folder = tmp_path_factory.mktemp("left") / "data"
    folder.mkdir(mode=0o700)
    (folder / "secret").write_bytes(b"f" * 32)
    plant_empty(folder / "chat.sqlite")
    for start in (1, 2):
        names = iter([f"epoch{start}"])
        store = open_store(folder / "chat.sqlite", new_epoch=lambda names=names: next(names))
        for number in range(60):
            said = draft(f"{start} {number} \u2028 \U0001f600", client_id=f"c{start}-{number}")
            store.log.append(said)
        row = SessionRow(
            f"{start:024}", bytes([start]) * 32, "A", f"a{start}", "guest", 1, 2**45, f"a{start}"
        )
        store.directory.add_session(row)
        store.directory.add_room(RoomRow(f"r{start}", "topic", row.id, 5))
        block(store.directory.put_positions([PositionRow(row.id, "lobby", 40 * start)]))
        block(store.database.write(fill_all))
        if start == 1:
            block(store.database.write(keep_key))
        block(store.close())
        # As one that was put back: the next start begins an epoch.
        (folder / "chat.sqlite.high-water").unlink()
    return folder


@pytest.fixture
def folder(left_folder: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(left_folder, tmp_path / "data")


def said(capfd: pytest.CaptureFixture[str]) -> str:
    return capfd.readouterr().err


def test_all_is_copied_into_postgresql_and_back(
    folder: Path, tmp_path: Path, empty_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["--from", f"sqlite:{folder}", "--to", empty_url], page=50) == 0
    before = of_file(folder)
    assert len(before["records"]) == 120
    assert [row[1] for row in before["epochs"]] == ["epoch1", "epoch2"]
    assert of_server(empty_url) == before
    told = said(capfd)
    assert "120 of 120 (100 %)" in told
    assert "copied 120 records" in told
    assert PASSWORD not in told
    back = tmp_path / "back"
    assert run(["--from", empty_url, "--to", f"sqlite:{back}"], page=7) == 0
    assert of_file(back) == before
    assert (back / "secret").read_bytes() == b"f" * 32
    assert (back / "secret").stat().st_mode & 0o777 == 0o600


@in_reactor
async def test_what_was_copied_goes_on(folder: Path, cluster: Cluster) -> None:
    """Cursors are good, what was said is known by its key, and ids go on."""
    assert run(["--from", f"sqlite:{folder}", "--to", cluster.url]) == 0
    log = cluster.open().log
    assert [
        log.position(cursor) for cursor in ("7.epoch1", "60.epoch1", "61.epoch2", "120.epoch2")
    ] == [
        7,
        60,
        61,
        120,
    ]
    assert log.position("61.epoch1") is None
    again = await wait(log.append(draft("1 5 \u2028 \U0001f600", client_id="c1-5")))
    assert (again.id, again.repeated) == (6, True)
    # The log is another one than that from which it was copied, and its epoch begins with an id of
    # nothing.
    assert (await wait(log.append(draft("next")))).id == 122


class Stop(Exception):
    """Whatever it is that stops a copy."""


@pytest.mark.parametrize("pages", [0, 1, 2, 4, 5])
@in_reactor
async def test_a_copy_that_was_stopped_goes_on(
    folder: Path,
    database_url: str,
    pages: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    left = pages

    def told(self: object, progress: copying.Progress) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop

    command = ["--from", f"sqlite:{folder}", "--to", database_url]
    with monkeypatch.context() as patch:
        patch.setattr("cometd_chat.copy_command._Told.__call__", told)
        with pytest.raises(Stop):
            run(command, page=25)
    assert len(of_server(database_url)["records"]) == min(25 * pages, 120)
    # No daemon starts on that.
    with pytest.raises(StorageUnavailable, match="half a copy"):
        make(database_url).open()
    assert run(["--from", database_url, "--to", f"sqlite:{folder.parent}/other"]) == 1
    assert "half a copy" in said(capfd)
    assert run(command, page=25) == 0
    assert of_server(database_url) == of_file(folder)
    database = make(database_url)
    database.open()
    await wait(database.close())


def test_a_copy_that_was_killed_goes_on(folder: Path, empty_url: str) -> None:
    with closing(sqlite3.connect(folder / "chat.sqlite")) as file, file:
        file.executemany(
            "INSERT INTO records (id, context, type, sender, author, data, at)"
            " VALUES (?, '/chat/lobby', 'message', 's', 'a', '{}', 1)",
            [(id,) for id in range(121, 20_001)],
        )
    arguments = ["--from", f"sqlite:{folder}", "--to", empty_url]
    program = f"from cometd_chat.copy_command import run; run({arguments!r}, page=20)"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        deadline = time.monotonic() + PATIENCE
        with psycopg.connect(empty_url, autocommit=True) as connection:

            def copied() -> int:
                there = connection.execute("SELECT to_regclass('records')").fetchone()
                if there == (None,):
                    return 0
                (last,) = connection.execute("SELECT max(id) FROM records").fetchone() or (0,)
                return int(last or 0)

            while not copied() and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert 0 < copied() < 20_000, "it was killed in the middle"
    assert run(arguments) == 0
    assert of_server(empty_url) == of_file(folder)


def test_a_target_that_has_something_is_refused(
    folder: Path, tmp_path: Path, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["--from", f"sqlite:{folder}", "--to", database_url]
    assert run(command) == 0
    said(capfd)
    assert run(command) == 1
    assert "something in it already" in said(capfd)
    assert of_server(database_url) == of_file(folder)
    assert run(["--from", database_url, "--to", f"sqlite:{folder}"]) == 1
    assert "something in it already" in said(capfd)


def test_half_a_copy_of_something_else_is_refused(
    folder: Path, tmp_path: Path, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    database = make(database_url)
    database.prepare()
    database.close()
    mark = "INSERT INTO secrets (name, value) VALUES ('half-a-copy', 'other')"
    with psycopg.connect(database_url) as connection:
        connection.execute(mark)
    assert run(["--from", f"sqlite:{folder}", "--to", database_url]) == 1
    assert "something else" in said(capfd)


def test_a_file_that_a_daemon_uses_is_refused(
    folder: Path, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    with (folder / "lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(["--from", f"sqlite:{folder}", "--to", database_url]) == 1
    told = said(capfd)
    assert "--from" in told
    assert "4711" in told


def test_a_server_that_daemons_use_is_refused(
    folder: Path, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    database = make(database_url)
    database.prepare()
    database.close()
    node = (
        "INSERT INTO nodes (name, peer, version, lease_until) "
        "VALUES ('chat-1', '', '1', extract(epoch FROM now()) * 1000 + {})"
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(node.format(15_000))
        assert run(["--from", f"sqlite:{folder}", "--to", database_url]) == 1
        assert "chat-1" in said(capfd)
        connection.execute("DELETE FROM nodes")
        connection.execute(node.format(-1))
    assert run(["--from", f"sqlite:{folder}", "--to", database_url]) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "wanted"),
    [
        ([], 2, "--from"),
        (["--from", "sqlite:x"], 2, "--to"),
        (["--from", "sqlite:x", "--to", "sqlite:x"], 2, "what is copied from"),
        (["--from", "mysql://a:s3cret@b/c", "--to", "sqlite:x"], 1, "postgresql://"),
        (["--from", "sqlite:/no/such", "--to", "sqlite:x"], 1, "no chat.sqlite in /no/such"),
        (["--frm", "sqlite:x"], 2, "frm"),
    ],
)
def test_what_makes_no_sense_is_a_sentence(
    arguments: list[str], status: int, wanted: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == status
    told = said(capfd)
    assert wanted in told
    assert told.count("\n") == 1
    assert "s3cret" not in told
