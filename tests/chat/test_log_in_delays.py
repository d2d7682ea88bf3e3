"""Wrong passwords cost time, and nobody is locked out."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from cometd_chat.chat import log_in_delays
from cometd_chat.chat.log_in_delays import FORGOTTEN_AFTER, LogInDelays
from cometd_chat.errors import TooMany

HERE, THERE = "192.0.2.7", "198.51.100.9"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def delays(clock: Clock) -> LogInDelays:
    return LogInDelays(clock.seconds)


def wait_of(delays: LogInDelays, name: str, address: str) -> float:
    """Seconds that somebody has to wait; 0 for who may try, and then does not."""
    try:
        delays.begin(name, address).given_up()
    except TooMany as refused:
        return refused.retry_after or -1
    return 0


def fail_once(delays: LogInDelays, name: str, address: str) -> None:
    delays.begin(name, address).failed()


def test_doubled_up_to_a_minute(delays: LogInDelays, clock: Clock) -> None:
    waits = []
    for _ in range(13):
        fail_once(delays, "alice", HERE)
        waits.append(wait_of(delays, "alice", HERE))
        clock.advance(waits[-1])
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(("name", "address"), [("alice", THERE), ("bob", HERE)])
def test_of_an_account_and_of_an_address(delays: LogInDelays, name: str, address: str) -> None:
    for _ in range(5):
        fail_once(delays, "alice", HERE)
    assert wait_of(delays, name, address) == 1
    assert wait_of(delays, "bob", THERE) == 0


def test_what_is_refused_is_not_counted(delays: LogInDelays, clock: Clock) -> None:
    for _ in range(5):
        fail_once(delays, "alice", HERE)
    assert [wait_of(delays, "alice", HERE) for _ in range(9)] == [1] * 9
    clock.advance(1)
    assert wait_of(delays, "alice", HERE) == 0


def test_many_at_once_are_many(delays: LogInDelays) -> None:
    """Who guesses does not wait for the answers."""
    for _ in range(5):
        delays.begin("alice", "")
    assert wait_of(delays, "alice", THERE) == 1


def test_what_was_not_looked_at_is_no_failure(delays: LogInDelays) -> None:
    for _ in range(20):
        delays.begin("alice", HERE).given_up()
    assert wait_of(delays, "alice", HERE) == 0


def test_the_right_one_forgives(delays: LogInDelays) -> None:
    for _ in range(4):
        fail_once(delays, "alice", HERE)
    delays.begin("alice", HERE).succeeded()
    for _ in range(4):
        fail_once(delays, "alice", THERE)
        assert wait_of(delays, "alice", THERE) == 0


def test_an_account_of_ones_own_forgives_no_address(delays: LogInDelays) -> None:
    for number in range(5):
        fail_once(delays, f"victim {number}", HERE)
        if number < 4:
            delays.begin("mallory", HERE).succeeded()
    assert wait_of(delays, "mallory", HERE) == 1


def test_who_was_here_is_not_kept_out_by_others(delays: LogInDelays, clock: Clock) -> None:
    delays.begin("alice", HERE).succeeded()
    for _ in range(12):
        clock.advance(60)
        fail_once(delays, "alice", THERE)
    assert wait_of(delays, "alice", THERE) == 60
    assert wait_of(delays, "alice", HERE) == 0


def test_one_line_of_ipv6_is_one_address(delays: LogInDelays) -> None:
    for number in range(5):
        fail_once(delays, f"victim {number}", f"2001:db8::{number}")
    assert wait_of(delays, "alice", "2001:db8::99") == 1
    assert wait_of(delays, "alice", "2001:db8:0:1::1") == 0


def test_it_is_forgotten(delays: LogInDelays, clock: Clock) -> None:
    for _ in range(9):
        fail_once(delays, "alice", "")
        clock.advance(60)
    clock.advance(FORGOTTEN_AFTER)
    fail_once(delays, "alice", "")
    assert wait_of(delays, "alice", "") == 0


def test_memory_is_bounded(
    delays: LogInDelays, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    monkeypatch.setattr(log_in_delays, "REMEMBERED", 10)
    for number in range(100):
        fail_once(delays, f"somebody {number}", f"192.0.2.{number}")
        delays.begin(f"member {number}", f"198.51.100.{number}").succeeded()
    assert len(delays._failures) <= 10
    assert len(delays._places) <= 10


def test_without_limits(clock: Clock) -> None:
    delays = LogInDelays(clock.seconds, on=False)
    for _ in range(50):
        fail_once(delays, "alice", HERE)
    assert wait_of(delays, "alice", HERE) == 0
