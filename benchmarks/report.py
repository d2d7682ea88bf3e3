"""The page about the figures: docs/performance.md and its plots.

What it is: `page`, text from figures, and ``python -m benchmarks.report``, which writes it.

What it may know: the results file.

Invariant: every figure on the page is computed from that file; `--check` fails when the page is
not the file's.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from benchmarks import losses, model, results
from benchmarks.brief import LINES
from benchmarks.field import FAILED
from benchmarks.goals import Cases, Goal, samples
from benchmarks.tables import NAMES, Column, named, of_case, spread, table
from benchmarks.wanted import KEPT, WANTED

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
PLOTS = DOCS / "performance"

#: A load client that is busier than this may have been what held a server up.
BUSY = 0.9

#: The page's words; the figures go where ``{{case}}`` stands.
WORDS = Path(__file__).parent / "page.md"

#: Of each case, the keys by which its rows are grouped with their headings, and its columns.
COLUMNS: dict[str, tuple[dict[str, str], list[Column]]] = {
    "fanout": (
        {"size": "streams"},
        [
            ("CPU a delivery, µs", "cpu_us", 1),
            ("of it beyond the post, µs", "net_us", 1),
            ("CPU of a post at nobody, µs", "post_us", 1),
            ("first has it, ms", "first_ms", 1),
            ("last has it, ms", "last_ms", 1),
            ("load client, µs", "client_us", 1),
        ],
    ),
    "lone": (
        {"readers": "readers"},
        [
            ("CPU a post, one after the other, µs", "cpu_us", 1),
            ("CPU a post after a rest, µs", "lonely_cpu_us", 1),
            ("first has it, ms", "first_ms", 1),
            ("p99, ms", "first_p99_ms", 1),
            ("last has it, ms", "last_ms", 1),
            ("answered, ms", "answered_ms", 1),
        ],
    ),
    "accept": (
        {"who": "who"},
        [("CPU a stream, µs", "cpu_us", 1), ("streams opened a second", "opened_s", 1)],
    ),
    "mixed": (
        {"streams": "streams", "pollers": "pollers"},
        [
            ("pollers have it p50, ms", "p50_ms", 1),
            ("p99, ms", "p99_ms", 1),
            ("missing on streams", "missing", 1),
            ("server busy, %", "server_busy", 100),
            ("client of streams busy, %", "client_busy", 100),
            ("client of polls busy, %", "polls_busy", 100),
        ],
    ),
    "others": (
        {"streams": "streams"},
        [
            ("a post p50, ms", "busy_post_p50_ms", 1),
            ("p99", "busy_post_p99_ms", 1),
            ("a poll p50, ms", "busy_poll_p50_ms", 1),
            ("p99", "busy_poll_p99_ms", 1),
            ("`/healthz` p99, ms", "busy_healthz_p99_ms", 1),
            ("all p50, ms", "busy_p50_ms", 1),
            ("p99", "busy_p99_ms", 1),
            ("p99 in calm, ms", "calm_p99_ms", 1),
        ],
    ),
    "flood": (
        {"size": "streams"},
        [
            ("deliveries a second", "deliveries_s", 1),
            ("posts a second", "posts_s", 1),
            ("post answered p99, ms", "post_p99_ms", 1),
            ("CPU a delivery, µs", "cpu_us", 1),
            ("missing", "missing", 1),
            ("server busy, %", "server_busy", 100),
            ("load client busy, %", "client_busy", 100),
        ],
    ),
    "memory": (
        {"transport": "transport"},
        [
            ("more readers", "readers", 1),
            ("bytes a reader", "bytes", 1),
            ("without its session", "bytes_without_session", 1),
            ("whole process, MiB", "total_mib", 1),
        ],
    ),
    "heartbeat": ({"streams": "streams"}, [("of one core, %", "percent", 1)]),
    "poll": (
        {"size": "clients"},
        [
            ("CPU a cycle flat out, µs", "fast_cycle_us", 1),
            ("at leisure, µs", "cycle_us", 1),
            ("deliveries a second", "deliveries_s", 1),
            ("all have it at leisure, ms", "all_ms", 1),
            ("load client a cycle, µs", "client_us", 1),
            ("load client busy, %", "client_busy", 100),
        ],
    ),
    "bayeux": (
        {"size": "clients", "transport": "transport"},
        [
            ("deliveries a second", "deliveries_s", 1),
            ("CPU a delivery, µs", "cpu_us", 1),
            ("requests a delivery", "connects_a_delivery", 1),
            ("p50, ms", "p50_ms", 1),
            ("p99, ms", "p99_ms", 1),
            ("server busy, %", "server_busy", 100),
            ("load client a delivery, µs", "client_us", 1),
            ("load client busy, %", "client_busy", 100),
        ],
    ),
    "posts": (
        {"posters": "posters"},
        [
            ("posts a second", "posts_s", 1),
            ("posts a commit", "posts_a_commit", 1),
            ("p50, ms", "p50_ms", 1),
            ("p99, ms", "p99_ms", 1),
            ("CPU a post, µs", "cpu_us", 1),
            ("load client busy, %", "client_busy", 100),
        ],
    ),
    "restart": (
        {"clients": "clients"},
        [
            ("process to port, s", "ready_s", 1),
            ("half are level, s", "half_s", 1),
            ("all are level, s", "level_s", 1),
            ("others' p50, ms", "busy_p50_ms", 1),
            ("others' p99, ms", "busy_p99_ms", 1),
            ("p99 in calm, ms", "calm_p99_ms", 1),
            ("CPU a client, µs", "cpu_us", 1),
        ],
    ),
    "nodes": (
        {"nodes": "nodes", "workers": "workers"},
        [
            ("streams", "streams", 1),
            ("CPU a delivery, all nodes, µs", "cpu_us", 1),
            ("a lone post is answered p50, ms", "answered_ms", 1),
            ("all nodes have told it p50, ms", "last_ms", 1),
            ("posts a second, 64 posters", "posts_s", 1),
            ("CPU a record that nobody there reads, µs", "follow_us", 1),
            ("posts that shared a bell", "follow_batch", 1),
            ("the same of one poster, µs", "lone_follow_us", 1),
            ("walk of a fan-out, ms", "walk_ms", 1),
        ],
    ),
    "startup": (
        {},
        [
            ("first start, s", "first_start_s", 1),
            ("later start, s", "start_s", 1),
            ("idle CPU, %", "idle_percent", 1),
            ("memory, MiB", "memory_mib", 1),
        ],
    ),
}


def page(found: dict[str, Any]) -> str:
    """The page for these results."""
    cases: Cases = found["cases"]
    parts = {
        "brief": brief(cases),
        "machine": machine(found),
        "wanted": goals(cases, WANTED),
        "kept": goals(cases, KEPT),
        "losses": lost(cases),
    }
    parts |= {name: section(cases, name) for name in COLUMNS}
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], WORDS.read_text())


def section(cases: Cases, name: str) -> str:
    """The table of a case, and how its figures came about."""
    if name not in cases:
        return "Not measured yet."
    shown = of_case(cases, name, *COLUMNS[name])
    notes = [origin(cases[name]), held_up(cases, name), left(cases, name)]
    return "\n\n".join(filter(None, [shown, *notes]))


def brief(cases: Cases) -> str:
    """Ten lines for who is in a hurry."""
    return table(
        ["what", "Comet Chat", "best other", "we are"], [line.cells(cases) for line in LINES]
    )


def machine(found: dict[str, Any]) -> str:
    """What was measured on."""
    return table(["", ""], [[key, value] for key, value in found["machine"].items() if value])


def goals(cases: Cases, table_of: Sequence[Goal]) -> str:
    """What is to be reached, and what was."""
    rows = []
    for goal in table_of:
        unit = f" {goal.unit}" if goal.unit not in ("", "x") else ""
        wanted = f"{'at least' if goal.at_least else 'at most'} {goal.limit:,g}{unit}"
        if goal.aim is not None:
            wanted += f", aim {goal.aim:,g}"
        found = goal.spread(cases)
        verdict = goal.verdict(found) if found else "not measured"
        rows.append([goal.name, wanted, spread(found), verdict])
    return table(["goal", "wanted", "found: median (quartiles)", "verdict"], rows)


def lost(cases: Cases) -> str:
    """Where others are better."""
    return bullets(losses.found(cases) or ["Nowhere among what was compared."])


def bullets(lines: Iterable[str]) -> str:
    """A Markdown list."""
    return "\n".join(
        fill(f"* {line}", 100, subsequent_indent="  ", break_on_hyphens=False) for line in lines
    )


def origin(case: dict[str, Any]) -> str:
    """How the figures of a case came about."""
    rounds = "one round" if case["rounds"] == 1 else f"{case['rounds']} rounds"
    text = f"{rounds} on {case['when']}, commit {case['commit']}"
    if case["scale"] != 1:
        text += f", **with {case['scale']:g} x the clients**"
    if case["options"]:
        text += f", options `{' '.join(case['options'])}`"
    return f"({text[0].upper()}{text[1:]}.)"


def held_up(cases: Cases, case: str) -> str:
    """Where the load client may have been the bottleneck."""
    busy = {
        NAMES[each["server"]] for each in samples(cases, case) if each.get("client_busy", 0) > BUSY
    }
    if not busy:
        return ""
    return f"The load client was itself at its limit with: {', '.join(sorted(busy))}."


def left(cases: Cases, case: str) -> str:
    """The peers that did not come through: what was seen, and by which command it is seen again."""
    groups, _ = COLUMNS[case]
    seen = []
    for each in samples(cases, case):
        if FAILED not in each:
            continue
        where = ", ".join(
            f"{named(each[key])} {heading}" for key, heading in groups.items() if key in each
        )
        started = f", started by `{each['command']}`" if each.get("command") else ""
        when = f"round {each['round'] + 1}"
        seen.append(f"{NAMES[each['server']]}, {where}, {when}: {each[FAILED]}{started}")
    if not seen:
        return ""
    again = f"make bench CASES={case} RESULTS=again.json"
    if cases[case]["scale"] != 1:
        again += f" SCALE={cases[case]['scale']:g}"
    return (
        f"Did not come through, and left out from there on (again: `{again}`):\n\n{bullets(seen)}"
    )


def write(found: dict[str, Any]) -> None:
    """Write the page and its plots, and the table that is computed from them."""
    from benchmarks import plots  # matplotlib is slow to load and not needed to check a page.

    PAGE.write_text(page(found))
    model.write()
    plots.draw(found["cases"], PLOTS)


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(prog="benchmarks.report", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when it differs")
    given = parser.parse_args()
    found = results.load(results.RESULTS)
    if not given.check:
        write(found)
    elif PAGE.read_text() != page(found):
        sys.exit(
            f"{PAGE.name} is not what {results.RESULTS.name} says: python -m benchmarks.report"
        )


if __name__ == "__main__":
    main()
