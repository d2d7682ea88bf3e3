"""The limits: each row of the table to its very edge, and a wait that is long enough."""

from __future__ import annotations

import math

import pytest
from twisted.internet.task import Clock

from cometd_chat.chat.limits import (
    FORGET_EVERY,
    HELD_BY_ADDRESS,
    MESSAGES,
    NAMES,
    ROOMS,
    SESSIONS,
    TEXT,
    TYPING,
    Limits,
    Rate,
)
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import TooMany


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> Limits:
    return Limits(Reaper(clock))


def refused(limits: Limits, rate: Rate, key: object = "a", amount: float = 1) -> TooMany:
    with pytest.raises(TooMany) as raised:
        limits.take(rate, key, amount)
    return raised.value


@pytest.mark.parametrize(
    ("rate", "at_once", "every"),
    [
        (MESSAGES, 20, 0.2),
        (SESSIONS, 30, 1.0),
        (ROOMS, 5, 60.0),
        (NAMES, 10, 6.0),
        (TYPING, 10, 1.0),
    ],
)
def test_so_many_at_once_and_then_one_every(
    limits: Limits, clock: Clock, rate: Rate, at_once: int, every: float
) -> None:
    for _ in range(at_once):
        limits.take(rate, "a")
    assert refused(limits, rate).retry_after == pytest.approx(every)
    clock.advance(every * 0.99)
    refused(limits, rate)
    clock.advance(every * 0.01)
    limits.take(rate, "a")
    refused(limits, rate)


def test_text_is_counted_in_bytes_a_minute(limits: Limits, clock: Clock) -> None:
    limits.take(TEXT, "a", 64 * 1024)
    error = refused(limits, TEXT, amount=1024)
    assert error.retry_after == pytest.approx(60 / 64)
    clock.advance(30)
    limits.take(TEXT, "a", 32 * 1024)
    refused(limits, TEXT, amount=1)


def test_what_is_held_by_an_address() -> None:
    assert HELD_BY_ADDRESS == 256


def test_a_bucket_is_never_fuller_than_full(limits: Limits, clock: Clock) -> None:
    limits.take(MESSAGES, "a")
    clock.advance(50)
    for _ in range(20):
        limits.take(MESSAGES, "a")
    refused(limits, MESSAGES)


def test_keys_and_rates_have_buckets_of_their_own(limits: Limits) -> None:
    for _ in range(5):
        limits.take(ROOMS, "a")
    refused(limits, ROOMS, "a")
    limits.take(ROOMS, "b")
    limits.take(MESSAGES, "a")


def test_a_refusal_takes_nothing(limits: Limits) -> None:
    limits.take(TEXT, "a", 60_000)
    refused(limits, TEXT, amount=10_000)
    limits.take(TEXT, "a", 5_000)


def test_the_sentence_says_what_the_wait_is(limits: Limits) -> None:
    for _ in range(5):
        limits.take(ROOMS, "a")
    assert refused(limits, ROOMS).detail == "Too many new rooms: try again in 60 s."


@pytest.mark.parametrize("rate", [MESSAGES, SESSIONS, ROOMS])
def test_who_waits_as_long_as_was_said_is_let_through(rate: Rate) -> None:
    """Whatever is left in the bucket: sums of tenths of a second are never quite what they seem."""
    for tenths in range(1, 3000):
        clock = Clock()
        limits = Limits(Reaper(clock))
        limits.take(rate, "a", rate.burst)
        clock.advance(tenths / 10)
        waits: list[float] = []
        while not waits:
            try:
                limits.take(rate, "a")
            except TooMany as error:
                waits.append(error.retry_after or math.inf)
        clock.advance(math.ceil(waits[0]))
        limits.take(rate, "a")


def test_full_buckets_are_forgotten(limits: Limits, clock: Clock) -> None:
    for number in range(1000):
        limits.take(MESSAGES, number)
    for _ in range(5):
        limits.take(ROOMS, "a")
    clock.pump([1.0] * int(FORGET_EVERY + 1))
    assert len(limits._buckets) == 1, "rooms take five minutes to come back"
    clock.pump([1.0] * 300)
    assert not limits._buckets
    assert not clock.getDelayedCalls(), "with nothing to forget there is no sweep"
    limits.take(MESSAGES, "a")
    assert clock.getDelayedCalls()


def test_forgetting_forgives_nobody(limits: Limits, clock: Clock) -> None:
    for _ in range(5):
        limits.take(ROOMS, "a")
    clock.pump([1.0] * 59)
    refused(limits, ROOMS)
    clock.pump([1.0] * 2)
    limits.take(ROOMS, "a")
    refused(limits, ROOMS)


def test_switched_off(clock: Clock) -> None:
    limits = Limits(Reaper(clock), on=False)
    for _ in range(1000):
        limits.take(ROOMS, "a", 1000)
    assert not limits._buckets
    assert not clock.getDelayedCalls()


def test_what_one_of_several_refuses_costs_the_others_nothing(limits: Limits) -> None:
    limits.take(TEXT, "a", 64 * 1024)
    for _ in range(21):
        with pytest.raises(TooMany) as raised:
            limits.take_all([(MESSAGES, 1), (TEXT, 1024)], "a")
        assert raised.value.retry_after == pytest.approx(60 / 64)
    for _ in range(20):
        limits.take(MESSAGES, "a")
