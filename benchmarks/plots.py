"""The plots of the page: SVG files beside it, by matplotlib.

What it is: `draw`, which writes all of them.

What it may know: figures by the keys of samples; colours.

Invariant: medians, with whiskers to the quartiles; a server has one colour everywhere; the same
figures give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.field import FAILED
from benchmarks.goals import Cases, Spread, figures, samples
from benchmarks.tables import COLOURS, NAMES

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "comet-chat",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "axes.axisbelow": True,
    }
)


def draw(cases: Cases, directory: Path) -> None:
    """Write the plots of the cases that there are."""
    directory.mkdir(parents=True, exist_ok=True)
    if "fanout" in cases:
        lines(cases, "fanout", "cpu_us", "CPU a delivery, µs", directory / "fanout-cpu.svg")
        lines(
            cases, "fanout", "last_ms", "until the last has it, ms", directory / "fanout-last.svg"
        )
    if "flood" in cases:
        bars(cases, "flood", "deliveries_s", "size", "deliveries a second", directory / "flood.svg")
    if "memory" in cases:
        bars(
            cases, "memory", "bytes", "transport", "bytes an idle reader", directory / "memory.svg"
        )
    if "poll" in cases:
        bars(cases, "poll", "fast_cycle_us", "size", "CPU a poll cycle, µs", directory / "poll.svg")
    if "posts" in cases:
        bars(
            cases, "posts", "posts_s", "posters", "durable posts a second", directory / "posts.svg"
        )


def order(cases: Cases, case: str) -> list[str]:
    """The servers of a case, as they first come."""
    return list(
        dict.fromkeys(each["server"] for each in samples(cases, case) if FAILED not in each)
    )


@contextmanager
def figure(path: Path, label: str) -> Iterator[Axes]:
    """A plot that is written at the end."""
    made, axes = pyplot.subplots(figsize=(7.2, 3.6), layout="constrained")
    axes.set_ylabel(label)
    yield axes
    axes.legend(frameon=False)
    made.savefig(path, metadata={"Date": None})
    pyplot.close(made)
    # matplotlib leaves blanks at the ends of lines.
    text = "\n".join(line.rstrip() for line in path.read_text().splitlines())
    path.write_text(text + "\n")


def whiskers(found: Sequence[Spread]) -> list[list[float]]:
    """Distances from the medians to the quartiles."""
    return [[each.middle - each.low for each in found], [each.high - each.middle for each in found]]


def lines(cases: Cases, case: str, key: str, label: str, path: Path) -> None:
    """A figure over the number of streams, on a logarithmic scale; times on one, too."""
    with figure(path, label) as axes:
        for server in order(cases, case):
            sizes = sorted(
                {each["streams"] for each in samples(cases, case, server=server) if key in each}
            )
            found = [
                Spread.of(figures(cases, case, key, server=server, streams=size)) for size in sizes
            ]
            axes.errorbar(
                sizes,
                [each.middle for each in found],
                yerr=whiskers(found),
                label=NAMES[server].replace("`", ""),
                color=COLOURS[server],
                marker="o",
                markersize=4,
                capsize=3,
            )
        axes.set(xscale="log", xlabel="streams")
        if key.endswith("_ms"):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        ticks = sorted({each["streams"] for each in samples(cases, case) if key in each})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")


def bars(cases: Cases, case: str, key: str, group: str, label: str, path: Path) -> None:
    """A figure in groups, a bar a server."""
    groups = list(dict.fromkeys(each[group] for each in samples(cases, case)))
    servers = order(cases, case)
    width = 0.8 / len(servers)
    with figure(path, label) as axes:
        for place, server in enumerate(servers):
            where, found = [], []
            for number, wanted in enumerate(groups):
                if values := figures(cases, case, key, server=server, **{group: wanted}):
                    where.append(number + (place - (len(servers) - 1) / 2) * width)
                    found.append(Spread.of(values))
            axes.bar(
                where,
                [each.middle for each in found],
                width * 0.92,
                yerr=whiskers(found),
                label=NAMES[server].replace("`", ""),
                color=COLOURS[server],
                capsize=3,
            )
        named = [f"{each:,}" if isinstance(each, int) else str(each) for each in groups]
        axes.set_xticks(range(len(groups)), named)
        axes.set_xlabel({"size": "streams" if case == "flood" else "clients"}.get(group, group))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.grid(visible=False, axis="x")
