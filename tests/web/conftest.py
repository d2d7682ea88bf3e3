"""The site in memory, for every test of the web; see `tests.memory`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import Connection

from cometd_chat import site_parts
from tests.edges import behind_an_edge
from tests.memory import MakeSite, MemorySite

#: The ways in which requests are answered and streams are written; each is switched off by options.
WAYS: dict[str, dict[str, Any]] = {
    "lane": {},
    "klein": {"fast_lane": False, "direct_write": False},
    "lane-ordinary": {"direct_write": False},
    "klein-direct": {"fast_lane": False},
    # Bayeux as it is for clients of another node.
    "forwarded": {},
}

#: What is asked for by hot routes, so that it has to be the same by the fast lane and without it.
BOTH_WAYS = {
    "test_api",
    "test_auth",
    "test_bayeux_identity",
    "test_bayeux_transports",
    "test_transports",
    "test_transports_heads",
    "test_errors",
}

#: What has to be the same where another node has the client.
FORWARDED = {
    "test_bayeux_embedding",
    "test_bayeux_identity",
    "test_bayeux_lost",
    "test_bayeux_memory",
    "test_bayeux_replay",
    "test_bayeux_rooms",
    "test_bayeux_transports",
}

#: What is about the writing, too.
ALL_WAYS = {"test_transports_ends", "test_fan_out", "test_nine_transports"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    module = metafunc.module.__name__.rpartition(".")[2]
    if "way" not in metafunc.fixturenames:
        return
    ways = ["lane", "klein"] if module in BOTH_WAYS else ["lane"]
    if module in ALL_WAYS:
        ways = [each for each in WAYS if each != "forwarded"]
    if module in FORWARDED:
        ways.append("forwarded")
    if len(ways) > 1:
        metafunc.parametrize("way", ways)


@pytest.fixture
def way() -> str:
    """The way in which requests are answered: by default that of the daemon's defaults."""
    return "lane"


@pytest.fixture
def make_site(way: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSite]:
    """Makes sites; see `MemorySite` for the settings."""
    if way == "forwarded":
        monkeypatch.setattr(site_parts, "build_bayeux", behind_an_edge)
    made: list[MemorySite] = []
    with ExitStack() as open_sites:

        def make(**settings: Any) -> MemorySite:
            made.append(open_sites.enter_context(MemorySite(**{**WAYS[way], **settings})))
            return made[-1]

        yield make
    for site in made:
        site.directory.store.close()


@pytest.fixture(scope="session")
def read_sites() -> dict[str, MemorySite]:
    """Those of tests that only read, by their ways."""
    return {}


@pytest.fixture
def site(
    request: pytest.FixtureRequest, way: str, read_sites: dict[str, MemorySite]
) -> Iterator[MemorySite]:
    """A site with its default settings, but for the rate limits, which are off.

    One that is marked `reads` changes nothing, which is looked at, and so has the site of those
    that did so before: to make one is half of what it takes.
    """
    if request.node.get_closest_marker("reads") is None or way == "forwarded":
        yield request.getfixturevalue("make_site")()
        return
    if way not in read_sites:
        read_sites[way] = MemorySite(**WAYS[way])
    site = read_sites.pop(way)
    before = _kept(site)
    with site:
        yield site
    site.connections.clear()
    site._by_transport.clear()
    site.logged.clear()
    assert _kept(site) == before, "it is marked as one that only reads"
    read_sites[way] = site


def _kept(site: MemorySite) -> tuple[object, ...]:
    """What a test could leave to the next one."""
    changes = site.directory.store.read_now(_total_changes)
    held = sum(len(context.held()) for context in site.engine.contexts)
    return changes, site.log.last_id, len(site.chat.sessions), site.clock.seconds(), held


def _total_changes(connection: Connection) -> object:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver.total_changes
