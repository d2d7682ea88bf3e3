"""The chat in a Chromium of spring 2023, which has neither popovers nor `light-dark()`, nor much of
what scripts have today."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Playwright

from tests.browser.battery import Battery
from tests.browser.old_chromium import OldChromium, unpack
from tests.browser.scripted import ScriptedPage
from tests.chromium import ARGUMENTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[OldChromium]:
    old = playwright.chromium.launch(executable_path=unpack(), args=ARGUMENTS)
    running = OldChromium(old)
    yield running
    # It tells each page with a popover that there will be such a thing.
    assert [each for each in running.window.errors if "Found a 'popover'" not in each] == []
    old.close()


class TestOldChromium(Battery):
    def check(self, page: ScriptedPage) -> None:
        assert "Chrome/112." in page.evaluate("navigator.userAgent")
        assert page.evaluate("typeof AbortSignal.any") == "undefined"
