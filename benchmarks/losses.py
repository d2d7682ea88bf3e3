"""Where others are better: found in the figures, so that nobody has to want to say it.

What it is: `found`, a sentence for each comparison that the daemon loses.

What it may know: which figures of which case are better when they are smaller.

Invariant: all comparisons of the list are made; none is left out because of its result.
"""

from __future__ import annotations

from collections.abc import Collection

import attrs

from benchmarks.goals import Cases, Spread, figures, kinds, ratios
from benchmarks.plan import is_ours
from benchmarks.tables import NAMES, number

#: Who speaks Bayeux, too.
BAYEUX = ("faye", "cometd")


@attrs.frozen
class Comparison:
    """One figure of one case.

    :param groups: the keys by which like is compared with like.
    :param what: in words, with the groups' values where ``{}`` is.
    :param more: whether more is better.
    :param ours: the daemon's name there.
    :param beside: those who do the same; all of them unless it is said.
    """

    case: str
    key: str
    groups: tuple[str, ...]
    what: str
    more: bool = False
    ours: str = "comet"
    beside: Collection[str] = ()


COMPARISONS = [
    Comparison("fanout", "cpu_us", ("size",), "CPU a delivery to {:,} streams"),
    Comparison("fanout", "post_us", ("size",), "CPU of a post that nobody reads, at {:,} streams"),
    Comparison(
        "fanout", "first_ms", ("size",), "time until the first of {:,} streams has a message"
    ),
    Comparison("fanout", "last_ms", ("size",), "time until the last of {:,} streams has a message"),
    Comparison(
        "flood", "deliveries_s", ("size",), "deliveries a second to {:,} streams", more=True
    ),
    Comparison("memory", "bytes", ("transport",), "memory of an idle `{}`"),
    Comparison("lone", "cpu_us", ("readers",), "CPU of a lone post that {:,} read"),
    Comparison("lone", "answered_ms", ("readers",), "until a lone post that {:,} read is answered"),
    Comparison("lone", "first_ms", ("readers",), "until the first of {:,} readers has a lone post"),
    Comparison("lone", "last_ms", ("readers",), "until the last of {:,} readers has a lone post"),
    Comparison("accept", "cpu_us", ("who",), "CPU of accept and head of a stream {}"),
    *(
        Comparison(
            "mixed",
            f"{share}_ms",
            ("streams",),
            f"{share} of the delay of polls beside {{:,}} streams",
        )
        for share in ("p50", "p99")
    ),
    Comparison("heartbeat", "percent", ("streams",), "CPU of heartbeats for {:,} streams"),
    Comparison("poll", "fast_cycle_us", ("size",), "CPU a poll cycle, {:,} clients"),
    Comparison("poll", "cycle_us", ("size",), "the same at leisure, {:,} clients"),
    Comparison("poll", "deliveries_s", ("size",), "deliveries a second by {:,} polls", more=True),
    *(
        Comparison(
            "poll",
            key,
            ("size",),
            f"CPU a Bayeux poll cycle {where} {how}, {{:,}} clients",
            ours=ours,
            beside=BAYEUX,
        )
        for ours, where in (
            ("comet, Bayeux", "in a room"),
            ("comet, Bayeux free channel", "on a free channel"),
        )
        for key, how in (("fast_cycle_us", "flat out"), ("cycle_us", "at leisure"))
    ),
    Comparison("posts", "posts_s", ("posters",), "durable posts a second, {:,} posters", more=True),
    *(
        Comparison("bayeux", key, ("size", "transport"), f"{what} {where}", more, ours)
        for ours, where in (
            ("comet, room", "in a room, {:,} clients by {}"),
            ("comet, free channel", "on a free channel, {:,} clients by {}"),
        )
        for key, what, more in (
            ("deliveries_s", "Bayeux deliveries a second", True),
            ("cpu_us", "CPU a Bayeux delivery", False),
            ("p50_ms", "p50 of the delay of a Bayeux delivery", False),
            ("p99_ms", "p99 of the delay of a Bayeux delivery", False),
        )
    ),
]


def found(cases: Cases) -> list[str]:
    """A sentence for each loss, by what is compared."""
    lines = []
    for each in COMPARISONS:
        for values in kinds(cases, each.case, *each.groups):
            if None not in values and (lost := _lost(cases, each, values)):
                lines.append(f"{each.what.format(*values)}: {lost}")
    return lines


def _lost(cases: Cases, each: Comparison, values: tuple[object, ...]) -> str:
    """Who is better in this, and by how much."""
    wanted = dict(zip(each.groups, values, strict=True))
    ours = figures(cases, each.case, each.key, server=each.ours, **wanted)
    better = []
    for (server,) in kinds(cases, each.case, "server"):
        theirs = figures(cases, each.case, each.key, server=server, **wanted)
        if is_ours(server) or not ours or not theirs:
            continue
        if each.beside and server not in each.beside:
            continue
        factors = ratios(theirs, ours) if each.more else ratios(ours, theirs)
        if factors and (middle := Spread.of(factors).middle) > 1:
            better.append(f"{NAMES[server]} {number(middle)} x better")
    return ", ".join(better)
