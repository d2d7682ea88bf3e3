"""The connection of an open page in Chromium: live by the hidden iframe, and back after whatever
happens to it, with nothing lost or doubled."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.tabs import held
from tests.browser.visits import Visitor, Visits
from tests.support import Daemon

pytestmark = pytest.mark.slow


class NetworkLog:
    """What a tab does on the network, as the browser itself notes it (CDP)."""

    def __init__(self, visitor: Visitor) -> None:
        self.requests: list[tuple[str, str]] = []
        self.sockets: list[str] = []
        #: Frames that began (True) or ceased (False) to load.
        self.loading: list[tuple[str, bool]] = []
        cdp = visitor.window.context.new_cdp_session(visitor.page)
        cdp.on("Network.requestWillBeSent", self._request)
        cdp.on("Network.webSocketCreated", lambda each: self.sockets.append(each["url"]))
        cdp.on("Page.frameStartedLoading", lambda each: self._loads(each, True))
        cdp.on("Page.frameStoppedLoading", lambda each: self._loads(each, False))
        cdp.send("Network.enable")
        cdp.send("Page.enable")
        self.main = cdp.send("Page.getFrameTree")["frameTree"]["frame"]["id"]

    def _request(self, each: dict[str, Any]) -> None:
        self.requests.append((each["type"], each["request"]["url"]))

    def _loads(self, each: dict[str, Any], loads: bool) -> None:
        self.loading.append((each["frameId"], loads))

    @property
    def streams(self) -> list[str]:
        """How each request for events was made."""
        return [kind for kind, url in self.requests if "/api/v1/events/" in url]

    @property
    def main_loads(self) -> bool:
        """Whether the tab shows that it is loading."""
        return [loads for frame, loads in self.loading if frame == self.main][-1]


def test_two_windows_talk_through_the_hidden_iframe(lobby_visits: Visits, daemon: Daemon) -> None:
    ada, grace = lobby_visits.come("Ada"), lobby_visits.come("Grace")
    logs = [NetworkLog(ada), NetworkLog(grace)]
    for visitor in (ada, grace):
        visitor.go(daemon.url)
        visitor.is_live("frame")
    assert held(daemon, "frame") == 2
    ada.say("hello, Grace")
    grace.hears("hello, Grace")
    grace.say("hello, Ada")
    for visitor in (ada, grace):
        visitor.hears("hello, Ada")
        assert visitor.lines() == ["hello, Grace", "hello, Ada"]
        frame = visitor.page.locator("iframe")
        expect(frame).to_have_count(1)
        expect(frame).to_be_hidden()
        # The tab is not loading, though its frame is.
        assert visitor.page.evaluate("document.readyState") == "complete"
        inside = "document.querySelector('iframe').contentDocument"
        assert visitor.page.evaluate(f"{inside}.readyState") == "loading"
        # What came has gone again from the frame.
        assert visitor.page.evaluate(f"{inside}.querySelectorAll('script').length") == 0
    for log in logs:
        assert log.streams == ["Document"]
        assert log.sockets == []
        assert {kind for kind, _ in log.requests} <= {
            "Document",
            "Fetch",
            "Script",
            "Stylesheet",
            "Image",
            "Other",
        }
        assert not log.main_loads
    assert held(daemon, "frame") == 2


def test_a_browser_without_script_takes_part(lobby_visits: Visits, daemon: Daemon) -> None:
    ada = lobby_visits.enter("Ada")
    ada.say("before")
    bob = lobby_visits.come("Bob", java_script_enabled=False)
    bob.page.goto(f"{daemon.url}/chat", wait_until="commit")
    stream = bob.page.frame_locator("iframe[name=stream]")
    form = bob.page.frame_locator("iframe[name=form]")
    expect(stream.locator("body")).to_contain_text("Welcome Bob")
    expect(stream.locator("body")).to_contain_text("[ Ada ] before")
    expect(ada.page.locator("#people-list")).to_contain_text("Bob")
    ada.say("to the one without script")
    expect(stream.locator("body")).to_contain_text("[ Ada ] to the one without script")
    for text in ("from Bob <b>", "once more"):
        form.locator("input[name=message]").fill(text)
        form.get_by_role("button", name="Send").click()
        ada.hears(text)
        expect(stream.locator("body")).to_contain_text(f"[ Bob ] {text}")
        expect(form.locator("input[name=message]")).to_have_value("")
    # The newest line is in view.
    expect(stream.get_by_text("once more")).to_be_in_viewport()
    assert ada.lines() == ["before", "to the one without script", "from Bob <b>", "once more"]


def test_a_room_page_without_script_reads_and_writes(visits: Visits) -> None:
    room = visits.room
    room.say("Grace", "hello")
    bob = visits.come("Bob", java_script_enabled=False)
    bob.go(room.url)
    bob.hears("hello")
    bob.page.fill("#text", "hello, Grace\nsecond line")
    bob.page.click("#send")
    bob.hears("hello, Grace\nsecond line")
    bob.page.get_by_role("link", name="live without script").click(no_wait_after=True)
    stream = bob.page.frame_locator("iframe[name=stream]")
    expect(stream.locator("body")).to_contain_text("Welcome Bob")


def test_an_open_page_outlives_the_daemon(lobby_visits: Visits, daemon: Daemon) -> None:
    ada, grace = lobby_visits.enter("Ada"), lobby_visits.enter("Grace")
    said = []
    for how in (signal.SIGTERM, signal.SIGKILL):
        grace.say(f"before {how.name}")
        ada.hears(f"before {how.name}")
        daemon.stop(how)
        ada.say(f"during {how.name}")
        waiting = ada.page.locator(".pending .text, .failed .text")
        expect(waiting).to_have_text(f"during {how.name}")
        # What she does shows her, too, that nobody is there.
        grace.page.type("#text", "is it only me?")
        for visitor in (ada, grace):
            expect(visitor.page.locator("#chip-state")).to_have_text("reconnecting")
        expect(ada.page.locator("#notice")).to_contain_text("econnecting")
        # The box goes on working.
        ada.page.fill("#text", f"a draft at {how.name}")
        daemon.start()
        for visitor in (ada, grace):
            # "now", for whoever would wait longer.
            visitor.page.evaluate("document.querySelector('#notice button:not([hidden])')?.click()")
        for visitor in (ada, grace):
            visitor.hears(f"during {how.name}")
            visitor.is_live("frame")
        expect(ada.page.locator("#notice")).to_be_hidden()
        grace.say(f"after {how.name}")
        ada.hears(f"after {how.name}")
        said += [f"{when} {how.name}" for when in ("before", "during", "after")]
        for visitor in (ada, grace):
            assert visitor.lines() == said
            expect(visitor.page.locator(".failed, .pending")).to_have_count(0)
            visitor.forgive()
        expect(ada.page.locator("#text")).to_have_value(f"a draft at {how.name}")


def test_a_transport_that_is_blocked_gives_way_and_comes_back(visits: Visits) -> None:
    room = visits.room
    ada = visits.come("Ada")
    ada.page.route("**/api/v1/events/frame?**", lambda route: route.abort())
    ada.go(room.url)
    ada.is_live("stream")
    assert ada.fact("Transport") == "fetch stream, for the time being"
    # Its error page or the silence is noticed first; which one is a matter of milliseconds.
    assert ada.fact("Instead of").startswith("hidden iframe: ")
    room.say("Grace", "by the next transport")
    ada.hears("by the next transport")
    # The choice holds for the tab, and so does that it is a detour.
    ada.page.reload()
    ada.is_live("stream")
    ada.page.unroute("**/api/v1/events/frame?**")
    # The frame is chosen already; choosing it again is asking to try it now.
    ada.page.click("#chip")
    ada.page.click("#connection input[value=frame]")
    ada.page.keyboard.press("Escape")
    ada.is_live("frame")
    room.say("Grace", "by the frame")
    ada.hears("by the frame")
    assert ada.lines() == ["by the next transport", "by the frame"]
    assert ada.fact("Instead of") == ""
    ada.forgive_all()


def test_who_logs_out_elsewhere_is_told(visits: Visits) -> None:
    ada = visits.enter("Ada")
    ada.say("still here")
    ada.hears("still here")
    ada.log_out_elsewhere()
    notice = ada.page.locator("#notice")
    expect(notice).to_contain_text("You are logged out.")
    expect(ada.page.locator("#chip-state")).to_have_text("away")
    visits.room.say("Grace", "she does not hear it")
    button = notice.get_by_role("button", name="Log in")
    expect(button).to_be_visible()
    assert ada.lines() == ["still here"]
    button.click()
    name = ada.page.get_by_placeholder("Choose a name to write")
    name.fill("Ada")
    name.press("Enter")
    ada.is_live()
    assert ada.lines() == ["still here", "she does not hear it"]
    ada.token = ada.window.context.cookies()[0]["value"]
    ada.forgive_all()


def test_the_library_beside_the_page(visits: Visits) -> None:
    """As somebody tries it in the browser's console, on a page that has a copy of its own."""
    ada = visits.enter("Ada")
    heard = ada.page.evaluate_handle(
        """async (room) => {
          const { connect } = await import("/static/comet.js");
          const heard = [];
          const comet = connect({ rooms: [room], transports: ["frame"] });
          comet.on("message", ({ text }) => heard.push(text));
          await new Promise((resolve) => comet.on("hello", resolve));
          return heard;
        }""",
        visits.room.name,
    )
    visits.room.say("Grace", "to both copies")
    ada.hears("to both copies")
    ada.page.wait_for_function("(heard) => heard.length === 1", arg=heard)
