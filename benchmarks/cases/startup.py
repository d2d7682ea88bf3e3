"""Case 7: how long the daemon takes to start, and what it takes when nobody is there."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.plan import Plan, Sample

#: Seconds of looking at an idle daemon.
IDLE = 4.0


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of start-up time, idle processor use and memory."""
    for round in range(plan.rounds):
        plan.say(f"startup: round {round + 1} of {plan.rounds}")
        server = plan.comet()
        with server.start() as running:
            first = running.took
            time.sleep(1.0)
            used, began = running.cpu(), time.perf_counter()
            time.sleep(IDLE)
            percent = (running.cpu() - used) / (time.perf_counter() - began) * 100
            memory = running.memory()
        with server.start_again() as running:
            again = running.took
        yield {
            "server": server.name,
            "round": round,
            "first_start_s": first,
            "start_s": again,
            "idle_percent": percent,
            "memory_mib": memory / 2**20,
        }
