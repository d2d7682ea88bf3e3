"""One tab holds the request for all tabs of a session, so that the seventh never hangs; when it
goes, another takes over and nobody misses anything. With Web Locks, and on plain http without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress

import attrs
import pytest
from playwright.sync_api import Browser, Error, expect

from tests.browser.tabs import Tab, Window, held
from tests.chromium import ARGUMENTS, PROGRAM
from tests.daemon.talk import Held, log_in, once, say, wait_until
from tests.support import Daemon

pytestmark = pytest.mark.slow

THIS_TAB, OTHER_TAB = "this tab", "another tab, for this one too"


@attrs.frozen
class Site:
    """A daemon at an address, and Ada's browser."""

    daemon: Daemon
    url: str
    ada: Window
    grace: str

    def tabs(self, count: int) -> list[Tab]:
        """Tabs of Ada's, the leader first."""
        tabs = [self.ada.log_in(self.url, "ada")]
        while len(tabs) < count:
            tabs.append(self.ada.tab(self.url))
            tabs[-1].is_live("frame")
        return tabs

    def say(self, text: str, room: str = "lobby") -> None:
        """Grace says something."""
        assert say(self.daemon.port, self.grace, text, room=room).status == 201

    @property
    def held(self) -> int:
        return held(self.daemon, "frame")


@pytest.fixture(scope="module", params=["127.0.0.1", "chat.test"])
def browser(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[tuple[str, Browser]]:
    """A host, and a Chromium that finds it here. Plain http with a name has no Web Locks."""
    if request.param == "127.0.0.1":
        yield request.param, chromium
        return
    rule = f"--host-resolver-rules=MAP {request.param} 127.0.0.1"
    other = chromium.browser_type.launch(executable_path=PROGRAM, args=[*ARGUMENTS, rule])
    yield request.param, other
    other.close()


@pytest.fixture
def site(browser: tuple[str, Browser], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    host, chromium = browser
    options = [] if host == "127.0.0.1" else [f"--host={host}"]
    with Daemon(tmp_path_factory.mktemp("daemon"), "--heartbeat=2", *options) as daemon:
        ada = Window(chromium.new_context())
        grace = log_in(daemon.port, "Grace")
        yield Site(daemon, f"http://{host}:{daemon.port}", ada, grace)
        ada.close()
        assert ada.errors == []


def test_eight_tabs_hold_one_request(site: Site) -> None:
    tabs = site.tabs(8)
    locks = tabs[0].page.evaluate("'locks' in navigator")
    assert locks == site.url.startswith("http://127.0.0.1")
    wait_until(lambda: site.held == 1, "one request")
    tabs[7].say("from the eighth")
    for tab in tabs:
        tab.hears("from the eighth")
    assert tabs[0].fact("Held by") == THIS_TAB
    assert {tab.fact("Held by") for tab in tabs[1:]} == {OTHER_TAB}
    # The transport is that of all, and each can change it.
    tabs[3].choose("sse")
    for tab in tabs:
        tab.is_live("sse")
    assert (site.held, held(site.daemon, "sse")) == (0, 1)


@pytest.mark.parametrize("how", ["close", "reload", "crash"])
def test_another_tab_takes_over(site: Site, how: str) -> None:
    leader, *others = site.tabs(3)
    site.say("before")
    for tab in others:
        tab.hears("before")
    if how == "close":
        leader.page.close(run_before_unload=False)
    elif how == "reload":
        leader.page.reload()
        others.append(leader)
    else:
        with suppress(Error), leader.page.expect_event("crash"):
            leader.page.goto("chrome://crash")
    site.say("meanwhile")
    for tab in others:
        tab.hears("meanwhile")
        tab.is_live("frame")
    wait_until(lambda: site.held == 1, "one request")
    site.say("after")
    for tab in others:
        tab.hears("after")
        assert tab.lines() == ["before", "meanwhile", "after"]
    assert sorted(tab.fact("Held by") for tab in others)[-1] == THIS_TAB
    assert [tab.fact("Held by") for tab in others].count(THIS_TAB) == 1


def test_the_stream_carries_the_rooms_of_all_tabs(site: Site) -> None:
    for room in ("dev", "ops"):
        body = {"name": room}
        assert once(site.daemon.port, "POST", "/api/v1/rooms", token=site.grace, body=body)
    (lobby,) = site.tabs(1)
    dev, ops = (site.ada.tab(f"{site.url}/rooms/{room}") for room in ("dev", "ops"))
    for tab in (dev, ops):
        tab.is_live("frame")
    wait_until(lambda: site.held == 1, "one request")
    site.say("in dev", "dev")
    site.say("in lobby")
    ops.say("in ops")
    for tab, text in ((lobby, "in lobby"), (dev, "in dev"), (ops, "in ops")):
        tab.hears(text)
        assert tab.lines() == [text]
    # The leader goes; the next one carries what is still read, and what is not is left.
    lobby.page.close(run_before_unload=False)
    site.say("again in dev", "dev")
    dev.hears("again in dev")
    ops.page.close(run_before_unload=False)

    def people(room: str) -> list[str]:
        answer = once(site.daemon.port, "GET", f"/api/v1/rooms/{room}/people")
        return [each["name"] for each in answer.json["people"]]

    wait_until(lambda: "ada" not in people("ops"), "Ada has left ops")
    assert "ada" in people("dev")
    assert dev.lines() == ["in dev", "again in dev"]


def test_nothing_is_missed_while_tabs_are_opened(site: Site) -> None:
    (first,) = site.tabs(1)
    pages = [site.ada.page() for _ in range(3)]
    for number, page in enumerate(pages):
        page.goto(site.url, wait_until="commit")
        site.say(f"line {number}")
    for tab in [first, *map(Tab, pages)]:
        tab.hears("line 2")
        tab.is_live("frame")
        assert tab.lines() == ["line 0", "line 1", "line 2"]


def test_who_was_replaced_stays_away_until_a_click(site: Site) -> None:
    leader, follower, third = site.tabs(3)
    (cookie,) = site.ada.context.cookies()
    headers = {"Cookie": f"{cookie['name']}={cookie['value']}"}
    follower.page.clock.install()
    leader.page.clock.install()
    with ExitStack() as others:

        def is_replaced_by_another() -> bool:
            # Each ends the oldest of its session's four, which is not the leader's when it has just
            # come back from a silence: then it takes four more.
            stream = Held(site.daemon.port, "/api/v1/events/stream", headers=headers)
            others.enter_context(stream).until(b"hello")
            return leader.page.locator("#chip-state").text_content() == "away"

        wait_until(is_replaced_by_another, "a leader that was replaced")
        for tab in (leader, follower):
            expect(tab.page.locator("#chip-state")).to_have_text("away")
            tab.page.clock.fast_forward(3000)
            expect(tab.page.locator("#notice")).to_contain_text("went on in another window")
        for _ in range(20):
            for tab in (leader, follower):
                tab.page.clock.fast_forward(60_000)
        assert site.held == 0
        # Who takes over stays away, too.
        third.page.close(run_before_unload=False)
        leader.page.close(run_before_unload=False)
        wait_until(lambda: follower.fact("Held by") == THIS_TAB, "another leader")
        follower.page.clock.fast_forward(60_000)
        expect(follower.page.locator("#chip-state")).to_have_text("away")
        assert site.held == 0
        follower.page.get_by_role("button", name="Come back").click()
        follower.is_live("frame")
        wait_until(lambda: site.held == 1, "one request")
    site.say("welcome back")
    follower.hears("welcome back")


def test_a_tab_that_missed_a_word_of_the_leader_catches_up(site: Site) -> None:
    (leader,) = site.tabs(1)
    follower = Tab(site.ada.page())
    follower.page.add_init_script(
        """
        const listen = BroadcastChannel.prototype.addEventListener;
        BroadcastChannel.prototype.addEventListener = function (type, hear) {
          listen.call(this, type, (message) => {
            if (!JSON.stringify(message.data).includes("not for you")) hear(message);
          });
        };
        """
    )
    follower.page.goto(site.url)
    follower.is_live("frame")
    assert follower.fact("Held by") == OTHER_TAB
    for text in ("before", "not for you", "after"):
        site.say(text)
    for tab in (leader, follower):
        tab.hears("after")
        assert tab.lines() == ["before", "not for you", "after"]
