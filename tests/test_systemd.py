"""What systemd is told, over real datagram sockets and a clock of our own."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock

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


def test_the_units_are_well_formed(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        # Debian's test machines have it; elsewhere the units are only read.
        assert "Type=notify" in (ROOT / "deploy/comet-chat.service").read_text()
        return
    for name in ("comet-chat.service", "comet-chat.socket"):
        text = (ROOT / "deploy" / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/comet-chat/bin/twistd", command("twistd")))
    units = [str(tmp_path / "comet-chat.service"), str(tmp_path / "comet-chat.socket")]
    status, out, err = run("systemd-analyze", "verify", *units)
    assert (status, out + err) == (0, "")
