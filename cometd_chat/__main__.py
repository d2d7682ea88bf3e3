"""``comet-chat`` and ``python -m cometd_chat``: the daemon in the foreground, without a pid file.

What it is: a shorthand for ``twistd --nodaemon --pidfile= comet-chat``, with the same options; and
``comet-chat copy``, and the commands of `shell_command`, which are no daemon.

What it may know: twistd's command line, and that command.

Invariant: there is one way to start the daemon, twistd's; this adds none of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cometd_chat.daemon.leaving import leave_all_at_exit
from cometd_chat.shell_words import GROUPS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until a signal comes, or a copy is done.

    :param arguments: the daemon's options, or ``copy`` and its own; by default those of this
        process.
    """
    leave_all_at_exit()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["copy"]:
        from cometd_chat.copy_command import run

        sys.exit(run(arguments[1:]))
    if arguments and arguments[0] in GROUPS:
        from cometd_chat.shell_command import run as run_command

        sys.exit(run_command(arguments))
    # Twisted, which who asks a daemon does not need.
    from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]

    config = ServerOptions()
    config.parseOptions(["--nodaemon", "--pidfile=", "comet-chat", *arguments])
    runApp(config)


if __name__ == "__main__":
    main()
