"""The limits: each row of the table to its very edge, and a wait that is long enough."""

from __future__ import annotations

import math

import pytest
from twisted.internet.task import Clock

from cometd_chat.chat.cluster_limits import ClusterLimits
from cometd_chat.chat.limits import (
    HANDSHAKES,
    HELD,
    IN_USE,
    MADE,
    MESSAGES,
    NAMES,
    ROOMS,
    SESSIONS,
    TEXT,
    TYPING,
    Limit,
    Quota,
)
from cometd_chat.chat.local_limits import FORGET_EVERY, LocalLimits
from cometd_chat.comet.reaper import Reaper
from cometd_chat.errors import StorageUnavailable, TooMany
from cometd_chat.log.memory import MemoryEventLog
from tests.chat.cluster import Cluster
from tests.chat.parts import House, now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["one process", "one of several nodes"])
def limits(clock: Clock, request: pytest.FixtureRequest) -> LocalLimits:
    if request.param == "one process":
        return LocalLimits(Reaper(clock))
    return ClusterLimits(Reaper(clock), MemoryEventLog())


def refused(
    limits: LocalLimits, limit: Limit, session: str = "a", amount: float = 1, address: str = ""
) -> TooMany:
    with pytest.raises(TooMany) as raised:
        limits.take(limit, amount, session=session, address=address)
    return raised.value


@pytest.mark.parametrize(
    ("limit", "at_once", "every"),
    [
        (MESSAGES, 20, 0.2),
        (ROOMS, 5, 60.0),
        (NAMES, 10, 6.0),
        (TYPING, 10, 1.0),
    ],
)
def test_so_many_at_once_and_then_one_every(
    limits: LocalLimits, clock: Clock, limit: Limit, at_once: int, every: float
) -> None:
    for _ in range(at_once):
        limits.take(limit, session="a")
    assert refused(limits, limit).retry_after == pytest.approx(every)
    clock.advance(every * 0.99)
    refused(limits, limit)
    clock.advance(every * 0.01)
    limits.take(limit, session="a")
    refused(limits, limit)


@pytest.mark.parametrize(
    ("limit", "at_once", "every"),
    [
        (MESSAGES, 60, 0.1),
        (SESSIONS, 30, 1.0),
        (ROOMS, 20, 15.0),
        (NAMES, 60, 1.0),
        (TYPING, 100, 0.05),
        (HANDSHAKES, 300, 0.1),
    ],
)
def test_who_share_an_address_have_so_much_together(
    limits: LocalLimits, clock: Clock, limit: Limit, at_once: int, every: float
) -> None:
    for number in range(at_once):
        limits.take(limit, session=f"{number}", address="192.0.2.7")
    error = refused(limits, limit, "another", address="192.0.2.7")
    assert error.retry_after == pytest.approx(every)
    assert f"Too {limit.what} from your address: " in error.detail
    # Others are not bothered, nor is who comes from where nobody knows.
    limits.take(limit, session="another", address="192.0.2.8")
    limits.take(limit, session="a third")
    clock.advance(every)
    limits.take(limit, session="a fourth", address="192.0.2.7")
    refused(limits, limit, "a fifth", address="192.0.2.7")


def test_a_line_of_ipv6_is_one_address(limits: LocalLimits) -> None:
    for number in range(60):
        limits.take(MESSAGES, session=f"{number}", address=f"2001:db8::{number:x}")
    refused(limits, MESSAGES, "another", address="2001:db8::ffff")
    limits.take(MESSAGES, session="another", address="2001:db8:0:1::1")


def test_what_an_address_refuses_costs_the_session_nothing(limits: LocalLimits) -> None:
    for number in range(60):
        limits.take(MESSAGES, session=f"{number}", address="192.0.2.7")
    for _ in range(25):
        refused(limits, MESSAGES, "a", address="192.0.2.7")
    for _ in range(20):
        limits.take(MESSAGES, session="a", address="192.0.2.8")


def test_text_is_counted_in_bytes_a_minute(limits: LocalLimits, clock: Clock) -> None:
    limits.take(TEXT, 64 * 1024, session="a")
    error = refused(limits, TEXT, amount=1024)
    assert error.retry_after == pytest.approx(60 / 64)
    clock.advance(30)
    limits.take(TEXT, 32 * 1024, session="a")
    refused(limits, TEXT, amount=1)


@pytest.mark.parametrize(
    ("quota", "most", "text"),
    [
        (HELD, 256, "Your address holds 256 requests: close one first."),
        (IN_USE, 1000, "Your address has 1000 sessions in use: log out of one, or come back"),
        (MADE, 100, "Your address has made 100 rooms: use one of those there are."),
    ],
)
def test_an_address_has_so_many_at_a_time(
    limits: LocalLimits, quota: Quota, most: int, text: str
) -> None:
    for _ in range(most):
        limits.hold("192.0.2.7", quota)
    with pytest.raises(TooMany, match=text):
        limits.hold("192.0.2.7", quota)
    limits.hold("192.0.2.8", quota)
    limits.let_go("192.0.2.7", quota)
    limits.hold("192.0.2.7", quota)
    # Where nobody knows where from, nobody can be told apart.
    for _ in range(most + 1):
        limits.hold("", quota)


def test_a_bucket_is_never_fuller_than_full(limits: LocalLimits, clock: Clock) -> None:
    limits.take(MESSAGES, session="a")
    clock.advance(50)
    for _ in range(20):
        limits.take(MESSAGES, session="a")
    refused(limits, MESSAGES)


def test_keys_and_rates_have_buckets_of_their_own(limits: LocalLimits) -> None:
    for _ in range(5):
        limits.take(ROOMS, session="a")
    refused(limits, ROOMS, "a")
    limits.take(ROOMS, session="b")
    limits.take(MESSAGES, session="a")


def test_a_refusal_takes_nothing(limits: LocalLimits) -> None:
    limits.take(TEXT, 60_000, session="a")
    refused(limits, TEXT, amount=10_000)
    limits.take(TEXT, 5_000, session="a")


def test_the_sentence_says_what_the_wait_is(limits: LocalLimits) -> None:
    for _ in range(5):
        limits.take(ROOMS, session="a")
    assert refused(limits, ROOMS).detail == "Too many new rooms: try again in 60 s."


@pytest.mark.parametrize("limit", [MESSAGES, NAMES, ROOMS])
def test_who_waits_as_long_as_was_said_is_let_through(limit: Limit) -> None:
    """Whatever is left in the bucket: sums of tenths of a second are never quite what they seem."""
    for tenths in range(1, 3000):
        clock = Clock()
        limits = LocalLimits(Reaper(clock))
        assert limit.session is not None
        limits.take(limit, limit.session.burst, session="a")
        clock.advance(tenths / 10)
        waits: list[float] = []
        while not waits:
            try:
                limits.take(limit, session="a")
            except TooMany as error:
                waits.append(error.retry_after or math.inf)
        clock.advance(math.ceil(waits[0]))
        limits.take(limit, session="a")


def kept(limits: LocalLimits) -> int:
    """How many buckets are remembered."""
    return sum(map(len, limits._buckets.values()))


def test_many_are_forgotten_a_few_at_a_time(limits: LocalLimits, clock: Clock) -> None:
    """Others have their turn in between; and who was there again meanwhile is not forgotten."""
    for number in range(5000):
        limits.take(ROOMS, session=f"{number}")
    clock.pump([1.0] * (int(300 * limits.deepest) - 1))
    for number in range(20):
        limits.take(ROOMS, session=f"{number}")
    clock.advance(1)
    assert 20 < kept(limits) < 5000
    clock.pump([1.0] * 10)
    assert kept(limits) == 20


def test_full_buckets_are_forgotten(limits: LocalLimits, clock: Clock) -> None:
    for number in range(1000):
        limits.take(MESSAGES, session=f"{number}")
    for _ in range(5):
        limits.take(ROOMS, session="a")
    clock.pump([1.0] * int(FORGET_EVERY + 1))
    assert kept(limits) == 1, "rooms take five minutes to come back"
    # A bucket that other nodes take of, too, may take twice as long.
    clock.pump([1.0] * int(300 * limits.deepest))
    assert not kept(limits)
    assert not clock.getDelayedCalls(), "with nothing to forget there is no sweep"
    limits.take(MESSAGES, session="a")
    assert clock.getDelayedCalls()


def test_forgetting_forgives_nobody(limits: LocalLimits, clock: Clock) -> None:
    for _ in range(5):
        limits.take(ROOMS, session="a")
    clock.pump([1.0] * 59)
    refused(limits, ROOMS)
    clock.pump([1.0] * 2)
    limits.take(ROOMS, session="a")
    refused(limits, ROOMS)


def test_switched_off(clock: Clock) -> None:
    limits = LocalLimits(Reaper(clock), on=False)
    for _ in range(1000):
        limits.take(ROOMS, 1000, session="a")
    assert not kept(limits)
    assert not clock.getDelayedCalls()


def test_what_one_of_several_refuses_costs_the_others_nothing(limits: LocalLimits) -> None:
    limits.take(TEXT, 64 * 1024, session="a")
    for _ in range(21):
        with pytest.raises(TooMany) as raised:
            limits.take_all([(MESSAGES, 1), (TEXT, 1024)], session="a")
        assert raised.value.retry_after == pytest.approx(60 / 64)
    for _ in range(20):
        limits.take(MESSAGES, session="a")


class TestNodes:
    """What somebody says on one node is taken on all."""

    def left(self, house: House, session: str) -> float:
        limits = house.limits
        assert MESSAGES.session is not None
        return limits._left(MESSAGES.session, session, house.reaper.seconds())

    def test_a_burst_is_one_over_all_nodes(self) -> None:
        cluster = Cluster(3, limits=True)
        alice = cluster.nodes[0].log_in("alice")
        said = 0
        for node in cluster.nodes:
            for _ in range(10):
                try:
                    now(node.chat.messages.say(alice, node.room(), "hi", address=""))
                except TooMany:
                    continue
                said += 1
        assert said == 20
        assert [self.left(node, alice.id) for node in cluster.nodes] == [0, 0, 0]

    def test_what_is_said_here_is_taken_once(self) -> None:
        first, second, _ = Cluster(3, limits=True).nodes
        alice = first.log_in("alice")
        for _ in range(3):
            now(first.chat.messages.say(alice, first.room(), "hi", "the-same", address=""))
        # What was said before costs as much, here; others did not hear of it.
        assert self.left(first, alice.id) == 17
        assert self.left(second, alice.id) == 19
        first.log.failure = StorageUnavailable("Not now.")
        with pytest.raises(StorageUnavailable):
            now(first.chat.messages.say(alice, first.room(), "hi", address=""))
        first.log.failure = None
        assert not first.limits._on_its_way  # type: ignore[attr-defined]
        now(second.chat.messages.say(alice, second.room(), "ho", address=""))
        assert self.left(first, alice.id) == 15

    def test_a_node_that_is_told_late_takes_below_nothing(self) -> None:
        first, second, _ = Cluster(3, limits=True).nodes
        alice = first.log_in("alice")
        second.log.delay()
        for _ in range(20):
            now(first.chat.messages.say(alice, first.room(), "hi", address=""))
        for _ in range(5):
            second.limits.take(MESSAGES, session=alice.id)
        second.log.hurry()
        assert self.left(second, alice.id) == -5
        error = refused(second.limits, MESSAGES, alice.id)
        assert error.retry_after == pytest.approx(6 / 5)

    def test_one_node_hears_of_many_without_end(self) -> None:
        """What is remembered is bounded by what was said lately."""
        cluster = Cluster(2, limits=True)
        first, second = cluster.nodes
        for number in range(20):
            alice = first.log_in(f"p{number}")
            now(first.chat.messages.say(alice, first.room(), "hi", address=""))
        assert kept(second.limits) == 40
        cluster.advance(300)
        assert kept(second.limits) == 0
