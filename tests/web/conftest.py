"""The site in memory, for every test of the web; see `tests.memory`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.memory import MakeSite, MemorySite

#: What is asked for by hot routes, so that it has to be the same by the fast lane and without it.
BOTH_WAYS = {
    "test_api",
    "test_auth",
    "test_doors",
    "test_doors_ends",
    "test_doors_heads",
    "test_errors",
    "test_nine_doors",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in BOTH_WAYS and (
        "fast_lane" in metafunc.fixturenames
    ):
        metafunc.parametrize("fast_lane", [True, False], ids=["lane", "klein"])


@pytest.fixture
def fast_lane() -> bool:
    """Whether the site has a fast lane, as it has by default."""
    return True


@pytest.fixture
def make_site(fast_lane: bool) -> Iterator[MakeSite]:
    """Makes sites; see `MemorySite` for the settings."""
    with ExitStack() as open_sites:

        def make(**settings: Any) -> MemorySite:
            return open_sites.enter_context(MemorySite(**{"fast_lane": fast_lane, **settings}))

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> MemorySite:
    """A site with its default settings, but for the rate limits, which are off."""
    return make_site()
