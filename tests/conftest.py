"""What holds for every test run.

With ``CI=true`` a skipped test is a failure, and so is a run against the checkout: what is tested
is what a user installs. Quick tests come before those that start daemons and browsers.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import hypothesis
import pytest

import cometd_chat

#: Fixtures for more than one folder.
pytest_plugins = ["tests.chromium"]

ROOT = Path(__file__).parent.parent
IN_CI = os.environ.get("CI", "") == "true"

#: Slower tests, in the order in which they run after the others: those that take longest alone come
#: first, since no other worker can take a part of one.
LATER = (
    "faults/test_faults.py",
    "daemon/test_kill.py",
    "daemon/test_memory_bounds.py",
    "daemon/test_vanished.py",
    "bayeux_clients/test_together.py",
    "browser",
    "bayeux_clients",
    "shown",
    "daemon",
    "clients",
    "faults",
)

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("house", deadline=None, derandomize=IN_CI)
hypothesis.settings.load_profile("house")

skipped: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    if IN_CI and ROOT in Path(cometd_chat.__file__).parents and ".venv" not in cometd_chat.__file__:
        raise pytest.UsageError(
            f"cometd_chat comes from the checkout ({cometd_chat.__file__}); install it, and run "
            "pytest without PYTHONPATH"
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        path = item.path.relative_to(ROOT / "tests").as_posix()
        return next((n for n, name in enumerate(LATER, 1) if path.startswith(name)), 0)

    items.sort(key=rank)


def pytest_collection_finish(session: pytest.Session) -> None:
    # Thousands of tests stay to the end: to look for garbage among them takes a second each time.
    gc.freeze()


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
