"""What holds for every test run.

With ``CI=true`` a skipped test is a failure, and so is a run against the checkout: what is tested
is what a user installs. Quick tests come before those that start daemons and browsers.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

import cometd_chat
from tests.examples import examples
from tests.garbage import collect
from tests.starter import StarterOfMany

#: Fixtures for more than one folder.
pytest_plugins = ["tests.chromium", "tests.databases"]

# Nearly all that is imported and collected stays: to look for garbage among it again and again is a
# quarter of what it takes. It is looked for once, at the end.
gc.disable()

ROOT = Path(__file__).parent.parent
IN_CI = os.environ.get("CI", "") == "true"

#: Tests that take longest, alone or as the many of a file. Each worker of pytest-xdist begins with
#: some of them, since no other can take a part of one. Those that share something dear, such as a
#: daemon that has 20 MB to tell, are better left together.
LONGEST = (
    "cluster/test_cluster.py",
    "faults/test_faults.py",
    "daemon/test_kill.py",
    "daemon/test_hostile.py",
    "bayeux_clients/test_together.py",
    "daemon/test_memory_bounds.py",
    "shown/test_scaling.py",
    "cluster/test_hops.py",
    "cluster/test_effects.py",
    "daemon/test_log_killed.py",
    "daemon/test_nodes_clock.py",
    "daemon/test_vanished.py",
    "test_packaging.py",
    "browser/test_every_form.py",
    "browser/test_client_transports.py",
    "daemon/test_nodes_people.py",
    "daemon/test_gone_unread.py",
)

#: Other tests that start something, in the order in which they run after those in memory.
LATER = ("faults", "cluster", "shown", "daemon", "clients", "browser", "bayeux_clients")

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile(
    "house", deadline=None, derandomize=IN_CI, max_examples=examples(100)
)
hypothesis.settings.load_profile("house")

Item = TypeVar("Item")

skipped: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    if IN_CI and ROOT in Path(cometd_chat.__file__).parents and ".venv" not in cometd_chat.__file__:
        raise pytest.UsageError(
            f"cometd_chat comes from the checkout ({cometd_chat.__file__}); install it, and run "
            "pytest without PYTHONPATH"
        )
    if config.getoption("numprocesses", None):
        starter = StarterOfMany()
        config.add_cleanup(starter.close)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest = sorted(
        (item for item in items if rank(item.path, LONGEST)),
        key=lambda item: rank(item.path, LONGEST),
    )
    others = sorted(
        (item for item in items if not rank(item.path, LONGEST)),
        key=lambda item: rank(item.path, LATER),
    )
    quick = sum(not rank(item.path, LATER) for item in others)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = [*others[:quick], *dealt(longest, others[quick:], workers)]


@cache
def rank(file: Path, names: Sequence[str]) -> int:
    """Which of some names a file has, counted from one; zero for none of them."""
    path = file.relative_to(ROOT / "tests").as_posix()
    return next((n for n, name in enumerate(names, 1) if path.startswith(name)), 0)


def dealt(longest: Sequence[Item], others: Sequence[Item], workers: int) -> list[Item]:
    """So that each worker, which gets the next so many in a row, begins with its share of the
    longest; of the others each has what stands together, since that shares what it starts."""
    found: list[Item] = []
    left = list(others)
    for number in range(workers):
        mine = longest[number::workers]
        size = (len(longest) + len(others) - len(found)) // (workers - number)
        found += [*mine, *left[: size - len(mine)]]
        del left[: size - len(mine)]
    return found


def pytest_collection_finish(session: pytest.Session) -> None:
    # Thousands of tests stay to the end, but classes that attrs has made anew are still among their
    # parents' subclasses.
    collect()
    gc.enable()
    # A test leaves the whole of a site behind, which goes in circles: to look for a tenth of one is
    # in vain, and was a tenth of what tests in memory take.
    gc.set_threshold(20_000)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
        skipped.append(f"{report.nodeid}: {reason}")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        skipped.append(f"{report.nodeid}: {report.longreprtext}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if IN_CI and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if IN_CI and skipped:
        terminalreporter.section("skipped tests count as failures here", red=True)
        for line in skipped:
            terminalreporter.write_line(line)
