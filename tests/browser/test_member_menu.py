"""The menu behind a name: what one may do about somebody, by keyboard and by touch, and what is
refused; and what they read who may not speak."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.test_accessible import findings, findings_in_all_colours
from tests.browser.test_accounts import PASSWORD, owner_link
from tests.browser.visits import Room, Visitor, Visits
from tests.daemon.talk import once
from tests.support import Daemon

pytestmark = pytest.mark.slow


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of the test's own, which nobody owns yet."""
    with Daemon(tmp_path, "--heartbeat=2", "--limits=off") as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
def room(daemon: Daemon) -> Room:
    return Room(daemon)


@pytest.fixture
def visits(chromium: Browser, room: Room) -> Iterator[Visits]:
    those = Visits(chromium, room)
    yield those
    those.close()


def own(visits: Visits, **options: Any) -> Visitor:
    """Ada, who owns the chat."""
    daemon = visits.room.daemon
    code = owner_link(daemon).rpartition("/")[2]
    body = {"code": code, "name": "Ada", "password": PASSWORD}
    answer = once(daemon.port, "POST", "/api/v1/claim", body=body)
    assert answer.status == 201, answer
    cookie, _, token = answer.headers["set-cookie"].partition(";")[0].partition("=")
    ada = visits.come("Nobody", **options)
    ada.window.context.clear_cookies()
    ada.window.context.add_cookies([{"name": cookie, "value": token, "url": daemon.url}])
    ada.go(visits.room.url)
    ada.is_live()
    return ada


def test_the_keyboard_goes_from_the_box_to_a_line_and_its_menu(visits: Visits, room: Room) -> None:
    room.say("Grace", "first")
    room.say("Grace", "second")
    bob = visits.enter("Bob")
    bob.hears("second")
    page = bob.page
    page.locator("#text").focus()
    page.keyboard.press("Shift+Tab")
    focused = page.locator(":focus")
    expect(focused).to_have_attribute(
        "href", page.locator("time a").last.get_attribute("href") or ""
    )
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    menu = page.get_by_role("dialog", name="Grace")
    expect(menu).to_be_visible()
    expect(menu.get_by_role("button", name="Mention")).to_be_focused()
    expect(menu.get_by_role("button", name="Report…")).to_be_visible()
    # A guest has no buttons of moderators.
    for name in ("Delete…", "Silence", "Purge all…"):
        expect(menu.get_by_role("button", name=name)).to_have_count(0)
    assert findings(page) == []
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    line = page.locator(".message", has_text="first").locator("time a")
    expect(line).to_be_focused()
    page.keyboard.press("Enter")
    menu.get_by_role("button", name="Mention").press("Enter")
    expect(page.locator("#text")).to_have_value("@Grace ")
    expect(page.locator("#text")).to_be_focused()


def test_one_reports_ignores_and_deletes_what_one_said(visits: Visits, room: Room) -> None:
    room.say("Grace", "a thing to report")
    ada, bob = own(visits), visits.enter("Bob")
    page = bob.page
    page.locator("#log a.name", has_text="Grace").click()
    menu = page.get_by_role("dialog", name="Grace")
    menu.get_by_role("button", name="Report…").click()
    menu.get_by_label("Why").fill("unkind")
    menu.get_by_role("button", name="Send the report").click()
    expect(menu.get_by_role("status")).to_have_text("It is before the moderators.")
    # Those who moderate are told, and find it.
    told = ada.page.locator("#tidings li")
    expect(told).to_contain_text("Bob has reported a message in #lobby.")
    expect(told.get_by_role("link")).to_have_attribute("href", "/admin/reports")
    assert findings(ada.page) == []
    told.get_by_role("button", name="Put away").click()
    expect(told).to_have_count(0)
    menu.get_by_role("button", name="Ignore").click()
    expect(menu.get_by_role("status")).to_contain_text("You neither hear nor see Grace")
    menu.get_by_role("button", name="Hear again").click()
    expect(menu.get_by_role("status")).to_contain_text("You hear and see Grace again.")
    page.keyboard.press("Escape")
    bob.say("a slip of mine")
    bob.hears("a slip of mine")
    page.locator("#log a.name", has_text="Bob").click()
    own_menu = page.get_by_role("dialog", name="Bob")
    own_menu.get_by_role("button", name="Delete…").click()
    # Once more, or it is not done.
    bob.hears("a slip of mine")
    own_menu.get_by_role("button", name="Delete for good?").click()
    expect(page.locator(".message.deleted .text")).to_have_text("(deleted by its author)")


def test_an_owner_moderates_by_touch_on_a_phone(visits: Visits) -> None:
    phone = {"width": 360, "height": 640}
    ada = own(visits, viewport=phone, has_touch=True, is_mobile=True)
    bob = visits.enter("Bob")
    bob.say("buy pills")
    bob.say("buy more pills")
    ada.hears("buy more pills")
    page = ada.page
    page.locator(".people-button").tap()
    page.locator("#people-list a", has_text="Bob").tap()
    menu = page.get_by_role("dialog", name="Bob")
    menu.get_by_label("Minutes").fill("10")
    menu.get_by_label("Why").fill("pills")
    menu.get_by_role("button", name="Silence").tap()
    expect(menu.get_by_role("status")).to_contain_text("Bob is silenced until")
    expect(menu.locator(".force li")).to_contain_text("Silenced until")
    assert findings_in_all_colours(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    # He reads why, where he writes, and keeps his words.
    standing = bob.page.locator("#standing")
    expect(standing).to_contain_text("pills")
    bob.say("but I only")
    expect(bob.page.locator("#text")).to_have_value("but I only")
    assert findings_in_all_colours(bob.page) == []
    menu.get_by_role("button", name="Purge all…").tap()
    menu.get_by_role("button", name="Purge it all?").tap()
    expect(bob.page.locator(".message.deleted")).to_have_count(2)
    menu.get_by_role("button", name="Undo the purge").tap()
    bob.hears("buy pills")
    expect(bob.page.locator(".message.deleted")).to_have_count(0)
    menu.get_by_role("button", name="Lift").tap()
    expect(standing).to_be_hidden()
    bob.page.locator("#text").press("Enter")
    ada.hears("but I only")
    # What makes no sense is refused where it was asked for.
    menu.get_by_label("Minutes").fill("a while")
    menu.get_by_role("button", name="Ban", exact=True).tap()
    expect(menu.get_by_role("alert")).to_contain_text("A whole number from 1")
    menu.get_by_label("Minutes").fill("5")
    menu.get_by_role("button", name="Kick").tap()
    expect(bob.page.locator("#notice")).to_contain_text("You are sent away until")
    page.keyboard.press("Escape")
    expect(page.locator(".people-button")).to_be_focused()
    for each in (ada, bob):
        each.forgive_all()


def test_what_waits_for_a_moderator_is_told_to_both(visits: Visits) -> None:
    ada, bob = own(visits), visits.enter("Bob")
    change = """fetch("/api/v1/policies", {
      method: "PATCH",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ words: { hold: ["casino"] } }),
    }).then((answer) => answer.status)"""
    assert ada.page.evaluate(change) == 200
    for text in ("one casino", "two casinos, a casino"):
        bob.say(text)
        waits = bob.page.locator(".message.pending", has_text=text)
        expect(waits.locator(".state")).to_have_text("waits for a moderator")
        expect(bob.page.locator("#answer")).to_contain_text("A moderator looks at this")
        expect(bob.page.locator("#text")).to_have_value("")
    told = ada.page.locator("#tidings li")
    expect(told).to_contain_text("2 messages wait for a moderator.")
    told.get_by_role("link", name="See what waits").click()
    ada.page.get_by_role("button", name="Drop it").first.click()
    dropped = bob.page.locator(".message.failed", has_text="one casino")
    expect(dropped.get_by_role("alert")).to_contain_text("A moderator did not let through")
    ada.page.get_by_role("button", name="Let it be said").click()
    bob.hears("two casinos, a casino")
    expect(bob.page.locator(".message.pending")).to_have_count(0)


def test_slow_mode_counts_down_and_keeps_what_is_written(visits: Visits, room: Room) -> None:
    ada, bob = own(visits), visits.enter("Bob")
    ada.page.locator("#text").fill("/slow 20")
    ada.page.locator("#text").press("Enter")
    expect(ada.page.locator("#answer")).to_be_visible()
    bob.say("one")
    bob.hears("one")
    bob.say("two")
    standing = bob.page.locator("#standing")
    expect(standing).to_contain_text("send in")
    expect(bob.page.locator("#text")).to_have_value("two")
    assert findings(bob.page) == []
    assert bob.lines() == ["one"]
    # Those who moderate wait for nobody.
    ada.say("mine")
    ada.say("mine, too")
    ada.hears("mine, too")
    expect(ada.page.locator("#standing")).to_be_hidden()
    bob.forgive_all()


def test_who_looks_after_a_room_is_named_as_such(visits: Visits) -> None:
    ada = own(visits)
    bob = visits.enter("Bob")
    for visitor in (ada, bob):
        people = visitor.page.locator("#people-list li")
        expect(people.filter(has_text="Ada").locator(".role")).to_have_text("owner")
        expect(people.filter(has_text="Bob").locator(".role")).to_have_count(0)
