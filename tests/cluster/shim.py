"""A server whose clock is wrong, and whose disk is slow: `shim.c`, preloaded.

What it is: `Shim` compiles it and sets its numbers while the server runs.

What it may know: the file of two numbers that both map.

Invariant: nothing of the machine's is changed; only who was started with `environ` feels it.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import attrs

from tests.support import run

SOURCE = Path(__file__).with_name("shim.c")


@attrs.define
class Shim:
    """The numbers, and what makes a program mind them.

    :param directory: of the library and the file with the numbers, which all may read.
    """

    directory: Path
    ahead: float = 0.0
    late: float = 0.0

    @property
    def environ(self) -> Mapping[str, str]:
        """What a program has to have in its environment."""
        return {
            "LD_PRELOAD": str(self.directory / "shim.so"),
            "COMET_CHAT_SHIM": str(self._numbers),
        }

    @property
    def _numbers(self) -> Path:
        return self.directory / "numbers"

    def set(self, *, ahead: float | None = None, late: float | None = None) -> None:
        """From now on.

        :param ahead: seconds by which the clock is ahead of the system's.
        :param late: seconds that a sync takes longer.
        """
        self.ahead = self.ahead if ahead is None else ahead
        self.late = self.late if late is None else late
        packed = struct.pack("=qq", int(self.ahead * 1e6), int(self.late * 1e6))
        # In place: what is mapped is this file.
        with self._numbers.open("r+b" if self._numbers.exists() else "wb") as file:
            file.write(packed)


@contextmanager
def shim() -> Iterator[Shim]:
    """A shim, for as long as it is needed."""
    directory = Path(tempfile.mkdtemp(prefix="comet-chat-shim-"))
    try:
        directory.chmod(0o755)
        made = Shim(directory)
        made.set()
        (directory / "shim.so").write_bytes(_library())
        yield made
    finally:
        shutil.rmtree(directory)


@cache
def _library() -> bytes:
    """The library, compiled once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "shim.so")
        status, _, error = run(
            "cc", "-shared", "-fPIC", "-O2", "-o", str(made), str(SOURCE), "-ldl"
        )
        assert status == 0, error
        return made.read_bytes()
