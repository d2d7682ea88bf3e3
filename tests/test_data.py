"""The data directory: who may look into it, and what its files may be."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cometd_chat.daemon.data_directory import SECRET_BYTES, DataDirectory, SecretFile
from cometd_chat.daemon.lifecycle import CannotStart


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    return made


def link(path: Path, aim: Path) -> None:
    path.symlink_to(aim)


def dangling(path: Path, aim: Path) -> None:
    path.symlink_to(aim.with_name("nowhere"))


def directory(path: Path, aim: Path) -> None:
    path.mkdir()


def pipe(path: Path, aim: Path) -> None:
    os.mkfifo(path)


#: What may be in the place of a file of ours.
NO_FILES: tuple[Callable[[Path, Path], None], ...] = (link, dangling, directory, pipe)


class TestTheDirectory:
    def test_one_that_is_missing_is_made_for_us_alone(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            data = DataDirectory(tmp_path / "a" / "data")
            data.startService()
        finally:
            os.umask(before)
        assert mode(data.path) == 0o700
        assert mode(data.path / "lock") == 0o600
        data.stopService()

    def test_one_that_is_ours_alone_is_taken(self, folder: Path) -> None:
        data = DataDirectory(folder)
        data.startService()
        assert (folder / "lock").read_text() == f"{os.getpid()}\n"
        data.stopService()

    @pytest.mark.parametrize("open_to", [0o755, 0o750, 0o705, 0o711, 0o770, 0o701, 0o777, 0o2750])
    def test_one_that_others_can_look_into_is_refused(self, folder: Path, open_to: int) -> None:
        folder.chmod(open_to)
        with pytest.raises(CannotStart) as refusal:
            DataDirectory(folder).startService()
        assert str(refusal.value).startswith(f"--data {folder}: ")
        assert str(refusal.value).endswith(f"chmod 700 {folder}"), "the remedy"
        assert list(folder.iterdir()) == [], "nothing was put into it"
        assert mode(folder) == open_to, "and it was left as it is"

    def test_one_that_a_link_leads_to_is_looked_at_itself(self, folder: Path) -> None:
        """As systemd leads to the state of a dynamic user."""
        way = folder.with_name("way")
        way.symlink_to(folder)
        data = DataDirectory(way)
        data.startService()
        data.stopService()
        folder.chmod(0o755)
        with pytest.raises(CannotStart):
            DataDirectory(way).startService()

    @pytest.mark.parametrize("make", NO_FILES)
    def test_a_lock_that_is_no_file_is_not_opened(
        self, folder: Path, make: Callable[[Path, Path], None]
    ) -> None:
        """What a link leads to would be emptied."""
        aim = folder.with_name("precious")
        aim.write_text("precious")
        make(folder / "lock", aim)
        with pytest.raises(CannotStart, match="lock: a link, or no file"):
            DataDirectory(folder).startService()
        assert aim.read_text() == "precious"
        assert not aim.with_name("nowhere").exists()


class TestTheSecret:
    def test_it_is_made_once(self, folder: Path) -> None:
        first, second = SecretFile(folder / "secret"), SecretFile(folder / "secret")
        first.startService()
        second.startService()
        assert first.key == second.key
        assert len(first.key) == SECRET_BYTES
        assert mode(folder / "secret") == 0o600

    @pytest.mark.parametrize("make", NO_FILES)
    def test_one_that_is_no_file_is_not_read(
        self, folder: Path, make: Callable[[Path, Path], None]
    ) -> None:
        aim = folder.with_name("theirs")
        aim.write_bytes(b"k" * SECRET_BYTES)
        make(folder / "secret", aim)
        secret = SecretFile(folder / "secret")
        with pytest.raises(CannotStart, match="secret: a link, or no file"):
            secret.startService()
        assert secret.key == b""

    @pytest.mark.parametrize("size", [0, SECRET_BYTES - 1, SECRET_BYTES + 1, 100_000])
    def test_one_of_another_size_is_none(self, folder: Path, size: int) -> None:
        (folder / "secret").write_bytes(b"k" * size)
        with pytest.raises(CannotStart, match="not a key of 32 bytes"):
            SecretFile(folder / "secret").startService()

    def test_what_a_kill_left_behind_is_no_key(self, folder: Path) -> None:
        (folder / "secret.new").write_bytes(b"k")
        secret = SecretFile(folder / "secret")
        secret.startService()
        assert len(secret.key) == SECRET_BYTES
        assert not (folder / "secret.new").exists()
