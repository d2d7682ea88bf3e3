"""Case 4: long polling. What a cycle costs, how many deliveries a second."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Protocol

import attrs

from benchmarks.cases.fanout import json_of, sample_frame
from benchmarks.field import Field
from benchmarks.load.pollers import Cycle, Pollers
from benchmarks.load.remote import Remote
from benchmarks.plan import BOTH_OFF, Plan, Sample, cost, quantile
from benchmarks.processes import Address, BenchmarkFailed, Running
from benchmarks.servers import nchan, python
from benchmarks.servers.comet import EVENTS, PLAIN, Comet, cookies, has_short_cuts
from benchmarks.servers.faye import BayeuxCycle, Faye, bayeux, clients_of
from benchmarks.servers.optional import taking_part
from benchmarks.wire import cookie, get

CLIENTS = (200, 1000)

#: Seconds from one message to the next, when it goes at leisure.
PAUSE = 0.05

#: Seconds for those who wait for their turn to poll again.
WAITING = 0.05

#: Deliveries a round, flat out.
DELIVERIES = 10_000

#: Where Bayeux is at our daemon, and a channel of which nothing is kept.
BAYEUX, FREE = "/cometd", "/app/load"

#: These take ten times as long as the others, and nobody has to wait for more than a few rounds.
SLOW = (BOTH_OFF, "longpoll_tornado")

_CURSOR = re.compile(rb'"cursor": ?"([^"]+)"\}\s*$')
_NCHAN = re.compile(rb"(?i)\r\nlast-modified: ([^\r]+)\r\n|\r\netag: ([^\r]+)\r\n")


class Polled(Protocol):
    """A server that can be polled."""

    name: str

    def start(self) -> Running:
        """Start it."""

    def cycle(self, address: Address, count: int) -> Cycle:
        """What so many clients send."""

    def publish(self, payload: bytes) -> bytes:
        """A message to all of them."""


@attrs.frozen
class Standing:
    """A server that runs, and the client that polls it."""

    server: Polled
    running: Running
    load: Remote


@attrs.frozen
class CometCycle:
    """Clients of ours, a session and a tab each, as a browser would."""

    tokens: list[str]

    def first(self, number: int) -> bytes:
        """Answered at once, with a cursor."""
        return get(f"{EVENTS}/poll?client=tab{number}", cookie(self.tokens[number]))

    def following(self, number: int, answer: bytes) -> bytes:
        """From the answer's cursor on."""
        found = _CURSOR.search(answer, len(answer) - 80)
        assert found, answer[-200:]
        path = f"{EVENTS}/poll?client=tab{number}&cursor={found[1].decode()}"
        return get(path, cookie(self.tokens[number]))


@attrs.frozen
class NchanCycle:
    """Clients of Nchan, which go on from the last answer's time and tag."""

    def first(self, number: int) -> bytes:
        """From now on."""
        return get("/subscribe/lobby")

    def following(self, number: int, answer: bytes) -> bytes:
        """From the answer on."""
        (time, _), (_, tag) = sorted(_NCHAN.findall(answer), reverse=True)
        validators = f"If-Modified-Since: {time.decode()}\r\nIf-None-Match: {tag.decode()}\r\n"
        return get("/subscribe/lobby", validators)


@attrs.frozen
class TornadoCycle:
    """Clients of the program in Tornado."""

    def first(self, number: int) -> bytes:
        """Answered at once, with a cursor."""
        return get("/poll")

    def following(self, number: int, answer: bytes) -> bytes:
        """From the answer's cursor on."""
        found = re.search(rb'"cursor": "(\d+)"', answer)
        assert found, answer[-200:]
        return get(f"/poll?cursor={found[1].decode()}")


class PolledComet(Comet):
    """Our daemon."""

    def cycle(self, address: Address, count: int) -> CometCycle:
        """Each has a session."""
        return CometCycle(cookies(address, [f"poller{n}" for n in range(count)]))


class BayeuxComet(Comet):
    """Our daemon, polled by the same Bayeux clients as Faye."""

    def __init__(self, options: Sequence[str]) -> None:
        super().__init__(options=options, name="comet, Bayeux")

    def cycle(self, address: Address, count: int) -> BayeuxCycle:
        """Nobody has a session."""
        return clients_of(address, BAYEUX, count)


class FreeComet(Comet):
    """The same on a channel of which nothing is kept."""

    def __init__(self, options: Sequence[str]) -> None:
        options = [*options, f"--bayeux-channels={FREE}"]
        super().__init__(options=options, name="comet, Bayeux free channel")
        self._publisher = ("", "")

    def cycle(self, address: Address, count: int) -> BayeuxCycle:
        """Nobody has a session. The first one publishes, too: who never connects is forgotten."""
        cycle = clients_of(address, BAYEUX, count, FREE)
        self._publisher = cycle.clients[0]
        return cycle

    def publish(self, payload: bytes) -> bytes:
        """A message on the channel, as it is."""
        client, headers = self._publisher
        message = {"channel": FREE, "clientId": client, "data": json.loads(payload)}
        return bayeux(BAYEUX, message, headers)


class PolledNchan(nchan.Nchan):
    """Nchan."""

    def cycle(self, address: Address, count: int) -> NchanCycle:
        """Nobody has a session."""
        return NchanCycle()


class PolledTornado(python.Program):
    """Tornado."""

    def cycle(self, address: Address, count: int) -> TornadoCycle:
        """Nobody has a session."""
        return TornadoCycle()


def servers(plan: Plan) -> list[Polled]:
    """All that are polled."""
    found: list[Polled] = [PolledComet(options=plan.options)]
    if has_short_cuts():
        found.append(PolledComet(options=[*plan.options, *PLAIN], name=BOTH_OFF))
    if speaks_bayeux(plan):
        found += [BayeuxComet(plan.options), FreeComet(plan.options)]
    return [*found, Faye(), *taking_part("poll"), PolledNchan(), PolledTornado("longpoll_tornado")]


def speaks_bayeux(plan: Plan) -> bool:
    """Whether this version's daemon is a Bayeux server, too."""
    server = BayeuxComet(plan.options)
    with server.start() as running:
        try:
            server.cycle(running.address, 1)
        except BenchmarkFailed:
            return False
        return True


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of CPU a cycle and deliveries a second, by server and number of clients."""
    payload = json_of(sample_frame(plan))
    for size in CLIENTS:
        clients = plan.count(size)
        key = {"size": size, "clients": clients}
        with Field[Standing](plan, f"poll: {clients} clients", key, wait) as field:
            for server in servers(plan):
                few = server.name in SLOW
                field.enter(server, partial(arrived, server, clients), few=few)
            measure = partial(measured, payload=payload, clients=clients)
            field.warm_up(measure, "fast_cycle_us")
            yield from field.rounds(measure)


def wait(each: Standing) -> None:
    """Poll again where a poll was answered."""
    each.load.call("settle", WAITING)


def arrived(server: Polled, clients: int, stack: ExitStack) -> Standing:
    """A server with so many clients that are held."""
    running = stack.enter_context(server.start())
    cycle = server.cycle(running.address, clients)
    load = stack.enter_context(Remote(Pollers, running.address, cycle, clients))
    load.call("settle", 1.0)
    return Standing(server, running, load)


def measured(each: Standing, payload: bytes, clients: int) -> Sample:
    """One server, one round: at leisure for the cost, then as fast as all are answered."""
    running, load, publish = each.running, each.load, each.server.publish(payload)
    load.call("run", publish, 2, PAUSE)
    messages = max(8, DELIVERIES // clients)
    calm, calm_used = cost(running, load, "run", publish, min(messages, 20), PAUSE)
    fast, fast_used = cost(running, load, "run", publish, messages, 0.0)
    return {
        "cycle_us": calm_used / calm["answers"] * 1e6,
        "all_ms": quantile(calm["waits"], 0.5),
        "cycles_a_delivery": calm["answers"] / calm["received"],
        "deliveries_s": fast["received"] / fast["seconds"],
        "fast_cycle_us": fast_used / fast["answers"] * 1e6,
        "server_busy": fast_used / fast["seconds"],
        "client_us": calm["client"] / calm["answers"] * 1e6,
        "client_busy": fast["client"] / fast["seconds"],
    }
