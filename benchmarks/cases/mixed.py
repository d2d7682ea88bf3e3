"""Case 11: a mixed room. When pollers have a message while it goes to thousands of streams, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

from benchmarks.cases.fanout import json_of, sample_frame
from benchmarks.cases.poll import Polled, PolledComet, PolledNchan
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
    with ExitStack() as stack:
        servers: list[Room] = [PolledComet(options=plan.options), PolledNchan()]
        rooms = [arrived(stack, server, streams, pollers) for server in servers]
        for standing, polls in rooms:
            measured(standing, polls, payload)
        for round in range(plan.rounds):
            plan.say(
                f"mixed: {streams} streams, {pollers} pollers, round {round + 1} of {plan.rounds}"
            )
            for standing, polls in rooms:
                key = {"server": standing.server.name, "streams": streams, "pollers": pollers}
                yield {**key, "round": round, **measured(standing, polls, payload)}


def arrived(stack: ExitStack, server: Room, streams: int, pollers: int) -> tuple[Standing, Remote]:
    """A server whose streams are open and whose pollers are held."""
    standing = filled(stack, server, streams)
    address = standing.running.address
    polls = stack.enter_context(Remote(Pollers, address, server.cycle(address, pollers), pollers))
    polls.call("settle", ARRIVING)
    return standing, polls


def measured(standing: Standing, polls: Remote, payload: bytes) -> Sample:
    """One server, one round."""
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
