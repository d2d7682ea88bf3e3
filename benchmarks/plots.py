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
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.axes import Axes

from benchmarks.field import FAILED
from benchmarks.goals import Cases, Spread, figures, kinds, samples
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
    """Write the plots of the figures that there are."""
    directory.mkdir(parents=True, exist_ok=True)
    for plot, case, key, group, label, name in (
        (lines, "fanout", "cpu_us", "streams", "CPU a delivery, µs", "fanout-cpu"),
        (lines, "fanout", "last_ms", "streams", "until the last has it, ms", "fanout-last"),
        (bars, "flood", "deliveries_s", "size", "deliveries a second", "flood"),
        (bars, "memory", "bytes", "transport", "bytes an idle reader", "memory"),
        (bars, "poll", "fast_cycle_us", "size", "CPU a poll cycle, µs", "poll"),
        (bars, "posts", "posts_s", "posters", "durable posts a second", "posts"),
    ):
        if groups := with_figure(cases, case, key, group):
            plot(cases, case, key, group, groups, label, directory / f"{name}.svg")


def with_figure(cases: Cases, case: str, key: str, group: str) -> list[Any]:
    """The values of a group of which there is this figure, as they first come."""
    return [
        value
        for (value,) in kinds(cases, case, group)
        if value is not None and figures(cases, case, key, **{group: value})
    ]


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


def lines(
    cases: Cases, case: str, key: str, group: str, groups: list[int], label: str, path: Path
) -> None:
    """A figure over the number of streams, on a logarithmic scale; times on one, too."""
    with figure(path, label) as axes:
        for server in order(cases, case):
            by_size = {
                size: figures(cases, case, key, server=server, **{group: size})
                for size in sorted(groups)
            }
            sizes = [size for size, values in by_size.items() if values]
            found = [Spread.of(by_size[size]) for size in sizes]
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
        axes.set(xscale="log", xlabel=group)
        if key.endswith("_ms"):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xticks(sorted(groups), [f"{tick:,}" for tick in sorted(groups)])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")


def bars(
    cases: Cases, case: str, key: str, group: str, groups: list[Any], label: str, path: Path
) -> None:
    """A figure in groups, a bar a server."""
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
