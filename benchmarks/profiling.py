"""Where the daemon's time goes in the hot cases: ``make profile``.

What it is: a short run of fan-out, flood and long polling, watched by py-spy, which looks from
outside at what each thread is doing a few hundred times a second, and a table of that.

What it may know: py-spy's command line and its raw format (a stack and a count a line).

Invariant: the daemon runs as it is; nothing in it is changed to be watched.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.cases import fanout, flood, poll
from benchmarks.load.pollers import Pollers
from benchmarks.load.remote import Remote
from benchmarks.plan import Plan, filled
from benchmarks.processes import PATIENCE, BenchmarkFailed, Running
from benchmarks.servers.server import scratch

SECONDS = 6

#: How often py-spy looks, a second.
RATE = 250

STREAMS, CLIENTS = 5000, 1000

#: Rows of a table.
ROWS = 22

#: Where threads wait for work; py-spy takes a lock that is waited for with a limit for work.
WAITING = ("Writer._next_batch", "Condition.wait", "SimpleQueue.get")

_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*):(?P<line>\d+)\)$")

Work = Callable[[], object]


def run(plan: Plan, cases: Sequence[str]) -> None:
    """Print a table a case, of those that are asked for."""
    for name, profile in (("fanout", of_fanout), ("flood", of_flood), ("poll", of_poll)):
        if name in cases:
            profile(plan)


def of_fanout(plan: Plan) -> None:
    """One message at a time."""
    with ExitStack() as stack:
        standing = filled(stack, plan.comet(), plan.count(STREAMS))
        publish = standing.server.publish(b"")
        watch(
            f"one message at a time to {plan.count(STREAMS):,} streams",
            standing.running,
            lambda: standing.load.call("fan_out", publish, 10, fanout.PAUSE, True),
        )


def of_flood(plan: Plan) -> None:
    """Flat out."""
    with ExitStack() as stack:
        standing = filled(stack, plan.comet(), plan.count(STREAMS))
        requests = [standing.server.publish(b"")] * flood.POSTERS
        watch(
            f"{flood.POSTERS} posters flat out to {plan.count(STREAMS):,} streams",
            standing.running,
            lambda: standing.load.call("flood", requests, 1.0),
        )


def of_poll(plan: Plan) -> None:
    """Long polling."""
    clients = plan.count(CLIENTS)
    server = poll.PolledComet(options=plan.options)
    with ExitStack() as stack:
        running = stack.enter_context(server.start())
        cycle = server.cycle(running.address, clients)
        load = stack.enter_context(Remote(Pollers, running.address, cycle, clients))
        load.call("settle", 1.0)
        publish = server.publish(b"")
        watch(
            f"{clients:,} polling clients",
            running,
            lambda: load.call("run", publish, 10, 0.0),
        )


def watch(what: str, running: Running, work: Work) -> None:
    """Work while the daemon is looked at; print where its time went."""
    output = scratch("profile") / "stacks"
    command = [
        str(Path(sys.executable).parent / "py-spy"),
        "record",
        f"--pid={running.process.pid}",
    ]
    command += [f"--duration={SECONDS}", f"--rate={RATE}", "--format=raw", f"--output={output}"]
    try:
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError as error:
        raise BenchmarkFailed(f"py-spy is not installed: {error}") from error
    try:
        while watching.poll() is None:
            work()
    finally:
        watching.kill()
    said, _ = watching.communicate(timeout=PATIENCE)
    if not output.exists():
        raise BenchmarkFailed(f"py-spy saw nothing:\n{said.decode()}")
    print(f"\n== {what}\n{table(output.read_text())}", flush=True)


def table(stacks: str) -> str:
    """Functions by the share of looks that found them working, themselves and with what they
    called, and the line on which they were most."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    lines: dict[str, Counter[str]] = {}
    total = 0
    for row in stacks.splitlines():
        stack, _, count = row.rpartition(" ")
        frames = [_FRAME.match(frame) for frame in stack.split(";")]
        named = [
            (f"{found['file']} {found['function']}", found["line"]) for found in frames if found
        ]
        if not named or named[-1][0].endswith(WAITING):
            continue
        total += int(count)
        own[named[-1][0]] += int(count)
        lines.setdefault(named[-1][0], Counter())[named[-1][1]] += int(count)
        for name in {name for name, _ in named}:
            whole[name] += int(count)
    rows = [f"{'itself':>7} {'with all':>9} {'at line':>8}  function"]
    for name, looks in own.most_common(ROWS):
        ((line, _),) = lines[name].most_common(1)
        rows.append(f"{looks / total:7.1%} {whole[name] / total:9.1%} {line:>8}  {name}")
    return "\n".join(rows)
