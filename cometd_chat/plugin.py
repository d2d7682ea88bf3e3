"""What twistd calls: the options, and the daemon that they describe.

What it is: `Options`, and `makeService`, which imports the daemon.

What it may know: everything. Nobody imports it but the plugin.

Invariant: whoever asks for help, or got an option wrong, does not wait for the daemon's imports.
"""

from __future__ import annotations

from cometd_chat.daemon.leaving import leave_all_at_exit
from cometd_chat.daemon.lifecycle import Daemon
from cometd_chat.daemon.settings import Options

__all__ = ["Options", "makeService"]

# The process is twistd's, and this is its command.
leave_all_at_exit()


def makeService(options: Options) -> Daemon:
    """The daemon, ready to be started; see `service.makeService`."""
    from cometd_chat import service

    return service.makeService(options)
