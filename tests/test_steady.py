"""A reactor counts by a clock that is never set, and what waited in it already waits as long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.pollreactor import PollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from cometd_chat.daemon.steady_clock import make_steady

YEAR = 365 * 86400.0


def asyncio_reactor() -> AsyncioSelectorReactor:
    return AsyncioSelectorReactor(asyncio.new_event_loop())


@pytest.fixture(params=[EPollReactor, PollReactor, SelectReactor, asyncio_reactor])
def reactor(request: pytest.FixtureRequest) -> Iterator[Any]:
    """One beside the test's own."""
    make: Callable[[], Any] = request.param
    made = make()
    assert isinstance(made, ReactorBase)
    yield made
    for call in made.getDelayedCalls():
        call.cancel()
    made.runUntilCurrent()
    # What a reactor that runs is waked up by, or told of signals.
    for reader in made.removeAll():
        reader.connectionLost(Failure(ConnectionDone()))
    if isinstance(made, AsyncioSelectorReactor):
        made._asyncioEventloop.close()
    if isinstance(made, EPollReactor):
        made._poller.close()


class Moved:
    """The monotonic clock, which can be let go on."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> Moved:
    moved = Moved()
    monkeypatch.setattr(time, "monotonic", moved)
    return moved


def test_what_is_asked_for_waits_by_the_monotonic_clock(reactor: Any, monotonic: Moved) -> None:
    make_steady(reactor)
    assert reactor.seconds() == 1000
    called: list[str] = []
    reactor.callLater(10, called.append, "ten")
    assert reactor.timeout() == 10
    monotonic.seconds += 9.5
    reactor.runUntilCurrent()
    assert called == []
    monotonic.seconds += 0.5
    reactor.runUntilCurrent()
    assert called == ["ten"]


def test_what_waits_already_waits_as_long(reactor: Any, monotonic: Moved) -> None:
    called: list[int] = []
    calls = [reactor.callLater(delay, called.append, delay) for delay in (30, 10, 20)]
    calls[0].delay(5)
    make_steady(reactor)
    make_steady(reactor)
    assert reactor.timeout() == pytest.approx(10, abs=1)
    monotonic.seconds += 21
    reactor.runUntilCurrent()
    assert called == [10, 20]
    # What is moved is moved by the same clock.
    calls[0].reset(3)
    monotonic.seconds += 2
    reactor.runUntilCurrent()
    assert called == [10, 20]
    monotonic.seconds += 2
    reactor.runUntilCurrent()
    assert called == [10, 20, 30]


def test_the_system_s_clock_moves_nothing(
    reactor: Any, monotonic: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_steady(reactor)
    called: list[str] = []
    reactor.callLater(10, called.append, "ten")
    real = time.time
    for jump in (YEAR, -YEAR):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        reactor.runUntilCurrent()
        assert (called, reactor.timeout()) == ([], 10)


@pytest.mark.parametrize("clock", [Clock(), MemoryReactorClock()])
def test_the_clock_of_a_test_keeps_its_time(clock: Clock) -> None:
    make_steady(clock)
    clock.advance(3)
    assert clock.seconds() == 3
