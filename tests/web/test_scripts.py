"""What the page's scripts may use is a table; each file is in the row that it belongs to."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from typing import Any

from tests.support import ROOT

STATIC = ROOT / "cometd_chat/web/static"
BROWSERS = ROOT / "docs/browsers.md"


@cache
def table() -> list[dict[str, Any]]:
    """The rows that `make scripts` goes by."""
    show = 'import("./oldest.js").then(({ TABLE }) => console.log(JSON.stringify(TABLE)))'
    done = subprocess.run(["node", "-e", show], cwd=ROOT / "tests", capture_output=True, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def imported(name: str) -> set[str]:
    """A script and all that it imports."""
    source = (STATIC / f"{name}.js").read_text()
    needed = re.findall(r'^(?:import|export) \{[^}]*\} from "\./([\w-]+)\.js";$', source, re.M)
    return {name}.union(*map(imported, needed))


def test_the_library_is_one_row_and_its_browsers_the_oldest() -> None:
    rows = table()
    (library,) = [row for row in rows if "comet" in row["files"]]
    assert set(library["files"]) == imported("comet")
    for row in rows:
        for browser, version in row["oldest"].items():
            assert float(version) >= float(library["oldest"][browser.removesuffix("_ios")])


def test_the_page_on_browsers_has_the_same_table() -> None:
    shown = re.findall(r"\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", BROWSERS.read_text(), re.M)
    rows = [row["oldest"] for row in table() if "safari" in row["oldest"]]
    names = ("chrome", "firefox", "safari")
    assert sorted(shown) == sorted(tuple(str(row[name]) for name in names) for row in rows)


def test_each_row_is_about_files_that_there_are() -> None:
    for row in table():
        for name in row["files"]:
            assert name == "*" or (STATIC / f"{name}.js").exists()
