"""Case 11: a mixed room. When pollers have a message while it goes to thousands of streams, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Protocol

import attrs

from benchmarks.cases.fanout import json_of, sample_frame
from benchmarks.cases.poll import Polled, PolledComet, PolledNchan
from benchmarks.field import Field
from benchmarks.load.pollers import Pollers
from benchmarks.load.remote import Remote
from benchmarks.plan import Plan, Sample, Standing, cost, filled, quantile
from benchmarks.servers.server import Server

STREAMS, POLLERS = 5000, 200

#: Posts a second, and how many of them a round: three seconds.
RATE, POSTS = 20, 60

#: Seconds for pollers to be held, and for streams to have what is still on its way.
ARRIVING, AFTERWARDS = 1.0, 10.0


class Room(Polled, Server, Protocol):
    """A server that has streams and polls of the same messages."""


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of milliseconds from a post until pollers have it, by server."""
    payload = json_of(sample_frame(plan))
    streams, pollers = plan.count(STREAMS), plan.count(POLLERS)
    servers: list[Room] = [PolledComet(options=plan.options), PolledNchan()]
    measure = partial(measured, payload=payload)
    title = f"mixed: {streams} streams, {pollers} pollers"
    with Field[Filled](plan, title, {"streams": streams, "pollers": pollers}) as field:
        for server in servers:
            field.enter(server, partial(arrived, server, streams, pollers))
        field.once(measure)
        yield from field.rounds(measure)


@attrs.frozen
class Filled:
    """A server with streams and polls that are held."""

    standing: Standing
    polls: Remote


def arrived(server: Room, streams: int, pollers: int, stack: ExitStack) -> Filled:
    """A server whose streams are open and whose pollers are held."""
    standing = filled(stack, server, streams)
    address = standing.running.address
    polls = stack.enter_context(Remote(Pollers, address, server.cycle(address, pollers), pollers))
    polls.call("settle", ARRIVING)
    return Filled(standing, polls)


def measured(each: Filled, payload: bytes) -> Sample:
    """One server, one round."""
    standing, polls = each.standing, each.polls
    polls.call("settle", 0.1)
    publish, streams = standing.server.publish(payload), standing.load.call("count")
    standing.load.begin("hear", POSTS * streams, POSTS / RATE + AFTERWARDS)
    found, used = cost(standing.running, polls, "steady", publish, POSTS, 1 / RATE)
    heard = standing.load.finish()
    return {
        "p50_ms": quantile(found["waits"], 0.5),
        "p99_ms": quantile(found["waits"], 0.99),
        "server_busy": used / found["seconds"],
        "missing": heard["missing"],
        "client_busy": heard["client"] / heard["seconds"],
        "polls_busy": found["client"] / found["seconds"],
    }
