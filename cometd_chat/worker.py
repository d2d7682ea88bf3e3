"""A worker: ``python -m cometd_chat.worker NUMBER OPTIONS``, as a supervisor starts it.

What it is: a daemon on ports that its parent has bound, and with the log going there.

What it may know: everything. Nobody imports it.

Invariant: it is never started by hand: without orders it says so.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

from twisted.logger import globalLogBeginner

from cometd_chat.daemon.leaving import leave_all_at_exit
from cometd_chat.daemon.lifecycle import CannotStart
from cometd_chat.daemon.settings import Options
from cometd_chat.daemon.stderr import print_error
from cometd_chat.daemon.worker import VARIABLE, Orders, PipeLog


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until the supervisor says otherwise.

    :param arguments: the worker's number, for people who look at processes, and options.
    :raises SystemExit: with status 1 when it can't start.
    """
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        print_error("workers are started by comet-chat --workers; start that")
        raise SystemExit(1)
    leave_all_at_exit()
    orders = Orders.from_text(text)
    import_module(orders.reactor).install()
    from twisted.internet import reactor

    globalLogBeginner.beginLoggingTo([PipeLog(sys.stdout.fileno()).observer()])
    # That is for the supervisor, who is told as often as all workers are meant.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    options = Options()
    options.parseOptions((sys.argv[1:] if arguments is None else arguments)[1:])
    # It needs a reactor, as some options do.
    from cometd_chat.service import build_worker

    try:
        daemon = build_worker(options.settings, orders, reactor)
        daemon.startService()
    except CannotStart as error:
        print_error(str(error))
        raise SystemExit(1) from None
    reactor.addSystemEventTrigger("before", "shutdown", daemon.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
