"""``python -m benchmarks``: run cases, write their figures, then the page about them.

What it is: the command line.

What it may know: the cases by their names.

Invariant: figures are written after each case, so that a later one that fails loses nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from benchmarks import profiling, report, results
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkFailed, raise_open_file_limit
from benchmarks.servers import faye, nchan, optional, python
from benchmarks.servers.server import SCRATCH

#: In the order in which they run.
CASES = (
    "fanout",
    "lone",
    "accept",
    "mixed",
    "others",
    "flood",
    "memory",
    "heartbeat",
    "poll",
    "bayeux",
    "posts",
    "restart",
    "startup",
)


def main() -> None:
    """Do what the command line says."""
    given = arguments()
    raise_open_file_limit()
    # A signal shall end what was started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by SIGTERM"))
    absolute_python_path()
    plan = Plan(given.rounds, given.scale, tuple(given.comet.split()))
    shutil.rmtree(SCRATCH, ignore_errors=True)
    try:
        if given.profile:
            profiling.run(plan, given.cases)
        else:
            measure(plan, given.cases, given.results)
    except BenchmarkFailed as error:
        sys.exit(f"benchmark: {error}\nWhat the servers printed is in {SCRATCH}.")
    shutil.rmtree(SCRATCH, ignore_errors=True)


def arguments() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    add = parser.add_argument
    add("--cases", default=",".join(CASES), help="separated by commas; by default all")
    add("--rounds", type=int, default=7, help="how often everything is measured, in turn")
    add("--scale", type=float, default=1.0, help="multiplies all counts of clients, for a trial")
    add("--comet", default="", help="more options for our daemon")
    add("--results", type=Path, default=results.RESULTS, help="the file of raw figures")
    add("--profile", action="store_true", help="show where the daemon's time goes instead")
    given = parser.parse_args()
    given.cases = [case for case in given.cases.split(",") if case]
    if unknown := set(given.cases) - set(CASES):
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    return given


def measure(plan: Plan, cases: list[str], path: Path) -> None:
    """Run the cases and write figures; the page only for the committed file."""
    missing = [nchan.missing(), faye.missing(), *map(python.missing, ("aiohttp", "tornado"))]
    if any(missing):
        raise BenchmarkFailed("; ".join(filter(None, missing)))
    for title, version in optional.versions().items():
        plan.say(f"{title}: {version}")
    for name in cases:
        case = importlib.import_module(f"benchmarks.cases.{name}")
        began = time.monotonic()
        samples = list(case.run(plan))
        found = results.load(path)
        found["machine"] = results.machine()
        found["cases"][name] = results.case_of(plan, samples, time.monotonic() - began)
        results.save(path, found)
        plan.say(f"{name}: {len(samples)} samples in {time.monotonic() - began:.0f} s")
    if path.resolve() == results.RESULTS.resolve():
        report.write(results.load(path))


def absolute_python_path() -> None:
    """Servers run in directories of their own, where a relative path means something else."""
    given = os.environ.get("PYTHONPATH", "")
    absolute = [str(Path(path).resolve()) for path in given.split(os.pathsep) if path]
    if absolute:
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute)


if __name__ == "__main__":
    main()
