"""Workers that start in a tenth of the time: run in a forked supervisor, which has no reactor yet.

What it is: a process that has imported what workers import, as ``warm.py`` forks daemons, forks a
worker whenever the supervisor asks for one.

What it may know: what `cometd_chat.daemon.children` asks of `subprocess`.

Invariant: a worker is a child of its supervisor, with the files, the variables and the session that
`subprocess.Popen` would have given it. It is called ``worker-NUMBER`` where processes are listed.
"""

import array
import ctypes
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Any

children: Any = import_module("cometd_chat.daemon.children")

#: See prctl(2): the one whose orphans they are, and a name.
PR_SET_CHILD_SUBREAPER, PR_SET_NAME = 36, 15

#: Above all files that a worker is given by their numbers.
HIGH = 500

_prctl = ctypes.CDLL(None, use_errno=True).prctl


class Forked:
    """As much of `subprocess.Popen` as is used."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: int,
        pass_fds: Sequence[int],
        **_: object,
    ) -> None:
        asked = {"arguments": list(arguments), "environ": dict(env), "files": list(pass_fds)}
        files = array.array("i", [stdout, *pass_fds])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)]
        asking.sendmsg([json.dumps(asked).encode()], rights)
        self.pid = int(asking.recv(100))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def fork_workers(asked: socket.socket) -> None:
    """Fork one for each message, until the supervisor is gone."""
    while True:
        data, rights, _, _ = socket.recv_fds(asked, 2**20, 100)
        if not data:
            os._exit(0)
        told, telling = os.pipe()
        middle = os.fork()
        if middle == 0:
            worker = os.fork()
            if worker == 0:
                os.close(telling)
                # Once who is between them has ended, it is the supervisor's.
                os.read(told, 1)
                try:
                    be_the_worker(json.loads(data), rights)
                except SystemExit as ended:
                    # At once, as ``warm.py`` does.
                    sys.stdout.flush()
                    os._exit(ended.code if isinstance(ended.code, int) else bool(ended.code))
            asked.send(str(worker).encode())
            os._exit(0)
        os.close(told)
        os.waitpid(middle, 0)
        os.close(telling)
        for each in rights:
            os.close(each)


def be_the_worker(asked: dict[str, Any], files: Sequence[int]) -> None:
    os.setsid()
    numbers = [1, *asked["files"]]
    high = [os.dup2(each, HIGH + number) for each, number in zip(files, numbers, strict=True)]
    kept = sorted(numbers)
    for below, above in zip([2, *kept[1:]], [*kept[1:], HIGH], strict=True):
        os.closerange(below + 1, above)
    for each, number in zip(high, numbers, strict=True):
        os.dup2(each, number)
    os.closerange(HIGH, 2 * HIGH)
    os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(asked["environ"])
    _, _, module, *sys.argv = asked["arguments"]
    _prctl(PR_SET_NAME, f"worker-{sys.argv[0]}".encode(), 0, 0, 0)
    sys.argv.insert(0, module)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    raise SystemExit


_prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
asking, answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if os.fork() == 0:
    asking.close()
    fork_workers(answering)
answering.close()
children.subprocess = SimpleNamespace(Popen=Forked, DEVNULL=subprocess.DEVNULL)
