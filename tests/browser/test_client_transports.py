"""The client library's transports in Chromium: each works, each is chosen by menu, each gives way
to the next where something on the way holds it back, and the page says so."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import MakeWindow
from tests.browser.holding_proxy import HoldingProxy
from tests.browser.tabs import LABELS, Tab, held
from tests.daemon.talk import Held, log_in, once, say, wait_until
from tests.support import Daemon

pytestmark = pytest.mark.slow


def test_each_transport_hears_and_goes_on_after_a_restart(
    make_window: MakeWindow, daemon: Daemon
) -> None:
    grace = log_in(daemon.port, "Grace")
    tabs = {transport: make_window().enter(daemon, f"at-{transport}") for transport in LABELS}
    for transport, tab in tabs.items():
        tab.choose(transport)
    for transport in LABELS:
        if transport != "plain":
            wait_until(partial(held, daemon, transport), f"a held {transport}")
    say(daemon.port, grace, "before")
    for tab in tabs.values():
        tab.hears("before")
    daemon.restart()
    # Before the pages are back.
    say(daemon.port, grace, "after")
    for transport, tab in tabs.items():
        tab.hears("after")
        tab.is_live(transport)
        tab.say(f"by {transport}")
    for tab in tabs.values():
        expect(tab.page.locator(".message[data-id]")).to_have_count(2 + len(LABELS))
    said = tabs["frame"].lines()
    assert said[:2] == ["before", "after"]
    assert sorted(said[2:]) == sorted(f"by {transport}" for transport in LABELS)
    assert all(tab.lines() == said for tab in tabs.values())


def test_the_choice_is_kept_for_the_tab(make_window: MakeWindow, daemon: Daemon) -> None:
    window = make_window()
    ada = window.log_in(daemon.url, "ada")
    ada.choose("stream")
    ada.page.reload()
    ada.is_live("stream")
    assert held(daemon, "frame") == 0
    # Another browser begins with the first transport.
    make_window().enter(daemon, "grace").is_live("frame")


def test_typing_is_shown_and_gone(make_window: MakeWindow, daemon: Daemon) -> None:
    ada = make_window().enter(daemon, "ada")
    window = make_window()
    grace = window.enter(daemon, "Grace")
    told: list[str] = []
    grace.page.on("request", lambda request: told.append(request.url))
    ada.page.clock.install()
    grace.page.type("#text", "hi th")
    typing = ada.page.locator("#typing")
    expect(typing).to_have_text("Grace is typing…")
    grace.page.type("#text", "ere")
    assert len([url for url in told if url.endswith("/typing")]) == 1
    ada.page.clock.fast_forward(6500)
    expect(typing).to_have_text("")
    # It is gone at once when what was typed has come.
    ada.page.clock.resume()
    grace.page.press("#text", "Enter")
    ada.hears("hi there")
    grace.page.type("#text", "more")
    expect(typing).to_have_text("Grace is typing…")
    grace.page.press("#text", "Enter")
    ada.hears("more")
    expect(typing).to_have_text("")
    texts = once(daemon.port, "GET", "/api/v1/rooms/lobby/messages").json["messages"]
    assert [each["text"] for each in texts] == ["hi there", "more"]


def test_whoever_closes_her_last_tab_leaves_soon(make_window: MakeWindow, daemon: Daemon) -> None:
    ada = make_window().enter(daemon, "ada")
    window = make_window()
    grace = window.enter(daemon, "Grace")
    second = window.tab(daemon.url)
    second.is_live()
    people = ada.page.locator("#people-list")
    expect(people).to_contain_text("Grace")
    grace.page.close(run_before_unload=False)
    # Only the last tab to read a room says that it leaves.
    wait_until(lambda: second.fact("Held by") == "this tab", "the other one leads")
    heidi = log_in(daemon.port, "Heidi")
    stream = f"/api/v1/events/stream?rooms=lobby&token={heidi}"
    with Held(daemon.port, "/api/v1/events/stream?rooms=lobby") as witness:
        with Held(daemon.port, stream):
            expect(people).to_contain_text("Heidi")
        # Who only vanishes is there for longer: `cometd_chat.chat.presence.GRACE`.
        second.page.close(run_before_unload=False)
        leaves = (event["from"] for event in witness.events() if event["type"] == "leave")
        assert next(leaves) == "Grace"
    expect(people).not_to_contain_text("Grace")
    assert "left" not in (ada.page.locator("#log").text_content() or "").split("Grace")[0]


def wait_out(tab: Tab, daemon: Daemon, *held_back: tuple[str, float]) -> None:
    """What is held back is given up, one after another: let the time of each pass, once the daemon
    has been asked for it.

    :param held_back: transports and seconds, of which a little is left for the next one.
    """
    for transport, seconds in held_back:
        wait_until(partial(held, daemon, transport), f"a held {transport}")
        tab.pass_time(seconds)


def test_what_holds_streams_back_is_gone_round(make_window: MakeWindow, daemon: Daemon) -> None:
    with HoldingProxy(daemon) as proxy:
        ada = make_window().tab(proxy.url)
        ada.page.clock.install()
        ada.page.fill("input[name=name]", "ada")
        ada.page.press("input[name=name]", "Enter")
        wait_out(ada, daemon, ("frame", 7), ("stream", 3), ("sse", 3))
        ada.is_live("poll")
        # It says why, and that it is for now.
        assert ada.fact("Transport") == "long polling, for the time being"
        assert ada.fact("Instead of") == "hidden iframe: nothing came through"
        grace = log_in(daemon.port, "Grace")
        say(daemon.port, grace, "round the proxy")
        ada.hears("round the proxy")
        # The next page of the tab does not try again what does not work.
        ada.page.reload()
        ada.is_live("poll")
        # Ten minutes later it looks whether the better one works by now.
        proxy.holding = False
        ada.page.clock.fast_forward(11 * 60_000)
        ada.is_live("frame")
        assert ada.fact("Instead of") == ""
        say(daemon.port, grace, "straight on")
        ada.hears("straight on")
        assert ada.lines() == ["round the proxy", "straight on"]


def test_a_stream_that_is_held_back_later_is_given_up(
    make_window: MakeWindow, tmp_path: Path
) -> None:
    with (
        Daemon(tmp_path, "--heartbeat=1", "--limits=off") as daemon,
        HoldingProxy(daemon) as proxy,
    ):
        proxy.holding = False
        ada = make_window().log_in(proxy.url, "ada")
        ada.is_live("frame")
        ada.page.clock.install()
        proxy.holding = True
        grace = log_in(daemon.port, "Grace")
        # Dead within 2.5 heartbeats, found out sooner by what she says herself.
        say(daemon.port, grace, "held back")
        wait_out(ada, daemon, ("stream", 3), ("sse", 3))
        ada.hears("held back")
        ada.is_live()
        assert ada.page.locator("#chip-transport").text_content() == LABELS["poll"]


def test_a_quiet_room_keeps_its_stream(make_window: MakeWindow, tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        say(daemon.port, log_in(daemon.port, "Grace"), "long ago")
        ada = make_window().enter(daemon, "ada")
        opened: list[str] = []
        ada.page.on("request", lambda request: opened.append(request.url))
        ada.page.clock.install()
        ada.page.reload()
        ada.is_live("frame")
        # The page looks now and then whether there is something that did not come.
        with ada.page.expect_response("**/api/v1/rooms"):
            ada.pass_time(15.5)
        ada.pass_time(8)
        say(daemon.port, log_in(daemon.port, "Heidi"), "at last")
        ada.hears("at last")
        ada.is_live("frame")
        assert len([url for url in opened if "/api/v1/events/" in url]) == 1
