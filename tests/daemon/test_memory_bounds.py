"""Memory stays bounded: a reader that never reads costs a fixed amount, an idle one little."""

from __future__ import annotations

import json
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.daemon.talk import Running, log_in, metric, resident, say, wait_until
from tests.support import PATIENCE, Daemon, read_until

MIB = 2**20

#: 32,000 bytes of UTF-8, the most that one message can have.
TEXT = "\N{GRINNING FACE}" * 7990
FLOW = 20 * MIB // (4 * len(TEXT))

#: Streams that are there before, and those whose growth is measured.
WARM, STREAMS = 500, 2000

#: Bytes that one takes at most while it is idle; docs/performance.md says how many it does.
OF_A_STREAM = 1400

MESSAGE = b'"type":"message"'
STREAM = 'comet_chat_held_requests{transport="stream"}'
CUT = "comet_chat_slow_readers_cut_total"


def open_stream(port: int, *, receive: int | None = None) -> socket.socket:
    """A stream whose head and hello have been read, and nothing after.

    :param receive: bytes that its kernel takes; by default as many as it likes.
    """
    stream = socket.socket()
    if receive is not None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    stream.settimeout(PATIENCE)
    stream.connect(("127.0.0.1", port))
    stream.sendall(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    read_until(stream, b'"type":"hello"')
    return stream


def flow(port: int, token: str) -> list[int]:
    """Post 20 MB; the ids."""
    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(lambda number: say(port, token, f"{number} {TEXT}"), range(FLOW))
        return sorted(answer.json["id"] for answer in answers)


def reading(url: str, path: Path) -> Running:
    """A program that reads a stream into a file."""
    return Running("curl", "-sN", "-o", str(path), url)


def messages_in(path: Path) -> int:
    """How many messages have been read into a file, which may not be there yet."""
    return path.read_bytes().count(MESSAGE) if path.exists() else 0


def ids_in(path: Path) -> list[int]:
    """The ids of the messages in what has been read of a stream."""
    *lines, _ = path.read_bytes().split(b"\n")
    return [each["id"] for each in map(json.loads, lines) if each["type"] == "message"]


def test_who_never_reads_is_cut_and_costs_nobody(tmp_path: Path) -> None:
    with Daemon(tmp_path, "--limits=off", fresh=True) as daemon:
        port, alice = daemon.port, log_in(daemon.port, "alice")
        url = f"{daemon.url}/api/v1/events/stream"
        # The newest 16 MB are kept in memory for everybody, in the form in which they were sent,
        # too: once they are there, it stays so.
        with reading(url, tmp_path / "first"):
            wait_until(lambda: metric(port, STREAM) == 1, "it is held")
            flow(port, alice)
            wait_until(lambda: messages_in(tmp_path / "first") >= FLOW, "all is read")
        wait_until(lambda: metric(port, STREAM) == 0, "it is gone")
        before = resident(daemon.pid)
        with open_stream(port, receive=4096):
            # By a program of its own: this one may stand still for longer than a reader should.
            read = tmp_path / "read"
            with reading(url, read):
                wait_until(lambda: metric(port, STREAM) == 2, "both are held")
                ids = flow(port, alice)
                wait_until(lambda: messages_in(read) >= FLOW, "all is read")
            assert ids_in(read) == ids
            wait_until(lambda: metric(port, CUT) == 1, "the other is cut")
            wait_until(lambda: metric(port, STREAM) == 0, "nobody is held any more")
        grown = resident(daemon.pid) - before
        print(f"grown by {grown / MIB:.1f} MiB while {FLOW * len(TEXT) * 4 / MIB:.0f} MiB flowed")
        assert grown < 8 * MIB
        assert daemon.log.count("cut a slow reader") == 1
        assert "Traceback" not in daemon.log


@contextmanager
def many_files() -> Iterator[None]:
    """Let this process have as many open files as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_thousands_of_idle_streams(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--limits=off", fresh=True)
    with many_files(), daemon, ExitStack() as streams:
        port, alice = daemon.port, log_in(daemon.port, "alice")
        held = [streams.enter_context(open_stream(port)) for _ in range(WARM)]
        assert metric(port, STREAM) == WARM
        before = resident(daemon.pid)
        held += [streams.enter_context(open_stream(port)) for _ in range(STREAMS)]
        assert metric(port, STREAM) == WARM + STREAMS
        each = (resident(daemon.pid) - before) / STREAMS
        print(f"{each:.0f} bytes for each of {STREAMS} idle streams")
        assert each < OF_A_STREAM
        say(port, alice, "to all")
        for stream in held:
            read_until(stream, b"to all")
        streams.close()
        wait_until(lambda: metric(port, STREAM) == 0, "all are gone")
