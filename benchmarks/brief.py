"""The ten lines at the top of the page, for who is in a hurry.

What it is: `Line`, a comparison in plain words, and `LINES`.

What it may know: cases, the keys of their samples, what servers are called.

Invariant: the other one of a line is the best of all that were measured beside us, whoever that is;
the floor, which is no server, is none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs

from benchmarks.goals import Cases, Spread, figures, ratios, samples
from benchmarks.plan import is_ours
from benchmarks.tables import NAMES, number

#: No server that anybody could use.
NOBODY = ("floor", "bare commit")

#: Ratios nearer to one than this are no difference.
EQUAL = 0.03


@attrs.frozen
class Line:
    """A comparison.

    :param what: in plain words.
    :param where: of the samples that are compared.
    :param more: whether more is better.
    :param ours: what our daemon is called there.
    :param beside: the others that do the same; all of them unless it is said.
    """

    what: str
    case: str
    key: str
    unit: str
    where: Mapping[str, Any]
    more: bool = False
    ours: str = "comet"
    beside: Collection[str] = ()

    def cells(self, cases: Cases) -> list[str]:
        """What, we, the best other, and the ratio."""
        mine = self._figures(cases, self.ours)
        found = f"{number(Spread.of(mine).middle)} {self.unit}" if mine else "not measured"
        best = self._best(cases)
        if best is None or not mine:
            return [self.what, found, "-", "-"]
        theirs = self._figures(cases, best)
        other = f"{NAMES[best]}: {number(Spread.of(theirs).middle)} {self.unit}"
        return [self.what, found, other, self._verdict(mine, theirs)]

    def _figures(self, cases: Cases, server: str) -> list[float]:
        return figures(cases, self.case, self.key, server=server, **self.where)

    def _best(self, cases: Cases) -> str | None:
        """Who is best, but for us."""
        servers: set[str] = {each["server"] for each in samples(cases, self.case, **self.where)}
        middles = {
            server: Spread.of(found).middle
            for server in sorted(servers)
            if not is_ours(server) and server not in NOBODY
            if not self.beside or server in self.beside
            if (found := self._figures(cases, server))
        }
        if not middles:
            return None
        return (max if self.more else min)(middles, key=middles.__getitem__)

    def _verdict(self, mine: list[float], theirs: list[float]) -> str:
        """By how much we are better or worse, round by round."""
        factors = ratios(mine, theirs) if self.more else ratios(theirs, mine)
        middle = Spread.of(factors).middle
        if abs(middle - 1) <= EQUAL:
            return "equal"
        return f"{number(middle)} x better" if middle > 1 else f"{number(1 / middle)} x worse"


LINES = (
    Line(
        "A message to 5,000 readers, processor time a reader",
        "fanout",
        "cpu_us",
        "µs",
        {"size": 5000},
    ),
    Line(
        "Messages that reach 5,000 readers, taken together, when many people talk at once",
        "flood",
        "deliveries_s",
        "a second",
        {"size": 5000},
        more=True,
    ),
    Line(
        "Memory of a reader who just listens",
        "memory",
        "bytes",
        "bytes",
        {"transport": "sse"},
    ),
    Line(
        "A long poll, asked and answered, 1,000 clients, processor time",
        "poll",
        "fast_cycle_us",
        "µs",
        {"size": 1000},
    ),
    Line(
        "The same by the Bayeux protocol, in a room that is kept on disk, 200 clients",
        "poll",
        "fast_cycle_us",
        "µs",
        {"size": 200},
        ours="comet, Bayeux",
        beside=("faye", "cometd"),
    ),
    Line(
        "One message in an empty place, processor time",
        "lone",
        "cpu_us",
        "µs",
        {"readers": 1},
    ),
    Line(
        "Until the first reader has it",
        "lone",
        "first_ms",
        "ms",
        {"readers": 1},
    ),
    Line(
        "A new reader arrives, processor time",
        "accept",
        "cpu_us",
        "µs",
        {"who": "without a session"},
    ),
    Line(
        "Until those who poll have a message that 5,000 streams are told, too",
        "mixed",
        "p50_ms",
        "ms",
        {},
    ),
    Line(
        "Messages that are safe on disk, from 64 people at once",
        "posts",
        "posts_s",
        "a second",
        {"posters": 64},
        more=True,
    ),
)
