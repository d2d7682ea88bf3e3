"""The posters of a fault run: each says one thing after the other, until it is acknowledged.

What it is: posts by HTTP, by a proxy that cuts, by WebSocket; what was not acknowledged is sent
again with the same ``client_id``, by another way.

What it may know: the interface of the daemon.

Invariant: nothing is given up; what was acknowledged has the id that the first answer gave.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from threading import Event, Thread
from typing import Any
from urllib.parse import quote

from tests.decoders import Seen
from tests.faults.decoding import Refused, WebSocketResponse
from tests.faults.lines import Request, SocketLine
from tests.faults.reader import World

#: All talk, and then all are silent: only in silence do lines for people say how far they go.
TALK, SILENCE = 1.2, 0.9

#: What texts end in: whatever could be taken for something else in one of the transports.
HOSTILE = (
    "",
    "</script><script>parent.comet.receive({})</script>",
    "\n* cursor 1.1\n* the stream ends here, go on with cursor=1.1",
    "\r\n--boundary\r\nContent-Type: text/plain",
    "\n\nid: 1.1\ndata: {}\n\nevent: heartbeat",
    "\u2028\u2029 */ ); \\u0022 <!--",
    "\N{GRINNING FACE}" * 300,
    "\t\u0645\u0631\u062d\u0628\u0627 \u202e.",
    "x" * 4000,
)


class Poster(Thread):
    """One poster.

    :param rooms: where it posts.
    :param pause: seconds between two posts, about.
    """

    #: Seconds that she waits for an answer.
    patience = 10.0

    def __init__(
        self, world: World, name: str, token: str, rooms: tuple[str, ...], pause: float
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.world = world
        self.token = token
        self.rooms = rooms
        self.pause = pause
        self.acknowledged: dict[str, Seen] = {}
        self.broken: Counter[str] = Counter()
        self.repeated = 0
        self.over = Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            number = 0
            while not self.over.is_set():
                number += 1
                self.say(number)
                self._take_a_breath()
        except BaseException as error:
            self.error = error

    def _take_a_breath(self) -> None:
        left = time.monotonic() % (TALK + SILENCE) - TALK
        self.over.wait(SILENCE - left if left > 0 else self.pause)

    def say(self, number: int) -> None:
        """One message, until it is acknowledged."""
        client_id = f"{self.name}-{number}"
        chance = random.Random(f"{self.world.seed}/{client_id}")
        room = chance.choice(self.rooms)
        text = f"{client_id} {chance.choice(HOSTILE)}|"
        while client_id not in self.acknowledged:
            way = chance.choice(("http", "http", "http", "proxy", "ws"))
            try:
                post = self._by_socket if way == "ws" else self._by_request
                event = post(chance, way, room, {"text": text, "client_id": client_id})
            except (OSError, HTTPException, Refused) as error:
                if isinstance(error, Refused) and error.status != 503:
                    raise
                self.broken[way] += 1
                time.sleep(0.05)
                continue
            assert (event["text"], event["client_id"], event["room"]) == (
                text.replace("\r\n", "\n"),
                client_id,
                room,
            )
            self.acknowledged[client_id] = event

    def _by_request(self, chance: random.Random, way: str, room: str, body: Any) -> Seen:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        port = self.world.port
        if way == "proxy":
            port = self.world.proxy_port
            side, at = chance.choice((("up", chance.randrange(1, 900)), ("down", 1)))
            how = chance.choice(("fin", "rst"))
            headers["X-Fate"] = json.dumps({side: {"cut": at, "how": how}})
        connection = HTTPConnection("127.0.0.1", port, timeout=self.patience)
        try:
            path = f"/api/v1/rooms/{quote(room)}/messages"
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status not in (200, 201):
            raise Refused(response.status, answer)
        self.repeated += response.status == 200
        event: Seen = json.loads(answer)
        return event

    def _by_socket(self, chance: random.Random, way: str, room: str, body: Any) -> Seen:
        host = f"127.0.0.1:{self.world.port}"
        cursor = ""
        request = Request(transport="ws", host=host, rooms=(room,), cursor=cursor, token=self.token)
        path = request.path.replace("&cursor=", "")
        response = WebSocketResponse(f"ws://{host}{path}", {})
        line = SocketLine(("127.0.0.1", self.world.port))
        try:
            line.send(response.to_send())
            return self._hear_of(
                body["client_id"], {"type": "message", "room": room, **body}, response, line
            )
        finally:
            line.fin()

    def _hear_of(
        self, client_id: str, message: Seen, response: WebSocketResponse, line: SocketLine
    ) -> Seen:
        """Say something as soon as there is a way to, and wait until it comes back."""
        said = False
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            data = line.read(65536, 0.5)
            if data == b"" or response.ended:
                break
            for event in response.feed(data or b""):
                if event["type"] == "error":
                    raise Refused(event["status"], event["detail"].encode())
                if event.get("client_id") == client_id:
                    return event
            if response.open and not said:
                said = True
                response.say(message)
            line.send(response.to_send())
        raise ConnectionError("it did not come back")

    def finish(self) -> None:
        """Say the last, and go."""
        self.over.set()
        self.join(60)
        if self.error is not None:
            raise self.error
        assert not self.is_alive(), f"{self.name} did not finish"
