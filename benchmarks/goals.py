"""What is to be reached, and whether it is: computed from the figures, never asserted.

What it is: `Goal`, `GOALS`, and how values of one round become ratios of that round.

What it may know: the keys of samples.

Invariant: a ratio's two sides come from the same round of the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from benchmarks.plan import Sample, quantile

Cases = dict[str, Any]


@attrs.frozen
class Spread:
    """A median and its quartiles."""

    low: float
    middle: float
    high: float
    count: int

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of at least one value."""
        low, middle, high = (quantile(values, share) for share in (0.25, 0.5, 0.75))
        return cls(low, middle, high, len(values))


@attrs.frozen
class Goal:
    """Something to reach.

    :param case: where it is measured.
    :param values: one a round, from all cases.
    :param limit: what the median shall not pass.
    :param aim: what would be better still, if there is such a thing.
    :param at_least: whether more is better.
    """

    case: str
    name: str
    unit: str
    values: Callable[[Cases], list[float]]
    limit: float
    aim: float | None = None
    at_least: bool = False

    def spread(self, cases: Cases) -> Spread | None:
        """What was found, or nothing where it was not measured."""
        values = self.values(cases)
        return Spread.of(values) if values else None

    def verdict(self, found: Spread) -> str:
        """In a word."""
        if self.aim is not None and self._good(found.middle, self.aim):
            return "reached, the aim too"
        if self._good(found.middle, self.limit):
            return "reached"
        return f"**missed** by {abs(found.middle / self.limit - 1) * 100:.0f} %"

    def _good(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit


def samples(cases: Cases, case: str, **wanted: object) -> list[Sample]:
    """The samples of a case that have these values, in the order of rounds."""
    return [
        sample
        for sample in cases.get(case, {}).get("samples", [])
        if all(sample.get(key) == value for key, value in wanted.items())
    ]


def figures(cases: Cases, case: str, key: str, **wanted: object) -> list[float]:
    """One figure of these samples."""
    return [float(sample[key]) for sample in samples(cases, case, **wanted) if key in sample]


def kinds(cases: Cases, case: str, *keys: str) -> list[tuple[Any, ...]]:
    """What the samples of a case are told apart by, as each first comes.

    :returns: the values of these keys, `None` for one that a sample has not: a case may measure
        several things, each with keys of its own.
    """
    return list(
        dict.fromkeys(tuple(each.get(key) for key in keys) for each in samples(cases, case))
    )


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Round by round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=False) if other]


def ratio(
    case: str, key: str, other: str, ours: str = "comet", **wanted: object
) -> Callable[[Cases], list[float]]:
    """Our figure over that of another server, in each round."""

    def values(cases: Cases) -> list[float]:
        mine = figures(cases, case, key, server=ours, **wanted)
        return ratios(mine, figures(cases, case, key, server=other, **wanted))

    return values


def growth(cases: Cases) -> list[float]:
    """In each round, the largest over the smallest of the ratios to the floor, over the numbers of
    streams, after what the same posts cost with no reader is taken off."""
    sizes = [size for (size,) in kinds(cases, "fanout", "size") if size is not None]
    by_size = [ratio("fanout", "net_us", "floor", size=size)(cases) for size in sizes]
    return [max(found) / min(found) for found in zip(*by_size, strict=False)]


def of_one(key: str, what: str, count: int, cases: Cases) -> list[float]:
    """In each round a figure of several nodes or workers, over that of a single one."""
    several = figures(cases, "nodes", key, **{what: count})
    return ratios(several, figures(cases, "nodes", key, **{what: 1}))


def best(values: list[float]) -> list[float]:
    """The least of them alone."""
    return [min(values)] if values else []


def own(
    case: str,
    key: str,
    name: str,
    unit: str,
    limit: float,
    aim: float | None = None,
    at_least: bool = False,
    **wanted: object,
) -> Goal:
    """A goal for a figure of ours alone."""
    return Goal(
        case,
        name,
        unit,
        lambda cases: figures(cases, case, key, server="comet", **wanted),
        limit,
        aim,
        at_least,
    )


def against(
    case: str,
    key: str,
    other: str,
    name: str,
    limit: float,
    aim: float | None = None,
    at_least: bool = False,
    ours: str = "comet",
    **wanted: object,
) -> Goal:
    """A goal for a figure of ours over that of another server."""
    return Goal(case, name, "x", ratio(case, key, other, ours, **wanted), limit, aim, at_least)
