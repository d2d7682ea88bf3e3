"""Case 6: thousands of clients that come back at once after the daemon was killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.load.prober import Prober
from benchmarks.load.remote import Remote
from benchmarks.load.streams import Streams
from benchmarks.plan import Plan, Sample
from benchmarks.processes import Running
from benchmarks.servers.comet import EVENTS, Comet, cursor, session, sessions
from benchmarks.waits import CALM, EVERY, LIMIT, percentiles, questions
from benchmarks.wire import ask, bearer, connect, exchange, get

CLIENTS = 10_000

#: Messages that each of them misses.
BEHIND = 50

#: Connections that are on their way at once; a listening socket's queue holds 4,096.
AT_ONCE = 4000


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of seconds until all are level, and of what others wait meanwhile."""
    clients = plan.count(CLIENTS)
    server = plan.comet("stream")
    with ExitStack() as stack:
        running = server.start()
        stack.callback(lambda: running.stop())
        plan.say(f"restart: {clients} sessions are made")
        tokens = sessions(running.address, [f"client{n}" for n in range(clients)])
        prober = session(running.address, "prober")
        for round in range(plan.rounds):
            plan.say(f"restart: {clients} clients, round {round + 1} of {plan.rounds}")
            since = miss(server, running)
            server.kill(running)
            running = server.start_again()
            yield {"server": server.name, "round": round, **storm(running, tokens, since, prober)}


def miss(server: Comet, running: Running) -> str:
    """Publish what the clients miss; where they have come to before."""
    since = cursor(running.address)
    with connect(running.address) as stream:
        for _ in range(BEHIND):
            exchange(stream, server.publish(b""))
    return since


def storm(running: Running, tokens: list[str], since: str, prober: str) -> Sample:
    """All come back; somebody else goes on asking."""
    with (
        Remote(Streams, running.address) as load,
        Remote(Prober, running.address) as other,
    ):
        calm = other.call("run", questions(prober), EVERY, CALM)
        other.begin("run", questions(prober), EVERY, LIMIT)
        time.sleep(0.2)
        used = running.cpu()
        requests = [get(f"{EVENTS}/stream?cursor={since}", bearer(token)) for token in tokens]
        found = load.call("come_back", requests, BEHIND, AT_ONCE)
        used = running.cpu() - used
        other.tell("stop")
        busy = other.finish()
    ask(running.address, get("/healthz"))
    return {
        "clients": len(tokens),
        "ready_s": running.took,
        "half_s": found["half"],
        "level_s": found["all"],
        "cpu_us": used / len(tokens) * 1e6,
        **percentiles("calm", calm),
        **percentiles("busy", busy),
    }
