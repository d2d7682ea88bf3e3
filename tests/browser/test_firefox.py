"""The chat in Firefox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser.battery import Battery
from tests.browser.firefox import Firefox

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    with Firefox(tmp_path_factory.mktemp("firefox")) as running:
        yield running
        assert running.errors == []


class TestFirefox(Battery):
    """All of it."""
