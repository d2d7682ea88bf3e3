"""The servers of one table, which run beside each other and are measured in turn.

What it is: `Field`: servers enter it, those that compile while they run are warmed up, then all are
measured round by round.

What it may know: servers by their names.

Invariant: a peer that does not come through, or takes longer than its bound, leaves the field, with
a sample that says what was seen and which command started it, and the others go on. Our own daemon
may not: its failure is the case's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, Generic, Protocol, TypeVar

import attrs

from benchmarks.bounds import OutOfTime, within
from benchmarks.plan import Plan, Sample, Standing, filled, is_ours
from benchmarks.processes import BenchmarkFailed
from benchmarks.servers.server import Server

#: The key under which a sample says what was seen instead of figures.
FAILED = "failed"

#: A server is warm when this many rounds in a row cost no less than this share of the cheapest one
#: before them; after so many rounds it is taken as it is.
STEADY, SHARE, ENOUGH = 3, 0.95, 20

#: Seconds in which a peer has to be there with all its clients, and to be measured once.
ARRIVING, MEASURING = 150.0, 90.0

#: Rounds of those of whom nobody needs to know much: no goal is about them.
FEW = 3

#: Servers of streams that goals are about.
MEASURED_FULLY = ("comet", "floor", "nchan")


class Named(Protocol):
    """A server."""

    @property
    def name(self) -> str:
        """What it is called in results."""


There = TypeVar("There")
Done = TypeVar("Done")


@attrs.frozen(eq=False)
class Entrant(Generic[There]):
    """A server in the field.

    :param stack: what is stopped when it leaves.
    :param key: what its samples have in common.
    """

    server: Named
    standing: There
    stack: ExitStack
    key: Sample
    few: bool


class Field(Generic[There]):
    """Servers that are measured in turn, all stopped when it is left.

    :param title: what is measured, for lines of progress.
    :param key: what all its samples have in common.
    :param meanwhile: what clients do each time that it is another server's turn, such as asking
        again when they were answered, or their server would take them for gone.
    """

    def __init__(
        self,
        plan: Plan,
        title: str,
        key: Sample,
        meanwhile: Callable[[There], object] | None = None,
    ) -> None:
        self._plan = plan
        self._meanwhile = meanwhile
        self._title = title
        self._key = key
        self._entrants: list[Entrant[There]] = []
        self._failures: list[Sample] = []
        self._all = ExitStack()

    def __enter__(self) -> Field[There]:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()

    def enter(
        self,
        server: Named,
        arrive: Callable[[ExitStack], There],
        key: Mapping[str, Any] | None = None,
        few: bool = False,
    ) -> None:
        """Let a server in.

        :param arrive: starts it, with what is to be stopped on the stack.
        :param key: what tells its samples from others of the same server.
        :param few: whether `FEW` rounds will do.
        """
        self._plan.say(f"{self._title}: {server.name} arrives")
        stack = self._all.enter_context(ExitStack())
        full = {"server": server.name, **self._key, **(key or {})}
        self._wait()
        try:
            with bounded(server.name, ARRIVING):
                standing = arrive(stack)
        except (BenchmarkFailed, OSError) as error:
            self._leave(full, stack, 0, error)
        else:
            self._entrants.append(Entrant(server, standing, stack, full, few))

    def warm_up(self, measure: Callable[[There], Sample], cost: str) -> None:
        """Drive those that compile while they run until it no longer makes them cheaper.

        :param cost: the key of the figure that shows it.
        """
        for each in list(self._entrants):
            if not getattr(each.server, "compiles", False):
                continue
            self._plan.say(f"{self._title}: {each.server.name} warms up")
            found: list[float] = []
            while not warm(found) and (sample := self._try(each, 0, measure)):
                found.append(float(sample[cost]))

    def once(self, measure: Callable[[There], Sample]) -> None:
        """Let each do once, unmeasured, what it does the first time only."""
        for each in list(self._entrants):
            self._try(each, 0, measure)

    def rounds(self, measure: Callable[[There], Sample]) -> Iterator[Sample]:
        """Samples of all rounds, and of those that did not come through."""
        for round in range(self._plan.rounds):
            self._plan.say(f"{self._title}: round {round + 1} of {self._plan.rounds}")
            for each in list(self._entrants):
                if each.few and round >= FEW:
                    continue
                if found := self._try(each, round, measure):
                    yield {**each.key, "round": round, **found}
        yield from self._failures

    def _try(
        self, each: Entrant[There], round: int, measure: Callable[[There], Sample]
    ) -> Sample | None:
        """A sample, or nothing from a peer that has left."""
        self._wait(each)
        return self._guarded(each, round, measure)

    def _wait(self, besides: Entrant[There] | None = None) -> None:
        """It is somebody's turn; the others wait."""
        if self._meanwhile is not None:
            for each in list(self._entrants):
                if each is not besides:
                    self._guarded(each, 0, self._meanwhile)

    def _guarded(
        self, each: Entrant[There], round: int, do: Callable[[There], Done]
    ) -> Done | None:
        """Do something with a server that may leave by it, or that has left."""
        if each not in self._entrants:
            return None
        try:
            with bounded(each.server.name, MEASURING):
                return do(each.standing)
        except (BenchmarkFailed, OSError) as error:
            self._entrants.remove(each)
            self._leave(each.key, each.stack, round, error)
            return None

    def _leave(self, key: Sample, stack: ExitStack, round: int, error: Exception) -> None:
        """A peer that did not come through.

        :raises Exception: the error, if it is no peer but we, or if the case has no more time.
        """
        # What is stopped is told why: a server adds its command, and is not waited for.
        stack.__exit__(type(error), error, error.__traceback__)
        if is_ours(key["server"]) or isinstance(error, OutOfTime):
            raise error
        self._failures.append(seen(self._plan, {**key, "round": round}, error))


def tried(plan: Plan, key: Sample, measure: Callable[[], Sample]) -> Sample:
    """A sample of a peer that is measured alone, or what was seen instead."""
    try:
        with bounded(key["server"], ARRIVING):
            return {**key, **measure()}
    except (BenchmarkFailed, OSError) as error:
        if isinstance(error, OutOfTime):
            raise
        return seen(plan, key, error)


def seen(plan: Plan, key: Sample, error: Exception) -> Sample:
    """What the page says of a peer that did not come through."""
    plan.say(f"{key['server']} is left out: {error}")
    command = getattr(error, "command", "")
    return {**key, FAILED: in_a_line(error), **({"command": command} if command else {})}


def bounded(server: str, seconds: float) -> Any:
    """The bound in time of a step; our daemon has that of the case alone."""
    if is_ours(server):
        return ExitStack()
    return within(seconds, BenchmarkFailed(f"it took longer than {seconds:g} s"))


def enter_filled(field: Field[Standing], server: Server, streams: int) -> None:
    """Let a server in with so many streams open."""
    few = server.name not in MEASURED_FULLY
    field.enter(server, lambda stack: filled(stack, server, streams), few=few)


def in_a_line(error: Exception) -> str:
    """What was seen: of a traceback its end, else the first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if lines[0].startswith("Traceback") else 0][:300]


def warm(found: list[float]) -> bool:
    """Whether a server whose rounds cost this much, from the first to the last, is warm."""
    before, last = found[:-STEADY], found[-STEADY:]
    return len(found) >= ENOUGH or (bool(before) and min(last) >= SHARE * min(before))
