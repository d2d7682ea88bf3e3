"""Readers and posters of a cluster: the model client of `tests.faults`, through a balancer.

What it is: the same readers, transports and posters, who note in a `History` what they saw. Each of
their requests comes to another node; whoever hears nothing for a while asks somebody else.

What it may know: the interface of the daemon, and that something between may answer 502 to 504.

Invariant: they judge nothing; what is strange is noted, and they go on.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from http.client import HTTPException

from tests.cluster.history import (
    Acknowledged,
    History,
    InDoubt,
    LeftOut,
    Posted,
    Reads,
    ReadToTheEnd,
    Refused,
    Told,
    WasReset,
)
from tests.decoders import Seen
from tests.faults.decoding import Refused as RefusedBy
from tests.faults.lines import Request
from tests.faults.poster import HOSTILE, Poster
from tests.faults.reader import CUTS, Plan, Reader, World
from tests.faults.troubles import LINK, Troubles

#: How a reader's visits end by their own doing. A reader who stalls is not among them: what a
#: balancer holds for her is more than is said in a run.
PLANNED = {kind: weight for kind, weight in CUTS.items() if kind not in (LINK, "stall")}

#: Not now: the daemon's own word, and what a balancer says when a node has gone.
NOT_NOW = (502, 503, 504)

#: Seconds after which a silent stream is left: more than 2.5 heartbeats, as docs/protocol.md has
#: it, and than a poll is held.
SILENCE = 4.0


def world(seed: str, port: int, proxy_port: int) -> World:
    """What there is, as readers see it.

    :param port: of the balancer.
    :param proxy_port: of a proxy that cuts, before it.
    """
    return World(
        seed=seed,
        port=port,
        proxy_port=proxy_port,
        troubles=Troubles(),
        elsewhere=None,
        there="",
    )


def cursors_with(events: Sequence[Seen]) -> list[str]:
    """The cursor that each of some events came with: its own, or the next one."""
    found: list[str] = []
    cursor = ""
    for event in reversed(events):
        cursor = event.get("cursor", cursor)
        found.append(cursor)
    return found[::-1]


class ClusterReader(Reader):
    """One reader, by all nine transports in turn.

    :param after: the id that the cursor belongs to.
    """

    silence = SILENCE
    not_now = NOT_NOW

    def __init__(
        self,
        history: History,
        world: World,
        name: str,
        token: str,
        rooms: tuple[str, ...],
        cursor: str,
        after: int,
    ) -> None:
        super().__init__(world, name, token, rooms, cursor)
        self.history = history
        self._cuts = PLANNED
        self._upto = ""
        self._reset_to = "0."
        history.note(Reads(who=name, rooms=rooms, after=after))

    def visit(self, plan: Plan, done: Callable[[], bool] = lambda: False) -> str:
        try:
            return super().visit(plan, done)
        except RefusedBy as error:
            self._refused(error.status, str(error))
        except AssertionError as error:
            # What a response that was cut is no more: a script's end, a whole head.
            self._refused(0, f"{plan.transport}: {error}")
        self.over.wait(0.1)
        return "refused"

    def _refused(self, status: int, what: str) -> None:
        self.history.note(Refused(who=self.name, status=status, what=what))

    def _blame(self, plan: Plan, began: float, error: object) -> str:
        # Nobody knows which node it was, nor what was done to it.
        return plan.cut if plan.fate else "cut"

    def _request(self, plan: Plan) -> Request:
        request = super()._request(plan)
        for line in request.said if plan.transport == "duplex" else ():
            self.history.note(Posted(who=self.name, room=self.rooms[0], text=line, client_id=None))
        return request

    def _hear(self, events: list[Seen]) -> None:
        for event in events:
            if event["type"] == "error" and event.get("status", 503) not in NOT_NOW:
                self._refused(event["status"], str(event))
        for event, cursor in zip(events, cursors_with(events), strict=True):
            self._upto = cursor
            super()._hear([{**event, "status": 503} if event["type"] == "error" else event])

    def _hear_of_loss(self, event: Seen) -> None:
        if event["type"] == "reset":
            after = int(event["cursor"].partition(".")[0])
            reason = str(event.get("reason"))
            self.history.note(WasReset(who=self.name, reason=reason, after=after))
            self._reset_to = event["cursor"]
        else:
            self._refused(0, str(event))

    def _is_at(self, last: Seen) -> bool:
        # Who is told to begin anew after all that there is, is told nothing more.
        id, _, epoch = self._reset_to.partition(".")
        anew = epoch == last["cursor"].partition(".")[2] and int(id) >= last["id"]
        return anew or super()._is_at(last)

    def _accept(self, event: Seen) -> None:
        self.accepted.append(event)
        transport = self.visits[-1].plan.transport
        self.accepted_by[transport] += 1
        if event["type"] == "gap":
            self.history.note(LeftOut(who=self.name, event=event))
        else:
            self.history.note(Told(who=self.name, event=event, by=transport, upto=self._upto))

    def read_to_the_end(self, log: list[Seen], transport: str) -> None:
        """Read until the last message of her rooms is there, and nothing follows.

        :param log: all there is.
        """
        mine = [event for event in log if event["room"] in self.rooms]
        if mine:
            self.read_to(mine[-1], transport)
        self.history.note(ReadToTheEnd(who=self.name))


class ClusterPoster(Poster):
    """One poster. What is in doubt is said again until it is acknowledged, and so is, now and then,
    what was acknowledged long ago: it must be the same."""

    #: The daemon itself answers after 5 s at the latest.
    patience = 7.0

    def __init__(
        self,
        history: History,
        world: World,
        name: str,
        token: str,
        rooms: tuple[str, ...],
        pause: float,
    ) -> None:
        super().__init__(world, name, token, rooms, pause)
        self.history = history
        self._said: list[tuple[str, str, str]] = []

    def _take_a_breath(self) -> None:
        chance = random.Random(f"{self.world.seed}/{self.name}/{len(self._said)}")
        # What a restore took would be stored anew, and lines without ids could not be told apart.
        if self._said and not self.history.put_back and chance.random() < 0.1:
            self._say_until_acknowledged(chance, *chance.choice(self._said))
        super()._take_a_breath()

    def say(self, number: int) -> None:
        client_id = f"{self.name}-{number}"
        chance = random.Random(f"{self.world.seed}/{client_id}")
        room = chance.choice(self.rooms)
        text = f"{client_id} {chance.choice(HOSTILE)}|".replace("\r\n", "\n")
        self.history.note(Posted(who=self.name, room=room, text=text, client_id=client_id))
        self._say_until_acknowledged(chance, client_id, room, text)
        self._said.append((client_id, room, text))

    def _say_until_acknowledged(
        self, chance: random.Random, client_id: str, room: str, text: str
    ) -> None:
        repeated = False
        while True:
            way = chance.choice(("http", "http", "http", "proxy", "ws"))
            post = self._by_socket if way == "ws" else self._by_request
            try:
                event = post(chance, way, room, {"text": text, "client_id": client_id})
            except (OSError, HTTPException, RefusedBy) as error:
                self._in_doubt(client_id, way, error)
                repeated = True
                continue
            self.acknowledged[client_id] = event
            self.history.note(
                Acknowledged(who=self.name, client_id=client_id, event=event, repeated=repeated)
            )
            return

    def _in_doubt(self, client_id: str, way: str, error: Exception) -> None:
        self.broken[way] += 1
        why = "no answer"
        if isinstance(error, RefusedBy):
            why = str(error.status)
            if error.status not in NOT_NOW:
                self.history.note(Refused(who=self.name, status=error.status, what=str(error)))
        self.history.note(InDoubt(who=self.name, client_id=client_id, why=f"{why}: {error}"[:200]))
        time.sleep(0.05)
