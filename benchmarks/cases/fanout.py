"""Case 1: one message at a time to many streams. What a delivery costs, how soon it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from benchmarks.field import Field, enter_filled
from benchmarks.plan import Plan, Sample, Standing, cost, median
from benchmarks.servers import nchan, python
from benchmarks.servers.optional import taking_part
from benchmarks.servers.server import Server
from benchmarks.wire import MARK

SIZES = (100, 1000, 5000, 15_000)

#: The largest number of streams that peers besides Nchan are asked to hold.
PEERS_UP_TO = 5000

#: Seconds between all having a message and the next one: each stands alone.
PAUSE = 0.003

#: How often the same post is sent to nobody, at least.
QUIET_POSTS = 50


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of CPU a delivery and of latency, by server and number of streams."""
    frame = sample_frame(plan)
    payload = json_of(frame)
    for size in SIZES:
        streams = plan.count(size)
        servers: list[Server] = [*plan.comets(), python.floor(frame), nchan.Nchan()]
        if size <= PEERS_UP_TO:
            servers += [python.aiohttp(), *taking_part("fanout")]
        times = max(6, min(150, 50_000 // streams))
        quiet = max(times, QUIET_POSTS)
        measure = partial(measured, payload=payload, streams=streams, times=times, quiet=quiet)
        with Field[Standing](plan, f"fanout: {streams} streams", {"size": size}) as field:
            for server in servers:
                enter_filled(field, server, streams)
            field.once(partial(measured, payload=payload, streams=streams, times=2, quiet=2))
            field.warm_up(measure, "cpu_us")
            yield from field.rounds(measure)


def measured(each: Standing, payload: bytes, streams: int, times: int, quiet: int) -> Sample:
    """One server, one round: messages to all its streams, then the same to nobody."""
    each.load.call("fan_out", each.server.publish(payload), 1, PAUSE, True)
    loud, used = cost(
        each.running, each.load, "fan_out", each.server.publish(payload), times, PAUSE, True
    )
    deaf = each.server.publish_to_nobody(payload)
    _, spent = cost(each.running, each.load, "fan_out", deaf, quiet, PAUSE, False)
    deliveries = streams * times
    a_post = spent / quiet
    return {
        "streams": streams,
        "messages": times,
        "cpu_us": used / deliveries * 1e6,
        "net_us": (used - a_post * times) / deliveries * 1e6,
        "post_us": a_post * 1e6,
        "first_ms": median(loud["first"]),
        "last_ms": median(loud["last"]),
        "last_ms_max": max(loud["last"]),
        "answered_ms": median(loud["answered"]),
        "client_us": loud["client"] / deliveries * 1e6,
    }


def sample_frame(plan: Plan) -> bytes:
    """The bytes by which our daemon delivers the message, for the floor to send."""
    server = plan.comet()
    with server.start() as running:
        return server.sample(running.address)


def json_of(frame: bytes) -> bytes:
    """The event in a frame of server-sent events, for peers to publish."""
    (found,) = [
        line.partition(b":")[2].strip()
        for line in frame.splitlines()
        if line.startswith(b"data:") and MARK in line
    ]
    json.loads(found)
    return found
