"""The threads that hash: not the reactor's, few at once, and a queue that has an end."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, current_thread
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.python.failure import Failure

from cometd_chat.chat.hashing import MOST, MOST_OF_ADDRESS, THREADS, HashingThreads
from cometd_chat.errors import ChatError, ShuttingDown, TooBusy, TooMany

HERE = "192.0.2.7"


@pytest.fixture
def hashing() -> Iterator[HashingThreads]:
    threads = HashingThreads(reactor)  # type: ignore[arg-type]
    threads.start()
    yield threads
    threads.close()


def refusal(work: Deferred[Any]) -> type[ChatError]:
    refused: list[Failure] = []
    work.addErrback(refused.append)
    error = refused[0].value
    assert isinstance(error, ChatError)
    assert error.retry_after
    return type(error)


async def test_not_in_the_thread_of_the_reactor(hashing: HashingThreads) -> None:
    there = await hashing.run(current_thread)
    assert there is not current_thread()
    assert there.daemon, "it keeps no process alive"


async def test_what_fails_fails_there(hashing: HashingThreads) -> None:
    with pytest.raises(ZeroDivisionError):
        await hashing.run(lambda: 1 // 0)
    assert await hashing.run(lambda: 1) == 1


async def test_the_queue_has_an_end(hashing: HashingThreads) -> None:
    go_on, running = Event(), []

    def work() -> int:
        running.append(1)
        go_on.wait(60)
        return len(running)

    asked = [hashing.run(work, f"192.0.2.{number}") for number in range(MOST)]
    assert refusal(hashing.run(work, "198.51.100.1")) is TooBusy
    assert refusal(hashing.run(work)) is TooBusy
    assert len(running) <= THREADS
    go_on.set()
    assert max(await gatherResults(asked)) == MOST
    assert await hashing.run(lambda: "free again") == "free again"


async def test_one_address_leaves_a_place_for_others(hashing: HashingThreads) -> None:
    go_on = Event()
    asked: list[Deferred[Any]] = [
        hashing.run(lambda: go_on.wait(60), HERE) for _ in range(MOST_OF_ADDRESS)
    ]
    assert refusal(hashing.run(lambda: True, HERE)) is TooMany
    asked.append(hashing.run(lambda: True, "198.51.100.1"))
    go_on.set()
    assert all(await gatherResults(asked))
    assert await hashing.run(lambda: True, HERE)


async def test_a_client_that_leaves_makes_no_place(hashing: HashingThreads) -> None:
    """What was begun goes on, so that it counts."""
    go_on = Event()
    for _ in range(MOST_OF_ADDRESS):
        leaving = hashing.run(lambda: go_on.wait(60), HERE)
        leaving.addErrback(lambda failure: None)
        leaving.cancel()
    assert refusal(hashing.run(lambda: True, HERE)) is TooMany
    go_on.set()


async def test_closing(hashing: HashingThreads) -> None:
    go_on = Event()
    running: list[Deferred[Any]] = [hashing.run(lambda: go_on.wait(60)) for _ in range(THREADS)]
    waiting = hashing.run(lambda: True)
    closed = hashing.close()
    assert refusal(hashing.run(lambda: True)) is ShuttingDown
    assert not closed.called
    go_on.set()
    assert all(await gatherResults(running))
    with pytest.raises(ShuttingDown):
        await waiting
    await closed
