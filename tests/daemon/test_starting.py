"""The daemon as a user starts it: real processes, real sockets, every way it can't start."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import ssl
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from tests.daemon.tls import certificate
from tests.support import PATIENCE, ROOT, Daemon, command, environment, free_port, run


def healthy(url: str) -> bool:
    with urllib.request.urlopen(f"{url}/healthz", timeout=PATIENCE) as response:
        return bool(response.status == 200)


def refusal(
    directory: Path,
    *options: str,
    twistd: Sequence[str] = ("-n", "--pidfile=", "comet-chat"),
    fresh: bool = False,
    **environ: str,
) -> str:
    """Start what can't start; the one line on stderr.

    :param fresh: as a user does; see `Daemon`.
    """
    if fresh:
        done = subprocess.run(
            [command("twistd"), *twistd, *options],
            cwd=directory,
            env=environment(environ),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        status, out, err = Daemon.forked(directory, "twistd", *twistd, *options, environ=environ)
    assert status == 1, out + err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1, err
    assert err.startswith("comet-chat: ")
    return err


def test_the_first_lines_say_where_and_how(tmp_path: Path) -> None:
    with Daemon(tmp_path, "--listen=tcp:0:interface=127.0.0.1") as daemon:
        lines = daemon.output.splitlines()
        start = next(n for n, line in enumerate(lines) if line.startswith("Comet Chat "))
        version, browser, others, curl, yours, files = lines[start : start + 6]
    assert version.endswith(f"data in {tmp_path / 'data'}")
    port = int(browser.split("http://127.0.0.1:")[1].split("/")[0])
    assert port != 0
    assert others.strip().startswith("only this machine can reach it")
    assert curl.strip() == f"curl -N http://127.0.0.1:{port}/rooms/lobby.txt"
    link = rf"  yours by http://127\.0\.0\.1:{port}/claim/[\w-]{{24}} \(once, within 60 minutes\)"
    assert re.fullmatch(link, yours)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert f"open files: {hard}" in files


def test_the_owner_link_is_shown_at_the_first_start_alone(tmp_path: Path) -> None:
    with Daemon(tmp_path, "--log-level=debug") as daemon:
        code = daemon.output.split("/claim/")[1].split()[0]
        for path in (f"/claim/{code}", f"/%63laim/{code}", f"/claim/{code}?n=1"):
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(daemon.url + path, timeout=PATIENCE).close()
    assert daemon.log.count("/claim/...") == 3
    assert daemon.log.count(code) == 1
    kept = b"".join(each.read_bytes() for each in (tmp_path / "data").iterdir() if each.is_file())
    assert code.encode() not in kept
    with Daemon(tmp_path) as daemon:
        assert "/claim/" not in daemon.output


def test_the_limit_on_open_files_is_raised(tmp_path: Path) -> None:
    lower = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 900))"
    with Daemon(tmp_path, before=lower) as daemon:
        assert "open files: 900, enough for 836 connections" in daemon.output
        limits = Path(f"/proc/{daemon.pid}/limits").read_text()
        assert "Max open files            900                  900" in limits


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    # SIGTERM ends another that started as for a user, see `test_the_application_file`.
    daemon = Daemon(tmp_path, fresh=how == signal.SIGINT)
    daemon.start()
    assert healthy(daemon.url)
    status = daemon.stop(how)
    # Twisted ends by the signal that it got, as the shell expects it.
    assert status == -how
    assert "Traceback" not in daemon.log
    assert "Server Shut Down" in daemon.log
    with Daemon(tmp_path, port=daemon.port) as again:
        assert healthy(again.url)


def test_all_kinds_of_endpoints_at_once(tmp_path: Path) -> None:
    certificate(tmp_path)
    tls_port, port = free_port(), free_port()
    with Daemon(
        tmp_path,
        f"--listen=tcp:{port}:interface=127.0.0.1",
        f"--listen=ssl:{tls_port}:interface=127.0.0.1:privateKey=both.pem:certKey=both.pem",
        "--listen=unix:chat.sock",
    ) as daemon:
        assert healthy(f"http://127.0.0.1:{port}")
        context = ssl.create_default_context(cafile=str(tmp_path / "both.pem"))
        plain = socket.create_connection(("127.0.0.1", tls_port), PATIENCE)
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            assert says_ok(tls)
        with socket.socket(socket.AF_UNIX) as unix:
            unix.settimeout(PATIENCE)
            unix.connect(str(tmp_path / "chat.sock"))
            assert says_ok(unix)
        assert f"https://127.0.0.1:{tls_port}/" in daemon.output
        assert "curl -N --unix-socket chat.sock http://localhost/rooms/lobby.txt" in daemon.output


def test_the_metrics_on_a_port_of_their_own(tmp_path: Path) -> None:
    port = free_port()
    with Daemon(tmp_path, f"--metrics=tcp:{port}:interface=127.0.0.1") as daemon:
        url = f"http://127.0.0.1:{port}/metrics"
        assert f"  metrics: curl {url}" in daemon.output
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert b"comet_chat_sessions 0.0" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{daemon.url}/metrics", timeout=PATIENCE)
        taken = f"--metrics=tcp:{daemon.port}:interface=127.0.0.1"
        sentence = refusal(tmp_path, f"--listen=tcp:{free_port()}", "--data=other", taken)
        assert f"--metrics tcp:{daemon.port}:interface=127.0.0.1: it is taken" in sentence


def says_ok(stream: socket.socket) -> bool:
    """Whether requests are answered, those that the fast lane takes and others, in turn."""
    answers = []
    for path in (b"/healthz", b"/api/v1/events/poll", b"/healthz", b"/api/v1/events/poll"):
        stream.sendall(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
        answer = b""
        while not answer.endswith((b"alive\n", b"}\n")) and (data := stream.recv(4096)):
            answer += data
        answers.append(answer[:13])
    return answers == [b"HTTP/1.1 200 "] * 4


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("--listen=tcp:nowhere", "write it like tcp:8080"),
        ("--heartbeat=31", "give 30 or less"),
        ("--nonsense", "there is no such option"),
    ],
)
def test_nothing_is_made_while_an_option_is_wrong(tmp_path: Path, option: str, remedy: str) -> None:
    # One of them as for a user.
    assert remedy in refusal(tmp_path, option, fresh=option == "--nonsense")
    assert remedy in refusal(tmp_path, option, twistd=("comet-chat",))
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        endpoint = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        assert f"--listen {endpoint}: it is taken" in refusal(
            tmp_path, f"--listen={endpoint}", fresh=True
        )
        # With a pid file, as twistd makes it when it isn't told otherwise: none is left behind.
        refusal(tmp_path, f"--listen={endpoint}", twistd=("-n", "comet-chat"))
        assert not (tmp_path / "twistd.pid").exists()


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    for interface in ("192.0.2.1", "127.0.0.300"):
        option = f"--listen=tcp:{free_port()}:interface={interface}"
        assert "can't be bound" in refusal(tmp_path, option)


def test_a_directory_that_can_not_be_made(tmp_path: Path) -> None:
    port = f"--listen=tcp:{free_port()}:interface=127.0.0.1"
    assert "--data /proc/nowhere: " in refusal(tmp_path, port, "--data=/proc/nowhere")


def test_a_second_daemon_on_the_same_data(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        port = f"--listen=tcp:{free_port()}:interface=127.0.0.1"
        said = refusal(tmp_path, port, f"--data={daemon.data}")
        assert f"another daemon (process {daemon.pid}) uses this directory" in said
        daemon.kill()
        # The lock goes with the process, however it ended.
        daemon.start()
        assert healthy(daemon.url)


def test_daemonized_it_tells_the_one_who_waits(tmp_path: Path) -> None:
    port = free_port()
    options = [f"--listen=tcp:{port}:interface=127.0.0.1", "--data=data"]
    daemonize = [command("twistd"), "comet-chat", *options]
    done = subprocess.run(daemonize, cwd=tmp_path, env=environment(), timeout=PATIENCE)
    assert done.returncode == 0
    pid = int((tmp_path / "twistd.pid").read_text())
    try:
        assert healthy(f"http://127.0.0.1:{port}")
        other = ("--pidfile=b.pid", "--logfile=b.log", "comet-chat", *options)
        status, _, said = Daemon.forked(tmp_path, "twistd", *other)
        assert status == 1
        assert "--data" in said
        # Twisted tells who waits before it removes that.
        until_gone(tmp_path / "b.pid")
        assert "uses this directory" in (tmp_path / "b.log").read_text()
    finally:
        os.kill(pid, signal.SIGTERM)
    until_gone(tmp_path / "twistd.pid")


def until_gone(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_application_file(tmp_path: Path) -> None:
    port = free_port()
    variables = {
        "COMET_CHAT_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "COMET_CHAT_DATA": str(tmp_path / "data"),
    }
    twistd = [command("twistd"), "-ny", str(ROOT / "chat.tac"), "--pidfile="]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            twistd, cwd=tmp_path, env=environment(variables), stdout=log, stderr=log
        )
    try:
        wait_for_port(port)
        assert healthy(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM
    wrong = ("-ny", str(ROOT / "chat.tac"), "--pidfile=")
    assert "COMET_CHAT_LIMITS 'x'" in refusal(tmp_path, twistd=wrong, COMET_CHAT_LIMITS="x")


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_help_is_twistds_own(tmp_path: Path) -> None:
    status, out, err = run(command("twistd"), "-n", "comet-chat", "--help")
    assert (status, err) == (0, "")
    assert "--expiration-delay=" in out


def test_the_data_directory_is_private(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        assert stat.S_IMODE(daemon.data.stat().st_mode) == 0o700
        for path in daemon.data.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_requests_are_logged_when_that_is_asked_for(tmp_path: Path) -> None:
    for options, lines in (((), 0), (("--log-level=debug",), 1)):
        with Daemon(tmp_path, *options) as daemon:
            assert healthy(daemon.url)
        assert daemon.log.count("GET /healthz 200") == lines
        assert "Server Shut Down" in daemon.log
