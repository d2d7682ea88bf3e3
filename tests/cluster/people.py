"""Everybody who takes part in a run: posters, readers by every transport, visitors, observers.

What it is: `People` makes them, has them at work for a while, brings the readers home and collects
the log as each node shows it.

What it may know: the interface of the daemon, by the balancer and by each node.

Invariant: they are all threads of the test; when `at_work` is over, none of them runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from urllib.parse import quote

import attrs

from tests.cluster.bayeux import TRANSPORTS, BayeuxReader
from tests.cluster.history import History
from tests.cluster.present import Observer, Visitor
from tests.cluster.readers import ClusterPoster, ClusterReader, world
from tests.daemon.talk import history as messages_of
from tests.daemon.talk import log_in, once, wait_until
from tests.decoders import Seen
from tests.support import PATIENCE
from tests.transport_paths import NAMES

ROOMS = ("lobby", "dev", "stra\N{LATIN SMALL LETTER SHARP S}e")

#: Where visitors are; of all who read, some are there, too.
VISITED = "lobby"


@attrs.frozen(kw_only=True)
class Numbers:
    """How many take part.

    :param pause: seconds between two posts of a poster, about.
    """

    readers: int = 9
    bayeux: int = 4
    posters: int = 3
    visitors: int = 2
    pause: float = 0.2


@attrs.define
class People:
    """All of them.

    :param port: of the balancer.
    :param proxy_port: of a proxy before it that cuts.
    :param nodes: the port of each node itself, by name.
    """

    history: History
    port: int
    proxy_port: int
    nodes: Mapping[str, int]
    numbers: Numbers = attrs.field(factory=Numbers)
    readers: list[ClusterReader] = attrs.field(factory=list)
    bayeux: list[BayeuxReader] = attrs.field(factory=list)
    posters: list[ClusterPoster] = attrs.field(factory=list)
    visitors: list[Visitor] = attrs.field(factory=list)
    observers: list[Observer] = attrs.field(factory=list)

    def invite(self) -> None:
        """Make rooms and sessions; nobody has begun yet."""
        make_rooms(self.port)
        start = once(self.port, "GET", "/api/v1/events/poll").json["cursor"]
        self._invite_readers(start)
        seed, numbers = self.history.seed, self.numbers
        place = world(seed, self.port, self.proxy_port)
        for name in (f"poster{n}" for n in range(numbers.posters)):
            token = log_in(self.port, name)
            self.posters.append(
                ClusterPoster(self.history, place, name, token, ROOMS, numbers.pause)
            )
        for name in (f"visitor{n}" for n in range(numbers.visitors)):
            self.visitors.append(Visitor(seed, self.port, name, log_in(self.port, name), VISITED))
        self.observers = [
            Observer(self.history, name, port, ROOMS) for name, port in self.nodes.items()
        ]

    def _invite_readers(self, start: str) -> None:
        """Some read one room, some two, some all."""
        some = (ROOMS, ROOMS[:1], ROOMS[1:], (ROOMS[2], ROOMS[0]))
        place = world(self.history.seed, self.port, self.proxy_port)
        for n in range(self.numbers.readers):
            name, rooms = f"reader{n}", some[n % len(some)]
            token = log_in(self.port, name)
            self.readers.append(
                ClusterReader(self.history, place, name, token, rooms, start, after=0)
            )
        for n in range(self.numbers.bayeux):
            transport = TRANSPORTS[n % len(TRANSPORTS)]
            name, rooms = f"bayeux{n}-{transport}", some[n % len(some)]
            token = log_in(self.port, name)
            self.bayeux.append(
                BayeuxReader(
                    self.history,
                    self.history.seed,
                    self.port,
                    name,
                    token,
                    transport,
                    rooms,
                    start,
                    after=0,
                )
            )

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """They talk, read, come and go meanwhile; at its end no one does, and what they had to say
        is said."""
        talking: Sequence[ClusterPoster | ClusterReader | BayeuxReader | Visitor]
        talking = (*self.posters, *self.readers, *self.bayeux, *self.visitors)
        try:
            for observer in self.observers:
                observer.start()
            for each in talking:
                each.start()
            yield
        finally:
            for each in talking:
                each.over.set()
        for each in talking:
            each.finish()

    def bring_home(self) -> None:
        """Each reads to the end by one transport, and goes; then nobody is there at any node."""
        # If they never do, the checker says in what they differ.
        deadline = time.monotonic() + PATIENCE
        while not self._agree() and time.monotonic() < deadline:
            time.sleep(0.1)
        log = list(self.history.log)
        for number, reader in enumerate(self.readers):
            reader.read_to_the_end(log, NAMES[number % len(NAMES)])
        for each in self.bayeux:
            each.read_to_the_end(log)
        for visitor in self.visitors:
            visitor.leave()
        gone = [(each.token, each.rooms) for each in self.readers]
        gone += [(each.token, each.rooms) for each in self.posters]
        for token, rooms in gone:
            for room in rooms:
                once(self.port, "POST", f"/api/v1/rooms/{quote(room)}/leave", token=token, body={})

    def see_off(self) -> None:
        """Wait until nobody is there, as each node sees it; the observers hear of it."""
        for name, port in self.nodes.items():
            wait_until(partial(nobody, port), f"nobody is there, at {name}")
        for observer in self.observers:
            observer.finish()

    def _agree(self) -> bool:
        self.history.views = {name: messages(port) for name, port in self.nodes.items()}
        self.history.log = max(self.history.views.values(), key=len)
        return all(list(view) == list(self.history.log) for view in self.history.views.values())


def make_rooms(port: int) -> None:
    token = log_in(port, "maker")
    for room in ROOMS[1:]:
        answer = once(port, "POST", "/api/v1/rooms", token=token, body={"name": room})
        assert answer.status == 201, answer


def messages(port: int) -> Sequence[Seen]:
    """All rooms' messages in the one order of the log, as a node shows them."""
    found = [event for room in ROOMS for event in messages_of(port, quote(room))]
    return sorted(found, key=lambda event: int(event["id"]))


def nobody(port: int) -> bool:
    """Whether all rooms are empty, as a node sees them."""
    paths = [f"/api/v1/rooms/{quote(room)}/people" for room in ROOMS]
    return not any(once(port, "GET", path).json["people"] for path in paths)


def let_time_pass(seconds: float) -> None:
    """Wait while the threads are at work."""
    deadline = time.monotonic() + min(seconds, PATIENCE)
    while time.monotonic() < deadline:
        time.sleep(0.05)
