"""Thousands who hold a stream, and some who come anew each second, while all workers are replaced.

What it is: `Crowd`, in one event loop: streams that go on with their cursor where one ends, and
newcomers on connections of their own.

What it may know: the interface of the daemon.

Invariant: whoever is refused, or cut off without a word where to go on, is counted; nobody tries
again silently.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial

import attrs

from tests.decoders import Seen
from tests.support import PATIENCE

#: Seconds between two of those who come anew.
PAUSE = 0.02

#: So many connect at a time, at first.
AT_A_TIME = 100


@attrs.define
class Crowd:
    """All of them.

    :param port: where everybody connects.
    :param streams: how many hold one.
    :param quiet: nothing more is to be said.
    :param lasted: seconds in which newcomers came.
    """

    port: int
    streams: int
    cursor: str
    counts: Counter[str] = attrs.field(factory=Counter)
    wrong: list[str] = attrs.field(factory=list)
    told: list[list[int]] = attrs.field(factory=list)
    holding: int = 0
    quiet: bool = False
    over: bool = False
    lasted: float = 0.0

    async def gather(self) -> list[asyncio.Task[None]]:
        """Have all of them hold a stream; the tasks that they are."""
        self.told = [[] for _ in range(self.streams)]
        tasks: list[asyncio.Task[None]] = []
        for number in range(self.streams):
            tasks.append(asyncio.ensure_future(self._hold(number)))
            if number % AT_A_TIME == 0:
                await self.until(partial(self._hold_all, number - AT_A_TIME))
        await self.until(partial(self._hold_all, self.streams))
        return tasks

    def _hold_all(self, count: int) -> bool:
        return self.holding >= count

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < deadline, (self.holding, self.counts, self.wrong[:5])
            await asyncio.sleep(0.01)

    async def _hold(self, number: int) -> None:
        """One reader: stream after stream."""
        cursor = self.cursor
        while not self.over:
            after, ended = 0.0, "no word"
            try:
                path = f"/api/v1/events/stream?cursor={cursor}"
                reader, writer = await self._ask(path)
                self.holding += 1
                try:
                    async for event in self._events(reader):
                        cursor = event.get("cursor", cursor)
                        if event["type"] == "message":
                            self.told[number].append(event["id"])
                        if event["type"] in ("reopen", "reset", "bye"):
                            after, ended = float(event.get("after", 0.0)), event["type"]
                            break
                finally:
                    self.holding -= 1
                    writer.close()
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                ended = f"{type(error).__name__} {error}"
            if not self.over:
                self.counts[ended] += 1
                if ended != "reopen":
                    self.wrong.append(f"stream {number}: {ended}")
                await asyncio.sleep(after)

    async def newcomers(self) -> None:
        """Come, ask, and go, as many a second as `PAUSE` says: where this loop is late, several
        come at once."""
        tasks = set()
        began = time.monotonic()
        for number in itertools.count(1):
            if self.over:
                break
            task = asyncio.ensure_future(self._come())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(max(0.0, began + number * PAUSE - time.monotonic()))
        await asyncio.gather(*tasks)
        self.lasted = time.monotonic() - began

    async def _come(self) -> None:
        try:
            reader, writer = await self._ask("/api/v1/events/poll?wait=0", close=True)
            await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()
            self.counts["served"] += 1
        except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
            self.counts["refused"] += 1
            self.wrong.append(f"newcomer: {type(error).__name__} {error}")

    async def _ask(
        self, path: str, *, close: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Ask for something; what comes after the head of a 200."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        more = "Connection: close\r\n" if close else ""
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        status = head.split(b" ", 2)[1]
        if status != b"200":
            writer.close()
            raise ValueError(f"status {status.decode()}")
        return reader, writer

    async def _events(self, reader: asyncio.StreamReader) -> AsyncIterator[Seen]:
        """The events of a chunked stream, to its end."""
        rest = b""
        while size := int(await reader.readline(), 16):
            data = await reader.readexactly(size + 2)
            *lines, rest = (rest + data[:-2]).split(b"\n")
            for line in lines:
                yield json.loads(line)
