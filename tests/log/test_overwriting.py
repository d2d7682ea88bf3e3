"""What was deleted is gone from the disk: from the file, and from its write-ahead log."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import insert

from cometd_chat.log.redaction import Restoration
from cometd_chat.log.tables import records
from tests.log.battery.test_redaction import redaction
from tests.log.support import LOBBY, Opener, Store, draft, in_reactor, wait, wait_all

#: One that fits into a page, and one that takes several.
TEXTS = ("xyzzy, and nothing else", "xyzzy " + "plugh " * 5000)


def found_on_disk(folder: Path, word: bytes = b"xyzzy") -> list[str]:
    """The files in which a word is."""
    return sorted(path.name for path in folder.iterdir() if word in path.read_bytes())


@pytest.mark.parametrize("text", TEXTS, ids=["short", "long"])
@in_reactor
async def test_what_is_taken_out_is_in_no_file(store: Store, text: str) -> None:
    await wait_all([store.log.append(draft(f"{n}")) for n in range(50)])
    record = await wait(store.log.append(draft(text)))
    await wait_all([store.log.append(draft(f"{n}")) for n in range(50)])
    assert found_on_disk(store.folder) == ["chat.sqlite-wal"]
    await wait(store.log.redact(redaction(record.id)))
    assert found_on_disk(store.folder) == []


@in_reactor
async def test_after_a_restart_too(open_store: Opener) -> None:
    store = open_store()
    record = await wait(store.log.append(draft(TEXTS[1])))
    await wait(store.close())
    assert found_on_disk(store.folder) == ["chat.sqlite"]
    store = open_store()
    await wait(store.log.redact(redaction(record.id)))
    assert found_on_disk(store.folder) == []


@in_reactor
async def test_what_is_hidden_is_once_it_is_erased(store: Store) -> None:
    for text in TEXTS:
        await wait(store.log.append(draft(text)))
    await wait(store.log.redact(redaction(1, 2, purge="p")))
    assert found_on_disk(store.folder) != []
    await wait(store.log.erase("p", 1))
    assert found_on_disk(store.folder) != []
    await wait(store.log.erase("p", 1))
    assert found_on_disk(store.folder) == []


@in_reactor
async def test_what_was_hidden_and_is_deleted_then(store: Store) -> None:
    await wait(store.log.append(draft(TEXTS[0])))
    await wait(store.log.redact(redaction(1, purge="p")))
    await wait(store.log.redact(redaction(1)))
    assert found_on_disk(store.folder) == []


@in_reactor
async def test_what_was_brought_back_and_is_deleted_then(store: Store) -> None:
    await wait(store.log.append(draft(TEXTS[1])))
    await wait(store.log.redact(redaction(1, purge="p")))
    await wait(store.log.restore(Restoration(LOBBY, "p", 9, "restore", "m", "mod")))
    await wait(store.log.redact(redaction(1)))
    assert found_on_disk(store.folder) == []


@in_reactor
async def test_somebody_who_reads_holds_up_nobody(store: Store) -> None:
    """While they read what was before, it has to be there; then it goes by itself."""
    record = await wait(store.log.append(draft(TEXTS[0])))
    reader = sqlite3.connect(store.database.path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM records").fetchone() == (1,)
    await wait(store.log.redact(redaction(record.id)))
    await wait(store.log.append(draft("the next one")))
    assert found_on_disk(store.folder) != []
    reader.execute("COMMIT")
    reader.close()
    while found_on_disk(store.folder):
        # Each takes as long as a commit does.
        await wait(store.log.append(draft("and another one")))


@in_reactor
async def test_though_the_log_is_full(open_store: Opener) -> None:
    store = open_store(max_bytes=1)
    row = {
        "id": 1,
        "context": LOBBY,
        "type": "message",
        "sender": "s1",
        "author": "alice",
        "data": '{"text":"xyzzy"}',
        "at": 0,
    }
    store.database.write_now(lambda connection: connection.execute(insert(records), row))
    assert await wait(store.log.redact(redaction(1))) == [1]
    assert found_on_disk(store.folder) == []
    assert store.log.last_id == 2
