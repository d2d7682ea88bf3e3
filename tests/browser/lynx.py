"""Lynx, as somebody uses it who fills in a form: from field to field by the arrow down.

What it is: `Lynx`, one person's, with their cookies; each form takes a process of its own, in a
terminal that is high enough for every page. It has all its keys from the beginning, and ends by the
last of them: nothing is looked at again and again until it comes.

What it may know: the keys of lynx, `page_forms`. Nothing of the chat.

Invariant: whatever is waited for has a limit, and what was started is stopped.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.browser.page_forms import Field, form_with
from tests.support import PATIENCE, environment

#: Columns and rows of the terminal. No page is higher, so that none is scrolled.
SIZE = (160, 300)

#: What a vt100 is sent: all is cleared; how what follows looks; where it stands.
CLEARED = "\x1b[H\x1b[J"
COLOUR = re.compile(r"\x1b\[[\d;]*m|\x0f|\x1b[()][B0]")
MOVE = re.compile(r"\x1b\[[\d;?]*[A-Za-ln-z]|\x1b[=>]|[\r\n\x08]")


class Lynx:
    """Somebody's browser.

    :param directory: its home.
    """

    def __init__(self, directory: Path) -> None:
        self._home = directory
        self._cookies = directory / "cookies"
        self.page = ""
        # As it comes, but that its cookies outlive it, as people have it who use it daily.
        self._settings = directory / "lynx.cfg"
        self._settings.write_text("INCLUDE:/etc/lynx/lynx.cfg\nPERSISTENT_COOKIES:TRUE\n")

    def send(self, url: str, button: str, fields: Mapping[str, str], about: str, then: str) -> None:
        """Go to a page, fill in the form that has a button, and press that.

        :param fields: what to write, by the names of the fields.
        :param about: see `form_with`.
        :param then: what has to be on the screen after it.
        """
        form = form_with(self._fetch(url), button, about)
        keys, at = [], 0
        for field in form.fields:
            if field.name in fields and field.kind != "button" and _differs(field, fields):
                keys += [*_way(field.stop - at), *_filled(field, fields[field.name])]
                at = field.stop
        last = form.button(button)
        assert last is not None
        # What came is drawn anew. It keeps its cookies when it ends. In a field the two letters are
        # typed: on, until it is none.
        keys += [*_way(last.stop - at), "^J", "^L", *["q", "y", "^I"] * 8]
        script = self._home / "keys"
        script.write_text("".join(f"key {key}\n" for key in keys))
        self._run(url, script, then)

    def _fetch(self, url: str) -> str:
        """The page as lynx is about to get it."""
        kept = self._cookies.read_text() if self._cookies.exists() else ""
        # In Netscape's format, the last two of seven: name and value.
        cookies = "; ".join("=".join(row.split("\t")[-2:]) for row in kept.splitlines())
        where = urlsplit(url)
        connection = HTTPConnection(where.netloc, timeout=PATIENCE)
        path = where.path + (f"?{where.query}" if where.query else "")
        connection.request("GET", path, headers={"Cookie": cookies, "Accept": "text/html"})
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def _run(self, url: str, script: Path, then: str) -> None:
        command = ["lynx", f"-cfg={self._settings}", "-nopause", "-accept_all_cookies"]
        command += [f"-cookie_file={self._cookies}", f"-cookie_save_file={self._cookies}"]
        command += [f"-cmd_script={script}", url]
        # What was there last, drawn once more from its beginning.
        *_, drawn = in_terminal(command, self._home, SIZE).rpartition(CLEARED)
        # Between words it may go on by moving the cursor.
        self.page = MOVE.sub(" ", COLOUR.sub("", drawn))
        wanted = r"\s+".join(re.escape(each) for each in then.split())
        assert re.search(wanted, self.page), f"no {then!r} in:\n{self.page}"


def in_terminal(command: list[str], home: Path, size: tuple[int, int]) -> str:
    """Run a program that ends by itself in a terminal; all that it wrote."""
    ours, its = pty.openpty()
    columns, rows = size
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environ = environment({"HOME": str(home), "TERM": "vt100", "LANG": "C.UTF-8"})
    # pytest-xdist says how large a terminal it has itself, and lynx believes it.
    for variable in ("COLUMNS", "LINES"):
        environ.pop(variable, None)
    written = b""
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environ) as running:
        os.close(its)
        deadline = time.monotonic() + PATIENCE
        while select.select([ours], [], [], max(0, deadline - time.monotonic()))[0]:
            try:
                written += os.read(ours, 65536)
            except OSError:  # Nobody has the other end any more.
                break
        else:
            running.kill()
        os.close(ours)
    assert running.returncode == 0, f"{command} did not end:\n{written!r}"
    return written.decode("utf-8", "replace")


def _way(stops: int) -> list[str]:
    """The keys that go so many links and fields on, or back."""
    return ["Down Arrow" if stops > 0 else "Up Arrow"] * abs(stops)


def _differs(field: Field, fields: Mapping[str, str]) -> bool:
    wanted = fields[field.name]
    if field.kind == "radio":
        return field.value == wanted and not field.on
    if field.kind == "checkbox":
        return field.on != bool(wanted)
    if field.kind == "select":
        return field.options[field.chosen] != wanted
    return True


def _filled(field: Field, wanted: str) -> list[str]:
    """The keys that write something into a field."""
    if field.kind in ("radio", "checkbox"):
        return ["Right Arrow"]
    if field.kind == "select":
        return ["^J", *_way(field.options.index(wanted) - field.chosen), "^J"]
    return ["^U", *("<space>" if each == " " else each for each in wanted)]
