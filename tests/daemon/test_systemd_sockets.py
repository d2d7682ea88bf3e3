"""A port that somebody else holds open, as systemd does: restarts refuse no connection."""

from __future__ import annotations

import signal
import socket
import stat
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

from tests.support import PATIENCE, Daemon

#: What systemd does: put the socket at file 3 and say so to the process that it becomes.
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="chat")
os.execv(sys.argv[2], sys.argv[2:])
"""


#: The same in a process that was forked, which fetches the socket.
FETCH = """
import os, socket
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({path!r})
    _, (handed,), _, _ = socket.recv_fds(asking, 1, 1)
os.dup2(handed, 3)
if handed != 3:
    os.close(handed)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="chat")
# Twisted has looked at them when it was imported.
from twisted.internet import endpoints
endpoints._SystemdParser._sddaemon = endpoints.ListenFDs.fromEnvironment()
"""


@contextmanager
def handing_over(listener: socket.socket, directory: Path) -> Iterator[str]:
    """What a forked daemon runs before it starts, to have a socket from systemd."""
    path = str(directory / "systemd")
    with socket.socket(socket.AF_UNIX) as giving:
        giving.bind(path)
        giving.listen()
        thread = Thread(target=_hand_over, args=(giving, listener.fileno()), daemon=True)
        thread.start()
        yield FETCH.format(path=path)
        giving.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


def _hand_over(giving: socket.socket, handed: int) -> None:
    # Until it is shut.
    with suppress(OSError):
        while True:
            taker, _ = giving.accept()
            with taker:
                socket.send_fds(taker, [b"."], [handed])


def daemon_on(listener: socket.socket, directory: Path, endpoint: str, **environ: str) -> Daemon:
    handed = listener.fileno()
    prefix = [sys.executable, "-c", HAND_OVER, str(handed)]
    return Daemon(
        directory,
        f"--listen={endpoint}",
        port=listener.getsockname()[1],
        prefix=prefix,
        pass_fds=[handed],
        environ=environ,
    )


def get(port: int) -> int:
    url = f"http://127.0.0.1:{port}/healthz"
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        return int(response.status)


def test_a_restart_refuses_no_connection(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        handing_over(listener, tmp_path) as before,
    ):
        daemon = Daemon(
            tmp_path,
            "--listen=systemd:domain=INET:index=0",
            port=listener.getsockname()[1],
            before=before,
        )
        daemon.start()
        assert get(daemon.port) == 200
        assert f"http://127.0.0.1:{daemon.port}/" in daemon.output
        for how in (signal.SIGTERM, signal.SIGKILL):
            daemon.stop(how)
            # Nobody is there: the connection is taken all the same, and waits.
            with socket.create_connection(("127.0.0.1", daemon.port), PATIENCE) as early:
                early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                daemon.start()
                assert early.recv(4096).startswith(b"HTTP/1.1 200 ")
        daemon.terminate()


def test_by_name_and_with_notifications(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
    ):
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(PATIENCE)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        daemon = daemon_on(listener, tmp_path, "systemd:domain=INET:name=chat", **environ)
        with daemon:
            assert systemd.recv(4096) == b"READY=1"
            assert get(daemon.port) == 200
            assert [systemd.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        messages: list[bytes] = []
        while messages[-1:] != [b"STOPPING=1"]:
            messages.append(systemd.recv(4096))
        assert set(messages[:-1]) <= {b"WATCHDOG=1"}


def test_a_unix_socket_stays_as_it_was_made(tmp_path: Path) -> None:
    """Its path, its mode, and the length of its queue are systemd's."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener, handing_over(listener, tmp_path) as before:
        listener.bind(str(path))
        path.chmod(0o620)
        listener.listen(128)
        daemon = Daemon(tmp_path, "--listen=systemd:domain=UNIX:index=0", port=0, before=before)
        for _ in range(2):
            with daemon, socket.socket(socket.AF_UNIX) as client:
                assert stat.S_IMODE(path.stat().st_mode) == 0o620
                client.settimeout(PATIENCE)
                client.connect(str(path))
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            # Nobody is there: all of them wait.
            with ExitStack() as waiting:
                for _ in range(100):
                    client = waiting.enter_context(socket.socket(socket.AF_UNIX))
                    client.setblocking(False)
                    client.connect(str(path))
