"""The site in memory, for every test of the web; see `tests.memory`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.memory import MakeSite, MemorySite


@pytest.fixture
def make_site() -> Iterator[MakeSite]:
    """Makes sites; see `MemorySite` for the settings."""
    with ExitStack() as open_sites:

        def make(**settings: Any) -> MemorySite:
            return open_sites.enter_context(MemorySite(**settings))

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    """A site with its default settings, but for the rate limits, which are off."""
    return make_site()
