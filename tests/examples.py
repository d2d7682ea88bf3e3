"""How many examples hypothesis tries of each property.

What it is: all of them in ``make test``, and wherever pytest is called by hand; a quarter of them
in ``make check``, which is for every change, and tries others each time.

What it may know: nothing of what is tried.

Invariant: the property is the same, and what was once found to fail is tried first, by both.
"""

from __future__ import annotations

import os

#: As ``make check`` sets it.
_FEW = os.environ.get("EXAMPLES") == "few"


def examples(count: int) -> int:
    """How many to try of a property.

    :param count: how many are tried in all.
    """
    return max(count // 4, 10) if _FEW else count
