"""What many streams would take, on paper: a table from constants that were measured.

What it is: `Constants`, `Load` and `Need`, and the table of `docs/scaling.md`, which this writes:
``python -m benchmarks.model``. So does a run of the benchmark.

What it may know: arithmetic, the figures of the benchmark.

Invariant: no figure here is a measurement but the constants, and each says where it is from.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import attrs

from benchmarks import results

#: Where the table is.
PAGE = Path(__file__).parent.parent / "docs/scaling.md"

#: How the line below the table begins.
_ENDS = "To follow one log takes each process"

#: Nodes of which one follows what is posted at another.
_NODES = 3


@attrs.frozen
class Constants:
    """What was measured, in seconds of a processor or in bytes.

    :param delivery: of an event to a stream; `docs/performance.md`, 5,000 streams.
    :param post: of a lone post that nobody reads; the same.
    :param heartbeat: of a stream, each second; the same, at one each 15 s.
    :param record: of a record that a process follows; the same, `following`.
    :param bell: of a commit that a process is told of; the same.
    :param stream: of a stream with its session, in the process.
    :param kernel: of its socket, in the kernel.
    :param lock: for which a commit holds the log's lock, without the disk and the records.
    :param row: for which it does for each record.
    :param flush: for which it does for the disk: not measured here but supposed, as an ordinary
        disk or a network volume has it.
    :param busy: the share of a processor that a process may use, to be quick all the same.
    """

    delivery: float = 10.2e-6
    post: float = 540e-6
    heartbeat: float = 1.72e-2 / 10_000
    record: float = 10e-6
    bell: float = 140e-6
    stream: float = 1561
    kernel: float = 4500
    lock: float = 150e-6
    row: float = 8e-6
    flush: float = 1e-3
    busy: float = 0.6


def following(cases: Mapping[str, Any]) -> Constants:
    """The constants, with what a node needs to follow another as the benchmark found it: with one
    poster each record has a bell of its own, with many a bell has some records.

    :param cases: its figures; without those of several nodes the constants stay.
    """
    rounds = cases.get("nodes", {}).get("samples", ())
    found = [each for each in rounds if each.get("nodes") == _NODES and "lone_follow_us" in each]
    if not found:
        return Constants()
    many, batch, lone, alone = (
        median(each[name] for each in found)
        for name in ("follow_us", "follow_batch", "lone_follow_us", "lone_follow_batch")
    )
    # lone = record + bell / alone, and many = record + bell / batch.
    bell = max(lone - many, 0.0) / (1 / alone - 1 / batch) if batch > alone else 0.0
    record = max(many - bell / batch, 0.0)
    return Constants(record=record * 1e-6, bell=bell * 1e-6)


@attrs.frozen
class Load:
    """What is asked for.

    :param streams: held at a time.
    :param pause: seconds from a message of somebody's to their next one.
    :param room: how many read a message.
    :param cells: how many logs the rooms are spread over.
    """

    streams: float
    pause: float
    room: int
    cells: int = 1


@attrs.frozen
class Need:
    """What that takes."""

    load: Load
    constants: Constants

    @property
    def posts(self) -> float:
        """A second, over all cells."""
        return self.load.streams / self.load.pause

    @property
    def deliveries(self) -> float:
        """A second, over all cells."""
        return self.posts * self.load.room

    @property
    def posts_a_commit(self) -> float:
        """So many that the lock of a cell is held for two thirds of the time, and at least one."""
        posts, each = self.posts / self.load.cells, self.constants
        idle = 2 / 3 - each.row * posts
        return max(1.0, posts * (each.lock + each.flush) / idle) if idle > 0 else float("inf")

    @property
    def commits(self) -> float:
        """A second, of a cell."""
        return self.posts / self.load.cells / self.posts_a_commit

    @property
    def following(self) -> float:
        """The share of a processor that each process uses to follow its cell's log."""
        posts = self.posts / self.load.cells
        return posts * self.constants.record + self.commits * self.constants.bell

    @property
    def processes(self) -> int | None:
        """Over all cells; None where following alone takes all that a process may use."""
        each = self.constants
        left = each.busy - self.following
        if left <= 0:
            return None
        work = (
            self.deliveries * each.delivery
            + self.posts * each.post
            + self.load.streams * each.heartbeat
        )
        return ceil(work / left)

    @property
    def memory(self) -> float:
        """Bytes, with the kernel's."""
        return self.load.streams * (self.constants.stream + self.constants.kernel)


#: A million, ten and a hundred, in which everybody says something each half hour or five minutes.
LOADS = (
    Load(1e6, 1800, 100),
    Load(1e6, 300, 100),
    Load(1e6, 300, 1000),
    Load(1e7, 1800, 100),
    Load(1e7, 300, 100),
    Load(1e7, 300, 100, 8),
    Load(1e8, 1800, 100, 8),
    Load(1e8, 300, 100, 64),
)

HEADS = (
    "streams",
    "everybody speaks each",
    "in a room read",
    "cells",
    "posts/s",
    "deliveries/s",
    "commits/s of a cell (posts in each)",
    "following takes of a process",
    "processes",
    "memory",
)


def row(need: Need) -> list[str]:
    """A line of the table."""
    load = need.load
    return [
        f"{load.streams / 1e6:.0f} M",
        f"{load.pause / 60:.0f} min",
        f"{load.room:,}",
        f"{load.cells}",
        f"{need.posts:,.0f}",
        f"{need.deliveries:,.0f}",
        f"{need.commits:,.0f} ({need.posts_a_commit:,.0f})",
        f"{need.following * 100:.0f} %",
        "no number is enough" if need.processes is None else f"{need.processes:,}",
        f"{need.memory / 1e9:,.0f} GB",
    ]


def table(constants: Constants | None = None) -> str:
    """The table, in Markdown.

    :param constants: by default what was measured.
    """
    rows = [HEADS, ["---"] * len(HEADS)]
    known = constants or measured()
    rows += [row(Need(load, known)) for load in LOADS]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def measured() -> Constants:
    """What was measured."""
    return following(results.load(results.RESULTS)["cases"])


def ends(constants: Constants | None = None) -> str:
    """The line below the table: where one log ends."""
    known = constants or measured()
    few, many = (Need(Load(posts * 300.0, 300, 100), known).following for posts in (10_000, 33_000))
    shares = f"{few * 100:.0f} % of a core at 10,000 posts a second, {many * 100:.0f} % at 33,000"
    return f"{_ENDS} {shares}."


def write(page: Path = PAGE) -> None:
    """Put the table and the line below it into the page, in the place of those that are there."""
    lines = page.read_text().split("\n")
    begin = next(n for n, line in enumerate(lines) if line.startswith(f"| {HEADS[0]} |"))
    end = next(n for n in range(begin, len(lines)) if lines[n].startswith(_ENDS))
    lines[begin : end + 1] = [*table().split("\n"), "", ends()]
    page.write_text("\n".join(lines))


if __name__ == "__main__":
    write()
    print(table())
