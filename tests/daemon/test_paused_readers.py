"""Readers that are there and read nothing: their TCP says so again and again, and takes nothing."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.daemon.talk import log_in, metric, say, wait_until
from tests.support import Daemon, read_until

EXPIRATION_DELAY = 4.0
EXPIRED = 'comet_chat_expired_total{transport="stream"}'
HELD = 'comet_chat_held_requests{transport="stream"}'


@pytest.mark.parametrize("option", ["--fast-lane=on", "--fast-lane=off", "--direct-write=off"])
def test_they_have_all_of_the_delay(tmp_path: Path, option: str) -> None:
    options = ("--heartbeat=1", "--poll-timeout=2", f"--expiration-delay={EXPIRATION_DELAY:g}")
    with Daemon(tmp_path, *options, "--limits=off", option) as daemon, socket.socket() as reader:
        port = daemon.port
        token = log_in(port, "ada")
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", port))
        reader.sendall(b"GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read_until(reader, b"hello")
        began = time.monotonic()
        # More than its window, less than the budget; what it takes of that it takes at once.
        for number in range(10):
            assert say(port, token, f"{number} " + "x" * 7000).status == 201
        wait_until(lambda: not metric(port, HELD), "it is let go")
        assert time.monotonic() - began > EXPIRATION_DELAY - 0.5
        assert metric(port, EXPIRED) == 1
        assert metric(port, "comet_chat_slow_readers_cut_total") == 0
        assert "a held request expired: stream" in daemon.log
        # It is cut: what it would read now has no proper end.
        said = b""
        with suppress(ConnectionResetError):
            while data := reader.recv(65536):
                said += data
        assert not said.endswith(b"0\r\n\r\n")
