"""Daemons, rooms, and windows of Chromium that look out for errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from playwright.sync_api import Browser

from tests.browser.tabs import Window
from tests.browser.visits import Room, Visitor, Visits, make_room
from tests.support import Daemon

#: Rooms are numbered, so that no two tests have the same one.
room_numbers = count(1)

#: Makes a window of somebody's own, with her cookies.
MakeWindow = Callable[[], Window]


@pytest.fixture
def make_window(chromium: Browser) -> Iterator[MakeWindow]:
    """Makes windows; no script in them may fail, and no policy be violated."""
    windows: list[Window] = []

    def make() -> Window:
        windows.append(Window(chromium.new_context()))
        return windows[-1]

    yield make
    for window in windows:
        window.close()
        assert window.errors == []


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon of the test's own, whose heartbeats come soon."""
    directory = tmp_path_factory.mktemp("daemon")
    with Daemon(directory, "--heartbeat=2", "--limits=off") as running:
        yield running


@pytest.fixture(scope="session")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all tests that neither stop it nor ask it for its numbers."""
    directory = tmp_path_factory.mktemp("daemon")
    with Daemon(directory, "--heartbeat=2", "--limits=off") as running:
        yield running


@pytest.fixture
def room(shared_daemon: Daemon) -> Iterator[Room]:
    """A room of the test's own."""
    own = make_room(shared_daemon, f"room-{next(room_numbers)}")
    yield own
    own.clear()


@pytest.fixture(scope="session")
def spare(chromium: Browser) -> Iterator[list[Visitor]]:
    """Tabs that the next test may have."""
    tabs: list[Visitor] = []
    yield tabs
    for tab in tabs:
        tab.window.close()


@pytest.fixture
def visits(chromium: Browser, room: Room, spare: list[Visitor]) -> Iterator[Visits]:
    """Who visits the room; nothing in their windows may fail."""
    those = Visits(chromium, room, spare)
    yield those
    those.close()


@pytest.fixture
def lobby_visits(chromium: Browser, daemon: Daemon, spare: list[Visitor]) -> Iterator[Visits]:
    """Who visits the lobby of a daemon of the test's own, which may be stopped and asked."""
    those = Visits(chromium, Room(daemon), spare)
    yield those
    those.close()


@pytest.fixture(scope="module")
def own_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for the tests of a module, with heartbeats as seldom as they are."""
    with Daemon(tmp_path_factory.mktemp("daemon"), "--limits=off") as running:
        yield running
