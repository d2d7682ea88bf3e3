"""Bayeux by real daemons on one PostgreSQL: each request to another of them."""

from __future__ import annotations

import itertools
import signal
from pathlib import Path
from typing import Any

from tests.daemon.talk import once, wait_until
from tests.daemon.test_nodes import nodes
from tests.support import Daemon

Message = dict[str, Any]

OPTIONS = ("--bayeux-channels=/app/**", "--limits=off")


class RoundRobin:
    """A client that polls, each time another daemon."""

    def __init__(self, *daemons: Daemon) -> None:
        self.ports = itertools.cycle([each.port for each in daemons])
        self.ids = itertools.count(1)
        self.id = ""
        self.told: list[Message] = []

    def send(self, channel: str, port: int | None = None, **fields: Any) -> list[Message]:
        message = {"channel": channel, "id": str(next(self.ids)), **fields}
        if self.id:
            message["clientId"] = self.id
        answer = once(port or next(self.ports), "POST", "/cometd", body=[message])
        assert answer.status == 200, answer
        found: list[Message] = answer.json
        self.told += [each for each in found if "data" in each]
        return found

    def ask(self, channel: str, port: int | None = None, **fields: Any) -> Message:
        return [each for each in self.send(channel, port, **fields) if "successful" in each][-1]

    def begin(self, name: str) -> RoundRobin:
        said: Message = {"ext": {"authentication": {"name": name}}, "version": "1.0"}
        self.id = self.ask("/meta/handshake", **said)["clientId"]
        assert self.connect()["successful"]
        for pattern in ("/chat/lobby", "/app/**"):
            assert self.ask("/meta/subscribe", subscription=pattern)["successful"]
        return self

    def connect(self, port: int | None = None) -> Message:
        return self.ask(
            "/meta/connect", port, connectionType="long-polling", advice={"timeout": 1000}
        )

    def has(self, count: int) -> bool:
        assert self.connect()["successful"]
        return len(self.told) >= count


def test_each_request_to_another_daemon(tmp_path: Path, database_url: str) -> None:
    with nodes(tmp_path, database_url, "a", "b", options=OPTIONS) as (a, b):
        alice, bob = RoundRobin(a, b).begin("alice"), RoundRobin(b, a).begin("bob")
        assert alice.id[:8] != bob.id[:8]
        texts = [f"n{number}" for number in range(20)]
        for number, text in enumerate(texts):
            speaker = (alice, bob)[number % 2]
            assert speaker.ask("/chat/lobby", data={"text": text})["successful"]
        wait_until(lambda: alice.has(20), "all that was said")
        wait_until(lambda: bob.has(20), "all that was said")
        for client in (alice, bob):
            assert [each["data"]["text"] for each in client.told] == texts
            client.told.clear()
        # Free channels, by the bus.
        for number in range(10):
            assert alice.ask("/app/news", data=number)["successful"]
        large = "x" * 100_000
        assert alice.ask("/app/news", data=large)["successful"]
        wait_until(lambda: bob.has(11), "what was published")
        assert [each["data"] for each in bob.told] == [*range(10), large]


def test_an_owner_that_is_killed(tmp_path: Path, database_url: str) -> None:
    with nodes(tmp_path, database_url, "a", "b", options=OPTIONS) as (a, b):
        alice = RoundRobin(b)
        alice.ports = itertools.cycle([a.port])
        alice.begin("alice")
        alice.ports = itertools.cycle([b.port])
        assert alice.connect()["successful"]
        a.kill()
        reply = alice.connect()
        assert reply["error"].startswith("402:"), reply
        assert reply["advice"]["reconnect"] == "handshake"


def test_an_owner_that_stops(tmp_path: Path, database_url: str) -> None:
    with nodes(tmp_path, database_url, "a", "b", options=OPTIONS) as (a, b):
        alice = RoundRobin(a).begin("alice")
        alice.ports = itertools.cycle([b.port])
        assert alice.connect()["successful"]
        a.stop(signal.SIGTERM)
        reply = alice.connect()
        assert reply["error"].startswith("402:"), reply
        # She is as good there.
        alice.id = ""
        assert alice.begin("alice two").connect()["successful"]
