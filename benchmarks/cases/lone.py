"""Case 9: a lone post. What it costs, and how soon it is answered and read, when nothing else is
going on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.cases.fanout import json_of, sample_frame
from benchmarks.field import Field, enter_filled
from benchmarks.plan import Plan, Sample, Standing, cost, quantile
from benchmarks.servers import nchan, python
from benchmarks.servers.server import Server

#: So few that the post is what costs, and the readers of an ordinary room.
READERS = (1, 100)

#: Posts a round one right after the other, and those between which the server comes to rest.
POSTS, LONELY_POSTS = 200, 40

#: Seconds from all having a message to the next one, in which everything goes to sleep.
REST = 0.02


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of CPU a post and of waits, by server and number of readers."""
    frame = sample_frame(plan)
    payload = json_of(frame)
    for readers in READERS:
        servers: list[Server] = [
            plan.comet(),
            python.floor(frame),
            nchan.Nchan(),
            python.aiohttp(),
        ]
        measure = partial(measured, payload=payload)
        with Field[Standing](plan, f"lone: {readers} readers", {"readers": readers}) as field:
            for server in servers:
                enter_filled(field, server, readers)
            field.once(measure)
            field.warm_up(measure, "cpu_us")
            yield from field.rounds(measure)


def measured(each: Standing, payload: bytes) -> Sample:
    """One server, one round: posts one after the other for the cost, then each alone for the
    waits."""
    publish = each.server.publish(payload)
    _, busy = cost(each.running, each.load, "fan_out", publish, POSTS, 0.0, True)
    alone, used = cost(each.running, each.load, "fan_out", publish, LONELY_POSTS, REST, True)
    return {
        "cpu_us": busy / POSTS * 1e6,
        "lonely_cpu_us": used / LONELY_POSTS * 1e6,
        "answered_ms": quantile(alone["answered"], 0.5),
        "first_ms": quantile(alone["first"], 0.5),
        "first_p99_ms": quantile(alone["first"], 0.99),
        "last_ms": quantile(alone["last"], 0.5),
    }
