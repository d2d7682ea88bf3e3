"""What holds in every browser, whatever its engine.

What it is: `Battery`, a test of the page and its transports; who inherits it says in which browser.

What it may know: the page, and `ScriptedPage`. Nothing of any one browser.

Invariant: each step leaves the page as it found it, live by its first transport.
"""

from __future__ import annotations

import re
from typing import Protocol

from tests.browser.scripted import ENTER, ESCAPE, ScriptedPage
from tests.browser.tabs import LABELS, held
from tests.daemon.talk import log_in, say, wait_until
from tests.support import Daemon

#: One that leads, and more than one that may after it. How many more there are is nothing to what
#: is held: each holds nothing at all. `test_leader` has more than a browser opens connections.
TABS = 4

#: Transports whose requests are held.
HELD = tuple(each for each in LABELS if each != "plain")

#: Documents that never end, and what is in them at once.
ENDLESS = {
    "/api/v1/events/frame": "Comet",
    "/rooms/lobby.txt?backlog=1": "shown while it lasts",
    "/chat?action=openchat&backlog=1": "shown while it lasts",
}


class Driven(Protocol):
    """A browser that is driven from outside."""

    def open(self, url: str) -> ScriptedPage:
        """A new tab with a page that has loaded."""


class Battery:
    """Inherit it, and give a fixture ``browser``, once for all.

    It is one walk, so that there is one browser: tests are dealt to workers, each of which would
    start its own. Which step fails is said by the function, and by what that was called with.
    """

    def check(self, page: ScriptedPage) -> None:
        """What else has to hold after each step."""

    def test_all_of_it(self, browser: Driven, own_daemon: Daemon) -> None:
        grace = log_in(own_daemon.port, "Grace")
        # A tab that stays, from which others are opened.
        rita = enter(browser, own_daemon)
        an_owner_runs_the_house(browser, own_daemon, grace)
        self.check(rita)
        for transport in LABELS:
            a_transport_hears(transport, rita, own_daemon, grace)
            self.check(rita)
        for transport in ("frame", "stream", "ws", "poll"):
            a_transport_goes_on_after_a_restart(transport, rita, own_daemon, grace)
            self.check(rita)
        tabs_share_one_request_and_hand_it_on(browser, rita, own_daemon, grace)
        self.check(rita)
        back_and_forward(rita, own_daemon, grace)
        self.check(rita)
        a_press_is_a_click_whatever_is_told_meanwhile(rita)
        self.check(rita)
        for path in ENDLESS:
            what_never_ends_is_shown_at_once(path, rita, own_daemon, grace)
            self.check(rita)


def enter(browser: Driven, daemon: Daemon) -> ScriptedPage:
    """Somebody's chat, logged in by the form."""
    page = browser.open(f"{daemon.url}/")
    page.click("input[name=name]")
    page.write("Rita" + ENTER)
    page.wait_text("#chip-state", "live")
    return page


def an_owner_runs_the_house(browser: Driven, own_daemon: Daemon, grace: str) -> None:
    # The link is told at the first start alone. By another name of the machine: with cookies of its
    # own.
    found = re.search(r"yours by \S+(/claim/\S+)", own_daemon.output)
    assert found is not None
    here = f"http://localhost:{own_daemon.port}"
    page = browser.open(f"{here}{found[1]}")
    page.click("input[name=name]")
    page.write("Olga")
    page.click("input[name=password]")
    page.write("four words of mine" + ENTER)
    # The first screen, in the live lobby.
    page.wait("document.querySelector('.steps svg.qr') !== null")
    page.wait_text("#chip-state", "live")
    page.wait_text(".shown-address button", "Copy")
    # What one may do about who said something.
    say(own_daemon.port, grace, "a thing to look at")
    hears(page, "a thing to look at")
    page.click(".message:last-child a.name")
    buttons = "[...document.querySelectorAll('#member button')].map((each) => each.textContent)"
    page.wait(f"{buttons}.includes('Purge all…')")
    assert {"Mention", "Ignore", "Report…", "Silence", "Ban"} <= set(page.evaluate(buttons))
    page.evaluate(
        "[...document.querySelectorAll('#member button')]"
        ".find((each) => each.textContent === 'Silence').click()"
    )
    page.wait("document.querySelector('#member .force li') !== null")
    page.click("#member .force button")
    page.wait("document.querySelector('#member .force li') === null")
    page.write(ESCAPE)
    page.wait("!document.querySelector('#member').getClientRects().length")
    # What the daemon does, as it does it.
    page.go(f"{here}/admin/now")
    page.wait_text("#live-state", "Live: a point a second, the last minute.")
    page.wait("document.querySelector('[data-plot=held] path')?.getAttribute('d').includes('L')")
    page.close()


def a_transport_hears(transport: str, rita: ScriptedPage, own_daemon: Daemon, grace: str) -> None:
    choose(rita, transport)
    if transport != "plain":
        wait_until(lambda: held(own_daemon, transport) == 1, f"a held {transport}")
    said = [f"{transport}: hello", f"{transport}: hello, Grace"]
    say(own_daemon.port, grace, said[0])
    hears(rita, said[0])
    rita.click("#text")
    rita.write(said[1] + ENTER)
    hears(rita, said[1])
    assert [line for line in lines(rita) if line.startswith(transport)] == said


def a_transport_goes_on_after_a_restart(
    transport: str, rita: ScriptedPage, own_daemon: Daemon, grace: str
) -> None:
    choose(rita, transport)
    wait_until(lambda: held(own_daemon, transport) == 1, f"a held {transport}")
    own_daemon.restart()
    # Before the rita is back.
    say(own_daemon.port, grace, f"{transport}: again")
    hears(rita, f"{transport}: again")
    rita.wait_text("#chip-transport", LABELS[transport])


def tabs_share_one_request_and_hand_it_on(
    browser: Driven, rita: ScriptedPage, own_daemon: Daemon, grace: str
) -> None:
    choose(rita, "frame")
    tabs = [browser.open(f"{own_daemon.url}/") for _ in range(TABS - 1)]
    for tab in tabs:
        tab.wait_text("#chip-transport", LABELS["frame"])
    # And nothing by another transport.
    assert [each for each in HELD for _ in range(held(own_daemon, each))] == ["frame"]
    say(own_daemon.port, grace, "to all tabs")
    for tab in (rita, *tabs):
        hears(tab, "to all tabs")
    # The first tab leads: it goes away for a moment.
    rita.go(f"{own_daemon.url}/problems/no-session")
    say(own_daemon.port, grace, "to those that are left")
    for tab in tabs:
        hears(tab, "to those that are left")
    wait_until(lambda: held(own_daemon, "frame") == 1, "a new leader")
    for tab in tabs:
        tab.close()
    rita.go(f"{own_daemon.url}/")
    rita.wait_text("#chip-transport", LABELS["frame"])
    assert lines(rita)[-2:] == ["to all tabs", "to those that are left"]


def back_and_forward(rita: ScriptedPage, own_daemon: Daemon, grace: str) -> None:
    choose(rita, "frame")
    rita.go(f"{own_daemon.url}/problems/no-session")
    say(own_daemon.port, grace, "while she is elsewhere")
    rita.back()
    # Whether the browser kept the rita or loads it again.
    rita.wait_text("#chip-state", "live")
    hears(rita, "while she is elsewhere")
    say(own_daemon.port, grace, "when she is back")
    hears(rita, "when she is back")
    assert lines(rita)[-2:] == ["while she is elsewhere", "when she is back"]
    rita.forward()
    rita.wait("document.querySelector('#chip-state') === null")
    rita.back()
    rita.wait_text("#chip-state", "live")
    wait_until(lambda: held(own_daemon, "frame") == 1, "one request")


def a_press_is_a_click_whatever_is_told_meanwhile(rita: ScriptedPage) -> None:
    # To WebKit it is none when the text under it is another node before it is released.
    rita.evaluate(
        "void (window.pressed = ['#chip-state', '#chip-transport']"
        ".map((each) => document.querySelector(each).firstChild))"
    )
    rita.evaluate("void (document.querySelector('#chip').title = '')")
    # It is told anew each second, and whenever something has changed.
    rita.wait("document.querySelector('#chip').title !== ''")
    choose(rita, "poll")
    choose(rita, "frame")
    assert rita.evaluate("window.pressed.map((text) => text.isConnected)") == [True, True]


def what_never_ends_is_shown_at_once(
    path: str, rita: ScriptedPage, own_daemon: Daemon, grace: str
) -> None:
    say(own_daemon.port, grace, "shown while it lasts")
    rita.evaluate(
        "document.body.append(Object.assign(document.createElement('iframe'),"
        " { id: 'shown', src: args[0], width: 400, height: 300 }))",
        path,
    )
    # Its heartbeats are 15 s apart: there is nothing yet that would bring it to more bytes.
    inside = "document.querySelector('#shown').contentDocument"
    rita.wait(f"{inside}?.documentElement?.textContent.includes(args[0])", ENDLESS[path])
    rita.evaluate("document.querySelector('#shown').remove()")


def choose(page: ScriptedPage, transport: str) -> None:
    """Take a transport by the menu behind the chip."""
    page.click("#chip")
    page.click(f"#connection input[value={transport}]")
    page.write(ESCAPE)
    page.wait("!document.querySelector('#connection').getClientRects().length")
    page.wait_text("#chip-transport", LABELS[transport])


def hears(page: ScriptedPage, text: str) -> None:
    """Wait until somebody's confirmed message is there."""
    texts = "[...document.querySelectorAll('.message[data-id] .text')]"
    page.wait(f"{texts}.some((each) => each.textContent === args[0])", text)


def lines(page: ScriptedPage) -> list[str]:
    """All confirmed messages."""
    return page.texts(".message[data-id] .text")
