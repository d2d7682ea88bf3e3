"""What a run is asked for, and what cases share.

What it is: `Plan`, a frozen value that every case is given, and `Standing`, a server that runs with
its load client.

What it may know: servers and load clients by their protocols.

Invariant: what was started is stopped, whatever happens in between.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import attrs

from benchmarks.load.remote import Remote
from benchmarks.load.streams import Streams
from benchmarks.processes import PATIENCE, BenchmarkFailed, Running
from benchmarks.progress import Progress
from benchmarks.servers.comet import PLAIN, Comet, has_short_cuts
from benchmarks.servers.server import Server

#: One measurement: numbers and names by their key.
Sample = dict[str, Any]

#: What the daemon without its short cuts is called.
BOTH_OFF = "comet, both off"

#: Seconds for a server to do what it does after its last answer.
SETTLED = 0.05


#: Who uses less than this share of a core, for so many seconds, is at rest.
IDLE, RESTS = 0.02, 0.1


@attrs.frozen
class Plan:
    """What is asked for.

    :param rounds: how often everything is measured, in turn.
    :param scale: by how much all counts of clients are multiplied, for a trial.
    :param options: more options for our daemon.
    :param progress: who is told how far it has come.
    """

    rounds: int = 7
    scale: float = 1.0
    options: tuple[str, ...] = ()
    progress: Progress = attrs.field(factory=lambda: Progress({}), repr=False)

    def watched(self, progress: Progress) -> Plan:
        """The same, with progress that knows what is to come."""
        return attrs.evolve(self, progress=progress)

    def count(self, full: int) -> int:
        """So many clients, scaled; at least 4."""
        return max(4, round(full * self.scale))

    def say(self, text: str) -> None:
        """A line of progress, on stderr."""
        self.progress.say(text)

    def comet(self, transport: str = "sse") -> Comet:
        """Our daemon as it is by default, or with the options that were asked for."""
        return Comet(transport, self.options)

    def comets(self, transport: str = "sse") -> list[Server]:
        """The same, and beside it the one without short cuts, if it has any."""
        both_off = [Comet(transport, [*self.options, *PLAIN], BOTH_OFF)] if has_short_cuts() else []
        return [self.comet(transport), *both_off]


@attrs.frozen
class Standing:
    """A server that runs, and the client that holds its streams."""

    server: Server
    running: Running
    load: Remote


def is_ours(server: str) -> bool:
    """Whether that is our own daemon, however it was started and asked."""
    return server in ("comet", "no fsync") or server.startswith("comet, ")


def stand(stack: ExitStack, server: Server) -> Standing:
    """Start a server and a client for it, both stopped with the stack."""
    running = stack.enter_context(server.start())
    load = stack.enter_context(Remote(Streams, running.address))
    return Standing(server, running, load)


def filled(stack: ExitStack, server: Server, streams: int) -> Standing:
    """The same with so many streams open."""
    standing = stand(stack, server)
    requests = [server.subscribe() for _ in range(streams)]
    standing.load.call("open", requests, server.ready)
    return standing


def cost(running: Running, load: Remote, method: str, *arguments: Any) -> tuple[Any, float]:
    """What a call of the load client gives, and the server's processor seconds meanwhile."""
    time.sleep(SETTLED)
    used = running.cpu()
    result = load.call(method, *arguments)
    time.sleep(SETTLED)
    return result, running.cpu() - used


def at_rest(running: Running) -> None:
    """Wait until a server has done what it does after its clients are gone.

    :raises BenchmarkFailed: it goes on and on.
    """
    until = time.monotonic() + PATIENCE
    used = running.cpu()
    while True:
        time.sleep(RESTS)
        before, used = used, running.cpu()
        if used - before < IDLE * RESTS:
            return
        if time.monotonic() > until:
            raise BenchmarkFailed(f"{running.name} does not come to rest")


def median(values: Sequence[float]) -> float:
    """The middle one, or the mean of the two in the middle."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def quantile(values: Sequence[float], share: float) -> float:
    """The value that the share of all values does not exceed, between neighbours in proportion."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
