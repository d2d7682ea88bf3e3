"""Who is present: visitors who come and go, and observers at each node, who hear them.

What it is: `Visitor` opens a stream through the balancer, stays for a moment, moves to another node
or goes; `Observer` reads joins and leaves of one node, without being there.

What it may know: the interface of the daemon.

Invariant: an observer says who was present only at a moment in which nobody came or went: between
what was told before it asked and what was told after, there is nothing.
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from threading import Event, Thread
from urllib.parse import quote

from tests.cluster.history import Closed, History, Joined, Left, Opened
from tests.daemon.talk import Held, once
from tests.support import PATIENCE

#: Seconds after which a visitor who hears nothing leaves, and an observer opens another stream.
SILENCE = 4.0

#: Seconds after which what a node had told before it answered must have come.
ON_ITS_WAY = 0.4


class Visitor(Thread):
    """Somebody who comes and goes.

    :param port: of the balancer.
    """

    def __init__(self, seed: str, port: int, name: str, token: str, room: str) -> None:
        super().__init__(name=name, daemon=True)
        self.port = port
        self.token = token
        self.room = room
        self.over = Event()
        self.visits = 0
        self._chance = random.Random(f"{seed}/{name}")

    def run(self) -> None:
        while not self.over.is_set():
            try:
                for _ in range(self._chance.randrange(1, 4)):
                    self._stay(self._chance.uniform(0.2, 1.5))
                self.leave()
                self.visits += 1
            except (OSError, HTTPException):
                self.over.wait(0.1)
            self.over.wait(self._chance.uniform(0, 4))

    def _stay(self, seconds: float) -> None:
        path = f"/api/v1/events/stream?rooms={quote(self.room)}&token={self.token}"
        deadline = time.monotonic() + seconds
        with Held(self.port, path, timeout=SILENCE) as held:
            while time.monotonic() < deadline and not self.over.is_set() and held.more():
                held.read = b""

    def leave(self) -> None:
        """Go, in so many words."""
        path = f"/api/v1/rooms/{quote(self.room)}/leave"
        once(self.port, "POST", path, token=self.token, body={})

    def finish(self) -> None:
        self.over.set()
        self.join(PATIENCE)
        assert not self.is_alive(), f"{self.name} did not finish"


class Observer(Thread):
    """Hears who comes and goes at one node.

    :param node: its name.
    :param port: of the node itself.
    """

    def __init__(self, history: History, node: str, port: int, rooms: Sequence[str]) -> None:
        super().__init__(name=f"observer of {node}", daemon=True)
        self.history = history
        self.node = node
        self.port = port
        self.rooms = rooms
        self.over = Event()
        self.error: BaseException | None = None
        self._rest = b""
        self._waiting: deque[Mapping[str, str]] = deque()

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self._watch()
        except BaseException as error:
            self.error = error

    def _watch(self) -> None:
        """One stream, from when it is known who is there to its end."""
        path = f"/api/v1/events/stream?rooms={','.join(map(quote, self.rooms))}"
        opened = False
        try:
            with Held(self.port, path, timeout=SILENCE) as held:
                self._rest = b""
                self._waiting.clear()
                self.history.note(Opened(who=self.name, present=self._present(held, None)))
                opened = True
                while not self.over.is_set():
                    self._hear(self._next(held))
                there = self._present(held, self.history)
                self.history.note(Closed(who=self.name, present=there))
                return
        except (OSError, HTTPException, _Cut):
            self.over.wait(0.2)
        if opened:
            self.history.note(Closed(who=self.name, present=None))

    def _next(self, held: Held) -> Mapping[str, str]:
        """What comes next, heartbeats too."""
        while not self._waiting:
            data = held.more()
            held.read = b""
            if not data:
                raise _Cut
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._waiting += map(json.loads, lines)
        return self._waiting.popleft()

    def _hear(self, event: Mapping[str, str]) -> None:
        if event["type"] == "join" and "was" not in event:
            self.history.note(Joined(who=self.name, room=event["room"], name=event["from"]))
        elif event["type"] == "leave" and "now" not in event:
            self.history.note(Left(who=self.name, room=event["room"], name=event["from"]))
        elif event["type"] in ("reopen", "bye"):
            raise _Cut

    def _present(self, held: Held, noted: History | None) -> Mapping[str, frozenset[str]]:
        """Who is there, once nobody has come or gone since before it was asked.

        :param noted: whether what comes meanwhile is noted; or it is the beginning.
        """
        while True:
            there = {room: self._people(room) for room in self.rooms}
            moved = False
            # What was written before the answer has been read by then.
            until = time.monotonic() + ON_ITS_WAY
            while time.monotonic() < until:
                event = self._next(held)
                moved = moved or event["type"] in ("join", "leave")
                if noted is not None or event["type"] in ("reopen", "bye"):
                    self._hear(event)
            if not moved:
                return there

    def _people(self, room: str) -> frozenset[str]:
        answer = once(self.port, "GET", f"/api/v1/rooms/{quote(room)}/people")
        if answer.status != 200:
            raise _Cut
        return frozenset(each["name"] for each in answer.json["people"])

    def finish(self) -> None:
        self.over.set()
        self.join(PATIENCE)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"{self.name} did not finish"


class _Cut(Exception):
    """The stream is over, or the node says nothing that can be used."""
