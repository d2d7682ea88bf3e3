"""Workers: started, watched, brought back, replaced and stopped.

What it is: a part of the daemon that twistd starts when there are several workers; those are the
daemons that serve.

What it may know: children by the words that they say, a clock. Not what they serve, nor by which
command they are started.

Invariant: as long as it runs there is one worker for each number, or one will be started after a
while that grows; never two, but while one replaces the other. What a worker does, says or fails at
stops neither this nor another worker.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum
from itertools import count
from typing import Any, Protocol

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from cometd_chat.daemon.children import Child, Owner
from cometd_chat.daemon.lifecycle import CannotStart

#: Seconds between two pulses of a worker.
PULSE = 5.0

#: Seconds without one after which it is taken for hung.
SILENCE = 30.0

#: Seconds that a worker may take to start.
START_LIMIT = 120.0

#: Seconds that it may take to stop, when it was told to: twice what each of its parts may take.
STOP_LIMIT = 40.0

#: A dead worker comes back after a second, then two, and so on, up to so many.
LONGEST_WAIT = 30.0

#: Who has served for so many seconds did not die of its start.
LIVED = 60.0

#: Seconds between two looks at all of them.
LOOK = 1.0

#: The words: of a worker, and to it.
READY, PULSES = "ready", "pulse"
STOP, LEAVE = "stop", "leave"

#: How a sentence for the operator begins; see `stderr.print_error`.
_SENTENCE = "comet-chat: "

_LEVELS = {
    0: LogLevel.critical,
    1: LogLevel.critical,
    2: LogLevel.critical,
    3: LogLevel.error,
    4: LogLevel.warn,
    7: LogLevel.debug,
}

#: What can be seen of a process that the system did not give.
CANNOT_SPAWN = (
    "could not be started: the system gives no process (its line in the log says why); look at "
    "this user's limits on memory and processes"
)

#: Starts a worker by its number, for a slot, and tells its owner of it.
Launch = Callable[[int, int, Owner], Child]


class Observer(Protocol):
    """Who is told how the workers are."""

    def reloading(self) -> None:
        """They are about to be replaced."""

    def reloaded(self) -> None:
        """That is over."""

    def show(self, status: str) -> None:
        """What operators may want to know at a glance."""


class State(Enum):
    """What a worker is at."""

    STARTING = "starting"
    SERVING = "serving"
    #: It was told to stop, or killed.
    STOPPING = "stopping"
    GONE = "gone"


_LIMITS = {State.STARTING: START_LIMIT, State.SERVING: SILENCE, State.STOPPING: STOP_LIMIT}


class Worker:
    """A process in the place of one number; the `Owner` of its child.

    :param number: from 1.
    :param slot: a number that no other living process has.
    """

    _log = Logger(namespace="worker")

    def __init__(self, number: int, slot: int, supervisor: Supervisor) -> None:
        self.number = number
        self.slot = slot
        self.state = State.STARTING
        self.child: Child | None = None
        #: When it began what it is at, and when it was last heard of.
        self.since = self.heard = supervisor.seconds()
        self.served_since: float | None = None
        #: Fires with True once it serves, with False if it never will.
        self.started: Deferred[bool] = Deferred()
        self.gone: Deferred[None] = Deferred()
        #: Its sentence for the operator, and whatever it said last.
        self.last_words = self.last_line = ""
        self._supervisor = supervisor

    @property
    def pid(self) -> int:
        return 0 if self.child is None else self.child.pid

    def enter(self, state: State) -> None:
        self.state = state
        self.since = self.heard = self._supervisor.seconds()

    def said(self, word: str) -> None:
        """See `Owner.said`. Words that aren't known are of another release."""
        if word == READY and self.state is State.STARTING:
            self.enter(State.SERVING)
            self.served_since = self.since
            self._log.info(
                "serves as process {pid}", pid=self.pid, log_system=f"worker {self.number}"
            )
            self._supervisor.worker_serves()
            self.started.callback(True)
        elif word in (READY, PULSES):
            self.heard = self._supervisor.seconds()

    def printed(self, priority: int, line: str) -> None:
        """See `Owner.printed`."""
        if line.startswith(_SENTENCE):
            line = self.last_words = line.removeprefix(_SENTENCE)
            priority = min(priority, 3)
        self.last_line = line
        level = _LEVELS.get(priority, LogLevel.info)
        self._log.emit(level, "{line}", line=line, log_system=f"worker {self.number}")

    def ended(self, how: str) -> None:
        """See `Owner.ended`."""
        self.state = State.GONE
        self._supervisor.worker_ended(self, how)
        if not self.started.called:
            self.started.callback(False)
        self.gone.callback(None)

    def stop(self, word: str) -> None:
        """Let it stop."""
        if self.state in (State.STARTING, State.SERVING):
            self.enter(State.STOPPING)
            if self.child is not None:
                self.child.tell(word)


@attrs.define
class Post:
    """A number, and who serves by it.

    :param failures: so many came to nothing, one after the other.
    """

    number: int
    worker: Worker | None = None
    successor: Worker | None = None
    failures: int = 0
    again: IDelayedCall | None = None


class Supervisor(Service):
    """All workers.

    :param launch: see `Launch`.
    :param reactor: its clock, and its turns while all workers start.
    :param let_go: called when it stops, before the workers are told: the ports close.
    :param forget: called with a slot whose process is gone.
    """

    name = "workers"
    stop_timeout = STOP_LIMIT + 5
    _log = Logger()

    def __init__(
        self,
        workers: int,
        launch: Launch,
        reactor: Any,
        *,
        let_go: Callable[[], object] = lambda: None,
        forget: Callable[[int], object] = lambda slot: None,
    ) -> None:
        self._launch = launch
        self._reactor = reactor
        self._let_go = let_go
        self._forget = forget
        self._observer: Observer | None = None
        self.posts = [Post(number) for number in range(1, workers + 1)]
        #: All whose process is there.
        self.workers: list[Worker] = []
        self._have_started = False
        #: Why not.
        self._could_not = ""
        self._stopped: Deferred[None] | None = None
        self._is_replacing = self._replace_again = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor
        self._looked = 0.0

    def watch(self, observer: Observer) -> None:
        """Tell somebody how it goes."""
        self._observer = observer

    def seconds(self) -> float:
        now: float = self._reactor.seconds()
        return now

    # -- for those who look at it

    def is_stopping(self) -> bool:
        """Whether nobody is started any more."""
        return self._stopped is not None

    @property
    def serving(self) -> int:
        """How many serve."""
        return sum(each.state is State.SERVING for each in self.workers)

    def all_live(self) -> bool:
        """Whether somebody serves, and nobody is there who should have been gone by now."""
        return self.serving > 0 and not any(map(self._is_overdue, self.workers))

    # -- start

    def startService(self) -> None:
        """Start all workers, and wait until they serve: a turn of the reactor at a time, which does
        not run yet.

        :raises CannotStart: one of them can't.
        """
        super().startService()
        self._looked = self.seconds()
        self._looking.start(LOOK)
        for post in self.posts:
            self._start(post)
        while self.serving < len(self.posts) and not self._could_not:
            self._reactor.iterate(LOOK / 2)
        if self._could_not:
            stopped = self.stopService()
            while not stopped.called:
                self._reactor.iterate(LOOK / 2)
            raise CannotStart(self._could_not)
        self._have_started = True
        self._show()

    def _start(self, post: Post) -> None:
        """Put somebody in the place of who is gone, or try again later."""
        post.again = None
        post.worker = self._spawn(post.number)
        if post.worker is None:
            self._bring_back(post, CANNOT_SPAWN)

    def _spawn(self, number: int) -> Worker | None:
        """A new worker; None when the system gives no process."""
        taken = {each.slot for each in self.workers}
        slot = next(each for each in count() if each not in taken)
        worker = Worker(number, slot, self)
        try:
            worker.child = self._launch(number, slot, worker)
        except OSError as error:
            worker.state = State.GONE
            self._log.error("no process for worker {number}: {error}", number=number, error=error)
            return None
        self.workers.append(worker)
        return worker

    def worker_serves(self) -> None:
        """One has started."""
        self._show()

    # -- the end of one

    def worker_ended(self, worker: Worker, how: str) -> None:
        """A process is gone.

        :param how: in words.
        """
        self.workers.remove(worker)
        self._forget(worker.slot)
        post = self.posts[worker.number - 1]
        if self._stopped is not None:
            if not self.workers:
                self._stopped.callback(None)
            return
        if post.successor is worker:
            post.successor = None
            return
        if post.worker is not worker:
            return
        post.worker = None
        served = worker.served_since
        if served is not None and self.seconds() - served >= LIVED:
            post.failures = 0
        if served is None:
            why = worker.last_words or worker.last_line
            how = f"{how} before it served{': ' if why else ''}{why}"
        if post.successor is None:
            self._bring_back(post, how)
        else:
            self._log.error("worker {number} {how}", number=post.number, how=how)
        self._show()

    def _bring_back(self, post: Post, how: str) -> None:
        """Start one anew, after a while."""
        if not self._have_started:
            self._could_not = self._could_not or f"worker {post.number} {how}"
            return
        wait = min(LONGEST_WAIT, 2.0**post.failures)
        post.failures += 1
        post.again = self._reactor.callLater(wait, self._start, post)
        self._log.error(
            "worker {number} {how}; it is started again in {wait:g} s",
            number=post.number,
            how=how,
            wait=wait,
        )

    # -- looks

    def _look(self) -> None:
        """End those that should have said something, or be gone."""
        now = self.seconds()
        if now - self._looked > SILENCE / 3:
            # It was this process that stood still: what they said waits to be read.
            for worker in self.workers:
                worker.heard = max(worker.heard, now - SILENCE / 2)
        self._looked = now
        for worker in filter(self._is_overdue, list(self.workers)):
            self._log.error(
                "worker {number} (process {pid}) is killed: {state} for {seconds:.0f} s "
                "without a word",
                number=worker.number,
                pid=worker.pid,
                state=worker.state.value,
                seconds=now - worker.heard,
            )
            if worker.child is not None:
                worker.child.kill()

    def _is_overdue(self, worker: Worker) -> bool:
        limit = _LIMITS.get(worker.state)
        since = worker.heard if worker.state is State.SERVING else worker.since
        return limit is not None and self.seconds() - since > limit

    def _show(self) -> None:
        if self._observer is not None:
            self._observer.show(f"{self.serving} of {len(self.posts)} workers serve")

    # -- replacing all of them

    def replace(self) -> None:
        """Put a new process in the place of each worker, one after the other; each has its code
        from the disk. When one can't start, the others stay as they are."""
        if not self.running or self.is_stopping():
            return
        if self._is_replacing:
            self._replace_again = True
            return
        self._is_replacing = True
        if self._observer is not None:
            self._observer.reloading()
        self._replace_all().addErrback(self._not_replaced).addBoth(self._replaced)

    def _not_replaced(self, failure: Failure) -> None:
        self._log.failure("workers could not be replaced", failure)

    def _replaced(self, _: object) -> None:
        self._is_replacing = False
        if self.is_stopping():
            return
        if self._observer is not None:
            self._observer.reloaded()
        self._show()
        if self._replace_again:
            self._replace_again = False
            self.replace()

    @inlineCallbacks
    def _replace_all(self) -> Generator[Deferred[Any], Any, None]:
        total = len(self.posts)
        self._log.info("{total} workers are replaced, one after the other", total=total)
        for post in self.posts:
            if self.is_stopping():
                return
            if post.again is not None:
                # Whoever is started anyway has the new code.
                post.again.reset(0)
                continue
            post.successor = successor = self._spawn(post.number)
            if successor is None or not (yield successor.started):
                if not self.is_stopping():
                    self._keep_the_others(post, successor)
                return
            if self.is_stopping():
                return
            before, post.worker, post.successor = post.worker, successor, None
            if before is not None:
                before.stop(LEAVE)
                yield before.gone
            self._log.info(
                "worker {number} of {total} is a new one", number=post.number, total=total
            )

    def _keep_the_others(self, post: Post, successor: Worker | None) -> None:
        post.successor = None
        self._log.error(
            "the new worker {number} could not start{why}; it and those after it stay as they are. "
            "Mend that and send SIGHUP again",
            number=post.number,
            why=f": {successor.last_words}" if successor and successor.last_words else "",
        )
        if post.worker is None and post.again is None:
            # Who was to be replaced is gone meanwhile.
            self._bring_back(post, "is gone")

    # -- stop

    def stopService(self) -> Deferred[None]:
        """Stop all of them; fires once they are gone."""
        super().stopService()
        if self._stopped is None:
            self._stopped = Deferred()
            self._let_go()
            for post in self.posts:
                if post.again is not None:
                    post.again.cancel()
                    post.again = None
            for worker in self.workers:
                worker.stop(STOP)
            if not self.workers:
                self._stopped.callback(None)
            self._stopped.addCallback(lambda _: self._looking.stop())
        return self._stopped
