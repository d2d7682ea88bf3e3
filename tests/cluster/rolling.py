"""Workers replaced one after the other, under thousands of streams and a stream of newcomers.

What it is: `roll`, which has a crowd at a port, has what serves it replaced, and waits until every
stream has moved.

What it may know: `tests.cluster.crowd`; that a supervisor replaces its workers at SIGHUP.

Invariant: it judges nothing; the crowd has counted who was refused.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import attrs

from tests.cluster.crowd import Crowd
from tests.daemon.talk import log_in, once, say, wait_until
from tests.postgresql import PostgresServer
from tests.starter import FORKED_WORKERS
from tests.support import PATIENCE, Daemon

#: Seconds after the last stream has moved in which nothing more may happen.
AFTER = 2.0


@attrs.frozen
class Rolled:
    """What came of it.

    :param moved: how many streams ended with `reopen`.
    :param served: how many newcomers got an answer.
    :param wrong: who was refused, or cut off without a word.
    :param incomplete: how many streams were not told exactly what was said.
    :param seconds: until the last stream had moved.
    :param lasted: seconds in which newcomers came.
    """

    moved: int
    served: int
    wrong: tuple[str, ...]
    incomplete: int
    seconds: float
    lasted: float

    def __str__(self) -> str:
        return (
            f"{self.moved} streams moved in {self.seconds:.1f} s, "
            f"{self.served} newcomers served in {self.lasted:.1f} s, "
            f"{len(self.wrong)} refused or cut off {list(self.wrong[:5])}, "
            f"{self.incomplete} streams were not told exactly what was said"
        )


def roll(port: int, streams: int, replace: Callable[[], None]) -> Rolled:
    """Hold so many streams, replace what serves them, and talk all the while.

    :param replace: begins it, such as by SIGHUP.
    """
    cursor = once(port, "GET", "/api/v1/events/poll").json["cursor"]
    token = log_in(port, "talker")
    crowd = Crowd(port, streams, cursor)
    # In a thread of its own: a browser that another test has used leaves its loop in this one.
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(asyncio.run, _roll(crowd, token, replace)).result()


async def _roll(crowd: Crowd, token: str, replace: Callable[[], None]) -> Rolled:
    streams = await crowd.gather()
    newcomers = asyncio.ensure_future(crowd.newcomers())
    said: list[int] = []
    talking = asyncio.ensure_future(_talk(crowd, token, said))
    await asyncio.sleep(1)
    began = time.monotonic()
    replace()
    await crowd.until(lambda: crowd.counts["reopen"] >= crowd.streams)
    seconds = time.monotonic() - began
    await asyncio.sleep(AFTER)
    crowd.quiet = True
    await talking
    await crowd.until(lambda: all(told[-1:] == said[-1:] for told in crowd.told))
    crowd.over = True
    await newcomers
    for each in streams:
        each.cancel()
    await asyncio.wait(streams)
    return Rolled(
        crowd.counts["reopen"],
        crowd.counts["served"],
        tuple(crowd.wrong),
        sum(told != said for told in crowd.told),
        seconds,
        crowd.lasted,
    )


async def _talk(crowd: Crowd, token: str, said: list[int]) -> None:
    """Say something now and then; each is repeated until it is acknowledged."""
    number = 0
    while not crowd.quiet:
        number += 1
        said.append(await _say(crowd, token, number))
        await asyncio.sleep(0.5)


async def _say(crowd: Crowd, token: str, number: int) -> int:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer = await asyncio.to_thread(
                say, crowd.port, token, f"line {number}", client_id=f"line-{number}"
            )
            if answer.status in (200, 201):
                return int(answer.json["id"])
            crowd.wrong.append(f"post: {answer.status}")
        except OSError as error:
            crowd.wrong.append(f"post: {error}")
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


@contextmanager
def workers(directory: Path, count: int, *, fresh: bool) -> Iterator[Daemon]:
    """A daemon of so many workers, on a PostgreSQL of its own.

    :param fresh: each starts as for a user; otherwise all are forked, in a tenth of the time.
    """
    server = PostgresServer.new()
    try:
        server.start()
        url = server.url(server.fresh_database())
        options = (f"--workers={count}", "--limits=off", "--heartbeat=5")
        environ = {"COMET_CHAT_DATABASE": url}
        before = "" if fresh else FORKED_WORKERS
        with Daemon(directory, *options, environ=environ, before=before, fresh=fresh) as daemon:
            wait_until(lambda: _is_ready(daemon.port), "the workers are ready")
            yield daemon
        assert "Traceback" not in daemon.log, daemon.log
    finally:
        server.remove()


def _is_ready(port: int) -> bool:
    try:
        return once(port, "GET", "/readyz").status == 200
    except OSError:
        return False


def roll_workers(directory: Path, count: int, streams: int, *, fresh: bool = True) -> Rolled:
    """SIGHUP to so many workers, under so many streams; see `workers`."""
    with workers(directory, count, fresh=fresh) as daemon:
        return roll(daemon.port, streams, lambda: os.kill(daemon.pid, signal.SIGHUP))
