"""A process of ours: how it is started, what it says, how it ends.

What it is: `ChildProcess`, with a socket over which words go both ways and a pipe by which comes
whatever it prints.

What it may know: processes, sockets, Twisted's readers. Not what the child does.

Invariant: the child has the open files that it was given and no others; it is in a session of its
own, so that no terminal speaks to it; its end is told once, after all that it said. Nothing here
waits for it.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

#: Seconds between two looks at a process that has let go of its socket, and so is about to end.
LOOK_AGAIN = 0.02

#: Bytes of a line that are kept; what is longer is two.
MOST_OF_A_LINE = 65536

#: How a line of a child begins whose level it says, as for journald (sd-daemon(3)).
_LEVEL = re.compile(r"<([0-7])>(.*)", re.DOTALL)

#: What it has where it doesn't say: an informational message, by syslog(3).
INFORMATIONAL = 6


class Owner(Protocol):
    """Who is told of a child."""

    def said(self, word: str) -> None:
        """It said a word over the socket."""

    def printed(self, priority: int, line: str) -> None:
        """It printed a line, of a priority by syslog(3)."""

    def ended(self, how: str) -> None:
        """It is over.

        :param how: in words, such as "ended with status 1".
        """


class Child(Protocol):
    """A process, as its owner sees it."""

    @property
    def pid(self) -> int:
        """Its number."""

    def tell(self, word: str) -> None:
        """Say a word to it."""

    def kill(self) -> None:
        """End it at once."""


class ChildProcess:
    """A process.

    :param arguments: of the command, which is the first of them.
    :param files: descriptors that it inherits, by the same numbers.
    :param environ: of the number of its own socket.
    :param reactor: reads what comes from it.
    :raises OSError: the system starts none.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        files: Sequence[int],
        environ: Callable[[int], Mapping[str, str]],
        owner: Owner,
        reactor: Any,
    ) -> None:
        self._owner = owner
        self._reactor = reactor
        self._control, theirs = socket.socketpair()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - ours
                arguments,
                env=dict(environ(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=[theirs.fileno(), *files],
                start_new_session=True,
            )
        except OSError:
            self._control.close()
            os.close(reading)
            raise
        finally:
            theirs.close()
            os.close(writing)
        self._control.setblocking(False)
        os.set_blocking(reading, False)
        self._said = Lines(self._control.fileno(), self._word, self._let_go, reactor)
        self._printed = Lines(reading, self._line, self._no_more, reactor)
        self._output: int | None = reading

    @property
    def pid(self) -> int:
        """See `Child.pid`."""
        return self._process.pid

    def tell(self, word: str) -> None:
        """See `Child.tell`. One that does not listen is told nothing."""
        with suppress(OSError):
            self._control.send(f"{word}\n".encode("ascii"))

    def kill(self) -> None:
        """See `Child.kill`."""
        self._process.kill()

    # -- what comes from it

    def _word(self, line: bytes) -> None:
        self._owner.said(line.decode("ascii", "replace"))

    def _line(self, line: bytes) -> None:
        text = line.decode("utf-8", "backslashreplace").rstrip()
        match = _LEVEL.fullmatch(text)
        priority, text = (int(match[1]), match[2]) if match else (INFORMATIONAL, text)
        if text:
            self._owner.printed(priority, text)

    def _no_more(self) -> None:
        if self._output is not None:
            os.close(self._output)
            self._output = None

    def _let_go(self) -> None:
        """The socket is closed at its side: it ends, or has."""
        self._control.close()
        self._look()

    def _look(self) -> None:
        status = self._process.poll()
        if status is None:
            self._reactor.callLater(LOOK_AGAIN, self._look)
            return
        # What it printed last may be here yet. Somebody whom it started may have the pipe, too.
        self._printed.read_all()
        self._printed.stop()
        self._owner.ended(how_ended(status))


def how_ended(status: int) -> str:
    """A status in words.

    :param status: negative for a signal.
    """
    if status >= 0:
        return f"ended with status {status}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-status).name}"
    return f"was ended by signal {-status}"


@implementer(IReadDescriptor)
class Lines:
    """Lines that come by a descriptor, which does not block.

    :param told: gets each, without its end.
    :param over: called once, when no more will come.
    """

    def __init__(
        self,
        descriptor: int,
        told: Callable[[bytes], None],
        over: Callable[[], None],
        reactor: Any,
    ) -> None:
        self._descriptor = descriptor
        self._told = told
        self._over = over
        self._reactor = reactor
        self._rest = b""
        self._is_over = False
        reactor.addReader(self)

    def fileno(self) -> int:
        """The reactor's."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Twisted's name for it in a log."""
        return "workers"

    def doRead(self) -> None:
        """Something came, or nothing will any more."""
        self._read()

    def connectionLost(self, reason: Failure) -> None:
        """The end has come, as epoll tells it; or the reactor stops, and nothing has."""
        if reason.check(ConnectionDone):
            self.read_all()
            self.stop()
        self._is_over = True

    def read_all(self) -> None:
        """Take whatever is here, without waiting for more."""
        while self._read():
            pass

    def stop(self) -> None:
        """Take no more."""
        if self._is_over:
            return
        self._is_over = True
        self._reactor.removeReader(self)
        rest, self._rest = self._rest, b""
        if rest:
            self._told(rest)
        self._over()

    def _read(self) -> bool:
        """Read once; whether there may be more."""
        if self._is_over:
            return False
        try:
            data = os.read(self._descriptor, MOST_OF_A_LINE)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINTR):
                return False
            data = b""
        if not data:
            self.stop()
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) >= MOST_OF_A_LINE:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._told(line)
        return True
