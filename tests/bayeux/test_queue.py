"""A session's queue: nothing lost, nothing reordered, and never over its bounds.

Covers MaxQueuedTest, BatchArrayQueueTest and what LazyChannelAndMessageTest says of queues.
"""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cometd_chat.bayeux.queue import _OVERHEAD, ClientQueue, EventMessage
from cometd_chat.bayeux.sources import ChannelSource

LOG = cast(ChannelSource, "the log")  # told apart by identity only


def event(text: object = "", channel: str = "/a") -> EventMessage:
    return EventMessage(channel, {"channel": channel, "data": text})


def filled(*texts: object, **options: Any) -> ClientQueue:
    queue = ClientQueue(1000, 2**20)
    for text in texts:
        assert queue.append(event(text), **options)
    return queue


def texts(queue: ClientQueue, count: int = 1000, size: int = 2**20) -> list[object]:
    return [each.event.fields["data"] for each in queue.take(count, size)]


def test_gives_everything_in_order_and_once() -> None:
    queue = filled(1, 2, 3)
    assert texts(queue, 2) == [1, 2]
    assert texts(queue) == [3]
    assert texts(queue) == []
    assert (queue.waiting, queue.unconfirmed, len(queue)) == (0, 3, 3)


def test_sends_again_what_is_not_confirmed_before_what_is_new() -> None:
    queue = filled(1, 2, 3)
    assert texts(queue, 2) == [1, 2]
    queue.confirm(1)
    assert queue.rewind() == 1
    queue.append(event(4))
    assert texts(queue) == [2, 3, 4]
    queue.confirm(queue.last_sent)
    assert queue.rewind() == 0
    assert len(queue) == 0


def test_confirms_what_was_put_back_and_had_arrived_after_all() -> None:
    queue = filled(1, 2, 3)
    queue.take(2, 2**20)
    queue.rewind()
    queue.confirm(2)
    assert texts(queue) == [3]
    assert not queue.urgent


def test_confirms_nothing_that_was_not_sent() -> None:
    queue = filled(1, 2)
    queue.confirm(99)
    assert texts(queue) == [1, 2]


def test_says_how_far_a_source_was_confirmed() -> None:
    queue = ClientQueue(10, 10_000)
    for position, channel in enumerate(["/chat/a", "/chat/b", "/chat/a", "/chat/a"], 7):
        queue.append(event(channel=channel), source=LOG, position=position)
    queue.take(3, 10_000)
    assert queue.confirm(2) == {(LOG, "/chat/a"): 7, (LOG, "/chat/b"): 8}
    assert queue.confirm(4) == {(LOG, "/chat/a"): 9}


def test_a_reply_has_at_most_so_many_bytes_but_at_least_one_message() -> None:
    queue = filled("x" * 100, "y", "z" * 100)
    assert len(queue.take(10, 50)) == 1
    assert len(queue.take(10, 50)) == 1
    assert len(queue.take(10, 50)) == 1


def test_lazy_messages_do_not_hurry_but_go_along() -> None:
    queue = filled(1, 2, lazy=True)
    urgent = [queue.urgent]
    queue.append(event(3))
    urgent.append(queue.urgent)
    assert texts(queue) == [1, 2, 3]
    urgent.append(queue.urgent)
    assert urgent == [False, True, False]


def test_lazy_messages_hurry_once_they_have_waited_or_are_sent_again() -> None:
    queue = filled(1, lazy=True)
    queue.promote_lazy()
    urgent = [queue.urgent]
    queue.take(1, 100)
    urgent.append(queue.urgent)
    queue.rewind()
    urgent.append(queue.urgent)
    assert urgent == [True, False, True]


def test_refuses_a_source_that_can_give_it_again() -> None:
    queue = ClientQueue(2, 10_000)
    assert queue.append(event(1), source=LOG, position=1)
    assert queue.append(event(2), source=LOG, position=2)
    assert not queue.append(event(3), source=LOG, position=3)
    assert texts(queue) == [1, 2]
    room = [queue.has_room]
    queue.confirm(1)
    assert [*room, queue.has_room] == [False, True]
    assert queue.dropped == 0


def test_drops_the_oldest_that_nobody_can_give_again() -> None:
    queue = ClientQueue(4, 10_000)
    queue.append(event("log"), source=LOG, position=1)
    for number in range(1, 6):
        assert queue.append(event(number))
    assert queue.dropped == 2
    assert texts(queue) == ["log", 3, 4, 5]


def test_forgets_what_was_sent_before_it_drops_what_waits() -> None:
    queue = ClientQueue(4, 10_000)
    for number in range(1, 5):
        queue.append(event(number))
    queue.take(2, 10_000)
    queue.append(event(5))
    assert queue.dropped == 0
    assert texts(queue) == [3, 4, 5]


def test_drops_the_new_one_when_all_else_can_be_given_again_only_by_order() -> None:
    queue = ClientQueue(1, 10_000)
    queue.append(event("log"), source=LOG, position=1)
    assert not queue.append(event("free"))
    assert texts(queue) == ["log"]


def test_a_message_over_the_bound_has_its_place_in_an_empty_queue() -> None:
    queue = ClientQueue(10, 100)
    assert queue.append(event("x" * 1000), source=LOG, position=1)
    assert not queue.append(event("y"), source=LOG, position=2)


class Model(RuleBasedStateMachine):
    """The queue beside two plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.accounted = 0
        self.queue = ClientQueue(6, 10_000, self.account)
        self.sent: list[int] = []
        self.waiting: list[int] = []
        self.next = 1

    def account(self, change: int) -> None:
        self.accounted += change

    @rule(lazy=st.booleans())
    def append(self, lazy: bool) -> None:
        taken = self.queue.append(event(self.next), lazy=lazy, source=LOG, position=self.next)
        assert taken is (len(self.sent) + len(self.waiting) < 6)
        if taken:
            self.waiting.append(self.next)
            self.next += 1

    @rule(count=st.integers(1, 4))
    def take(self, count: int) -> None:
        expected, self.waiting = self.waiting[:count], self.waiting[count:]
        assert texts(self.queue, count) == expected
        self.sent += expected

    @rule()
    def rewind(self) -> None:
        assert self.queue.rewind() == len(self.sent)
        self.sent, self.waiting = [], self.sent + self.waiting

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.sent))
        assert self.queue.confirm(number) == {(LOG, "/a"): number}
        self.sent = [each for each in self.sent if each > number]

    @invariant()
    def counts(self) -> None:
        assert self.queue.waiting == len(self.waiting)
        assert self.queue.unconfirmed == len(self.sent)
        if self.sent:
            assert self.queue.last_sent == self.sent[-1]
        assert (self.accounted > 0) is bool(self.sent or self.waiting)
        everything = [*self.queue._sent, *self.queue._waiting]
        assert self.accounted == sum(each.event.weight + _OVERHEAD for each in everything)
        assert all(each.event.holders == 1 for each in everything)

    @rule(retired=st.booleans())
    @precondition(lambda self: len(self.queue) == 6)
    def clear(self, retired: bool) -> None:
        if retired:
            self.queue.retire()
            assert self.accounted == 0
            self.queue.clear()
            self.queue._counts = True
        else:
            self.queue.clear()
        self.sent, self.waiting = [], []


def test_what_is_shared_is_kept_once() -> None:
    """Ten sessions with the same hundred messages keep those once, and a place for each."""
    kept = [0]

    def account(change: int) -> None:
        kept[0] += change

    shared = [event("x" * 1000) for _ in range(100)]
    queues = [ClientQueue(1000, 2**20, account) for _ in range(10)]
    for each in shared:
        for queue in queues:
            queue.append(each)
    weights = sum(each.weight for each in shared)
    assert kept[0] == weights + 10 * 100 * _OVERHEAD
    own = b'{"its":"own"}'
    queues[0].append(shared[0], own)
    assert kept[0] == weights + 10 * 100 * _OVERHEAD + len(own) + _OVERHEAD
    for queue in queues:
        queue.take(1000, 2**20)
        queue.confirm(50)
    assert kept[0] == weights // 2 + 10 * 50 * _OVERHEAD + len(own) + _OVERHEAD
    for queue in queues:
        queue.clear()
    assert kept[0] == 0


def test_what_is_dropped_for_want_of_room_is_kept_no_longer() -> None:
    kept = [0]

    def account(change: int) -> None:
        kept[0] += change

    queue = ClientQueue(8, 2**20, account)
    for number in range(100):
        queue.append(event(number))
    assert queue.dropped
    everything = [*queue._sent, *queue._waiting]
    assert kept[0] == sum(each.event.weight + _OVERHEAD for each in everything)


def test_model() -> None:
    run_state_machine_as_test(Model)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 300), st.integers(0, 3))))
def test_is_never_over_its_bounds(steps: list[tuple[bool, int, int]]) -> None:
    queue = ClientQueue(5, 1500)
    last = 0
    for kept, size, taken in steps:
        queue.append(event("x" * size), source=LOG if kept else None, position=1)
        assert len(queue) <= 5
        for each in queue.take(taken, 1000):
            assert each.number > last
            last = each.number
    while queued := queue.take(1, 1):
        assert queued[0].number > last
        last = queued[0].number
