"""Case 5: Bayeux by its two common transports. How many deliveries a second, beside Faye and
CometD."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import attrs

from benchmarks.field import Field
from benchmarks.load.bayeux import TEXT, Place, Subscribers
from benchmarks.load.remote import Remote
from benchmarks.plan import Plan, Sample, cost, quantile
from benchmarks.processes import Running
from benchmarks.servers.comet import Comet
from benchmarks.servers.faye import Faye
from benchmarks.servers.optional import taking_part

TRANSPORTS = ("long-polling", "websocket")

#: Of these a few rounds will do: no goal is about them.
FEW = ("websocket",)

CLIENTS = (200, 1000)

#: Seconds in which messages are published, before what is measured and then.
WARM, SECONDS = 0.5, 2.0

#: Seconds for clients to be held, and for those who waited for their turn to connect again.
ARRIVING, WAITING = 1.0, 0.1

ROOM = "comet, room"
FREE = "comet, free channel"

#: What our daemon makes of a post in a room, so that all servers deliver as many bytes.
EVENT: dict[str, Any] = {
    "id": 10_000,
    "room": "lobby",
    "from": "guest-0f70f4",
    "text": TEXT,
    "at": "2026-01-01T00:00:00.000Z",
}


class Startable(Protocol):
    """A Bayeux server."""

    name: str

    def start(self) -> Running:
        """Start it."""


@attrs.frozen
class Standing:
    """A server that runs, and its subscribers."""

    running: Running
    load: Remote


def servers(plan: Plan) -> list[tuple[Startable, Place]]:
    """Who is measured, and where its clients meet."""
    free = [*plan.options, "--bayeux-channels=/app/**"]
    return [
        (Comet(options=plan.options, name=ROOM), Place("/cometd", "/chat/lobby", {"text": TEXT})),
        (Comet(options=free, name=FREE), Place("/cometd", "/app/load", EVENT)),
        (Faye(), Place("/faye", "/app/load", EVENT)),
        *((peer, Place("/cometd", "/app/load", EVENT)) for peer in taking_part("bayeux")),
    ]


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of deliveries a second, by server, transport and number of clients."""
    for transport in TRANSPORTS:
        for size in CLIENTS:
            clients = plan.count(size)
            title = f"bayeux: {clients} by {transport}"
            key = {"transport": transport, "size": size, "clients": clients}
            with Field[Standing](plan, title, key, wait) as field:
                for server, place in servers(plan):
                    arrive = partial(arrived, server, place, transport, clients)
                    field.enter(server, arrive, few=transport in FEW)
                field.warm_up(measured, "cpu_us")
                yield from field.rounds(measured)


def arrived(
    server: Startable, place: Place, transport: str, clients: int, stack: ExitStack
) -> Standing:
    """A server with so many subscribers that are held."""
    running = stack.enter_context(server.start())
    load = stack.enter_context(Remote(Subscribers, running.address, place, transport, clients))
    load.call("settle", ARRIVING)
    return Standing(running, load)


def wait(each: Standing) -> None:
    """Connect again where a connect was answered."""
    each.load.call("settle", WAITING)


def measured(each: Standing) -> Sample:
    """One server, one round."""
    each.load.call("run", WARM)
    found, used = cost(each.running, each.load, "run", SECONDS)
    return {
        "deliveries": found["received"],
        "deliveries_s": found["received"] / found["seconds"],
        "connects_a_delivery": found["connects"] / found["received"],
        "cpu_us": used / found["received"] * 1e6,
        "p50_ms": quantile(found["waits"], 0.5),
        "p99_ms": quantile(found["waits"], 0.99),
        "server_busy": used / found["seconds"],
        "client_us": found["client"] / found["received"] * 1e6,
        "client_busy": found["client"] / found["seconds"],
    }
