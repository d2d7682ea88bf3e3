"""The raw figures: one JSON file, and what has to be known about the machine that made them.

What it is: reading and writing `results.json`; a look at machine and versions.

What it may know: files, package metadata.

Invariant: a run of some cases leaves the figures of the others as they are, each case with its own
date, commit and number of rounds.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.plan import Plan, Sample
from benchmarks.processes import CHECKOUT
from benchmarks.servers import optional
from benchmarks.servers.faye import PEERS

RESULTS = Path(__file__).parent / "results.json"

#: What is written by a run, from the checkout's top on.
WRITTEN = ("benchmarks/results.json", "docs/performance.md", "docs/performance", "docs/scaling.md")

#: Digits that are kept of a figure; more would only be noise.
DIGITS = 5


def load(path: Path) -> dict[str, Any]:
    """All figures; empty when there are none yet."""
    if not path.exists():
        return {"machine": {}, "cases": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def save(path: Path, results: dict[str, Any]) -> None:
    """Write them, a sample a line, so that a diff can be read."""
    cases = [f'"{name}": {_lines(case)}' for name, case in sorted(results["cases"].items())]
    machine = json.dumps(results["machine"], indent=1)
    joined = ",\n".join(cases)
    path.write_text(f'{{"machine": {machine},\n"cases": {{\n{joined}\n}}}}\n')


def case_of(plan: Plan, samples: Sequence[Sample], seconds: float, commit: str) -> dict[str, Any]:
    """The figures of one case, and how they came about.

    :param samples: what was measured, and of peers that failed what was seen.
    :param seconds: that the case took.
    :param commit: what was measured.
    """
    return {
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "commit": commit,
        "rounds": plan.rounds,
        "scale": plan.scale,
        "options": list(plan.options),
        "seconds": round(seconds),
        "load": round(os.getloadavg()[1], 2),
        "samples": [{key: _short(value) for key, value in each.items()} for each in samples],
    }


def commit() -> str:
    """What is checked out: the commit, and of changes to it a short hash.

    What `make bench` itself writes is no change, or the second case would be one of another commit
    than the first.
    """
    name = _said("git", "describe", "--always")
    changes = _said("git", "diff", "HEAD", "--", ".", *(f":!{path}" for path in WRITTEN))
    return f"{name}-dirty-{sha256(changes.encode()).hexdigest()[:6]}" if changes else name


def done(results: dict[str, Any], plan: Plan) -> set[str]:
    """The cases of which the file has what this plan would measure."""
    wanted = {
        "commit": commit(),
        "rounds": plan.rounds,
        "scale": plan.scale,
        "options": list(plan.options),
    }
    return {
        name
        for name, case in results["cases"].items()
        if all(case.get(key) == value for key, value in wanted.items())
    }


def machine() -> dict[str, str]:
    """What was measured on, and with which versions."""
    faye = PEERS / "node_modules/faye/package.json"
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Twisted": metadata.version("twisted"),
        "Klein": metadata.version("klein"),
        "aiohttp": _version("aiohttp"),
        "Tornado": _version("tornado"),
        "Nchan": _said("dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"),
        "nginx": _said("dpkg-query", "-W", "-f", "${Version}", "nginx-common"),
        "Faye": json.loads(faye.read_text())["version"] if faye.exists() else "",
        "Node": _said("node", "--version"),
        **optional.versions(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    """A peer's version, or nothing where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _said(*command: str) -> str:
    """What a command prints, or nothing when it can't be run."""
    try:
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30)
    except OSError:
        return ""
    return done.stdout.strip()


def _short(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _lines(case: dict[str, Any]) -> str:
    head = {key: value for key, value in case.items() if key != "samples"}
    samples = ",\n".join(f" {json.dumps(sample)}" for sample in case["samples"])
    return f'{json.dumps(head)[:-1]}, "samples": [\n{samples}\n]}}'
