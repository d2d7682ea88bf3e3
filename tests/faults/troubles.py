"""What is done to all at once: when, and for how long.

What it is: the record by which a reader who is cut off learns whose doing it was.

What it may know: the clock.

Invariant: a trouble is recorded before it is made, and its end after it is over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import attrs

KILL, TERM = "kill -9", "SIGTERM"

#: Those that only some feel: who is behind the link, who comes by the proxy.
LINK, PROXY = "link", "proxy restart"


@attrs.define
class _Trouble:
    kind: str
    began: float
    ended: float = inf


@attrs.define
class Troubles:
    """All troubles of a run."""

    _all: list[_Trouble] = attrs.field(factory=list)

    @contextmanager
    def trouble(self, kind: str) -> Iterator[None]:
        """Make one."""
        made = _Trouble(kind, time.monotonic())
        self._all.append(made)
        yield
        made.ended = time.monotonic()

    def since(self, moment: float, way: str | None = None) -> str | None:
        """What there was at any time since then, the newest of it.

        :param way: what is felt besides the troubles of all.
        """
        felt = (KILL, TERM, way)
        return next(
            (
                each.kind
                for each in reversed(self._all)
                if each.ended >= moment and each.kind in felt
            ),
            None,
        )

    def lengths(self) -> dict[str, list[float]]:
        """Of each kind, how many seconds each took."""
        found: dict[str, list[float]] = {}
        for each in self._all:
            found.setdefault(each.kind, []).append(round(each.ended - each.began, 1))
        return found
