"""Case 3: what an idle stream takes. Growth of resident memory from 1,000 to 11,000 readers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benchmarks.plan import BOTH_OFF, Plan, Sample, Standing, stand
from benchmarks.servers import nchan
from benchmarks.servers.comet import EVENTS, PLAIN, Comet, cookies, cursor, has_short_cuts
from benchmarks.wire import cookie, get

#: Transports by how a client opens them, and what shows that they are held.
TRANSPORTS = {"stream": b"hello", "sse": b"hello", "frame": b"hello", "ws": b"hello", "poll": b""}

#: Making 11,000 sessions takes longer than all else, and memory hardly varies: one transport is
#: measured in every round, the others in so many.
FEW = 3

#: Readers that are there before, and those whose growth is measured.
BEFORE, MORE = 1000, 10_000

#: Seconds for a server to put itself in order.
SETTLE = 1.0

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of bytes a reader, by server and transport."""
    for round in range(plan.rounds):
        plan.say(f"memory: round {round + 1} of {plan.rounds}")
        for transport in TRANSPORTS:
            if transport == "stream" or round < FEW:
                yield {"round": round, **of_comet(plan, plan.comet(transport))}
        yield {"round": round, **of_nchan(plan)}
        if has_short_cuts() and round < FEW:
            both_off = Comet("stream", [*plan.options, *PLAIN], BOTH_OFF)
            yield {"round": round, **of_comet(plan, both_off)}


def of_comet(plan: Plan, server: Comet) -> Sample:
    """One transport: first the sessions of those who will come, then they themselves."""
    before, more = plan.count(BEFORE), plan.count(MORE)
    with ExitStack() as stack:
        standing = stand(stack, server)
        address = standing.running.address
        tokens = cookies(address, [f"first{n}" for n in range(before)])
        began_at = cursor(address)
        fill(standing, [request(server.transport, token, began_at) for token in tokens])
        start = standing.running.memory()
        tokens = cookies(address, [f"more{n}" for n in range(more)])
        standing.load.call("idle", SETTLE)
        with_sessions = standing.running.memory()
        fill(standing, [request(server.transport, token, began_at) for token in tokens])
        end = standing.running.memory()
        closed = standing.load.call("idle", 0.1)["closed"]
    return {
        "server": server.name,
        "transport": server.transport,
        "bytes": (end - start) / more,
        "bytes_of_session": (with_sessions - start) / more,
        "bytes_without_session": (end - with_sessions) / more,
        "total_mib": end / 2**20,
        "closed": closed,
    }


def fill(standing: Standing, requests: Sequence[bytes]) -> None:
    """Open these too, and let the server come to rest."""
    ready = TRANSPORTS.get(getattr(standing.server, "transport", ""), standing.server.ready)
    standing.load.call("open", requests, ready)
    standing.load.call("idle", SETTLE)
    time.sleep(0.1)


def request(transport: str, token: str, began_at: str) -> bytes:
    """What opens a transport, as a browser would."""
    path = f"{EVENTS}/{transport}"
    if transport == "ws":
        plain = get(path, UPGRADE + cookie(token))
        return plain.replace(b"Connection: keep-alive\r\n", b"", 1)
    if transport == "poll":
        path += f"?cursor={began_at}&client=one"
    return get(path, cookie(token))


def of_nchan(plan: Plan) -> Sample:
    """Nchan's server-sent events, which know no sessions."""
    before, more = plan.count(BEFORE), plan.count(MORE)
    server = nchan.Nchan()
    with ExitStack() as stack:
        standing = stand(stack, server)
        fill(standing, [server.subscribe()] * before)
        start = standing.running.memory()
        fill(standing, [server.subscribe()] * more)
        end = standing.running.memory()
    each = (end - start) / more
    return {
        "server": server.name,
        "transport": "sse",
        "bytes": each,
        "bytes_without_session": each,
        "total_mib": end / 2**20,
    }
