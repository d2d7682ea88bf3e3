"""One conversation, whatever dies: thirty faults of all kinds at clusters of three, in three runs.

``make faults`` makes five hundred, and longer ones. With ``SEED`` they are the same runs again."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.cluster.faults import FAULTS
from tests.cluster.people import Numbers
from tests.cluster.run import Size, run_of_faults
from tests.transport_paths import NAMES

RUNS, READERS = 3, 6


def size(number: int) -> Size:
    """Of a run. Each fault lasts for a seventh of what it may, and there is half a second at most
    between two; each kind is made for sure in one of the runs, and each transport is one by which
    somebody comes home in two."""
    return Size(
        faults=10,
        pause=0.5,
        brevity=0.15,
        surely=tuple(FAULTS)[number::RUNS],
        numbers=Numbers(readers=READERS, bayeux=2, visitors=1, turned=number * READERS),
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", range(RUNS))
def test_ten_faults(tmp_path: Path, number: int) -> None:
    seed = os.environ.get("SEED") or str(random.randrange(2**32))
    verdict = run_of_faults(tmp_path, seed, size(number))
    assert not verdict.violations, str(verdict)
    assert "10 faults" in verdict.summary


def test_the_runs_make_all_kinds() -> None:
    sizes = [size(number) for number in range(RUNS)]
    assert {name for each in sizes for name in each.surely} == set(FAULTS)
    home = {NAMES[(each.numbers.turned + n) % len(NAMES)] for each in sizes for n in range(READERS)}
    assert home == set(NAMES)


def test_the_table_has_all_that_there_is() -> None:
    assert all(fault.weight > 0 and fault.cause.__doc__ for fault in FAULTS.values())
    assert all(fault.longest >= fault.shortest for fault in FAULTS.values())
