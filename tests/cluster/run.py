"""A whole run: people at work on a cluster, faults made meanwhile, and what the checker says.

What it is: `run_of_faults`, which ``make faults`` and the tests call with other numbers.

What it may know: all of `tests.cluster`.

Invariant: the seed is said before anything is done, and decides which faults there are, to what,
and for how long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.cluster.checker import Verdict, check
from tests.cluster.cluster import Cluster, cluster
from tests.cluster.faults import Troublemaker
from tests.cluster.history import History
from tests.cluster.people import ROOMS, Numbers, People
from tests.cluster.stock_readers import StockReader, stock_readers

#: Says how far it is.
Say = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Size:
    """How large a run is.

    :param faults: how many.
    :param pause: seconds between two of them, at most.
    :param brevity: by how much less than the longest they last.
    :param names: which ones; all, if none is named.
    :param surely: of those, which ones there are at least once.
    :param stock: whether stock CometD and Faye read, too. No library of theirs knows what to do
        when the log was put back, so that must not happen then.
    :param on_disk: whether the server waits for a disk.
    """

    faults: int
    nodes: int = 3
    pause: float = 2.0
    brevity: float = 1.0
    names: tuple[str, ...] = ()
    surely: tuple[str, ...] = ()
    stock: bool = False
    on_disk: bool = False
    numbers: Numbers = attrs.field(factory=Numbers)


def run_of_faults(directory: Path, seed: str, size: Size, say: Say = print) -> Verdict:
    """Make a cluster, have people at work on it, make faults, judge."""
    say(f"SEED={seed} decides the same again")
    history = History(seed=seed)
    with cluster(directory, size.nodes, on_disk=size.on_disk) as made:
        people = People(history, made.balancer.port, made.proxy.port, made.listening, size.numbers)
        people.invite()
        with stock(history, made, size) as others:
            with people.at_work():
                make_faults(made, history, size, say)
            say("everybody has said what they had to say")
            people.bring_home()
            for each in others:
                each.read_to_the_end(history.log)
        people.see_off()
        spread = made.balancer.requests()
    verdict = check(history)
    logs = {node.name: node.daemon.log for node in made.nodes}
    tracebacks = {name: log.count("Traceback") for name, log in logs.items()}
    say(f"requests by node: {spread}; tracebacks in their logs: {tracebacks}")
    say(str(verdict))
    first = next((log for log in logs.values() if "Traceback" in log), "")
    at = first.find("Traceback")
    shown = first[max(0, at - 500) : at + 5000]
    assert not first, f"there is a traceback in a node's log: {tracebacks}\n{shown}"
    return verdict


@contextmanager
def stock(history: History, made: Cluster, size: Size) -> Iterator[list[StockReader]]:
    """Stock clients who have subscribed, if there are any."""
    if not size.stock:
        yield []
        return
    with stock_readers(history, made.directory, ROOMS) as others:
        for each in others:
            each.begin(made.balancer.port)
            each.reads(after=0)
        yield others


def make_faults(made: Cluster, history: History, size: Size, say: Say) -> None:
    """So many, and then everything is put right."""
    troubles = Troublemaker(made, history, size.names, size.brevity, size.surely)
    began = time.monotonic()
    for count in troubles.make(size.faults, size.pause):
        if count % 10 == 0:
            say(f"{time.monotonic() - began:6.1f} s: {count} faults")
    troubles.put_right()
    # What comes after them is told, too.
    time.sleep(1)
