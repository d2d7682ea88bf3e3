"""The menu behind a name: what one may do about somebody, by keyboard and by touch, and what is
refused; and what they read who may not speak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import room_numbers
from tests.browser.test_accessible import findings, findings_in_all_colours
from tests.browser.test_accounts import PASSWORD, owner_link
from tests.browser.visits import Room, Visitor, Visits, make_room
from tests.daemon.talk import Answer, once
from tests.support import Daemon

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that Ada owns."""
    directory = tmp_path_factory.mktemp("daemon")
    with Daemon(directory, "--heartbeat=2", "--limits=off") as running:
        code = owner_link(running).rpartition("/")[2]
        body = {"code": code, "name": "Ada", "password": PASSWORD}
        answer = once(running.port, "POST", "/api/v1/claim", body=body)
        assert answer.status == 201, answer
        once(running.port, "DELETE", "/api/v1/session", token=session_of(answer)[1])
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
def room(daemon: Daemon) -> Room:
    """A room of the test's own. Who is moderated has a name of the test's own, too."""
    return make_room(daemon, f"room-{next(room_numbers)}")


@pytest.fixture
def visits(chromium: Browser, room: Room, spare: list[Visitor]) -> Iterator[Visits]:
    those = Visits(chromium, room, spare)
    yield those
    those.close()


def session_of(answer: Answer) -> tuple[str, str]:
    """The name and the value of a cookie that came."""
    cookie, _, token = answer.headers["set-cookie"].partition(";")[0].partition("=")
    return cookie, token


def own(visits: Visits, **options: Any) -> Visitor:
    """Ada, who owns the chat."""
    body = {"name": "Ada", "password": PASSWORD}
    answer = once(visits.room.daemon.port, "POST", "/api/v1/session", body=body)
    assert answer.status == 201, answer
    return visits.borrow("Ada", session=session_of(answer), **options)


def test_the_keyboard_goes_from_the_box_to_a_line_and_its_menu(visits: Visits, room: Room) -> None:
    room.say("Grace", "first")
    room.say("Grace", "second")
    bob = visits.borrow("Bob")
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
    ada, bob = own(visits), visits.borrow("Bob")
    who_looks_after_a_room_is_named_as_such(ada, bob)
    page = bob.page
    page.locator("#log a.name", has_text="Grace").click()
    menu = page.get_by_role("dialog", name="Grace")
    menu.get_by_role("button", name="Report…").click()
    menu.get_by_label("Why").fill("unkind")
    menu.get_by_role("button", name="Send the report").click()
    expect(menu.get_by_role("status")).to_have_text("It is before the moderators.")
    # Those who moderate are told, and find it.
    told = ada.page.locator("#tidings li", has_text="reported")
    expect(told).to_contain_text(f"Bob has reported a message in #{room.name}.")
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


def who_looks_after_a_room_is_named_as_such(ada: Visitor, bob: Visitor) -> None:
    """To both."""
    for visitor in (ada, bob):
        people = visitor.page.locator("#people-list li")
        expect(people.filter(has_text="Ada").locator(".role")).to_have_text("owner")
        expect(people.filter(has_text="Bob").locator(".role")).to_have_count(0)


def test_an_owner_moderates_by_touch_on_a_phone(visits: Visits) -> None:
    phone = {"width": 360, "height": 640}
    ada = own(visits, viewport=phone, has_touch=True, is_mobile=True)
    ben = visits.borrow("Ben")
    ben.say("buy pills")
    ben.say("buy more pills")
    ada.hears("buy more pills")
    page = ada.page
    page.locator(".people-button").tap()
    page.locator("#people-list a", has_text="Ben").tap()
    menu = page.get_by_role("dialog", name="Ben")
    menu.get_by_label("Minutes").fill("10")
    menu.get_by_label("Why").fill("pills")
    menu.get_by_role("button", name="Silence").tap()
    expect(menu.get_by_role("status")).to_contain_text("Ben is silenced until")
    expect(menu.locator(".force li")).to_contain_text("Silenced until")
    assert findings_in_all_colours(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    # He reads why, where he writes, and keeps his words.
    standing = ben.page.locator("#standing")
    expect(standing).to_contain_text("pills")
    ben.say("but I only")
    expect(ben.page.locator("#text")).to_have_value("but I only")
    assert findings_in_all_colours(ben.page) == []
    menu.get_by_role("button", name="Purge all…").tap()
    menu.get_by_role("button", name="Purge it all?").tap()
    expect(ben.page.locator(".message.deleted")).to_have_count(2)
    menu.get_by_role("button", name="Undo the purge").tap()
    ben.hears("buy pills")
    expect(ben.page.locator(".message.deleted")).to_have_count(0)
    menu.get_by_role("button", name="Lift").tap()
    expect(standing).to_be_hidden()
    ben.page.locator("#text").press("Enter")
    ada.hears("but I only")
    # What makes no sense is refused where it was asked for.
    menu.get_by_label("Minutes").fill("a while")
    menu.get_by_role("button", name="Ban", exact=True).tap()
    expect(menu.get_by_role("alert")).to_contain_text("A whole number from 1")
    menu.get_by_label("Minutes").fill("5")
    menu.get_by_role("button", name="Kick").tap()
    expect(ben.page.locator("#notice")).to_contain_text("You are sent away until")
    page.keyboard.press("Escape")
    expect(page.locator(".people-button")).to_be_focused()
    for each in (ada, ben):
        each.forgive_all()


def test_what_waits_for_a_moderator_is_told_to_both(visits: Visits) -> None:
    ada, bill = own(visits), visits.borrow("Bill")
    change = """(hold) => fetch("/api/v1/policies", {
      method: "PATCH",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ words: { hold } }),
    }).then((answer) => answer.status)"""
    assert ada.page.evaluate(change, ["casino"]) == 200
    for text in ("one casino", "two casinos, a casino"):
        bill.say(text)
        waits = bill.page.locator(".message.pending", has_text=text)
        expect(waits.locator(".state")).to_have_text("waits for a moderator")
        expect(bill.page.locator("#answer")).to_contain_text("A moderator looks at this")
        expect(bill.page.locator("#text")).to_have_value("")
    told = ada.page.locator("#tidings li", has_text="wait for")
    expect(told).to_contain_text("2 messages wait for a moderator.")
    told.get_by_role("link", name="See what waits").click()
    ada.page.get_by_role("button", name="Drop it").first.click()
    dropped = bill.page.locator(".message.failed", has_text="one casino")
    expect(dropped.get_by_role("alert")).to_contain_text("A moderator did not let through")
    ada.page.get_by_role("button", name="Let it be said").click()
    bill.hears("two casinos, a casino")
    expect(bill.page.locator(".message.pending")).to_have_count(0)
    assert ada.page.evaluate(change, []) == 200


def test_slow_mode_counts_down_and_keeps_what_is_written(visits: Visits, room: Room) -> None:
    ada, bert = own(visits), visits.borrow("Bert")
    ada.page.locator("#text").fill("/slow 20")
    ada.page.locator("#text").press("Enter")
    expect(ada.page.locator("#answer")).to_be_visible()
    bert.say("one")
    bert.hears("one")
    bert.say("two")
    standing = bert.page.locator("#standing")
    expect(standing).to_contain_text("send in")
    expect(bert.page.locator("#text")).to_have_value("two")
    assert findings(bert.page) == []
    assert bert.lines() == ["one"]
    # Those who moderate wait for nobody.
    ada.say("mine")
    ada.say("mine, too")
    ada.hears("mine, too")
    expect(ada.page.locator("#standing")).to_be_hidden()
    bert.forgive_all()
