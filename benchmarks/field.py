"""The servers of one table, which run beside each other and are measured in turn.

What it is: `Field`: servers enter it, those that compile while they run are warmed up, then all are
measured round by round.

What it may know: servers by their names.

Invariant: a peer that does not come through leaves the field, with a sample that says what was
seen, and the others go on. Our own daemon may not: its failure is the run's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Generic, Protocol, TypeVar

import attrs

from benchmarks.plan import Plan, Sample
from benchmarks.processes import BenchmarkFailed
from benchmarks.servers.comet import Comet

#: The key under which a sample says what was seen instead of figures.
FAILED = "failed"

#: A server is warm when this many rounds in a row cost no less than this share of the cheapest one
#: before them; after so many rounds it is taken as it is.
STEADY, SHARE, ENOUGH = 3, 0.95, 20


class Named(Protocol):
    """A server."""

    name: str


Standing = TypeVar("Standing")


@attrs.frozen
class Entrant(Generic[Standing]):
    """A server in the field.

    :param stack: what is stopped when it leaves.
    """

    server: Named
    standing: Standing
    stack: ExitStack


class Field(Generic[Standing]):
    """Servers that are measured in turn, all stopped when it is left.

    :param title: what is measured, for lines of progress.
    :param key: what all its samples have in common.
    """

    def __init__(self, plan: Plan, title: str, key: Sample) -> None:
        self._plan = plan
        self._title = title
        self._key = key
        self._entrants: list[Entrant[Standing]] = []
        self._failures: list[Sample] = []
        self._all = ExitStack()

    def __enter__(self) -> Field[Standing]:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()

    def enter(self, server: Named, arrive: Callable[[ExitStack], Standing]) -> None:
        """Let a server in.

        :param arrive: starts it, with what is to be stopped on the stack.
        """
        stack = self._all.enter_context(ExitStack())
        try:
            self._entrants.append(Entrant(server, arrive(stack), stack))
        except (BenchmarkFailed, OSError) as error:
            self._leave(server, stack, 0, error)

    def standing(self) -> list[Standing]:
        """All that are still in the field."""
        return [each.standing for each in self._entrants]

    def warm_up(self, measure: Callable[[Standing], Sample], cost: str) -> None:
        """Drive those that compile while they run until it no longer makes them cheaper.

        :param cost: the key of the figure that shows it.
        """
        for each in list(self._entrants):
            if not getattr(each.server, "compiles", False):
                continue
            self._plan.say(f"{self._title}, {each.server.name} warms up")
            found: list[float] = []
            while not warm(found) and (sample := self._try(each, 0, measure)):
                found.append(float(sample[cost]))

    def rounds(self, measure: Callable[[Standing], Sample]) -> Iterator[Sample]:
        """Samples of all rounds, and of those that did not come through."""
        for round in range(self._plan.rounds):
            self._plan.say(f"{self._title}, round {round + 1} of {self._plan.rounds}")
            for each in list(self._entrants):
                if found := self._try(each, round, measure):
                    yield {"server": each.server.name, **self._key, "round": round, **found}
        yield from self._failures

    def _try(
        self, each: Entrant[Standing], round: int, measure: Callable[[Standing], Sample]
    ) -> Sample | None:
        """A sample, or nothing from a peer that has left."""
        try:
            return measure(each.standing)
        except (BenchmarkFailed, OSError) as error:
            self._entrants.remove(each)
            self._leave(each.server, each.stack, round, error)
            return None

    def _leave(self, server: Named, stack: ExitStack, round: int, error: Exception) -> None:
        """A peer that did not come through.

        :raises Exception: the error, if it is no peer but we.
        """
        if isinstance(server, Comet):
            raise error
        stack.close()
        self._plan.say(f"{self._title}, {server.name} leaves: {error!r}")
        key = {"server": server.name, **self._key, "round": round}
        self._failures.append({**key, FAILED: in_a_line(error)})


def in_a_line(error: Exception) -> str:
    """What was seen: of a traceback its end, else the first line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if lines[0].startswith("Traceback") else 0][:300]


def warm(found: list[float]) -> bool:
    """Whether a server whose rounds cost this much, from the first to the last, is warm."""
    before, last = found[:-STEADY], found[-STEADY:]
    return len(found) >= ENOUGH or (bool(before) and min(last) >= SHARE * min(before))
