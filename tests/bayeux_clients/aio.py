"""Drives clients of ``aiocometd-ng``: reads a call a line from stdin, prints its answer.

Calls and answers are those of driver.mjs, a line of JSON each.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from typing import Any

from aiocometd_ng.client import Client
from aiocometd_ng.constants import ConnectionType
from aiocometd_ng.exceptions import ServerError
from aiocometd_ng.extensions import Extension

Json = dict[str, Any]

#: Seconds that a call waits for what it waits for.
PATIENCE = 20.0


class Diary(Extension):
    """What a client sent and got; what it has to say at its handshake goes in here, too."""

    def __init__(self, ext: Json | None) -> None:
        self.ext = ext
        self.sent: list[Json] = []
        self.replies: list[Json] = []
        self.keeps_place = False
        self.cursors: dict[str, str] = {}

    async def outgoing(self, payload: list[Json], headers: Json) -> None:
        for message in payload:
            if message["channel"] == "/meta/handshake" and self.ext is not None:
                message["ext"] = self.ext
            cursor = self.cursors.get(message.get("subscription", ""))
            if self.keeps_place and message["channel"] == "/meta/subscribe" and cursor:
                message["ext"] = {"cursor": cursor}
            if message["channel"].startswith("/meta/"):
                self.sent.append(dict(message))

    async def incoming(self, payload: list[Json], headers: Json | None = None) -> None:
        self.replies += [each for each in payload if each["channel"].startswith("/meta/")]
        for message in payload:
            if "cursor" in message.get("ext", {}):
                self.cursors[message["channel"]] = message["ext"]["cursor"]


class Driven:
    """A client, and what it heard."""

    def __init__(self, url: str, transport: str, ext: Json | None = None, **_: Any) -> None:
        self.diary = Diary(ext)
        # By default it gives up at the first loss of a connection, on Python from 3.10 on: it hands
        # asyncio.wait_for an argument that is no longer there. Without a limit it comes back.
        self.client = Client(
            url, ConnectionType(transport), connection_timeout=0, extensions=[self.diary]
        )
        self.heard: list[Json] = []
        self.news = asyncio.Condition()
        self.listening: asyncio.Task[None] | None = None

    async def open(self) -> Json:
        try:
            await self.client.open()
        except ServerError as error:
            return dict(error.response or {})
        self.listening = asyncio.create_task(self.listen())
        return self.diary.replies[0]

    async def listen(self) -> None:
        async for message in self.client:
            async with self.news:
                self.heard.append({"channel": message["channel"], "data": message["data"]})
                self.news.notify_all()

    async def subscribe(self, channels: list[str]) -> list[Json]:
        return [await replied(self.client.subscribe(channel)) for channel in channels]

    async def unsubscribe(self, channel: str) -> Json:
        return await replied(self.client.unsubscribe(channel))

    async def publish(self, channel: str, data: Any) -> Json:
        return await replied(self.client.publish(channel, data))

    async def hear(self, until: str, after: int) -> list[Json]:
        looked = 0

        def has_come() -> bool:
            """Each is looked at once, however many come."""
            nonlocal looked
            new = [each["data"] for each in self.heard[looked:]]
            looked = len(self.heard)
            return any(until in (data.get("text"), data.get("type")) for data in new)

        async with self.news:
            await asyncio.wait_for(self.news.wait_for(has_come), PATIENCE)
        return self.heard[after:]

    async def sent(self, channel: str, transport: str) -> list[Json]:
        return [each for each in self.diary.sent if each["channel"] == channel]

    async def replies(self, channel: str) -> list[Json]:
        return [each for each in self.diary.replies if each["channel"] == channel]

    async def keepPlace(self, keeps: bool) -> None:
        self.diary.keeps_place = keeps

    async def close(self) -> Json:
        if self.listening is not None:
            self.listening.cancel()
        await self.client.close()
        return {"successful": True}


async def replied(call: Any) -> Json:
    """How a call ended, in the form of a reply."""
    try:
        reply: Json | None = await call
    except ServerError as error:
        return dict(error.response or {})
    return reply or {"successful": True}


async def answer(clients: dict[str, Driven], line: str) -> None:
    """Do one call and print how it went."""
    given = json.loads(line)
    number, call, name = given.pop("id"), given.pop("call"), given.pop("client")
    answered: Json = {"id": number}
    try:
        if call == "open":
            clients[name] = Driven(**given)
            given = {}
        answered["result"] = await getattr(clients[name], call)(**given)
    except Exception:
        answered["error"] = traceback.format_exc()
    print(json.dumps(answered), flush=True)


async def main() -> None:
    """Take calls until stdin ends."""
    reader = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    clients: dict[str, Driven] = {}
    running: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = asyncio.create_task(answer(clients, line.decode()))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(main())
