"""Case 10: accept. What it costs to take a connection, read its request and send the head of a
stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import attrs

from benchmarks.load.remote import Remote
from benchmarks.load.streams import Streams
from benchmarks.plan import Plan, Sample, at_rest, cost
from benchmarks.processes import Running
from benchmarks.servers import nchan, python
from benchmarks.servers.comet import EVENTS, cookies
from benchmarks.servers.server import Server
from benchmarks.wire import cookie, get

#: Streams that are opened a round, and how many of them are on their way at once.
STREAMS, AT_ONCE = 1000, 100

OURS = f"{EVENTS}/sse"

WITH, WITHOUT = "with a session", "without one"


@attrs.frozen
class Arrivals:
    """A server that runs, and what opens streams there.

    :param who: whether they have sessions.
    """

    server: Server
    running: Running
    who: str
    requests: Sequence[bytes]


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of CPU a stream, by server and whether each stream has a session of its own."""
    streams = plan.count(STREAMS)
    with ExitStack() as stack:
        arrivals = [of_sessions(stack, plan.comet(), streams)]
        arrivals += [of_comet(stack, server, streams) for server in plan.comets()]
        peers: list[Server] = [python.floor(b""), nchan.Nchan(), python.aiohttp()]
        arrivals += [of_peer(stack, server, streams) for server in peers]
        for each in arrivals:
            measured(each)
        for round in range(plan.rounds):
            plan.say(f"accept: {streams} streams, round {round + 1} of {plan.rounds}")
            for each in arrivals:
                key = {"server": each.server.name, "who": each.who, "streams": streams}
                yield {**key, "round": round, **measured(each)}


def of_sessions(stack: ExitStack, server: Server, streams: int) -> Arrivals:
    """Our daemon, and a session for each stream."""
    running = stack.enter_context(server.start())
    pairs = cookies(running.address, [f"reader{n}" for n in range(streams)])
    return Arrivals(server, running, WITH, [get(OURS, cookie(pair)) for pair in pairs])


def of_comet(stack: ExitStack, server: Server, streams: int) -> Arrivals:
    """Our daemon, and people whom nobody knows."""
    running = stack.enter_context(server.start())
    return Arrivals(server, running, WITHOUT, [get(OURS)] * streams)


def of_peer(stack: ExitStack, server: Server, streams: int) -> Arrivals:
    """A peer, which knows nobody."""
    running = stack.enter_context(server.start())
    return Arrivals(server, running, WITHOUT, [server.subscribe()] * streams)


def measured(each: Arrivals) -> Sample:
    """One server, one round: all arrive, and are gone when the next one is measured."""
    with Remote(Streams, each.running.address) as load:
        took, used = cost(each.running, load, "open", each.requests, each.server.ready, AT_ONCE)
    at_rest(each.running)
    return {"cpu_us": used / len(each.requests) * 1e6, "opened_s": len(each.requests) / took}
