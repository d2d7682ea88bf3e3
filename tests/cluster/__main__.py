"""``make faults``: a run of its own, as long as one likes. ``FAULTS=500 SEED=n make faults``.

It is made in rounds of a hundred faults, each on a new cluster and judged when it is over, so that
what was found is said while the others are still made. ``--results FILE`` keeps what each round has
shown, and a run that was stopped goes on where it was. Its last line sums up; its status is 1 if
anything that must not be was found, with an account of the first of it. It has these parts, and
``PARTS=hops`` is one of them alone:

* ``faults``: most of them, of all kinds;
* ``stock``: a fifth of them, of the kinds that lose nothing, while stock CometD and Faye read, too;
* ``hops``: 10,000 hops of readers from node to node, one of which hears everything 0.5 s late;
* ``rolling``: SIGHUP to three workers, under 2,000 streams and 50 new connections a second.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from tests.cluster.checker import Verdict, check
from tests.cluster.cluster import cluster
from tests.cluster.faults import FAULTS, TAKING
from tests.cluster.history import History
from tests.cluster.hops import hop
from tests.cluster.people import Numbers, make_rooms
from tests.cluster.rolling import roll_workers
from tests.cluster.run import Size, run_of_faults

NUMBERS = Numbers(readers=12, bayeux=4, posters=4)

#: Faults of a round.
ROUND = 100


@attrs.frozen(kw_only=True)
class Asked:
    """What was asked for.

    :param names: of the faults; all of them, if none is named.
    """

    faults: int
    seed: str
    names: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Shown:
    """What a round has shown.

    :param name: of the round; with the seed it says all that was decided by chance.
    :param counts: what there was of everything.
    :param good: nothing was found that must not be.
    """

    name: str
    seed: str
    summary: str
    counts: Mapping[str, int]
    good: bool


#: A round that is yet to be made: its name, and what makes it in a directory, and says what it has
#: shown.
Round = tuple[str, Callable[[Path], tuple[str, Mapping[str, int]]]]


def say(text: str) -> None:
    print(text, flush=True)


def faults(asked: Asked) -> Iterator[Round]:
    """Most of them."""
    for number, count in enumerate(shares(asked.faults - asked.faults // 5), 1):
        yield _round(asked, f"faults {number}", Size(faults=count, names=asked.names))


def stock(asked: Asked) -> Iterator[Round]:
    """While stock clients read, too."""
    names = tuple(name for name in asked.names or FAULTS if name not in TAKING)
    for number, count in enumerate(shares(asked.faults // 5), 1):
        yield _round(asked, f"stock {number}", Size(faults=count, names=names, stock=True))


def shares(count: int) -> list[int]:
    """So many faults in rounds of about as many each."""
    rounds = -(-count // ROUND)
    return [count * n // rounds - count * (n - 1) // rounds for n in range(1, rounds + 1)]


def _round(asked: Asked, name: str, size: Size) -> Round:
    def make(directory: Path) -> tuple[str, Mapping[str, int]]:
        seed = f"{asked.seed} {name}"
        return judged(
            run_of_faults(directory, seed, attrs.evolve(size, numbers=NUMBERS, on_disk=True), say)
        )

    return name, make


def judged(verdict: Verdict) -> tuple[str, Mapping[str, int]]:
    """A verdict in one line, and its counts."""
    return verdict.summary, {**verdict.counts, "violations": len(verdict.violations)}


def hops(asked: Asked) -> Iterator[Round]:
    """From node to node."""

    def make(directory: Path) -> tuple[str, Mapping[str, int]]:
        history = History(seed=asked.seed)
        with cluster(directory, 3, cables=0, slow=2) as made:
            make_rooms(made.balancer.port)
            made_hops = hop(history, list(made.listening.values()), 20, 10_000)
        verdict = check(history)
        summary, counts = judged(verdict)
        said = f"{made_hops} hops, one node of three hears 0.5 s late; "
        say(said + str(verdict))
        return said + summary, {**counts, "hops": made_hops}

    yield "hops", make


def rolling(asked: Asked) -> Iterator[Round]:
    """All workers are replaced."""

    def make(directory: Path) -> tuple[str, Mapping[str, int]]:
        rolled = roll_workers(directory, 3, 2000)
        counts = {"moved": rolled.moved, "newcomers": rolled.served}
        wrong = {"refused": len(rolled.wrong), "violations": len(rolled.wrong) + rolled.incomplete}
        said = f"rolling restart of 3 workers: {rolled}"
        say(said)
        return said, {**counts, **wrong}

    yield "rolling", make


PARTS: Mapping[str, Callable[[Asked], Iterator[Round]]] = {
    "faults": faults,
    "stock": stock,
    "hops": hops,
    "rolling": rolling,
}


def made_before(results: Path | None, seed: str) -> dict[str, Shown]:
    """The rounds of this seed that a file has; those that were not good are made again."""
    if results is None or not results.exists():
        return {}
    found = [Shown(**json.loads(line)) for line in results.read_text().splitlines()]
    return {each.name: each for each in found if each.seed == seed and each.good}


def run(asked: Asked, parts: Sequence[str], results: Path | None) -> list[Shown]:
    """Make all rounds that were not made before, and say what each has shown."""
    before = made_before(results, asked.seed)
    shown: list[Shown] = []
    for part in parts:
        for name, make in PARTS[part](asked):
            found = before.get(name)
            say(f"--- {name} of seed {asked.seed}{'' if found is None else ', made before'}")
            if found is not None:
                say(found.summary)
            else:
                found = _make(asked, name, make)
                if results is not None:
                    _keep(results, found)
            shown.append(found)
    return shown


def _make(asked: Asked, name: str, make: Callable[[Path], tuple[str, Mapping[str, int]]]) -> Shown:
    """Make a round; one that did not come to its verdict is not good, and the others are made."""
    prefix = f"comet-chat-{name.replace(' ', '-')}-"
    try:
        with tempfile.TemporaryDirectory(prefix=prefix) as directory:
            summary, counts = make(Path(directory))
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        summary, counts = f"NO VERDICT: {type(error).__name__}: {error}", {"violations": 1}
        say(summary)
    good = not counts["violations"]
    return Shown(name=name, seed=asked.seed, summary=summary, counts=counts, good=good)


def _keep(results: Path, shown: Shown) -> None:
    with results.open("a") as lines:
        lines.write(f"{json.dumps(attrs.asdict(shown))}\n")


def total(seed: str, shown: Sequence[Shown]) -> str:
    """All rounds in one line."""
    counts: Counter[str] = Counter()
    for each in shown:
        counts.update(each.counts)
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    bad = [each.name for each in shown if not each.good]
    return f"seed {seed}, {len(shown)} rounds: {said}" + (f"; NOT GOOD: {bad}" if bad else "")


def some_of(table: Mapping[str, object]) -> Callable[[str], tuple[str, ...]]:
    """Reads which ones of a table somebody wants; all, if none is named."""

    def read(said: str) -> tuple[str, ...]:
        names = tuple(filter(None, said.split(",")))
        unknown = sorted(set(names) - set(table))
        if unknown:
            raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; {', '.join(table)}")
        return names

    return read


def options() -> argparse.ArgumentParser:
    """What can be asked for. What isn't is as the environment says, for ``make``."""
    made = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
    )
    environ = os.environ
    made.add_argument(
        "--faults", type=int, default=environ.get("FAULTS") or "500", help="how many (FAULTS)"
    )
    made.add_argument(
        "--seed",
        default=environ.get("SEED") or str(random.randrange(2**32)),
        help="decides what is decided by chance (SEED)",
    )
    made.add_argument(
        "--kinds",
        type=some_of(FAULTS),
        default=environ.get("KINDS", ""),
        help=f"only these, with commas (KINDS): {', '.join(FAULTS)}",
    )
    made.add_argument(
        "--parts",
        type=some_of(PARTS),
        default=environ.get("PARTS", ""),
        help=f"only these, with commas (PARTS): {', '.join(PARTS)}",
    )
    made.add_argument(
        "--results",
        type=Path,
        default=environ.get("RESULTS") or None,
        help="a file that keeps what each round has shown; good ones are not made again (RESULTS)",
    )
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    said = options().parse_args(argv)
    # As by ^C: what was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    asked = Asked(faults=said.faults, seed=said.seed, names=said.kinds)
    shown = run(asked, said.parts or tuple(PARTS), said.results)
    say(total(asked.seed, shown))
    return 0 if all(each.good for each in shown) else 1


if __name__ == "__main__":
    sys.exit(main())
