"""Case 5: durable posts acknowledged a second, beside what the disk gives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.plan import Plan, Sample, Standing, cost, quantile, stand
from benchmarks.processes import BenchmarkFailed
from benchmarks.servers.comet import POSTS, Comet, cookies, message
from benchmarks.servers.python import PROGRAMS
from benchmarks.servers.server import scratch
from benchmarks.wire import cookie, post

POSTERS = (1, 64)

SECONDS = 1.5


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of acknowledged posts a second, by server and number of posters."""
    launcher = [sys.executable, str(PROGRAMS / "without_fsync.py")]
    servers = [plan.comet(), Comet(options=plan.options, name="no fsync", launcher=launcher)]
    with ExitStack() as stack:
        ready = []
        for server in servers:
            standing = stand(stack, server)
            tokens = cookies(standing.running.address, [f"poster{n}" for n in range(max(POSTERS))])
            ready.append((standing, [request(token) for token in tokens]))
            standing.load.call("flood", ready[-1][1], 0.2)
        for round in range(plan.rounds):
            plan.say(f"posts: round {round + 1} of {plan.rounds}")
            for count in POSTERS:
                for standing, requests in ready:
                    found = measured(standing, requests[:count])
                    name = standing.server.name
                    yield {"server": name, "posters": count, "round": round, **found}
                yield {"posters": count, "round": round, **bare(count)}


def request(token: str) -> bytes:
    """A post of one poster."""
    return post(POSTS.format("lobby"), message(), cookie(token))


def measured(standing: Standing, requests: list[bytes]) -> Sample:
    """One server, one round."""
    found, used = cost(standing.running, standing.load, "flood", requests, SECONDS)
    return {
        "posts_s": found["acknowledged"] / found["posting"],
        "p50_ms": quantile(found["waits"], 0.5),
        "p99_ms": quantile(found["waits"], 0.99),
        "cpu_us": used / found["acknowledged"] * 1e6,
        "server_busy": used / found["seconds"],
        "client_busy": found["client"] / found["seconds"],
    }


def bare(rows: int) -> Sample:
    """SQLite alone: as many rows a commit as there are posters, who would share one."""
    directory = scratch("commits")
    command = [sys.executable, str(PROGRAMS / "commits.py"), str(directory), str(SECONDS)]
    done = subprocess.run([*command, str(rows)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise BenchmarkFailed(f"the bare commit failed:\n{done.stderr}")
    return {"server": "bare commit", "posts_s": float(done.stdout)}
