"""The chip tells the truth: whatever hints that nobody is there shows within seconds, though the
browser itself says nothing of a hidden iframe that broke off; and what was not sent is sent."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.tabs import Tab, held
from tests.browser.visits import Room, Visitor, Visits
from tests.daemon.talk import wait_until
from tests.support import Daemon

pytestmark = pytest.mark.slow

#: How a dot looks that says nothing: the token "soft" of a light page.
GREY = "rgb(99, 104, 112)"

#: Milliseconds within which a hint has to show.
SOON = 3000


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon whose heartbeats come so seldom that silence alone is noticed late."""
    with Daemon(tmp_path_factory.mktemp("daemon"), "--heartbeat=15", "--limits=off") as running:
        yield running


@pytest.fixture
def visits(chromium: Browser, daemon: Daemon) -> Iterator[Visits]:
    those = Visits(chromium, Room(daemon))
    yield those
    those.close()


@pytest.fixture
def ada(visits: Visits) -> Visitor:
    """Ada's tab."""
    visitor = visits.come("Ada")
    visitor.page.clock.install()
    visitor.go(visits.room.url)
    visitor.is_live("frame")
    return visitor


def stop_the_clock(tab: Tab) -> None:
    """From here on the test moves it, in all tabs of a browser."""
    tab.page.clock.pause_at(tab.page.evaluate("Date.now() + 1000"))
    tab.is_live("frame")


def follower(visits: Visits, ada: Visitor) -> Tab:
    """Another tab of hers, which hears from the first."""
    second = ada.window.tab(visits.room.url)
    second.is_live("frame")
    assert second.fact("Held by") == "another tab, for this one too"
    return second


def shows_that_it_is_lost(tab: Tab) -> None:
    """In time, and people are grey."""
    tab.page.clock.run_for(SOON)
    expect(tab.page.locator("#chip-state")).to_have_text("reconnecting")
    dot = tab.page.locator("#people-list .dot").first
    assert dot.evaluate("(dot) => getComputedStyle(dot).backgroundColor") == GREY


@contextmanager
def nobody_answers(visitor: Visitor) -> Iterator[None]:
    """What the visitor's tabs ask for fails, while what is held is silent."""
    context, path = visitor.window.context, "**/api/v1/**"
    context.route(path, lambda route: route.abort("connectionrefused"))
    yield
    context.unroute(path)
    visitor.forgive_all()


def comes_back(tab: Tab) -> None:
    """The browser says that it is on the network again, which ends a wait."""
    tab.page.evaluate("void dispatchEvent(new Event('online'))")
    tab.is_live("frame")
    tab.page.clock.run_for(100)


def test_whatever_hints_that_nobody_is_there_shows(
    visits: Visits, daemon: Daemon, ada: Visitor
) -> None:
    """She is live again after each."""
    stop_the_clock(ada)
    a_daemon_that_hangs(visits, daemon, ada)
    a_hint_that_is_wrong(visits, daemon, ada)
    assert ada.window.failures == []
    a_refresh_that_fails(ada)
    typing_that_nobody_hears(ada)
    a_post_that_fails(daemon, ada)
    the_network_goes_and_comes(visits, daemon, ada)
    ada.forgive_all()


def a_daemon_that_hangs(visits: Visits, daemon: Daemon, ada: Visitor) -> None:
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        # Nothing fails: what is asked hangs, as where the network is a black hole.
        ada.page.evaluate("void dispatchEvent(new Event('offline'))")
        shows_that_it_is_lost(ada)
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    ada.is_live("frame")
    visits.room.say("Grace", "once")
    ada.hears("once")


def a_hint_that_is_wrong(visits: Visits, daemon: Daemon, ada: Visitor) -> None:
    with ada.page.expect_request("**/api/v1/events/frame?**"):
        # The lid was closed for a minute.
        ada.page.clock.fast_forward(60_000)
    ada.is_live("frame")
    visits.room.say("Grace", "heard once")
    ada.hears("heard once")
    wait_until(lambda: held(daemon, "frame") == 1, "one line")
    ada.page.clock.run_for(SOON)
    ada.is_live("frame")
    assert ada.lines()[-1:] == ["heard once"]


def a_refresh_that_fails(ada: Visitor) -> None:
    with nobody_answers(ada):
        # Nobody does anything; the page looks for rooms now and then.
        with ada.page.expect_event("requestfailed", lambda request: "/rooms" in request.url):
            ada.page.clock.run_for(15_000)
        shows_that_it_is_lost(ada)
    comes_back(ada)


def typing_that_nobody_hears(ada: Visitor) -> None:
    with nobody_answers(ada):
        with ada.page.expect_event("requestfailed", lambda request: "/typing" in request.url):
            ada.page.type("#text", "a")
        shows_that_it_is_lost(ada)
    comes_back(ada)


def a_post_that_fails(daemon: Daemon, ada: Visitor) -> None:
    daemon.stop(signal.SIGKILL)
    with ada.page.expect_event("requestfailed", lambda request: request.method == "POST"):
        ada.say("is anybody there?")
    shows_that_it_is_lost(ada)
    failed = ada.page.locator(".failed")

    def is_given_up() -> bool:
        ada.page.clock.run_for(1000)
        return failed.count() == 1

    wait_until(is_given_up, "it is not sent")
    expect(failed).to_contain_text("Not sent")
    daemon.start()
    comes_back(ada)
    # Without a click.
    ada.hears("is anybody there?")
    expect(ada.page.locator(".failed, .pending")).to_have_count(0)


def the_network_goes_and_comes(visits: Visits, daemon: Daemon, ada: Visitor) -> None:
    ada.window.context.set_offline(True)
    shows_that_it_is_lost(ada)
    visits.room.say("Grace", "while she is away")
    ada.window.context.set_offline(False)
    # By itself, at once.
    ada.is_live("frame")
    ada.hears("while she is away")
    wait_until(lambda: held(daemon, "frame") == 1, "one line")


def test_two_tabs_tell_each_other_the_truth(visits: Visits, ada: Visitor) -> None:
    second = follower(visits, ada)
    another_tab_has_the_hint(ada, second)
    # Nothing else was meant to fail.
    ada.forgive()
    ada.forgiven = False
    ada.page.clock.resume()
    a_leader_that_is_frozen(visits, ada, second)


def another_tab_has_the_hint(ada: Visitor, second: Tab) -> None:
    stop_the_clock(second)
    with nobody_answers(ada):
        with second.page.expect_event("requestfailed", lambda request: request.method == "POST"):
            second.say("is anybody there, says another")
        for tab in (ada, second):
            shows_that_it_is_lost(tab)
    comes_back(second)
    for tab in (ada, second):
        tab.is_live("frame")
        tab.hears("is anybody there, says another")


def a_leader_that_is_frozen(visits: Visits, ada: Visitor, second: Tab) -> None:
    # As in a browser that lets tabs in the background do nothing.
    ada.page.evaluate("void (BroadcastChannel.prototype.postMessage = () => {})")
    second.page.evaluate("void document.dispatchEvent(new Event('visibilitychange'))")
    wait_until(lambda: second.fact("Held by") == "this tab", "another leader")
    second.is_live("frame")
    visits.room.say("Grace", "to the one that is awake")
    second.hears("to the one that is awake")
