"""Tables of the page: figures as text.

What it is: how a spread is written, and a Markdown table of a case.

What it may know: the keys of samples.

Invariant: every figure is a median with its quartiles; what was not measured is a dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from benchmarks.goals import Cases, Spread, figures, kinds

#: A column: its heading, the key of a sample, and by how much it is multiplied.
Column = tuple[str, str, float]

#: What servers are called on the page.
NAMES = {
    "comet": "Comet Chat",
    "comet, both off": "Comet Chat, short cuts off",
    "comet, Bayeux": "Comet Chat, Bayeux",
    "comet, Bayeux free channel": "Comet Chat, Bayeux, free channel",
    "comet, room": "Comet Chat, room",
    "comet, free channel": "Comet Chat, free channel",
    "floor": "bare `socket.send`",
    "nchan": "Nchan",
    "faye": "Faye",
    "cometd": "CometD",
    "grizzly": "Grizzly Comet",
    "tomcat": "Tomcat CometProcessor",
    "centrifugo": "Centrifugo",
    "sse_aiohttp": "aiohttp",
    "longpoll_tornado": "Tornado",
    "no fsync": "Comet Chat, fsync off",
    "comet, PostgreSQL": "Comet Chat, in PostgreSQL",
    "bare commit": "bare SQLite commit",
}


#: Colours that are told apart by those who see few of them, too (Okabe and Ito).
COLOURS = {
    "comet": "#0072B2",
    "comet, both off": "#56B4E9",
    "comet, Bayeux": "#7B5EA7",
    "comet, Bayeux free channel": "#B9A3D6",
    "floor": "#999999",
    "nchan": "#009E73",
    "faye": "#D55E00",
    "cometd": "#8C564B",
    "grizzly": "#B03A2E",
    "tomcat": "#F5B041",
    "centrifugo": "#34495E",
    "sse_aiohttp": "#E69F00",
    "longpoll_tornado": "#CC79A7",
    "no fsync": "#F0E442",
    "comet, PostgreSQL": "#336791",
    "bare commit": "#999999",
}


def number(value: float) -> str:
    """Three digits that count, with commas for thousands."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.005 or not value else f"{value:.4f}"


def spread(found: Spread | None) -> str:
    """The median, and the quartiles in brackets."""
    if found is None:
        return "-"
    if found.count == 1:
        return number(found.middle)
    return f"{number(found.middle)} ({number(found.low)} to {number(found.high)})"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def of_case(cases: Cases, case: str, groups: Mapping[str, str], columns: Sequence[Column]) -> str:
    """A row a group and server.

    :param groups: the keys by which rows are grouped, such as the number of streams, with their
        headings.
    """
    rows = []
    there = kinds(cases, case, *groups, "server")
    for *values, server in sorted(there, key=lambda kind: [*map(_place, kind[:-1])]):
        wanted = dict(zip(groups, values, strict=True))
        cells = []
        for _, key, factor in columns:
            found = [factor * each for each in figures(cases, case, key, server=server, **wanted)]
            cells.append(spread(Spread.of(found)) if found else "-")
        rows.append([*map(named, values), NAMES[server], *cells])
    return table([*groups.values(), "server", *(heading for heading, _, _ in columns)], rows)


def _place(value: object) -> float:
    """Numbers rise; who has none of this comes after those who have one."""
    if value is None:
        return inf
    return float(value) if isinstance(value, (int, float)) else 0.0


def named(value: object) -> str:
    """The value of a group."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"`{value}`" if value else ""
