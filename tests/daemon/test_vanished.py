"""Peers that vanish: no FIN, no RST, just silence.

On loopback nobody can vanish, since the kernel closes what a dead process had. So curl runs in a
network namespace of its own, and then all that it sends back is lost.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon.talk import Running, held, log_in, once, people, wait_until
from tests.networks import Elsewhere, joined_networks
from tests.support import PATIENCE, Daemon, free_port
from tests.transport_paths import BOTH_WAYS, STREAMS

HEARTBEAT, POLL_TIMEOUT, EXPIRATION_DELAY = 2.0, 2.0, 4.0

EVENTS = "/api/v1/events/"
ENDLESS = (*STREAMS, *BOTH_WAYS)

#: What makes a request of curl's one for a WebSocket.
UPGRADE = (
    "-HConnection: Upgrade",
    "-HUpgrade: websocket",
    "-HSec-WebSocket-Version: 13",
    "-HSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with joined_networks() as place:
        yield place


@pytest.fixture
def daemon(tmp_path: Path, elsewhere: Elsewhere) -> Iterator[Daemon]:
    port = free_port()
    with Daemon(
        tmp_path,
        f"--listen=tcp:{port}:interface=127.0.0.1",
        f"--listen=tcp:{port}:interface={elsewhere.server}",
        f"--heartbeat={HEARTBEAT:g}",
        f"--poll-timeout={POLL_TIMEOUT:g}",
        f"--expiration-delay={EXPIRATION_DELAY:g}",
        "--limits=off",
        port=port,
    ) as running:
        yield running


def curl(elsewhere: Elsewhere, daemon: Daemon, transport: str) -> list[str]:
    """The command that holds a request for a transport, somewhere else."""
    token = log_in(daemon.port, transport)
    url = f"http://{elsewhere.server}:{daemon.port}{EVENTS}{transport}?token={token}"
    if transport == "poll":
        url += "&cursor=" + once(daemon.port, "GET", f"{EVENTS}poll").json["cursor"]
    more = {"ws": UPGRADE, "duplex": ("-T-",)}.get(transport, ())
    return ["ip", "netns", "exec", elsewhere.name, "curl", "-sN", *more, url]


def hold(stack: ExitStack, command: list[str]) -> None:
    """Run a command to the end of the test; nothing is typed, but its input stays open."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.communicate)
    stack.callback(process.kill)


def lost_after(port: int, transports: Collection[str], began: float) -> Mapping[str, float]:
    """Seconds until each transport was no longer held."""
    lost: dict[str, float] = {}
    while len(lost) < len(transports):
        now = time.monotonic() - began
        assert now < PATIENCE, f"still held: {set(transports) - set(lost)}"
        for transport in set(transports) - set(lost) - set(held(port)):
            lost[transport] = now
        time.sleep(0.1)
    return lost


def test_whoever_vanishes_is_found_within_the_expiration_delay(
    daemon: Daemon, elsewhere: Elsewhere
) -> None:
    port = daemon.port
    with ExitStack() as stack:
        stayed = stack.enter_context(
            Running("curl", "-sN", f"{daemon.url}/rooms/lobby.txt?name=stayed")
        )
        wait_until(lambda: held(port) == {"text": 1}, "she is held")
        for transport in ENDLESS:
            hold(stack, curl(elsewhere, daemon, transport))
        wait_until(lambda: people(port) == {"stayed", *ENDLESS}, "all are there")
        # Whoever is there stays, for as long as she likes, and need not say anything.
        time.sleep(EXPIRATION_DELAY + HEARTBEAT)
        assert held(port) == {**dict.fromkeys(ENDLESS, 1), "text": 2}

        hold(stack, curl(elsewhere, daemon, "poll"))
        wait_until(lambda: "poll" in held(port), "the poll is held")
        elsewhere.cut()
        began = time.monotonic()
        # The reader of `stayed` is one of `text`, so that this transport is looked at by itself.
        lost = dict(lost_after(port, {"poll", *ENDLESS} - {"text"}, began))
        wait_until(lambda: held(port) == {"text": 1}, "only she is left")
        lost["text"] = time.monotonic() - began
        print(
            "seconds until found:", {transport: round(each, 2) for transport, each in lost.items()}
        )
        # On a machine that has nothing else to do it is less by what a heartbeat takes.
        assert lost.pop("poll") < POLL_TIMEOUT + HEARTBEAT
        assert max(lost.values()) < EXPIRATION_DELAY + HEARTBEAT
        assert "a held request expired: stream" in daemon.log

        # Their places are kept for a while, as after a reload.
        wait_until(lambda: people(port) == {"stayed"}, "the list of people follows")
        for transport in (*ENDLESS, "poll"):
            stayed.until(f"* {transport} left\n")
