"""Case 3, second half: what heartbeats for many idle streams cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.plan import Plan, Sample, filled
from benchmarks.servers import nchan
from benchmarks.servers.server import Server

STREAMS = 10_000

#: Seconds between heartbeats, our default; a window is one period, in which each stream beats once.
PERIOD = 15


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of processor use in percent of one core; all servers in the same window, since they
    are idle but for this."""
    streams = plan.count(STREAMS)
    with ExitStack() as stack:
        servers: list[Server] = [plan.comet("stream"), nchan.Nchan(ping=PERIOD)]
        all_standing = [filled(stack, server, streams) for server in servers]
        for each in all_standing:
            each.load.call("idle", 2.0)
        for round in range(plan.rounds):
            plan.say(f"heartbeat: {streams} streams, window {round + 1} of {plan.rounds}")
            began, used = time.perf_counter(), [each.running.cpu() for each in all_standing]
            for each in all_standing:
                each.load.begin("idle", PERIOD)
            heard = [each.load.finish() for each in all_standing]
            took = time.perf_counter() - began
            for each, before, found in zip(all_standing, used, heard, strict=True):
                yield {
                    "server": each.server.name,
                    "round": round,
                    "streams": streams,
                    "percent": (each.running.cpu() - before) / took * 100,
                    "beats": found["reads"],
                    "closed": found["closed"],
                }
