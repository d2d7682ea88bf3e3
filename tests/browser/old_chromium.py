"""A Chromium of spring 2023, driven by playwright like the new one.

What it is: `unpack` makes a program of what the package of npm holds; `OldChromium` opens pages in
it, `PlaywrightPage` looks at one, and acts in it as a person would.

What it may know: the package, which is made for another use and has the program compressed.

Invariant: it is unpacked once, whoever else wants it at the same time.
"""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.scripted import ENTER, ESCAPE, ScriptedPage
from tests.browser.tabs import Window
from tests.support import ROOT

_PACKAGE = ROOT / "tests/node_modules/@sparticuz/chromium"

#: Python's standard library does not know this compression; Node's does.
_UNPACK = """
const { createReadStream, createWriteStream } = require("node:fs");
const { pipeline } = require("node:stream");
const { createBrotliDecompress } = require("node:zlib");
const [from, to] = process.argv.slice(1);
pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to), (problem) => {
  if (problem) throw problem;
});
"""

#: How playwright calls keys that WebDriver has characters for.
_KEYS = {ENTER: "Enter", ESCAPE: "Escape"}


def unpack() -> Path:
    """The program."""
    program, packed = _PACKAGE / "chromium", _PACKAGE / "bin/chromium.br"
    with packed.open("rb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        if not program.exists():
            half = program.with_suffix(".half")
            subprocess.run(["node", "-e", _UNPACK, str(packed), str(half)], check=True)
            half.chmod(0o755)
            half.rename(program)
    return program


class OldChromium:
    """A window.

    :param browser: as it was started.
    """

    def __init__(self, browser: Browser) -> None:
        self.window = Window(browser.new_context())

    def open(self, url: str) -> PlaywrightPage:
        """A new tab with a page that has loaded."""
        page = PlaywrightPage(self.window.page())
        page.go(url)
        return page


class PlaywrightPage(ScriptedPage):
    """A tab."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def go(self, url: str) -> None:
        self._page.goto(url)

    def back(self) -> None:
        self._page.go_back()

    def forward(self) -> None:
        self._page.go_forward()

    def close(self) -> None:
        self._page.close()

    def evaluate(self, expression: str, *arguments: str) -> Any:
        return self._page.evaluate(f"async (args) => ({expression}) ?? null", list(arguments))

    def wait(self, expression: str, *arguments: str) -> None:
        # Goes on over to the next page, as the inherited one can't here.
        self._page.wait_for_function(f"(args) => ({expression})", arg=list(arguments))

    def press(self, selector: str) -> None:
        self._page.click(selector)

    def write(self, text: str) -> None:
        for key in text:
            self._page.keyboard.press(_KEYS.get(key, key))
