"""One reader who never reads while 10 MB flow: what she costs, by every transport that streams; and
whoever reads beside her misses nothing."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import attrs
import pytest

from tests.bounds import tail
from tests.daemon.talk import (
    JSON,
    Running,
    connect,
    log_in,
    metric,
    once,
    resident,
    wait_until,
)
from tests.faults.decoding import WebSocketResponse
from tests.faults.lines import Request, SocketLine
from tests.faults.reader import SMALL_WINDOW
from tests.support import PATIENCE, Daemon, run
from tests.transport_paths import NAMES, POLLS

MIB = 2**20

#: 32,000 bytes of UTF-8, the most that one message can have.
TEXT = "\N{GRINNING FACE}" * 7990
FLOW = 10 * MIB // len(TEXT.encode())

#: What is kept in memory of it, whoever reads: far less than flows.
TAIL = 2 * MIB

#: Posters, each on a connection of its own.
POSTERS = 4

#: What one reader may cost at any moment: 4 times the budget of 256 KiB, a batch or two that may be
#: larger than that, and what the kernel has for both ends of her connection. Half of what flows.
MOST = 5 * MIB

#: So many are posted between two looks at what she costs.
BETWEEN = 20

CUT = "comet_chat_slow_readers_cut_total"


def held(transport: str) -> str:
    """The number of requests that are held for a transport."""
    return f'comet_chat_held_requests{{transport="{transport}"}}'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("never")
    with Daemon(directory, "--limits=off", before=tail(TAIL)) as running:
        yield running
    assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def alice(daemon: Daemon) -> str:
    """Her token. As much has been said as is kept in memory, whoever reads."""
    token = log_in(daemon.port, "alice")
    flow(daemon.port, token, 2 * TAIL // len(TEXT.encode()))
    return token


def flow(
    port: int, token: str, count: int = FLOW, look: Callable[[], None] = lambda: None
) -> list[int]:
    """Post 10 MB, or so many messages; the ids.

    :param look: is called again and again meanwhile.
    """
    ids: list[int] = []
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(connect(port))) for _ in range(POSTERS)]
        posters = stack.enter_context(ThreadPoolExecutor(POSTERS))
        for first in range(0, count, BETWEEN):
            numbers = range(first, min(first + BETWEEN, count))
            shares = [numbers[n::POSTERS] for n in range(POSTERS)]
            for some in posters.map(partial(post, token), connections, shares):
                ids += some
            look()
    return sorted(ids)


def post(token: str, connection: HTTPConnection, numbers: range) -> list[int]:
    """Post one message after the other, as few bytes as JSON can be; the ids."""
    ids = []
    head = {"Content-Type": JSON, "Authorization": f"Bearer {token}"}
    for number in numbers:
        body = f'{{"text":"{number} {TEXT}"}}'.encode()
        connection.request("POST", "/api/v1/rooms/lobby/messages", body, head)
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 201, answer
        ids.append(json.loads(answer)["id"])
    return ids


def kernel_memory(port: int) -> int:
    """Bytes that the kernel has for the connections of a port, at both ends, see ss(8)."""
    _, said, _ = run("ss", "-tnmH", f"sport = :{port} or dport = :{port}")
    # What was received, what is to be sent, and what is set apart for more of it.
    parts = re.findall(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+)", said)
    return sum(int(size) for each in parts for size in each)


@attrs.define
class Highest:
    """What a daemon and its connections had at most, each time that it was looked at."""

    daemon: Daemon
    resident: int = 0
    kernel: int = 0

    def look(self) -> None:
        """Look at it."""
        self.resident = max(self.resident, resident(self.daemon.pid))
        self.kernel = max(self.kernel, kernel_memory(self.daemon.port))


@contextmanager
def never_reading(
    daemon: Daemon, transport: str, window: int | None = None
) -> Iterator[SocketLine]:
    """Somebody who asked for a transport.

    :param window: what their kernel takes, in bytes; by default what it likes.
    """
    token = log_in(daemon.port, f"never-{next(_numbers)}")
    cursor = once(daemon.port, "GET", "/api/v1/events/poll").json["cursor"]
    host = f"127.0.0.1:{daemon.port}"
    request = Request(transport=transport, host=host, rooms=("lobby",), cursor=cursor, token=token)
    line = SocketLine(("127.0.0.1", daemon.port), window=window)
    try:
        asked = request.bytes()
        if transport == "ws":
            asked = WebSocketResponse(f"ws://{host}{request.path}", {}).to_send()
        line.send(asked)
        yield line
    finally:
        line.rst()


@contextmanager
def reading(daemon: Daemon, path: Path) -> Iterator[None]:
    """Somebody who reads a stream into a file; all is there at its end.

    By a program of its own: this one may stand still for longer than a reader should.
    """
    url = f"{daemon.url}/api/v1/events/stream"
    with Running("curl", "-sN", "-o", str(path), url):
        wait_until(lambda: metric(daemon.port, held("stream")) == 1, "it is held")
        yield
        wait_until(lambda: messages_in(path) >= FLOW, "all is read")
    wait_until(lambda: metric(daemon.port, held("stream")) == 0, "it is gone")


def messages_in(path: Path) -> int:
    """How many messages have been read into a file, which may not be there yet."""
    return path.read_bytes().count(b'"type":"message"') if path.exists() else 0


def ids_in(path: Path) -> list[int]:
    """The ids of the messages in what has been read of a stream."""
    *lines, _ = path.read_bytes().split(b"\n")
    return [each["id"] for each in map(json.loads, lines) if each["type"] == "message"]


_numbers = itertools.count(1)


@pytest.mark.slow
@pytest.mark.parametrize("transport", [transport for transport in NAMES if transport not in POLLS])
def test_who_never_reads_costs_little(daemon: Daemon, alice: str, transport: str) -> None:
    port = daemon.port
    cuts, resident_before = metric(port, CUT), resident(daemon.pid)
    with never_reading(daemon, transport) as line:
        wait_until(lambda: metric(port, held(transport)) == 1, "she is held")
        highest = Highest(daemon)
        flow(port, alice, look=highest.look)
        # A frame is told to begin anew before it is that far behind.
        wait_until(lambda: metric(port, held(transport)) == 0, "she is held no longer")
        assert transport == "frame" or metric(port, CUT) == cuts + 1
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


@pytest.mark.slow
def test_who_reads_beside_her_misses_nothing(daemon: Daemon, alice: str, tmp_path: Path) -> None:
    port, read = daemon.port, tmp_path / "read"
    cuts, told = metric(port, CUT), daemon.log.count("cut a slow reader")
    highest, resident_before = Highest(daemon), resident(daemon.pid)
    with reading(daemon, read), never_reading(daemon, "stream", SMALL_WINDOW):
        wait_until(lambda: metric(port, held("stream")) == 2, "both are held")
        ids = flow(port, alice, look=highest.look)
        wait_until(lambda: metric(port, held("stream")) == 1, "only who reads is held")
    assert ids_in(read) == ids
    assert highest.resident - resident_before < MOST
    assert metric(port, CUT) == cuts + 1
    assert daemon.log.count("cut a slow reader") == told + 1
