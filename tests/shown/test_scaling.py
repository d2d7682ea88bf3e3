"""The set-up of one machine, typed as it is written, but for what is installed already."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.talk import Held, log_in, once, say, wait_until
from tests.documents import blocks
from tests.postgresql import PostgresServer
from tests.support import PATIENCE, ROOT, environment, free_port

SCALING = ROOT / "docs" / "scaling.md"

#: What was done by whoever made the test's machine: by the beginnings of lines.
DONE = ("apt-get install ", "python3 -m venv ", "/opt/comet-chat/bin/pip install ")


def as_here(body: str, server: PostgresServer) -> str:
    """The commands, for what is installed here, and the server of this test."""
    lines = [line for line in body.splitlines() if not line.startswith(DONE)]
    assert len(body.splitlines()) == len(lines) + len(DONE)
    text = "\n".join(lines)
    for shown, real in (
        ("/opt/comet-chat/bin", str(Path(sys.executable).parent)),
        ("@127.0.0.1/", f"@127.0.0.1:{server.port}/"),
    ):
        assert shown in text
        text = text.replace(shown, real)
    return text


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("runuser") is None, reason="it is written for root"
)
def test_one_machine(tmp_path: Path, own_postgresql: PostgresServer) -> None:
    (body,) = [each.body for each in blocks(SCALING) if each.name == "one-machine.sh"]
    port, log = free_port(), tmp_path / "log"
    environ = environment(
        {
            "PGHOST": own_postgresql.host,
            "PGPORT": str(own_postgresql.port),
            "COMET_CHAT_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        }
    )
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["sh", "-e", "-c", as_here(body, own_postgresql)],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def serves() -> bool:
        assert shell.poll() is None, log.read_text()
        return "in each of 2 workers" in log.read_text()

    try:
        wait_until(serves, "it serves")
        # A conversation of all of them: who posts and who reads are with any worker.
        token = log_in(port, "ann")
        with (
            Held(port, "/api/v1/events/stream") as one,
            Held(port, "/api/v1/events/stream") as other,
        ):
            for each in (one, other):
                each.until(b"hello")
            for number in range(10):
                assert say(port, token, f"line-{number}.").status == 201
            for each in (one, other):
                each.until(b"line-9.")
                assert re.findall(rb"line-(\d)\.", each.read) == [b"%d" % n for n in range(10)]
        assert once(port, "GET", "/readyz").status == 200
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(PATIENCE)
    wait_until(lambda: "Server Shut Down" in log.read_text(), "it has stopped")
    assert "Traceback" not in log.read_text()
