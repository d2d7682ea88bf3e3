"""Which logs begin an epoch: a new one, and one that was put back to where it had been; no other.

What is put back is put back as people do it: copied over the file, moved into its place, with and
without what lay beside it, after a stop and after a kill.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from cometd_chat.log.high_water import HighWaterMark
from tests.log.support import LOBBY, Opener, Store, draft, heard, in_reactor, wait, wait_all


def names() -> Callable[[], str]:
    """Names of epochs as no other start has them: in earnest they are random."""
    numbers = count(1)
    return lambda: f"new{next(numbers)}"


async def fill(store: Store, number: int) -> list[str]:
    """Say something; the cursors after it."""
    said = await wait_all([store.log.append(draft()) for _ in range(number)])
    return [store.log.cursor(record.id) for record in said]


def back_up(store: Store) -> Path:
    """A copy as the documentation makes it, while the log is open."""
    copy = store.folder / "backup.sqlite"
    with (
        closing(sqlite3.connect(store.database.path)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return copy


def files(store: Store) -> list[Path]:
    """All that lies where the log is, but for the backup."""
    path = store.database.path
    return [each for each in store.folder.iterdir() if each.name.startswith(path.name)]


def copy_over(store: Store, backup: Path) -> None:
    shutil.copyfile(backup, store.database.path)


def move_there(store: Store, backup: Path) -> None:
    other = backup.with_name("other.sqlite")
    shutil.copyfile(backup, other)
    other.replace(store.database.path)


def put_into_an_emptied_place(store: Store, backup: Path) -> None:
    for each in files(store):
        each.unlink()
    shutil.copyfile(backup, store.database.path)


def die(store: Store, to: Path) -> Path:
    """What a kill would leave of an open log at this moment."""
    to.mkdir()
    for each in files(store):
        shutil.copyfile(each, to / each.name)
    return to


class TestGoesOn:
    @in_reactor
    async def test_over_any_number_of_starts(self, open_store: Opener) -> None:
        first = open_store()
        cursors = [first.log.cursor(0), *await fill(first, 2)]
        await first.close()
        for _ in range(3):
            await open_store(new_epoch=names()).close()
        last = open_store(new_epoch=names())
        assert [last.log.position(cursor) for cursor in cursors] == [0, 1, 2]
        assert await fill(last, 1) == ["3.e001"]
        assert last.log.origin == "e001"

    @in_reactor
    async def test_with_what_another_process_has_appended(self, open_store: Opener) -> None:
        """Two that have one file give out cursors that are good at both, also before the other has
        heard of it, and neither begins an epoch because of the other."""
        one, other = open_store(), open_store(new_epoch=names())
        told = heard(other.log)
        (cursor,) = await fill(one, 1)
        assert other.log.last_id == 0
        assert other.log.position(cursor) == 1
        assert await fill(other, 1) == ["2.e001"]
        assert [record.id for record in told] == [2]
        assert one.log.position("2.e001") == 2
        await one.close()
        await other.close()
        assert open_store(new_epoch=names()).log.cursor(3) == "3.e001"

    @in_reactor
    async def test_from_a_release_that_began_an_epoch_with_each_start(
        self, open_store: Opener
    ) -> None:
        first = open_store()
        await fill(first, 4)
        await first.close()
        first.database.high_water.path.unlink()
        with closing(sqlite3.connect(first.database.path)) as other, other:
            rows = [("second", 2), ("nothing", 3), ("third", 3)]
            other.executemany("INSERT INTO epochs (epoch, first_id) VALUES (?, ?)", rows)
        held = ["0.e001", "1.e001", "2.second", "3.third", "4.third"]
        for _ in range(2):
            store = open_store(new_epoch=names())
            assert [store.log.position(cursor) for cursor in held] == [0, 1, 2, 3, 4]
            assert store.log.cursor(5) == "5.new1"
            assert store.log.origin == "e001"
            await store.close()


class TestBegins:
    @pytest.mark.parametrize("restore", [copy_over, move_there, put_into_an_emptied_place])
    @in_reactor
    async def test_when_a_backup_was_restored(
        self, open_store: Opener, restore: Callable[[Store, Path], None]
    ) -> None:
        first = open_store()
        kept = await fill(first, 3)
        backup = back_up(first)
        lost = await fill(first, 2)
        await first.close()
        restore(first, backup)
        second = open_store(new_epoch=names())
        assert [second.log.position(cursor) for cursor in [*kept, *lost]] == [1, 2, 3, None, None]
        new = await fill(second, 4)
        assert [second.log.position(cursor) for cursor in lost] == [None, None]
        await second.close()
        third = open_store(new_epoch=names())
        everything = [third.log.position(cursor) for cursor in [*kept, *lost, *new]]
        assert everything[:5] == [1, 2, 3, None, None]
        assert everything[5:] == [int(cursor.partition(".")[0]) for cursor in new]
        assert third.log.origin == "e001"

    @pytest.mark.parametrize("restore", [copy_over, move_there])
    @in_reactor
    async def test_when_it_was_restored_after_a_kill(
        self, tmp_path: Path, open_store: Opener, restore: Callable[[Store, Path], None]
    ) -> None:
        first = open_store()
        kept = await fill(first, 3)
        backup = back_up(first)
        lost = await fill(first, 1)
        # The write-ahead log goes with the file, as the documentation says.
        folder = die(first, tmp_path / "killed")
        for ending in ("-wal", "-shm"):
            (folder / f"chat.sqlite{ending}").unlink()
        place = folder / "chat.sqlite"
        if restore is move_there:
            shutil.copyfile(backup, folder / "other").replace(place)
        else:
            shutil.copyfile(backup, place)
        second = open_store(f"{folder.name}/chat.sqlite", new_epoch=names())
        assert [second.log.position(cursor) for cursor in [*kept, *lost]] == [1, 2, 3, None]

    @in_reactor
    async def test_when_two_backups_were_restored_one_after_the_other(
        self, tmp_path: Path, open_store: Opener
    ) -> None:
        """The second one is newer than where the log stood by then, and of another history."""
        first = open_store()
        await fill(first, 1)
        old = back_up(first).replace(tmp_path / "old")
        lost = await fill(first, 5)
        new = back_up(first)
        await first.close()
        copy_over(first, old)
        (first.folder / "chat.sqlite.high-water").unlink()
        second = open_store(new_epoch=iter(["oldest"]).__next__)
        other = await fill(second, 2)
        await second.close()
        copy_over(second, new)
        third = open_store(new_epoch=names())
        assert [third.log.position(cursor) for cursor in lost] == [2, 3, 4, 5, 6]
        assert [third.log.position(cursor) for cursor in other] == [None, None]

    @in_reactor
    async def test_in_a_copy_of_the_whole_directory(
        self, tmp_path: Path, open_store: Opener
    ) -> None:
        """It goes another way from now than the one that it was copied from."""
        first = open_store()
        await fill(first, 2)
        await first.close()
        shutil.copytree(first.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("copy"))
        second = open_store("copy/chat.sqlite", new_epoch=names())
        assert await fill(second, 1) == ["3.new1"]

    @in_reactor
    async def test_when_the_whole_directory_was_copied_back_in_place(
        self, tmp_path: Path, open_store: Opener
    ) -> None:
        """With the mark in it, and no file is another one."""
        first = open_store()
        kept = await fill(first, 2)
        await first.close()
        shutil.copytree(first.folder, tmp_path / "copy")
        second = open_store(new_epoch=names())
        lost = await fill(second, 2)
        await second.close()
        for each in files(second):
            each.write_bytes((tmp_path / "copy" / each.name).read_bytes())
            shutil.copystat(tmp_path / "copy" / each.name, each)
        third = open_store(new_epoch=names())
        assert [third.log.position(cursor) for cursor in [*kept, *lost]] == [1, 2, None, None]

    @pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("x" * 200)])
    @in_reactor
    async def test_where_nothing_says_how_far_it_was(
        self, open_store: Opener, spoil: Callable[[Path], object]
    ) -> None:
        first = open_store()
        cursors = await fill(first, 2)
        await first.close()
        spoil(first.database.high_water.path)
        second = open_store(new_epoch=names())
        assert second.log.cursor(3) == "3.new1"
        assert [second.log.position(cursor) for cursor in cursors] == [1, 2]
        await fill(second, 1)
        await second.close()
        assert open_store(new_epoch=names()).log.cursor(4) == "4.new1"


@in_reactor
async def test_ids_that_were_lost_with_a_backup_are_not_given_out_again(
    open_store: Opener,
) -> None:
    first = open_store()
    await fill(first, 2)
    backup = back_up(first)
    await fill(first, 3)
    await first.close()
    copy_over(first, backup)
    second = open_store(new_epoch=names())
    assert second.log.last_id == 5
    assert await fill(second, 1) == ["6.new2"]
    found = await wait(second.log.read([LOBBY], limit=10))
    assert [record.id for record in found] == [1, 2, 6]
    # Nor are those that were lost when it was restored once more, to before that epoch began.
    await second.close()
    copy_over(second, backup)
    third = open_store(new_epoch=names())
    assert third.log.origin == "e001"
    assert (await fill(third, 1))[0].startswith("7.")


@in_reactor
async def test_a_mark_that_can_not_be_written_stops_nothing(open_store: Opener) -> None:
    """It is removed: a log that goes on without it must not be taken for one that was put back,
    nor the other way round."""
    first = open_store()
    await fill(first, 1)
    path = first.database.high_water.path
    await first.close()
    path.unlink()
    path.mkdir()
    second = open_store(new_epoch=names())
    assert await fill(second, 2) == ["2.new1", "3.new1"]
    await second.close()
    path.rmdir()
    assert open_store(new_epoch=names()).log.cursor(4) == "4.new2"


@in_reactor
async def test_nobody_else_can_look_at_the_mark(store: Store) -> None:
    await fill(store, 1)
    path = store.database.high_water.path
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text("ascii").split()[:2] == ["e001", f"{1:020}"]


def test_a_mark_is_never_written_through_a_link(tmp_path: Path) -> None:
    database = tmp_path / "chat.sqlite"
    database.touch()
    mark = HighWaterMark(database)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    mark.path.symlink_to(victim)
    assert mark.look() is None
    mark.note("abcd", 1)
    assert victim.read_text() == "mine"
    assert not os.path.lexists(mark.path)
    mark.note("abcd", 2)
    assert mark.look() is not None
    mark.close()
