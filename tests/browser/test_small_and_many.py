"""The room's page where there is little place, many rooms or many people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.visits import Room, Visitor, Visits, make_room
from tests.daemon.talk import Held, ask, connect, log_in, once
from tests.support import Daemon

pytestmark = pytest.mark.slow

PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "has_touch": True,
    "is_mobile": True,
}
TOPIC = "Builds, reviews and releases: all that is about how this is made"


@pytest.fixture
def with_topic(shared_daemon: Daemon, room: Room) -> Iterator[Room]:
    """A room with a topic that is longer than a phone is wide."""
    own = make_room(shared_daemon, f"{room.name}-topic", TOPIC)
    yield own
    own.clear()


@pytest.fixture
def many_rooms(daemon: Daemon) -> list[str]:
    """Forty rooms besides the lobby."""
    maker = log_in(daemon.port, "maker")
    names = [f"project-{number}" for number in range(40)]
    with closing(connect(daemon.port)) as connection:
        for name in names:
            answer = ask(connection, "POST", "/api/v1/rooms", token=maker, body={"name": name})
            assert answer.status == 201, answer
        ask(connection, "DELETE", "/api/v1/session", token=maker)
    return names


def inside(outer: Locator, inner: Locator) -> bool:
    """Whether one is within the other, top and bottom."""
    one, other = outer.bounding_box(), inner.bounding_box()
    assert one
    assert other
    top, bottom = other["y"], other["y"] + other["height"]
    return one["y"] <= top + 1 and bottom <= one["y"] + one["height"] + 1


def test_a_phone_has_words_a_way_back_and_fields_to_write_in(
    visits: Visits, with_topic: Room
) -> None:
    ada = visits.borrow("Ada", at=with_topic.url, **PHONE)
    page = ada.page
    rooms, people = page.locator("#rooms"), page.locator("#people")
    way = page.get_by_role("button", name="Rooms")
    expect(way).to_have_text("Rooms")
    expect(page.locator(".title .topic")).to_be_in_viewport()
    way.click()
    expect(rooms.get_by_role("button", name="Log out")).to_be_in_viewport(ratio=1)
    rooms.get_by_role("button", name="Close").click()
    expect(rooms).to_be_hidden()
    page.locator(".people-button").click()
    # Cut off above, it is whole here.
    expect(people.get_by_text(TOPIC)).to_be_in_viewport(ratio=1)
    people.get_by_role("button", name="Close").click()
    expect(people).to_be_hidden()
    the_key_that_says_send_sends(ada)
    the_way_to_the_rooms_counts_those_with_news(ada, with_topic)
    no_field_is_so_small_that_a_phone_enlarges_the_page(ada, with_topic)


def the_key_that_says_send_sends(ada: Visitor) -> None:
    box = ada.page.locator("#text")
    expect(box).to_have_attribute("enterkeyhint", "send")
    box.fill("by touch")
    box.press("Enter")
    ada.hears("by touch")


def the_way_to_the_rooms_counts_those_with_news(ada: Visitor, room: Room) -> None:
    room.say("Grace", "read")
    ada.hears("read")
    ada.go(room.daemon.url)
    ada.is_live()
    news = ada.page.locator("#news")
    expect(news).to_be_hidden()
    room.say("Grace", "not read")
    ada.page.reload()
    expect(news).to_have_text("1")


def no_field_is_so_small_that_a_phone_enlarges_the_page(ada: Visitor, room: Room) -> None:
    sizes = """() => [...document.querySelectorAll("input, textarea")]
        .filter(each => !["hidden", "radio"].includes(each.type))
        .map(each => parseFloat(getComputedStyle(each).fontSize))"""
    found = ada.page.evaluate(sizes)
    assert len(found) >= 4
    assert min(found) >= 16
    for path in ("/chat?action=form", f"/rooms/{room.name}/plain"):
        ada.page.goto(room.daemon.url + path)
        assert min(ada.page.evaluate(sizes)) >= 16


def test_people_fold_away_before_there_is_no_place(visits: Visits, room: Room) -> None:
    room.say("Grace", "word " * 100)
    ada = visits.borrow("Ada", viewport={"width": 1000, "height": 700})
    people = ada.page.locator("#people")
    for width in (720, 768, 999):
        ada.page.set_viewport_size({"width": width, "height": 700})
        ada.page.reload()
        ada.is_live()
        expect(people).to_be_hidden()
        expect(ada.page.locator("#rooms")).to_be_visible()
        text = ada.page.locator(".message .text").bounding_box()
        assert text
        assert text["width"] > 400
        ada.page.locator(".people-button").click()
        expect(people).to_contain_text("Ada")
        ada.page.set_viewport_size({"width": 1000, "height": 700})
        expect(people).to_be_visible()
        expect(people.get_by_role("button", name="Close")).to_be_hidden()


def test_one_of_many_rooms_is_found(lobby_visits: Visits, many_rooms: list[str]) -> None:
    last = f"{lobby_visits.room.daemon.url}/rooms/{many_rooms[-1]}"
    ada = lobby_visits.borrow("Ada", at=last, viewport={"width": 1280, "height": 640})
    side, names = ada.page.locator("#room-list"), ada.page.locator("#room-list a")
    # The current one is in view, and so are one's own name and the way out.
    assert inside(side, side.locator("[aria-current]"))
    expect(ada.page.get_by_role("button", name="Log out")).to_be_in_viewport(ratio=1)
    expect(ada.page.locator("#me")).to_be_in_viewport(ratio=1)
    order = names.all_text_contents()
    assert order.index("#\u00a0project-2") < order.index("#\u00a0project-10")
    box = ada.page.get_by_role("searchbox", name="Find a room")
    box.fill("#Project-3")
    expect(names).to_have_count(11)
    box.fill("nowhere")
    expect(side).to_have_text("No such room")
    box.fill("project-17")
    expect(names).to_have_count(1)
    box.press("Enter")
    expect(ada.page.locator("h1")).to_have_text("#project-17")
    expect(box).to_have_value("")


def test_all_of_many_people_are_shown_by_their_numbers(
    lobby_visits: Visits, daemon: Daemon
) -> None:
    ada = lobby_visits.borrow("Ada")
    # Few rooms need no filter.
    expect(ada.page.get_by_role("searchbox", name="Find a room")).to_be_hidden()
    with ExitStack() as present:
        for number in range(1, 61):
            head = {"Authorization": f"Bearer {log_in(daemon.port, f'person-{number}')}"}
            held = Held(daemon.port, "/api/v1/events/stream?rooms=lobby", headers=head)
            present.enter_context(held).until(b"hello")
        all_are_shown(lobby_visits, ada)


def all_are_shown(lobby_visits: Visits, ada: Visitor) -> None:
    """Sixty people with numbers in their names, on the page, by the API and without script."""
    # Above fifty only their number is told; who they are is asked for.
    people = ada.page.locator("#people-list li")
    expect(people).to_have_text(["Ada", *(f"person-{number}" for number in range(1, 61))])
    expect(ada.page.locator("#people-total")).to_have_text("61")
    answer = once(ada.room.daemon.port, "GET", "/api/v1/rooms/lobby/people", token=ada.token)
    names = [each["name"] for each in answer.json["people"]]
    assert names == ["Ada", *(f"person-{number}" for number in range(1, 61))]
    # In one go: their list is drawn anew whenever it has been asked for.
    ada.page.evaluate("document.querySelector('#people-list li:last-child').scrollIntoView()")
    expect(people.last).to_be_in_viewport()
    still = lobby_visits.come("Still", java_script_enabled=False)
    still.go(ada.room.url)
    expect(still.page.locator("#people-list li").nth(3)).to_have_text("person-3")
