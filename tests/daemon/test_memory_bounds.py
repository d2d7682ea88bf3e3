"""Memory stays bounded: an idle stream costs little. One that is never read: tests/faults."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.daemon.talk import log_in, metric, resident, say, wait_until
from tests.support import PATIENCE, Daemon, read_until

#: Streams that are there before, and those whose growth is measured.
WARM, STREAMS = 500, 1500

#: Bytes that one takes at most while it is idle; docs/performance.md says how many it does.
OF_A_STREAM = 1400

STREAM = 'comet_chat_held_requests{transport="stream"}'


def open_stream(port: int) -> socket.socket:
    """A stream whose head and hello have been read, and nothing after."""
    stream = socket.create_connection(("127.0.0.1", port), PATIENCE)
    stream.sendall(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    read_until(stream, b'"type":"hello"')
    return stream


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
