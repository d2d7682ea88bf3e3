"""Handlers that follow a random script inside their callbacks: whatever they do, each ends once."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from cometd_chat.comet import CometEngine, CometEvent, Delivery
from tests.examples import examples

PATHS = ["/chat/lobby", "/chat/dev"]


class Listener:
    """Writes down what it hears and then does something."""

    def __init__(self, act: Callable[[CometEvent], None]) -> None:
        self.heard: list[str] = []
        self.act = act

    def on_initialize(self, event: CometEvent) -> None:
        self.heard.append("initialize")
        self.act(event)

    def on_event(self, event: CometEvent) -> None:
        self.heard.append("event")
        self.act(event)

    def on_interrupt(self, event: CometEvent) -> None:
        self.heard.append("interrupt")
        self.act(event)

    def on_terminate(self, event: CometEvent) -> None:
        self.heard.append("terminate")
        self.act(event)


ACTIONS = ["add", "remove", "interrupt", "notify", "deliver", "unregister", "register", "raise"]


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 4), st.integers(0, 1)), max_size=40)
)
def test_whatever_they_do_each_ends_once_and_hears_nothing_after(
    script: list[tuple[str, int, int]],
) -> None:
    clock = Clock()
    engine = CometEngine(clock)
    steps = list(script)

    def act(event: CometEvent) -> None:
        if not steps:
            return
        action, who, where = steps.pop()
        context = engine.register(PATHS[where])
        if action == "add":
            context.add_handler(handlers[who])
        elif action == "remove":
            context.remove_handler(handlers[who])
        elif action == "interrupt":
            engine.interrupt(handlers[who])
        elif action == "notify":
            context.notify("hi")
        elif action == "deliver":
            engine.deliver([Delivery(path, "hi", 1) for path in PATHS])
        elif action == "unregister":
            engine.unregister(PATHS[where])
        elif action == "raise":
            raise RuntimeError("no")

    handlers = [Listener(act) for _ in range(5)]
    with capturedLogs():
        for number, handler in enumerate(handlers):
            try:
                engine.register(PATHS[number % 2], 60).add_handler(handler)
            except RuntimeError:
                handler.heard.append("refused")
        while steps:
            before = len(steps)
            engine.deliver([Delivery(path, "hi", 1) for path in PATHS])
            clock.advance(0)
            if len(steps) == before:
                break
        steps.clear()
        engine.shutdown()
    assert clock.getDelayedCalls() == []
    assert all(context.handlers == [] for context in engine.contexts)
    for handler in handlers:
        alive = lives(handler.heard)
        # One that was refused because it raised in its beginning hears of no end.
        assert not alive or "raise" in [action for action, _, _ in script]


def lives(heard: list[str]) -> bool:
    """Initialized before anything else, and nothing but a new life after an end; is it alive?"""
    alive = False
    for what in heard:
        if what == "initialize":
            alive = True
        elif what in ("interrupt", "terminate"):
            assert alive
            alive = False
        elif what == "event":
            assert alive
    return alive
