"""What any service here is made of: parts that start in order, stop in reverse, or say why not.

What it is: `OrderedServices`, `Daemon` and `FunctionService`, and the one exception.

What it may know: Twisted's services. Not what the parts do.

Invariant: each part stops only when those that stand on it have; what can't start is one sentence
on the real stderr.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cometd_chat.daemon.stderr import print_error
from cometd_chat.errors import ChatError

#: Seconds that a part may take to stop before the next one has its turn.
STOP_TIMEOUT = 20.0


class CannotStart(Exception):
    """The daemon can't run here; the text says why and what to do about it."""


class FunctionService(Service):
    """A part that begins and ends, as a service.

    :param begin: called before the reactor runs.
    :param end: its Deferred, if it returns one, is waited for.
    """

    def __init__(
        self,
        name: str,
        *,
        begin: Callable[[], object] = lambda: None,
        end: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self._begin = begin
        self._end = end

    def startService(self) -> None:
        self._begin()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return maybeDeferred(self._end)


def stop_by_signals(reactor: Any) -> None:
    """Let SIGINT and SIGTERM stop the reactor from now on, though it does not run yet.

    Twisted takes them over when it begins to run. Before, SIGINT is an exception in the middle of
    whatever is done just then: a traceback, or, where that is swallowed, a daemon that goes on.
    A signal that is ignored, as under nohup, stays ignored.
    """
    for number, stop in ((signal.SIGINT, reactor.sigInt), (signal.SIGTERM, reactor.sigTerm)):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)


def call_at_hangup(reactor: Any, function: Callable[[], object]) -> None:
    """Call something whenever SIGHUP comes, in a turn of the reactor.

    A signal that is ignored, as under nohup, stays ignored.
    """
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(function))


class OrderedServices(MultiService):
    """Parts that start one after the other and stop in the reverse order, each waiting for the one
    before. (A plain MultiService stops them all at once.)

    :param clock: of the limit on how long a part may take to stop.
    """

    _log = Logger()

    def __init__(self, parts: Sequence[Service], clock: IReactorTime) -> None:
        super().__init__()
        self._clock = clock
        for part in parts:
            part.setServiceParent(self)

    def startService(self) -> None:
        """Start the parts; when one can't, those that did are stopped again."""
        Service.startService(self)
        for part in self:
            try:
                part.startService()
            except BaseException:
                self.stopService()
                raise

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return self._stop_parts()

    @inlineCallbacks
    def _stop_parts(self) -> Any:
        for part in reversed(list(self)):
            if not part.running:
                continue
            stopping = maybeDeferred(part.stopService)
            # Without a running reactor nothing would ever time out; nor is there who could wait.
            # Who stops others, which take their time, says for how long.
            stopping.addTimeout(getattr(part, "stop_timeout", STOP_TIMEOUT), self._clock)
            stopping.addErrback(self._stop_failed, part)
            yield stopping

    def _stop_failed(self, failure: Failure, part: Service) -> None:
        self._log.failure("Could not stop the {part} properly", failure, part=part.name)


class Daemon(OrderedServices):
    """All parts, as the one service that twistd sees; says why it can't start and lets twistd
    clean up and leave with status 1."""

    def startService(self) -> None:
        try:
            super().startService()
        except (CannotStart, ChatError) as error:
            self._log.critical("Can't start: {reason}", reason=str(error))
            # Twistd removes its pid file and answers a waiting parent for an Exception, not for a
            # SystemExit. Only the traceback at the end of the process has to go.
            sys.excepthook = partial(tell_without_traceback, sys.excepthook)
            raise CannotStart(str(error)) from error


def tell_without_traceback(
    otherwise: Callable[..., object],
    kind: type[BaseException],
    error: BaseException,
    traceback: TracebackType | None,
) -> None:
    """A ``sys.excepthook`` that gives a CannotStart one line on the real stderr."""
    if isinstance(error, CannotStart):
        print_error(str(error))
    else:
        otherwise(kind, error, traceback)
