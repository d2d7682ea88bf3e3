"""What people with a screen reader, or with few colours, find on the page."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visits import Room, Visits
from tests.support import NODE_MODULES

pytestmark = pytest.mark.slow

AXE = (NODE_MODULES / "axe-core/axe.min.js").read_text("utf-8")


#: Of what is right it collects nothing, which takes as long as to look for what is wrong.
RUN = """rules => axe
  .run({
    iframes: false,
    resultTypes: ["violations"],
    ...(rules && { runOnly: { type: "rule", values: rules } }),
  })
  .then(found => found.violations)"""

#: Its rules about colours. Of what it looks for, nothing else changes at night.
OF_COLOURS = ["color-contrast", "link-in-text-block"]

WIDTHS = (360, 768, 1280)


def findings(page: Page, rules: list[str] | None = None) -> list[str]:
    """What axe finds wrong on a page.

    :param rules: by which of its rules; by default by all.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    violations: list[dict[str, Any]] = page.evaluate(RUN, rules)
    return [
        f"{each['id']}: {each['help']}: {node['html'][:120]}"
        for each in violations
        for node in each["nodes"]
    ]


def findings_in_all_colours(page: Page) -> list[str]:
    """What axe finds wrong on a page, by night or by day. It is day again then."""
    page.emulate_media(color_scheme="dark")
    found = [f"dark: {each}" for each in findings(page, OF_COLOURS)]
    page.emulate_media(color_scheme="light")
    return found + [f"light: {each}" for each in findings(page)]


def look(page: Page, widths: tuple[int, ...]) -> None:
    """A page is as it should be, for who sees it and who hears it, on small screens as well."""
    expect(page.locator("main")).to_be_visible()
    for width in widths:
        page.set_viewport_size({"width": width, "height": 800})
        assert findings_in_all_colours(page) == [], f"{page.url} {width} wide"
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) == 0, f"{page.url} scrolls sideways, {width} wide"


def test_axe_finds_nothing(visits: Visits, room: Room) -> None:
    room.say("Grace", "see https://example.org/\nand more")
    room.say("דוד", "שלום לכולם")
    ada = visits.enter("Ada", viewport={"width": WIDTHS[0], "height": 800})
    ada.say("my own")
    ada.hears("my own")
    visits.enter("Linus")
    expect(ada.page.locator(".status")).to_be_visible()
    for width in WIDTHS:
        ada.page.set_viewport_size({"width": width, "height": 800})
        assert findings_in_all_colours(ada.page) == [], f"{width} wide"
        buttons = [ada.page.locator("#chip")]
        if width < 1000:
            buttons.append(ada.page.locator(".people-button"))
        if width < 720:
            buttons.append(ada.page.get_by_role("button", name="Rooms"))
        for button in buttons:
            button.click()
            assert findings_in_all_colours(ada.page) == [], f"{width} wide, {button}"
            ada.page.keyboard.press("Escape")


STILL = ["/", "/rooms", "/chat", "/chat?action=side", "/chat?action=form", "/rooms/lobby/plain"]


@pytest.mark.parametrize("who", ["Ada", ""])
def test_axe_finds_nothing_on_pages_without_script(visits: Visits, who: str) -> None:
    visitor = visits.come(who or "Nobody")
    if not who:
        visitor.window.context.clear_cookies()
    for path in STILL:
        # Some go on for as long as somebody looks.
        visitor.page.goto(visitor.room.daemon.url + path, wait_until="domcontentloaded")
        expect(visitor.page.locator("body")).to_be_visible()
        assert findings(visitor.page) == [], path


def test_messages_are_a_list_and_few_colours_are_enough(visits: Visits, room: Room) -> None:
    room.say("Grace", "first")
    room.say("Grace", "second")
    ada = visits.enter("Ada")
    log = ada.page.get_by_role("log")
    assert log.get_by_role("list").count() == 1
    articles = log.get_by_role("listitem").get_by_role("article", name="Grace")
    expect(articles).to_have_count(2)
    expect(log.get_by_role("heading", name="Today", level=2)).to_be_visible()
    # Who comes is no news that is read out; what is said is.
    visits.enter("Linus")
    expect(ada.page.locator(".status")).to_have_attribute("aria-live", "off")
    expect(log).to_have_attribute("aria-live", "polite")
    link = "see https://example.org/"
    room.say("Grace", link)
    ada.hears(link)
    line = ada.page.locator(".message .text a")
    expect(line).to_have_css("text-decoration-line", "underline")

    # Few colours keep dots and the current room.
    ada.page.emulate_media(forced_colors="active")
    back = "each => getComputedStyle(each).backgroundColor"
    for dot in ("#chip .dot", "#people-list .dot"):
        place = ada.page.locator(dot).first
        assert place.evaluate(back) != ada.page.locator("body").evaluate(back)
        expect(place).to_have_css("border-style", "solid")
    expect(ada.page.locator("#room-list a[aria-current]")).to_have_css("outline-style", "solid")
