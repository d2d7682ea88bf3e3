"""Case 2: publishing flat out. How many deliveries a second, and whether any is lost."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.cases.fanout import json_of, sample_frame
from benchmarks.field import Field, enter_filled
from benchmarks.plan import Plan, Sample, Standing, cost, quantile
from benchmarks.servers import nchan, python
from benchmarks.servers.server import Server

SIZES = (1000, 5000)

#: Posters that each send the next post when the last one is answered.
POSTERS = 64

SECONDS = 1.5


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of deliveries a second, by server and number of streams."""
    frame = sample_frame(plan)
    payload = json_of(frame)
    for size in SIZES:
        streams = plan.count(size)
        servers: list[Server] = [
            plan.comet(),
            python.floor(frame),
            nchan.Nchan(),
            python.aiohttp(),
        ]
        measure = partial(measured, payload=payload)
        with Field[Standing](plan, f"flood: {streams} streams", {"size": size}) as field:
            for server in servers:
                enter_filled(field, server, streams)
            yield from field.rounds(measure)


def measured(each: Standing, payload: bytes) -> Sample:
    """One server, one round."""
    requests = [each.server.publish(payload)] * POSTERS
    found, used = cost(each.running, each.load, "flood", requests, SECONDS)
    return {
        "deliveries": found["received"],
        "deliveries_s": found["received"] / found["seconds"],
        "posts_s": found["acknowledged"] / found["posting"],
        "post_p50_ms": quantile(found["waits"], 0.5),
        "post_p99_ms": quantile(found["waits"], 0.99),
        "missing": found["missing"],
        "closed": found["closed"],
        "cpu_us": used / max(1, found["received"]) * 1e6,
        "server_busy": used / found["seconds"],
        "client_busy": found["client"] / found["seconds"],
    }
