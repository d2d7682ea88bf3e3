"""What a first visit costs: how much is loaded, in how many requests, and in how many turns."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.visits import Room, Visitor, Visits

pytestmark = pytest.mark.slow

MOST_BYTES = 50_000
MOST_REQUESTS = 12


@pytest.fixture(scope="module")
def chromium(whole_chromium: Browser) -> Browser:
    """A tab has a picture, which is asked for as well."""
    return whole_chromium


@pytest.fixture
def spare() -> list[Visitor]:
    """None: whoever comes for the first time has a tab that nobody had before."""
    return []


@attrs.define(eq=False, slots=False)  # Playwright notes something on it.
class Traffic:
    """What a tab loads.

    :param asked: the path of each request that went out, and what made the browser ask: `parser`,
        when it stood in the page.
    :param sizes: bytes of the answers as they came, by request.
    """

    asked: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    sizes: dict[str, int] = attrs.field(factory=dict)

    @classmethod
    def of(cls, page: Page) -> Traffic:
        traffic = cls()
        devtools = page.context.new_cdp_session(page)
        devtools.send("Network.enable")
        devtools.on("Network.requestWillBeSent", traffic._ask)
        devtools.on("Network.requestServedFromCache", traffic._keep)
        devtools.on("Network.dataReceived", traffic._receive)
        devtools.on("Network.loadingFinished", traffic._finish)
        return traffic

    def _ask(self, event: dict[str, Any]) -> None:
        path = urlsplit(event["request"]["url"]).path
        self.asked[event["requestId"]] = (path, event["initiator"]["type"])

    def _keep(self, event: dict[str, Any]) -> None:
        del self.asked[event["requestId"]]

    def _receive(self, event: dict[str, Any]) -> None:
        id = event["requestId"]
        self.sizes[id] = self.sizes.get(id, 0) + int(event["encodedDataLength"])

    def _finish(self, event: dict[str, Any]) -> None:
        # The whole, with its head.
        self.sizes[event["requestId"]] = int(event["encodedDataLength"])

    @property
    def size(self) -> int:
        """Bytes of all answers."""
        return sum(self.sizes.values())

    def paths(self) -> list[str]:
        """What was asked for."""
        return [path for path, _ in self.asked.values()]

    def files(self) -> list[tuple[str, str]]:
        """Which files came over the network, and why they were asked for."""
        came = [what for id, what in self.asked.items() if self.sizes.get(id)]
        return [each for each in came if each[0].startswith("/static/")]


def test_a_first_visit_is_small(visits: Visits, room: Room) -> None:
    room.say_all("Grace", [f"line {n}, as long as most of what is said" for n in range(60)])
    ada = visits.come("Ada")
    traffic = Traffic.of(ada.page)
    # Who is here is asked for a moment after it is live; then there is rest.
    people = f"/api/v1/rooms/{room.name}/people"
    ada.go(room.url)
    with ada.page.expect_response(lambda response: people in response.url):
        ada.is_live("frame")
    expect(ada.page.locator("#people-list li")).to_have_count(2)
    assert 8_000 < traffic.size < MOST_BYTES
    assert len(traffic.asked) <= MOST_REQUESTS
    # All files are asked for at once, as soon as the page is there: no turn waits for another. Only
    # the tab's own picture comes later.
    files = [each for each in traffic.files() if not each[0].endswith("/logo.svg")]
    assert len(files) == len(set(files)) == 3
    assert {how for _, how in files} == {"parser"}
    assert {len(path.split("/")) for path, _ in files} == {4}, "each has its version in its path"


def test_the_next_visit_asks_for_no_file(visits: Visits, room: Room) -> None:
    ada = visits.come("Ada")
    with ada.page.expect_response("**/logo.svg"):
        ada.go(room.url)
        ada.is_live()
    ada.go("about:blank")
    traffic = Traffic.of(ada.page)
    ada.go(room.url)
    ada.is_live()
    assert traffic.files() == []
    assert traffic.size < 8_000


def test_who_logs_in_has_the_script_already(visits: Visits, room: Room) -> None:
    page = visits.come("Ada").page
    traffic = Traffic.of(page)
    page.context.clear_cookies()
    page.goto(room.daemon.url)
    script = "each => /room.js$/.test(each.name)"
    page.wait_for_function(f"() => performance.getEntriesByType('resource').some({script})")
    assert any(path.endswith("/room.js") for path in traffic.paths())
