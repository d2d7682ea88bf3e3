"""Helpers that several tests share: a free port, and the real daemon as a user would start it.

What it is: `Daemon` runs ``twistd`` of the running Python in a process of its own.

What it may know: the command line and what the daemon prints. Nothing of its inside.

Invariant: whatever is waited for has a limit, and what was started is stopped; a failure shows
what the daemon said.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from tests.starter import Forked, Starter

ROOT = Path(__file__).parent.parent

#: The packages of npm, exactly as ``tests/package-lock.json`` says, from ``.ci/install test``.
NODE_MODULES = ROOT / "tests" / "node_modules"

#: Seconds that a daemon may take to start or to stop, on a busy machine.
PATIENCE = 60.0

#: Starts what follows as a terminal would, where these end a program: who runs the tests may have
#: SIGINT ignored, as a script's `&` does, or SIGHUP, as nohup does, and children inherit that.
AS_AT_A_TERMINAL = ("env", "--default-signal=INT,HUP")

#: The last of the lines that it prints once it can be talked to.
_LAST_LINE = re.compile(r"open files: \d+")


#: Which of pytest-xdist's workers this is, and of how many.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

#: Below those that Linux gives to clients (ip(7)): a test may open thousands. Each worker has its
#: own: where a daemon is about to start again, another worker's must not start meanwhile.
_PORTS = range(10_000 + _WORKER, 32_768, _WORKERS)
_given: set[int] = set()


def free_port() -> int:
    """A TCP port that nobody has or will be given as a client, a new one each time.

    Neither of 127.0.0.1 nor of ::1: who is asked for ``localhost`` may try that first.
    """
    while True:
        port = secrets.choice(_PORTS)
        if port not in _given and all(map(_is_free, ("127.0.0.1", "::1"), (port, port))):
            _given.add(port)
            return port


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((host, port))
    except OSError as error:
        # Where there is no IPv6 nobody can have a port of it.
        return error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    return True


def command(name: str) -> str:
    """A command that belongs to the running Python, such as ``twistd``."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise FileNotFoundError(f"{path}: install the package with its test extra")
    return str(path)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment for a child that runs elsewhere, without the daemon's options."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COMET_CHAT_")}
    if "PYTHONPATH" in kept:
        paths = kept["PYTHONPATH"].split(os.pathsep)
        kept["PYTHONPATH"] = os.pathsep.join(str((ROOT / path).resolve()) for path in paths)
    return {**kept, **(extra or {})}


#: What a forked command runs first, so that what it prints is told apart.
_PRINTING = """
import os
for number, path in enumerate(({out!r}, {err!r}), 1):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
"""

#: And instead of twistd.
_COMET_CHAT = """
from cometd_chat.__main__ import main
main()
raise SystemExit
"""


#: Or a program of the tests.
_PROGRAM = """
import runpy
runpy.run_path({path!r}, run_name="__main__")
raise SystemExit
"""


class Daemon:
    """A real daemon: ``with Daemon(tmp_path) as daemon: ... daemon.url ...``.

    :param directory: a directory of the test; the daemon runs and keeps its data in it.
    :param options: more options of the daemon.
    :param port: of 127.0.0.1; by default a free one. A restart keeps it.
    :param environ: more variables.
    :param prefix: what to put in front of the command, such as a shell that limits something.
    :param pass_fds: open files that the daemon inherits.
    :param before: Python that its process runs before it starts, such as another default of ours;
        of a forked daemon only.
    :param fresh: it starts as for a user, by a command that imports everything. Otherwise it is
        forked from a process that has imported most of it, in a quarter of the time.
    """

    _starter: ClassVar[Starter | None] = None

    def __init__(
        self,
        directory: Path,
        *options: str,
        port: int | None = None,
        environ: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        pass_fds: Sequence[int] = (),
        before: str = "",
        fresh: bool = False,
    ) -> None:
        self.port = free_port() if port is None else port
        self.directory = directory
        self.data = directory / "data"
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = ""
        self.process: subprocess.Popen[bytes] | Forked | None = None
        listen = [f"--listen=tcp:{self.port}:interface=127.0.0.1"]
        if any(option.startswith("--listen") for option in options):
            listen = []
        self._prefix = (*AS_AT_A_TERMINAL, *prefix)
        self._command = [command("twistd"), "-n", "--pidfile=", "comet-chat", *listen]
        self._command += [f"--data={self.data}", *options]
        self._environ = environment(environ)
        self._pass_fds = tuple(pass_fds)
        self._before = before
        self._fresh = fresh or bool(prefix or pass_fds) or "PYTHONPATH" in (environ or {})
        assert not (before and self._fresh), "only a forked daemon runs something before"
        self._started = 0
        self._log = directory / "daemon.log"

    @classmethod
    @contextmanager
    def own_starter(cls, environ: Mapping[str, str] | None = None) -> Iterator[None]:
        """Daemons that start meanwhile are forked from a process that starts meanwhile, and is in
        the network of who starts the first.

        :param environ: more variables of that process.
        """
        former = cls._change_starter(None if environ is None else Starter.own(environment(environ)))
        try:
            yield
        finally:
            meanwhile = cls._change_starter(former)
            if meanwhile is not None:
                meanwhile.close()

    @classmethod
    def _change_starter(cls, starter: Starter | None) -> Starter | None:
        former, cls._starter = cls._starter, starter
        return former

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """All that the daemon printed, over all its starts."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start and wait until it says that it can be talked to."""
        self.begin()
        self.wait_until_ready()

    def begin(self) -> None:
        """Start without waiting."""
        assert self.process is None
        # Into a file, not a pipe: nobody has to read it for the daemon to go on.
        with self._log.open("ab") as log:
            self._started = log.tell()
            if not self._fresh:
                self.process = self._fork()
                return
            self.process = subprocess.Popen(
                [*self._prefix, *self._command],
                cwd=self.directory,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self._pass_fds,
            )

    def _fork(self) -> Forked:
        elsewhere = "COMET_CHAT_DATABASE" in self._environ or any(
            word.startswith("--database") for word in self._command
        )
        return self._shared_starter().start(
            self._command,
            self.directory,
            self._environ,
            self._log,
            self._before,
            None if elsewhere else self.data,
        )

    @classmethod
    def _shared_starter(cls) -> Starter:
        if Daemon._starter is None:
            Daemon._starter = Starter.of_many(environment())
        return Daemon._starter

    def wait_until_ready(self) -> None:
        """Wait for the last of the first lines."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with self._log.open("rb") as log:
                log.seek(self._started)
                self.output = log.read().decode("utf-8", "replace")
            if _LAST_LINE.search(self.output):
                return
            if self.process is None or self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"The daemon did not start:\n{self.output}")

    def terminate(self) -> int:
        """SIGTERM, and wait; the exit status as the shell's ``Popen.returncode`` gives it."""
        return self.stop(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL, and wait."""
        return self.stop(signal.SIGKILL)

    def restart(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop and start again, on the same port and the same data."""
        self.stop(how)
        self.start()

    def stop(self, how: signal.Signals | None) -> int:
        """Send a signal, or none when one is on its way already, and wait for the end."""
        process, self.process = self.process, None
        if process is None:
            return 0
        if how is not None and process.poll() is None:
            process.send_signal(how)
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)
            raise AssertionError(f"The daemon did not stop:\n{self.log}") from None

    @classmethod
    def forked(
        cls,
        directory: Path,
        *words: str,
        environ: Mapping[str, str] | None = None,
    ) -> tuple[int, str, str]:
        """What comes of ``twistd`` or ``comet-chat``, forked as daemons are; see `run`.

        :param directory: of the test; it runs there, and what it prints is kept beside its data.
        :param words: the command, and what is given to it.
        """
        out, err = directory / "forked-out", directory / "forked-err"
        before = _PRINTING.format(out=str(out), err=str(err))
        if words[0] == "comet-chat":
            before += _COMET_CHAT
        forked = cls._shared_starter().start(
            [command(words[0]), *words[1:]],
            directory,
            environment(environ),
            directory / "forked-log",
            before,
        )
        try:
            return forked.wait(PATIENCE), out.read_text(), err.read_text()
        finally:
            for path in (out, err, directory / "forked-log"):
                path.unlink()

    @classmethod
    def forked_program(cls, path: Path, *arguments: str, output: Path) -> Forked:
        """A program of the tests, forked as daemons are: it starts in a tenth of the time.

        :param output: gets what it prints; it runs in that folder.
        """
        return cls._shared_starter().start(
            [str(path), *arguments],
            output.parent,
            environment(),
            output,
            _PROGRAM.format(path=str(path)),
        )

    def __enter__(self) -> Daemon:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.terminate()
        if error is not None:
            print(f"--- the daemon on port {self.port} said:\n{self.log}")


def end(process: subprocess.Popen[bytes], name: str, log: Callable[[], str]) -> None:
    """End a server by SIGTERM; one that does not end in time is a failure that says what it said.

    :param log: gives that.
    """
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{name} did not stop:\n{log()}") from None


def run(*arguments: str, timeout: float = PATIENCE, **extra: str) -> tuple[int, str, str]:
    """Run a command to its end.

    :param extra: more variables of its environment.
    :returns: exit status, stdout, stderr.
    """
    done = subprocess.run(
        arguments, capture_output=True, text=True, timeout=timeout, env=environment(extra)
    )
    return done.returncode, done.stdout, done.stderr


def read_until(
    stream: socket.socket, wanted: bytes, *, timeout: float = PATIENCE, limit: int = 2**22
) -> bytes:
    """Read from a socket until some bytes have come; what was read, those included."""
    read = b""
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while wanted not in read:
            left = deadline - time.monotonic()
            assert left > 0, f"{wanted!r} did not come; what came: {read[-2000:]!r}"
            if not selector.select(left):
                continue
            chunk = stream.recv(65536)
            assert chunk, f"closed before {wanted!r} came; what came: {read[-2000:]!r}"
            read += chunk
            assert len(read) <= limit
    return read
