"""The documents, and what is in them: blocks that are shown, tables.

What it is: readers of Markdown, as far as ours goes.

What it may know: the files. Not the daemon.

Invariant: what is looked for and not there fails.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from tests.support import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
README, PROTOCOL, OPERATIONS, TRANSPORTS = (
    ROOT / name
    for name in ("README.md", "docs/protocol.md", "docs/operations.md", "docs/transports.md")
)


@attrs.frozen
class Block:
    """A fenced block of a document.

    :param name: what the document says it runs as, or empty.
    """

    language: str
    name: str
    body: str


def blocks(document: Path) -> list[Block]:
    found = re.finditer(
        r"^(?:<!-- runs as: (\S+) -->\n)?```(\w*)\n(.*?)^```$", document.read_text(), re.M | re.S
    )
    return [Block(each[2], each[1] or "", each[3]) for each in found]


def rows(document: Path, heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading."""
    lines = document.read_text().splitlines()
    (start,) = [n for n, line in enumerate(lines) if line.startswith(f"| {heading} |")]
    table: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip().strip("|").split(" | ")])
    return table


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]*)`", cell)
