"""Case 8: how long others wait while one message after the other goes to thousands of streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.load.prober import Prober
from benchmarks.load.remote import Remote
from benchmarks.plan import Plan, Sample, Standing, filled
from benchmarks.servers.comet import session
from benchmarks.waits import CALM, EVERY, LIMIT, percentiles, questions

STREAMS = 15_000

#: Messages a round, and the seconds from all having one to the next: there is no time to rest.
MESSAGES = 24
PAUSE = 0.003


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of milliseconds that a question waits for its answer, in calm and meanwhile."""
    streams = plan.count(STREAMS)
    with ExitStack() as stack:
        standing = filled(stack, plan.comet(), streams)
        token = session(standing.running.address, "prober")
        other = stack.enter_context(Remote(Prober, standing.running.address))
        fan_out(standing, 1)
        for round in range(plan.rounds):
            plan.say(f"others: {streams} streams, round {round + 1} of {plan.rounds}")
            calm = other.call("run", questions(token), EVERY, CALM)
            other.begin("run", questions(token), EVERY, LIMIT)
            fan_out(standing, MESSAGES)
            other.tell("stop")
            busy = other.finish()
            yield {
                "server": standing.server.name,
                "round": round,
                "streams": streams,
                "asked": sum(map(len, busy.values())),
                **percentiles("calm", calm),
                **percentiles("busy", busy),
            }


def fan_out(standing: Standing, times: int) -> None:
    """One message after the other to all streams."""
    publish = standing.server.publish(b"")
    standing.load.call("fan_out", publish, times, PAUSE, True)
