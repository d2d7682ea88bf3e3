"""What others wait while the daemon is busy.

What it is: the questions of somebody who was there all the time, and their waits in figures.

What it may know: the daemon's requests.

Invariant: a post is one in a room that nobody else reads, so that it adds next to nothing to what
the daemon is busy with.
"""

from __future__ import annotations

from typing import Any

from benchmarks.plan import quantile
from benchmarks.servers.comet import EVENTS, QUIET, message
from benchmarks.wire import bearer, get, post

#: Something is asked every so many seconds.
EVERY = 0.02

#: Seconds of the same questions when nothing else happens.
CALM = 2.0

#: Seconds after which a prober that is not told to stop does.
LIMIT = 120.0


def questions(token: str) -> dict[str, bytes]:
    """What is asked in turn, by its kind."""
    return {
        "healthz": get("/healthz"),
        "post": post(f"/api/v1/rooms/{QUIET}/messages", message(), bearer(token)),
        "poll": get(f"{EVENTS}/poll?wait=0&rooms={QUIET}", bearer(token)),
    }


def percentiles(when: str, found: dict[str, list[float]]) -> dict[str, Any]:
    """The median and the 99th percentile, of all and by kind of question."""
    everything = [wait for waits in found.values() for wait in waits]
    return {
        f"{when}_p50_ms": quantile(everything, 0.5),
        f"{when}_p99_ms": quantile(everything, 0.99),
        **{f"{when}_{kind}_p50_ms": quantile(waits, 0.5) for kind, waits in found.items()},
        **{f"{when}_{kind}_p99_ms": quantile(waits, 0.99) for kind, waits in found.items()},
    }
