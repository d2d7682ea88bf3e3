"""The registry and the life of a handler: told in order, ended once, whatever anybody does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from cometd_chat.comet import (
    CometContext,
    CometEngine,
    CometEvent,
    CometEventType,
    CometHandler,
    Delivery,
    Reason,
)
from cometd_chat.errors import NotFound, ShuttingDown

LOBBY = "/chat/lobby"

READ = CometEventType.READ
INTERRUPT = CometEventType.INTERRUPT
TERMINATE = CometEventType.TERMINATE

Story = list[tuple[str, str, object]]


def nothing(event: CometEvent) -> None:
    """What a handler does that only listens."""


class Listener:
    """Writes down what it hears, in a story it shares with others, and then does something."""

    def __init__(
        self, name: str, story: Story, act: Callable[[CometEvent], object] = nothing
    ) -> None:
        self.name = name
        self.story = story
        self.act = act

    def on_initialize(self, event: CometEvent) -> None:
        self.hear("initialize", event)

    def on_event(self, event: CometEvent) -> None:
        self.hear("event", event)

    def on_interrupt(self, event: CometEvent) -> None:
        self.hear("interrupt", event)

    def on_terminate(self, event: CometEvent) -> None:
        self.hear("terminate", event)

    def hear(self, what: str, event: CometEvent) -> None:
        self.story.append((self.name, what, event.attachment))
        self.act(event)


class Reader(Listener):
    def on_read(self, event: CometEvent) -> None:
        self.hear("read", event)


class Batcher(Listener):
    def on_batch(self, events: Sequence[CometEvent]) -> None:
        self.story.append((self.name, "batch", [event.attachment for event in events]))


def raising(*types: CometEventType) -> Callable[[CometEvent], None]:
    def act(event: CometEvent) -> None:
        if event.type in types:
            raise RuntimeError("no")

    return act


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> CometEngine:
    return CometEngine(clock)


@pytest.fixture
def story() -> Story:
    return []


class TestContexts:
    def test_a_known_path_is_the_same_context(self, engine: CometEngine) -> None:
        lobby = engine.register(LOBBY, 60)
        assert engine.register(LOBBY) is lobby
        assert lobby.expiration_delay == 60
        assert engine.register(LOBBY, 30).expiration_delay == 30
        assert engine.context(LOBBY) is lobby
        assert engine.contexts == [lobby]

    def test_an_unknown_path_is_none(self, engine: CometEngine) -> None:
        assert engine.context(LOBBY) is None
        engine.unregister(LOBBY)

    @pytest.mark.parametrize("delay", [0, -1, float("nan")])
    def test_a_delay_is_more_than_nothing(self, engine: CometEngine, delay: float) -> None:
        with pytest.raises(ValueError, match="more than 0 seconds"):
            engine.register(LOBBY, delay)
        assert engine.contexts == []
        with pytest.raises(ValueError, match="more than 0 seconds"):
            engine.register(LOBBY).expiration_delay = delay

    def test_only_registered_paths_are_held(self, engine: CometEngine, story: Story) -> None:
        lobby = engine.register(LOBBY)
        engine.unregister(LOBBY)
        with pytest.raises(NotFound, match="any more"):
            lobby.add_handler(Listener("a", story))
        assert story == []

    def test_unregistering_ends_its_handlers(self, engine: CometEngine, story: Story) -> None:
        lobby, dev = engine.register(LOBBY), engine.register("/chat/dev")
        both, other = Listener("both", story), Listener("other", story)
        lobby.add_handler(both)
        dev.add_handler(both)
        dev.add_handler(other)
        story.clear()
        engine.unregister(LOBBY)
        assert story == [("both", "terminate", Reason.UNREGISTERED)]
        assert dev.handlers == [other]
        assert engine.register(LOBBY) is not lobby


class TestLife:
    def test_initialize_comes_before_it_is_in_the_list(
        self, engine: CometEngine, story: Story
    ) -> None:
        lobby = engine.register(LOBBY)
        seen: list[list[CometHandler]] = []
        handler = Listener("a", story, lambda event: seen.append(event.context.handlers))
        lobby.add_handler(handler)
        assert seen == [[]]
        assert lobby.handlers == [handler]

    def test_handlers_is_a_copy(self, engine: CometEngine, story: Story) -> None:
        lobby = engine.register(LOBBY)
        lobby.add_handler(Listener("a", story))
        lobby.handlers.clear()
        assert len(lobby.handlers) == 1

    def test_adding_twice_changes_nothing(self, engine: CometEngine, story: Story) -> None:
        lobby = engine.register(LOBBY)
        handler = Listener("a", story)
        lobby.add_handler(handler)
        lobby.add_handler(handler)
        lobby.notify("hi")
        assert story == [("a", "initialize", None), ("a", "event", "hi")]

    def test_it_may_add_itself_while_it_is_being_added(
        self, engine: CometEngine, story: Story
    ) -> None:
        lobby = engine.register(LOBBY)
        handler = Listener("a", story)
        handler.act = lambda event: lobby.add_handler(handler)
        lobby.add_handler(handler)
        assert story == [("a", "initialize", None)]
        assert lobby.handlers == [handler]

    def test_several_contexts_one_end(self, engine: CometEngine, story: Story) -> None:
        lobby, dev = engine.register(LOBBY), engine.register("/chat/dev")
        handler = Listener("a", story)
        lobby.add_handler(handler)
        dev.add_handler(handler)
        assert story == [("a", "initialize", None)] * 2
        story.clear()
        dev.remove_handler(handler)
        assert story == [("a", "terminate", Reason.REMOVED)]
        assert lobby.handlers == dev.handlers == []
        lobby.remove_handler(handler)
        engine.interrupt(handler)
        lobby.interrupt(handler)
        engine.shutdown()
        assert len(story) == 1

    def test_removing_from_a_context_it_is_not_in(self, engine: CometEngine, story: Story) -> None:
        lobby, dev = engine.register(LOBBY), engine.register("/chat/dev")
        handler = Listener("a", story)
        lobby.add_handler(handler)
        dev.remove_handler(handler)
        dev.interrupt(handler)
        dev.notify("hi", handler=handler)
        assert lobby.handlers == [handler]
        assert story == [("a", "initialize", None)]

    def test_a_peer_that_is_gone_interrupts_once(self, engine: CometEngine, story: Story) -> None:
        lobby = engine.register(LOBBY)
        first, second = Listener("a", story), Listener("b", story)
        lobby.add_handler(first)
        lobby.add_handler(second)
        story.clear()
        engine.interrupt(first)
        engine.interrupt(first)
        lobby.interrupt(second)
        assert story == [
            ("a", "interrupt", Reason.PEER_GONE),
            ("b", "interrupt", Reason.PEER_GONE),
        ]

    def test_it_may_be_added_again_after_its_end(self, engine: CometEngine, story: Story) -> None:
        lobby = engine.register(LOBBY)
        handler = Listener("a", story)
        lobby.add_handler(handler)
        lobby.remove_handler(handler)
        lobby.add_handler(handler)
        lobby.remove_handler(handler)
        assert [what for _, what, _ in story] == ["initialize", "terminate"] * 2

    def test_handlers_are_told_apart_by_identity(self, engine: CometEngine, story: Story) -> None:
        class Equal(Listener):
            __hash__ = None  # type: ignore[assignment]

            def __eq__(self, other: object) -> bool:
                return True

        lobby = engine.register(LOBBY)
        first, second = Equal("a", story), Equal("b", story)
        lobby.add_handler(first)
        lobby.add_handler(second)
        lobby.remove_handler(second)
        assert [handler is first for handler in lobby.handlers] == [True]

    def test_shutdown_ends_all_and_takes_no_more(
        self, engine: CometEngine, clock: Clock, story: Story
    ) -> None:
        lobby = engine.register(LOBBY, 60)
        lobby.add_handler(Listener("a", story, lambda event: engine.shutdown()))
        lobby.add_handler(Listener("b", story)) if lobby.handlers else None
        assert story == [("a", "initialize", None), ("a", "terminate", Reason.SHUTDOWN)]
        with pytest.raises(ShuttingDown):
            lobby.add_handler(Listener("b", story))
        engine.deliver([Delivery(LOBBY, "late", 1)])
        assert len(story) == 2
        assert clock.getDelayedCalls() == []


class TestFailing:
    def test_one_that_raises_is_dropped_and_the_others_hear(
        self, engine: CometEngine, story: Story
    ) -> None:
        lobby = engine.register(LOBBY)
        others = [Listener("a", story), Listener("c", story)]
        lobby.add_handler(others[0])
        lobby.add_handler(Listener("b", story, raising(CometEventType.NOTIFY)))
        lobby.add_handler(others[1])
        story.clear()
        with capturedLogs() as logs:
            lobby.notify("hi")
        assert story == [
            ("a", "event", "hi"),
            ("b", "event", "hi"),
            ("b", "terminate", Reason.FAILED),
            ("c", "event", "hi"),
        ]
        assert lobby.handlers == others
        assert [(entry["handler"], entry["path"]) for entry in logs] == [("Listener", LOBBY)]
        assert logs[0]["log_failure"].check(RuntimeError)

    def test_raising_at_the_end_as_well(self, engine: CometEngine, story: Story) -> None:
        lobby = engine.register(LOBBY)
        handler = Listener("b", story, raising(CometEventType.NOTIFY, TERMINATE))
        lobby.add_handler(handler)
        with capturedLogs() as logs:
            lobby.notify("hi")
        assert story[-1] == ("b", "terminate", Reason.FAILED)
        assert len(logs) == 2
        assert lobby.handlers == []

    def test_raising_when_interrupted(self, engine: CometEngine, story: Story) -> None:
        lobby = engine.register(LOBBY)
        handler = Listener("b", story, raising(INTERRUPT))
        lobby.add_handler(handler)
        with capturedLogs() as logs:
            engine.interrupt(handler)
        assert len(logs) == 1
        assert lobby.handlers == []

    def test_raising_in_initialize_is_for_the_caller(
        self, engine: CometEngine, clock: Clock, story: Story
    ) -> None:
        lobby, dev = engine.register(LOBBY), engine.register("/chat/dev", 60)
        handler = Listener("a", story, raising(CometEventType.INITIALIZE))
        with pytest.raises(RuntimeError):
            lobby.add_handler(handler)
        assert lobby.handlers == []
        handler.act = nothing
        lobby.add_handler(handler)
        handler.act = raising(CometEventType.INITIALIZE)
        with pytest.raises(RuntimeError):
            dev.add_handler(handler)
        assert lobby.handlers == [handler]
        assert dev.handlers == []
        clock.advance(1000)
        assert lobby.handlers == [handler]

    def test_raising_in_a_batch(self, engine: CometEngine, story: Story) -> None:
        class Failing(Listener):
            def on_batch(self, events: Sequence[CometEvent]) -> None:
                raise RuntimeError("no")

        lobby = engine.register(LOBBY)
        lobby.add_handler(Failing("a", story))
        with capturedLogs() as logs:
            lobby.notify("hi")
        assert story[-1] == ("a", "terminate", Reason.FAILED)
        assert len(logs) == 1


class TestNotify:
    def test_to_all_or_to_one(self, engine: CometEngine, story: Story) -> None:
        lobby = engine.register(LOBBY)
        first, second = Listener("a", story), Batcher("b", story)
        lobby.add_handler(first)
        lobby.add_handler(second)
        story.clear()
        lobby.notify("all")
        lobby.notify("one", handler=second)
        assert story == [
            ("a", "event", "all"),
            ("b", "batch", ["all"]),
            ("b", "batch", ["one"]),
        ]

    def test_read_goes_to_on_read_where_there_is_one(
        self, engine: CometEngine, story: Story
    ) -> None:
        lobby = engine.register(LOBBY)
        for handler in (Reader("a", story), Listener("b", story)):
            lobby.add_handler(handler)
        story.clear()
        lobby.notify("line", READ)
        assert story == [("a", "read", "line"), ("b", "event", "line")]

    def test_raising_in_read(self, engine: CometEngine, story: Story) -> None:
        lobby = engine.register(LOBBY)
        lobby.add_handler(Reader("a", story, raising(READ)))
        with capturedLogs() as logs:
            lobby.notify("line", READ)
        assert story[-1] == ("a", "terminate", Reason.FAILED)
        assert len(logs) == 1

    @pytest.mark.parametrize("type", [INTERRUPT, TERMINATE])
    def test_the_ends_end_with_the_notifiers_attachment(
        self, engine: CometEngine, story: Story, type: CometEventType
    ) -> None:
        lobby = engine.register(LOBBY)
        handler = Listener("a", story)
        lobby.add_handler(handler)
        lobby.notify("kicked", type, handler)
        lobby.notify("kicked", type)
        assert story[1:] == [("a", type.value, "kicked")]
        assert lobby.handlers == []

    def test_initialize_is_the_engines_alone(self, engine: CometEngine) -> None:
        with pytest.raises(ValueError, match="INITIALIZE"):
            engine.register(LOBBY).notify(None, CometEventType.INITIALIZE)

    def test_who_has_ended_hears_nothing_more_in_the_walk(
        self, engine: CometEngine, story: Story
    ) -> None:
        lobby = engine.register(LOBBY)
        second = Listener("b", story)

        def act(event: CometEvent) -> None:
            if event.type is CometEventType.NOTIFY:
                lobby.remove_handler(second)
                lobby.add_handler(Listener("c", story))

        lobby.add_handler(Listener("a", story, act))
        lobby.add_handler(second)
        story.clear()
        lobby.notify("hi")
        assert story == [
            ("a", "event", "hi"),
            ("b", "terminate", Reason.REMOVED),
            ("c", "initialize", None),
        ]

    @pytest.mark.parametrize("end", ["remove", "unregister", "interrupt"])
    def test_ending_in_initialize(self, engine: CometEngine, story: Story, end: str) -> None:
        lobby = engine.register(LOBBY, 60)
        ends: dict[str, Callable[[], None]] = {
            "remove": lambda: lobby.remove_handler(handler),
            "unregister": lambda: engine.unregister(LOBBY),
            "interrupt": lambda: engine.interrupt(handler),
        }
        handler = Listener("a", story)
        handler.act = lambda event: event.type is CometEventType.INITIALIZE and ends[end]()
        lobby.add_handler(handler)
        assert len(story) == 2
        assert lobby.handlers == []
        assert engine.reaper.scheduled == 0


class TestExpiry:
    def add(self, context: CometContext, story: Story) -> Listener:
        handler = Listener("a", story)
        context.add_handler(handler)
        story.clear()
        return handler

    def test_without_progress(self, engine: CometEngine, clock: Clock, story: Story) -> None:
        lobby = engine.register(LOBBY, 60)
        self.add(lobby, story)
        clock.pump([1] * 59)
        lobby.notify("talk to it is no progress of its own")
        story.clear()
        clock.advance(1)
        assert story == [("a", "interrupt", Reason.EXPIRED)]
        assert lobby.handlers == []
        assert clock.getDelayedCalls() == []

    def test_touching_puts_it_off(self, engine: CometEngine, clock: Clock, story: Story) -> None:
        lobby = engine.register(LOBBY, 60)
        handler = self.add(lobby, story)
        clock.pump([1] * 50)
        lobby.touch(handler)
        clock.pump([1] * 59)
        assert story == []
        clock.advance(1)
        assert story == [("a", "interrupt", Reason.EXPIRED)]
        lobby.touch(handler)

    def test_touching_for_what_was(self, engine: CometEngine, clock: Clock, story: Story) -> None:
        lobby = engine.register(LOBBY, 60)
        handler = self.add(lobby, story)
        clock.pump([1] * 50)
        lobby.touch(handler, 30)
        lobby.touch(handler, 20)
        clock.pump([1] * 39)
        assert story == []
        clock.advance(1)
        assert story == [("a", "interrupt", Reason.EXPIRED)]

    def test_who_can_look_is_asked_before_it_expires(
        self, engine: CometEngine, clock: Clock, story: Story
    ) -> None:
        lobby = engine.register(LOBBY, 60)
        seen: list[float] = []

        class Looking(Listener):
            def on_expiring(self, event: CometEvent) -> None:
                seen.append(clock.seconds())
                if len(seen) < 3:
                    lobby.touch(self, clock.seconds() - 20)

        lobby.add_handler(Looking("a", story))
        story.clear()
        clock.pump([1] * 139)
        assert (story, seen) == ([], [60, 100])
        clock.advance(1)
        assert seen == [60, 100, 140], "asked once each time, not all along"
        assert story == [("a", "interrupt", Reason.EXPIRED)]
        assert clock.getDelayedCalls() == []

    def test_who_ends_when_it_is_asked_ends_once(
        self, engine: CometEngine, clock: Clock, story: Story
    ) -> None:
        lobby = engine.register(LOBBY, 60)

        class Leaving(Listener):
            def on_expiring(self, event: CometEvent) -> None:
                lobby.touch(self)
                lobby.remove_handler(self)

        lobby.add_handler(Leaving("a", story))
        story.clear()
        clock.pump([1] * 200)
        assert story == [("a", "terminate", Reason.REMOVED)]
        assert clock.getDelayedCalls() == []

    def test_who_fails_when_it_is_asked_is_dropped(
        self, engine: CometEngine, clock: Clock, story: Story
    ) -> None:
        lobby = engine.register(LOBBY, 60)

        class Failing(Listener):
            def on_expiring(self, event: CometEvent) -> None:
                raise RuntimeError("a socket is broken")

        lobby.add_handler(Failing("a", story))
        story.clear()
        with capturedLogs() as logs:
            clock.pump([1] * 61)
        assert story == [("a", "terminate", Reason.FAILED)]
        assert lobby.handlers == []
        assert logs[0]["log_failure"].check(RuntimeError)

    def test_reading_is_progress(self, engine: CometEngine, clock: Clock, story: Story) -> None:
        lobby = engine.register(LOBBY, 60)
        handler = self.add(lobby, story)
        clock.advance(50)
        lobby.notify("line", READ, handler)
        clock.advance(50)
        assert lobby.handlers == [handler]

    def test_none_never_expires(self, engine: CometEngine, clock: Clock, story: Story) -> None:
        lobby = engine.register(LOBBY)
        self.add(lobby, story)
        assert clock.getDelayedCalls() == []
        clock.advance(1e6)
        assert story == []

    def test_a_new_delay_counts_at_once(
        self, engine: CometEngine, clock: Clock, story: Story
    ) -> None:
        lobby = engine.register(LOBBY)
        handler = self.add(lobby, story)
        clock.advance(50)
        lobby.expiration_delay = 60
        clock.advance(9)
        assert lobby.handlers == [handler]
        lobby.expiration_delay = None
        clock.advance(100)
        assert lobby.handlers == [handler]
        assert clock.getDelayedCalls() == []
        lobby.expiration_delay = 60
        clock.advance(1)
        assert story == [("a", "interrupt", Reason.EXPIRED)]

    def test_the_smallest_of_several_delays(
        self, engine: CometEngine, clock: Clock, story: Story
    ) -> None:
        handler = self.add(engine.register(LOBBY, 60), story)
        engine.register("/quotes").add_handler(handler)
        engine.register("/chat/dev", 20).add_handler(handler)
        story.clear()
        clock.advance(20)
        assert story == [("a", "interrupt", Reason.EXPIRED)]
        assert engine.register(LOBBY).handlers == []
