"""What systemd is told, over real datagram sockets and a clock of our own."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from cometd_chat.daemon.settings import OPTIONS, Options
from cometd_chat.daemon.systemd import Notifier
from tests.support import ROOT, command, run


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@comet-chat-{os.getpid()}"


@pytest.fixture
def systemd(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[1:] if address[0] == "@" else address)
        receiver.setblocking(False)
        yield receiver


def heard(systemd: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_ready_pulse_and_stop(address: str, systemd: socket.socket) -> None:
    clock = Clock()
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "8000000"}
    notifier = Notifier.from_environment(environ, clock)
    assert heard(systemd) == []
    notifier.startService()
    assert heard(systemd) == ["READY=1", "WATCHDOG=1"]
    clock.advance(3.9)
    assert heard(systemd) == []
    clock.advance(0.2)
    clock.advance(4)
    assert heard(systemd) == ["WATCHDOG=1", "WATCHDOG=1"]
    notifier.stopService()
    assert heard(systemd) == ["STOPPING=1"]
    clock.advance(4)
    assert heard(systemd) == ["WATCHDOG=1"]


def test_no_watchdog(address: str, systemd: socket.socket) -> None:
    clock = Clock()
    Notifier.from_environment({"NOTIFY_SOCKET": address}, clock).startService()
    assert heard(systemd) == ["READY=1"]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_ours(
    address: str, systemd: socket.socket, environ: dict[str, str]
) -> None:
    clock = Clock()
    Notifier.from_environment({"NOTIFY_SOCKET": address, **environ}, clock).startService()
    assert heard(systemd) == ["READY=1"]
    assert clock.getDelayedCalls() == []


def test_without_systemd_nothing_happens() -> None:
    clock = Clock()
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "8000000"}, clock)
    notifier.startService()
    notifier.stopService()
    assert clock.getDelayedCalls() == []


def test_a_socket_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "nobody"), None, Clock())
    notifier.startService()
    notifier.stopService()


def verified(directory: Path, addition: str) -> tuple[int, str]:
    """What systemd says to our units, with an addition to the service."""
    for name in ("comet-chat.service", "comet-chat.socket"):
        text = (ROOT / "deploy" / name).read_text()
        (directory / name).write_text(text.replace("/opt/comet-chat/bin/twistd", command("twistd")))
    more = directory / "comet-chat.service.d"
    more.mkdir(exist_ok=True)
    (more / "workers.conf").write_text(addition)
    units = [str(directory / "comet-chat.service"), str(directory / "comet-chat.socket")]
    status, out, err = run("systemd-analyze", "verify", *units)
    return status, out + err


def test_the_units_are_well_formed(tmp_path: Path) -> None:
    workers = (ROOT / "deploy/comet-chat.service.d/workers.conf").read_text()
    if shutil.which("systemd-analyze") is None:
        # Debian's test machines have it; elsewhere the units are only read.
        assert "Type=notify" in (ROOT / "deploy/comet-chat.service").read_text()
        assert "ExecReload=/bin/kill -HUP $MAINPID" in workers
        return
    assert verified(tmp_path, "") == (0, "")
    assert verified(tmp_path, workers) == (0, "")
    # That it is read at all.
    _, said = verified(tmp_path, workers.replace("KillMode", "KillMood"))
    assert "KillMood" in said


def test_the_variables_of_three_machines_are_options(tmp_path: Path) -> None:
    """As systemd reads a file of them (systemd.exec(5), EnvironmentFile)."""
    lines = (ROOT / "deploy/cluster.env").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    environ = {name: value for name, _, value in pairs}
    assert set(environ) <= {option.variable for option in OPTIONS}
    options = Options(environ)
    options.parseOptions([])
    assert options.settings.database.is_postgresql
    assert options.settings.workers == 4
    assert "PASSWORD" not in repr(options.settings)


def test_what_a_supervisor_says_more(address: str, systemd: socket.socket) -> None:
    clock, is_alive = Clock(), [True]
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "8000000"}
    notifier = Notifier.from_environment(environ, clock, lambda: is_alive[0])
    notifier.show("0 of 2 workers serve")
    notifier.startService()
    notifier.show("2 of 2 workers serve")
    assert heard(systemd) == ["READY=1", "WATCHDOG=1", "STATUS=2 of 2 workers serve"]
    is_alive[0] = False
    clock.advance(4)
    assert heard(systemd) == []
    is_alive[0] = True
    clock.advance(4)
    assert heard(systemd) == ["WATCHDOG=1"]
    notifier.reloading()
    notifier.reloaded()
    reloading, ready = heard(systemd)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", reloading)
    assert ready == "READY=1"
