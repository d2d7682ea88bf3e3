"""The data of Unicode, read once.

What it is: lines of the files in ``data/``, which are made of Unicode's own: a line a character or
range of them, and what is said of it. With a new version of Unicode they are made anew, and a
migration makes the keys of names anew (`cometd_chat.lookalikes.keys`).

What it may know: nothing but the form of a line.

Invariant: a character stands in one line at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FOLDER = Path(__file__).with_name("data")


def lines(name: str) -> Iterator[tuple[int, int, str]]:
    """The first and the last code point of each line of a file, and what it says of them."""
    with (_FOLDER / name).open(encoding="utf-8") as file:
        for line in file:
            if line.startswith("#"):
                continue
            points, _, said = line.rstrip("\n").partition(";")
            first, _, last = points.partition("..")
            yield int(first, 16), int(last or first, 16), said
