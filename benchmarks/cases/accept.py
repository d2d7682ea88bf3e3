"""Case 10: accept. What it costs to take a connection, read its request and send the head of a
stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import attrs

from benchmarks.field import Field
from benchmarks.load.remote import Remote
from benchmarks.load.streams import Streams
from benchmarks.plan import BOTH_OFF, Plan, Sample, at_rest, cost
from benchmarks.processes import Running
from benchmarks.servers import nchan, python
from benchmarks.servers.comet import EVENTS, cookies
from benchmarks.servers.server import Server
from benchmarks.wire import cookie, get

#: Streams that are opened a round, and how many of them are on their way at once.
STREAMS, AT_ONCE = 1000, 100

OURS = f"{EVENTS}/sse"

WITH, WITHOUT = "with a session", "without a session"


@attrs.frozen
class Arrivals:
    """A server that runs, and what opens streams there."""

    running: Running
    requests: Sequence[bytes]
    ready: bytes


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of CPU a stream, by server and whether each stream has a session of its own."""
    streams = plan.count(STREAMS)
    peers: list[Server] = [python.floor(b""), nchan.Nchan(), python.aiohttp()]
    with Field[Arrivals](plan, f"accept: {streams} streams", {"streams": streams}) as field:
        enter(field, plan.comet(), WITH, partial(with_sessions, streams))
        for server in plan.comets():
            enter(field, server, WITHOUT, lambda _: [get(OURS)] * streams)
        for server in peers:
            enter(field, server, WITHOUT, partial(subscriptions, server, streams))
        field.once(measured)
        yield from field.rounds(measured)


def enter(
    field: Field[Arrivals], server: Server, who: str, requests: Callable[[Running], Sequence[bytes]]
) -> None:
    """Let a server in, and those who arrive there.

    :param who: whether they have sessions.
    """

    def arrive(stack: ExitStack) -> Arrivals:
        running = stack.enter_context(server.start())
        return Arrivals(running, requests(running), server.ready)

    field.enter(server, arrive, {"who": who}, few=server.name == BOTH_OFF)


def subscriptions(server: Server, streams: int, _running: Running) -> list[bytes]:
    """What opens so many streams of a peer."""
    return [server.subscribe()] * streams


def with_sessions(streams: int, running: Running) -> list[bytes]:
    """What opens so many streams of our daemon, each with a session of its own."""
    pairs = cookies(running.address, [f"reader{n}" for n in range(streams)])
    return [get(OURS, cookie(pair)) for pair in pairs]


def measured(each: Arrivals) -> Sample:
    """One server, one round: all arrive, and are gone when the next one is measured."""
    with Remote(Streams, each.running.address) as load:
        took, used = cost(each.running, load, "open", each.requests, each.ready, AT_ONCE)
    at_rest(each.running)
    return {"cpu_us": used / len(each.requests) * 1e6, "opened_s": len(each.requests) / took}
