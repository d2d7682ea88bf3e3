"""The parts in their order, on a clock of our own: start, stop, and start that fails."""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import signal
import socket
import stat
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from cometd_chat.daemon.data_directory import DataDirectory
from cometd_chat.daemon.gc_tuning import THRESHOLDS
from cometd_chat.daemon.lifecycle import (
    STOP_TIMEOUT,
    CannotStart,
    FunctionService,
    OrderedServices,
    stop_by_signals,
)
from cometd_chat.daemon.ports import Bound, ListeningPorts, own_addresses, who_reaches, with_backlog
from cometd_chat.daemon.settings import Settings
from cometd_chat.service import build
from tests.garbage import collect
from tests.support import AS_AT_A_TERMINAL, PATIENCE


class Part(Service):
    """Writes down what happens to it; stops when it is told that it may."""

    def __init__(self, name: str, story: list[str]) -> None:
        self.name = name
        self.story = story
        self.stopped: Deferred[None] = Deferred()

    def startService(self) -> None:
        super().startService()
        self.story.append(f"start {self.name}")

    def stopService(self) -> Deferred[None]:
        super().stopService()
        self.story.append(f"stop {self.name}")
        return self.stopped


def test_parts_stop_in_reverse_each_waiting_for_the_one_before() -> None:
    story: list[str] = []
    log, chat, ports = parts = [Part(name, story) for name in ("log", "chat", "ports")]
    services = OrderedServices(parts, Clock())
    services.startService()
    done = services.stopService()
    assert story == ["start log", "start chat", "start ports", "stop ports"]
    ports.stopped.callback(None)
    assert story[-1] == "stop chat"
    chat.stopped.callback(None)
    assert story[-1] == "stop log"
    assert not done.called
    log.stopped.callback(None)
    assert done.called


def test_a_part_that_hangs_or_fails_does_not_keep_the_others_from_stopping() -> None:
    story: list[str] = []
    clock = Clock()
    parts = [Part(name, story) for name in ("log", "chat", "ports")]
    services = OrderedServices(parts, clock)
    services.startService()
    done = services.stopService()
    parts[2].stopped.errback(RuntimeError("told in the log"))
    assert story[-1] == "stop chat"
    clock.advance(STOP_TIMEOUT + 1)
    assert story[-1] == "stop log"
    parts[0].stopped.callback(None)
    assert done.called


def test_when_one_can_not_start_those_before_it_are_stopped() -> None:
    story: list[str] = []

    def refuse() -> None:
        raise CannotStart("because")

    parts = [Part("log", story), FunctionService("ports", begin=refuse), Part("systemd", story)]
    with pytest.raises(CannotStart):
        OrderedServices(parts, Clock()).startService()
    assert story == ["start log", "stop log"]


def test_build_opens_nothing(tmp_path: Path) -> None:
    reactor = MemoryReactorClock()
    build(Settings(data=tmp_path / "data"), reactor)
    assert not (tmp_path / "data").exists()
    assert reactor.tcpServers == []
    assert reactor.getDelayedCalls() == []


def test_the_collector_is_set_back_when_the_daemon_stops(tmp_path: Path) -> None:
    before = gc.get_threshold()
    parts = build(Settings(data=tmp_path / "data"), MemoryReactorClock())
    collections = parts.getServiceNamed("gc tuning")
    collections.startService()
    try:
        assert gc.get_threshold() == THRESHOLDS != before
        assert gc.get_freeze_count() > 0
    finally:
        collections.stopService()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_the_directory_is_made_for_us_alone(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "deep" / "data")
    data.startService()
    assert stat.S_IMODE((tmp_path / "deep" / "data").stat().st_mode) == 0o700
    lock = tmp_path / "deep" / "data" / "lock"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    assert lock.read_text() == f"{os.getpid()}\n"
    data.stopService()


def test_a_second_daemon_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path), DataDirectory(tmp_path)
    first.startService()
    with pytest.raises(CannotStart, match=f"process {os.getpid()}.*name another directory"):
        second.startService()
    first.stopService()
    second.startService()
    second.stopService()


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(CannotStart, match="not a directory"):
            DataDirectory(path).startService()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_without_rights() -> None:
    with pytest.raises(CannotStart, match=r"--data /proc/comet-chat: .*name another directory"):
        DataDirectory(Path("/proc/comet-chat")).startService()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(CannotStart, match="No locks available"):
        DataDirectory(tmp_path).startService()


@pytest.mark.parametrize(
    ("address", "secure", "url"),
    [
        (IPv4Address("TCP", "127.0.0.1", 8080), False, "http://127.0.0.1:8080/"),
        (IPv4Address("TCP", "0.0.0.0", 443), True, "https://127.0.0.1:443/"),
        (IPv6Address("TCP", "::", 8080), False, "http://[::1]:8080/"),
        (IPv6Address("TCP", "fd00::1", 8080), False, "http://[fd00::1]:8080/"),
        (UNIXAddress(b"/run/a.sock"), False, "http://localhost/"),
    ],
)
def test_urls(address: IPv4Address | IPv6Address | UNIXAddress, secure: bool, url: str) -> None:
    assert Bound(address, secure).url == url
    way = "--unix-socket /run/a.sock " if isinstance(address, UNIXAddress) else ""
    assert Bound(address, secure).curl == f"curl -N {way}{url}rooms/lobby.txt"
    assert Bound(address, secure).curl_of("metrics") == f"curl {way}{url}metrics"


def test_when_one_port_can_not_be_had_the_others_are_closed() -> None:
    closed: list[int] = []

    class OnePort(MemoryReactorClock):
        def listenTCP(self, port: int, *rest: Any, **options: Any) -> Any:
            if port != 1:
                raise CannotListenError("127.0.0.1", port, OSError(errno.EADDRINUSE, "taken"))
            bound = super().listenTCP(port, *rest, **options)
            bound.stopListening = lambda: closed.append(port)
            return bound

    ports = ListeningPorts(["tcp:1", "tcp:2"], Factory(), OnePort(), print)
    with pytest.raises(CannotStart, match="--listen tcp:2: it is taken"):
        ports.startService()
    assert closed == [1]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_unix_socket_that_is_taken_keeps_its_owner_and_gets_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "chat.sock"
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(str(path))
        owner.listen()
        # Twisted takes a lock beside it first, and leaves it there.
        ports = ListeningPorts([f"unix:{path}"], Factory(), reactor, print)
        with pytest.raises(CannotStart, match="it is taken"):
            ports.startService()
        assert list(tmp_path.iterdir()) == [path]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    # Of what Twisted tried to bind, it leaves the closing to the collector.
    collect()


def test_each_port_is_prepared_once_it_is_bound() -> None:
    prepared: list[object] = []
    ports = ListeningPorts(
        ["tcp:1", "tcp:2"],
        Factory(),
        MemoryReactorClock(),
        lambda bound: None,
        prepare=prepared.append,
    )
    ports.startService()
    assert len(prepared) == 2


def test_backlog() -> None:
    assert with_backlog("tcp:8080") == "tcp:8080:backlog=1024"
    assert with_backlog("tcp:8080:backlog=5") == "tcp:8080:backlog=5"
    assert with_backlog("systemd:domain=INET:index=0") == "systemd:domain=INET:index=0"


#: A daemon that gets a signal when all is started and the reactor does not run yet.
EARLY = """
import os, signal, sys
from twisted.internet import reactor
from cometd_chat.daemon.lifecycle import stop_by_signals
stop_by_signals(reactor)
os.kill(os.getpid(), signal.Signals[sys.argv[1]])
reactor.addSystemEventTrigger("during", "shutdown", print, "stopped")
reactor.run()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_before_the_reactor_runs_stops_it(name: str) -> None:
    done = subprocess.run(
        [*AS_AT_A_TERMINAL, sys.executable, "-c", EARLY, name],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")


def test_a_signal_that_is_ignored_stays_so() -> None:
    class Reactor:
        sigInt = sigTerm = staticmethod(lambda number, frame=None: None)

    before = signal.getsignal(signal.SIGTERM)
    was = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop_by_signals(Reactor())
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is Reactor.sigTerm
    finally:
        signal.signal(signal.SIGINT, was)
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", "only this machine can reach it; --listen tcp:8080 opens it to others"),
        ("::1", "only this machine can reach it; --listen tcp:8080 opens it to others"),
        ("192.0.2.7", "others use that address, too"),
        ("fe80::1%eth0", "others use that address, too"),
        ("0.0.0.0", "others use http://192.0.2.7:80/"),
        ("::", "others use http://192.0.2.7:80/ or http://[2001:db8::7]:80/"),
    ],
)
def test_the_start_says_who_reaches_a_port(host: str, said: str) -> None:
    kind = IPv6Address if ":" in host else IPv4Address
    port = Bound(kind("TCP", host, 80), secure=False)
    assert who_reaches(port, ["192.0.2.7", "2001:db8::7"]) == said


def test_a_machine_without_a_network_says_so() -> None:
    port = Bound(IPv4Address("TCP", "0.0.0.0", 80), secure=False)
    assert who_reaches(port, []) == "others reach it once this machine is in a network"


def test_its_own_addresses_are_no_names() -> None:
    assert all(ip_address(each) for each in own_addresses())
