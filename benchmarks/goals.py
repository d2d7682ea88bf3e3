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

    :param values: one a round, from all cases.
    :param limit: what the median shall not pass.
    :param aim: what would be better still, if there is such a thing.
    :param at_least: whether more is better.
    """

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
        return "reached" if self._good(found.middle, self.limit) else "**missed**"

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


def ratios(ours: list[float], theirs: list[float]) -> list[float]:
    """Round by round."""
    return [mine / other for mine, other in zip(ours, theirs, strict=False) if other]


def against(case: str, key: str, other: str, **wanted: object) -> Callable[[Cases], list[float]]:
    """Our figure over that of another server, in each round."""

    def values(cases: Cases) -> list[float]:
        ours = figures(cases, case, key, server="comet", **wanted)
        return ratios(ours, figures(cases, case, key, server=other, **wanted))

    return values


def own(case: str, key: str, **wanted: object) -> Callable[[Cases], list[float]]:
    """Our figure in each round."""
    return lambda cases: figures(cases, case, key, server="comet", **wanted)


def growth(cases: Cases) -> list[float]:
    """In each round, the largest over the smallest of the ratios to the floor, over the numbers of
    streams, after what the same posts cost with no reader is taken off."""
    sizes = sorted({sample["size"] for sample in samples(cases, "fanout")})
    by_size = [against("fanout", "net_us", "floor", size=size)(cases) for size in sizes]
    return [max(found) / min(found) for found in zip(*by_size, strict=False)]


def at_5000(other: str) -> Callable[[Cases], list[float]]:
    """CPU a delivery at 5,000 streams over another server's."""
    return against("fanout", "cpu_us", other, size=5000)


GOALS = [
    Goal("CPU a delivery at 5,000 streams, of the floor's", "x", at_5000("floor"), 1.25, 1.1),
    Goal("CPU a delivery at 5,000 streams, of Nchan's", "x", at_5000("nchan"), 1.0),
    Goal("growth of that from 100 to 15,000 streams", "x", growth, 1.2),
    *(
        Goal(
            f"p99 of {what} while messages go to 15,000 streams",
            "ms",
            own("others", f"busy_{kind}_p99_ms"),
            20,
        )
        for kind, what in (("post", "a post"), ("poll", "a poll"))
    ),
    *(
        Goal(
            f"deliveries a second flat out, {size:,} streams, of Nchan's",
            "x",
            against("flood", "deliveries_s", "nchan", size=size),
            3.0,
            5.0,
            at_least=True,
        )
        for size in (1000, 5000)
    ),
    *(
        Goal(
            f"memory of an idle `{transport}` with its session",
            "bytes",
            own("memory", "bytes", transport=transport),
            2048,
            1024,
        )
        for transport in ("frame", "stream", "sse")
    ),
    Goal(
        "memory of an idle `sse` with its session, of Nchan's",
        "x",
        against("memory", "bytes", "nchan", transport="sse"),
        1.0,
    ),
    *(
        Goal(
            f"CPU a poll cycle {how}, {size:,} clients, of Faye's",
            "x",
            against("poll", key, "faye", size=size),
            0.5,
            0.3,
        )
        for how, key in (("flat out", "fast_cycle_us"), ("at leisure", "cycle_us"))
        for size in (200, 1000)
    ),
    Goal(
        "durable posts a second, 64 posters",
        "/s",
        own("posts", "posts_s", posters=64),
        2500,
        at_least=True,
    ),
    Goal(
        "the same, of what it does with fsync off",
        "x",
        against("posts", "posts_s", "no fsync", posters=64),
        0.5,
        at_least=True,
    ),
    Goal(
        "heartbeats for 10,000 idle streams, of one core",
        "%",
        own("heartbeat", "percent"),
        2.0,
    ),
]
