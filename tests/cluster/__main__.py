"""``make faults``: a run of its own, as long as one likes. ``FAULTS=500 SEED=n make faults``.

It prints how far it is, and the checker's summary with its seed; its status is 1 if anything that
must not be was found, with an account of the first of it. It has these parts, and ``PARTS=hops`` is
one of them alone:

* ``faults``: most of them, of all kinds;
* ``stock``: a fifth of them, of the kinds that lose nothing, while stock CometD and Faye read, too;
* ``hops``: 10,000 hops of readers from node to node, one of which hears everything 0.5 s late;
* ``rolling``: SIGHUP to three workers, under 2,000 streams and 50 new connections a second.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from tests.cluster.checker import check
from tests.cluster.cluster import cluster
from tests.cluster.faults import FAULTS, TAKING
from tests.cluster.history import History
from tests.cluster.hops import hop
from tests.cluster.people import Numbers, make_rooms
from tests.cluster.rolling import roll_workers
from tests.cluster.run import Size, run_of_faults

NUMBERS = Numbers(readers=12, bayeux=4, posters=4)


@attrs.frozen
class Asked:
    """What was asked for, by the environment."""

    faults: int
    seed: str
    names: tuple[str, ...]


def say(text: str) -> None:
    print(text, flush=True)


def faults(directory: Path, asked: Asked) -> bool:
    """Most of them; whether nothing was wrong."""
    size = Size(faults=asked.faults - asked.faults // 5, names=asked.names, numbers=NUMBERS)
    return not run_of_faults(directory, asked.seed, size, say).violations


def stock(directory: Path, asked: Asked) -> bool:
    """While stock clients read, too."""
    names = tuple(name for name in asked.names or FAULTS if name not in TAKING)
    size = Size(faults=asked.faults // 5, names=names, numbers=NUMBERS, stock=True)
    return not run_of_faults(directory, asked.seed, size, say).violations


def hops(directory: Path, asked: Asked) -> bool:
    """From node to node."""
    history = History(seed=asked.seed)
    with cluster(directory, 3, cables=0, slow=2) as made:
        make_rooms(made.balancer.port)
        made_hops = hop(history, list(made.listening.values()), 20, 10_000)
    verdict = check(history)
    say(f"{made_hops} hops, one node of three hears 0.5 s late; {verdict}")
    return not verdict.violations


def rolling(directory: Path, asked: Asked) -> bool:
    """All workers are replaced."""
    rolled = roll_workers(directory, 3, 2000)
    say(f"rolling restart of 3 workers: {rolled}")
    return not rolled.wrong and not rolled.incomplete


PARTS: Mapping[str, Callable[[Path, Asked], bool]] = {
    "faults": faults,
    "stock": stock,
    "hops": hops,
    "rolling": rolling,
}


def chosen(variable: str, there_are: Mapping[str, object]) -> tuple[str, ...]:
    """Which of a table somebody wants."""
    names = tuple(filter(None, os.environ.get(variable, "").split(",")))
    unknown = set(names) - set(there_are)
    if unknown:
        sys.exit(f"{variable}: no {', '.join(sorted(unknown))}; there are {', '.join(there_are)}")
    return names


def main() -> int:
    """Run it; the exit status."""
    seed = os.environ.get("SEED") or str(random.randrange(2**32))
    asked = Asked(int(os.environ.get("FAULTS") or 500), seed, chosen("KINDS", FAULTS))
    good = True
    for name in chosen("PARTS", PARTS) or PARTS:
        say(f"--- {name}")
        with tempfile.TemporaryDirectory(prefix=f"comet-chat-{name}-") as directory:
            good = PARTS[name](Path(directory), asked) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
