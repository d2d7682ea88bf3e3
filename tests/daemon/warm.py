"""Starts the daemon again and again without importing everything again and again.

What it is: a process of its own, given the log file and twistd's arguments. It imports most of what
the daemon imports, which is nearly all of the second that a start takes; then, for each line on
stdin, it forks, and the child runs ``twistd``. It prints the child's id, and a line when that has
ended.

What it may know: how twistd is run.

Invariant: nothing of the daemon runs before the fork, and no reactor is there yet.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from twisted.scripts import twistd

#: What takes the time. Klein is not in it: importing it makes a reactor.
IMPORTED = (
    "cometd_chat.chat.chat",
    "cometd_chat.log.sql",
    "cometd_chat.settings",
    "cometd_chat.transports.http",
    "jinja2",
    "prometheus_client",
    "sqlalchemy.dialects.sqlite",
    "werkzeug.routing",
)


def run(log: str) -> None:
    """Be the daemon."""
    with open(os.devnull) as nothing, open(log, "ab") as output:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    twistd.run()


def main() -> None:
    """Start it for each line."""
    program, log, *arguments = sys.argv
    sys.argv = [program, *arguments]
    for module in IMPORTED:
        import_module(module)
    assert "twisted.internet.reactor" not in sys.modules
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            run(log)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
