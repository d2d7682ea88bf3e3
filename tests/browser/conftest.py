"""One Chromium for all tests of the folder, and windows in it that look out for errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.tabs import ARGUMENTS, CHROMIUM, Window
from tests.support import Daemon

#: Makes a window of somebody's own, with her cookies.
MakeWindow = Callable[[], Window]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


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
    with Daemon(tmp_path_factory.mktemp("daemon"), "--heartbeat=2") as running:
        yield running
