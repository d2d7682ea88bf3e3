"""What operators read on stderr.

What it is: `print_error`.

What it may know: nothing of the daemon.

Invariant: a sentence is one line, wherever ``sys.stderr`` goes.
"""

from __future__ import annotations

import sys


def print_error(sentence: str) -> None:
    """One line on the real stderr: under twistd ``sys.stderr`` may be the log."""
    if sys.__stderr__ is not None:
        print(f"comet-chat: {' '.join(sentence.split())}", file=sys.__stderr__, flush=True)
