"""Programs in terminals, for tests of what is used by its keys.

What it is: `Terminal`, a program in a terminal of its own, which tmux keeps.

What it may know: tmux. Nothing of the chat.

Invariant: whatever is waited for has a limit, and what was started is stopped.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from types import TracebackType

from tests.daemon.talk import wait_until
from tests.support import PATIENCE, environment


class Terminal:
    """A program in a terminal of its own: ``with Terminal(tmp_path, "lynx", url) as lynx: ...``.

    :param directory: its home, and where its terminal's socket is.
    :param size: columns and rows.
    """

    def __init__(self, directory: Path, *arguments: str, size: tuple[int, int] = (100, 40)) -> None:
        self._tmux = ["tmux", "-S", str(directory / "terminal"), "-f", "/dev/null"]
        self._environ = environment({"HOME": str(directory), "TERM": "screen", "LANG": "C.UTF-8"})
        self._environ |= {"EDITOR": str(directory / "editor")}
        # pytest-xdist says how large a terminal it has itself, and lynx believes it.
        for variable in ("COLUMNS", "LINES"):
            self._environ.pop(variable, None)
        columns, rows = map(str, size)
        self._run("new-session", "-d", "-x", columns, "-y", rows, *arguments)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        """Press keys, as tmux calls them."""
        self._run("send-keys", *keys)

    def write(self, text: str) -> None:
        """Type a text."""
        self._run("send-keys", "-l", text)

    @property
    def screen(self) -> str:
        """What can be seen."""
        return self._run("capture-pane", "-p")

    @property
    def seen(self) -> tuple[str, str]:
        """Where the cursor is, and what can be seen."""
        where = self._run("display-message", "-p", "#{cursor_x},#{cursor_y}")
        return where, self.screen

    def shows(self, wanted: str) -> str:
        """Wait until something can be seen, given as a regular expression; the screen."""
        try:
            wait_until(lambda: re.search(wanted, self.screen), wanted)
        except AssertionError as error:
            raise AssertionError(f"{error}; what was seen:\n{self.screen}") from None
        return self.screen

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._run("kill-server")
