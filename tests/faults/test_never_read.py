"""One reader who never reads while 20 MB flow: what she costs, by every transport that streams."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from tests.daemon.talk import log_in, metric, once, resident, say, wait_until
from tests.faults.decoding import WebSocketResponse
from tests.faults.lines import Request, SocketLine
from tests.support import PATIENCE, Daemon, run
from tests.transport_paths import NAMES, POLLS

MIB = 2**20

#: 32,000 bytes of UTF-8, the most that one message can have.
TEXT = "\N{GRINNING FACE}" * 7990
FLOW = 20 * MIB // len(TEXT.encode())

#: What one reader may cost at any moment: 4 times the budget of 256 KiB, a batch or two that may be
#: larger than that, and what the kernel has for both ends of her connection.
MOST = 8 * MIB

CUT = "comet_chat_slow_readers_cut_total"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("never"), "--limits=off") as running:
        yield running


@pytest.fixture(scope="module")
def alice(daemon: Daemon) -> str:
    """Her token. The newest 16 MB have been said: they are kept in memory, whoever reads."""
    token = log_in(daemon.port, "alice")
    flow(daemon.port, token)
    return token


def flow(port: int, token: str) -> None:
    """Post 20 MB."""
    with ThreadPoolExecutor(4) as threads:
        for answer in threads.map(lambda number: say(port, token, f"{number} {TEXT}"), range(FLOW)):
            assert answer.status == 201


def kernel_memory(port: int) -> int:
    """Bytes that the kernel has for the connections of a port, at both ends, see ss(8)."""
    _, said, _ = run("ss", "-tnmH", f"sport = :{port} or dport = :{port}")
    # What was received, what is to be sent, and what is set apart for more of it.
    parts = re.findall(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+)", said)
    return sum(int(size) for each in parts for size in each)


class Highest(Thread):
    """What a daemon and its connections had at most: ``with Highest(daemon) as highest``."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(daemon=True)
        self._pid, self._port = daemon.pid, daemon.port
        self._over = Event()
        self.resident = self.kernel = 0
        self._look()

    def _look(self) -> None:
        self.resident = max(self.resident, resident(self._pid))
        self.kernel = max(self.kernel, kernel_memory(self._port))

    def run(self) -> None:
        while not self._over.wait(0.1):
            self._look()

    def __enter__(self) -> Highest:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self.join()


@contextmanager
def never_reading(daemon: Daemon, transport: str) -> Iterator[SocketLine]:
    """Somebody who asked for a transport, and whose kernel takes what it likes."""
    token = log_in(daemon.port, f"never-{transport}")
    cursor = once(daemon.port, "GET", "/api/v1/events/poll").json["cursor"]
    host = f"127.0.0.1:{daemon.port}"
    request = Request(transport=transport, host=host, rooms=("lobby",), cursor=cursor, token=token)
    line = SocketLine(("127.0.0.1", daemon.port), socket.socket)
    try:
        asked = request.bytes()
        if transport == "ws":
            asked = WebSocketResponse(f"ws://{host}{request.path}", {}).to_send()
        line.send(asked)
        yield line
    finally:
        line.rst()


@pytest.mark.slow
@pytest.mark.parametrize("transport", [transport for transport in NAMES if transport not in POLLS])
def test_who_never_reads_costs_little(daemon: Daemon, alice: str, transport: str) -> None:
    port, held = daemon.port, f'comet_chat_held_requests{{transport="{transport}"}}'
    cut, resident_before = metric(port, CUT), resident(daemon.pid)
    with never_reading(daemon, transport) as line:
        wait_until(lambda: metric(port, held) == 1, "she is held")
        with Highest(daemon) as highest:
            flow(port, alice)
        # A frame is told to begin anew before it is that far behind.
        wait_until(lambda: metric(port, held) == 0, "she is held no longer")
        assert transport == "frame" or metric(port, CUT) == cut + 1
        assert transport == "frame" or line.is_cut(PATIENCE)
    grown, kernel = highest.resident - resident_before, highest.kernel
    print(
        f"{transport}: while {FLOW * len(TEXT.encode()) / MIB:.0f} MiB flowed, "
        "the daemon's memory was "
        f"at most {grown / MIB:.1f} MiB above {resident_before / MIB:.0f}, the kernel's "
        f"for its connections at most {kernel / MIB:.1f} MiB"
    )
    assert grown < MOST
    assert kernel < MOST
