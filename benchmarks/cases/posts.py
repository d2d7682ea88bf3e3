"""Case 5: durable posts acknowledged a second, and how many share a commit, beside what the disk
gives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.plan import Plan, Sample, Standing, cost, quantile, stand
from benchmarks.processes import Address, BenchmarkFailed
from benchmarks.servers import postgresql
from benchmarks.servers.comet import POSTS, Comet, cookies, message
from benchmarks.servers.python import PROGRAMS
from benchmarks.servers.server import scratch
from benchmarks.wire import ask, cookie, post

POSTERS = (1, 8, 64)

#: Our daemon with its log in PostgreSQL, whose own CPU is not in the daemon's.
IN_POSTGRESQL = "comet, PostgreSQL"

SECONDS = 1.5

METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of acknowledged posts a second, by server and number of posters."""
    launcher = [sys.executable, str(PROGRAMS / "without_fsync.py")]
    servers = [plan.comet(), Comet(options=plan.options, name="no fsync", launcher=launcher)]
    with ExitStack() as stack:
        if not postgresql.missing():
            url = stack.enter_context(postgresql.database())
            servers.append(Comet(options=[*plan.options, f"--database={url}"], name=IN_POSTGRESQL))
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
    before = counted(standing.running.address)
    found, used = cost(standing.running, standing.load, "flood", requests, SECONDS)
    events, commits = (
        now - then for now, then in zip(counted(standing.running.address), before, strict=True)
    )
    return {
        "posts_s": found["acknowledged"] / found["posting"],
        "posts_a_commit": events / commits,
        "p50_ms": quantile(found["waits"], 0.5),
        "p99_ms": quantile(found["waits"], 0.99),
        "cpu_us": used / found["acknowledged"] * 1e6,
        "server_busy": used / found["seconds"],
        "client_busy": found["client"] / found["seconds"],
    }


def counted(address: Address) -> tuple[float, float]:
    """How many events and commits there have been, by the daemon's own numbers."""
    text = ask(address, METRICS).decode()
    events, commits = (
        float(line.partition(" ")[2])
        for name in ("comet_chat_events_appended_total", "comet_chat_commits_total")
        for line in text.splitlines()
        if line.startswith(f"{name} ")
    )
    return events, commits


def bare(rows: int) -> Sample:
    """SQLite alone: as many rows a commit as there are posters, who would share one."""
    directory = scratch("commits")
    command = [sys.executable, str(PROGRAMS / "commits.py"), str(directory), str(SECONDS)]
    done = subprocess.run([*command, str(rows)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise BenchmarkFailed(f"the bare commit failed:\n{done.stderr}")
    return {"server": "bare commit", "posts_s": float(done.stdout)}
