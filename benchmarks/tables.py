"""Tables of the page: figures as text.

What it is: how a spread is written, and a Markdown table of a case.

What it may know: the keys of samples.

Invariant: every figure is a median with its quartiles; what was not measured is a dash.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.goals import Cases, Spread, figures, samples

#: A column: its heading, the key of a sample, and by how much it is multiplied.
Column = tuple[str, str, float]

#: What servers are called on the page.
NAMES = {
    "comet": "Comet Chat",
    "comet, both off": "Comet Chat, short cuts off",
    "comet, Bayeux": "Comet Chat, Bayeux",
    "floor": "bare `socket.send`",
    "nchan": "Nchan",
    "faye": "Faye",
    "sse_aiohttp": "aiohttp",
    "longpoll_tornado": "Tornado",
    "no fsync": "Comet Chat, fsync off",
    "bare commit": "bare SQLite commit",
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


def of_case(cases: Cases, case: str, group: str, head: str, columns: Sequence[Column]) -> str:
    """A row a group and server.

    :param group: the key by which rows are grouped, such as the number of streams.
    :param head: its heading.
    """
    rows = []
    keys = dict.fromkeys((each.get(group), each["server"]) for each in samples(cases, case))
    for value, server in sorted(keys, key=lambda key: _place(key[0])):
        cells = []
        for _, key, factor in columns:
            wanted = {"server": server, group: value} if group else {"server": server}
            found = [factor * each for each in figures(cases, case, key, **wanted)]
            cells.append(spread(Spread.of(found)) if found else "-")
        rows.append([_named(value), NAMES[server], *cells])
    return table([head, "server", *(heading for heading, _, _ in columns)], rows)


def _place(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _named(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"`{value}`" if value else ""
