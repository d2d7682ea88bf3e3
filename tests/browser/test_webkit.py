"""The chat in WebKit, the engine of Safari."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.battery import Battery
from tests.browser.scripted import ScriptedPage
from tests.browser.webkit import WebKit, WebKitPage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebKit]:
    with WebKit(tmp_path_factory.mktemp("webkit")) as running:
        yield running


class TestWebKit(Battery):
    def check(self, page: ScriptedPage) -> None:
        assert isinstance(page, WebKitPage)
        assert page.problems == []
