"""What is said in one turn goes to the log together: in order, once, and bounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from cometd_chat.comet.slices import call_before_slices
from cometd_chat.errors import MemoryShort, StorageUnavailable
from cometd_chat.events.record import Draft, Record
from cometd_chat.log.gathering import DRAFT_SIZE, Gathering
from cometd_chat.log.memory import MemoryEventLog
from cometd_chat.transports.budget import MemoryBudget
from tests.log.support import draft, in_reactor, wait


class Counted(MemoryEventLog):
    """A log that notes which texts it was given together."""

    def __init__(self) -> None:
        super().__init__(epoch="e001")
        self.given: list[list[str]] = []

    def append_all(self, drafts: Sequence[Draft]) -> Deferred[Sequence[Record | Exception]]:
        self.given.append([each.data["text"] for each in drafts])
        return super().append_all(drafts)


class Turns:
    """A log behind a `Gathering`, and turns that end when they are told to."""

    def __init__(self, limit: int = 2**30, **bounds: int) -> None:
        self.log = Counted()
        self.memory = MemoryBudget(limit)
        self.calls: list[Callable[[], None]] = []
        self.gathering = Gathering(self.log, self.calls.append, self.memory, **bounds)
        #: What became of each text, in the order in which that was known.
        self.outcomes: list[tuple[str, Any]] = []

    def say(self, text: str, size: int = 0, **fields: Any) -> Deferred[Record]:
        answer = self.gathering.append(draft(text, **fields), size)

        def note(outcome: object) -> None:
            known = outcome.value if isinstance(outcome, Failure) else outcome
            self.outcomes.append((text, known))

        answer.addBoth(note)
        return answer

    def end(self) -> None:
        """The end of a turn."""
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()

    @property
    def ids(self) -> list[tuple[str, int]]:
        """The records, in the order of answers."""
        return [(text, each.id) for text, each in self.outcomes if isinstance(each, Record)]

    @property
    def refused(self) -> list[tuple[str, type]]:
        return [(text, type(each)) for text, each in self.outcomes if isinstance(each, Exception)]

    @property
    def counted(self) -> tuple[int, int, int]:
        return self.gathering.waiting, self.gathering.bytes, self.memory.of("posts")


def test_one_turn_is_one_batch_in_the_order_of_all_who_say_something() -> None:
    turns = Turns()
    for text in ("a1", "b1", "a2", "c1", "a3"):
        turns.say(text, sender=text[0])
    assert not turns.log.given
    turns.end()
    assert turns.log.given == [["a1", "b1", "a2", "c1", "a3"]]
    assert turns.ids == [("a1", 1), ("b1", 2), ("a2", 3), ("c1", 4), ("a3", 5)]


def test_a_lone_draft_waits_for_the_end_of_its_turn_and_for_nothing_else() -> None:
    turns = Turns()
    turns.say("alone")
    assert len(turns.calls) == 1
    turns.end()
    assert turns.ids == [("alone", 1)]
    assert not turns.calls, "no timer is left"


def test_a_turn_does_not_wait_for_what_an_earlier_one_has_given() -> None:
    turns = Turns()
    turns.log.hold()
    for text in ("first", "second", "third"):
        turns.say(text)
        turns.end()
    assert turns.log.given == [["first"], ["second"], ["third"]]
    turns.log.release()
    assert turns.ids == [("first", 1), ("second", 2), ("third", 3)]


def test_who_says_much_is_no_reason_for_others_to_wait_for_a_later_batch() -> None:
    turns = Turns()
    for number in range(2000):
        turns.say(f"much {number}", sender="loud")
    turns.say("a word", sender="quiet")
    turns.end()
    assert [len(batch) for batch in turns.log.given] == [2001]
    assert turns.ids[-1] == ("a word", 2001)


def test_what_is_said_on_an_answer_is_of_the_next_batch() -> None:
    turns = Turns()
    turns.say("question").addCallback(lambda _: turns.say("next"))
    turns.say("other")
    turns.end()
    assert turns.log.given == [["question", "other"]]
    turns.end()
    assert turns.ids == [("question", 1), ("other", 2), ("next", 3)]


def test_a_client_id_that_comes_twice_in_a_turn_is_stored_once() -> None:
    turns = Turns()
    for text, client_id in (("x", "c1"), ("y", None), ("x", "c1"), ("z", "c2")):
        turns.say(text, client_id=client_id)
    turns.end()
    first, _, again, _ = (record for _, record in turns.outcomes)
    assert again == replace(first, repeated=True)
    assert turns.ids == [("x", 1), ("y", 2), ("x", 1), ("z", 3)]


def test_one_that_can_not_be_stored_fails_alone() -> None:
    turns = Turns()
    for text in ("before", "\ud800", "after"):
        turns.say(text)
    turns.end()
    assert turns.ids == [("before", 1), ("after", 2)]
    assert turns.refused == [("\ud800", ValueError)]
    assert turns.counted == (0, 0, 0)


def test_a_batch_that_fails_is_refused_to_each_and_the_next_one_is_not() -> None:
    turns = Turns()
    turns.log.failure = StorageUnavailable("Not now.")
    turns.say("one")
    turns.say("two")
    turns.end()
    assert turns.refused == [("one", StorageUnavailable), ("two", StorageUnavailable)]
    turns.log.failure = None
    turns.say("one")
    turns.end()
    assert turns.ids == [("one", 1)]
    assert turns.counted == (0, 0, 0)


def test_who_leaves_is_stored_all_the_same() -> None:
    turns = Turns()
    turns.say("one").cancel()
    assert [type(each) for _, each in turns.outcomes] == [CancelledError]
    assert turns.gathering.waiting == 1
    turns.say("two")
    turns.end()
    assert turns.log.given == [["one", "two"]]
    assert turns.counted == (0, 0, 0)


BOUNDS: list[tuple[dict[str, int], type[Exception]]] = [
    ({"most_waiting": 2}, StorageUnavailable),
    ({"most_bytes": 3 * DRAFT_SIZE}, StorageUnavailable),
    ({"limit": 12 * DRAFT_SIZE}, StorageUnavailable),
]


@pytest.mark.parametrize(("bounds", "error"), BOUNDS, ids=["number", "bytes", "a quarter"])
def test_what_waits_is_bounded(bounds: dict[str, int], error: type[Exception]) -> None:
    turns = Turns(**bounds)
    turns.log.hold()
    turns.say("one", size=100)
    turns.end()
    turns.say("two", size=100)
    turns.say("three", size=100)
    assert turns.refused == [("three", error)]
    assert getattr(turns.outcomes[0][1], "retry_after", None)
    held = 2 * (DRAFT_SIZE + 400)
    assert turns.counted == (2, held, held)
    turns.end()
    turns.log.release()
    assert turns.counted == (0, 0, 0)
    turns.say("three", size=100)
    turns.end()
    assert turns.ids == [("one", 1), ("two", 2), ("three", 3)]


def test_what_others_hold_leaves_no_room() -> None:
    turns = Turns(limit=100 * DRAFT_SIZE)
    turns.memory.account(98 * DRAFT_SIZE, "answers")
    turns.say("one")
    turns.say("two")
    turns.say("three")
    assert turns.refused == [("three", MemoryShort)]
    turns.end()
    turns.say("three")
    turns.end()
    assert turns.ids == [("one", 1), ("two", 2), ("three", 3)]


def test_a_long_text_is_refused_where_a_short_one_fits() -> None:
    turns = Turns(most_bytes=3 * DRAFT_SIZE)
    turns.say("one", size=10)
    turns.say("long", size=DRAFT_SIZE)
    turns.say("two", size=10)
    turns.end()
    assert turns.refused == [("long", StorageUnavailable)]
    assert turns.ids == [("one", 1), ("two", 2)]


def test_what_was_taken_can_be_handed_over_before_its_turn_ends() -> None:
    turns = Turns()
    turns.say("one")
    turns.gathering.hand_over()
    turns.end()
    assert turns.log.given == [["one"]]


@in_reactor
async def test_the_real_reactor_hands_over_before_slices_of_long_work() -> None:
    """One that waits for its next slice was called later before the post came."""
    from twisted.internet import reactor

    order: list[str] = []
    done: Deferred[None] = Deferred()

    def post() -> None:
        call_before_slices(reactor, lambda: order.append("batch"))

    def slice() -> None:
        order.append("slice")
        done.callback(None)

    reactor.callLater(0, slice)
    post()
    await wait(done)
    assert order == ["batch", "slice"]
