"""One tab holds the request for all tabs of a session, so that the seventh never hangs; when it
goes, another takes over and nobody misses anything. With Web Locks, and on plain http without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count

import attrs
import pytest
from playwright.sync_api import Browser, Error, expect

from tests.browser.tabs import Tab, Window, held
from tests.chromium import NAMED
from tests.daemon.talk import Held, log_in, log_in_by_cookie, once, say, wait_until
from tests.support import Daemon

pytestmark = pytest.mark.slow

THIS_TAB, OTHER_TAB = "this tab", "another tab, for this one too"


#: More than the connections that a browser opens to a host.
SEVEN = 7

#: How a tab comes to lead has no part in this.
BY_LOCKS = pytest.mark.parametrize("site", ["127.0.0.1"], indirect=True)

room_numbers = count(1)


@attrs.frozen
class Site:
    """A room of the test's own at an address of the daemon, and Ada's browser."""

    daemon: Daemon
    address: str
    room: str
    ada: Window
    grace: str

    @property
    def url(self) -> str:
        return self.place(self.room)

    def place(self, room: str) -> str:
        """The page of a room."""
        return f"{self.address}/rooms/{room}"

    def tabs(self, count: int) -> list[Tab]:
        """Tabs of Ada's, the leader first."""
        tabs: list[Tab] = []
        while len(tabs) < count:
            tabs.append(self.ada.tab(self.url))
            tabs[-1].is_live("frame")
        return tabs

    def say(self, text: str, room: str = "") -> None:
        """Grace says something."""
        assert say(self.daemon.port, self.grace, text, room=room or self.room).status == 201

    @property
    def held(self) -> int:
        return held(self.daemon, "frame")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that is found by its number and by a name."""
    directory = tmp_path_factory.mktemp("daemon")
    with Daemon(directory, "--heartbeat=2", "--limits=off", f"--host={NAMED}") as running:
        yield running


@pytest.fixture(scope="module")
def grace(daemon: Daemon) -> str:
    """The token of somebody there."""
    return log_in(daemon.port, "Grace")


@pytest.fixture(params=["127.0.0.1", NAMED])
def site(
    request: pytest.FixtureRequest, chromium: Browser, daemon: Daemon, grace: str
) -> Iterator[Site]:
    # Plain http with a name has no Web Locks.
    address = f"http://{request.param}:{daemon.port}"
    room = f"room-{next(room_numbers)}"
    make_room(daemon.port, grace, room)
    cookie, token = log_in_by_cookie(daemon.port, "ada")
    ada = Window(chromium.new_context())
    ada.context.add_cookies([{"name": cookie, "value": token, "url": address}])
    here = Site(daemon, address, room, ada, grace)
    yield here
    ada.close()
    once(daemon.port, "DELETE", "/api/v1/session", token=token)
    # The next test counts anew.
    wait_until(lambda: here.held == 0, "no request")
    assert ada.errors == []


def make_room(port: int, token: str, name: str) -> None:
    """A room of somebody's."""
    answer = once(port, "POST", "/api/v1/rooms", token=token, body={"name": name})
    assert answer.status == 201


def test_tabs_hold_one_request_and_hand_it_on(site: Site) -> None:
    """One way through all of it, since what it costs is to open tabs."""
    (first,) = site.tabs(1)
    said: list[str] = []
    if not first.page.evaluate("'locks' in navigator"):
        a_leader_who_finds_out_that_another_leads_follows(site, first, said)
    tabs = nothing_is_missed_while_tabs_are_opened(site, first, said)
    seven_hold_one_request(site, tabs, said)
    _, *others = tabs
    with suppress(Error), first.page.expect_event("crash"):
        first.page.goto("chrome://crash")
    goes_on(site, others, said, "crashes")
    first.page.close()
    leader, *others = leader_first(others)
    leader.page.close(run_before_unload=False)
    goes_on(site, others, said, "closes")
    leader, follower = leader_first(others)
    leader.page.reload()
    goes_on(site, others, said, "reloads")
    leader, follower = leader_first(others)
    (third,) = site.tabs(1)
    who_was_replaced_stays_away_until_a_click(site, leader, follower, third)


def a_leader_who_finds_out_that_another_leads_follows(
    site: Site, tab: Tab, said: list[str]
) -> None:
    """The other one is not there, and its lease ends. What is said meanwhile is put to ``said``."""
    here = {"kind": "here", "tab": "a third", "rooms": [site.room], "fresh": False}
    tab.page.evaluate(
        """(here) => {
            const name = Object.keys(localStorage).find((key) => key.startsWith("comet-chat.http"));
            localStorage.setItem(name, JSON.stringify({ tab: "another", at: Date.now() }));
            new BroadcastChannel(name).postMessage(here);
        }""",
        here,
    )
    wait_until(lambda: site.held == 0, "nobody who leads")
    site.say("while nobody led")
    said.append("while nobody led")
    tab.hears("while nobody led")
    tab.is_live("frame")
    assert holder(tab) == THIS_TAB


def nothing_is_missed_while_tabs_are_opened(site: Site, first: Tab, said: list[str]) -> list[Tab]:
    """Four tabs, the leader first."""
    pages = [site.ada.page() for _ in range(3)]
    lines = [f"line {number}" for number in range(3)]
    said += lines
    for page, text in zip(pages, lines, strict=True):
        page.goto(site.url, wait_until="commit")
        site.say(text)
    tabs = [first, *map(Tab, pages)]
    for tab in tabs:
        tab.hears("line 2")
        tab.is_live("frame")
        assert tab.lines() == said
    assert holder(first) == THIS_TAB
    return tabs


def seven_hold_one_request(site: Site, tabs: list[Tab], said: list[str]) -> None:
    """Those that are there, and others that come and go."""
    more = site.tabs(SEVEN - len(tabs))
    seven = [*tabs, *more]
    locks = seven[0].page.evaluate("'locks' in navigator")
    assert locks == site.address.startswith("http://127.0.0.1")
    wait_until(lambda: site.held == 1, "one request")
    seven[-1].say("from the seventh")
    said.append("from the seventh")
    for tab in seven:
        tab.hears("from the seventh")
    assert holder(seven[0]) == THIS_TAB
    assert {holder(tab) for tab in seven[1:]} == {OTHER_TAB}
    # The transport is that of all, and each can change it.
    seven[3].choose("sse")
    for tab in seven:
        tab.is_live("sse")
    assert (site.held, held(site.daemon, "sse")) == (0, 1)
    for tab in more:
        tab.page.close(run_before_unload=False)
    seven[3].choose("frame")
    wait_until(lambda: site.held == 1, "one request")


def leader_first(tabs: list[Tab]) -> list[Tab]:
    """The same tabs."""
    return sorted(tabs, key=lambda tab: holder(tab) != THIS_TAB)


def holder(tab: Tab) -> str:
    """What the panel behind the chip says of who holds the request. As `Tab.fact`, but without
    bringing each tab to the front and drawing it."""
    found: str = tab.page.evaluate(
        """() => {
            const panel = document.getElementById("connection");
            panel.showPopover();
            const terms = [...panel.querySelectorAll("#connection-facts dt")];
            const { nextElementSibling } = terms.find((each) => each.textContent === "Held by");
            panel.hidePopover();
            return nextElementSibling.textContent;
        }"""
    )
    return found


def goes_on(site: Site, tabs: list[Tab], said: list[str], how: str) -> None:
    """One of the tabs that are left leads, and nobody misses anything.

    :param said: until now; what is said here is put to it.
    :param how: the leader went.
    """
    site.say(f"while one {how}")
    for tab in tabs:
        tab.hears(f"while one {how}")
        tab.is_live("frame")
    wait_until(lambda: site.held == 1, "one request")
    site.say(f"after one {how}")
    said += [f"while one {how}", f"after one {how}"]
    for tab in tabs:
        tab.hears(f"after one {how}")
        assert tab.lines() == said
    assert sorted(map(holder, tabs)) == [OTHER_TAB] * (len(tabs) - 1) + [THIS_TAB]


def who_was_replaced_stays_away_until_a_click(
    site: Site, leader: Tab, follower: Tab, third: Tab
) -> None:
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
        wait_until(lambda: holder(follower) == THIS_TAB, "another leader")
        follower.page.clock.fast_forward(60_000)
        expect(follower.page.locator("#chip-state")).to_have_text("away")
        assert site.held == 0
        follower.page.get_by_role("button", name="Come back").click()
        follower.is_live("frame")
        wait_until(lambda: site.held == 1, "one request")
    site.say("welcome back")
    follower.hears("welcome back")


@BY_LOCKS
def test_a_leader_carries_all_rooms_and_is_asked_for_what_was_missed(site: Site) -> None:
    (lobby,) = site.tabs(1)
    ops = a_tab_that_missed_a_word_of_the_leader_catches_up(site, lobby)
    the_stream_carries_the_rooms_of_all_tabs(site, lobby, ops)


def a_tab_that_missed_a_word_of_the_leader_catches_up(site: Site, leader: Tab) -> Tab:
    """The one that follows."""
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
    assert holder(follower) == OTHER_TAB
    for text in ("before", "not for you", "after"):
        site.say(text)
    for tab in (leader, follower):
        tab.hears("after")
        assert tab.lines() == ["before", "not for you", "after"]
    return follower


def the_stream_carries_the_rooms_of_all_tabs(site: Site, lobby: Tab, ops: Tab) -> None:
    """Both are in the room of the site."""
    rooms = [f"{site.room}-dev", f"{site.room}-ops"]
    for room in rooms:
        make_room(site.daemon.port, site.grace, room)
    before = lobby.lines()
    dev = site.ada.tab(site.place(rooms[0]))
    ops.page.goto(site.place(rooms[1]))
    for tab in (dev, ops):
        tab.is_live("frame")
    wait_until(lambda: site.held == 1, "one request")
    site.say("in dev", rooms[0])
    site.say("in lobby")
    ops.say("in ops")
    for tab, lines in ((lobby, [*before, "in lobby"]), (dev, ["in dev"]), (ops, ["in ops"])):
        tab.hears(lines[-1])
        assert tab.lines() == lines
    # The leader goes; the next one carries what is still read, and what is not is left.
    lobby.page.close(run_before_unload=False)
    site.say("again in dev", rooms[0])
    dev.hears("again in dev")
    ops.page.close(run_before_unload=False)

    def people(room: str) -> list[str]:
        answer = once(site.daemon.port, "GET", f"/api/v1/rooms/{room}/people")
        return [each["name"] for each in answer.json["people"]]

    wait_until(lambda: "ada" not in people(rooms[1]), "Ada has left ops")
    assert "ada" in people(rooms[0])
    assert dev.lines() == ["in dev", "again in dev"]
