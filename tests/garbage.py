"""What is left in circles, looked for now.

What it is: `collect`, for tests of which something goes only then, or that count what is left.

Invariant: what was looked at once is not looked at again. In a process of five thousand tests that
would take a third of a second each time, though the test has made next to nothing.
"""

from __future__ import annotations

import gc


def collect() -> None:
    """Let go of what is left in circles, and take what is there after that for good."""
    gc.collect()
    gc.freeze()
