"""The example, run as a reader of docs/embedding.md would run it: real twistd, real socket."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from urllib.request import urlopen

import pytest

import cometd_chat

QUOTES = Path(__file__).parents[2] / "examples" / "quotes.tac"
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
SECONDS = 20


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The example on a port of the system's choosing, with a delay that a test can wait for."""
    text = QUOTES.read_text()
    for old, new in (("tcp:8081", "tcp:0"), ("expiration_delay=300", "expiration_delay=2")):
        assert old in text
        text = text.replace(old, new)
    tac = tmp_path / "quotes.tac"
    tac.write_text(text)
    process = subprocess.Popen(
        [*TWISTD, "-n", "--pidfile=", "-y", str(tac)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(cometd_chat.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        yield process
        process.kill()


def port_of(daemon: subprocess.Popen[str]) -> int:
    assert daemon.stdout is not None
    for line in daemon.stdout:
        if found := re.search(r"Site starting on (\d+)", line):
            return int(found[1])
    raise AssertionError("twistd ended without listening")


def get_quotes(port: int) -> HTTPResponse:
    response: HTTPResponse = urlopen(f"http://127.0.0.1:{port}/quotes", timeout=SECONDS)
    return response


def test_is_under_40_lines() -> None:
    assert len(QUOTES.read_text().splitlines()) < 40


@pytest.mark.slow
def test_quotes_come_then_expire_and_a_shutdown_ends_the_stream(
    daemon: subprocess.Popen[str],
) -> None:
    port = port_of(daemon)
    with get_quotes(port) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        # To its regular end, which is the reaper's doing.
        quotes = re.findall(rb"data: ([A-Z]+ \d+\.\d\d)\n\n", response.read())
    assert len(quotes) >= 2
    with get_quotes(port) as response:
        assert response.readline().startswith(b"data: ")
        daemon.terminate()
        # An http.client.IncompleteRead here would be a stream that was cut instead of ended.
        response.read()
    assert daemon.wait(SECONDS) in (0, -signal.SIGTERM)  # twistd passes the signal on
