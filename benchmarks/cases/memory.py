"""Case 3: what an idle reader takes. Growth of resident memory from some readers to many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import attrs

from benchmarks.certificate import certificate
from benchmarks.field import FEW, tried
from benchmarks.load.remote import Remote
from benchmarks.load.streams import Streams
from benchmarks.load.tls import TlsStreams
from benchmarks.plan import BOTH_OFF, Plan, Sample
from benchmarks.processes import Running, free_port
from benchmarks.servers import nchan
from benchmarks.servers.comet import EVENTS, PLAIN, Comet, cookies, cursor, has_short_cuts
from benchmarks.servers.optional import taking_part
from benchmarks.servers.server import Server, scratch
from benchmarks.wire import cookie, get

#: Seconds for a server to put itself in order.
SETTLE = 1.0

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

#: Both ways of a WebSocket's request to say that it is one; `get` has said something else before.
KEEP_ALIVE = b"Connection: keep-alive\r\n"


@attrs.frozen
class Kind:
    """A way to be there.

    :param name: in results.
    :param transport: of ours.
    :param ready: what shows that it is held; empty for what is held in silence.
    :param before: readers that are there before.
    :param more: those whose growth is measured. Making sessions takes longer than all else, and
        memory hardly varies: where it is not the one that matters most, fewer will do.
    """

    name: str
    transport: str
    ready: bytes = b"hello"
    before: int = 1000
    more: int = 5000
    tls: bool = False

    def request(self, token: str, began_at: str) -> bytes:
        """What opens it at our daemon, as a browser would."""
        path = f"{EVENTS}/{self.transport}"
        if self.transport == "ws":
            return get(path, UPGRADE + cookie(token)).replace(KEEP_ALIVE, b"", 1)
        if self.transport == "poll":
            path += f"?cursor={began_at}&client=one"
        return get(path, cookie(token))


#: The one that is measured in every round.
STREAM = Kind("stream", "stream", more=10_000)

#: The same, for the daemon without its short cuts.
SHORT = Kind("stream", "stream")

SSE, WS, TLS = (
    Kind("sse", "sse", more=10_000),
    Kind("ws", "ws"),
    Kind("sse, TLS", "sse", before=200, more=2000, tls=True),
)

OTHERS = (SSE, Kind("frame", "frame", more=10_000), WS, Kind("poll", "poll", ready=b""), TLS)

#: Nchan's requests by the same names, and what it answers.
OF_NCHAN = {
    SSE: (get("/subscribe/lobby", accept="text/event-stream"), b": hi"),
    WS: (get("/subscribe/lobby", UPGRADE).replace(KEEP_ALIVE, b"", 1), b"HTTP/1.1 101"),
    TLS: (get("/subscribe/lobby", accept="text/event-stream"), b": hi"),
}


@attrs.frozen
class Growing:
    """A server that runs, and who fills it with readers of a kind."""

    running: Running
    load: Remote
    ready: bytes

    def fill(self, requests: Sequence[bytes]) -> int:
        """Open these too, let the server come to rest; its memory."""
        self.load.call("open", requests, self.ready)
        return self.rested()

    def rested(self) -> int:
        """Its memory once it has come to rest."""
        self.load.call("idle", SETTLE)
        time.sleep(0.1)
        return self.running.memory()


def run(plan: Plan) -> Iterator[Sample]:
    """Samples of bytes a reader, by server and transport."""
    for round in range(plan.rounds):
        plan.say(f"memory: round {round + 1} of {plan.rounds}")
        for kind in (STREAM, *OTHERS) if round < FEW else (STREAM,):
            yield {"round": round, **of_comet(plan, Comet, kind)}
        if round >= FEW:
            continue
        for kind in OF_NCHAN:
            key = {"server": nchan.Nchan.name, "transport": kind.name, "round": round}
            yield tried(plan, key, lambda kind=kind: of_nchan(plan, kind))
        for peer in taking_part("memory"):
            key = {"server": peer.name, "transport": peer.transport, "round": round}
            yield tried(plan, key, partial(of_peer, plan, peer))
        if has_short_cuts():
            yield {"round": round, **of_comet(plan, both_off, SHORT)}


def both_off(transport: str, options: Sequence[str]) -> Comet:
    """Our daemon without its short cuts."""
    return Comet(transport, [*options, *PLAIN], BOTH_OFF)


def of_comet(plan: Plan, make: Callable[[str, Sequence[str]], Comet], kind: Kind) -> Sample:
    """Our daemon: first the sessions of those who will come, then they themselves."""
    before, more = plan.count(kind.before), plan.count(kind.more)
    options, port = list(plan.options), free_port()
    if kind.tls:
        file = certificate(scratch("tls"))
        options.append(f"--listen=ssl:{port}:interface=127.0.0.1:backlog=4096:privateKey={file}")
    server = make(kind.transport, options)
    with ExitStack() as stack:
        running = stack.enter_context(server.start())
        growing = filling(stack, running, port, kind, kind.ready)
        tokens = cookies(running.address, [f"first{n}" for n in range(before)])
        began_at = cursor(running.address)
        start = growing.fill([kind.request(token, began_at) for token in tokens])
        tokens = cookies(running.address, [f"more{n}" for n in range(more)])
        with_sessions = growing.rested()
        end = growing.fill([kind.request(token, began_at) for token in tokens])
        closed = growing.load.call("idle", 0.1)["closed"]
    return {
        "server": server.name,
        "transport": kind.name,
        "readers": more,
        "bytes": (end - start) / more,
        "bytes_of_session": (with_sessions - start) / more,
        "bytes_without_session": (end - with_sessions) / more,
        "total_mib": end / 2**20,
        "closed": closed,
    }


def filling(stack: ExitStack, running: Running, port: int, kind: Kind, ready: bytes) -> Growing:
    """A client that opens readers of a kind.

    :param port: where there is TLS.
    """
    there = ("127.0.0.1", port) if kind.tls else running.address
    make = TlsStreams if kind.tls else Streams
    return Growing(running, stack.enter_context(Remote(make, there)), ready)


def of_peer(plan: Plan, server: Server) -> Sample:
    """Another, which knows no sessions either."""
    before, more = plan.count(SSE.before), plan.count(SSE.more)
    with ExitStack() as stack:
        running = stack.enter_context(server.start())
        growing = filling(stack, running, 0, SSE, server.ready)
        start = growing.fill([server.subscribe()] * before)
        return grown(start, growing.fill([server.subscribe()] * more), more)


def of_nchan(plan: Plan, kind: Kind) -> Sample:
    """Nchan, which knows no sessions."""
    before, more = plan.count(kind.before), plan.count(kind.more)
    request, ready = OF_NCHAN[kind]
    port = free_port()
    server = nchan.Nchan(tls=(port, certificate(scratch("tls")))) if kind.tls else nchan.Nchan()
    with ExitStack() as stack:
        running = stack.enter_context(server.start())
        growing = filling(stack, running, port, kind, ready)
        start = growing.fill([request] * before)
        return grown(start, growing.fill([request] * more), more)


def grown(start: int, end: int, more: int) -> Sample:
    """What so many readers took."""
    each = (end - start) / more
    return {
        "readers": more,
        "bytes": each,
        "bytes_without_session": each,
        "total_mib": end / 2**20,
    }
