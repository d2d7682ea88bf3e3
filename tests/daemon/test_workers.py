"""Workers: real processes that share their ports, killed, stopped, hung and replaced."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from http.client import HTTPException
from itertools import count
from pathlib import Path
from threading import Event

import pytest

from cometd_chat.daemon.worker import GRACE
from tests.daemon.talk import Held, ask, connect, history, log_in, metric, once, wait_until
from tests.daemon.test_systemd_sockets import HAND_OVER, handing_over
from tests.daemon.tls import certificate
from tests.postgresql import PASSWORD
from tests.starter import FORKED_WORKERS
from tests.support import PATIENCE, Daemon, free_port

STAND_INS = Path(__file__).parent / "stand_ins"

#: What a supervisor runs first whose workers can be told to fail.
STAND_IN = f"""
import sys
sys.path.insert(0, {str(STAND_INS)!r})
import stand_in_supervisor
"""


class Workers(Daemon):
    """A supervisor and its workers.

    :param url: of the database.
    :param workers: how many.
    :param stand_ins: variables for ``stand_in_supervisor.py``; without, it is a real one.
    :param fresh: it and its workers start as for a user; see `Daemon`.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        *options: str,
        workers: int = 2,
        stand_ins: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
        environ: dict[str, str] | None = None,
        port: int | None = None,
        pass_fds: Sequence[int] = (),
        before: str = "",
        fresh: bool = False,
    ) -> None:
        fresh = fresh or bool(prefix or pass_fds)
        environ = {**(environ or {}), "COMET_CHAT_DATABASE": url}
        first = "" if stand_ins is None else STAND_IN
        environ |= stand_ins or {}
        super().__init__(
            directory,
            f"--workers={workers}",
            *options,
            port=port,
            prefix=prefix,
            environ=environ,
            pass_fds=pass_fds,
            before="" if fresh else before + first + FORKED_WORKERS,
            fresh=fresh,
        )
        self.count = workers

    def workers(self) -> dict[int, int]:
        """The process of each worker that is there, by its number."""
        return {number: pid for pid, number in children(self.pid)}

    def wait_for_others(self, but: Sequence[int]) -> dict[int, int]:
        """Wait until all workers serve, and none of these processes."""

        def serve() -> bool:
            there = self.workers()
            return (
                len(there) == self.count
                and not set(there.values()) & set(but)
                and all(f"serves as process {pid}\n" in self.log for pid in there.values())
            )

        wait_until(serve, "all of them serve")
        return self.workers()

    def __enter__(self) -> Workers:
        self.start()
        return self


def children(pid: int) -> list[tuple[int, int]]:
    """Workers that a process has started: process and number."""
    found = []
    # It starts them by any of its threads.
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in each.read_text().split():
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if words[1:2] == [b"-m"]:
                    found.append((int(child), int(words[3])))
                # One that was forked is called so.
                name, _, number = Path(f"/proc/{child}/comm").read_text().strip().partition("-")
                if name == "worker":
                    found.append((int(child), int(number)))
    return found


def is_there(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def is_ok(port: int) -> bool:
    return once(port, "GET", "/healthz").status == 200


@pytest.fixture
def daemon(tmp_path: Path, database_url: str) -> Iterator[Workers]:
    with Workers(tmp_path, database_url) as daemon:
        yield daemon


def test_they_share_the_ports_and_are_announced_once(tmp_path: Path, empty_url: str) -> None:
    metrics, path = free_port(), tmp_path / "socket"
    with Workers(
        tmp_path,
        empty_url,
        f"--metrics=tcp:{metrics}:interface=127.0.0.1",
        "--listen=tcp:0:interface=127.0.0.1",
        f"--listen=unix:{path}:mode=620",
    ) as daemon:
        (port,) = map(int, re.findall(r"http://127\.0\.0\.1:(\d+)/ in two", daemon.output))
        assert daemon.output.count("Comet Chat ") == 1
        assert daemon.output.count("in each of 2 workers") == 1
        assert sorted(daemon.workers()) == [1, 2]
        assert is_ok(port)
        assert metric(metrics, "process_open_fds") > 0
        # It is there alone.
        assert once(port, "GET", "/metrics").status == 404
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert PASSWORD not in daemon.log
        # Which of them said what.
        for number in daemon.workers():
            assert f"[worker {number}] " in daemon.log
        (pid, *_) = daemon.workers().values()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_there(pid), "the worker has stopped")
        # A worker that stops leaves the path to those who go on, and its mode is what it was.
        assert stat.S_IMODE(path.stat().st_mode) == 0o620
    assert not path.exists()
    assert "Traceback" not in daemon.log


def test_tls(tmp_path: Path, database_url: str) -> None:
    certificate(tmp_path)
    both, port = tmp_path / "both.pem", free_port()
    listen = f"--listen=ssl:{port}:interface=127.0.0.1:privateKey={both}:certKey={both}"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Workers(tmp_path, database_url, listen):
        for _ in range(4):
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                context.wrap_socket(plain) as client,
            ):
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_killed_worker_comes_back_and_nobody_waits_for_it(daemon: Workers) -> None:
    before = daemon.workers()
    os.kill(before[2], signal.SIGKILL)
    for _ in range(50):
        assert is_ok(daemon.port)
    after = daemon.wait_for_others([before[2]])
    assert after[1] == before[1]
    assert "worker 2 was ended by SIGKILL; it is started again in 1 s" in daemon.log


def test_a_hung_worker_is_killed_and_replaced(tmp_path: Path, database_url: str) -> None:
    with Workers(tmp_path, database_url, stand_ins={"STAND_IN_SILENCE": "2"}) as daemon:
        before = daemon.workers()
        with ExitStack() as clients:
            # What it has accepted already hangs with it; what comes is for the other one.
            os.kill(before[1], signal.SIGSTOP)
            time_of_stop = time.monotonic()
            for _ in range(50):
                client = clients.enter_context(
                    socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
                )
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            assert time.monotonic() - time_of_stop < PATIENCE
        daemon.wait_for_others([before[1]])
        assert not is_there(before[1])
        assert "worker 1" in daemon.log
        assert "is killed: serving for" in daemon.log


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_supervisor(
    tmp_path: Path, how: signal.Signals, database_url: str
) -> None:
    daemon = Workers(tmp_path, database_url)
    daemon.start()
    workers = daemon.workers().values()
    with Held(daemon.port, "/api/v1/events/stream") as stream:
        stream.until(b"hello")
        daemon.stop(how)
        assert b'"reopen"' in stream.to_end()
    wait_until(lambda: not any(map(is_there, workers)), "the workers have stopped")
    # Nothing is in the way of the next one.
    with daemon:
        assert is_ok(daemon.port)


def test_a_port_that_is_taken_is_told_and_starts_nobody(tmp_path: Path, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = Workers(tmp_path, database_url, port=taken.getsockname()[1])
        daemon.begin()
        assert daemon.stop(None) == 1
    assert "it is taken; stop the program that has it" in daemon.log
    assert "[worker" not in daemon.log


def test_a_worker_that_cannot_start_is_told_once(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "fails").write_text("2")
    daemon = Workers(tmp_path, database_url, stand_ins={"STAND_IN_FAILS": str(tmp_path / "fails")})
    daemon.begin()
    assert daemon.stop(None) == 1
    last = daemon.log.splitlines()[-1]
    assert last == (
        "comet-chat: worker 2 ended with status 1 before it served: this worker was told to fail; "
        "tell it otherwise"
    )
    assert "http://" not in daemon.log
    assert "Traceback" not in daemon.log


def test_when_new_code_fails_the_old_goes_on(tmp_path: Path, database_url: str) -> None:
    fails = tmp_path / "fails"
    with Workers(tmp_path, database_url, stand_ins={"STAND_IN_FAILS": str(fails)}) as daemon:
        before = daemon.workers()
        fails.write_text("1")
        os.kill(daemon.pid, signal.SIGHUP)
        wait_until(lambda: "send SIGHUP again" in daemon.log, "the failure is told")
        assert daemon.workers() == before
        # And one that dies now comes back again and again, ever later.
        os.kill(before[1], signal.SIGKILL)
        wait_until(lambda: "it is started again in 2 s" in daemon.log, "it is tried again")
        assert is_ok(daemon.port)
        fails.unlink()
        daemon.wait_for_others([before[1]])
    assert 2 <= daemon.log.count("told to fail") <= 4 * 2


def test_connections_are_spread_evenly(daemon: Workers) -> None:
    def shares() -> list[float]:
        found: dict[float, float] = {}
        while len(found) < 2:
            text = once(daemon.port, "GET", "/metrics").text
            (start,) = re.findall(r"^process_start_time_seconds (\S+)$", text, re.M)
            (count,) = re.findall(r"^comet_chat_connections (\S+)$", text, re.M)
            found[float(start)] = float(count)
        return sorted(found.values())

    with ExitStack() as clients:
        held = []
        for _ in range(200):
            held.append(
                clients.enter_context(
                    socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
                )
            )
        wait_until(lambda: sum(shares()) >= 200, "all are accepted")
        least, most = shares()
        assert most <= least * 1.1 + 2
        # Half of them go; those who come even it out.
        for each in held[:100]:
            each.close()
        wait_until(lambda: sum(shares()) <= 102, "half of them are gone")
        for _ in range(100):
            clients.enter_context(socket.create_connection(("127.0.0.1", daemon.port), PATIENCE))
        wait_until(lambda: sum(shares()) >= 200, "all are accepted")
        least, most = shares()
        assert most <= least * 1.1 + 2


MESSAGES = "/api/v1/rooms/lobby/messages"


class Load:
    """Requests on new connections all the while, and on some that are kept.

    :param rate: new connections a second.
    """

    def __init__(self, port: int, rate: float) -> None:
        self.port = port
        self.rate = rate
        self.answered = 0
        self.posted: list[str] = []
        self.reopened = 0
        self._over = Event()

    def come_anew(self) -> None:
        while not self._over.wait(1 / self.rate):
            assert is_ok(self.port)
            self.answered += 1

    def keep(self, name: str) -> None:
        """Post on one connection for as long as it may be kept."""
        token = log_in(self.port, name)
        connection, answered = connect(self.port), time.monotonic()
        for number in count():
            if self._over.wait(0.04):
                break
            text = f"{name}-{number}"
            body = {"text": text, "client_id": text}
            silent = time.monotonic() - answered
            try:
                answer = ask(connection, "POST", MESSAGES, token=token, body=body)
            except (OSError, HTTPException):
                # Who is silent for nearly as long as an old worker waits may find it gone.
                assert silent > GRACE / 2, f"cut off after {silent:.2f} s"
                connection.close()
                connection = connect(self.port)
                answer = ask(connection, "POST", MESSAGES, token=token, body=body)
            answered = time.monotonic()
            assert answer.status in (200, 201)
            self.posted.append(text)
            if answer.headers.get("connection") == "close":
                self.reopened += 1
                connection.close()
                connection = connect(self.port)
        connection.close()

    def stop(self) -> None:
        self._over.set()


def test_all_are_replaced_and_nobody_is_refused(tmp_path: Path, database_url: str) -> None:
    with (
        Workers(tmp_path, database_url, "--limits=off") as daemon,
        ThreadPoolExecutor(8) as pool,
        ExitStack() as streams,
    ):
        before = daemon.workers()
        load = Load(daemon.port, rate=25)
        held = [
            streams.enter_context(Held(daemon.port, "/api/v1/events/stream")) for _ in range(20)
        ]
        for each in held:
            each.until(b"hello")
        running = [pool.submit(load.come_anew)]
        running += [pool.submit(load.keep, name) for name in ("ann", "bob", "cat")]
        try:
            os.kill(daemon.pid, signal.SIGHUP)
            ended = [pool.submit(each.to_end) for each in held]
            told = [stream.result(PATIENCE) for stream in ended]
            daemon.wait_for_others(list(before.values()))
            wait_until(lambda: "worker 2 of 2 is a new one" in daemon.log, "all are replaced")
        finally:
            load.stop()
        for task in running:
            task.result(PATIENCE)
        assert all(b'"reopen"' in each for each in told)
        assert load.answered > 0
        assert load.reopened > 0
        # Each once, whichever worker stored it.
        assert sorted(each["text"] for each in history(daemon.port)) == sorted(load.posted)
        assert sorted(daemon.workers()) == [1, 2]
        assert not set(daemon.workers().values()) & set(before.values())
    assert "Traceback" not in daemon.log


def test_what_waits_in_the_queue_of_a_port_is_not_lost(daemon: Workers) -> None:
    """150 connections at once, while the workers are replaced."""
    before = daemon.workers()
    os.kill(daemon.pid, signal.SIGHUP)
    # The first old one stops now; what it has not accepted is the other one's.
    wait_until(
        lambda: before[1] not in daemon.workers().values() or len(children(daemon.pid)) > 2,
        "a new one has begun",
    )

    def one(_: int) -> bool:
        return is_ok(daemon.port)

    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(one, range(150))) == [True] * 150
    daemon.wait_for_others(list(before.values()))


def test_systemd_hears_of_the_supervisor_alone(tmp_path: Path, database_url: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        handed = listener.fileno()
        options = ("--listen=systemd:domain=INET:index=0",)
        port = listener.getsockname()[1]
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}

        def hear(wanted: bytes) -> list[bytes]:
            heard: list[bytes] = []
            # The watchdog is told all the time, so that no single wait takes long.
            end = time.monotonic() + PATIENCE
            while wanted not in heard:
                assert time.monotonic() < end, f"{wanted!r} did not come, only {set(heard)}"
                heard += systemd.recv(4096).split(b"\n")
            return heard

        # All of them as for a user.
        with Workers(
            tmp_path,
            database_url,
            *options,
            port=port,
            environ=environ,
            prefix=[sys.executable, "-c", HAND_OVER, str(handed)],
            pass_fds=[handed],
        ) as daemon:
            heard = hear(b"WATCHDOG=1")
            assert heard[0] == b"READY=1"
            assert heard.count(b"READY=1") == 1
            assert is_ok(port)
            for pid in daemon.workers().values():
                given = Path(f"/proc/{pid}/environ").read_bytes()
                for name in (b"NOTIFY_SOCKET", b"LISTEN_FDS", b"LISTEN_PID", b"WATCHDOG_USEC"):
                    assert b"\0" + name not in given
            for pid in (daemon.pid, *daemon.workers().values()):
                assert PASSWORD.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
        hear(b"STOPPING=1")
        # The queue is systemd's: who comes in between waits.
        with (
            handing_over(listener, tmp_path) as first,
            socket.create_connection(("127.0.0.1", port), PATIENCE) as early,
            Workers(
                tmp_path, database_url, *options, port=port, environ=environ, before=first
            ) as daemon,
        ):
            early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert early.recv(4096).startswith(b"HTTP/1.1 200 ")
            hear(b"READY=1")
            before = daemon.workers()
            os.kill(daemon.pid, signal.SIGHUP)
            heard = hear(b"RELOADING=1")
            assert b"READY=1" not in heard
            assert any(each.startswith(b"MONOTONIC_USEC=") for each in hear(b"READY=1") + heard)
            assert not set(daemon.workers().values()) & set(before.values())
            os.kill(daemon.workers()[1], signal.SIGKILL)
            hear(b"STATUS=1 of 2 workers serve")
            hear(b"STATUS=2 of 2 workers serve")
        hear(b"STOPPING=1")
