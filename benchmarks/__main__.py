"""``python -m benchmarks``: run cases, write their figures, then the page about them.

What it is: the command line.

What it may know: the cases by their names.

Invariant: figures are written after each case, so that a later one that fails loses nothing; a case
that fails does not keep the others from being measured, but it fails the run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks import profiling, report, results
from benchmarks.bounds import OutOfTime, within
from benchmarks.cases import CASES
from benchmarks.plan import Plan
from benchmarks.processes import BenchmarkFailed, raise_open_file_limit
from benchmarks.progress import Progress, minutes
from benchmarks.servers import faye, nchan, optional, python
from benchmarks.servers.server import SCRATCH
from benchmarks.wanted import GOALS


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
            measure(plan, given.cases, given.results, given.resume)
    except BenchmarkFailed as error:
        sys.exit(f"benchmark: {error}\nWhat the servers printed is in {SCRATCH}.")
    shutil.rmtree(SCRATCH, ignore_errors=True)


def arguments() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    add = parser.add_argument
    add("--cases", default="all", help="separated by commas; all, or goals: those that have goals")
    add("--rounds", type=int, default=7, help="how often everything is measured, in turn")
    add("--scale", type=float, default=1.0, help="multiplies all counts of clients, for a trial")
    add("--comet", default="", help="more options for our daemon")
    add("--results", type=Path, default=results.RESULTS, help="the file of raw figures")
    add("--resume", action="store_true", help="leave out what the file has of this commit")
    add("--profile", action="store_true", help="show where the daemon's time goes instead")
    given = parser.parse_args()
    try:
        given.cases = chosen(given.cases)
    except ValueError as error:
        parser.error(str(error))
    return given


def chosen(given: str) -> list[str]:
    """The cases that are meant, in the order in which they run.

    :raises ValueError: there is no such case.
    """
    groups = {"all": set(CASES), "goals": {goal.case for goal in GOALS}}
    wanted: set[str] = set()
    for name in filter(None, given.split(",")):
        wanted |= groups.get(name, {name})
    if unknown := wanted - set(CASES):
        known = ", ".join([*groups, *CASES])
        raise ValueError(f"no such case: {', '.join(sorted(unknown))}; there are {known}")
    return [case for case in CASES if case in wanted]


def measure(plan: Plan, cases: Sequence[str], path: Path, resume: bool) -> None:
    """Run the cases and write figures; the page only for the committed file.

    :param resume: whether to leave out the cases of which the file has what would be measured.
    :raises BenchmarkFailed: a case failed, or something is not installed.
    """
    missing = [nchan.missing(), faye.missing(), *map(python.missing, ("aiohttp", "tornado"))]
    if any(missing):
        raise BenchmarkFailed("; ".join(filter(None, missing)))
    for title, version in optional.versions().items():
        plan.say(f"{title}: {version}")
    if resume:
        done = results.done(results.load(path), plan)
        plan.say(f"already measured: {', '.join(filter(done.__contains__, cases)) or 'nothing'}")
        cases = [case for case in cases if case not in done]
    expected = {case: CASES[case].seconds(plan.rounds) for case in cases}
    plan = plan.watched(Progress(expected))
    plan.say(
        f"{len(cases)} cases, {plan.rounds} rounds: about {minutes(sum(expected.values()))} min "
        "on a quiet machine"
    )
    failed = [f"{case}: {error}" for case in cases if (error := measure_one(plan, case, path))]
    if path.resolve() == results.RESULTS.resolve():
        report.write(results.load(path))
    if failed:
        raise BenchmarkFailed("\n".join(failed))


def measure_one(plan: Plan, name: str, path: Path) -> str:
    """Run a case and write its figures; what failed, or nothing."""
    bound = CASES[name].bound(plan.rounds)
    commit = results.commit()
    plan.progress.begin(name)
    failed, samples = "", []
    try:
        with within(bound, OutOfTime(f"the case took longer than {bound:.0f} s")):
            case = importlib.import_module(f"benchmarks.cases.{name}")
            samples = list(case.run(plan))
    except BenchmarkFailed as error:
        failed = "\n".join(filter(None, [str(error), error.command]))
    except Exception:
        failed = traceback.format_exc()
    took = plan.progress.end()
    if failed:
        plan.say(f"{name} failed: {failed}")
        return failed
    found = results.load(path)
    found["machine"] = results.machine()
    found["cases"][name] = results.case_of(plan, samples, took, commit)
    results.save(path, found)
    plan.say(f"{name}: {len(samples)} samples in {took:.0f} s")
    return ""


def absolute_python_path() -> None:
    """Servers run in directories of their own, where a relative path means something else."""
    given = os.environ.get("PYTHONPATH", "")
    absolute = [str(Path(path).resolve()) for path in given.split(os.pathsep) if path]
    if absolute:
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute)


if __name__ == "__main__":
    main()
