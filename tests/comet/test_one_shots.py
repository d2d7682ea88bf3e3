"""Those whose first event ends them are told first, whatever comes and goes meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.task import Clock

from cometd_chat.comet import CometContext, CometEngine, CometEvent, Delivery
from cometd_chat.comet.slices import CLOCK_EVERY, SLICE
from tests.examples import examples

LOBBY, DEV = PATHS = ["/chat/lobby", "/chat/dev"]

#: So slow is a handler here that a look at the clock ends the slice.
SLOW = SLICE / CLOCK_EVERY


def turn(clock: Clock) -> None:
    """One slice, where `Clock.advance` would go on until nothing is due."""
    calls: list[Any] = clock.calls
    call = calls.pop(0)
    call.called = 1
    call.func(*call.args, **call.kw)


class Reader:
    """Writes down what it hears.

    :param then: what it does in the middle of that.
    """

    def __init__(self, clock: Clock, then: Callable[[], object] = lambda: None) -> None:
        self.ids: list[int] = []
        self.held = False
        self.then = then
        self._clock = clock

    def on_initialize(self, event: CometEvent) -> None:
        self.held = True

    def on_event(self, event: CometEvent) -> None:
        raise AssertionError("it is told batches")

    def on_batch(self, events: Sequence[CometEvent]) -> None:
        self.hear(events)
        self.then()

    def hear(self, events: Sequence[CometEvent]) -> None:
        assert self.held
        self._clock.rightNow += SLOW
        self.ids += [event.id for event in events if event.id is not None]

    def on_interrupt(self, event: CometEvent) -> None:
        self.held = False

    on_terminate = on_interrupt


class Poll(Reader):
    """One that ends with what it hears first, and then perhaps comes back."""

    one_shot = True

    def __init__(
        self, clock: Clock, contexts: Sequence[CometContext], then: Callable[[], object]
    ) -> None:
        super().__init__(clock, then)
        self._contexts = contexts

    def on_batch(self, events: Sequence[CometEvent]) -> None:
        self.hear(events)
        for context in self._contexts:
            context.remove_handler(self)
        assert not self.held
        self.then()


class Room:
    """A room of many streams and a few polls, the polls last of all."""

    def __init__(self, streams: int, polls: int) -> None:
        self.clock = Clock()
        self.engine = CometEngine(self.clock)
        self.context = self.engine.register(LOBBY)
        self.streams = [Reader(self.clock) for _ in range(streams)]
        self.polls = [Poll(self.clock, [self.context], lambda: None) for _ in range(polls)]
        for each in (*self.streams, *self.polls):
            self.context.add_handler(each)
        self.said = 0

    def say(self) -> None:
        self.said += 1
        self.engine.deliver([Delivery(LOBBY, "hi", self.said)])

    def come_back(self) -> None:
        for poll in self.polls:
            self.context.add_handler(poll)

    def told(self, readers: Sequence[Reader], id: int) -> int:
        return sum(id in each.ids for each in readers)


def test_they_are_told_in_the_first_slice() -> None:
    room = Room(streams=1000, polls=10)
    room.say()
    assert room.told(room.polls, 1) == 10
    assert 0 < room.told(room.streams, 1) < 100


def test_they_do_not_wait_for_what_others_are_being_told() -> None:
    room = Room(streams=1000, polls=10)
    for id in (1, 2, 3):
        room.say()
        turn(room.clock)
        assert room.told(room.polls, id) == 10
        room.come_back()
    assert room.told(room.streams, 1) < 1000
    while room.engine.delivering:
        turn(room.clock)
    assert {tuple(each.ids) for each in room.streams} == {(1, 2, 3)}
    assert {tuple(each.ids) for each in room.polls} == {(1, 2, 3)}


@pytest.mark.parametrize("streams", [40, 1000])
def test_the_others_have_their_turn_however_many_of_them_there_are(streams: int) -> None:
    """They come back as soon as they were told, and there is always something to tell them."""
    room = Room(streams, polls=400)
    for poll in room.polls:
        poll.then = lambda poll=poll: room.context.add_handler(poll)  # type: ignore[misc]
    turns = 0
    while room.told(room.streams, 1) < streams:
        room.say()
        turn(room.clock)
        turns += 1
    assert turns <= 2 * (streams / CLOCK_EVERY + 2)


def test_who_is_told_one_by_one_is_told_first_too() -> None:
    room = Room(streams=3, polls=2)
    order: list[Reader] = []
    for each in (*room.streams, *room.polls):
        each.then = lambda each=each: order.append(each)  # type: ignore[misc]
    room.context.notify("typing")
    assert order == [*room.polls, *room.streams]
    room.come_back()
    assert room.context.handlers == [*room.polls, *room.streams]


ACTIONS = st.sampled_from(["nothing", "back", "add", "remove", "interrupt", "deliver", "context"])
READERS = 12


class ComingAndGoing(RuleBasedStateMachine):
    """Readers that come, go and come back at any time, in the middle of being told as well.

    Each life of a reader has to hear just what was delivered to its contexts during it, in order:
    all of it once it is quiet; and of a poll, the first of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.engine = CometEngine(self.clock)
        self.contexts = [self.engine.register(path) for path in PATHS]
        self.readers: list[Reader] = [
            Poll(self.clock, self.contexts, self.act)
            if number % 3 == 0
            else Reader(self.clock, self.act)
            for number in range(READERS)
        ]
        #: For each what it is to hear, as far as it is held; it hears that in its order.
        self.due: dict[Reader, list[int]] = {}
        self.script: list[tuple[str, int, int]] = []
        self.said = 0

    def do(self, action: str, who: int, where: int) -> None:
        reader, context = self.readers[who], self.contexts[where]
        if action == "deliver":
            self.say(where)
        elif action in ("back", "add"):
            if not self.is_held(reader):
                self.due[reader], reader.ids = [], []
            context.add_handler(reader)
        elif action == "remove":
            context.remove_handler(reader)
        elif action == "interrupt":
            self.engine.interrupt(reader)
        elif action == "context":
            self.engine.unregister(PATHS[where])
            self.contexts[where] = self.engine.register(PATHS[where])

    def is_held(self, reader: Reader) -> bool:
        return any(reader in context.handlers for context in self.contexts)

    def act(self) -> None:
        if self.script:
            self.do(*self.script.pop())

    def say(self, where: int) -> None:
        self.said += 1
        for reader in self.contexts[where].handlers:
            assert isinstance(reader, Reader)
            self.due[reader].append(self.said)
        self.engine.deliver([Delivery(PATHS[where], "hi", self.said)])

    @rule(
        action=ACTIONS,
        who=st.integers(0, READERS - 1),
        where=st.integers(0, 1),
        script=st.lists(
            st.tuples(ACTIONS, st.integers(0, READERS - 1), st.integers(0, 1)), max_size=8
        ),
    )
    def something(
        self, action: str, who: int, where: int, script: list[tuple[str, int, int]]
    ) -> None:
        self.script = [*script, *self.script][:20]
        self.do(action, who, where)

    @rule(where=st.integers(0, 1), how_often=st.integers(1, 3))
    def deliver(self, where: int, how_often: int) -> None:
        for _ in range(how_often):
            self.say(where)

    @precondition(lambda self: self.engine.delivering)
    @rule()
    def turn(self) -> None:
        turn(self.clock)

    @invariant()
    def what_is_heard_is_in_order_and_once(self) -> None:
        for reader, due in self.due.items():
            assert reader.ids == due[: len(reader.ids)]
            if not self.engine.delivering and self.is_held(reader):
                assert reader.ids == due
            if isinstance(reader, Poll) and reader.ids:
                assert not self.is_held(reader)

    def teardown(self) -> None:
        self.script = []
        while self.engine.delivering:
            turn(self.clock)
        self.what_is_heard_is_in_order_and_once()
        self.engine.shutdown()
        assert self.clock.getDelayedCalls() == []
        super().teardown()


def test_nobody_is_told_twice_or_forgotten_whatever_they_do() -> None:
    run_state_machine_as_test(
        ComingAndGoing,
        settings=settings(max_examples=examples(100), stateful_step_count=30, deadline=None),
    )
