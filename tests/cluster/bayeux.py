"""Readers by Bayeux: long polling and WebSocket, each request or connection to another node.

What it is: a small client of its own, with the acknowledge extension, which goes on by its clientId
wherever the balancer sends it, and handshakes again when it is told to.

What it may know: Bayeux 1.0, and of ours the cursor in ``ext``.

Invariant: what comes again without having been confirmed is told from what comes twice: only
after a connection broke, and only up to where it had come. What was asked and not answered is asked
again, be it a handshake, a subscription or a connect: it connects when it reads all its rooms.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections import deque
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from threading import Event, Thread
from typing import Any, Protocol

from tests.cluster.history import (
    History,
    LeftOut,
    Reads,
    ReadToTheEnd,
    Refused,
    Told,
    WasReset,
)
from tests.cluster.readers import NOT_NOW
from tests.decoders import Seen
from tests.faults.decoding import Refused as RefusedBy
from tests.faults.decoding import WebSocketResponse
from tests.faults.lines import SocketLine
from tests.support import PATIENCE

Json = dict[str, Any]

TRANSPORTS = ("long-polling", "websocket")

#: Seconds that an answer may take: a connect is held for at most 2 s in these tests.
LATE = 6.0


def channel(room: str) -> str:
    """The channel of a room."""
    if all(each in "abcdefghijklmnopqrstuvwxyz0123456789_-" for each in room):
        return f"/chat/{room}"
    return f"/chat/~{room.encode().hex()}"


class Way(Protocol):
    """How messages go to the server and come back."""

    def exchange(self, messages: list[Json]) -> list[Json]:
        """Send some; what comes until the last of them is answered.

        :raises OSError: it broke.
        """

    def close(self) -> None:
        """Break it off."""


class Polling:
    """POST by POST; the connection stays open, and each POST goes to another node."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=LATE)

    def exchange(self, messages: list[Json]) -> list[Json]:
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", "/cometd", json.dumps(messages), headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RefusedBy(response.status, body)
        answer: list[Json] = json.loads(body)
        return answer

    def close(self) -> None:
        self._connection.close()


class Socket:
    """A WebSocket, which stays with one node."""

    def __init__(self, port: int) -> None:
        self._line = SocketLine(("127.0.0.1", port))
        self._response = WebSocketResponse(f"ws://127.0.0.1:{port}/cometd", {})
        self._came: list[Json] = []
        self._closed = False
        self._line.send(self._response.to_send())

    def exchange(self, messages: list[Json]) -> list[Json]:
        deadline = time.monotonic() + LATE
        said = False
        while True:
            if self._response.open and not said:
                said = True
                self._response.say(messages)  # type: ignore[arg-type]
                self._line.send(self._response.to_send())
            if any(each.get("id") == messages[-1]["id"] for each in self._came):
                came, self._came = self._came, []
                return came
            if self._closed or time.monotonic() > deadline:
                raise ConnectionError("no answer on the socket")
            self._read()

    def _read(self) -> None:
        data = self._line.read(65536, 0.2)
        if data is None:
            return
        found: Any = self._response.feed(data)
        self._came += [each for batch in found for each in batch]
        self._closed = not data or self._response.ended
        try:
            self._line.send(self._response.to_send())
        except OSError:
            # What came before the peer had gone counts.
            self._closed = True

    def close(self) -> None:
        self._line.fin()


WAYS: dict[str, Callable[[int], Way]] = {"long-polling": Polling, "websocket": Socket}


class BayeuxReader(Thread):
    """One reader by Bayeux. The history knows it as one reader a room, for order is promised within
    a room: ``NAME in ROOM``.

    :param port: of the balancer.
    :param transport: one of `TRANSPORTS`.
    :param cursor: where it begins in each room, of the id `after`.
    """

    def __init__(
        self,
        history: History,
        seed: str,
        port: int,
        name: str,
        token: str,
        transport: str,
        rooms: tuple[str, ...],
        cursor: str,
        after: int,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.history = history
        self.port = port
        self.token = token
        self.transport = transport
        self.rooms = rooms
        self.over = Event()
        self.error: BaseException | None = None
        self.handshakes = self.repeated = 0
        self._chance = random.Random(f"{seed}/{name}")
        self._client = ""
        # A connect of this client's was sent, and the connection was lost before its answer.
        self._in_doubt = False
        self._ack = 0
        self._ids = itertools.count(1)
        self._way: Way | None = None
        #: The rooms that its client is not known to read yet.
        self._to_subscribe: list[str] = []
        #: What was said and answered last, for people who look for a mistake.
        self.trail: deque[str] = deque(maxlen=12)
        self._cursors: dict[str, str | None] = dict.fromkeys(rooms, cursor)
        self._last = dict.fromkeys(rooms, after)
        self._again = dict.fromkeys(rooms, after)
        for room in rooms:
            history.note(Reads(who=self._who(room), rooms=(room,), after=after))

    def _who(self, room: str) -> str:
        return f"{self.name} in {room}"

    # -- its life

    def run(self) -> None:
        try:
            while not self.over.is_set():
                self.step()
        except BaseException as error:
            self.error = error

    def step(self) -> None:
        """One handshake, one subscription or one connect; what breaks is begun anew."""
        try:
            if self._way is None:
                self._way = WAYS[self.transport](self.port)
            if not self._client:
                self._shake_hands()
            elif self._to_subscribe:
                self._subscribe(self._to_subscribe[0])
            else:
                self._connect()
            if self._chance.random() < 0.05:
                self._break()
        except (OSError, HTTPException) as error:
            self.trail.append(f"! {error!r}")
            self._break()
            self.over.wait(0.1 if isinstance(error, OSError) else 0.05)
        except RefusedBy as error:
            self.trail.append(f"! {error!r}")
            self._break()
            if error.status not in NOT_NOW:
                self._note(error.status, str(error))
            self.over.wait(0.1)

    def _break(self) -> None:
        """The connection is no more: what isn't confirmed may come again."""
        if self._way is not None:
            self._way.close()
        self._way = None
        self._again = dict(self._last)

    def _note(self, status: int, what: str) -> None:
        self.history.note(Refused(who=self.name, status=status, what=what))

    def _ask(self, *messages: Json) -> Json:
        """The reply to the last one; what came beside it is heard."""
        assert self._way is not None
        numbered = [{**each, "id": str(next(self._ids))} for each in messages]
        self.trail.append(f"> {numbered}")
        came = self._way.exchange(numbered)
        self.trail.append(f"< {came}")
        replies = {each.get("id"): each for each in came if "successful" in each}
        for each in came:
            if "data" in each:
                self._hear(each)
        reply = replies.get(numbered[-1]["id"])
        if reply is None:
            raise ConnectionError(f"no reply to {numbered[-1]}: {came}")
        return reply

    # -- what it says

    def _shake_hands(self) -> None:
        reply = self._ask(
            {
                "channel": "/meta/handshake",
                "version": "1.0",
                "supportedConnectionTypes": [self.transport],
                "ext": {"authentication": {"token": self.token}, "ack": True},
            }
        )
        self.handshakes += 1
        if not reply["successful"]:
            return self._refused(reply)
        self._client, self._ack, self._in_doubt = reply["clientId"], 0, False
        self._to_subscribe = list(self.rooms)
        return None

    def _subscribe(self, room: str) -> None:
        cursor = self._cursors[room]
        message = {"channel": "/meta/subscribe", "subscription": channel(room)}
        # It begins where it stood: nothing of before comes again.
        self._again[room] = 0
        more = {} if cursor is None else {"ext": {"cursor": cursor}}
        reply = self._ask({**message, "clientId": self._client, **more})
        if reply["successful"]:
            self._to_subscribe.remove(room)
            return None
        error = str(reply.get("error", ""))
        if cursor is not None and error.startswith("400:") and error.endswith(":invalid_cursor"):
            self.history.note(WasReset(who=self._who(room), reason=error))
            self._cursors[room] = None
            return None
        return self._refused(reply)

    def _connect(self) -> None:
        before, self._in_doubt = self._in_doubt, True
        reply = self._ask(
            {
                "channel": "/meta/connect",
                "clientId": self._client,
                "connectionType": self.transport,
                "ext": {"ack": self._ack},
            }
        )
        self._in_doubt = False
        if reply["successful"]:
            self._ack = reply.get("ext", {}).get("ack", self._ack)
            return None
        if before and str(reply.get("error", "")).endswith(":connect_replaced"):
            # Two connections to a node that was frozen are read in any order, so the one that was
            # given up has come last. There is no advice: it connects again, as it was about to.
            return None
        return self._refused(reply)

    def _refused(self, reply: Json) -> None:
        """Unknown clients handshake again; all else but *not now* is strange."""
        self._client = ""
        code = str(reply.get("error", "")).partition(":")[0]
        status = int(code) if code.isdigit() else 0
        advice = reply.get("advice", {}).get("reconnect")
        if advice == "none" or status not in (402, *NOT_NOW):
            self._note(status, str(reply))
        self.over.wait(0.1)

    # -- what it hears

    def _hear(self, message: Json) -> None:
        rooms = {channel(room): room for room in self.rooms}
        room = rooms.get(message["channel"])
        if room is None:
            return self._note(0, f"on a channel that it is not subscribed to: {message}")
        event: Seen = {"type": "message", **message["data"]}
        id, ext = event["id"], message.get("ext", {})
        if id <= self._again[room]:
            self.repeated += 1
            return None
        self._again[room] = 0
        if "missing" in ext:
            gap = {"type": "gap", "room": room, "missing": ext["missing"], "before": id}
            self.history.note(LeftOut(who=self._who(room), event=gap))
        by = f"bayeux-{self.transport}"
        self.history.note(Told(who=self._who(room), event=event, by=by, upto=ext["cursor"]))
        self._cursors[room], self._last[room] = ext["cursor"], id
        return None

    # -- its end

    def finish(self) -> None:
        """Stop by itself; to be called before `read_to_the_end`."""
        self.over.set()
        self.join(PATIENCE)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"{self.name} did not finish"

    def read_to_the_end(self, log: list[Seen]) -> None:
        """Read until the last message of each room is there, and disconnect.

        :param log: all there is.
        """
        last = {event["room"]: event["id"] for event in log}
        deadline = time.monotonic() + PATIENCE
        while any(self._last[room] < last.get(room, 0) for room in self.rooms):
            trail = "\n".join(each[:1000] for each in self.trail)
            assert time.monotonic() < deadline, (
                f"{self.name} is at {self._last}, not at {last}:\n{trail}"
            )
            self.step()
        for room in self.rooms:
            self.history.note(ReadToTheEnd(who=self._who(room)))
        while self._client:
            assert time.monotonic() < deadline, f"{self.name} can't disconnect"
            self._go()

    def _go(self) -> None:
        """Disconnect, by another connection if this one is lost."""
        try:
            if self._way is None:
                self._way = WAYS[self.transport](self.port)
            self._ask({"channel": "/meta/disconnect", "clientId": self._client})
            self._client = ""
        except (OSError, HTTPException, RefusedBy) as error:
            self.trail.append(f"! {error!r}")
            time.sleep(0.1)
        self._break()
