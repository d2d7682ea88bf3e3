"""What is new comes first, what is read stays, and a renaming is told as such."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.small_page import AROUND, KEEP, LOAD, LUMP, keep_few
from tests.browser.test_reading import hide, numbers, place, scroll_up
from tests.browser.visits import Room, Visitor, Visits
from tests.daemon.talk import once, wait_until
from tests.support import Daemon

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reader(chromium: Browser, shared_daemon: Daemon) -> Iterator[Visitor]:
    """Somebody with a page that keeps few lines; nothing in it may fail."""
    visits = Visits(chromium, Room(shared_daemon))
    ada = visits.come("Reader")
    keep_few(ada.page)
    yield ada
    visits.close()


@pytest.fixture
def ada(reader: Visitor, room: Room) -> Iterator[Visitor]:
    """Gone again when the others are."""
    reader.room = room
    yield reader
    reader.go("about:blank")


def enter(ada: Visitor) -> None:
    """She comes to the test's room."""
    ada.go(ada.room.url)
    ada.is_live()


def test_many_new_lines_begin_at_the_first(ada: Visitor, room: Room) -> None:
    room.say_all("Grace", [f"line {n}" for n in range(40)])
    enter(ada)
    ada.page.keyboard.press("Tab")
    scroll_up(ada, 600)
    read = ada.page.get_by_text("line 20", exact=True)
    before = place(read)
    for start in range(40, 240, 100):
        room.say_all("Grace", [f"line {n}" for n in range(start, start + 100)])
        ada.hears(f"line {start + 99}")
    # What is read is not trimmed away, nor moved.
    assert place(read) == pytest.approx(before, abs=2)
    jump, new = ada.page.locator("#jump"), ada.page.locator(".new")
    expect(jump).to_have_text("200 new messages ↓")
    jump.click()
    expect(new).to_be_in_viewport()
    expect(ada.page.locator(".new + .message .text")).to_have_text("line 40")
    expect(ada.page.get_by_text("line 41", exact=True)).to_be_in_viewport()
    # The page has not grown by all of them: what was left out is said, and comes when asked for.
    shown = numbers(ada.lines())
    assert len(shown) < 40 + AROUND + KEEP + 3 * LUMP
    assert shown == sorted(set(shown))
    assert shown[-1] == 239
    gap = ada.page.locator(".gap")
    missing = 240 - len(shown)
    expect(gap).to_contain_text(f"{missing} messages left out.")
    gap.get_by_role("button", name="Load").click()
    expect(gap).to_contain_text(f"{missing - LOAD} messages left out.")
    more = numbers(ada.lines())
    assert more == sorted(set(more))
    assert len(more) == len(shown) + LOAD
    # They follow upon those above the gap.
    first = next(at for at, n in enumerate(more) if n != at)
    assert first == next(at for at, n in enumerate(shown) if n != at) + LOAD
    # The second time it leads to the newest.
    expect(jump).to_contain_text("↓")
    jump.click()
    expect(ada.page.get_by_text("line 239", exact=True)).to_be_in_viewport()
    expect(jump).to_be_hidden()


def test_who_was_away_at_the_end_is_led_back_to_the_first(ada: Visitor, room: Room) -> None:
    room.say("Grace", "line 0")
    enter(ada)
    ada.hears("line 0")
    hide(ada, True)
    for start in range(1, 101, 50):
        room.say_all("Grace", [f"line {n}" for n in range(start, start + 50)])
        ada.hears(f"line {start + 49}")
    hide(ada, False)
    to_new = ada.page.locator("#to-new")
    expect(to_new).to_have_text("100 new messages ↑")
    to_new.click()
    expect(ada.page.locator(".new + .message .text")).to_have_text("line 1")
    expect(ada.page.locator(".new")).to_be_in_viewport()
    expect(to_new).to_be_hidden()
    ada.page.locator("#jump").click()
    expect(ada.page.get_by_text("line 100", exact=True)).to_be_in_viewport()


def test_what_is_new_may_begin_before_the_page(ada: Visitor, room: Room) -> None:
    room.say("Grace", "line 0")
    enter(ada)
    ada.hears("line 0")
    ada.go("about:blank")
    room.say_all("Grace", [f"line {n}" for n in range(1, 181)])
    ada.go(room.url)
    ada.is_live()
    assert 0 < len(ada.lines()) < 100
    expect(ada.page.locator(".new")).to_have_count(0)
    ada.page.get_by_role("button", name="To the first new message").click()
    expect(ada.page.locator(".new + .message .text")).to_have_text("line 1")
    expect(ada.page.locator(".new")).to_be_in_viewport()

    gap = ada.page.locator(".gap")

    def all_come() -> bool:
        if gap.count():
            gap.get_by_role("button", name="Load").click()
            ada.page.wait_for_timeout(200)
        return numbers(ada.lines())[-180:] == list(range(1, 181))

    wait_until(all_come, "all lines")


def test_a_name_is_changed_told_and_given_back(visits: Visits, room: Room) -> None:
    ada, grace = visits.borrow("Ada"), visits.borrow("Grace")
    ada.say("as Ada")
    grace.hears("as Ada")
    ada.page.get_by_text("Rename").click()
    form = ada.page.locator("#rename")
    form.locator("input[name=name]").fill("Grace")
    form.get_by_role("button", name="Take this name").click()
    # In place, and in words.
    expect(form.locator(".refused")).to_contain_text("has that name")
    expect(form.locator("input[name=name]")).to_have_value("Grace")
    assert ada.page.url == room.url
    ada.forgive()
    form.locator("input[name=name]").fill("Countess")
    form.get_by_role("button", name="Take this name").click()
    expect(ada.page.locator("#me")).to_have_text("Countess")
    status = grace.page.locator(".status")
    expect(status).to_have_text("Ada is now Countess")
    expect(grace.page.locator("#people-list li")).to_have_text(["Countess", "Grace"])
    form.locator("summary").click()
    form.locator("input[name=name]").fill("Lady")
    form.get_by_role("button", name="Take this name").click()
    expect(status).to_have_text("Ada is now Lady")
    ada.is_live()
    ada.say("as Lady")
    grace.hears("as Lady")
    # What was said before keeps its name.
    for each in (ada, grace):
        expect(each.page.locator(".message .name")).to_have_text(["Ada", "Lady"])
    ada.page.get_by_role("button", name="Log out").click()
    expect(ada.page.get_by_placeholder("Your name")).to_be_visible()
    expect(grace.page.locator("#people-list li")).to_have_text(["Grace"])
    assert once(room.daemon.port, "GET", "/api/v1/rooms", token=ada.token).status == 401
    # What her page asked just then, by the token of before, is refused, and asked again.
    assert [each for each in ada.window.failures if not each.startswith("401 ")] == []
    ada.forgive_all()


def test_a_text_that_is_too_long_stays_in_the_box(visits: Visits) -> None:
    ada = visits.borrow("Ada")
    box, left, why = (ada.page.locator(each) for each in ("#text", "#left", "#problem"))
    expect(left).to_be_hidden()
    box.fill("😀" * 7600)
    expect(left).to_have_text("400 left")
    box.fill("x" * 9000)
    expect(left).to_have_text("1,000 too many")
    box.press("Enter")
    expect(why).to_have_text("That is too long: 9,000 of 8,000 characters.")
    expect(box).to_have_value("x" * 9000)
    expect(ada.page.locator(".message")).to_have_count(0)
    box.fill("x" * 8000)
    expect(why).to_be_hidden()
    box.press("Enter")
    ada.hears("x" * 8000)
    expect(left).to_be_hidden()


def test_a_text_that_is_refused_comes_back_into_the_box(visits: Visits) -> None:
    ada = visits.borrow("Ada")
    box = ada.page.locator("#text")
    box.fill("rings \x07 a bell")
    box.press("Enter")
    expect(ada.page.locator("#problem")).to_contain_text("There is a character in it")
    expect(box).to_have_value("rings \x07 a bell")
    expect(ada.page.locator(".failed, .pending")).to_have_count(0)
    ada.forgive()
    box.fill("rings a bell")
    box.press("Enter")
    ada.hears("rings a bell")
