"""Readers who go to another node after each event, one node of which hears everything late.

What it is: `Hopper` polls one node after the other by one cursor; `hop` has many of them make so
many hops while somebody talks.

What it may know: the interface of the daemon, the port of each node.

Invariant: a cursor that one node gave out is good at the next one at once, however far behind that
is: it waits, and never says `reset`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPException
from threading import Event, Thread
from urllib.parse import quote

import attrs

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
from tests.cluster.people import ROOMS, messages
from tests.daemon.talk import Answer, ask, connect, log_in, once, say, wait_until
from tests.support import PATIENCE

#: Seconds between two posts.
PAUSE = 0.1


class Hopper(Thread):
    """One reader.

    :param ports: of the nodes.
    :param hops: how many it makes.
    """

    def __init__(
        self, history: History, name: str, ports: Sequence[int], cursor: str, hops: int
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.history = history
        self.ports = ports
        self.cursor = cursor
        self.left = hops
        self.over = Event()
        self.error: BaseException | None = None
        history.note(Reads(who=name, rooms=ROOMS, after=0))

    def run(self) -> None:
        try:
            connections = [connect(port, PATIENCE) for port in self.ports]
            for connection in itertools.cycle(connections):
                if self.left <= 0 and self.over.is_set():
                    break
                path = f"/api/v1/events/poll?rooms={','.join(map(quote, ROOMS))}"
                answer = ask(connection, "GET", f"{path}&cursor={self.cursor}&wait=1")
                self.left -= 1
                self._hear(answer.status, answer.json)
            for connection in connections:
                connection.close()
        except (OSError, HTTPException, AssertionError) as error:
            self.error = error

    def _hear(self, status: int, answer: dict[str, object]) -> None:
        if status == 503:
            # A node that is far behind says so, and its reader asks another one.
            return self.history.note(
                InDoubt(who=self.name, client_id="", why=f"{status}: {answer}")
            )
        if status != 200:
            return self.history.note(Refused(who=self.name, status=status, what=str(answer)))
        events = answer["events"]
        assert isinstance(events, list)
        for event in events:
            if event["type"] == "message":
                self.history.note(Told(who=self.name, event=event, by="poll"))
            elif event["type"] == "gap":
                self.history.note(LeftOut(who=self.name, event=event))
            elif event["type"] == "reset":
                self.history.note(WasReset(who=self.name, reason=str(event["reason"])))
        self.cursor = str(answer["cursor"])
        return None


def hop(history: History, ports: Sequence[int], hoppers: int, hops: int) -> int:
    """Have so many readers make so many hops together; how many there were.

    What is said is said at each node in turn, and looked for at the next one at once: in the
    history, and in a room that was made a moment before.
    """
    start = once(ports[0], "GET", "/api/v1/events/poll").json["cursor"]
    turned = [[*ports[first:], *ports[:first]] for first in range(len(ports))]
    readers = [
        Hopper(history, f"hopper{n}", turned[n % len(ports)], start, hops // hoppers)
        for n in range(hoppers)
    ]
    token = log_in(ports[0], "talker")
    for reader in readers:
        reader.start()
    talking = Event()
    for number in itertools.count():
        if all(reader.left <= 0 or not reader.is_alive() for reader in readers):
            break
        _say(history, ports, token, number)
        talking.wait(PAUSE)
    _say(history, ports, token, -1)
    wait_until(lambda: _agree(history, ports), "all nodes show one history")
    for reader in readers:
        reader.over.set()
    # Two more rounds of each bring what is not there yet.
    for reader in readers:
        reader.join(PATIENCE)
        assert reader.error is None, reader.error
        for port in ports:
            with closing(connect(port)) as connection:
                path = f"/api/v1/events/poll?rooms={','.join(map(quote, ROOMS))}"
                answer = ask(connection, "GET", f"{path}&cursor={reader.cursor}&wait=0")
                reader._hear(answer.status, answer.json)
        history.note(ReadToTheEnd(who=reader.name))
    return sum(hops // hoppers - reader.left for reader in readers)


def _agree(history: History, ports: Sequence[int]) -> bool:
    history.views = {f"port {port}": messages(port) for port in ports}
    history.log = max(history.views.values(), key=len)
    return all(list(view) == list(history.log) for view in history.views.values())


def _say(history: History, ports: Sequence[int], token: str, number: int) -> None:
    """Say something at one node, and look for it at the next one."""
    here, there = ports[number % len(ports)], ports[(number + 1) % len(ports)]
    room, text, client_id = ROOMS[number % len(ROOMS)], f"hop {number}", f"talker-{number}"
    history.note(Posted(who="talker", room=room, text=text, client_id=client_id))
    answer = say(here, token, text, client_id=client_id, room=quote(room))
    assert answer.status == 201, answer
    history.note(Acknowledged(who="talker", client_id=client_id, event=answer.json))
    newest = _newest(history, there, room)
    if newest.status != 200:
        what = f"{text} was said at {here}; at {there}: {newest.text}"
        history.note(Refused(who="talker", status=newest.status, what=what))
    elif [each["id"] for each in newest.json["messages"]] != [answer.json["id"]]:
        what = f"{text} was said at {here} and the newest at {there} is {newest}"
        history.note(Refused(who="talker", status=0, what=what))


def _newest(history: History, port: int, room: str) -> Answer:
    """A node's answer to who asks for the newest message; one that is far behind is asked again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = once(port, "GET", f"/api/v1/rooms/{quote(room)}/messages?limit=1")
        if answer.status != 503 or time.monotonic() > deadline:
            return answer
        history.note(InDoubt(who="talker", client_id="", why=f"503: {answer.text}"))


@attrs.frozen
class Handed:
    """How what was done at one node was found at another."""

    room: int
    stream: bytes
    session: int


def one_after_the_other(ports: Sequence[int], number: int) -> Handed:
    """A room is made at one node and read at the next; a session that holds a stream at the third
    is ended at the first."""
    name = f"handed-{number}"
    token = log_in(ports[0], name)
    made = once(ports[0], "POST", "/api/v1/rooms", token=token, body={"name": name})
    assert made.status == 201, made
    room = once(ports[1], "GET", f"/api/v1/rooms/{name}").status
    path = f"/api/v1/events/stream?rooms={name}&token={token}"
    with closing(connect(ports[2])) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        assert once(ports[0], "DELETE", "/api/v1/session", token=token).status == 204
        stream = response.read()
    session = once(ports[1], "GET", "/api/v1/session", token=token).status
    return Handed(room, stream, session)
