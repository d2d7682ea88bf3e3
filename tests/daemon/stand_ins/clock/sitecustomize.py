"""A clock that can be set: with this folder in its PYTHONPATH a process has one from its start.

The file that the variable AHEAD names says by how many seconds it is ahead of the true time.
"""

import os
import time
from pathlib import Path

_real = time.time


def _now() -> float:
    path = os.environ.get("AHEAD")
    return _real() + (float(Path(path).read_text()) if path is not None else 0.0)


def _now_ns() -> int:
    return int(_now() * 1e9)


time.time, time.time_ns = _now, _now_ns
