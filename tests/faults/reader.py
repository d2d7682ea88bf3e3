"""The model client: she reads a conversation by one cursor and changes transports at random.

What it is: one visit of a transport after the other. What will happen to her in a visit is planned
before it begins, from a seed, and told apart from what others do to her.

What it may know: the interface of the daemon, as its documentation has it. Nothing of its inside.

Invariant: what she has accepted is what came before the cursor that she holds; all else that she
was sent she forgets when she is cut.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import attrs

from tests.decoders import Seen, for_people
from tests.faults.decoding import (
    FOR_PEOPLE,
    Refused,
    Response,
    WebSocketResponse,
)
from tests.faults.lines import CurlLine, Line, MakeSocket, Request, SocketLine
from tests.faults.troubles import LINK, PROXY, Troubles
from tests.support import PATIENCE
from tests.transport_paths import NAMES, POLLS

#: Bytes that the kernel takes for who doesn't read.
SMALL_WINDOW = 4096

#: How visits end, and how often: by what she does herself, by what is done to the connection.
CUTS = {
    "fin": 5,
    "rst": 5,
    "stall": 1,
    "byte by byte": 2,
    "proxy-cut": 8,
    "proxy-hold": 2,
    "proxy-drip": 2,
    LINK: 2,
}

#: Those that curl can be had for, too.
BY_CURL = ("fin", "rst", "proxy-cut", "proxy-hold")

#: How many of the visits to a transport curl makes, where it can. While it waits for a line to say,
#: it asks a thousand times a second whether there is one, and takes a third of a processor.
CURLS = {"text": 0.5, "duplex": 0.1}

#: What is told and not kept.
PASSING = ("hello", "heartbeat", "join", "leave", "people", "typing")

#: Ends that are no cuts.
IN_ORDER = ("refused", "reopen", "done")


@attrs.frozen(kw_only=True)
class Plan:
    """What is to happen in one visit.

    :param cut: one of `CUTS`.
    :param seconds: after which she herself goes, if nobody else has ended it.
    :param wait: seconds that each of her polls may be held.
    :param fate: what the proxy does, if it is on the way.
    :param by_curl: it is curl that reads.
    :param by_header: the cursor goes where a browser's event stream puts it.
    :param old: by HTTP/1.0.
    :param patient: she comes back when she was told to, not at once.
    :param says: so many lines, by the transport `duplex`.
    """

    transport: str
    cut: str
    seconds: float
    wait: float
    fate: dict[str, Any]
    by_curl: bool
    by_header: bool
    old: bool
    patient: bool
    says: int

    @classmethod
    def draw(cls, seed: str, cuts: dict[str, int]) -> Plan:
        """The plan that belongs to a seed, whatever happened before."""
        chance = random.Random(seed)
        transport = chance.choice(NAMES)
        cut = chance.choices(list(cuts), list(cuts.values()))[0]
        if cut == "stall" and transport in POLLS:
            cut = "rst"  # An answer is too short for that.
        # Most cuts are among the first bytes: heads, chunks' sizes, the first events.
        at = int(2 ** chance.uniform(0, 15))
        side = "up" if chance.random() < 0.1 else "down"
        how = chance.choice(("fin", "rst"))
        fates: dict[str, dict[str, Any]] = {
            "proxy-cut": {side: {"cut": at if side == "down" else at % 400 + 1, "how": how}},
            "proxy-hold": {"down": {"hold": at, "seconds": chance.uniform(0.2, 6)}},
            "proxy-drip": {"down": {"drip": 1 + at % 64, "cut": at, "how": how}},
        }
        return cls(
            transport=transport,
            cut=cut,
            seconds=chance.uniform(0.05, 1.5),
            wait=chance.choice((0, 0.3, 2)),
            fate=fates.get(cut, {}),
            by_curl=chance.random() < CURLS.get(transport, 0) and cut in BY_CURL,
            by_header=chance.random() < 0.5,
            old=chance.random() < 0.1 and transport not in ("ws", "duplex", *POLLS),
            patient=chance.random() < 0.5,
            says=chance.randrange(3),
        )


@attrs.define
class Visit:
    """What became of one visit, for people who look for a mistake."""

    number: int
    plan: Plan
    cursor: str
    began: float
    first: int
    ended: str = ""

    def __str__(self) -> str:
        return (
            f"visit {self.number} from {self.cursor}, accepted before: {self.first}, ended by "
            f"{self.ended}: {self.plan}"
        )


@attrs.frozen(kw_only=True)
class World:
    """Where everything is.

    :param elsewhere: makes a socket behind the link that can be taken down, if there is such.
    :param there: the daemon as it is seen from behind that link.
    """

    seed: str
    port: int
    proxy_port: int
    troubles: Troubles
    elsewhere: MakeSocket | None
    there: str


class Reader(Thread):
    """The model client.

    :param rooms: what she reads.
    :param cursor: where she begins.
    """

    #: Seconds of silence after which a stream is taken for dead: the heartbeat is half a second,
    #: and the machine may be busy.
    silence = 20.0

    #: How she may be refused for a while.
    not_now: tuple[int, ...] = (503,)

    def __init__(
        self, world: World, name: str, token: str, rooms: tuple[str, ...], cursor: str
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.world = world
        self.token = token
        self.rooms = rooms
        self.cursor = cursor
        self.accepted: list[Seen] = []
        self.visits: list[Visit] = []
        self.ends: Counter[str] = Counter()
        self.transports: Counter[str] = Counter()
        self.accepted_by: Counter[str] = Counter()
        self.longest_silence = 0.0
        self.said: list[str] = []
        self.error: BaseException | None = None
        self.over = Event()
        self._number = 0
        self._heard_at = time.monotonic()
        self._after = 0.0
        self._cuts = {k: n for k, n in CUTS.items() if k != LINK or world.elsewhere is not None}

    # -- the life of the client

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self._number += 1
                seed = f"{self.world.seed}/{self.name}/{self._number}"
                plan = Plan.draw(seed, self._cuts)
                # However long a restart takes, the next plan waits for it.
                while self.visit(plan) == "refused" and not self.over.is_set():
                    pass
        except BaseException as error:
            self.error = error

    def read_to(self, last: Seen, transport: str) -> None:
        """Read by one transport, undisturbed, until a message is there that nothing follows."""

        def done() -> bool:
            return self._is_at(last)

        self._number += 1
        self._heard_at = time.monotonic()
        calm = Plan.draw("calm", {"fin": 1})
        plan = attrs.evolve(
            calm,
            transport=transport,
            seconds=PATIENCE,
            wait=0.3,
            by_curl=transport in FOR_PEOPLE,
            says=0,
            old=False,
        )
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, f"{last} did not come: {self.accepted[-1:]}"
            self.visit(plan, done)

    def _is_at(self, last: Seen) -> bool:
        """Whether she has been told a message, and nothing after it."""
        # Lines for people show less of it.
        shown = for_people(self.accepted[-1].get("text", "")) if self.accepted else None
        return shown == for_people(last["text"])

    def visit(self, plan: Plan, done: Callable[[], bool] = lambda: False) -> str:
        """Go through one transport, and out of it by what is planned or by what happens; by
        what."""
        began = time.monotonic()
        visit = Visit(self._number, plan, self.cursor, began, len(self.accepted))
        self.visits.append(visit)
        line = None
        try:
            request = self._request(plan)
            line = self._connect(plan, request)
            visit.ended = self._follow(plan, request, line, done)
        except (OSError, Refused) as error:
            if isinstance(error, Refused) and error.status not in self.not_now:
                raise
            blamed = self._blame(plan, began, error)
            # Whoever never heard a word has not been cut off, unless that was the plan.
            planned = blamed == plan.cut != LINK
            visit.ended = blamed if planned or self._heard_at >= began else "refused"
        finally:
            if line is not None:
                line.fin() if plan.cut != "rst" else line.rst()
        self.ends[visit.ended] += 1
        self.transports[plan.transport] += visit.ended != "refused"
        if self._after and plan.patient:
            self.over.wait(self._after)
        elif visit.ended not in CUTS:
            self.over.wait(0.1)
        self._after = 0.0
        return visit.ended

    def _blame(self, plan: Plan, began: float, error: object) -> str:
        """Who ended it."""
        way = LINK if plan.cut == LINK else PROXY if plan.fate else None
        trouble = self.world.troubles.since(began, way)
        if trouble is None and plan.fate:
            return plan.cut
        assert trouble is not None, (
            f"{self.name} was cut off and nobody did it: {error!r}, {self.visits[-1]}"
        )
        return trouble

    def _request(self, plan: Plan) -> Request:
        port = self.world.proxy_port if plan.fate else self.world.port
        host = self.world.there if plan.cut == LINK else "127.0.0.1"
        # Said once and never again: it may or may not be there, but not twice.
        said = [f"{self.name} says {len(self.said) + n} <b>" for n in range(plan.says)]
        if plan.transport == "duplex":
            self.said += said
        return Request(
            transport=plan.transport,
            host=f"{host}:{port}",
            rooms=self.rooms,
            cursor=self.cursor,
            token=self.token,
            wait=plan.wait,
            by_header=plan.by_header,
            said=tuple(said),
            version="HTTP/1.0" if plan.old else "HTTP/1.1",
            fate=plan.fate or None,
        )

    def _connect(self, plan: Plan, request: Request) -> Line:
        if plan.by_curl:
            return CurlLine(request)
        host, _, port = request.host.rpartition(":")
        window = SMALL_WINDOW if plan.cut == "stall" else None
        if plan.cut == LINK:
            assert self.world.elsewhere is not None
            return SocketLine((host, int(port)), self.world.elsewhere)
        return SocketLine((host, int(port)), window=window)

    # -- one visit

    def _follow(self, plan: Plan, request: Request, line: Line, done: Callable[[], bool]) -> str:
        """Read until something ends it; what did."""
        response = self._ask(plan, request, line)
        began = heard = time.monotonic()
        slow = plan.cut == "byte by byte"
        while not done():
            now = time.monotonic()
            if now - began > plan.seconds:
                return self._leave(plan, line, began)
            if now - heard > self.silence:
                return self._blame(plan, began, "silence")
            data = line.read(1 + int(now * 1000) % 7 if slow else 65536, 0.2)
            if data is None:
                continue
            heard = time.monotonic()
            self._hear(response.feed(data))
            if isinstance(response, WebSocketResponse):
                line.send(response.to_send())
            if response.ended and plan.transport in POLLS:
                return self._blame(plan, began, "its answer was the last")
            if response.ended or not data:
                # curl calls it an end in order, too, when there is none within a head.
                told = plan.by_curl and not plan.fate
                return self._ended(plan, began, in_order=response.ended or told)
            if isinstance(response, Response) and plan.transport in POLLS and response.idle:
                self.over.wait(0.05)
                line.send(attrs.evolve(request, cursor=self.cursor, fate=None).bytes())
        return "done"

    def _ask(self, plan: Plan, request: Request, line: Line) -> Response | WebSocketResponse:
        if plan.transport == "ws":
            url = f"ws://{request.host}{request.path}"
            response = WebSocketResponse(url, request.headers)
            line.send(response.to_send())
            return response
        if not plan.by_curl:
            line.send(request.bytes())
        elif plan.transport == "duplex":
            line.send("".join(f"{each}\n" for each in request.said).encode())
        return Response(plan.transport, decoded=plan.by_curl)

    def _ended(self, plan: Plan, began: float, *, in_order: bool) -> str:
        """The end came; in order or, of what has no mark of its end, perhaps not."""
        if self._after:
            return "reopen"
        assert not in_order, f"ended without a word where to go on: {self.visits[-1]}"
        return self._blame(plan, began, "the end, and not a word of it")

    def _leave(self, plan: Plan, line: Line, began: float) -> str:
        """She has had enough."""
        if plan.cut == "stall":
            assert isinstance(line, SocketLine)
            deadline = time.monotonic() + PATIENCE
            while not line.is_cut(0.2) and self.world.troubles.since(began) is None:
                if self.over.is_set():
                    return "fin"  # Nothing is said any more that she could be behind of.
                assert time.monotonic() < deadline, f"nobody cut who didn't read: {plan}"
            self._heard_at = time.monotonic()
        return plan.cut

    # -- what she hears

    def _hear(self, events: list[Seen]) -> None:
        for event in events:
            self._note_silence()
            kind = event["type"]
            if kind in ("message", "gap"):
                self._accept(event)
            elif kind == "reopen":
                self._after = max(event.get("after", 0.0), 0.01)
            elif kind == "error":
                assert event.get("status", 503) == 503, event
                self._after = 0.01
            elif kind not in PASSING:
                self._hear_of_loss(event)
            self.cursor = event.get("cursor", self.cursor)

    def _hear_of_loss(self, event: Seen) -> None:
        """A `reset` or a `bye` means that her cursor or her session was lost."""
        raise AssertionError(event)

    def _accept(self, event: Seen) -> None:
        assert event.get("room", self.rooms[0]) in self.rooms
        last = next((each["id"] for each in reversed(self.accepted) if "id" in each), 0)
        if event["type"] == "message" and "id" in event:
            assert event["id"] > last, f"{event} after {last}: {self.visits[-1]}"
        self.accepted.append(event)
        self.accepted_by[self.visits[-1].plan.transport] += 1

    def _note_silence(self) -> None:
        now = time.monotonic()
        self.longest_silence = max(self.longest_silence, now - self._heard_at)
        self._heard_at = now

    def finish(self) -> None:
        """Go for good."""
        self.over.set()
        self.join(PATIENCE)
        if self.error is not None:
            with suppress(AttributeError):
                self.error.add_note(str(self.visits[-1]))
            raise self.error
        assert not self.is_alive(), f"{self.name} did not finish: {self.visits[-1]}"
