"""One conversation, whatever dies: forty faults of all kinds at a cluster of three, in a minute.

``make faults`` makes five hundred, and longer ones. With ``SEED`` it is the same run again."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.cluster.faults import FAULTS
from tests.cluster.run import Size, run_of_faults

#: Each kind comes at least once, lasts for a seventh of what it may, and there is half a second at
#: most between two.
SIZE = Size(faults=40, pause=0.5, brevity=0.15, surely=tuple(FAULTS))


@pytest.mark.slow
def test_forty_faults(tmp_path: Path) -> None:
    seed = os.environ.get("SEED") or str(random.randrange(2**32))
    verdict = run_of_faults(tmp_path, seed, SIZE)
    assert not verdict.violations, str(verdict)
    assert "40 faults" in verdict.summary


def test_the_table_has_all_that_there_is() -> None:
    assert all(fault.weight > 0 and fault.cause.__doc__ for fault in FAULTS.values())
    assert all(fault.longest >= fault.shortest for fault in FAULTS.values())
