"""The set-ups of one machine and of three, typed as they are written, but for what is installed
already, and for systemd, which is not here: what it would start is started with its files."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon.proxies import Haproxy, Proxy, replaced
from tests.daemon.talk import Held, log_in, once, say, wait_until
from tests.documents import blocks
from tests.postgresql import PostgresServer
from tests.starter import FORKED_WORKERS
from tests.support import PATIENCE, ROOT, Daemon, environment, free_port

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


#: For a machine of a test, which has all addresses of 127.0.0.0/8.
MACHINES = ("127.0.0.11", "127.0.0.12", "127.0.0.13")


def type_in(name: str, directory: Path, changes: dict[str, str]) -> str:
    """Run a block as somebody without systemd, below a directory; what it printed."""
    (body,) = [each.body for each in blocks(SCALING) if each.name == name]
    text = "\n".join(line for line in body.splitlines() if not line.startswith(DONE))
    for shown, real in changes.items():
        assert shown in text, shown
        text = text.replace(shown, real)
    done = subprocess.run(
        ["sh", "-e", "-c", f'systemctl() {{ echo systemctl "$@"; }}\n{text}'],
        cwd=ROOT,
        env=environment({"EDITOR": "true"}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Machine(Daemon):
    """One of three, with what its set-up has put into its directory."""

    def __init__(self, directory: Path, address: str, port: int, changes: dict[str, str]) -> None:
        (directory / "etc").mkdir(parents=True)
        said = type_in(
            "three-machines.sh",
            directory,
            {
                "/opt/comet-chat/bin": str(Path(sys.executable).parent),
                "/etc/": f"{directory}/etc/",
                "10.0.0.11:8080": f"{address}:{port}",
                "systemd/system/": "",
            },
        )
        assert "systemctl enable --now comet-chat.socket comet-chat.service" in said
        units = directory / "etc"
        assert f"ListenStream={address}:{port}" in (units / "comet-chat.socket").read_text()
        assert (units / "comet-chat.service.d" / "workers.conf").is_file()
        variables = units / "comet-chat.env"
        assert stat.S_IMODE(variables.stat().st_mode) == 0o600
        text = variables.read_text()
        for shown, real in changes.items():
            assert shown in text, shown
            text = text.replace(shown, real)
        lines = [line.partition("=") for line in text.splitlines() if line and line[0] != "#"]
        super().__init__(
            directory,
            f"--listen=tcp:{port}:interface={address}",
            port=port,
            environ={name: value for name, _, value in lines},
            before=FORKED_WORKERS,
        )


def test_three_machines(tmp_path: Path, own_postgresql: PostgresServer) -> None:
    own_postgresql.execute("CREATE ROLE chat LOGIN PASSWORD 'a-password'")
    own_postgresql.execute("CREATE DATABASE chat OWNER chat ENCODING 'UTF8' TEMPLATE template0")
    port, peers, dead, server = free_port(), free_port(), free_port(), own_postgresql.port
    machines = [
        Machine(
            tmp_path / address,
            address,
            port,
            {
                "PASSWORD": "a-password",
                # Whichever can be written to.
                "10.0.0.20:5432,10.0.0.21:5432": f"127.0.0.1:{dead},127.0.0.1:{server}",
                "chat-1": f"chat-{number}",
                "tcp:8090:interface=10.0.0.11": f"tcp:{peers}:interface={address}",
                "WORKERS=4": "WORKERS=2",
                "10.0.0.10": "127.0.0.1",
            },
        )
        for number, address in enumerate(MACHINES, 1)
    ]
    with ExitStack() as running:
        for machine in machines:
            machine.begin()
            running.callback(machine.terminate)
        for machine in machines:
            machine.wait_until_ready()
        proxy = running.enter_context(Cluster(tmp_path, [f"{each}:{port}" for each in MACHINES]))
        name = {"name": "ann"}
        token = json.loads(ask(proxy, "/api/v1/session", name))["token"]
        cursor = json.loads(ask(proxy, "/api/v1/events/poll"))["cursor"]
        # Each request at the next machine, whatever was done before at another.
        for number in range(6):
            said = {"text": f"line-{number}."}
            assert json.loads(ask(proxy, "/api/v1/rooms/lobby/messages", said, token=token))["id"]
        for _ in range(6):
            poll = ask(proxy, f"/api/v1/events/poll?rooms=lobby&cursor={cursor}")
            assert re.findall(r"line-(\d)\.", poll) == list("012345")
        assert set(own_postgresql.query("SELECT name FROM nodes", "chat")) == {
            (f"chat-{machine}/{worker}",) for machine in (1, 2, 3) for worker in (1, 2)
        }
    for machine in machines:
        assert "Traceback" not in machine.log


class Cluster(Haproxy):
    """HAProxy with the file that its set-up has put there."""

    file = "haproxy-cluster.cfg"

    def __init__(self, directory: Path, machines: list[str]) -> None:
        self._machines = machines
        super().__init__(directory, None)
        # As the block does it, with the file as it is for this test.
        (directory / "etc" / "haproxy").mkdir(parents=True)
        said = type_in(
            "balancer.sh",
            directory,
            {
                "deploy/haproxy-cluster.cfg": str(self.configuration),
                "/etc/haproxy": f"{directory}/etc/haproxy",
            },
        )
        assert "systemctl reload haproxy" in said

    def adapt(self, text: str) -> str:
        shown = [f"10.0.0.{11 + number}:8080" for number in range(3)]
        return super().adapt(replaced(text, dict(zip(shown, self._machines, strict=True))))


def ask(proxy: Proxy, path: str, body: object = None, token: str = "") -> str:
    """What is answered to one request."""
    method = "GET" if body is None else "POST"
    answer = proxy.once(method, path, token=token or None, body=body)
    assert answer.status < 300, answer
    return answer.text
