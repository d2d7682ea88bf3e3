"""A raid, and its end: how long until a room is clean and quiet again, and what others noticed.

What it is: 200 hostile guests from 50 addresses, who come through a proxy that is trusted, post as
fast as they can. After a while one moderator does what moderators do: calms the house, bans the
networks, purges what guests said, and lets others speak again. `python -m benchmarks.raid` runs it
and prints what was seen, as JSON.

What it may know: the interface. Nothing of `cometd_chat`.

Invariant: everybody is a client like any other, by HTTP; the moderator has no way of their own. But
for becoming one: the role is written into the database between two starts of the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

HOSTILE = 200
ADDRESSES = 50
NETWORKS = 25
OTHERS = 20

#: Seconds for which the raid goes on before anybody does anything.
BEFORE = 5.0

#: Seconds for which it is watched afterwards.
AFTER = 5.0

ROOM = "lobby"
SPAM = "SPAM"


class Client:
    """Somebody who has an address, and one connection at a time."""

    def __init__(self, port: int, address: str) -> None:
        self.port = port
        self.address = address
        self.token = ""
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of an answer; 0 where there was none."""
        try:
            return await self._ask(method, path, body)
        except (OSError, asyncio.IncompleteReadError, ValueError, IndexError):
            self.close()
            return 0, None

    async def _ask(self, method: str, path: str, body: object) -> tuple[int, Any]:
        reader, writer = await self.open()
        data = b"" if body is None else json.dumps(body).encode()
        writer.write(self.head(method, path, len(data)) + data)
        status, length = await read_head(reader)
        answer = await reader.readexactly(length)
        return status, json.loads(answer) if answer else None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        return self._streams

    def head(self, method: str, path: str, length: int) -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"X-Forwarded-For: {self.address}",
            f"Content-Length: {length}",
            "Content-Type: application/json",
        ]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        return "\r\n".join([*lines, "", ""]).encode()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def log_in(self, name: str) -> int:
        status, answer = await self.ask("POST", "/api/v1/session", {"name": name})
        if status == 201:
            self.token = answer["token"]
        return status

    async def say(self, text: str) -> int:
        status, _ = await self.ask("POST", f"/api/v1/rooms/{ROOM}/messages", {"text": text})
        return status


async def read_head(reader: asyncio.StreamReader) -> tuple[int, int]:
    """Status and length of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = 0
    for line in head.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    return int(head.split(" ", 2)[1]), length


class Raider:
    """One who posts as fast as they can, and comes back under another name when they are out."""

    def __init__(self, port: int, number: int) -> None:
        place = number % ADDRESSES
        self.client = Client(port, f"11.{place % NETWORKS}.7.{1 + place // NETWORKS}")
        self.number = number
        self.names = 0
        self.said = 0
        self.refused: dict[int, int] = {}

    async def run(self, until: asyncio.Event) -> None:
        while not until.is_set():
            if not self.client.token:
                name = f"raider-{self.number}-{self.names}"
                status = await self.client.log_in(name)
                if status != 201:
                    self.refused[status] = self.refused.get(status, 0) + 1
                    await asyncio.sleep(0.2)
                    continue
                self.names += 1
            status = await self.client.say(f"{SPAM} {self.number} {self.said}")
            if status == 201:
                self.said += 1
                continue
            self.refused[status] = self.refused.get(status, 0) + 1
            if status in (401, 403):
                # Whoever is out tries as somebody else.
                self.client.token = ""
            # As fast as the limits let them; asking faster gets them nothing.
            await asyncio.sleep(0.05)


class Watcher:
    """One of the others, who holds a stream."""

    def __init__(self, port: int, number: int) -> None:
        self.client = Client(port, f"9.9.{number}.1")
        self.number = number
        self.spam: list[float] = []
        self.waits: list[float] = []
        self.ended = 0

    async def run(self, until: asyncio.Event) -> None:
        await self.client.log_in(f"watcher-{self.number}")
        while not until.is_set():
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._read(until)
            if not until.is_set():
                self.ended += 1
                await asyncio.sleep(0.1)

    async def _read(self, until: asyncio.Event) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.client.port, limit=2**22)
        try:
            writer.write(self.client.head("GET", f"/api/v1/events/stream?rooms={ROOM}", 0))
            await reader.readuntil(b"\r\n\r\n")
            while not until.is_set():
                line = await reader.readuntil(b"\n")
                if b'"type":"message"' not in line:
                    continue
                now, event = time.monotonic(), json.loads(line)
                if event["text"].startswith(SPAM):
                    self.spam.append(now)
                elif event["text"].startswith("probe "):
                    self.waits.append(now - float(event["text"].split(" ")[1]))
        finally:
            writer.close()


async def raid(port: int, moderator: Client) -> dict[str, Any]:
    """The raid, from its beginning to some time after its end."""
    over = asyncio.Event()
    raiders = [Raider(port, number) for number in range(HOSTILE)]
    watchers = [Watcher(port, number) for number in range(OTHERS)]
    tasks = [asyncio.ensure_future(each.run(over)) for each in watchers]
    probes = asyncio.ensure_future(probe(moderator.port, moderator.token, over))
    await asyncio.sleep(2)
    quiet = list(watchers[0].waits)
    tasks += [asyncio.ensure_future(each.run(over)) for each in raiders]
    await asyncio.sleep(BEFORE)
    first = await first_hostile(moderator)
    began = time.monotonic()
    found = await end_it(moderator, began, first)
    await asyncio.sleep(AFTER)
    waits = [wait for each in watchers for wait in each.waits]
    spam = [at - began for each in watchers for at in each.spam]
    over.set()
    await asyncio.wait([probes, *tasks], timeout=5)
    for task in tasks:
        task.cancel()
    refused: dict[str, int] = {}
    for each in raiders:
        for status, count in each.refused.items():
            refused[f"{status}"] = refused.get(f"{status}", 0) + count
    return {
        "hostile guests": HOSTILE,
        "addresses": ADDRESSES,
        "networks": NETWORKS,
        "hostile messages said": sum(each.said for each in raiders),
        "names that they came by": sum(each.names for each in raiders),
        "seconds to the last hostile message after the first act": round(max(spam, default=0), 2),
        **found,
        "refused, by status": refused,
        "median probe before, ms": round(median(quiet or [0]) * 1000, 1),
        "median probe all in all, ms": round(median(waits or [0]) * 1000, 1),
        "slowest probe, ms": round(max(waits, default=0) * 1000, 1),
        "streams of others that ended": sum(each.ended for each in watchers),
    }


async def probe(port: int, token: str, over: asyncio.Event) -> None:
    """The moderator says something twice a second: how long it takes to others."""
    client = Client(port, "9.9.200.1")
    client.token = token
    while not over.is_set():
        await client.say(f"probe {time.monotonic()}")
        await asyncio.sleep(0.5)


async def end_it(moderator: Client, began: float, first: int) -> dict[str, Any]:
    """What one moderator does: calm, the networks' ban, a purge, and calm no longer."""
    took: dict[str, Any] = {}

    def note(what: str) -> None:
        took[f"seconds to: {what}"] = round(time.monotonic() - began, 2)

    status, answer = await moderator.ask("PATCH", "/api/v1/policies", {"calm": "members"})
    assert status == 200, answer
    note("calm")
    asked = {"kind": "ban-network", "guests_of": ROOM, "minutes": 240, "reason": "raid"}
    status, answer = await moderator.ask("POST", "/api/v1/sanctions", asked)
    assert status == 201, answer
    took["network bans"] = len(answer["sanctions"])
    note("networks banned")
    status, answer = await moderator.ask(
        "POST", f"/api/v1/rooms/{ROOM}/purge", {"guests": True, "minutes": 10}
    )
    assert status == 201, answer
    note("purge answered")
    # The newest goes first: nothing is left once what was said first is gone.
    left = await is_hostile(moderator, first)
    while left:
        await asyncio.sleep(0.1)
        left = await is_hostile(moderator, first)
    note("clean")
    status, answer = await moderator.ask("PATCH", "/api/v1/policies", {"calm": "off"})
    assert status == 200, answer
    note("others speak again")
    assert not await hostile_messages(moderator)
    return took


async def first_hostile(moderator: Client) -> int:
    """The id of what was said first in the raid."""
    path = f"/api/v1/rooms/{ROOM}/messages?limit=200&after=1"
    status, page = await moderator.ask("GET", path)
    assert status == 200, page
    return min(each["id"] for each in page["messages"] if each["text"].startswith(SPAM))


async def is_hostile(moderator: Client, id: int) -> bool:
    """Whether a message is to be read."""
    status, message = await moderator.ask("GET", f"/api/v1/rooms/{ROOM}/messages/{id}")
    assert status == 200, message
    return "text" in message


async def hostile_messages(moderator: Client) -> int:
    """How much is there yet of what was said."""
    left, before = 0, ""
    while True:
        path = f"/api/v1/rooms/{ROOM}/messages?limit=200{before}"
        status, page = await moderator.ask("GET", path)
        assert status == 200, page
        left += sum(each.get("text", "").startswith(SPAM) for each in page["messages"])
        if not page["more"]:
            return left
        before = f"&before={page['messages'][0]['id']}"


# -- the daemon


@contextlib.contextmanager
def daemon(data: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon behind a proxy on this machine, as users start it."""
    twistd = Path(sys.executable).with_name("twistd")
    command = [
        str(twistd),
        "-n",
        "--pidfile=",
        "comet-chat",
        f"--listen=tcp:{port}:interface=127.0.0.1",
        f"--data={data}",
        "--trusted-proxy=127.0.0.1",
        "--connections-per-address=2000",
    ]
    log = (data.parent / "log").open("ab")
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=data.parent)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)
        log.close()


async def ready(port: int) -> None:
    """Wait until it answers."""
    client = Client(port, "9.9.200.1")
    for _ in range(600):
        reader_status, _ = await client.ask("GET", "/api/v1/rooms")
        if reader_status == 200:
            return
        await asyncio.sleep(0.1)
    raise SystemExit("The daemon does not answer.")


async def a_moderator(port: int) -> Client:
    client = Client(port, "9.9.200.1")
    await ready(port)
    assert await client.log_in("marta") == 201
    return client


def promote(data: Path) -> None:
    """Let a guest be a moderator from the next start on."""
    with contextlib.closing(sqlite3.connect(data / "chat.sqlite")) as database, database:
        database.execute("UPDATE sessions SET role = 'moderator' WHERE name = 'marta'")


def main() -> None:
    """Run it, and print what was seen."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 18471
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with daemon(data, port):
            moderator = asyncio.run(a_moderator(port))
        promote(data)
        with daemon(data, port):
            token = moderator.token
            print(json.dumps(asyncio.run(again(port, token)), indent=1))


async def again(port: int, token: str) -> dict[str, Any]:
    await ready(port)
    moderator = Client(port, "9.9.200.1")
    moderator.token = token
    return await raid(port, moderator)


if __name__ == "__main__":
    main()
