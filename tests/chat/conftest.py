"""The chat's parts for its tests; see `tests.chat.parts`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, LogLevel, capturedLogs

from tests.chat.parts import House


@pytest.fixture
def failures() -> Iterator[list[LogEvent]]:
    """A test fails by what is logged at warning level and above, and does not stand here."""
    expected: list[LogEvent] = []
    with capturedLogs() as events:
        yield expected
    bad = [event for event in events if event.get("log_level", LogLevel.info) >= LogLevel.warn]
    assert bad == expected


@pytest.fixture
def house(failures: list[LogEvent]) -> House:
    """The chat without a web, limits off."""
    return House()
