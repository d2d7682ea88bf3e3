"""Who wants to hear of something: any number, and none in another's place."""

from __future__ import annotations

from twisted.logger import LogEvent, capturedLogs

from cometd_chat.comet.listeners import Listeners


def test_all_hear_in_the_order_in_which_they_came() -> None:
    heard: list[str] = []
    listeners: Listeners[[str]] = Listeners("news")
    listeners.tell("to nobody")
    listeners.add(lambda news: heard.append(f"one: {news}"))
    listeners.add(lambda news: heard.append(f"two: {news}"))
    listeners.tell("now")
    assert heard == ["one: now", "two: now"]


def test_one_that_raises_is_logged_and_stops_nobody() -> None:
    heard: list[int] = []

    def fail(number: int) -> None:
        raise RuntimeError("not now")

    listeners: Listeners[[int]] = Listeners("numbers")
    listeners.add(fail)
    listeners.add(heard.append)
    with capturedLogs() as captured:
        listeners.tell(3)
    assert heard == [3]
    logged: list[LogEvent] = list(captured)
    assert [(event["what"], str(event["log_failure"].value)) for event in logged] == [
        ("numbers", "not now")
    ]
