"""What those hear who are connected when the daemon stops; and a database it must not touch."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.support import PATIENCE, Daemon, free_port, read_until, run


def hold(daemon: Daemon, target: str) -> socket.socket:
    """Open a stream and leave it open."""
    stream = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
    stream.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert read_until(stream, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    return stream


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_every_held_request_is_told_where_to_go_on_and_is_finished(
    tmp_path: Path, how: signal.Signals
) -> None:
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        with contextlib.ExitStack() as streams:
            text = [streams.enter_context(hold(daemon, "/rooms/lobby.txt")) for _ in range(20)]
            lines = streams.enter_context(hold(daemon, "/api/v1/events/stream"))
            assert daemon.process is not None
            daemon.process.send_signal(how)
            for stream in text:
                # The last chunk, then the end of the response: a client can tell it is whole.
                read = read_until(stream, b"\r\n0\r\n\r\n")
                assert b"* the stream ends here, go on with cursor=" in read
            assert b'"reopen"' in read_until(lines, b"\r\n0\r\n\r\n")
        assert daemon.stop(None) == -how
    finally:
        daemon.kill()
    assert "Traceback" not in daemon.log


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    with daemon:
        pass
    (database,) = daemon.data.glob("*.sqlite")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'from-the-future'")
        # Not of the next release alone, which says that this one still runs on it.
        connection.execute("UPDATE compatibility SET oldest = 'from-the-future'")
        connection.commit()
    before = database.read_bytes()
    listen = f"--listen=tcp:{free_port()}:interface=127.0.0.1"
    status, out, err = Daemon.forked(
        tmp_path, "twistd", "-n", "--pidfile=", "comet-chat", listen, f"--data={daemon.data}"
    )
    assert status == 1
    assert "Traceback" not in out + err
    assert err.startswith("comet-chat: ")
    assert err.count("\n") == 1
    assert "newer" in err
    assert database.read_bytes() == before


#: Leaves behind what only the collector of garbage finds.
PROGRAM = """
import atexit, os
from threading import Thread, main_thread
from cometd_chat.__main__ import main

class Circle:
    def __init__(self):
        self.own = self
    def __del__(self, write=os.write):
        write(1, b"taken apart")

circle = Circle()
atexit.register(print, "a handler")
Thread(target=lambda: (main_thread().join(), print("a thread"))).start()
main(["user", "--help"])
"""


def test_what_is_in_memory_is_not_taken_apart_at_the_end(tmp_path: Path) -> None:
    """But whoever has something to do then does it."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    status, out, err = run(sys.executable, str(program))
    assert (status, err) == (0, "")
    assert out.startswith("usage: ")
    assert out.endswith("\na thread\na handler\n")
