"""Starts daemons without importing everything again and again: a program for `tests.starter`.

What it is: a process that has imported most of what the daemon imports, which is nearly all of the
second that a start takes. For each line on stdin, a JSON object, it forks, and the child runs what
the object says, then ``twistd``, on a database that has its tables. It prints ``began PID``, and
``ended PID STATUS`` when that has ended. It ends with its stdin, and its daemons with it. Given the
number of a listening socket, it forks for each connection one such process, which has that for its
stdin and its stdout, and is in the network that comes over it first.

What it may know: how twistd is run.

Invariant: nothing of the daemon runs before the fork, and no reactor is there yet.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, NoReturn

# Where this program is are tests, which a daemon must not find.
sys.path.pop(0)

from twisted.scripts import twistd

#: What takes the time.
IMPORTED = (
    "cometd_chat.plugin",
    "cometd_chat.service",
    "cometd_chat.shell_alone",
    "alembic.command",
    "cometd_chat.log.postgresql.log",
    "cometd_chat.log.postgresql.node_table",
    "cometd_chat.log.postgresql.notify_bus",
    "cometd_chat.log.postgresql.shared_directory",
    "cometd_chat.peering",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "twisted.plugins.comet_chat_plugin",
)

REACTOR = "twisted.internet.reactor"

running: set[int] = set()

#: What is in the file of a database that has all tables, and nothing in them.
database = b""


def tell(*words: object) -> None:
    # Not by print, which must not be interrupted by itself.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def reap(*_: object) -> None:
    """Tell of those that have ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        running.discard(pid)
        tell("ended", pid, os.waitstatus_to_exitcode(status))


def be_the_daemon(asked: dict[str, Any]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # As at a terminal, whatever started the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with open(os.devnull) as nothing, open(asked["log"], "ab") as output:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.chdir(asked["directory"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv = asked["arguments"]
    if asked["data"] and not os.path.exists(asked["data"]):  # noqa: PTH110
        put_database(Path(asked["data"]))
    exec(asked["before"], {})
    twistd.run()


def put_database(data: Path) -> None:
    """A directory of the daemon's as it is once its database has all tables. To make these takes
    half of its start; whatever starts as for a user makes its own."""
    data.mkdir(mode=0o700)
    file = data / "chat.sqlite"
    file.touch(mode=0o600)
    file.write_bytes(database)


def leave(ended: SystemExit) -> NoReturn:
    """End this process at once. Python would take apart its modules, for 0.08 s of CPU and not
    0.007, which is as long as a start. Who starts for a user does it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended.code if isinstance(ended.code, int) else bool(ended.code))


def import_all() -> None:
    """Import what the daemon imports, but no reactor, whose files are not for two processes."""
    # Klein imports one, for a function that runs it.
    sys.modules[REACTOR] = ModuleType(REACTOR)
    for module in IMPORTED:
        import_module(module)
    # twistd asks all plugins that there are which commands they have.
    plugin, service = import_module("twisted.plugin"), import_module("twisted.application.service")
    for _ in plugin.getPlugins(service.IServiceMaker):
        pass
    del sys.modules[REACTOR]


def read_all() -> None:
    """Read what a daemon reads of its own files, and keeps as it is as long as it runs."""
    import_module("cometd_chat.lookalikes.skeletons").skeleton("")
    import_module("cometd_chat.lookalikes.scripts").is_highly_restrictive("a")
    import_module("cometd_chat.transports.twisted_internals").missing()
    import_module("cometd_chat.web.pages.page").templates()


def make_database() -> bytes:
    with TemporaryDirectory() as directory:
        file = Path(directory, "chat.sqlite")
        made = import_module("cometd_chat.log.database").Database(file, None, max_bytes=2**30)
        made.prepare()
        made.dispose()
        return file.read_bytes()


def main() -> None:
    global database
    # There is none to speak of in what is imported, and looking takes a tenth of that time.
    gc.disable()
    import_all()
    read_all()
    database = make_database()
    # What is here stays: a look for garbage in a daemon would copy all of it.
    gc.collect()
    gc.freeze()
    gc.enable()
    if len(sys.argv) == 1 or is_asked_by_one_of_many(int(sys.argv[1])):
        start_daemons()


def is_asked_by_one_of_many(listening: int) -> bool:
    """Fork for each connection, until stdin ends; True in each of those that are forked."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=listening) as port, selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(port, selectors.EVENT_READ)
        while all(key.fileobj is port for key, _ in selector.select()):
            connection, _ = port.accept()
            with connection:
                if os.fork() == 0:
                    move_to_network_of(connection)
                    os.dup2(connection.fileno(), 0)
                    os.dup2(connection.fileno(), 1)
                    return True
    return False


def move_to_network_of(connection: socket.socket) -> None:
    """Who connects sends theirs with the first byte. Only root may move, others have just one."""
    _, (network,), _, _ = socket.recv_fds(connection, 1, 1)
    if not os.path.samestat(os.fstat(network), os.stat("/proc/self/ns/net")):  # noqa: PTH116
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(network, 0):
            raise OSError(ctypes.get_errno(), "setns")
    os.close(network)


def start_daemons() -> None:
    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        # Its end is told of after its beginning.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        child = os.fork()
        if child == 0:
            try:
                be_the_daemon(json.loads(line))
                raise SystemExit
            except SystemExit as ended:
                leave(ended)
        running.add(child)
        tell("began", child)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
